//! `/images`.

use super::container::{GraphDriver, HealthConfig};
use super::{Empty, Map, StrSlice, is_default};

wire! { "PascalCase":
    /// An element of `GET /images/json`.
    pub struct Summary {
        /// -1 when not counted.
        pub containers: i64,
        /// Seconds since 1970.
        pub created: i64,
        pub id: String,
        pub labels: Option<Map<String>>,
        pub parent_id: String,
        pub repo_digests: Vec<String>,
        pub repo_tags: Vec<String>,
        /// -1 when not computed.
        pub shared_size: i64,
        pub size: i64,
        /// Until API 1.43.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<i64>,
    }

    /// Something damaged, in `aux` of a message of `POST /images/check`.
    pub struct CheckFinding {
        /// `configuration`, `manifest`, `blob` or `layer`.
        pub object: String,
        /// Its digest; a layer's is its chain id.
        pub digest: String,
        /// The image it was found with; empty when none has it.
        pub image: String,
        /// What is wrong with it.
        pub damage: String,
        /// `damaged`, `mended`, or `lost` when it could not be mended.
        pub state: String,
        /// Why not.
        #[serde(skip_serializing_if = "is_default")]
        pub error: String,
    }

    /// What was checked, in `aux` of the last message.
    pub struct CheckSummary {
        pub images: u64,
        /// Configurations, manifests, blobs and layers.
        pub objects: u64,
        /// Bytes read.
        pub bytes: u64,
        /// Layers that have no digest to compare with.
        pub unverifiable: u64,
        pub damaged: u64,
        pub mended: u64,
    }

    /// `GET /images/{name}/json`.
    pub struct Inspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub parent: String,
        pub comment: String,
        #[serde(skip_serializing_if = "is_default")]
        pub created: String,
        pub docker_version: String,
        pub author: String,
        pub config: Option<ImageConfig>,
        /// Until API 1.44.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub container_config: Option<ImageConfig>,
        pub architecture: String,
        #[serde(skip_serializing_if = "is_default")]
        pub variant: String,
        pub os: String,
        #[serde(skip_serializing_if = "is_default")]
        pub os_version: String,
        pub size: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_size: Option<i64>,
        pub graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: Metadata,
    }

    /// What an image says about its containers.
    pub struct ImageConfig {
        pub user: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub exposed_ports: Option<Map<Option<Empty>>>,
        pub env: Option<Vec<String>>,
        pub entrypoint: Option<StrSlice>,
        pub cmd: Option<StrSlice>,
        pub volumes: Option<Map<Option<Empty>>>,
        pub working_dir: String,
        pub labels: Option<Map<String>>,
        #[serde(skip_serializing_if = "is_default")]
        pub stop_signal: String,
        pub on_build: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shell: Option<StrSlice>,
        #[serde(skip_serializing_if = "is_default")]
        pub args_escaped: bool,
    }

    pub struct RootFs {
        #[serde(rename = "Type")]
        pub kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub layers: Option<Vec<String>>,
    }

    pub struct Metadata {
        pub last_tag_time: String,
    }

    /// An element of `GET /images/{name}/history`.
    pub struct History {
        pub comment: String,
        /// Seconds since 1970.
        pub created: i64,
        pub created_by: String,
        pub id: String,
        pub size: i64,
        pub tags: Option<Vec<String>>,
    }

    /// An element of the answer to `DELETE /images/{name}`: one of the two.
    pub struct DeleteResponse {
        #[serde(skip_serializing_if = "is_default")]
        pub deleted: String,
        #[serde(skip_serializing_if = "is_default")]
        pub untagged: String,
    }

    pub struct PruneResponse {
        pub images_deleted: Option<Vec<DeleteResponse>>,
        pub space_reclaimed: u64,
    }

    /// An element of `GET /images/search`.
    pub struct SearchResult {
        #[serde(rename = "name")]
        pub name: String,
        #[serde(rename = "description")]
        pub description: String,
        #[serde(rename = "star_count")]
        pub star_count: i64,
        #[serde(rename = "is_official")]
        pub is_official: bool,
        #[serde(rename = "is_automated")]
        pub is_automated: bool,
    }
}
