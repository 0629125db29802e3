//! Namespaces, capabilities and security options.

use crate::error::{ApiError, ApiResult};
use axum::http::StatusCode;
use wharf_docker_api::types::host_config::HostConfig;
use wharf_engine::containers::spec::capabilities;
use wharf_model::container::{ContainerSpec, NamespaceMode, NetworkMode, SeccompSpec, Shm};
use wharf_model::security::LabelOption;

/// What is asked for and cannot be given, said clearly, and what Docker refuses to combine.
pub(super) fn check(host: &HostConfig, spec: &ContainerSpec, remaps_users: bool) -> ApiResult<()> {
    let no = |text: String| Err(ApiError::bad_request(text));
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return no(format!("invalid user namespace mode: {}", host.userns_mode));
    }
    if remaps_users && !spec.host_users {
        for (is_asked, text) in [
            (
                spec.privileged,
                "privileged mode is incompatible with user namespaces.  You must run the container in the host \
                 namespace when running privileged mode",
            ),
            (
                spec.network == NetworkMode::Host,
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (
                spec.pid == NamespaceMode::Host,
                "cannot share the host PID namespace when user namespaces are enabled",
            ),
        ] {
            if is_asked {
                return no(text.to_owned());
            }
        }
    }
    if host.storage_opt.as_ref().is_some_and(|s| !s.is_empty()) {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "--storage-opt is not supported yet"));
    }
    if !matches!(host.runtime.as_str(), "" | "wharf" | "runc") {
        return no(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if host.shm_size < 0 {
        return no("SHM size can not be less than 0".to_owned());
    }
    if spec.uts == NamespaceMode::Host && !spec.hostname.is_empty() {
        return no("conflicting options: hostname and the UTS mode".to_owned());
    }
    if !spec.working_dir.is_empty() && !spec.working_dir.starts_with('/') {
        return no(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            spec.working_dir
        ));
    }
    check_words(spec)
}

/// No program can be given a word with a NUL in it, nor a variable without a name.
fn check_words(spec: &ContainerSpec) -> ApiResult<()> {
    let words = spec.entrypoint.iter().chain(&spec.command).flatten().chain(&spec.env);
    if let Some(word) = words.into_iter().find(|word| word.contains('\0')) {
        return Err(ApiError::bad_request(format!("invalid argument: {word:?} contains a NUL")));
    }
    match spec.env.iter().find(|variable| variable.is_empty() || variable.starts_with('=')) {
        Some(variable) => Err(ApiError::bad_request(format!("invalid environment variable: {variable}"))),
        None => Ok(()),
    }
}

fn of_container(text: &str) -> Option<NamespaceMode> {
    let name = text.strip_prefix("container:").filter(|name| !name.is_empty())?;
    Some(NamespaceMode::Container(name.to_owned()))
}

pub(super) fn ipc(text: &str) -> ApiResult<NamespaceMode> {
    match text {
        "" | "private" | "shareable" | "none" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => of_container(text).ok_or_else(|| ApiError::bad_request(format!("invalid IPC mode: {text}"))),
    }
}

/// What `/dev/shm` is for an IPC mode.
pub(super) fn shm(ipc: &str) -> Shm {
    match ipc {
        "none" => Shm::None,
        "shareable" => Shm::Shareable,
        _ => Shm::Private,
    }
}

pub(super) fn pid(text: &str) -> ApiResult<NamespaceMode> {
    match text {
        "" | "private" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => of_container(text).ok_or_else(|| ApiError::bad_request(format!("invalid PID mode: {text}"))),
    }
}

/// UTS and cgroup namespaces are shared with no other container.
pub(super) fn own_or_host(kind: &str, text: &str) -> ApiResult<NamespaceMode> {
    match text {
        "" | "private" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => Err(ApiError::bad_request(format!("invalid {kind} mode: {text}"))),
    }
}

pub(super) fn oom_score_adj(score: i64) -> ApiResult<i32> {
    match i32::try_from(score) {
        Ok(score @ -1000..=1000) => Ok(score),
        _ => Err(ApiError::bad_request(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        ))),
    }
}

