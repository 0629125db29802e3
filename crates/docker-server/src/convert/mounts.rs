//! Mounts: `-v`, `--mount`, `--tmpfs`.

use crate::error::{ApiError, ApiResult};
use std::collections::BTreeMap;
use std::path::PathBuf;
use wharf_docker_api::types::host_config::{HostConfig, Mount};
use wharf_model::container::{Depth, MountSource, MountSpec};
use wharf_model::security::Relabel;

pub(super) fn all(host: &HostConfig, anonymous: impl Iterator<Item = String>) -> ApiResult<Vec<MountSpec>> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(parse_bind(bind)?);
    }
    for mount in host.mounts.iter().flatten() {
        mounts.push(from_mount(mount)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let options: Vec<String> = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        if let Some(unknown) = options.iter().find(|o| !is_tmpfs_option(o)) {
            return Err(ApiError::bad_request(format!("invalid tmpfs option {unknown:?}")));
        }
        let read_only = options.iter().any(|o| o == "ro");
        let options = options.into_iter().filter(|o| o != "ro" && o != "rw").collect();
        let source = MountSource::Tmpfs { options };
        mounts.push(MountSpec { source, target: target.clone(), read_only, relabel: Relabel::No });
    }
    for target in anonymous {
        // Docker's CLI sends `-v name:/path` here in no form, and `-v /path` as a key.
        if !mounts.iter().any(|m| m.target == target) {
            mounts.push(MountSpec { source: volume(""), target, read_only: false, relabel: Relabel::Shared });
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for mount in &mounts {
        if !seen.insert(mount.target.trim_end_matches('/').to_owned()) {
            return Err(ApiError::bad_request(format!("Duplicate mount point: {}", mount.target)));
        }
    }
    Ok(mounts)
}

fn is_tmpfs_option(option: &str) -> bool {
    const FLAGS: &str = "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime \
                         noatime diratime nodiratime bind rbind unbindable runbindable private rprivate shared rshared \
                         slave rslave relatime norelatime strictatime nostrictatime tmpcopyup";
    match option.split_once('=') {
        Some((key, _)) => {
            matches!(key, "mode" | "uid" | "gid" | "size" | "nr_inodes" | "nr_blocks" | "mpol" | "huge")
        }
        None => FLAGS.split_whitespace().any(|flag| flag == option),
    }
}

fn volume(name: &str) -> MountSource {
    MountSource::Volume {
        name: name.to_owned(),
        no_copy: false,
        subpath: String::new(),
        labels: BTreeMap::new(),
    }
}

/// `source:target[:options]`, where a source that begins with a slash is a path and another one a volume.
fn parse_bind(text: &str) -> ApiResult<MountSpec> {
    let invalid = || ApiError::bad_request(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        // As `VOLUME` would.
        [target] if target.starts_with('/') => {
            let (source, target) = (volume(""), target.to_owned());
            return Ok(MountSpec { source, target, read_only: false, relabel: Relabel::Shared });
        }
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    let (mut read_only, mut propagation, mut no_copy) = (false, String::new(), false);
    // As Docker: files of a volume are all containers', unless its mode says anything.
    let is_volume = !source.starts_with('/');
    let mut relabel = if is_volume && options.is_empty() { Relabel::Shared } else { Relabel::No };
    let (mut said, mut twice) = (false, false);
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" | "rw" => {
                (said, twice) = (true, said);
                read_only = option == "ro";
            }
            "z" | "Z" => {
                let wanted = if option == "z" { Relabel::Shared } else { Relabel::Private };
                if relabel != Relabel::No && relabel != wanted {
                    return Err(ApiError::bad_request(format!("invalid mode: {options}")));
                }
                relabel = wanted;
            }
            "cached" | "delegated" | "consistent" => {}
            "nocopy" if is_volume => no_copy = true,
            "nocopy" => {
                let why = "invalid mount config for type \"bind\": field VolumeOptions must not be specified";
                return Err(ApiError::bad_request(format!("invalid volume specification: '{text}': {why}")));
            }
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                option.clone_into(&mut propagation);
            }
            _ => return Err(ApiError::bad_request(format!("invalid mode: {options}"))),
        }
    }
    if twice {
        return Err(ApiError::bad_request(format!("invalid mode: {options}")));
    }
    let source = if !is_volume {
        MountSource::Bind {
            path: PathBuf::from(source),
            propagation,
            create: true,
            non_recursive: false,
            read_only: Depth::AllIfPossible,
        }
    } else {
        MountSource::Volume {
            name: source.to_owned(),
            no_copy,
            subpath: String::new(),
            labels: BTreeMap::new(),
        }
    };
    Ok(MountSpec { source, target: target.to_owned(), read_only, relabel })
}

fn invalid(mount: &Mount, why: &str) -> ApiError {
    ApiError::bad_request(format!("invalid mount config for type {:?}: {why}", mount.kind))
}

