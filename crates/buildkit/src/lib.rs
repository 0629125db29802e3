//! BuildKit's API: sessions, and builds whose steps are our own builder's.
#![forbid(unsafe_code)]
