//! `deploy` of a service.

use super::attributes::attributes;
use super::scalars::{Blank, Bytes, Duration, Map, size_text};

attributes! {
    /// How many, with what, and how they change.
    pub struct Deploy {
        mode: String,
        replicas: Option<i64>,
        labels: Map<String>,
        update_config: Option<UpdateConfig>,
        rollback_config: Option<UpdateConfig>,
        resources: Resources,
        restart_policy: Option<RestartPolicy>,
        placement: Placement,
        endpoint_mode: String,
    }

    /// How containers are replaced.
    pub struct UpdateConfig {
        parallelism: Option<u64>,
        delay: Duration,
        failure_action: String,
        monitor: Duration,
        max_failure_ratio: f32,
        order: String,
    }

    /// Limits and reservations.
    pub struct Resources {
        limits: Option<Resource>,
        reservations: Option<Resource>,
    }

    /// One side of them.
    pub struct Resource {
        cpus: f32,
        #[serde(deserialize_with = "size_text")]
        memory: Bytes,
        pids: i64,
        devices: Vec<DeviceRequest>,
        generic_resources: Vec<GenericResource>,
    }

    /// Devices by what they can do.
    pub struct DeviceRequest {
        capabilities: Vec<String>,
        driver: String,
        count: i64,
        device_ids: Vec<String>,
        options: Map<String>,
    }

    /// Of a swarm; kept, and without effect here.
    pub struct GenericResource {
        discrete_resource_spec: Option<DiscreteResource>,
    }

    /// Of a swarm.
    pub struct DiscreteResource {
        kind: String,
        value: i64,
    }

    /// When ended containers are started again.
    pub struct RestartPolicy {
        condition: String,
        delay: Option<Duration>,
        max_attempts: Option<u64>,
        window: Option<Duration>,
    }

    /// Of a swarm.
    pub struct Placement {
        constraints: Vec<String>,
        preferences: Vec<Preference>,
        max_replicas_per_node: u64,
    }

    /// Of a swarm.
    pub struct Preference {
        spread: String,
    }
}

// Docker's JSON has these even where they are empty.
impl Blank for Resources {
    fn is_blank(&self) -> bool {
        false
    }
}

impl Blank for Placement {
    fn is_blank(&self) -> bool {
        false
    }
}
