//! What can go wrong between the collector and the container runtime.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::printable;

/// Longest text of the runtime's that an error repeats, in bytes.
const MAX_MESSAGE: usize = 300;

/// Why pods and containers cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Nobody answers at the socket, or who answers does not speak gRPC.
    #[error(
        "no container runtime answers at {}: see that containerd runs, and that containerd_address names its socket \
         and this user may open it ({message})",
        socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        message: String,
    },
    /// The runtime refused a call.
    #[error("the container runtime refused {call} with {code:?}: {message}")]
    Refused {
        /// The method of the Container Runtime Interface.
        call: &'static str,
        /// gRPC's code.
        code: tonic::Code,
        /// The runtime's reason, cut to a length.
        message: String,
    },
    /// The runtime did not answer in time.
    #[error("the container runtime did not answer {call} within {} s", limit.as_secs())]
    Late {
        /// The method of the Container Runtime Interface.
        call: &'static str,
        /// What it was given.
        limit: Duration,
    },
    /// The answer is not as the Container Runtime Interface has it.
    #[error("the container runtime's answer to {call} is malformed: {what}")]
    Malformed {
        /// The method of the Container Runtime Interface.
        call: &'static str,
        /// The fault.
        what: &'static str,
    },
    /// The thread that speaks to the runtime could not be started, or is gone.
    #[error("the thread that asks the container runtime does not run")]
    Thread(#[source] Option<io::Error>),
}

impl RuntimeError {
    pub(super) fn refused(call: &'static str, status: &tonic::Status) -> Self {
        Self::Refused {
            call,
            code: status.code(),
            message: printable(status.message(), MAX_MESSAGE),
        }
    }

    /// Whether what was asked for is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: tonic::Code::NotFound,
                ..
            }
        )
    }
}
