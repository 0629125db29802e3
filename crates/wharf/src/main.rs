//! The `wharf` binary: wiring and configuration; the only place that names adapters.
#![forbid(unsafe_code)]

fn main() {}
