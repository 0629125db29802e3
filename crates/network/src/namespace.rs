//! Work inside another network namespace.

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::BorrowedFd;

/// Runs `work` on a thread of its own inside `netns`; the thread then ends, so that no other work can ever
/// find itself in the wrong namespace.
pub(crate) fn within<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Errno> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            // Requests and replies live on the heap.
            .stack_size(64 * 1024)
            .spawn_scoped(scope, || {
                move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
                work()
            })
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN))?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
