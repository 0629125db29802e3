//! Devices by name: the host's CDI specifications (Container Device Interface, SPEC.md) and what they change.

mod edits;
mod file;

use file::{Edits, File};
use std::path::{Path, PathBuf};
use wharf_model::{Error, Result};
use wharf_oci::runtime_spec::Spec;

/// The names of a kind's devices that are described.
pub fn devices_of_kind(kind: &str, directories: &[PathBuf]) -> Vec<String> {
    // What cannot be read is reported when a device of it is asked for.
    let (files, _) = read_all(directories);
    let files = files.into_iter().filter(|file| file.kind == kind);
    files.flat_map(|file| file.devices.into_iter().map(|d| d.name)).collect()
}

/// All devices that are described, by their names, and what of the specifications cannot be used.
pub fn discovered(directories: &[PathBuf]) -> (std::collections::BTreeSet<String>, Vec<String>) {
    let (files, unread) = read_all(directories);
    let names = |file: &File| {
        let name = |device: &file::Named| format!("{}={}", file.kind, device.name);
        file.devices.iter().map(name).collect::<Vec<_>>()
    };
    (files.iter().flat_map(names).collect(), unread)
}

/// Gives a container the devices named, `vendor.com/class=name`.
///
/// # Errors
/// When a name is described nowhere or twice, or a description asks for what is not there.
pub fn inject(spec: &mut Spec, names: &[String], directories: &[PathBuf]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let failed = |why: String| Error::invalid(format!("CDI device injection failed: {why}"));
    let (files, unread) = read_all(directories);
    let mut edits: Vec<Edits> = Vec::new();
    let (mut unknown, mut seen) = (Vec::new(), Vec::new());
    for name in names {
        let found = find(&files, name).map_err(failed)?;
        let Some((index, of_device)) = found else {
            unknown.push(name.as_str());
            continue;
        };
        if !seen.contains(&index) {
            seen.push(index);
            edits.push(files[index].container_edits.clone());
        }
        edits.push(of_device.clone());
    }
    if !unknown.is_empty() {
        let about = if unread.is_empty() { String::new() } else { format!(" ({})", unread.join("; ")) };
        return Err(failed(format!("unresolvable CDI devices {}{about}", unknown.join(", "))));
    }
    for edit in edits {
        edits::apply(spec, edit).map_err(failed)?;
    }
    Ok(())
}

/// Where a device is described. The later directory wins; two files of one directory contradict each other.
fn find<'a>(files: &'a [File], name: &str) -> Result<Option<(usize, &'a Edits)>, String> {
    let mut all = files.iter().enumerate().rev().filter_map(|(index, file)| {
        let device = name.strip_prefix(&file.kind)?.strip_prefix('=')?;
        Some((index, &file.devices.iter().find(|d| d.name == device)?.container_edits))
    });
    let Some(first) = all.next() else { return Ok(None) };
    let path = &files[first.0].path;
    if let Some((second, _)) = all.next()
        && files[second].path.parent() == path.parent()
    {
        let other = files[second].path.display();
        return Err(format!("conflicting device {name}: {other} and {} describe it", path.display()));
    }
    Ok(Some(first))
}

/// All specifications in the order of their directories, and what could not be read.
fn read_all(directories: &[PathBuf]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for directory in directories {
        for path in paths(directory, &mut unread) {
            match file::read(&path) {
                Ok(file) => files.push(file),
                Err(e) => unread.push(e.full()),
            }
        }
    }
    (files, unread)
}

fn paths(directory: &Path, unread: &mut Vec<String>) -> Vec<PathBuf> {
    // One that is not there describes nothing.
    let Ok(metadata) = std::fs::metadata(directory) else { return Vec::new() };
    if let Err(e) = file::owned_by_admin(directory, &metadata) {
        unread.push(e.full());
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| file::is_one(p)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use wharf_oci::runtime_spec::Process;

    const JSON: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net", "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "one", "containerEdits": {
                "env": ["ONE=1"],
                "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/zero", "permissions": "rw", "gid": 44}],
                "mounts": [{"hostPath": "/tmp", "containerPath": "/cdi", "options": ["ro", "rbind"]}]}},
            {"name": "rdt", "containerEdits": {"intelRdt": {"closID": "x"}}}]}"#;

    const YAML: &str = "---
