//! `--mount`.

use super::{boolean, csv, pair, size};
use std::path::Path;
use wharf_docker_api::types::host_config::{Mount, TmpfsOptions};

/// Parses `type=bind,source=…,target=…,readonly,…`.
pub(crate) fn mount(text: &str, current_dir: &Path) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    for field in csv(text)? {
        let (key, value) = pair(&field);
        let has_value = field.contains('=');
        let flag = || if has_value { boolean(&value).map_err(|_| invalid(&key, &value)) } else { Ok(true) };
        let key = key.to_ascii_lowercase();
        match key.as_str() {
            "readonly" | "ro" => mount.read_only = flag()?,
            "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = flag()?,
            "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = flag()?,
            "bind-create-src" => mount.bind_options.get_or_insert_default().create_mountpoint = flag()?,
            _ if !has_value => return Err(format!("invalid field '{field}' must be a key=value pair")),
            "type" => mount.kind = value.to_ascii_lowercase(),
            "source" | "src" => mount.source = value,
            "target" | "dst" | "destination" => mount.target = value,
            "consistency" => mount.consistency = value,
            "bind-propagation" => mount.bind_options.get_or_insert_default().propagation = value,
            "bind-recursive" => {
                let options = mount.bind_options.get_or_insert_default();
                match value.as_str() {
                    "enabled" => {}
                    "disabled" => options.non_recursive = true,
                    "writable" => options.read_only_non_recursive = true,
                    "readonly" => options.read_only_force_recursive = true,
                    _ => {
                        let words = "\"enabled\", \"disabled\", \"writable\", or \"readonly\"";
                        return Err(format!("{} (must be {words})", invalid(&key, &value)));
                    }
                }
            }
            "volume-subpath" => mount.volume_options.get_or_insert_default().subpath = value,
            "volume-driver" => {
                let options = mount.volume_options.get_or_insert_default();
                options.driver_config.get_or_insert_default().name = value;
            }
            "volume-label" => {
                let (name, content) = pair(&value);
                let options = mount.volume_options.get_or_insert_default();
                options.labels.get_or_insert_default().insert(name, content);
            }
            "volume-opt" => {
                let (name, content) = pair(&value);
                let options = mount.volume_options.get_or_insert_default();
                let driver = options.driver_config.get_or_insert_default();
                driver.options.get_or_insert_default().insert(name, content);
            }
            "image-subpath" => mount.image_options.get_or_insert_default().subpath = value,
            "tmpfs-size" => {
                tmpfs(&mut mount).size_bytes = size::bytes(&value).map_err(|_| invalid(&key, &value))?;
            }
            "tmpfs-mode" => {
                tmpfs(&mut mount).mode = u32::from_str_radix(&value, 8).map_err(|_| invalid(&key, &value))?;
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    check(&mount)?;
    check_recursion(&mount)?;
    if mount.kind == "bind" && mount.source.starts_with(['.', '~']) {
        mount.source = super::volume::absolute(&mount.source, current_dir);
    }
    Ok(mount)
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn invalid(key: &str, value: &str) -> String {
    format!("invalid value for {key}: {value}")
}

fn check_recursion(mount: &Mount) -> Result<(), String> {
    let Some(options) = &mount.bind_options else { return Ok(()) };
    let needs = |value: &str, other: &str| {
        Err(format!("option 'bind-recursive={value}' requires '{other}' to be specified in conjunction"))
    };
    match (options.read_only_non_recursive, options.read_only_force_recursive) {
        (true, _) if !mount.read_only => needs("writable", "readonly"),
        (_, true) if !mount.read_only => needs("readonly", "readonly"),
        (_, true) if options.propagation != "rprivate" => needs("readonly", "bind-propagation=rprivate"),
        _ => Ok(()),
    }
}

fn check(mount: &Mount) -> Result<(), String> {
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    for (kind, is_set) in [
        ("volume", mount.volume_options.is_some()),
        ("bind", mount.bind_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
        ("image", mount.image_options.is_some()),
    ] {
        if is_set && mount.kind != kind {
            return Err(format!("cannot mix '{kind}-*' options with mount type '{}'", mount.kind));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |text| mount(text, Path::new("/here"));
        let bind = parse("type=bind,src=./a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!((bind.source.as_str(), bind.target.as_str(), bind.read_only), ("/here/a", "/b", true));
        assert_eq!(bind.bind_options.unwrap().propagation, "rslave");
        let volume =
            parse("source=data,target=/d,volume-opt=type=nfs,\"volume-opt=o=addr=1.2.3.4,rw\"").unwrap();
        assert_eq!(volume.kind, "volume");
        let options = volume.volume_options.unwrap().driver_config.unwrap().options.unwrap();
        assert_eq!(options["o"], "addr=1.2.3.4,rw");
        let tmpfs =
            parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap().tmpfs_options.unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (1 << 20, 0o1770));
        for bad in [
            "type=bind,src=/a",
            "target=/a,x=y",
            "type=bind,src=/a,target=/a,bind-recursive=readonly",
            "type=bind,src=/a,target=/a,bind-recursive=readonly,ro",
            "type=bind,src=/a,target=/a,bind-recursive=writable",
            "target=/a,tmpfs-size=1m",
            "target=/a,readonly=maybe",
            "target",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
