//! Each target with its corpus and changes of it.

use wharf_fuzz::{TARGETS, drive};

/// Bytes of address space: an input of a few kilobytes must not ask for more.
const ADDRESSES: u64 = 8 << 30;

fn bounded(target: &str) {
    let limit = rustix::process::Rlimit { current: Some(ADDRESSES), maximum: None };
    // A hard limit that is lower is as good.
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, limit);
    drive(target);
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            bounded(stringify!($name));
        })*

        #[test]
        fn all_are_tried() {
            let tried = [$(stringify!($name)),*];
            let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(tried.as_slice(), known);
            for name in tried {
                let file = format!("{}/../../fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                assert!(std::path::Path::new(&file).exists(), "{file} is not there");
            }
        }
    };
}

targets!(
    compose,
    variables,
    create,
    query,
    frames,
    solve,
    directory,
    netlink,
    dns,
    reference,
    manifest,
    image_config,
    dockerfile,
    dockerignore,
    seccomp,
    tar,
    layer,
    log,
    pack
);
