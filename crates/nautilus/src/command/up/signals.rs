//! What ends a node, or a verifier.

use std::fmt;
use std::time::Duration;

use nautilus_agent::config::format_duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why it ends.
#[derive(Clone, Copy, Debug)]
pub enum StopReason {
    /// `--for` is over.
    TimeOver(Duration),
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM, as from systemd.
    Terminated,
    /// The job failed.
    Failed,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeOver(after) => write!(f, "--for {} is over", format_duration(*after)),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Terminated => f.write_str("terminated"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

/// The signals that are listened to.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts listening; from here on the signals no longer end the process by themselves.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal, or for the time to be over.
    pub async fn wait(&mut self, stop_after: Option<Duration>) -> StopReason {
        let time_over = async {
            match stop_after {
                Some(after) => {
                    tokio::time::sleep(after).await;
                    StopReason::TimeOver(after)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = time_over => reason,
            _ = self.interrupt.recv() => StopReason::Interrupted,
            _ = self.terminate.recv() => StopReason::Terminated,
        }
    }
}
