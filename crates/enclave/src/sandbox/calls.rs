//! seccomp: the system calls that an enclave makes after its start. Any other ends the process.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Connects, SandboxError};

/// What depends on the TEE.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Who is connected to for each quote.
    pub(super) connects: Connects,
    /// A device is spoken to.
    pub(super) devices: bool,
}

/// Always: the connection, files of the state, memory, threads, time, randomness, the end.
const ALWAYS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_getdents64,
    libc::SYS_ppoll,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Refused by the second filter, and not with the end of the process: a C library tries it before `clone`.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Older calls, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[c_long] = &[];

/// For those who connect. A socket in mode non-blocking is made so by `ioctl`.
const SOCKETS: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
    libc::SYS_ioctl,
];

/// A new thread, and nothing less shared than a thread.
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND).cast_unsigned() as u64;
/// `prctl` that names a mapping, which C libraries do (`linux/prctl.h`).
const PR_SET_VMA: libc::c_int = 0x5356_4d41;

/// Ends the process at any other call from now on. Says in the inner result what could not be had.
pub(super) fn restrict(wanted: Wanted) -> Result<Result<(), String>, SandboxError> {
    let (only, without_clone3) = filters(wanted).map_err(|error| SandboxError::Filter(error.to_string()))?;
    // The one that allows nothing new first: each filter must pass the call that installs the next.
    let installed = seccompiler::apply_filter_all_threads(&without_clone3)
        .and_then(|()| seccompiler::apply_filter_all_threads(&only));
    Ok(installed.map_err(|error| format!("no filter of system calls ({error})")))
}

fn filters(wanted: Wanted) -> Result<(BpfProgram, BpfProgram), seccompiler::BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let mut allowed: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    let families: &[libc::c_int] = match wanted.connects {
        Connects::No => &[],
        Connects::ToPath => &[libc::AF_UNIX],
        Connects::ToLoopback => &[libc::AF_INET, libc::AF_INET6],
        Connects::ToHost => &[libc::AF_VSOCK],
    };
    let sockets = if families.is_empty() { &[] } else { SOCKETS };
    for call in ALWAYS.iter().chain(OLDER).chain(sockets) {
        allowed.insert(*call, Vec::new());
    }
    if wanted.devices {
        allowed.insert(libc::SYS_ioctl, Vec::new());
    }
    let first =
        |length, operator, value| SeccompRule::new(vec![SeccompCondition::new(0, length, operator, value)?]);
    let dword = |value: libc::c_int| {
        first(
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            value.cast_unsigned().into(),
        )
    };
    let rules = families.iter().map(|family| dword(*family));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    if !rules.is_empty() {
        allowed.insert(libc::SYS_socket, rules);
    }
    let threads = first(SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(THREAD), THREAD)?;
    allowed.insert(libc::SYS_clone, vec![threads]);
    let names = vec![dword(libc::PR_SET_NAME)?, dword(PR_SET_VMA)?];
    allowed.insert(libc::SYS_prctl, names);
    let only = SeccompFilter::new(allowed, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    let refuse = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let without_clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, refuse, arch)?;
    Ok((only.try_into()?, without_clone3.try_into()?))
}
