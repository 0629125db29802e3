//! Limits of a control group, written as each version wants them.

use super::{Cgroup, Layout, with_path, write};
use crate::device_filter;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// A number for one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimit {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Weight, bytes a second or operations a second.
    pub value: u64,
}

/// What to limit. `None` and empty leave things as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Access rules for devices; the last match wins. Empty leaves all devices allowed.
    pub devices: Vec<device_filter::Rule>,
    /// Bytes; -1 is no limit.
    pub memory: Option<i64>,
    /// Bytes; -1 is no limit.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memory_and_swap: Option<i64>,
    /// 0 to 100; version 1 only.
    pub swappiness: Option<u64>,
    /// Version 1 only.
    pub disable_oom_killer: bool,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds a period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// As `0-2,4`.
    pub cpuset_cpus: String,
    /// As `0-2,4`.
    pub cpuset_mems: String,
    /// ≤ 0 is no limit.
    pub pids: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Bytes a second.
    pub read_bps: Vec<DeviceLimit>,
    /// Bytes a second.
    pub write_bps: Vec<DeviceLimit>,
    /// Operations a second.
    pub read_iops: Vec<DeviceLimit>,
    /// Operations a second.
    pub write_iops: Vec<DeviceLimit>,
    /// Files of version 2 with what to write to them.
    pub unified: Vec<(String, String)>,
}

