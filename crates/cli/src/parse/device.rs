//! `--device`, `--gpus` and the flags that limit devices.

use super::{csv, pair, size};
use wharf_docker_api::types::host_config::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};

/// `/dev/x[:/dev/y][:rwm]`, or a CDI name (`vendor.com/class=name`).
pub(crate) enum Device {
    Mapping(DeviceMapping),
    Cdi(String),
}

/// Parses a `--device` value.
pub(crate) fn device(text: &str) -> Result<Device, String> {
    if !text.starts_with('/') && text.contains('=') {
        return Ok(Device::Cdi(text.to_owned()));
    }
    let is_mode = |part: &str| !part.is_empty() && part.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
    let parts: Vec<&str> = text.split(':').collect();
    if let [_, _, mode] = parts[..]
        && !is_mode(mode)
    {
        return Err(format!("bad mode specified: {mode}"));
    }
    let (host, inside, mode) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (*host, *inside, *mode),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err(format!("{} is not an absolute path", if host.starts_with('/') { inside } else { host }));
    }
    Ok(Device::Mapping(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: mode.to_owned(),
    }))
}

/// Parses a `--gpus` value: `all`, a count, or `device=…,capabilities=…`.
pub(crate) fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request =
        DeviceRequest { capabilities: Some(vec![vec!["gpu".into()]]), ..DeviceRequest::default() };
    let count = |value: &str| {
        if value == "all" {
            return Ok(-1);
        }
        value
            .parse::<i64>()
            .map_err(|_| format!("count ({value}) value must be either \"all\" or an integer"))
    };
    for field in csv(text)? {
        match pair(&field) {
            (value, _) if !field.contains('=') => request.count = count(&value)?,
            (key, value) if key == "count" => request.count = count(&value)?,
            (key, value) if key == "device" => {
                request.device_ids = Some(value.split(',').map(str::to_owned).collect());
            }
            (key, value) if key == "driver" => request.driver = value,
            (key, value) if key == "capabilities" => {
                let capabilities = value.split(',').map(str::to_owned).chain(["gpu".to_owned()]);
                request.capabilities = Some(vec![capabilities.collect()]);
            }
            (key, value) if key == "options" => {
                request.options = Some(value.split(',').map(pair).collect());
            }
            (key, _) => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    Ok(request)
}

/// `/dev/sda:1mb` in bytes a second.
pub(crate) fn bytes_rate(text: &str) -> Result<ThrottleDevice, String> {
    rate(text, |value| size::bytes(value).ok().and_then(|n| u64::try_from(n).ok()))
}

/// `/dev/sda:1000` in operations a second.
pub(crate) fn operations_rate(text: &str) -> Result<ThrottleDevice, String> {
    rate(text, |value| value.parse().ok())
}

fn rate(text: &str, parse: impl Fn(&str) -> Option<u64>) -> Result<ThrottleDevice, String> {
    let invalid = || format!("invalid rate for device: {text}: /dev/name:number is expected");
    let (path, value) = text.split_once(':').ok_or_else(invalid)?;
    if !path.starts_with("/dev/") {
        return Err(invalid());
    }
    Ok(ThrottleDevice { path: path.to_owned(), rate: parse(value).ok_or_else(invalid)? })
}

/// `/dev/sda:500`.
pub(crate) fn weight(text: &str) -> Result<WeightDevice, String> {
    let invalid = || format!("invalid weight for device: {text}: /dev/name:10-1000 is expected");
    let (path, value) = text.split_once(':').ok_or_else(invalid)?;
    let weight: u16 = value.parse().map_err(|_| invalid())?;
    if !path.starts_with("/dev/") || (weight != 0 && !(10..=1000).contains(&weight)) {
        return Err(invalid());
    }
    Ok(WeightDevice { path: path.to_owned(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let parse = |text: &str| match device(text)? {
            Device::Mapping(d) => Ok((d.path_on_host, d.path_in_container, d.cgroup_permissions)),
            Device::Cdi(name) => Err(name),
        };
        let three = |a: &str, b: &str, c: &str| Ok((a.into(), b.into(), c.into()));
        assert_eq!(parse("/dev/a"), three("/dev/a", "/dev/a", "rwm"));
        assert_eq!(parse("/dev/a:r"), three("/dev/a", "/dev/a", "r"));
        assert_eq!(parse("/dev/a:/dev/b:rw"), three("/dev/a", "/dev/b", "rw"));
        assert_eq!(parse("vendor.com/gpu=0"), Err("vendor.com/gpu=0".into()));
        assert!(device("/dev/a:b").is_err() && device("/dev/a:/b:x").is_err());
        assert_eq!(gpus("all").unwrap().count, -1);
        assert_eq!(gpus("device=0").unwrap().device_ids, Some(vec!["0".into()]));
        assert_eq!(bytes_rate("/dev/sda:1m").unwrap().rate, 1 << 20);
        assert!(operations_rate("sda:1").is_err() && weight("/dev/sda:5").is_err());
    }
}
