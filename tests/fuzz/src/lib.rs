//! What is fed with bytes of strangers: one function a target, for libFuzzer (`fuzz/`) and for a driver that needs no tools.
//!
//! A target must return, in time and memory in proportion to its input, whatever that is. `tests/drive.rs` feeds each
//! with the files of `tests/fuzz/corpus/TARGET/` and with changes of them that are the same in every run.
#![forbid(unsafe_code)]

mod compose;
mod disk;
mod documents;
mod driver;
mod packets;

pub use driver::drive;

/// A target.
pub type Run = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Run); 19] = [
    ("compose", compose::compose),
    ("variables", compose::variables),
    ("create", packets::create),
    ("query", packets::query),
    ("frames", packets::frames),
    ("solve", packets::solve),
    ("directory", packets::directory),
    ("netlink", packets::netlink),
    ("dns", packets::dns),
    ("reference", documents::reference),
    ("manifest", documents::manifest),
    ("image_config", documents::image_config),
    ("dockerfile", documents::dockerfile),
    ("dockerignore", documents::dockerignore),
    ("seccomp", documents::seccomp),
    ("tar", documents::tar),
    ("layer", disk::layer),
    ("log", disk::log),
    ("pack", disk::pack),
];

/// Runs one target by name.
///
/// # Panics
/// When there is none of that name, or the target finds a fault.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found.unwrap_or_else(|| panic!("no target {target}")).1(data);
}
