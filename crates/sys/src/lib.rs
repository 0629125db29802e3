//! Safe wrappers over the kernel: syscalls, mounts, cgroups, netlink, seccomp. The only crate with unsafe code.

pub mod netns;
