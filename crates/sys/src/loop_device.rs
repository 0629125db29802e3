//! Loop devices that go with their last user, loop(4).

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::path::PathBuf;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const BLOCK_SIZE: u32 = 512;
/// Others may take the free device first, each time; whoever loses that often has another trouble.
const ATTEMPTS: usize = 64;

/// `struct loop_config` (linux/loop.h).
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// A loop device; it goes when this is dropped and nothing is mounted from it.
pub(crate) struct Loop {
    pub(crate) path: PathBuf,
    _device: OwnedFd,
}

fn failed(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Makes a file a read-only block device.
pub(crate) fn attach(file: BorrowedFd<'_>) -> io::Result<Loop> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", flags, Mode::empty());
    let control = control.map_err(|e| failed("open /dev/loop-control", e.into()))?;
    for _ in 0..ATTEMPTS {
        // SAFETY: the request takes no argument; the descriptor is open.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(failed("find a free loop device", io::Error::last_os_error()));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let device = device.map_err(|e| failed(&format!("open {}", path.display()), e.into()))?;
        // SAFETY: all fields are numbers and arrays of numbers, for which zero is a value.
        let mut config: Config = unsafe { std::mem::zeroed() };
        config.fd = file.as_raw_fd() as u32;
        config.block_size = BLOCK_SIZE;
        config.info.flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
        // SAFETY: the pointer is to a `loop_config` that lives through the call.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
        match result {
            0 => return Ok(Loop { path, _device: device }),
            _ => match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::EBUSY) => {}
                e => return Err(failed(&format!("configure {}", path.display()), e)),
            },
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "others take every free loop device first"))
}
