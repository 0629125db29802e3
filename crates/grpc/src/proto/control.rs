//! `api/services/control/control.proto`.

use super::ops::{BuildkitVersion, Definition, Range, SourceInfo, Timestamp, WorkerRecord};
use prost::Message;
use std::collections::BTreeMap;

/// Asks for a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveRequest {
    /// The build's name.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// Low-level steps.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
    /// What becomes of the result, as older clients say it.
    #[prost(string, tag = "3")]
    pub exporter: String,
    /// How.
    #[prost(btree_map = "string, string", tag = "4")]
    pub exporter_attrs: BTreeMap<String, String>,
    /// The session it belongs to.
    #[prost(string, tag = "5")]
    pub session: String,
    /// Who reads the input.
    #[prost(string, tag = "6")]
    pub frontend: String,
    /// How.
    #[prost(btree_map = "string, string", tag = "7")]
    pub frontend_attrs: BTreeMap<String, String>,
    /// Caches elsewhere.
    #[prost(message, optional, tag = "8")]
    pub cache: Option<CacheOptions>,
    /// What the build may.
    #[prost(string, repeated, tag = "9")]
    pub entitlements: Vec<String>,
    /// Results of other builds.
    #[prost(btree_map = "string, message", tag = "10")]
    pub frontend_inputs: BTreeMap<String, Definition>,
    /// What becomes of the result.
    #[prost(message, repeated, tag = "13")]
    pub exporters: Vec<Exporter>,
}

/// Caches elsewhere.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheOptions {
    /// Where to.
    #[prost(message, repeated, tag = "4")]
    pub exports: Vec<CacheOptionsEntry>,
    /// Where from.
    #[prost(message, repeated, tag = "5")]
    pub imports: Vec<CacheOptionsEntry>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheOptionsEntry {
    /// `registry`, `local`, `inline`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Which.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attrs: BTreeMap<String, String>,
}

/// What becomes of a result.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Exporter {
    /// `moby`, `local`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// How.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attrs: BTreeMap<String, String>,
}

/// A build that is done.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveResponse {
    /// What the exporters say.
    #[prost(btree_map = "string, string", tag = "1")]
    pub exporter_response: BTreeMap<String, String>,
}

/// Asks for a build's news.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusRequest {
    /// The build's name.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// News of a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    /// Steps.
    #[prost(message, repeated, tag = "1")]
    pub vertexes: Vec<Vertex>,
    /// How far parts of steps are.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<VertexStatus>,
    /// What they print.
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<VertexLog>,
    /// What looks wrong.
    #[prost(message, repeated, tag = "4")]
    pub warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Vertex {
    /// Names it.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Steps before it.
    #[prost(string, repeated, tag = "2")]
    pub inputs: Vec<String>,
    /// What people read.
    #[prost(string, tag = "3")]
    pub name: String,
    /// It had not to be done.
    #[prost(bool, tag = "4")]
    pub cached: bool,
    /// When it began.
    #[prost(message, optional, tag = "5")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "6")]
    pub completed: Option<Timestamp>,
    /// Why it failed.
    #[prost(string, tag = "7")]
    pub error: String,
}

/// How far a part of a step is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexStatus {
    /// Names it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its step.
    #[prost(string, tag = "2")]
    pub vertex: String,
    /// What people read.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Bytes so far.
    #[prost(int64, tag = "4")]
    pub current: i64,
    /// Of so many.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// When this was so.
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    /// When it began.
    #[prost(message, optional, tag = "7")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "8")]
    pub completed: Option<Timestamp>,
}

/// What a step prints.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexLog {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// When.
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    /// 1: standard output, 2: standard error.
    #[prost(int64, tag = "3")]
    pub stream: i64,
    /// What.
    #[prost(bytes = "bytes", tag = "4")]
    pub msg: bytes::Bytes,
}

/// What looks wrong.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexWarning {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// How bad.
    #[prost(int64, tag = "2")]
    pub level: i64,
    /// In a line.
    #[prost(bytes = "bytes", tag = "3")]
    pub short: bytes::Bytes,
    /// In more.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub detail: Vec<bytes::Bytes>,
    /// Where to read of it.
    #[prost(string, tag = "5")]
    pub url: String,
    /// Where it is.
    #[prost(message, optional, tag = "6")]
    pub info: Option<SourceInfo>,
    /// In which lines.
    #[prost(message, repeated, tag = "7")]
    pub ranges: Vec<Range>,
}

/// What of the cache is meant.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DiskUsageRequest {
    /// Filters.
    #[prost(string, repeated, tag = "1")]
    pub filter: Vec<String>,
}

/// What of the cache shall go.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PruneRequest {
    /// Filters.
    #[prost(string, repeated, tag = "1")]
    pub filter: Vec<String>,
    /// What is in use by images, too.
    #[prost(bool, tag = "2")]
    pub all: bool,
    /// Nanoseconds since its last use after which it may go.
    #[prost(int64, tag = "3")]
    pub keep_duration: i64,
    /// Bytes that may stay.
    #[prost(int64, tag = "4")]
    pub reserved_space: i64,
}

/// The cache.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DiskUsageResponse {
    /// Its pieces.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<UsageRecord>,
}

/// A piece of the cache.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UsageRecord {
    /// Names it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// It may change.
    #[prost(bool, tag = "2")]
    pub mutable: bool,
    /// Somebody uses it.
    #[prost(bool, tag = "3")]
    pub in_use: bool,
    /// Bytes.
    #[prost(int64, tag = "4")]
    pub size: i64,
    /// When it was made.
    #[prost(message, optional, tag = "6")]
    pub created_at: Option<Timestamp>,
    /// When it was last used.
    #[prost(message, optional, tag = "7")]
    pub last_used_at: Option<Timestamp>,
    /// How often it was.
    #[prost(int64, tag = "8")]
    pub usage_count: i64,
    /// What it is.
    #[prost(string, tag = "9")]
    pub description: String,
    /// Its kind.
    #[prost(string, tag = "10")]
    pub record_type: String,
    /// It is an image's, too.
    #[prost(bool, tag = "11")]
    pub shared: bool,
}

/// Who builds.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListWorkersResponse {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub record: Vec<WorkerRecord>,
}

/// Whose builder this is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InfoResponse {
    /// Its version.
    #[prost(message, optional, tag = "1")]
    pub version: Option<BuildkitVersion>,
}

/// Asks for former builds.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BuildHistoryRequest {
    /// Those under way.
    #[prost(bool, tag = "1")]
    pub active_only: bool,
    /// One of them.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// Without those to come.
    #[prost(bool, tag = "3")]
    pub early_exit: bool,
}
