//! Safe wrappers over the kernel: syscalls, mounts, cgroups, seccomp. The only crate with unsafe code.
//!
//! What rustix already wraps safely is used from rustix directly; here is what it lacks.

pub mod cgroup;
pub mod datagram;
pub mod device_filter;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod entry;
pub mod erofs;
mod loop_device;
pub mod memory;
pub mod mount;
pub mod netns;
pub mod process;
pub mod seccomp;
pub mod signals;
pub mod socket;
