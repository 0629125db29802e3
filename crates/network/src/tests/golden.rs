//! The table as the `nft` program reads it, against a golden file.

use super::fixture::{engine, network, on_a_host};
use crate::nft::foreign::chains_that_drop_forwarded;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use wharf_model::network::conformance::{mapping, request};
use wharf_model::network::{Network, Subnet};
use wharf_model::ports::{ContainerPort, PortMapping, Protocol};

#[test]
fn the_table_reads_as_meant() {
    on_a_host(|| {
        let engine = engine("wharf");
        let ipv6 = Subnet {
            base: "fd00:231::".parse().unwrap(),
            prefix: 64,
            gateway: "fd00:231::1".parse().unwrap(),
            range: None,
            auxiliary: Default::default(),
        };
        network(&engine, 1, |spec| spec.subnets.push(ipv6));
        network(&engine, 2, |spec| spec.internal = true);
        network(&engine, 3, |spec| spec.icc = false);
        let endpoint = engine.reserve(&request(1, 1)).unwrap();
        let local = PortMapping { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..mapping(443, Some(8443)) };
        let dns = ContainerPort { port: 53, protocol: Protocol::Udp };
        let udp = PortMapping { container: dns, ..mapping(53, Some(5300)) };
        engine.publish(&endpoint, &[mapping(80, Some(8080)), local, udp]).unwrap();
        let Ok(output) = Command::new("nft").args(["list", "table", "inet", "wharf"]).output() else {
            eprintln!("skipped: the nft program is not installed");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden/table.nft");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "UPDATE_GOLDEN=1 accepts the new table");
    });
}

#[test]
fn a_dropping_firewall_is_seen() {
    on_a_host(|| {
        assert_eq!(chains_that_drop_forwarded().unwrap(), Vec::<String>::new());
        for rule in [
            "add table ip filter",
            "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
        ] {
            match Command::new("nft").args(rule.split(' ')).status() {
                Ok(status) => assert!(status.success()),
                Err(_) => {
                    eprintln!("skipped: the nft program is not installed");
                    return;
                }
            }
        }
        assert_eq!(chains_that_drop_forwarded().unwrap(), ["filter FORWARD"]);
    });
}
