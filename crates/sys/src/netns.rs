//! Network namespaces (network_namespaces(7)).

use rustix::thread::UnshareFlags;
use std::io;

/// Moves the calling thread, and no other, into a new network namespace with nothing but a loopback that is
/// down (unshare(2), `CLONE_NEWNET`). The namespace ends with the last thread, descriptor or mount of it.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: the danger of unshare(2) is CLONE_FILES, which is not asked for; a network namespace belongs
    // to the calling thread alone and no memory or descriptor changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}
