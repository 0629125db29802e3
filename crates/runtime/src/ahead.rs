//! Namespaces, and file systems that belong to them, made before it is known for which container.
//!
//! A monitor made ahead goes into new namespaces and back out of them when it has cloned the container's first process,
//! which inherits them. Making a network namespace takes longer than the rest of the clone.

use crate::error::{Doing, Result};
use crate::init::stock::Stock;
use rustix::fd::{AsFd, OwnedFd};
use std::fs::File;
use wharf_sys::process::{self, flag};

/// The process is in new namespaces; this is the way back.
pub struct Ahead {
    host: Vec<(u64, OwnedFd)>,
    /// For a container in these namespaces.
    pub stock: Stock,
}

const KINDS: [(u64, &str); 3] = [(flag::NEWNET, "net"), (flag::NEWIPC, "ipc"), (flag::NEWUTS, "uts")];

impl Ahead {
    /// The namespaces that are made.
    pub const FLAGS: u64 = flag::NEWNET | flag::NEWIPC | flag::NEWUTS;

    /// Moves this process into new namespaces, with the loopback interface up, and makes the usual file systems.
    ///
    /// # Errors
    /// Those of unshare(2) and the mounts. The process must end then: it may be in either.
    pub fn enter() -> Result<Self> {
        let open = |(kind, name)| -> Result<(u64, OwnedFd)> {
            let path = format!("/proc/self/ns/{name}");
            Ok((kind, File::open(&path).doing(format_args!("open {path}"))?.into()))
        };
        let host = KINDS.into_iter().map(open).collect::<Result<_>>()?;
        process::unshare(Self::FLAGS).doing("create namespaces ahead")?;
        process::loopback_up().doing("bring up the loopback interface")?;
        Ok(Self { host, stock: Stock::make()? })
    }

    /// Moves this process back into the namespaces it came from.
    ///
    /// # Errors
    /// Those of setns(2).
    pub fn leave(self) -> Result<()> {
        for (kind, namespace) in &self.host {
            process::setns(namespace.as_fd(), *kind).doing("leave the namespaces made ahead")?;
        }
        Ok(())
    }
}
