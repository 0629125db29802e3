//! What a control group has used.

use super::{Cgroup, Layout};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes and operations of one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockBytes {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub write: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// A snapshot of use. What the host does not account for is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time, ns.
    pub cpu_total_ns: u64,
    /// Processor time in user mode, ns.
    pub cpu_user_ns: u64,
    /// Processor time in the kernel, ns.
    pub cpu_system_ns: u64,
    /// Scheduling periods, throttled ones, and the time throttled in ns.
    pub throttling: (u64, u64, u64),
    /// Bytes in use, page cache included.
    pub memory: u64,
    /// Most bytes ever in use; 0 where the kernel does not tell.
    pub memory_peak: u64,
    /// Bytes allowed; `u64::MAX` without a limit.
    pub memory_limit: u64,
    /// `memory.stat`.
    pub memory_stat: BTreeMap<String, u64>,
    /// Times the limit was hit.
    pub memory_failures: u64,
    /// Tasks.
    pub pids: u64,
    /// Tasks allowed; 0 without a limit.
    pub pids_limit: u64,
    /// Block devices.
    pub block: Vec<BlockBytes>,
}

fn number(directory: &Path, file: &str) -> Option<u64> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

fn table(directory: &Path, file: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

impl Cgroup {
    /// Reads the counters. A group that is gone reads as all zeroes.
    pub fn stats(&self) -> Stats {
        match &self.layout {
            Layout::V2 { .. } => self.directory_of("").map(|d| stats_v2(&d)).unwrap_or_default(),
            Layout::V1 { .. } => self.stats_v1(),
        }
    }

    fn stats_v1(&self) -> Stats {
        let mut stats = Stats::default();
        // USER_HZ is 100 on every architecture we build for.
        const NS_PER_TICK: u64 = 10_000_000;
        if let Some(d) = self.directory_of("cpuacct") {
            let split = table(&d, "cpuacct.stat");
            stats.cpu_total_ns = number(&d, "cpuacct.usage").unwrap_or(0);
            stats.cpu_user_ns = split.get("user").copied().unwrap_or(0) * NS_PER_TICK;
            stats.cpu_system_ns = split.get("system").copied().unwrap_or(0) * NS_PER_TICK;
        }
        if let Some(d) = self.directory_of("cpu") {
            let t = table(&d, "cpu.stat");
            let get = |key: &str| t.get(key).copied().unwrap_or(0);
            stats.throttling = (get("nr_periods"), get("nr_throttled"), get("throttled_time"));
        }
        if let Some(d) = self.directory_of("memory") {
            stats.memory = number(&d, "memory.usage_in_bytes").unwrap_or(0);
            stats.memory_peak = number(&d, "memory.max_usage_in_bytes").unwrap_or(0);
            // Version 1 writes "no limit" as the largest multiple of a page.
            stats.memory_limit =
                number(&d, "memory.limit_in_bytes").filter(|l| *l < 1 << 62).unwrap_or(u64::MAX);
            stats.memory_failures = number(&d, "memory.failcnt").unwrap_or(0);
            stats.memory_stat = table(&d, "memory.stat");
        }
        if let Some(d) = self.directory_of("pids") {
            stats.pids = number(&d, "pids.current").unwrap_or(0);
            stats.pids_limit = number(&d, "pids.max").filter(|l| *l != u64::MAX).unwrap_or(0);
        }
        if let Some(d) = self.directory_of("blkio") {
            let mut block = BTreeMap::new();
            v1_block(&d.join("blkio.throttle.io_service_bytes"), &mut block, |b| (&mut b.read, &mut b.write));
            v1_block(&d.join("blkio.throttle.io_serviced"), &mut block, |b| (&mut b.reads, &mut b.writes));
            stats.block = block.into_values().collect();
        }
        stats
    }
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn v1_block(
    file: &Path,
    block: &mut BTreeMap<(u32, u32), BlockBytes>,
    fields: fn(&mut BlockBytes) -> (&mut u64, &mut u64),
) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    for line in text.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [device, operation, value] = parts[..] else { continue };
        let (Some((major, minor)), Ok(value)) = (device_number(device), value.parse::<u64>()) else {
            continue;
        };
        let entry = block.entry((major, minor)).or_insert(BlockBytes { major, minor, ..Default::default() });
        let (read, write) = fields(entry);
        match operation {
            "Read" => *read = value,
            "Write" => *write = value,
            _ => {}
        }
    }
}

fn stats_v2(d: &Path) -> Stats {
    let cpu = table(d, "cpu.stat");
    let get = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let events = table(d, "memory.events");
    Stats {
        cpu_total_ns: get("usage_usec") * 1000,
        cpu_user_ns: get("user_usec") * 1000,
        cpu_system_ns: get("system_usec") * 1000,
        throttling: (get("nr_periods"), get("nr_throttled"), get("throttled_usec") * 1000),
        memory: number(d, "memory.current").unwrap_or(0),
        memory_peak: number(d, "memory.peak").unwrap_or(0),
        memory_limit: number(d, "memory.max").unwrap_or(u64::MAX),
        memory_stat: table(d, "memory.stat"),
        memory_failures: events.get("max").copied().unwrap_or(0),
        pids: number(d, "pids.current").unwrap_or(0),
        pids_limit: number(d, "pids.max").filter(|l| *l != u64::MAX).unwrap_or(0),
        block: v2_block(&std::fs::read_to_string(d.join("io.stat")).unwrap_or_default()),
    }
}

fn v2_block(text: &str) -> Vec<BlockBytes> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let (major, minor) = device_number(parts.next()?)?;
            let mut entry = BlockBytes { major, minor, ..Default::default() };
            for (key, value) in parts.filter_map(|p| p.split_once('=')) {
                let value = value.parse().unwrap_or(0);
                match key {
                    "rbytes" => entry.read = value,
                    "wbytes" => entry.write = value,
                    "rios" => entry.reads = value,
                    "wios" => entry.writes = value,
                    _ => {}
                }
            }
            Some(entry)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_stat_parses() {
        let block = v2_block("254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\nbad\n");
        assert_eq!(block, [BlockBytes { major: 254, minor: 0, read: 4096, write: 0, reads: 1, writes: 0 }]);
    }
}
