//! Asking a running node.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{COMMAND_DEADLINE, Command, Failed, Reply, socket_path};

/// Longest answer that is read: evidence with its documents twice, in base64.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Why a node did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No node runs there.
    #[error("no node runs with the data directory {}: start it with `nautilus up`, or give another --data-dir", data_dir.display())]
    NotRunning {
        /// The data directory.
        data_dir: PathBuf,
        /// What the kernel says of the socket.
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection to the node broke")]
    Io(#[from] io::Error),
    /// Some other user's process is at the socket.
    #[error("socket {} belongs to user {uid}: not a node of yours", path.display())]
    WrongPeer {
        /// The socket.
        path: PathBuf,
        /// Who listens there.
        uid: u32,
    },
    /// Its answer is none.
    #[error("node answered something else than it was asked: {0}")]
    NotUnderstood(String),
    /// It refused or failed.
    #[error("{}", .0.detail)]
    Failed(Failed),
}

/// Has the node with this data directory follow a command, and waits for the answer.
///
/// # Errors
/// If no node runs there, or it did not do it.
pub fn ask(data_dir: &Path, command: &Command) -> Result<serde_json::Value, AskError> {
    let path = socket_path(&data_dir.join("agent"));
    let mut stream = UnixStream::connect(&path).map_err(|source| AskError::NotRunning {
        data_dir: data_dir.to_owned(),
        source,
    })?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(io::Error::from)?;
    let uid = peer.uid.as_raw();
    // Whoever is there learns a challenge and says what is attested: not just anybody.
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        return Err(AskError::WrongPeer { path, uid });
    }
    stream.set_read_timeout(Some(COMMAND_DEADLINE + Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut line = serde_json::to_vec(command).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
    if answer.last() != Some(&b'\n') {
        let what = "the answer ended early; the node may have stopped, see its own messages";
        return Err(AskError::NotUnderstood(what.to_owned()));
    }
    match serde_json::from_slice(&answer) {
        Ok(Reply::Ok(value)) => Ok(value),
        Ok(Reply::Error(failed)) => Err(AskError::Failed(failed)),
        Err(error) => Err(AskError::NotUnderstood(error.to_string())),
    }
}
