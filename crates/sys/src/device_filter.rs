//! Device access of cgroup v2: a small eBPF program attached to the cgroup, bpf(2).

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

/// One rule; the last that matches decides, and without any the access is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Allowed or denied.
    pub allow: bool,
    /// `b`, `c`, or `a` for both.
    pub kind: char,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be made with mknod.
    pub mknod: bool,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn op(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: dst | (src << 4), offset, immediate }
}

const LDX_W: u8 = 0x61;
const MOV_REG32: u8 = 0xbc;
const MOV_IMM: u8 = 0xb7;
const AND_IMM32: u8 = 0x54;
const RSH_IMM32: u8 = 0x74;
const JNE_IMM: u8 = 0x55;
const JNE_REG: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// The program for the rules: later rules first, the first match returns.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }
    let mut code = vec![
        op(LDX_W, 2, 1, 0, 0),
        op(AND_IMM32, 2, 0, 0, 0xffff), // r2 = type
        op(LDX_W, 3, 1, 0, 0),
        op(RSH_IMM32, 3, 0, 0, 16), // r3 = access
        op(LDX_W, 4, 1, 4, 0),      // r4 = major
        op(LDX_W, 5, 1, 8, 0),      // r5 = minor
    ];
    for rule in rules.iter().rev() {
        code.extend(compile_rule(rule));
        if rule.matches_all() {
            // The kernel refuses programs with code that is never reached.
            return code;
        }
    }
    code.extend([op(MOV_IMM, 0, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    code
}

impl Rule {
    /// Whether it decides about every access to every device.
    fn matches_all(&self) -> bool {
        let any_device = !matches!(self.kind, 'b' | 'c') && self.major.is_none() && self.minor.is_none();
        any_device && self.read && self.write && self.mknod
    }
}

fn compile_rule(rule: &Rule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        'b' => tests.push(op(JNE_IMM, 2, 0, 0, 1)),
        'c' => tests.push(op(JNE_IMM, 2, 0, 0, 2)),
        _ => {}
    }
    let access = i32::from(rule.mknod) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
    if access != 7 {
        // An allowing rule must cover all of the access; a denying one any of it.
        tests.push(op(MOV_REG32, 1, 3, 0, 0));
        tests.push(op(AND_IMM32, 1, 0, 0, access));
        tests.push(if rule.allow { op(JNE_REG, 1, 3, 0, 0) } else { op(0x15, 1, 0, 0, 0) });
    }
    if let Some(major) = rule.major {
        tests.push(op(JNE_IMM, 4, 0, 0, major as i32));
    }
    if let Some(minor) = rule.minor {
        tests.push(op(JNE_IMM, 5, 0, 0, minor as i32));
    }
    let length = tests.len() + 2;
    for (at, test) in tests.iter_mut().enumerate() {
        if matches!(test.code, JNE_IMM | JNE_REG | 0x15) {
            test.offset = (length - at - 1) as i16;
        }
    }
    tests.extend([op(MOV_IMM, 0, 0, 0, i32::from(rule.allow)), op(EXIT, 0, 0, 0, 0)]);
    tests
}

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    name: [u8; 16],
    ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Puts the rules on a cgroup v2 directory. The program lives as long as the cgroup.
pub fn attach(cgroup: BorrowedFd<'_>, rules: &[Rule]) -> io::Result<()> {
    let code = compile(rules);
    // SAFETY: LoadAttr is plain data for which all zeroes is a valid value.
    let mut load: LoadAttr = unsafe { std::mem::zeroed() };
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insn_cnt = code.len() as u32;
    load.insns = code.as_ptr() as u64;
    load.license = c"Apache-2.0".as_ptr() as u64;
    load.expected_attach_type = BPF_CGROUP_DEVICE;
    // SAFETY: the attributes, the code and the licence outlive the call; the kernel verifies the program.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<LoadAttr>()) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel returned a new descriptor, which nobody else owns.
    let program = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };
    let attach = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    // SAFETY: the attributes outlive the call.
    let r =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<AttachAttr>()) };
    if r == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_stay_inside_the_program() {
        let rule = |allow, kind, major, minor| Rule {
            allow,
            kind,
            major,
            minor,
            read: true,
            write: true,
            mknod: allow,
        };
        let code = compile(&[
            rule(false, 'a', None, None),
            rule(true, 'c', Some(1), Some(3)),
            rule(true, 'b', None, None),
        ]);
        for (at, i) in code.iter().enumerate() {
            let to = at as i64 + 1 + i64::from(i.offset);
            let jumps = matches!(i.code, JNE_IMM | JNE_REG | 0x15);
            assert!(!jumps || (to as usize) < code.len(), "instruction {at} leads to {to}");
        }
        assert_eq!(code.last().unwrap().code, EXIT);
    }

    #[test]
    fn nothing_follows_a_rule_for_everything() {
        let all =
            |allow| Rule { allow, kind: 'a', major: None, minor: None, read: true, write: true, mknod: true };
        assert_eq!(compile(&[all(false), all(true)]).len(), 6 + 2);
        assert_eq!(compile(&[]).len(), 6 + 2);
    }
}
