//! Compiles system call filters to classic BPF and loads them, seccomp(2).
//!
//! The program looks at the architecture, then finds the system call by binary search over ranges of
//! numbers that share an outcome, then checks conditions on arguments where there are any:
//!
//! ```text
//! arch? ─▶ number ≥ pivot? ─▶ … ─▶ range ─▶ outcome
//!                                     └──▶ conditions of rule 1, rule 2 … ─▶ outcome
//! ```

use rustix::fd::{FromRawFd, OwnedFd};
use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;

/// What the kernel does with a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ends the thread.
    KillThread,
    /// Ends the process.
    KillProcess,
    /// Sends SIGSYS.
    Trap,
    /// Fails with an errno.
    Errno(u16),
    /// Tells a tracer, with data.
    Trace(u16),
    /// Asks the listener.
    Notify,
    /// Allows and logs.
    Log,
    /// Allows.
    Allow,
}

impl Action {
    fn value(self) -> u32 {
        match self {
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno(e) => 0x0005_0000 | u32::from(e),
            Self::Trace(d) => 0x7ff0_0000 | u32::from(d),
            Self::Notify => 0x7fc0_0000,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }
}

/// A calling convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// The 32-bit pointers convention of 64-bit x86.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The one this program is built for.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    fn number(self, name: &str) -> Option<u32> {
        let n = match self {
            Self::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id() as u32,
            Self::X32 => X32_BIT | syscalls::x86_64::Sysno::from_str(name).ok()?.id() as u32,
            Self::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id() as u32,
            Self::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id() as u32,
            Self::Arm => syscalls::arm::Sysno::from_str(name).ok()?.id() as u32,
        };
        Some(n)
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `arg != value`
    Ne,
    /// `arg < value`
    Lt,
    /// `arg <= value`
    Le,
    /// `arg == value`
    Eq,
    /// `arg >= value`
    Ge,
    /// `arg > value`
    Gt,
    /// `arg & mask == value`
    MaskedEq(u64),
}

/// A condition on an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How.
    pub compare: Compare,
    /// With what.
    pub value: u64,
}

/// One rule: the action for these system calls, when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names; those an architecture does not have are passed over there.
    pub names: Vec<String>,
    /// The outcome.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A whole filter. A rule without conditions decides; else rules with conditions are tried in order, and
/// when none matches the default action holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The outcome when no rule matches.
    pub default: Action,
    /// Calling conventions allowed at all; others are killed.
    pub arches: Vec<Arch>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const AND: u16 = 0x54;
const RET: u16 = 0x06;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: usize, jf: usize) -> Instruction {
    Instruction { code, jt: jt as u8, jf: jf as u8, k }
}

/// What a range of numbers leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Return(Action),
    /// Rules in order, and what holds when none matches.
    Conditional(Vec<(Vec<Condition>, Action)>, Action),
}

