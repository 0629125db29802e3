//! Compose files, and how they become calls of the Docker API.
//!
//! [`files`] reads them into one tree of values with positions, [`project`] makes the typed, canonical project of it, [`plan`] decides
//! what has to change, [`run`] does it over the API.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod error;
pub mod files;
pub mod plan;
pub mod project;
pub mod run;

pub use error::{Error, Kind, Position};
