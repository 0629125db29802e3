//! The host's `/etc/resolv.conf` (resolv.conf(5)), read again whenever it changes.

use std::fs::{self, Metadata};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostResolver {
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl HostResolver {
    fn parse(content: &str) -> Self {
        let mut found = Self::default();
        for line in content.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                // An interface name after `%` means nothing in another namespace.
                Some("nameserver") => found.nameservers.extend(
                    words
                        .next()
                        .and_then(|word| word.split('%').next())
                        .and_then(|word| word.parse::<IpAddr>().ok()),
                ),
                // The last one counts.
                Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
                Some("options") => found.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        found
    }
}

/// Which state of which file was read: device, inode, size and time of the last change.
type Version = (u64, u64, u64, i64, i64);

/// The file, with what it said when it was last read.
#[derive(Debug)]
pub(crate) struct ResolvConf {
    path: PathBuf,
    read: Mutex<(Option<Version>, Arc<HostResolver>)>,
}

impl ResolvConf {
    /// Nothing is read yet.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::default() }
    }

    /// What the file says now. A missing or unreadable file says nothing.
    pub(crate) fn current(&self) -> Arc<HostResolver> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let version = fs::metadata(&self.path).ok().as_ref().map(version);
        if version.is_none() || version != read.0 {
            let content = fs::read_to_string(&self.path).unwrap_or_default();
            *read = (version, Arc::new(HostResolver::parse(&content)));
        }
        Arc::clone(&read.1)
    }
}

fn version(file: &Metadata) -> Version {
    (file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_parse() {
        let found = HostResolver::parse(
            "# made by hand\nnameserver 10.0.0.1\nnameserver fe80::1%eth0 ; link-local\nnameserver nonsense\n\
             domain old.example\nsearch a.example b.example\noptions ndots:2 edns0\n",
        );
        assert_eq!(found.nameservers, ["10.0.0.1", "fe80::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(found.search, ["a.example", "b.example"]);
        assert_eq!(found.options, ["ndots:2", "edns0"]);
    }

    #[test]
    fn changes_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let conf = ResolvConf::new(&path);
        assert!(conf.current().nameservers.is_empty());
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        assert_eq!(conf.current().nameservers.len(), 1);
        let other = dir.path().join("new");
        fs::write(&other, "nameserver 10.0.0.2\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(conf.current().nameservers, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        fs::remove_file(&path).unwrap();
        assert!(conf.current().nameservers.is_empty());
    }
}
