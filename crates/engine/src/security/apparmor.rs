//! Which AppArmor profile a container runs under.

use wharf_model::container::ContainerSpec;

/// The profile of containers that name none, as Docker calls and loads it.
pub const DEFAULT_PROFILE: &str = "docker-default";
/// The name of no profile.
const UNCONFINED: &str = "unconfined";

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// AppArmor of this kernel.
#[derive(Debug, Default)]
pub struct AppArmor {
    is_enabled: bool,
    /// The profile that the engine's configuration names.
    default: Option<String>,
}

impl AppArmor {
    /// Looks at the kernel. `default` is what the configuration says is the profile of containers that name none.
    pub fn detect(default: Option<String>) -> Self {
        let enabled = std::fs::read_to_string(ENABLED).is_ok_and(|text| text.starts_with('Y'));
        // Without its files, as in a container, there is nothing that could be used.
        Self { is_enabled: enabled && std::fs::metadata(LOADED).is_ok(), default }
    }

    /// Whether containers can have a profile.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The profile of a container that starts now; empty where the kernel has no AppArmor.
    pub fn profile_of(&self, spec: &ContainerSpec) -> String {
        if self.is_enabled { self.choose(spec, is_loaded) } else { String::new() }
    }

    /// Docker loads its default when it is not there. We load none: then there is no confinement, unless the engine's
    /// configuration asks for it by name.
    fn choose(&self, spec: &ContainerSpec, is_loaded: impl Fn(&str) -> bool) -> String {
        let chosen = match (&self.default, spec.apparmor.as_str()) {
            _ if spec.privileged => UNCONFINED,
            (Some(default), "") => default,
            (None, "") if is_loaded(DEFAULT_PROFILE) => DEFAULT_PROFILE,
            (None, "") => UNCONFINED,
            (_, named) => named,
        };
        chosen.to_owned()
    }

    /// What whoever runs the engine should know.
    pub fn warning(&self) -> Option<String> {
        if !self.is_enabled {
            return None;
        }
        let name = self.default.as_deref().unwrap_or(DEFAULT_PROFILE);
        if name == UNCONFINED || is_loaded(name) {
            return None;
        }
        Some(match &self.default {
            Some(_) => format!(
                "AppArmor profile {name} is not loaded: containers that name no other one do not start. Load it with \
                 apparmor_parser -r FILE"
            ),
            None => format!(
                "AppArmor profile {name} is not loaded: containers that name none run unconfined. Load it with \
                 wharf daemon --print-apparmor-profile | apparmor_parser -r, at boot from a file in /etc/apparmor.d"
            ),
        })
    }
}

fn is_loaded(profile: &str) -> bool {
    std::fs::read_to_string(LOADED).is_ok_and(|text| names(&text).any(|name| name == profile))
}

/// The names in the kernel's list, whose lines are `name (mode)`.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.rsplit_once(" (")).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(default: Option<&str>, asked: &str, privileged: bool, loaded: &[&str]) -> String {
        let spec = ContainerSpec { apparmor: asked.to_owned(), privileged, ..ContainerSpec::default() };
        let apparmor = AppArmor { is_enabled: true, default: default.map(str::to_owned) };
        apparmor.choose(&spec, |name| loaded.contains(&name))
    }

    #[test]
    fn the_default_is_used_when_it_is_there() {
        assert_eq!(chosen(None, "", false, &["docker-default"]), "docker-default");
        assert_eq!(chosen(None, "", false, &["other"]), "unconfined");
        assert_eq!(chosen(Some("site"), "", false, &[]), "site", "what is asked for by name is not left out");
    }

    #[test]
    fn who_names_a_profile_gets_it() {
        assert_eq!(chosen(Some("site"), "mine", false, &[]), "mine");
        assert_eq!(chosen(None, "unconfined", false, &["docker-default"]), "unconfined");
    }

    #[test]
    fn privileged_is_unconfined_as_with_docker() {
        assert_eq!(chosen(Some("site"), "mine", true, &["mine"]), "unconfined");
    }

    #[test]
    fn without_apparmor_there_is_no_profile() {
        let spec = ContainerSpec { apparmor: "mine".into(), ..ContainerSpec::default() };
        assert_eq!(AppArmor::default().profile_of(&spec), "");
        assert_eq!(AppArmor::default().warning(), None);
    }

    #[test]
    fn names_of_the_kernels_list() {
        let list = "docker-default (enforce)\n/usr/bin/a b (complain)\n";
        assert_eq!(names(list).collect::<Vec<_>>(), ["docker-default", "/usr/bin/a b"]);
    }
}
