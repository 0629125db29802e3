//! Mount options as fstab(5) and the OCI runtime specification (config.md, "Linux mount options") write them.

use wharf_sys::mount::{attr, propagation};

/// Options sorted by what they act on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A bind mount.
    pub bind: bool,
    /// With everything mounted below.
    pub recursive: bool,
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// The attributes hold for everything below as well (`rro` and so on).
    pub attributes_recursive: bool,
    /// Propagation and whether it holds below as well.
    pub propagation: Option<(u64, bool)>,
    /// The image's content at the destination is copied up (`tmpcopyup`).
    pub copy_up: bool,
    /// What of the source is mounted (`wharf.subpath=`), our own engine's.
    pub subpath: Option<String>,
    /// The process among whose mounts the source is (`wharf.mounts-of=`), our own engine's.
    pub mounts_of: Option<i32>,
    /// Layers of an image, topmost first (`lowerdir+=`), our own engine's.
    pub layers: Vec<std::path::PathBuf>,
    /// Ids are mapped (`idmap`), and whether below as well (`ridmap`).
    pub idmap: Option<bool>,
    /// What is left for the file system: `key=value` and flags.
    pub data: Vec<String>,
}

/// Sorts the options.
pub fn parse(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        parsed.add(option);
    }
    parsed
}

impl Options {
    fn add(&mut self, option: &str) {
        if let Some((bits, on)) = attribute(option) {
            return self.attribute(bits, on);
        }
        if let Some((bits, on)) =
            option.strip_prefix('r').and_then(attribute).filter(|_| option != "ro" && option != "rw")
        {
            self.attributes_recursive = true;
            return self.attribute(bits, on);
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "private" => self.propagation = Some((propagation::PRIVATE, false)),
            "rprivate" => self.propagation = Some((propagation::PRIVATE, true)),
            "slave" => self.propagation = Some((propagation::SLAVE, false)),
            "rslave" => self.propagation = Some((propagation::SLAVE, true)),
            "shared" => self.propagation = Some((propagation::SHARED, false)),
            "rshared" => self.propagation = Some((propagation::SHARED, true)),
            "unbindable" => self.propagation = Some((propagation::UNBINDABLE, false)),
            "runbindable" => self.propagation = Some((propagation::UNBINDABLE, true)),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            // Nothing to do for them.
            "defaults" | "async" | "mand" | "nomand" | "sync" | "dirsync" | "iversion" | "noiversion"
            | "silent" | "loud" | "remount" | "relatime" => {}
            other => {
                if let Some(path) = other.strip_prefix("wharf.subpath=") {
                    self.subpath = Some(path.to_owned());
                } else if let Some(pid) = other.strip_prefix("wharf.mounts-of=") {
                    self.mounts_of = pid.parse().ok();
                } else if let Some(path) = other.strip_prefix("lowerdir+=") {
                    self.layers.push(path.into());
                } else {
                    self.data.push(other.to_owned());
                }
            }
        }
    }

    fn attribute(&mut self, bits: u64, on: bool) {
        if on {
            self.set |= bits;
            self.clear &= !bits;
            if bits & attr::ATIME_MASK & !attr::NODIRATIME != 0 {
                // The access time policy is a field, not a bit: it is cleared as a whole before it is set.
                self.clear |= attr::ATIME_MASK & !attr::NODIRATIME;
            }
        } else {
            self.clear |= bits;
            self.set &= !bits;
        }
    }
}

fn attribute(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "ro" => (attr::RDONLY, true),
        "rw" => (attr::RDONLY, false),
        "nosuid" => (attr::NOSUID, true),
        "suid" => (attr::NOSUID, false),
        "nodev" => (attr::NODEV, true),
        "dev" => (attr::NODEV, false),
        "noexec" => (attr::NOEXEC, true),
        "exec" => (attr::NOEXEC, false),
        "noatime" => (attr::NOATIME, true),
        "strictatime" => (attr::STRICTATIME, true),
        "nodiratime" => (attr::NODIRATIME, true),
        "diratime" => (attr::NODIRATIME, false),
        "nosymfollow" => (attr::NOSYMFOLLOW, true),
        "symfollow" => (attr::NOSYMFOLLOW, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Options {
        parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn attributes_and_data_part() {
        let o = of("nosuid,noexec,nodev,mode=755,size=65536k");
        assert_eq!(o.set, attr::NOSUID | attr::NOEXEC | attr::NODEV);
        assert_eq!(o.data, ["mode=755", "size=65536k"]);
        assert!(!o.bind);
    }

    #[test]
    fn binds_with_propagation() {
        let o = of("rbind,rprivate,ro");
        assert!(o.bind && o.recursive && !o.attributes_recursive);
        assert_eq!(o.propagation, Some((propagation::PRIVATE, true)));
        assert_eq!(o.set, attr::RDONLY);
    }

    #[test]
    fn recursive_attributes() {
        let o = of("rbind,rro");
        assert!(o.attributes_recursive);
        assert_eq!(o.set, attr::RDONLY);
    }

    #[test]
    fn the_last_one_wins() {
        assert_eq!(of("ro,rw").set, 0);
        assert_eq!(of("rw,ro").set, attr::RDONLY);
    }
}
