//! A kernel with devices that are not there.
//!
//! The programs under test open `/dev/sev-guest` and `/sys/kernel/config/tsm/report` by these names and have no
//! switch for tests. So what is faked is the system call: [`FakeKernel::run`] runs work on a thread whose calls
//! with paths and with fake descriptors are held by a seccomp filter until a supervisor in the test process has
//! answered them or let them pass to the real kernel (seccomp_unotify(2)). Processes that the work starts are under
//! the same filter.
//!
//! ```no_run
//! use nautilus_testkit::kernel::{Answer, Caller, FakeDevice, FakeKernel};
//!
//! struct Dice;
//!
//! impl FakeDevice for Dice {
//!     fn ioctl(&mut self, caller: &mut Caller<'_>, _number: u32, argument: u64) -> Answer {
//!         caller.write(argument, &[4]);
//!         Answer::Value(0)
//!     }
//! }
//!
//! let kernel = FakeKernel::new().device("/dev/dice", Dice).absent("/dev/tpmrm0");
//! let there = kernel.run(|| std::path::Path::new("/dev/dice").exists());
//! assert!(there);
//! ```
//!
//! What it does not do: it knows a path as the caller names it, and through links of a [`FakeMachine`], but not
//! through links of the real machine; a fake file cannot be mapped unless it is a device, nor be a standard stream,
//! nor be handed over a socket. Calls are answered one at a time, by one thread: a fake that waits makes all others
//! wait.

mod call;
mod caller;
mod filter;
mod listener;
mod metadata;
mod namespace;
mod opened;
mod process;
mod supervisor;

use std::panic;
use std::path::Path;
use std::thread;

pub use rustix::io::Errno;

pub use caller::Caller;

use crate::FakeMachine;
use listener::Listener;
use namespace::{Entry, Namespace};
use supervisor::Supervision;

/// What a fake's `read`, `write` and so on give for an answer that never comes: the call blocks until its caller is
/// killed or the [`FakeKernel`] ends. (`ERESTARTSYS`, which no real kernel lets a program see.)
pub const NEVER: Errno = Errno::from_raw_os_error(512);

/// A kernel to be: what is registered here, and the real machine where nothing is.
#[derive(Default)]
#[must_use = "a fake kernel does nothing until something runs under it"]
pub struct FakeKernel {
    namespace: Namespace,
}

/// A character device.
pub trait FakeDevice: Send {
    /// It is opened.
    ///
    /// # Errors
    /// What `open` fails with.
    fn open(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    /// An `ioctl` with its raw third argument, which often is an address in the caller.
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer;

    /// At most `length` bytes. None is the end.
    ///
    /// # Errors
    /// What `read` fails with; [`NEVER`] for no answer.
    fn read(&mut self, length: usize) -> Result<Vec<u8>, Errno> {
        let _ = length;
        Err(Errno::INVAL)
    }

    /// Takes what is written, in one call, and says how much of it was taken.
    ///
    /// # Errors
    /// What `write` fails with; [`NEVER`] for no answer.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let _ = bytes;
        Err(Errno::INVAL)
    }
}

/// What an `ioctl` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This number, which is not negative.
    Value(i32),
    /// -1, and this as `errno`.
    Error(Errno),
    /// Nothing: the call blocks until its caller is killed or the [`FakeKernel`] ends.
    Never,
}

/// A directory whose files a fake answers: configfs, Gramine's `/dev/attestation`. Paths are relative to it; its
/// own is empty.
pub trait FakeTree: Send {
    /// The whole contents of a file, asked for at the first read after it was opened.
    ///
    /// # Errors
    /// What `read` fails with; [`NEVER`] for no answer.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Errno>;

    /// Takes what is written in one call, as a whole.
    ///
    /// # Errors
    /// What `write` fails with; [`NEVER`] for no answer.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno>;

    /// Makes a directory; what is in it is up to the fake.
    ///
    /// # Errors
    /// What `mkdir` fails with.
    fn make_directory(&mut self, path: &str) -> Result<(), Errno>;

    /// Removes a directory, with the files that the fake put there.
    ///
    /// # Errors
    /// What `rmdir` fails with.
    fn remove_directory(&mut self, path: &str) -> Result<(), Errno>;

    /// The names in a directory; none if it is not one. A file that is not listed does not exist.
    fn list(&self, path: &str) -> Option<Vec<String>>;
}

impl FakeKernel {
    /// A kernel that is the real one throughout.
    pub fn new() -> Self {
        Self::default()
    }

    /// A character device at an absolute path.
    pub fn device(self, path: &str, device: impl FakeDevice + 'static) -> Self {
        self.with(path, Entry::Device(Box::new(device)))
    }

    /// A directory, and all below it, whose files the fake answers.
    pub fn tree(self, path: &str, tree: impl FakeTree + 'static) -> Self {
        self.with(path, Entry::Tree(Box::new(tree)))
    }

    /// A regular file that can be read.
    pub fn file(self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.with(path, Entry::File(contents.into()))
    }

    /// A Unix socket that is the one at `host_path`.
    pub fn socket(self, path: &str, host_path: impl AsRef<Path>) -> Self {
        self.with(path, Entry::Socket(host_path.as_ref().to_owned()))
    }

    /// Nothing there, nor below, whatever the real machine has. What is registered below all the same is there.
    pub fn absent(self, path: &str) -> Self {
        self.with(path, Entry::Absent)
    }

    /// The files of this machine in place of the real one's where detection looks: `/dev`, but for `/dev/null` and
    /// its like, and the parts of `/proc`, `/sys` and `/run` that tell of TEEs. What is registered with the other
    /// functions comes before it. The machine has to live as long as the run.
    pub fn machine(mut self, machine: &FakeMachine) -> Self {
        self.namespace.set_machine(machine);
        self
    }

    /// Runs `work`, and all threads and processes that it starts, under this kernel. When it returns, calls that
    /// still wait for an answer fail with `EINTR`; what was left running stays under this kernel until it ends.
    ///
    /// # Panics
    /// If `work` does, if a fake did, or if this system lets nobody listen to seccomp filters: the message says what
    /// is missing.
    pub fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let (supervision, listen) = Supervision::start(self.namespace);
        let name = thread::current().name().unwrap_or("fake kernel").to_owned();
        let result = thread::scope(|scope| {
            let supervised = move || {
                listen(Listener::install());
                work()
            };
            match thread::Builder::new().name(name).spawn_scoped(scope, supervised) {
                Ok(thread) => thread.join(),
                Err(error) => Err(Box::new(format!("cannot start a thread: {error}")) as _),
            }
        });
        let fault = supervision.end();
        match (result, fault) {
            (Err(panic), _) | (Ok(_), Some(panic)) => panic::resume_unwind(panic),
            (Ok(value), None) => value,
        }
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        self.namespace.register(path, entry);
        self
    }
}
