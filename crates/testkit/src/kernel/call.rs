//! What a held system call asks for: numbers and raw arguments made into one type (syscalls(2)). Of a register that
//! holds an int the kernel takes the low half, and so does this.

use super::listener::Notification;

/// A path in the caller's memory, and what it is relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) directory: i32,
    pub(super) path: u64,
}

/// Which structure a caller wants its answer in.
#[derive(Clone, Copy, Debug)]
pub(super) enum StatForm {
    Stat,
    Statx,
}

/// A system call that a fake may have to answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Open {
        at: At,
        flags: Flags,
    },
    Stat {
        at: At,
        form: StatForm,
        buffer: u64,
        follow: bool,
    },
    Access {
        at: At,
        mode: u32,
    },
    ReadLink {
        at: At,
        buffer: u64,
        size: u64,
    },
    MakeDirectory {
        at: At,
    },
    Remove {
        at: At,
        directory: bool,
    },
    Connect {
        socket: i32,
        address: u64,
        length: u64,
    },
    Execute,
    OnDescriptor {
        descriptor: u32,
        operation: Operation,
    },
}

/// The flags of an open, or where they are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flags {
    Given(u32),
    /// The address of a `struct open_how`, which begins with them.
    InMemory(u64),
}

/// What is done with a descriptor whose number is ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Ioctl {
        number: u32,
        argument: u64,
    },
    Read {
        buffer: u64,
        length: u64,
        offset: Option<u64>,
    },
    Write {
        buffer: u64,
        length: u64,
    },
    /// With an array of `count` buffers.
    ReadMany {
        buffers: u64,
        count: u64,
    },
    WriteMany {
        buffers: u64,
        count: u64,
    },
    Seek {
        offset: i64,
        whence: u64,
    },
    Stat {
        buffer: u64,
    },
    Duplicate {
        minimum: u32,
        close_on_exec: bool,
    },
    Close,
    /// What the memory that stands for a device does just as well: its flags, above all.
    Harmless,
    /// What no fake does: the test is told.
    Unknown {
        number: i64,
    },
}

pub(super) fn decode(notification: &Notification) -> Call {
    let [first, second, third, fourth, fifth, _] = notification.arguments;
    let at = At {
        directory: first as i32,
        path: second,
    };
    #[cfg(target_arch = "x86_64")]
    let here = At {
        directory: libc::AT_FDCWD,
        path: first,
    };
    let follows = |flags: u64| flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    let open = |at, flags: u64| Call::Open {
        at,
        flags: Flags::Given(flags as u32),
    };
    let stat = |at, form, buffer, follow| Call::Stat {
        at,
        form,
        buffer,
        follow,
    };
    let access = |at, mode: u64| Call::Access {
        at,
        mode: mode as u32,
    };
    let read_link = |at, buffer, size| Call::ReadLink { at, buffer, size };
    let remove = |at, directory| Call::Remove { at, directory };
    match notification.number {
        libc::SYS_openat => open(at, third),
        libc::SYS_openat2 => Call::Open {
            at,
            flags: Flags::InMemory(third),
        },
        libc::SYS_newfstatat => stat(at, StatForm::Stat, third, follows(fourth)),
        libc::SYS_statx => stat(at, StatForm::Statx, fifth, follows(third)),
        libc::SYS_faccessat | libc::SYS_faccessat2 => access(at, third),
        libc::SYS_readlinkat => read_link(at, third, fourth),
        libc::SYS_mkdirat => Call::MakeDirectory { at },
        libc::SYS_unlinkat => remove(at, third & libc::AT_REMOVEDIR as u64 != 0),
        libc::SYS_connect => Call::Connect {
            socket: first as i32,
            address: second,
            length: third,
        },
        libc::SYS_execve | libc::SYS_execveat => Call::Execute,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => open(here, second),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => open(here, (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat => stat(here, StatForm::Stat, second, true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat => stat(here, StatForm::Stat, second, false),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access => access(here, second),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink => read_link(here, second, third),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => Call::MakeDirectory { at: here },
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rmdir => remove(here, true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink => remove(here, false),
        number => Call::OnDescriptor {
            descriptor: first as u32,
            operation: operation(number, notification.arguments),
        },
    }
}

fn operation(number: i64, [_, second, third, fourth, ..]: [u64; 6]) -> Operation {
    match number {
        libc::SYS_ioctl => Operation::Ioctl {
            number: second as u32,
            argument: third,
        },
        libc::SYS_read => Operation::Read {
            buffer: second,
            length: third,
            offset: None,
        },
        libc::SYS_pread64 => Operation::Read {
            buffer: second,
            length: third,
            offset: Some(fourth),
        },
        // A write has an effect, wherever it is: attributes take what is written at 0 as a whole.
        libc::SYS_write | libc::SYS_pwrite64 => Operation::Write {
            buffer: second,
            length: third,
        },
        libc::SYS_readv => Operation::ReadMany {
            buffers: second,
            count: third,
        },
        libc::SYS_writev => Operation::WriteMany {
            buffers: second,
            count: third,
        },
        libc::SYS_lseek => Operation::Seek {
            offset: second as i64,
            whence: third,
        },
        libc::SYS_fstat => Operation::Stat { buffer: second },
        libc::SYS_dup => Operation::Duplicate {
            minimum: 0,
            close_on_exec: false,
        },
        libc::SYS_fcntl => match second as i32 {
            libc::F_DUPFD => Operation::Duplicate {
                minimum: third as u32,
                close_on_exec: false,
            },
            libc::F_DUPFD_CLOEXEC => Operation::Duplicate {
                minimum: third as u32,
                close_on_exec: true,
            },
            _ => Operation::Harmless,
        },
        libc::SYS_close => Operation::Close,
        libc::SYS_ftruncate => Operation::Harmless,
        number => Operation::Unknown { number },
    }
}
