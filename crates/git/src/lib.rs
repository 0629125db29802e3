//! Files of a Git repository at one commit, over `https://`, `http://` and `git://`.
//!
//! ```text
//! address ──▶ ls-refs ──▶ fetch of one commit ──▶ pack ──▶ its tree as a tar
//! ```
//! Only what building and reading Compose files need: protocol version 2 (gitprotocol-v2(5)), SHA-1, no history, nothing
//! written to a repository. Everything received is named by its own digest, so a server cannot give what was not asked for.
#![forbid(unsafe_code)]

mod address;
mod checkout;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod pack;
mod packet;
mod protocol;
mod transport;

pub use address::Address;
pub use checkout::Files;
pub use protocol::Repository;
pub use transport::Access;
