//! Which system calls are held, as a program for the kernel's filter (seccomp(2), bpf(4)).
//!
//! Calls that take a path always are. Calls that take a descriptor are only if its number is in [`OURS`], where
//! the supervisor puts every descriptor that a fake answers for, so that all other reading and writing runs at full
//! speed.

use std::ops::RangeInclusive;

/// The numbers of descriptors that fakes answer for. Below the 256 that a program may have set itself for a limit,
/// above what a program has open when it starts.
pub(super) const OURS: RangeInclusive<u32> = 192..=255;

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) operand: u32,
}

/// Held whatever they are about: they name a path, or say that a process becomes another program.
const BY_PATH: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_connect,
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Held if their first argument is a descriptor of ours.
const BY_DESCRIPTOR: &[i64] = &[
    libc::SYS_ioctl,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_close,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64, <linux/audit.h>
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
const NOTIFY: u32 = 0x7fc0_0000; // SECCOMP_RET_USER_NOTIF

// Offsets in struct seccomp_data, <linux/seccomp.h>. Of the first argument the low half, which is the descriptor.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const DESCRIPTOR: u32 = 16;

// <linux/bpf_common.h>
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// The filter. Calls of another architecture, which no program of ours makes, pass.
pub(super) fn program() -> Vec<Instruction> {
    let mut program = vec![
        load(ARCH),
        Instruction {
            if_true: 1,
            ..jump(IF_EQUAL, ARCHITECTURE)
        },
        give(ALLOW),
        load(NUMBER),
    ];
    // Each test jumps over the return that follows it, so that no jump is long.
    for &number in BY_PATH {
        program.push(unless(IF_EQUAL, call(number)));
        program.push(give(NOTIFY));
    }
    let descriptor = [
        load(DESCRIPTOR),
        Instruction {
            if_true: 1,
            ..jump(IF_AT_LEAST, *OURS.start())
        },
        give(ALLOW),
        unless(IF_GREATER, *OURS.end()),
        give(ALLOW),
        give(NOTIFY),
    ];
    for &number in BY_DESCRIPTOR {
        program.push(Instruction {
            if_false: 6,
            ..jump(IF_EQUAL, call(number))
        });
        program.extend(descriptor);
    }
    program.push(give(ALLOW));
    program
}

fn call(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn load(operand: u32) -> Instruction {
    Instruction {
        code: LOAD,
        if_true: 0,
        if_false: 0,
        operand,
    }
}

fn give(operand: u32) -> Instruction {
    Instruction {
        code: RETURN,
        ..load(operand)
    }
}

fn jump(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        ..load(operand)
    }
}

/// Skips the next instruction if the test fails.
fn unless(code: u16, operand: u32) -> Instruction {
    Instruction {
        if_false: 1,
        ..jump(code, operand)
    }
}
