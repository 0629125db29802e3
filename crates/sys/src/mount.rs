//! Mount attributes, mount_setattr(2), which rustix lacks.

use rustix::fd::{AsRawFd, BorrowedFd};
use std::io;

/// Attributes of a mount.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NOEXEC: u64 = 0x8;
    /// Access times are never updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are never updated.
    pub const NODIRATIME: u64 = 0x80;
    /// The bits that hold the access time policy.
    pub const ATIME_MASK: u64 = 0x70;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// Ids are mapped.
    pub const IDMAP: u64 = 0x10_0000;
}

/// Propagation of a mount, the kernel's `MS_*` numbers.
pub mod propagation {
    /// Events stay inside.
    pub const PRIVATE: u64 = 1 << 18;
    /// Events come in only.
    pub const SLAVE: u64 = 1 << 19;
    /// Events go both ways.
    pub const SHARED: u64 = 1 << 20;
    /// As private, and cannot be bind-mounted.
    pub const UNBINDABLE: u64 = 1 << 17;
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// What to change on a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// New propagation, 0 to leave it.
    pub propagation: u64,
    /// The whole tree instead of the mount alone.
    pub recursive: bool,
}

/// Changes attributes of the mount behind a descriptor. Kernels before 5.12 answer ENOSYS.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    change: Change,
    userns: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let attr = MountAttr {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation,
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if change.recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the struct is what the kernel expects under this size and outlives the call.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if r == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
