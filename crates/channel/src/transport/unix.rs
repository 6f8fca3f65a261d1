//! The file of a Unix socket: nobody else's, and gone when its listener is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::{UnixListener, UnixSocket};
use tokio::time::sleep;

/// Connections that wait to be accepted: as many as tokio's own listeners take.
const BACKLOG: u32 = 1024;
/// How often, and after which pauses, the directory is asked for while somebody else takes a name in it.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// A listening socket with a name.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the name may be another's by now.
    identity: (u64, u64),
}

impl SocketFile {
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        let directory = path
            .parent()
            .filter(|directory| *directory != OsStr::new(""))
            .unwrap_or(Path::new("."));
        let directory = File::open(directory)?;
        lock(&directory).await?;
        // The lock goes with the directory.
        remove_stale(path)?;
        let socket = UnixSocket::new_stream()?;
        // Before it has a name, for there is no moment between that and the mode then.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(path)?;
        let made = fs::symlink_metadata(path)?;
        let socket = Self {
            listener: socket.listen(BACKLOG)?,
            path: path.to_owned(),
            identity: (made.dev(), made.ino()),
        };
        match made.mode() & 0o7777 & !0o600 {
            0 => Ok(socket),
            more => Err(io::Error::other(format!(
                "this system gives sockets to others too (mode {more:o} beyond 600): choose another directory"
            ))),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |found: fs::Metadata| {
            (found.dev(), found.ino()) == self.identity && found.file_type().is_socket()
        };
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // The next that listens here removes it too.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// Two that find the same stale socket would each remove it, and the second would remove the first one's.
async fn lock(directory: &File) -> io::Result<()> {
    for _ in 0..TRIES {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another process holds a lock on its directory",
    ))
}

/// Makes way for a new socket, if what is there is one that nobody listens at.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name that is no socket",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // Without waiting: a listener that has as many connections as it takes is alive.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::WOULDBLOCK) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Err(error) => Err(error.into()),
    }
}