cdiVersion: 0.8.0
kind: vendor.com/gpu
annotations: {made.by: a test}
containerEdits:
  additionalGids: [44, 0, 44]
  hooks:
  - hookName: createContainer
    path: /usr/bin/hook
    args: [hook, create-symlinks, --link, 'a::b']
  - {hookName: startContainer, path: /in, timeout: 7}
devices:
- name: \"0\"
  containerEdits:
    deviceNodes:
    - {path: /dev/gpu0, type: c, major: 195, minor: 1, fileMode: 0660}
    mounts:
    - {containerPath: /t, hostPath: tmpfs, type: tmpfs, options: [nosuid, size=1m]}
- name: bad
  containerEdits: {hooks: [{hookName: sometime, path: /x}]}
";

    fn injected_from(files: &[(&str, &str, u32)], names: &[&str]) -> Result<Spec> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        let mut spec = Spec { process: Some(Process::default()), ..Spec::default() };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        inject(&mut spec, &names, &[directory.path().to_owned()]).map(|()| spec)
    }

    fn injected(names: &[&str]) -> Result<Spec> {
        injected_from(&[("v.json", JSON, 0o644), ("w.yaml", YAML, 0o644), ("x.yml", "", 0o644)], names)
    }

    #[test]
    fn edits_are_applied() {
        let spec = injected(&["vendor.com/net=one"]).unwrap();
        assert_eq!(spec.process.unwrap().env, ["ALL=1", "ONE=1"]);
        let linux = spec.linux.unwrap();
        let device = &linux.devices[0];
        assert_eq!(
            (device.path.as_str(), device.major, device.minor, device.gid),
            ("/dev/x", 1, 5, Some(44))
        );
        assert_eq!(linux.resources.unwrap().devices[0].access, "rw");
        assert_eq!((spec.mounts[0].source.as_str(), spec.mounts[0].destination.as_str()), ("/tmp", "/cdi"));
    }

    #[test]
    fn yaml_says_the_same_with_hooks() {
        let spec = injected(&["vendor.com/gpu=0"]).unwrap();
        assert_eq!(spec.process.unwrap().user.additional_gids, [44]);
        let device = &spec.linux.unwrap().devices[0];
        assert_eq!((device.kind.as_str(), device.major, device.minor), ("c", 195, 1));
        assert_eq!(device.file_mode, Some(0o660));
        assert_eq!((spec.mounts[0].kind.as_str(), spec.mounts[0].options.len()), ("tmpfs", 2));
        let hooks = spec.hooks.unwrap();
        assert_eq!(hooks.create_container[0].args, ["hook", "create-symlinks", "--link", "a::b"]);
        assert_eq!(hooks.create_container[0].timeout, Some(60));
        assert_eq!(hooks.start_container[0].timeout, Some(7));
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let message = injected(&["vendor.com/net=two", "x.y/z=1"]).unwrap_err().full();
        let begin = "CDI device injection failed: unresolvable CDI devices vendor.com/net=two, x.y/z=1";
        assert!(message.starts_with(begin) && message.contains("x.yml"), "{message}");
        assert!(injected(&["vendor.com/gpu=bad"]).unwrap_err().full().contains("\"sometime\""));
        assert!(injected(&["vendor.com/net=rdt"]).unwrap_err().full().contains("intelRdt"));
        let twice = [("v.json", JSON, 0o644), ("w.json", JSON, 0o644)];
        let message = injected_from(&twice, &["vendor.com/net=one"]).unwrap_err().full();
        assert!(message.contains("conflicting device vendor.com/net=one"), "{message}");
        let message =
            injected_from(&[("v.yaml", &YAML.replace("major", "manor"), 0o644)], &["vendor.com/gpu=0"]);
        assert!(message.unwrap_err().full().contains("manor"));
    }

    #[test]
    fn all_devices_are_found() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("v.json", JSON), ("w.yaml", YAML), ("x.yml", "a: b")] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let (found, unread) = discovered(&[directory.path().to_owned()]);
        let names = ["vendor.com/gpu=0", "vendor.com/gpu=bad", "vendor.com/net=one", "vendor.com/net=rdt"];
        assert!(found.iter().eq(names.iter()), "{found:?}");
        assert!(unread.len() == 1 && unread[0].contains("x.yml"), "{unread:?}");
    }

    #[test]
    fn what_others_may_write_is_not_used() {
        for mode in [0o664, 0o646] {
            let message =
                injected_from(&[("v.json", JSON, mode)], &["vendor.com/net=one"]).unwrap_err().full();
            assert!(message.contains("v.json is not used: others may write to it"), "{message}");
        }
    }
}
