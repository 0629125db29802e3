//! What every container finds in its root, whatever its image: places for mounts and for the engine's own files.
//!
//! A store lays it below all layers of a snapshot, so an image's own files win, and no container needs copies of it.
//! It is never part of a layer or of a change set.

/// Directories, parents before what is in them, with mode 0755.
pub const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
/// Empty files, with mode 0755 as Docker makes them. `.dockerenv` is how programs see that they run in a container.
pub const FILES: [&str; 5] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// Symbolic links and what they lead to.
pub const LINKS: [(&str, &str); 1] = [("etc/mtab", "/proc/mounts")];

/// Whether a path, without a slash at its start, is part of it.
pub fn contains(path: &str) -> bool {
    DIRECTORIES.contains(&path) || FILES.contains(&path) || LINKS.iter().any(|(name, _)| *name == path)
}