impl Filter {
    /// Compiles to BPF. Fails when the kernel's limit of 4096 instructions is exceeded, or an argument index
    /// is over 5.
    pub fn compile(&self) -> io::Result<Program> {
        if self.rules.iter().flat_map(|r| &r.conditions).any(|c| c.index > 5) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "seccomp: an argument index is over 5"));
        }
        let mut code = vec![op(LOAD, OFFSET_ARCH)];
        let mut audits: Vec<u32> = Vec::new();
        for arch in &self.arches {
            if !audits.contains(&arch.audit()) {
                audits.push(arch.audit());
            }
        }
        for audit in audits {
            let mut ranges = Vec::new();
            for arch in self.arches.iter().filter(|a| a.audit() == audit) {
                self.add_ranges(*arch, &mut ranges);
            }
            let mut section = vec![op(LOAD, OFFSET_NUMBER)];
            section.extend(tree(&close_gaps(ranges)));
            // Over the section when the architecture is another one.
            code.push(jump(JEQ, audit, 1, 0));
            code.push(op(JA, section.len() as u32));
            code.extend(section);
        }
        code.push(op(RET, Action::KillProcess.value()));
        if code.len() > 4096 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("seccomp: the filter needs {} instructions, the kernel takes 4096", code.len()),
            ));
        }
        Ok(Program(code))
    }

    fn add_ranges(&self, arch: Arch, ranges: &mut Vec<(u32, Outcome)>) {
        let mut table: BTreeMap<u32, Outcome> = BTreeMap::new();
        let mut newest = 0;
        for rule in &self.rules {
            for number in rule.names.iter().filter_map(|n| arch.number(n)) {
                newest = newest.max(number);
                let entry =
                    table.entry(number).or_insert_with(|| Outcome::Conditional(Vec::new(), self.default));
                if let Outcome::Conditional(list, _) = entry {
                    if rule.conditions.is_empty() {
                        *entry = Outcome::Return(rule.action);
                    } else {
                        list.push((rule.conditions.clone(), rule.action));
                    }
                }
            }
        }
        let first = if arch == Arch::X32 { X32_BIT } else { 0 };
        let default = Outcome::Return(self.default);
        let mut next = first;
        for (number, outcome) in table {
            if number > next {
                ranges.push((next, default.clone()));
            }
            ranges.push((number, outcome));
            next = number + 1;
        }
        // Calls that are younger than the profile say ENOSYS, so that programs fall back instead of failing.
        let beyond = match self.default {
            Action::Errno(_) if newest > first => Outcome::Return(Action::Errno(libc::ENOSYS as u16)),
            _ => default,
        };
        ranges.push((next, beyond));
        if arch == Arch::X86_64 && !self.arches.contains(&Arch::X32) {
            ranges.push((X32_BIT, Outcome::Return(Action::KillProcess)));
        }
    }
}

