//! `--network` of run and create.

use super::{csv, pair};
use wharf_docker_api::types::network::{EndpointIpam, EndpointSettings};

/// A network to join: its name and the settings of the endpoint there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) settings: EndpointSettings,
}

/// Parses a name, or `name=…,alias=…,ip=…,driver-opt=…`.
pub(crate) fn attachment(text: &str) -> Result<Attachment, String> {
    if !text.contains('=') {
        return Ok(Attachment { name: text.to_owned(), ..Attachment::default() });
    }
    let mut attachment = Attachment::default();
    let settings = &mut attachment.settings;
    for field in csv(text)? {
        let (key, value) = pair(&field);
        match key.to_ascii_lowercase().as_str() {
            "name" => attachment.name = value,
            "alias" => settings.aliases.get_or_insert_default().push(value),
            "ip" => settings.ipam_config.get_or_insert_default().ipv4_address = value,
            "ip6" => settings.ipam_config.get_or_insert_default().ipv6_address = value,
            "mac-address" => settings.mac_address = value,
            "link-local-ip" => {
                let ipam: &mut EndpointIpam = settings.ipam_config.get_or_insert_default();
                ipam.link_local_ips.get_or_insert_default().push(value);
            }
            "driver-opt" => {
                let (name, content) = pair(&value);
                settings.driver_opts.get_or_insert_default().insert(name, content);
            }
            "gw-priority" => {
                settings.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority (expected an integer): {value}"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.name.is_empty() {
        return Err(format!("network name/id must be specified: {text}"));
    }
    Ok(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(attachment("host").unwrap().name, "host");
        let long = attachment("name=back,alias=db,ip=10.0.0.9").unwrap();
        assert_eq!((long.name.as_str(), long.settings.aliases), ("back", Some(vec!["db".into()])));
        assert_eq!(long.settings.ipam_config.unwrap().ipv4_address, "10.0.0.9");
        assert!(attachment("alias=x").is_err() && attachment("name=a,what=1").is_err());
    }
}
