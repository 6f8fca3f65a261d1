//! `/dev/tpmrm0`, with a TPM in software behind it: a command is one write, its response one read (Linux,
//! `drivers/char/tpm/tpm-dev-common.c`).

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::kernel::{Answer, Caller, Errno, FakeDevice, NEVER};

/// Largest response of a TPM.
const MAX_RESPONSE: usize = 4096;

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// Another program has it open.
    Busy,
    /// It takes a part of each command.
    ShortWrite,
    /// It gives a part of each response.
    ShortRead,
    /// It gives nothing in place of each response.
    Empty,
    /// The driver lost the TPM.
    Lost,
    /// It never answers.
    Never,
}

/// A device that hands each command to the TPM whose socket is at a path: `swtpm socket --server type=unixio,path=…`.
pub struct FakeTpm {
    socket: PathBuf,
    fault: Fault,
    tpm: Option<UnixStream>,
    response: Option<Vec<u8>>,
}

impl FakeTpm {
    /// A device in front of that TPM.
    pub fn new(socket: impl Into<PathBuf>, fault: Fault) -> Self {
        Self {
            socket: socket.into(),
            fault,
            tpm: None,
            response: None,
        }
    }

    fn forward(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
        let tpm = match &mut self.tpm {
            Some(tpm) => tpm,
            none => none.insert(UnixStream::connect(&self.socket)?),
        };
        tpm.write_all(command)?;
        let mut response = vec![0; 10];
        tpm.read_exact(&mut response)?;
        let [_, _, a, b, c, d, ..] = *response.as_slice() else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let size = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_RESPONSE);
        response.resize(length.max(10), 0);
        tpm.read_exact(response.get_mut(10..).unwrap_or_default())?;
        Ok(response)
    }
}

impl FakeDevice for FakeTpm {
    fn open(&mut self) -> Result<(), Errno> {
        match self.fault {
            Fault::Busy => Err(Errno::BUSY),
            _ => Ok(()),
        }
    }

    fn ioctl(&mut self, _: &mut Caller<'_>, _: u32, _: u64) -> Answer {
        Answer::Error(Errno::NOTTY)
    }

    fn read(&mut self, length: usize) -> Result<Vec<u8>, Errno> {
        let mut response = self.response.take().unwrap_or_default();
        match self.fault {
            Fault::ShortRead => response.truncate(response.len().saturating_sub(1)),
            Fault::Empty => response.clear(),
            Fault::Never => return Err(NEVER),
            _ => response.truncate(length),
        }
        Ok(response)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.fault {
            Fault::Lost => return Err(Errno::NODEV),
            Fault::ShortWrite => return Ok(bytes.len().saturating_sub(1)),
            _ => {}
        }
        self.response = Some(self.forward(bytes).map_err(|_| Errno::IO)?);
        Ok(bytes.len())
    }
}