/// What Docker refuses of a mount, in its words.
fn check(mount: &Mount) -> ApiResult<()> {
    for (name, kind, is_set) in [
        ("BindOptions", "bind", mount.bind_options.is_some()),
        ("VolumeOptions", "volume", mount.volume_options.is_some()),
        ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
        ("ImageOptions", "image", mount.image_options.is_some()),
    ] {
        if is_set && mount.kind != kind {
            let text = format!("{name} must not be specified on mount type {:?}", mount.kind);
            return Err(ApiError::bad_request(text));
        }
    }
    match mount.kind.as_str() {
        "image" | "bind" if mount.source.is_empty() => Err(invalid(mount, "field Source must not be empty")),
        "tmpfs" if !mount.source.is_empty() => Err(invalid(mount, "field Source must not be specified")),
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            if options.read_only_non_recursive && options.read_only_force_recursive {
                let text = "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive";
                return Err(invalid(mount, text));
            }
            if options.read_only_force_recursive && !mount.read_only {
                return Err(invalid(mount, "ReadOnlyForceRecursive needs ReadOnly"));
            }
            match options.propagation.as_str() {
                "" | "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => Ok(()),
                other => Err(invalid(mount, &format!("invalid propagation mode: {other}"))),
            }
        }
        "volume" => {
            let subpath = mount.volume_options.clone().unwrap_or_default().subpath;
            if !subpath.is_empty() && mount.source.is_empty() {
                return Err(invalid(mount, "must not set Subpath when using anonymous volumes"));
            }
            check_subpath(mount, &subpath)
        }
        "image" => check_subpath(mount, &mount.image_options.clone().unwrap_or_default().subpath),
        _ => Ok(()),
    }
}

fn check_subpath(mount: &Mount, subpath: &str) -> ApiResult<()> {
    use std::path::{Component, Path};
    let mut depth = 0i32;
    let stays = Path::new(subpath).components().all(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            Component::CurDir => 0,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        depth >= 0
    });
    if stays { Ok(()) } else { Err(invalid(mount, "subpath must be a relative path within the volume")) }
}

fn from_mount(mount: &Mount) -> ApiResult<MountSpec> {
    check(mount)?;
    let source = match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            MountSource::Bind {
                path: PathBuf::from(&mount.source),
                propagation: options.propagation,
                create: options.create_mountpoint,
                non_recursive: options.non_recursive,
                read_only: if options.read_only_non_recursive {
                    Depth::Alone
                } else if options.read_only_force_recursive {
                    Depth::All
                } else {
                    Depth::AllIfPossible
                },
            }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            MountSource::Volume {
                name: mount.source.clone(),
                no_copy: options.no_copy,
                subpath: options.subpath,
                labels: options.labels.unwrap_or_default(),
            }
        }
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut list: Vec<String> =
                options.options.unwrap_or_default().iter().map(|o| o.join("=")).collect();
            if options.size_bytes > 0 {
                list.push(format!("size={}", options.size_bytes));
            }
            if options.mode > 0 {
                list.push(format!("mode={:o}", options.mode));
            }
            MountSource::Tmpfs { options: list }
        }
        "image" => MountSource::Image {
            name: mount.source.clone(),
            subpath: mount.image_options.clone().unwrap_or_default().subpath,
        },
        _ => return Err(invalid(mount, "mount type unknown")),
    };
    let read_only = mount.read_only || mount.kind == "image";
    let relabel = if mount.kind == "volume" { Relabel::Shared } else { Relabel::No };
    Ok(MountSpec { source, target: mount.target.clone(), read_only, relabel })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        let bind = parse_bind("/host:/c:ro,rslave").unwrap();
        assert!(bind.read_only && bind.target == "/c");
        assert!(
            matches!(bind.source, MountSource::Bind { create: true, ref propagation, .. } if propagation == "rslave")
        );
        assert!(
            matches!(parse_bind("data:/c").unwrap().source, MountSource::Volume { ref name, .. } if name == "data")
        );
        for (text, relabel) in [
            ("/a:/b", Relabel::No),
            ("/a:/b:ro,z", Relabel::Shared),
            ("/a:/b:Z", Relabel::Private),
            ("data:/b", Relabel::Shared),
            ("data:/b:ro", Relabel::No),
            ("data:/b:Z", Relabel::Private),
        ] {
            assert_eq!(parse_bind(text).unwrap().relabel, relabel, "{text}");
        }
        let alone = parse_bind("/a").unwrap();
        assert!(
            alone.target == "/a"
                && matches!(alone.source, MountSource::Volume { ref name, .. } if name.is_empty())
        );
        for bad in ["", "a", ":/b", "/a:/b:purple", "/a:/b:ro:x", "/a:/b:z,Z", "/a:/b:ro,rw", "/a:/b:nocopy"]
        {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_docker_refuses() {
        let mount = |kind: &str, source: &str| Mount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: "/x".to_owned(),
            ..Mount::default()
        };
        let refused = |mount: &Mount| from_mount(mount).unwrap_err().message;
        assert!(
            refused(&mount("foo", "")).contains("invalid mount config for type \"foo\": mount type unknown")
        );
        assert!(refused(&mount("image", "")).contains("field Source must not be empty"));
        for (subpath, is_valid) in [("a/../b", true), ("../x", false), ("/a", false), ("a/../../b", false)] {
            let mut mount = mount("volume", "v");
            mount.volume_options.get_or_insert_default().subpath = subpath.to_owned();
            assert_eq!(from_mount(&mount).is_ok(), is_valid, "{subpath}");
        }
        let mut both = mount("image", "busybox");
        both.bind_options = Some(Default::default());
        assert!(refused(&both).contains("BindOptions must not be specified on mount type \"image\""));
        assert!(from_mount(&mount("image", "busybox")).unwrap().read_only);
    }
}
