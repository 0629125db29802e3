//! From a configuration to kernel terms: limits and system call filters.

use crate::error::{Doing, Error, Result};
use std::path::Path;
use wharf_oci::runtime_spec::{DeviceRule, Linux, Resources, Seccomp, SyscallArg, ThrottleDevice};
use wharf_sys::cgroup::{DeviceLimit, Limits};
use wharf_sys::device_filter;
use wharf_sys::seccomp::{Action, Arch, Compare, Condition, Filter, Program, Rule, load_flag};

/// The limits in kernel terms.
pub fn limits(resources: &Resources) -> Result<Limits> {
    let mut limits = Limits {
        devices: device_rules(&resources.devices)?,
        unified: resources.unified.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        pids: resources.pids.as_ref().map(|p| p.limit),
        ..Limits::default()
    };
    if let Some(memory) = &resources.memory {
        limits.memory = memory.limit;
        limits.memory_reservation = memory.reservation;
        limits.memory_and_swap = memory.swap;
        limits.swappiness = memory.swappiness;
        limits.disable_oom_killer = memory.disable_oom_killer.unwrap_or(false);
    }
    if let Some(cpu) = &resources.cpu {
        limits.cpu_shares = cpu.shares.filter(|s| *s > 0);
        limits.cpu_quota = cpu.quota;
        limits.cpu_period = cpu.period.filter(|p| *p > 0);
        limits.cpuset_cpus.clone_from(&cpu.cpus);
        limits.cpuset_mems.clone_from(&cpu.mems);
    }
    if let Some(io) = &resources.block_io {
        limits.blkio_weight = io.weight.filter(|w| *w > 0);
        limits.read_bps = throttle(&io.throttle_read_bps_device);
        limits.write_bps = throttle(&io.throttle_write_bps_device);
        limits.read_iops = throttle(&io.throttle_read_iops_device);
        limits.write_iops = throttle(&io.throttle_write_iops_device);
    }
    Ok(limits)
}

fn throttle(devices: &[ThrottleDevice]) -> Vec<DeviceLimit> {
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    devices
        .iter()
        .map(|d| DeviceLimit { major: number(d.major), minor: number(d.minor), value: d.rate })
        .collect()
}

/// The configuration's rules, and then those for the devices every container gets (config-linux.md, "Default
/// Devices"), whose nodes are made while the rules are already in force.
fn device_rules(rules: &[DeviceRule]) -> Result<Vec<device_filter::Rule>> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let allow = |kind, major, minor, access: &str| device_filter::Rule {
        allow: true,
        kind,
        major,
        minor,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    let mut all = rules.iter().map(device_rule).collect::<Result<Vec<_>>>()?;
    all.extend(['c', 'b'].map(|kind| allow(kind, None, None, "m")));
    // null, zero, full, random, urandom; tty, console, ptmx; every pseudo-terminal.
    all.extend([3, 5, 7, 8, 9].map(|minor| allow('c', Some(1), Some(minor), "rwm")));
    all.extend([0, 1, 2].map(|minor| allow('c', Some(5), Some(minor), "rwm")));
    all.push(allow('c', Some(136), None, "rwm"));
    Ok(all)
}

fn device_rule(rule: &DeviceRule) -> Result<device_filter::Rule> {
    let kind = rule.kind.chars().next().unwrap_or('a');
    if !matches!(kind, 'a' | 'b' | 'c') {
        return Err(Error::setup(format!("unknown device type {:?}", rule.kind)));
    }
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let has = |letter| rule.access.is_empty() || rule.access.contains(letter);
    Ok(device_filter::Rule {
        allow: rule.allow,
        kind,
        major: number(rule.major),
        minor: number(rule.minor),
        read: has('r'),
        write: has('w'),
        mknod: has('m'),
    })
}

/// Compiles the configuration's system call filter, with the flags to load it with.
pub fn filter(linux: &Linux) -> Result<Option<(Program, u64)>> {
    let Some(seccomp) = &linux.seccomp else { return Ok(None) };
    let mut flags = 0;
    for flag in &seccomp.flags {
        flags |= match flag.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => load_flag::LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => load_flag::SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 0,
            other => return Err(Error::setup(format!("unknown seccomp flag {other:?}"))),
        };
    }
    if seccomp.flags.is_empty() {
        flags = load_flag::SPEC_ALLOW;
    }
    Ok(Some((compile(seccomp)?, flags)))
}

