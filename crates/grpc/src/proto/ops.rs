//! `solver/pb/ops.proto`, `api/types/worker.proto`, and Google's well-known messages.

use prost::Message;
use std::collections::BTreeMap;

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// A moment in nanoseconds since 1970.
    pub fn of_ns(moment_ns: i128) -> Self {
        let seconds = i64::try_from(moment_ns.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        let nanos = i32::try_from(moment_ns.rem_euclid(1_000_000_000)).unwrap_or_default();
        Self { seconds, nanos }
    }

    /// Now.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs().cast_signed(), nanos: since.subsec_nanos().cast_signed() }
    }
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// What it is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The bytes of it.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// What something runs on.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Platform {
    /// `amd64`.
    #[prost(string, tag = "1")]
    pub architecture: String,
    /// `linux`.
    #[prost(string, tag = "2")]
    pub os: String,
    /// `v7`.
    #[prost(string, tag = "3")]
    pub variant: String,
}

/// A graph of low-level steps, which is not executed here.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Definition {
    /// Each an [`Op`].
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub def: Vec<Vec<u8>>,
    /// What is said of each, by its digest: a graph without that is none to clients.
    #[prost(btree_map = "string, message", tag = "2")]
    pub metadata: BTreeMap<String, OpMetadata>,
}

/// What is said of a low-level step.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct OpMetadata {}

/// One low-level step, as far as it names a source.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Op {
    /// What it is made of.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Input>,
    /// Where it comes from.
    #[prost(message, optional, tag = "3")]
    pub source: Option<SourceOp>,
    /// What it runs on.
    #[prost(message, optional, tag = "10")]
    pub platform: Option<Platform>,
}

/// The step before.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Input {
    /// The digest of its bytes.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Which of its results.
    #[prost(int64, tag = "2")]
    pub index: i64,
}

/// A source.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SourceOp {
    /// `docker-image://…`, `local://…`.
    #[prost(string, tag = "1")]
    pub identifier: String,
    /// How it is got.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attrs: BTreeMap<String, String>,
}

/// The file that a warning is about.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SourceInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub filename: String,
    /// Its content.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
    /// `Dockerfile`.
    #[prost(string, tag = "4")]
    pub language: String,
}

/// Lines of it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Range {
    /// The first.
    #[prost(message, optional, tag = "1")]
    pub start: Option<Position>,
    /// The last.
    #[prost(message, optional, tag = "2")]
    pub end: Option<Position>,
}

/// A place in it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Position {
    /// From 1.
    #[prost(int32, tag = "1")]
    pub line: i32,
    /// From 0.
    #[prost(int32, tag = "2")]
    pub character: i32,
}

/// A capability.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ApiCap {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// It is there.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
}

/// Who builds.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkerRecord {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What is known of it.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    /// What it builds for.
    #[prost(message, repeated, tag = "3")]
    pub platforms: Vec<Platform>,
    /// Its version.
    #[prost(message, optional, tag = "5")]
    pub version: Option<BuildkitVersion>,
}

/// Whose builder this is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BuildkitVersion {
    /// The program.
    #[prost(string, tag = "1")]
    pub package: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its revision.
    #[prost(string, tag = "3")]
    pub revision: String,
}
