//! Printing on a thread of its own: a reader that pauses must not hold the node up.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::failure::Failure;
use crate::output;

/// Lines that wait at most: hours of samples. A reader that pauses longer does hold the node up.
const MAX_WAITING: usize = 16 * 1024;
/// At the end, a reader has this long to take what is left.
const FINISH_DEADLINE: Duration = Duration::from_millis(500);

/// The thread that prints.
pub struct Printer {
    lines: Lines,
    done: Receiver<std::io::Result<()>>,
}

/// Where lines go.
#[derive(Clone)]
pub struct Lines(SyncSender<Option<String>>);

impl Lines {
    /// Has a line printed. If nobody reads any more, it goes nowhere.
    pub fn print(&self, line: String) {
        let _nobody_reads = self.0.send(Some(line));
    }
}

impl Printer {
    /// Starts the thread.
    pub fn start() -> Self {
        let (sender, lines) = sync_channel::<Option<String>>(MAX_WAITING);
        let (finished, done) = sync_channel(1);
        std::thread::spawn(move || {
            let mut printable = lines.iter().map_while(|line| line);
            let result = printable.try_for_each(|line| output::try_write(&format!("{line}\n")));
            // Whoever started it may be gone.
            let _gone = finished.send(result);
        });
        Self {
            lines: Lines(sender),
            done,
        }
    }

    /// Where lines go.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Prints what came so far.
    ///
    /// # Errors
    /// If lines could not be printed, other than because the reader left.
    pub fn finish(self) -> Result<(), Failure> {
        // Where the queue is full, nobody reads, and the wait below is what they get.
        let _full = self.lines.0.try_send(None);
        match self.done.recv_timeout(FINISH_DEADLINE) {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::missing(error).context("cannot write to standard output"))
            }
            // A reader that does not read gets no more time.
            _ => Ok(()),
        }
    }
}
