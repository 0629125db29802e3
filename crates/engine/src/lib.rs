//! Containers, images, networks, volumes, exec, events, logs, stats as separate services.
#![forbid(unsafe_code)]
