//! From files to one tree: read, interpolated, extended, included, made canonical, merged.

pub mod canonical;
pub mod dotenv;
pub mod environment;
pub mod extends;
pub mod include;
pub mod interpolate;
pub mod load;
pub mod merge;
pub mod nearest;
pub mod node;
pub mod paths;
pub mod ports;
pub mod remote;
pub mod units;
pub mod volumes;
pub mod yaml;

pub use environment::Environment;
pub use load::{Load, Loaded, Source};
pub use node::{Entry, Node, Tag, Value};
