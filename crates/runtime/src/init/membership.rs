//! How a container's first process gets into its cgroup.

use super::join_cgroup;
use crate::error::{Doing, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use wharf_sys::process::{self, flag};
use wharf_sys::socket;

/// The way into the cgroup.
#[derive(Default)]
pub enum Membership {
    /// The process was born in it, or there is none.
    #[default]
    Inside,
    /// By the membership files of version 1.
    Files(Vec<OwnedFd>),
    /// By the same, which the parent sends while the root is built: making a cgroup takes as long.
    Awaited,
}

/// The parent's word that comes with the membership files.
pub const ADMITTED: &[u8] = b"cgroup";

/// The process before, and then in, its cgroup.
pub(super) struct Entrance<'a> {
    way: Option<Membership>,
    /// Where the parent's word comes from.
    sync: BorrowedFd<'a>,
    /// Creates a cgroup namespace, which begins at the cgroup.
    namespace: bool,
}

impl<'a> Entrance<'a> {
    pub(super) fn new(way: Membership, sync: BorrowedFd<'a>, namespace: bool) -> Self {
        Self { way: Some(way), sync, namespace }
    }

    /// Joins now, unless the parent is waited for.
    pub(super) fn pass_early(&mut self) -> Result<()> {
        if matches!(self.way, Some(Membership::Awaited)) { Ok(()) } else { self.pass() }
    }

    /// Joins, if it was not done yet.
    pub(super) fn pass(&mut self) -> Result<()> {
        let files = match self.way.take() {
            None => return Ok(()),
            Some(Membership::Inside) => Vec::new(),
            Some(Membership::Files(files)) => files,
            Some(Membership::Awaited) => self.await_files()?,
        };
        join_cgroup(&files).doing("join the cgroup")?;
        if self.namespace {
            process::unshare(flag::NEWCGROUP).doing("create the cgroup namespace")?;
        }
        Ok(())
    }

    fn await_files(&self) -> Result<Vec<OwnedFd>> {
        let mut buffer = [0u8; 16];
        let (n, files) = socket::receive(self.sync, &mut buffer).doing("wait for the cgroup")?;
        if &buffer[..n] == ADMITTED { Ok(files) } else { Err(Error::setup("the start was given up")) }
    }
}