pub(super) fn capability_list(field: &str, names: Vec<String>) -> ApiResult<Vec<String>> {
    let normalise = |name: String| {
        capabilities::normalise(&name).ok_or_else(|| {
            let upper = name.to_ascii_uppercase();
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            ApiError::bad_request(format!("invalid {field}: unknown capability: {full:?}"))
        })
    };
    names.into_iter().map(normalise).collect()
}

/// `labels` tells whether containers are labelled: without, as with Docker, what is asked of labels is not even looked at.
pub(super) fn options(spec: &mut ContainerSpec, host: &HostConfig, labels: bool) -> ApiResult<()> {
    if host.masked_paths.as_ref().is_some_and(Vec::is_empty)
        && host.readonly_paths.as_ref().is_some_and(Vec::is_empty)
    {
        spec.unmask_paths = true;
    }
    for option in host.security_opt.iter().flatten() {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => spec.no_new_privileges = true,
            ("no-new-privileges", "false") => spec.no_new_privileges = false,
            ("seccomp", "unconfined") => spec.seccomp = SeccompSpec::Unconfined,
            ("seccomp", "builtin") => spec.seccomp = SeccompSpec::Default,
            ("seccomp", profile) => {
                let parsed = serde_json::from_str(profile)
                    .map_err(|e| ApiError::bad_request(format!("decoding seccomp profile failed: {e}")))?;
                spec.seccomp = SeccompSpec::Profile(Box::new(parsed));
            }
            ("systempaths", "unconfined") => spec.unmask_paths = true,
            ("writable-cgroups", "true") => spec.writable_cgroups = true,
            ("writable-cgroups", "false") => spec.writable_cgroups = false,
            ("apparmor", profile) if option != "apparmor" => spec.apparmor = check_profile(profile)?,
            ("disable", "") if labels => spec.label_options.push(LabelOption::Disable),
            ("label", asked) if labels && option != "label" => spec.label_options.push(asked.parse()?),
            ("disable", "") => {}
            ("label", _) if option != "label" => {}
            _ => {
                let step = if option.contains(['=', ':']) { 2 } else { 1 };
                return Err(ApiError::bad_request(format!("invalid --security-opt {step}: {option:?}")));
            }
        }
    }
    Ok(())
}

/// The kernel reads a line with the name in it.
fn check_profile(name: &str) -> ApiResult<String> {
    if name.contains(['\0', '\n']) {
        return Err(ApiError::bad_request(format!("invalid AppArmor profile: {name:?}")));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options_asked: &[&str], labels: bool) -> ApiResult<ContainerSpec> {
        let mut spec = ContainerSpec::default();
        let asked = options_asked.iter().map(ToString::to_string).collect();
        options(&mut spec, &HostConfig { security_opt: Some(asked), ..HostConfig::default() }, labels)?;
        Ok(spec)
    }

    #[test]
    fn profiles_are_kept_wherever_they_may_be_used() {
        assert_eq!(with(&["apparmor=mine"], false).unwrap().apparmor, "mine");
        assert_eq!(with(&["apparmor:unconfined"], false).unwrap().apparmor, "unconfined");
        assert_eq!(with(&["apparmor=a", "apparmor="], false).unwrap().apparmor, "", "the later one counts");
        assert!(with(&["apparmor=a\nb"], false).is_err());
    }

    #[test]
    fn refusals_are_dockers() {
        let refused = |option: &str| with(&[option], false).unwrap_err().message;
        for option in ["foo", "apparmor", "label"] {
            assert_eq!(refused(option), format!("invalid --security-opt 1: {option:?}"));
        }
        assert_eq!(refused("foo=bar"), "invalid --security-opt 2: \"foo=bar\"");
    }

    #[test]
    fn labels_count_where_containers_have_them() {
        let asked = ["label=type:t", "label:level:s0:c1", "label=disable"];
        let spec = with(&asked, true).unwrap();
        assert_eq!(
            spec.label_options,
            [LabelOption::Type("t".into()), LabelOption::Level("s0:c1".into()), LabelOption::Disable]
        );
        assert!(with(&["label=nested"], true).unwrap_err().message.contains("bad label option \"nested\""));
        for ignored in ["label=nested", "label=type:t", "disable"] {
            assert!(with(&[ignored], false).unwrap().label_options.is_empty(), "{ignored}");
        }
    }
}
