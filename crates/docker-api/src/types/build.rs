//! Streams of messages: build, pull, push, load, import.

use super::is_default;

wire! { "camelCase":
    /// One message; which fields it has tells what it is.
    pub struct Message {
        #[serde(skip_serializing_if = "is_default")]
        pub stream: String,
        #[serde(skip_serializing_if = "is_default")]
        pub status: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub progress_detail: Option<Progress>,
        /// The progress bar, drawn by the engine.
        #[serde(skip_serializing_if = "is_default")]
        pub progress: String,
        /// The layer or tag that the message is about.
        #[serde(skip_serializing_if = "is_default")]
        pub id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub error_detail: Option<ErrorDetail>,
        #[serde(skip_serializing_if = "is_default")]
        pub error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub aux: Option<serde_json::Value>,
    }

    pub struct Progress {
        #[serde(skip_serializing_if = "is_default")]
        pub current: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub total: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub start: i64,
        #[serde(rename = "hidecounts", skip_serializing_if = "is_default")]
        pub hide_counts: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub units: String,
    }

    pub struct ErrorDetail {
        #[serde(skip_serializing_if = "is_default")]
        pub code: i64,
        pub message: String,
    }

    /// `aux` of a finished build.
    pub struct BuildResult {
        #[serde(rename = "ID")]
        pub id: String,
    }

    /// `aux` of a finished push.
    pub struct PushResult {
        #[serde(rename = "Tag")]
        pub tag: String,
        #[serde(rename = "Digest")]
        pub digest: String,
        #[serde(rename = "Size")]
        pub size: i64,
    }
}
