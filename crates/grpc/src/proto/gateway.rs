//! `frontend/gateway/pb/gateway.proto`: how a client steers its own build.

use super::ops::{ApiCap, Definition, WorkerRecord};
use crate::status::RpcStatus;
use prost::Message;
use std::collections::BTreeMap;

/// The result of a part of a build.
#[derive(Clone, PartialEq, Message)]
pub struct Result {
    /// Where it is.
    #[prost(oneof = "Reference", tags = "1, 2, 3, 4")]
    pub reference: Option<Reference>,
    /// What is known of it.
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub metadata: BTreeMap<String, Vec<u8>>,
}

/// Names a result.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Reference {
    /// As older clients do.
    #[prost(string, tag = "1")]
    Old(String),
    /// As older clients do, one for each platform.
    #[prost(message, tag = "2")]
    OldMap(OldRefMap),
    /// One.
    #[prost(message, tag = "3")]
    One(Ref),
    /// One for each platform.
    #[prost(message, tag = "4")]
    Map(RefMap),
}

/// Names by platform.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OldRefMap {
    /// They.
    #[prost(btree_map = "string, string", tag = "1")]
    pub refs: BTreeMap<String, String>,
}

/// A name, and how another build may use it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ref {
    /// The name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What another build gets as its input.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
}

/// Names by platform.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RefMap {
    /// They.
    #[prost(btree_map = "string, message", tag = "1")]
    pub refs: BTreeMap<String, Ref>,
}

/// The end of what the client steers.
#[derive(Clone, PartialEq, Message)]
pub struct ReturnRequest {
    /// What is to be exported.
    #[prost(message, optional, tag = "1")]
    pub result: Option<Result>,
    /// Why there is nothing.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RpcStatus>,
}

/// The inputs of a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InputsResponse {
    /// They.
    #[prost(btree_map = "string, message", tag = "1")]
    pub definitions: BTreeMap<String, Definition>,
}

/// Asks for a part of a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveRequest {
    /// Low-level steps.
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Definition>,
    /// Who reads the input.
    #[prost(string, tag = "2")]
    pub frontend: String,
    /// How.
    #[prost(btree_map = "string, string", tag = "3")]
    pub frontend_opt: BTreeMap<String, String>,
    /// Results of other builds.
    #[prost(btree_map = "string, message", tag = "13")]
    pub frontend_inputs: BTreeMap<String, Definition>,
}

/// The part.
#[derive(Clone, PartialEq, Message)]
pub struct SolveResponse {
    /// It.
    #[prost(message, optional, tag = "3")]
    pub result: Option<Result>,
}

/// What there is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PongResponse {
    /// Of this protocol.
    #[prost(message, repeated, tag = "1")]
    pub frontend_caps: Vec<ApiCap>,
    /// Of low-level steps.
    #[prost(message, repeated, tag = "2")]
    pub llb_caps: Vec<ApiCap>,
    /// Who builds.
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<WorkerRecord>,
}
