//! What a container uses, and its processes.

use super::Containers;
use crate::clock::now_ns;
use wharf_model::Result;
use wharf_model::container::ContainerRecord;
use wharf_model::launcher::Usage;
use wharf_model::network::Traffic;

/// One measurement.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Nanoseconds since the epoch.
    pub at_ns: i128,
    /// Processor, memory, tasks, block devices.
    pub usage: Usage,
    /// Network by interface.
    pub traffic: Vec<(String, Traffic)>,
    /// Processor time of the whole host, ns.
    pub host_cpu_ns: u64,
    /// Processors in use.
    pub online_cpus: u32,
    /// Memory of the host, bytes.
    pub host_memory: u64,
}

impl Containers {
    /// Measures a running container.
    pub async fn sample(&self, record: &ContainerRecord) -> Result<Sample> {
        let usage = self.shared.launcher.usage(&self.shared.cgroup_of(record)).await?;
        let networks = self.shared.networks.clone();
        let of = record.clone();
        let traffic = super::blocking(move || networks.traffic(&of)).await?;
        let (host_cpu_ns, online_cpus) = host_cpu();
        Ok(Sample { at_ns: now_ns(), usage, traffic, host_cpu_ns, online_cpus, host_memory: host_memory() })
    }

    /// The processes of a running container, as the host numbers them.
    pub async fn processes(&self, record: &ContainerRecord) -> Result<Vec<i32>> {
        self.shared.launcher.processes(&self.shared.cgroup_of(record)).await
    }
}

/// Time of all processors since boot in ns, and how many there are (proc_stat(5)).
fn host_cpu() -> (u64, u32) {
    // USER_HZ is 100 on every architecture we build for.
    const NS_PER_TICK: u64 = 10_000_000;
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let total: u64 = text
        .lines()
        .next()
        .map(|l| l.split_whitespace().skip(1).take(8).filter_map(|n| n.parse::<u64>().ok()).sum())
        .unwrap_or(0);
    let count = text.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    (total * NS_PER_TICK, count as u32)
}

/// Memory of the host in bytes (proc_meminfo(5)).
pub fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
