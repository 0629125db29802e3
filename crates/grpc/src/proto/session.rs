//! What a client's session offers: `session/*/*.proto`.

use prost::Message;

/// The credentials of a registry.
pub const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
/// A directory from the client.
pub const FILE_SYNC: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// A result to the client.
pub const FILE_SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// A secret.
pub const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
/// Whether there is an SSH agent.
pub const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
/// A connection to it.
pub const FORWARD_AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
/// A context that came through the client's standard input.
pub const UPLOAD: &str = "/moby.upload.v1.Upload/Pull";

/// Bytes of a stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BytesMessage {
    /// They.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Asks for credentials.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CredentialsRequest {
    /// The registry.
    #[prost(string, tag = "1")]
    pub host: String,
}

/// Credentials; a secret without a name is an identity token.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CredentialsResponse {
    /// The user.
    #[prost(string, tag = "1")]
    pub username: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub secret: String,
}

/// Asks for a secret.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetSecretRequest {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// A secret.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetSecretResponse {
    /// It.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Asks for an agent.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CheckAgentRequest {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// Whether a server is well.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Health {
    /// 1: it serves.
    #[prost(int32, tag = "1")]
    pub status: i32,
}
