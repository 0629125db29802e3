//! Options of the local driver: what a volume shows in place of a directory of its own, or whose that is.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use wharf_model::volumes::{Ownership, VolumeMount};
use wharf_model::{Error, Result};

/// What a volume is, by its options.
#[derive(Debug, PartialEq)]
pub(super) enum Source {
    /// A directory of its own.
    Own(Ownership),
    /// A directory of the host.
    Directory(PathBuf),
    /// A file system that is mounted while a container uses it.
    Mount(VolumeMount),
}

/// What says whose the volume's own directory is: options beyond Docker's, or in `o` without a device.
const OWNERSHIP: [&str; 3] = ["uid", "gid", "mode"];

/// What the options of the local driver mean, in Docker's words for what it refuses.
pub(super) fn source_of(options: &BTreeMap<String, String>) -> Result<Source> {
    let known = |key: &str| matches!(key, "type" | "device" | "o" | "size") || OWNERSHIP.contains(&key);
    if let Some(key) = options.keys().find(|key| !known(key)) {
        return Err(Error::invalid(format!("invalid option: {key:?}")));
    }
    if options.contains_key("size") {
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    let of = |key: &str| options.get(key).map(String::as_str);
    let owners = OWNERSHIP.iter().filter_map(|key| Some((*key, of(key)?)));
    let listed = of("o").unwrap_or_default();
    if let Some(in_list) = owners_alone(listed)
        && !options.contains_key("type")
        && !options.contains_key("device")
    {
        return Ok(Source::Own(ownership(in_list.into_iter().chain(owners))?));
    }
    let missing = |key: &str| Error::invalid(format!("missing required option: {key:?}"));
    let device = of("device").filter(|d| !d.is_empty()).ok_or_else(|| missing("device"))?;
    let kind = of("type").filter(|t| !t.is_empty()).ok_or_else(|| missing("type"))?;
    if listed.split(',').any(|option| matches!(option, "bind" | "rbind")) {
        if !device.starts_with('/') {
            return Err(Error::invalid(format!("invalid device {device:?}: an absolute path is expected")));
        }
        if let Some((key, _)) = owners.into_iter().next_back() {
            return Err(Error::invalid(format!(
                "invalid option: {key:?}: {device} is the host's and keeps its owner and mode"
            )));
        }
        return Ok(Source::Directory(device.into()));
    }
    let mut all = with_address(kind, listed)?;
    for (key, value) in owners {
        all = [all.as_str(), if all.is_empty() { "" } else { "," }, key, "=", value].concat();
    }
    Ok(Source::Mount(VolumeMount { kind: kind.to_owned(), device: device.to_owned(), options: all }))
}

/// The options of `o`, if they speak of nothing but the owner and the mode.
fn owners_alone(listed: &str) -> Option<Vec<(&str, &str)>> {
    let of = |option| str::split_once(option, '=').filter(|(key, _)| OWNERSHIP.contains(key));
    listed.split(',').filter(|option| !option.is_empty()).map(of).collect()
}

fn ownership<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Ownership> {
    let mut ownership = Ownership::default();
    for (key, value) in options {
        let wrong = |wanted: &str| {
            Error::invalid(format!("invalid value {value:?} of option {key:?}: {wanted} is expected"))
        };
        // -1, the largest, would change nothing (chown(2)).
        let id = || value.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(|| wrong("a number"));
        match key {
            "uid" => ownership.uid = Some(id()?),
            "gid" => ownership.gid = Some(id()?),
            _ => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                ownership.mode = Some(mode.ok_or_else(|| wrong("an octal number up to 7777"))?);
            }
        }
    }
    Ok(ownership)
}

/// The kernel's NFS takes the server's address, not its name.
fn with_address(kind: &str, options: &str) -> Result<String> {
    if !kind.starts_with("nfs") && kind != "cifs" {
        return Ok(options.to_owned());
    }
    let resolved = options.split(',').map(|option| {
        let Some(host) = option.strip_prefix("addr=") else { return Ok(option.to_owned()) };
        if host.parse::<IpAddr>().is_ok() {
            return Ok(option.to_owned());
        }
        let found = (host, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
        let found = found.ok_or_else(|| Error::invalid(format!("error resolving {host}: no such host")))?;
        Ok(format!("addr={}", found.ip()))
    });
    Ok(resolved.collect::<Result<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[(&str, &str)]) -> Result<Source> {
        source_of(&options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn owners_are_said_in_two_ways() {
        let wanted = Ownership { uid: Some(1000), gid: Some(50), mode: Some(0o2770) };
        let own = |options: &[(&str, &str)]| match parsed(options).unwrap() {
            Source::Own(ownership) => ownership,
            other => panic!("{other:?}"),
        };
        assert_eq!(own(&[]), Ownership::default());
        assert_eq!(own(&[("uid", "1000"), ("gid", "50"), ("mode", "02770")]), wanted);
        assert_eq!(own(&[("o", "uid=1000,gid=50,mode=2770")]), wanted);
        assert_eq!(own(&[("o", "uid=7,mode=2770"), ("gid", "50"), ("uid", "1000")]), wanted);
        let Source::Mount(mount) =
            parsed(&[("type", "tmpfs"), ("device", "x"), ("o", "nosuid"), ("uid", "7")]).unwrap()
        else {
            panic!("a mount is expected")
        };
        assert_eq!(mount.options, "nosuid,uid=7");
    }

    #[test]
    fn wrong_options_are_named() {
        for (options, said) in [
            (&[("uid", "root")][..], "invalid value \"root\" of option \"uid\""),
            (&[("uid", "4294967295")], "a number is expected"),
            (&[("mode", "0888")], "an octal number"),
            (&[("mode", "10000")], "an octal number"),
            (&[("o", "uid=5,nosuid")], "missing required option: \"device\""),
            (&[("o", "uid=5"), ("type", "tmpfs")], "missing required option: \"device\""),
            (&[("o", "bind"), ("type", "none"), ("device", "/x"), ("uid", "5")], "keeps its owner"),
            (&[("owner", "5")], "invalid option: \"owner\""),
        ] {
            let message = parsed(options).unwrap_err().full();
            assert!(message.contains(said), "{message}");
        }
    }
}