impl Cgroup {
    /// Sets the access rules for devices where they come one by one (version 1), everything denied first: a
    /// process that were in the cgroup already could for a moment make not even `/dev/null`. So this is done
    /// while it is empty. On version 2 the rules come in one piece with [`Cgroup::apply`].
    pub fn restrict_devices(&self, rules: &[device_filter::Rule]) -> io::Result<()> {
        if matches!(self.layout, Layout::V2 { .. }) {
            return Ok(());
        }
        let (mut allow, mut deny): (Option<File>, Option<File>) = (None, None);
        for rule in rules {
            let (file, name) =
                if rule.allow { (&mut allow, "devices.allow") } else { (&mut deny, "devices.deny") };
            let path = self.file_v1(name)?;
            let failed = |e: io::Error| with_path(&e, &path);
            if file.is_none() {
                *file = Some(OpenOptions::new().write(true).open(&path).map_err(failed)?);
            }
            if let Some(file) = file {
                // A rule a call: the kernel reads one.
                file.write_all(v1_device(rule).as_bytes()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Writes the limits, but for what [`Cgroup::restrict_devices`] sets. The error names the file that refused.
    pub fn apply(&self, limits: &Limits) -> io::Result<()> {
        match &self.layout {
            Layout::V2 { .. } => self.apply_v2(limits),
            Layout::V1 { .. } => self.apply_v1(limits),
        }
    }

    fn set_v1(&self, file: &str, value: &str) -> io::Result<()> {
        write(&self.file_v1(file)?, value)
    }

    fn file_v1(&self, file: &str) -> io::Result<PathBuf> {
        let controller = file.split('.').next().unwrap_or(file);
        let Some(directory) = self.directory_of(controller) else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this host has no {controller} cgroup, which {file} needs"),
            ));
        };
        Ok(directory.join(file))
    }

    fn apply_v1(&self, l: &Limits) -> io::Result<()> {
        self.apply_v1_memory(l)?;
        if let Some(shares) = l.cpu_shares {
            self.set_v1("cpu.shares", &shares.to_string())?;
        }
        if let Some(period) = l.cpu_period {
            self.set_v1("cpu.cfs_period_us", &period.to_string())?;
        }
        if let Some(quota) = l.cpu_quota {
            self.set_v1("cpu.cfs_quota_us", &quota.to_string())?;
        }
        if !l.cpuset_cpus.is_empty() {
            self.set_v1("cpuset.cpus", &l.cpuset_cpus)?;
        }
        if !l.cpuset_mems.is_empty() {
            self.set_v1("cpuset.mems", &l.cpuset_mems)?;
        }
        if let Some(pids) = l.pids {
            self.set_v1("pids.max", &max_or(pids.max(-1), 0))?;
        }
        self.apply_v1_blkio(l)
    }

    fn apply_v1_memory(&self, l: &Limits) -> io::Result<()> {
        // Memory must stay at or below memory and swap together at every moment: raise the larger one first.
        let swap_first = match (l.memory, l.memory_and_swap) {
            (Some(memory), Some(_)) => {
                let now = self.directory_of("memory").map(|d| d.join("memory.memsw.limit_in_bytes"));
                let now = now.and_then(|f| std::fs::read_to_string(f).ok());
                let now = now.and_then(|t| t.trim().parse::<i64>().ok()).unwrap_or(i64::MAX);
                memory == -1 || memory > now
            }
            _ => false,
        };
        let memory = |g: &Self| match l.memory {
            Some(bytes) => g.set_v1("memory.limit_in_bytes", &bytes.to_string()),
            None => Ok(()),
        };
        let swap = |g: &Self| match l.memory_and_swap {
            Some(bytes) => g.set_v1("memory.memsw.limit_in_bytes", &bytes.to_string()),
            None => Ok(()),
        };
        if swap_first {
            swap(self)?;
            memory(self)?;
        } else {
            memory(self)?;
            swap(self)?;
        }
        if let Some(bytes) = l.memory_reservation {
            self.set_v1("memory.soft_limit_in_bytes", &bytes.to_string())?;
        }
        if let Some(swappiness) = l.swappiness {
            self.set_v1("memory.swappiness", &swappiness.to_string())?;
        }
        if l.disable_oom_killer {
            self.set_v1("memory.oom_control", "1")?;
        }
        Ok(())
    }

    fn apply_v1_blkio(&self, l: &Limits) -> io::Result<()> {
        if let Some(weight) = l.blkio_weight {
            // The file's name depends on the I/O scheduler.
            self.set_v1("blkio.weight", &weight.to_string())
                .or_else(|_| self.set_v1("blkio.bfq.weight", &weight.to_string()))?;
        }
        for (file, list) in [
            ("blkio.throttle.read_bps_device", &l.read_bps),
            ("blkio.throttle.write_bps_device", &l.write_bps),
            ("blkio.throttle.read_iops_device", &l.read_iops),
            ("blkio.throttle.write_iops_device", &l.write_iops),
        ] {
            for d in list {
                self.set_v1(file, &format!("{}:{} {}", d.major, d.minor, d.value))?;
            }
        }
        Ok(())
    }

    fn apply_v2(&self, l: &Limits) -> io::Result<()> {
        let Some(directory) = self.directory_of("") else { return Ok(()) };
        let set = |file: &str, value: &str| write(&directory.join(file), value);
        if !l.devices.is_empty()
            && let Some(fd) = self.clone_target()?
        {
            use rustix::fd::AsFd;
            device_filter::attach(fd.as_fd(), &l.devices)
                .map_err(|e| io::Error::new(e.kind(), format!("attach the device filter: {e}")))?;
        }
        if let Some(bytes) = l.memory {
            set("memory.max", &max_or(bytes, -1))?;
        }
        if let Some(both) = l.memory_and_swap {
            // Version 2 counts swap alone.
            let swap = if both == -1 { -1 } else { (both - l.memory.unwrap_or(0)).max(0) };
            set("memory.swap.max", &if swap == -1 { "max".to_owned() } else { swap.to_string() })?;
        }
        if let Some(bytes) = l.memory_reservation {
            set("memory.low", &max_or(bytes, -1))?;
        }
        if let Some(shares) = l.cpu_shares.filter(|s| *s > 0) {
            set("cpu.weight", &weight_of_shares(shares).to_string())?;
        }
        if l.cpu_quota.is_some() || l.cpu_period.is_some() {
            let quota = max_or(l.cpu_quota.unwrap_or(-1), 0);
            set("cpu.max", &format!("{quota} {}", l.cpu_period.unwrap_or(100_000)))?;
        }
        if !l.cpuset_cpus.is_empty() {
            set("cpuset.cpus", &l.cpuset_cpus)?;
        }
        if !l.cpuset_mems.is_empty() {
            set("cpuset.mems", &l.cpuset_mems)?;
        }
        if let Some(pids) = l.pids {
            set("pids.max", &max_or(pids, 0))?;
        }
        if let Some(weight) = l.blkio_weight {
            let io_weight = 1 + (u64::from(weight) - 10) * 9999 / 990;
            set("io.bfq.weight", &weight.to_string())
                .or_else(|_| set("io.weight", &io_weight.to_string()))?;
        }
        for (key, list) in
            [("rbps", &l.read_bps), ("wbps", &l.write_bps), ("riops", &l.read_iops), ("wiops", &l.write_iops)]
        {
            for d in list {
                set("io.max", &format!("{}:{} {key}={}", d.major, d.minor, d.value))?;
            }
        }
        for (file, value) in &l.unified {
            if file.contains('/') || file.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("cgroup file name {file:?} is not allowed"),
                ));
            }
            set(file, value)?;
        }
        Ok(())
    }
}

/// `max` for values at or below `none`.
fn max_or(value: i64, none: i64) -> String {
    if value <= none { "max".to_owned() } else { value.to_string() }
}

/// Shares 2 … 262144 to weight 1 … 10000, the mapping all OCI runtimes use.
fn weight_of_shares(shares: u64) -> u64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142
}

fn v1_device(rule: &device_filter::Rule) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let access: String = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')]
        .into_iter()
        .filter_map(|(on, letter)| on.then_some(letter))
        .collect();
    format!("{} {}:{} {access}", rule.kind, number(rule.major), number(rule.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 39);
        assert_eq!(weight_of_shares(262_144), 10_000);
    }

    #[test]
    fn device_rules_as_version_1_writes_them() {
        let rule = device_filter::Rule {
            allow: true,
            kind: 'c',
            major: Some(136),
            minor: None,
            read: true,
            write: true,
            mknod: true,
        };
        assert_eq!(v1_device(&rule), "c 136:* rwm");
    }
}
