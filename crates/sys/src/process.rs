//! What a process can take from itself before it works: dumps, swap, privileges, other processes' namespaces.

use std::fs;
use std::io;

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::UnshareFlags;

/// No core dump is written of this process, and no other process of the same user may look into it (prctl(2),
/// `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the kernel says.
pub fn forbid_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    Ok(rustix::process::set_dumpable_behavior(
        DumpableBehavior::NotDumpable,
    )?)
}

/// Keeps all memory of the process from being swapped out, now and later, where it may lock without bound. Says
/// whether it may: with a bound, a later allocation would fail instead.
///
/// # Errors
/// What the kernel says.
pub fn lock_all_memory() -> io::Result<bool> {
    let unbounded = Rlimit {
        current: None,
        maximum: None,
    };
    // Raising a bound needs a privilege.
    if rustix::process::setrlimit(Resource::Memlock, unbounded).is_err() {
        return Ok(false);
    }
    rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?;
    Ok(true)
}

/// What a process stops sharing with the others besides its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshare {
    /// Its network interfaces and abstract sockets, and System V IPC.
    NetworkAndIpc,
    /// System V IPC alone.
    Ipc,
}

/// Moves this process, which must have one thread, into a user namespace of its own, in which it is the same user and
/// no other, and out of what it shares with others. In there it has no privilege over anything outside.
///
/// # Errors
/// What the kernel says: many systems forbid it. Then nothing is changed, or the process is in a namespace in which its
/// user has no name; both are safe.
pub fn leave_namespaces(what: Unshare) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let flags = match what {
        Unshare::NetworkAndIpc => UnshareFlags::NEWNET | UnshareFlags::NEWIPC,
        Unshare::Ipc => UnshareFlags::NEWIPC,
    };
    // SAFETY: no flag here is about file descriptors, which is what makes the call unsafe.
    #[expect(unsafe_code, reason = "unshare can take file descriptors apart")]
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | flags) }?;
    // user_namespaces(7): without privilege, a group can be mapped only once groups cannot be set.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", group.as_raw()))
}
