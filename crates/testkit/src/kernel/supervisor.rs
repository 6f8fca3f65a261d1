//! Answers the calls that the filter holds.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fake kernel that cannot go on must stop its test"
)]

mod descriptors;
mod paths;
mod real;

use std::any::Any;
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;

use super::NEVER;
use super::call::{Call, decode};
use super::listener::{Listener, Notification};
use super::namespace::Namespace;
use super::opened::OpenedFiles;
use super::process::Processes;
use real::Mirror;

type Panic = Box<dyn Any + Send>;

/// A supervisor's thread, from outside.
pub(super) struct Supervision {
    end: Arc<OwnedFd>,
    ended: Receiver<Option<Panic>>,
}

impl Supervision {
    /// Also what tells the supervisor the listener of the thread that is to be supervised.
    pub(super) fn start(namespace: Namespace) -> (Self, impl FnOnce(Result<Listener, String>) + Send) {
        let (listener, installed) = mpsc::channel();
        let (tell, ended) = mpsc::channel();
        let end = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("make an event descriptor");
        let end = Arc::new(end);
        let seen = Arc::clone(&end);
        // Not scoped: threads and processes that outlive the run still need their calls answered.
        thread::Builder::new()
            .name("fake kernel".to_owned())
            .spawn(move || {
                if let Ok(listener) = installed.recv() {
                    Supervisor::new(namespace, listener).supervise(&seen, &tell);
                }
            })
            .expect("start the supervisor's thread");
        let listen = move |installed: Result<Listener, String>| {
            let installed = installed.unwrap_or_else(|why| panic!("there can be no fake kernel here: {why}"));
            listener.send(installed).expect("reach the supervisor");
        };
        (Self { end, ended }, listen)
    }

    /// Lets everything that waits go, and tells which fake panicked.
    pub(super) fn end(self) -> Option<Panic> {
        rustix::io::write(&self.end, &1_u64.to_ne_bytes()).expect("wake the supervisor");
        self.ended
            .recv()
            .unwrap_or_else(|_| Some(Box::new("the fake kernel's supervisor has died")))
    }
}

/// What a call is answered with.
enum Reply {
    /// It goes on to the real kernel.
    Pass,
    Value(i64),
    Never,
    /// The listener has answered already.
    Done,
}

/// Why a call fails, or that it does.
type Answered = Result<Reply, Errno>;

struct Supervisor {
    listener: Listener,
    namespace: Namespace,
    processes: Processes,
    opened: OpenedFiles,
    mirrors: Vec<Mirror>,
    /// Calls that are not answered until the end.
    withheld: Vec<u64>,
    ended: bool,
    panic: Option<Panic>,
}

impl Supervisor {
    fn new(namespace: Namespace, listener: Listener) -> Self {
        Self {
            listener,
            namespace,
            processes: Processes::default(),
            opened: OpenedFiles::default(),
            mirrors: Vec::new(),
            withheld: Vec::new(),
            ended: false,
            panic: None,
        }
    }

    /// Until nobody is under the filter any more.
    fn supervise(mut self, end: &OwnedFd, tell: &Sender<Option<Panic>>) {
        loop {
            let (calls, ending) = self.wait(end);
            if ending {
                self.ended = true;
                for id in std::mem::take(&mut self.withheld) {
                    self.listener
                        .answer(id, Err(Errno::INTR))
                        .expect("answer what was withheld");
                }
                // Nobody listens if the run's thread is gone: then there is nobody to tell.
                let _gone = tell.send(self.panic.take());
            }
            if calls.contains(PollFlags::IN) {
                if let Some(notification) = self.listener.receive().expect("receive a call") {
                    self.handle(&notification);
                }
            } else if calls.contains(PollFlags::HUP) && self.ended {
                return;
            }
        }
    }

    /// What the listener has, and whether the run has just ended.
    fn wait(&self, end: &OwnedFd) -> (PollFlags, bool) {
        let mut waiting = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if !self.ended {
            waiting.push(PollFd::new(end, PollFlags::IN));
        }
        while let Err(error) = rustix::event::poll(&mut waiting, None) {
            assert!(error == Errno::INTR, "cannot wait for calls: {error}");
        }
        let mut ready = waiting.iter().map(PollFd::revents);
        let calls = ready.next().unwrap_or(PollFlags::empty());
        (calls, ready.next().is_some_and(|end| end.contains(PollFlags::IN)))
    }

    fn handle(&mut self, notification: &Notification) {
        let id = notification.id;
        let answered = panic::catch_unwind(AssertUnwindSafe(|| self.answer(notification)));
        let answered = answered.unwrap_or_else(|panic| {
            self.panic.get_or_insert(panic);
            Err(Errno::IO)
        });
        let sent = match answered {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Pass) => self.listener.pass(id),
            Ok(Reply::Value(value)) => self.listener.answer(id, Ok(value)),
            Ok(Reply::Never) | Err(NEVER) if self.ended => self.listener.answer(id, Err(Errno::INTR)),
            Ok(Reply::Never) | Err(NEVER) => {
                self.withheld.push(id);
                Ok(())
            }
            Err(error) => self.listener.answer(id, Err(error)),
        };
        sent.expect("answer a call");
    }

    fn answer(&mut self, notification: &Notification) -> Answered {
        let call = decode(notification);
        if let Call::Execute = call {
            self.processes.forget(notification.thread);
            return Ok(Reply::Pass);
        }
        // A caller that is gone wants no answer, and the real kernel gives it none.
        let Ok(process) = self.processes.of(notification.thread) else {
            return Ok(Reply::Pass);
        };
        let id = notification.id;
        match call {
            Call::Execute => Ok(Reply::Pass),
            Call::Open { at, flags } => self.open(id, process, at, flags),
            Call::Stat {
                at,
                form,
                buffer,
                follow,
            } => self.stat(process, at, form, buffer, follow),
            Call::Access { at, mode } => self.access(process, at, mode),
            Call::ReadLink { at, buffer, size } => self.read_link(process, at, buffer, size),
            Call::MakeDirectory { at } => self.make_directory(process, at),
            Call::Remove { at, directory } => self.remove(process, at, directory),
            Call::Connect {
                socket,
                address,
                length,
            } => self.connect(id, process, socket, address, length),
            Call::OnDescriptor {
                descriptor,
                operation,
            } => self.operate(id, process, descriptor, operation),
        }
    }
}
