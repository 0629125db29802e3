//! Signatures of images in cosign's formats, with keys and offline; policies that demand them.
//!
//! A signature is about a manifest's digest. It is in the same repository: as a layer of the image under the tag
//! `sha256-<hex>.sig`, or as a bundle among the digest's referrers. This crate makes and judges them; fetching and
//! storing them is the registry client's and the registry's.
#![forbid(unsafe_code)]

pub mod check;
pub mod der;
pub mod format;
pub mod key;
pub mod policy;

mod bundle;
mod pem;
mod sealed;