/// Compiles a system call filter.
pub fn compile(seccomp: &Seccomp) -> Result<Program> {
    let default = action(&seccomp.default_action, seccomp.default_errno_ret)?;
    let mut arches = seccomp.architectures.iter().filter_map(|a| arch(a)).collect::<Vec<_>>();
    if !arches.contains(&Arch::NATIVE) {
        arches.insert(0, Arch::NATIVE);
    }
    let mut rules = Vec::new();
    for rule in &seccomp.syscalls {
        let action = action(&rule.action, rule.errno_ret)?;
        if action == Action::Notify {
            return Err(Error::setup(
                "seccomp: SCMP_ACT_NOTIFY needs an agent, which Wharf does not serve yet",
            ));
        }
        for conditions in alternatives(&rule.args)? {
            rules.push(Rule { names: rule.names.clone(), action, conditions });
        }
    }
    Filter { default, arches, rules }.compile().doing("compile the system call filter")
}

/// Conditions on different arguments must all hold; several on one argument are alternatives, as runc has it.
fn alternatives(args: &[SyscallArg]) -> Result<Vec<Vec<Condition>>> {
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>>>()?;
    let repeated =
        conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|d| d.index == c.index));
    Ok(if repeated { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] })
}

fn condition(arg: &SyscallArg) -> Result<Condition> {
    let (compare, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Compare::Ne, arg.value),
        "SCMP_CMP_LT" => (Compare::Lt, arg.value),
        "SCMP_CMP_LE" => (Compare::Le, arg.value),
        "SCMP_CMP_EQ" => (Compare::Eq, arg.value),
        "SCMP_CMP_GE" => (Compare::Ge, arg.value),
        "SCMP_CMP_GT" => (Compare::Gt, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Compare::MaskedEq(arg.value), arg.value_two),
        other => return Err(Error::setup(format!("seccomp: unknown comparison {other:?}"))),
    };
    Ok(Condition { index: arg.index as u8, compare, value })
}

fn action(name: &str, errno: Option<u32>) -> Result<Action> {
    const EPERM: u32 = 1;
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(EPERM) as u16),
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(EPERM) as u16),
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        other => return Err(Error::setup(format!("seccomp: unknown action {other:?}"))),
    })
}

fn arch(name: &str) -> Option<Arch> {
    Some(match name {
        "SCMP_ARCH_X86_64" => Arch::X86_64,
        "SCMP_ARCH_X86" => Arch::X86,
        "SCMP_ARCH_X32" => Arch::X32,
        "SCMP_ARCH_AARCH64" => Arch::Aarch64,
        "SCMP_ARCH_ARM" => Arch::Arm,
        // Conventions this processor family never uses.
        _ => return None,
    })
}

/// Reads a filter that was compiled before.
pub fn load_filter(file: &Path) -> Result<(Program, u64)> {
    let what = || format!("read the system call filter {}", file.display());
    let bytes = std::fs::read(file).doing(what())?;
    Ok((Program::from_bytes(&bytes).doing(what())?, load_flag::SPEC_ALLOW))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_oci::runtime_spec::SyscallRule;

    #[test]
    fn several_conditions_on_one_argument_are_alternatives() {
        let arg = |value| SyscallArg { index: 0, value, value_two: 0, op: "SCMP_CMP_EQ".into() };
        let seccomp = Seccomp {
            default_action: "SCMP_ACT_ERRNO".into(),
            syscalls: vec![SyscallRule {
                names: vec!["personality".into()],
                action: "SCMP_ACT_ALLOW".into(),
                errno_ret: None,
                args: vec![arg(0), arg(8)],
            }],
            ..Seccomp::default()
        };
        let program = compile(&seccomp).unwrap();
        let number = if cfg!(target_arch = "x86_64") { 135 } else { 92 };
        let run = |value| program.evaluate(Arch::NATIVE, number, [value, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!((run(0), run(8), run(9)), (0x7fff_0000, 0x7fff_0000, 0x0005_0001));
    }

    #[test]
    fn unknown_words_are_named() {
        assert!(action("SCMP_ACT_PLEASE", None).unwrap_err().message.contains("SCMP_ACT_PLEASE"));
        let rule = DeviceRule { kind: "z".into(), ..DeviceRule::default() };
        assert!(device_rule(&rule).unwrap_err().message.contains("\"z\""));
    }
}
