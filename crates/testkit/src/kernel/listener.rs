//! The seccomp listener: the thread that installs it, and its whole progeny, are held at the system calls that the
//! filter names until they are answered (seccomp_unotify(2)).

#![expect(
    unsafe_code,
    reason = "seccomp has no safe binding: installing a filter and the listener's four ioctls"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::filter::{Instruction, program};

/// A system call that waits for its answer.
pub(super) struct Notification {
    pub(super) id: u64,
    /// The thread that called.
    pub(super) thread: u32,
    pub(super) number: i64,
    pub(super) arguments: [u64; 6],
}

/// Where a descriptor goes in the caller.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// The lowest number that is free.
    Lowest,
    /// This number; what has it is closed.
    Exactly(u32),
}

/// The supervisor's end of a filter.
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// Puts the calling thread, and all that it starts, under the filter. There is no way back for them.
    ///
    /// # Errors
    /// What this kernel lacks or refuses, in words.
    pub(super) fn install() -> Result<Self, String> {
        check_sizes()?;
        // SAFETY: the call takes no pointer.
        if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
            return Err(format!("cannot set no_new_privs: {}", io::Error::last_os_error()));
        }
        // A call whose answer is under way is then interrupted by deadly signals alone, not made twice (Linux 5.19).
        let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        Self::filter(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | killable)
            .or_else(|error| match error {
                Errno::INVAL => Self::filter(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
                other => Err(other),
            })
            .map_err(|error| {
                let hint = match error {
                    Errno::BUSY => "another listener is above this process already: fake kernels do not nest",
                    Errno::INVAL | Errno::NOSYS => {
                        "needs Linux 5.14 or later with CONFIG_SECCOMP_FILTER, and a container that permits seccomp(2)"
                    }
                    _ => "a container's own seccomp profile may refuse it",
                };
                format!("seccomp(SECCOMP_SET_MODE_FILTER) with a listener: {error}: {hint}")
            })
    }

    fn filter(flags: libc::c_ulong) -> Result<Self, Errno> {
        let mut instructions: Vec<libc::sock_filter> = program().into_iter().map(Into::into).collect();
        let Ok(len) = instructions.len().try_into() else {
            return Err(Errno::INVAL);
        };
        let program = libc::sock_fprog {
            len,
            filter: instructions.as_mut_ptr(),
        };
        // SAFETY: `program` and the instructions that it points to outlive the call, which only reads them.
        let listener = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        match i32::try_from(listener) {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            Ok(number) if number >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(number) })),
            _ => Err(last_error()),
        }
    }

    /// The next call, which blocks if there is none. None if the caller was gone before.
    pub(super) fn receive(&self) -> Result<Option<Notification>, Errno> {
        let mut raw = libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data {
                nr: 0,
                arch: 0,
                instruction_pointer: 0,
                args: [0; 6],
            },
        };
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut raw) {
            Ok(_) => Ok(Some(Notification {
                id: raw.id,
                thread: raw.pid,
                number: raw.data.nr.into(),
                arguments: raw.data.args,
            })),
            Err(Errno::NOENT | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the call return this. A caller that is gone is no error: there is nobody to tell.
    pub(super) fn answer(&self, id: u64, result: Result<i64, Errno>) -> Result<(), Errno> {
        let (val, error) = match result {
            Ok(value) => (value, 0),
            Err(error) => (0, -error.raw_os_error()),
        };
        self.send(libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags: 0,
        })
    }

    /// Lets the kernel proper do the call.
    pub(super) fn pass(&self, id: u64) -> Result<(), Errno> {
        self.send(libc::seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags: FLAG_CONTINUE,
        })
    }

    /// Gives the caller a descriptor of `file` and its number as the answer.
    pub(super) fn answer_with_file(
        &self,
        id: u64,
        file: BorrowedFd<'_>,
        slot: Slot,
        close_on_exec: bool,
    ) -> Result<i32, Errno> {
        self.add(id, file, slot, close_on_exec, FLAG_ADD_AND_SEND)
    }

    /// Gives the caller a descriptor of `file`; the call still waits.
    pub(super) fn give(
        &self,
        id: u64,
        file: BorrowedFd<'_>,
        slot: Slot,
        close_on_exec: bool,
    ) -> Result<i32, Errno> {
        self.add(id, file, slot, close_on_exec, 0)
    }

    /// Whether the caller still waits for the answer.
    pub(super) fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
    }

    fn add(
        &self,
        id: u64,
        file: BorrowedFd<'_>,
        slot: Slot,
        close_on_exec: bool,
        flags: u32,
    ) -> Result<i32, Errno> {
        let source = file.as_raw_fd().try_into().map_err(|_| Errno::BADF)?;
        let (newfd, exactly) = match slot {
            Slot::Lowest => (0, 0),
            Slot::Exactly(number) => (number, FLAG_ADD_EXACTLY),
        };
        let newfd_flags = if close_on_exec { CLOSE_ON_EXEC } else { 0 };
        let mut raw = libc::seccomp_notif_addfd {
            id,
            flags: flags | exactly,
            srcfd: source,
            newfd,
            newfd_flags,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut raw)
    }

    fn send(&self, mut response: libc::seccomp_notif_resp) -> Result<(), Errno> {
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut response) {
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ioctl<T>(&self, number: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
        // SAFETY: every caller in this module pairs the number with the structure that <linux/seccomp.h> defines for
        // it, whole and writable; `check_sizes` made sure that this kernel's structures are no longer.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), number, &raw mut *argument) };
        if result < 0 { Err(last_error()) } else { Ok(result) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Instruction> for libc::sock_filter {
    fn from(instruction: Instruction) -> Self {
        Self {
            code: instruction.code,
            jt: instruction.if_true,
            jf: instruction.if_false,
            k: instruction.operand,
        }
    }
}

// <linux/seccomp.h>; libc has them in other types than its structures.
const FLAG_CONTINUE: u32 = 1;
const FLAG_ADD_EXACTLY: u32 = 1;
const FLAG_ADD_AND_SEND: u32 = 2;
const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// A kernel with longer structures would write past ours.
fn check_sizes() -> Result<(), String> {
    let mut sizes = libc::seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    // SAFETY: the operation writes one such structure, which is ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            &raw mut sizes,
        )
    };
    if result != 0 {
        return Err(format!(
            "seccomp(SECCOMP_GET_NOTIF_SIZES): {}: needs Linux 5.14 or later, and a container that permits seccomp(2)",
            io::Error::last_os_error()
        ));
    }
    let fits = usize::from(sizes.seccomp_notif) <= mem::size_of::<libc::seccomp_notif>()
        && usize::from(sizes.seccomp_notif_resp) <= mem::size_of::<libc::seccomp_notif_resp>();
    if fits {
        Ok(())
    } else {
        Err("this kernel's seccomp notifications are longer than those that are known here".to_owned())
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
