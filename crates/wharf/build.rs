//! Where the program begins.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if (target("ARCH"), target("OS")) == ("x86_64".to_owned(), "linux".to_owned()) {
        // crates/sys/src/entry.rs; elsewhere the C library's entry is the only one.
        println!("cargo:rustc-link-arg-bins=-Wl,--entry=wharf_entry");
    }
}