/// Sorted by first number, neighbours of equal outcome merged.
fn close_gaps(mut ranges: Vec<(u32, Outcome)>) -> Vec<(u32, Outcome)> {
    ranges.sort_by_key(|(start, _)| *start);
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

fn tree(ranges: &[(u32, Outcome)]) -> Vec<Instruction> {
    if let [(_, outcome)] = ranges {
        return leaf(outcome);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (pivot, low, high) = (high[0].0, tree(low), tree(high));
    let mut code = if low.len() <= 255 {
        vec![jump(JGE, pivot, low.len(), 0)]
    } else {
        vec![jump(JGE, pivot, 0, 1), op(JA, low.len() as u32)]
    };
    code.extend(low);
    code.extend(high);
    code
}

fn leaf(outcome: &Outcome) -> Vec<Instruction> {
    match outcome {
        Outcome::Return(action) => vec![op(RET, action.value())],
        Outcome::Conditional(rules, otherwise) => {
            let mut code: Vec<_> =
                rules.iter().flat_map(|(conditions, action)| rule(conditions, *action)).collect();
            code.push(op(RET, otherwise.value()));
            code
        }
    }
}

/// Where a jump inside a rule leads, before positions are known.
#[derive(Clone, Copy)]
enum To {
    Next,
    EndOfCondition,
    Fail,
}

fn rule(conditions: &[Condition], action: Action) -> Vec<Instruction> {
    let mut steps: Vec<(Instruction, To, To, usize)> = Vec::new();
    for condition in conditions {
        let start = steps.len();
        let body = condition_steps(condition);
        let end = start + body.len();
        steps.extend(body.into_iter().map(|(i, t, f)| (i, t, f, end)));
    }
    let fail = steps.len() + 1;
    let mut code: Vec<Instruction> = Vec::with_capacity(fail);
    for (at, (mut instruction, t, f, end)) in steps.into_iter().enumerate() {
        let distance = |to: To| match to {
            To::Next => 0,
            To::EndOfCondition => end - at - 1,
            To::Fail => fail - at - 1,
        };
        instruction.jt = distance(t) as u8;
        instruction.jf = distance(f) as u8;
        code.push(instruction);
    }
    code.push(op(RET, action.value()));
    code
}

fn condition_steps(c: &Condition) -> Vec<(Instruction, To, To)> {
    let offset = 16 + 8 * u32::from(c.index);
    let (low_at, high_at) =
        if cfg!(target_endian = "little") { (offset, offset + 4) } else { (offset + 4, offset) };
    let (low, high) = (c.value as u32, (c.value >> 32) as u32);
    use To::{EndOfCondition as Ok, Fail, Next};
    let plain = |i| (i, Next, Next);
    let when = |code, k, t, f| (op(code, k), t, f);
    match c.compare {
        Compare::Eq => vec![
            plain(op(LOAD, high_at)),
            when(JEQ, high, Next, Fail),
            plain(op(LOAD, low_at)),
            when(JEQ, low, Next, Fail),
        ],
        Compare::Ne => vec![
            plain(op(LOAD, high_at)),
            when(JEQ, high, Next, Ok),
            plain(op(LOAD, low_at)),
            when(JEQ, low, Fail, Next),
        ],
        Compare::Gt | Compare::Ge => vec![
            plain(op(LOAD, high_at)),
            when(JGT, high, Ok, Next),
            when(JEQ, high, Next, Fail),
            plain(op(LOAD, low_at)),
            when(if c.compare == Compare::Gt { JGT } else { JGE }, low, Next, Fail),
        ],
        Compare::Le | Compare::Lt => vec![
            plain(op(LOAD, high_at)),
            when(JGT, high, Fail, Next),
            when(JEQ, high, Next, Ok),
            plain(op(LOAD, low_at)),
            when(if c.compare == Compare::Le { JGT } else { JGE }, low, Fail, Next),
        ],
        Compare::MaskedEq(mask) => vec![
            plain(op(LOAD, high_at)),
            plain(op(AND, (mask >> 32) as u32)),
            when(JEQ, high, Next, Fail),
            plain(op(LOAD, low_at)),
            plain(op(AND, mask as u32)),
            when(JEQ, low, Next, Fail),
        ],
    }
}

/// `SECCOMP_FILTER_FLAG_*`.
pub mod load_flag {
    /// Logs what is not allowed.
    pub const LOG: u64 = 2;
    /// Leaves speculative store bypass as it is.
    pub const SPEC_ALLOW: u64 = 4;
    /// Returns a descriptor for `Notify`.
    pub const NEW_LISTENER: u64 = 8;
}

impl Program {
    /// The instructions as the kernel takes them, for keeping in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 8);
        for i in &self.0 {
            bytes.extend(i.code.to_ne_bytes());
            bytes.extend([i.jt, i.jf]);
            bytes.extend(i.k.to_ne_bytes());
        }
        bytes
    }

    /// From [`Program::to_bytes`]. The kernel verifies the program when it is loaded.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(8) || bytes.len() > 4096 * 8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "seccomp: not a compiled filter"));
        }
        let instruction = |b: &[u8]| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        Ok(Self(bytes.chunks_exact(8).map(instruction).collect()))
    }

    /// Puts the filter on this process for good. Needs no_new_privs or CAP_SYS_ADMIN. With
    /// [`load_flag::NEW_LISTENER`] the listener's descriptor is returned.
    pub fn load(&self, flags: u64) -> io::Result<Option<OwnedFd>> {
        #[repr(C)]
        struct SockFprog {
            len: libc::c_ushort,
            filter: *const Instruction,
        }
        const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
        let program = SockFprog { len: self.0.len() as libc::c_ushort, filter: self.0.as_ptr() };
        // SAFETY: the program and its instructions outlive the call; the kernel verifies them.
        let r =
            unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        if r == -1 {
            return Err(io::Error::last_os_error());
        }
        if flags & load_flag::NEW_LISTENER == 0 {
            return Ok(None);
        }
        // SAFETY: with this flag the kernel returns a new descriptor, which nobody else owns.
        Ok(Some(unsafe { OwnedFd::from_raw_fd(r as libc::c_int) }))
    }

    /// Runs the program on a system call as the kernel would; for tests.
    pub fn evaluate(&self, arch: Arch, number: u32, args: [u64; 6]) -> Option<u32> {
        let word = |offset: u32| -> u32 {
            match offset {
                OFFSET_NUMBER => number,
                OFFSET_ARCH => arch.audit(),
                offset => {
                    let index = ((offset - 16) / 8) as usize;
                    let high = (offset % 8 == 4) == cfg!(target_endian = "little");
                    if high { (args[index] >> 32) as u32 } else { args[index] as u32 }
                }
            }
        };
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = self.0.get(at)?;
            at += 1;
            let branch = |taken: bool| usize::from(if taken { i.jt } else { i.jf });
            match i.code {
                LOAD => a = word(i.k),
                AND => a &= i.k,
                JA => at += i.k as usize,
                JEQ => at += branch(a == i.k),
                JGT => at += branch(a > i.k),
                JGE => at += branch(a >= i.k),
                RET => return Some(i.k),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        let rule = |names: &[&str], action, conditions| Rule {
            names: names.iter().map(ToString::to_string).collect(),
            action,
            conditions,
        };
        Filter {
            default: Action::Errno(1),
            arches: vec![Arch::X86_64, Arch::X86],
            rules: vec![
                rule(&["read", "write", "close", "no_such_call"], Action::Allow, vec![]),
                rule(
                    &["clone"],
                    Action::Allow,
                    vec![Condition { index: 0, compare: Compare::MaskedEq(0x7e02_0000), value: 0 }],
                ),
                rule(
                    &["socket"],
                    Action::Allow,
                    vec![Condition { index: 0, compare: Compare::Ne, value: 40 }],
                ),
                rule(
                    &["personality"],
                    Action::Allow,
                    vec![Condition { index: 0, compare: Compare::Eq, value: 0x1_0000_0000 }],
                ),
                rule(
                    &["personality"],
                    Action::Trace(7),
                    vec![Condition { index: 0, compare: Compare::Lt, value: 9 }],
                ),
                rule(&["openat2"], Action::Errno(38), vec![]),
            ],
        }
    }

    const ALLOW: Option<u32> = Some(0x7fff_0000);
    const EPERM: Option<u32> = Some(0x0005_0001);
    const ENOSYS: Option<u32> = Some(0x0005_0026);

    #[test]
    fn outcomes() {
        let p = filter().compile().unwrap();
        let run = |nr, a0| p.evaluate(Arch::X86_64, nr, [a0, 0, 0, 0, 0, 0]);
        assert_eq!(run(0, 0), ALLOW);
        assert_eq!(run(2, 0), EPERM);
        assert_eq!(run(56, 0x11), ALLOW);
        assert_eq!(run(56, 0x1000_0000), EPERM);
        assert_eq!(run(41, 1), ALLOW);
        assert_eq!(run(135, 0x1_0000_0000), ALLOW);
        assert_eq!(run(135, 3), Some(0x7ff0_0007));
        assert_eq!(run(437, 0), ENOSYS);
        assert_eq!(run(400, 0), EPERM);
        assert_eq!(run(999, 0), ENOSYS);
    }

    #[test]
    fn conditions_that_fail_fall_to_the_default() {
        let p = filter().compile().unwrap();
        let run = |nr, a0| p.evaluate(Arch::X86_64, nr, [a0, 0, 0, 0, 0, 0]);
        assert_eq!(run(41, 40), EPERM);
        assert_eq!(run(135, 10), EPERM);
        assert_eq!(run(135, 0x1_0000_0001), EPERM);
    }

    #[test]
    fn foreign_conventions_are_killed() {
        let p = filter().compile().unwrap();
        assert_eq!(p.evaluate(Arch::Aarch64, 0, [0; 6]), Some(0x8000_0000));
        assert_eq!(p.evaluate(Arch::X86_64, X32_BIT, [0; 6]), Some(0x8000_0000));
        assert_eq!(p.evaluate(Arch::X86, 3, [0; 6]), ALLOW);
    }

    #[test]
    fn programs_keep_in_files() {
        let p = filter().compile().unwrap();
        assert_eq!(Program::from_bytes(&p.to_bytes()).unwrap(), p);
        assert!(Program::from_bytes(b"short").is_err());
    }
}
