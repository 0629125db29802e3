//! `/volumes`.

use super::{Map, Texts};

wire! { "PascalCase":
    pub struct Volume {
        #[serde(skip_serializing_if = "super::is_default")]
        pub created_at: String,
        pub driver: String,
        pub labels: Option<Map<String>>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<Map<String>>,
        pub scope: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub usage_data: Option<UsageData>,
    }

    pub struct UsageData {
        /// -1 when not counted.
        pub ref_count: i64,
        /// -1 when not computed.
        pub size: i64,
    }

    pub struct ListResponse {
        pub volumes: Vec<Volume>,
        pub warnings: Option<Vec<String>>,
    }

    /// `POST /volumes/create`.
    pub struct CreateRequest {
        pub name: String,
        pub driver: String,
        pub driver_opts: Option<Texts>,
        pub labels: Option<Texts>,
    }

    pub struct PruneResponse {
        pub volumes_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }
}
