//! Commands to a TPM 2.0, without libtss2.
//!
//! TCG, *Trusted Platform Module Library*, *Part 1: Architecture* ("Command/Response Structure", "Session-Based
//! Authorizations") and *Part 3: Commands*. Keys and hierarchies are used with empty passwords, and sessions carry no
//! HMAC: who sits on the bus between processor and TPM reads and changes what passes. Part of the answers are signed,
//! quotes above all; the rest is as trustworthy as the way to the TPM.

mod capability;
mod code;
mod command;
mod device;
mod error;
mod keys;
mod nv;
mod provider;
mod quote;
mod session;
mod socket;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nautilus_core::AttestError;
use zeroize::Zeroizing;

use super::wire::Reader;
pub(super) use code::is_about_a_parameter;
pub(super) use command::Authorization;
use command::{Command, Response};
pub(super) use error::Error;
pub(super) use keys::Loaded;
pub(super) use nv::{NV_AUTHREAD, NV_AUTHWRITE, NV_COUNTER, NV_NO_DA, NV_OWNERREAD, NV_WRITTEN, NvPublic};
use provider::Provider;
pub(super) use session::{RH_ENDORSEMENT, RH_OWNER};

/// Largest response. `TPM_PT_MAX_RESPONSE_SIZE` of any TPM is at most that, as is the kernel's buffer
/// (`TPM_BUFSIZE`).
pub const MAX_RESPONSE: usize = 4096;

/// How often a TPM that is busy is asked again, and for how long it is left alone before: 5 s in all.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// `TPM_SU_CLEAR`.
const STARTUP_CLEAR: u16 = 0x0000;

/// Brings one command to the TPM and its response back.
pub trait Transport: Send {
    /// The TPM, as errors name it.
    fn interface(&self) -> &str;

    /// Sends the whole command, and gives the whole response, of at most [`MAX_RESPONSE`] bytes. What is in it is
    /// not looked at beyond its length. After an error the next command goes over a new connection.
    ///
    /// # Errors
    /// If the TPM cannot be reached, does not answer in time, or cuts its answer.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError>;
}

/// A TPM 2.0 that can be spoken to.
pub struct Tpm {
    transport: Mutex<Box<dyn Transport>>,
    interface: String,
    number: Option<u8>,
    pause: Duration,
    /// Held through everything that belongs together: a TPM has room for three objects.
    turn: Mutex<()>,
}

impl Tpm {
    /// Opens the TPM that `quote_provider` names: `device:/dev/tpmrm0`, `tcp:HOST:PORT` on this machine, or
    /// `unix:PATH`, the latter two for swtpm. Without a name it is `/dev/tpmrm0`, or where the kernel has no resource
    /// manager, `/dev/tpm0`.
    ///
    /// # Errors
    /// If it is not there, or the name is none of these.
    pub fn open(quote_provider: Option<&str>) -> Result<Self, AttestError> {
        let provider = Provider::parse(quote_provider)?;
        let mut tpm = Self::over(provider.open()?);
        tpm.number = provider.device_number();
        if provider.is_socket() {
            tpm.start_up()?;
        }
        Ok(tpm)
    }

    /// A TPM at the other end of `transport`, which was started already.
    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self {
            interface: transport.interface().to_owned(),
            transport: Mutex::new(transport),
            number: None,
            pause: PAUSE,
            turn: Mutex::new(()),
        }
    }

    /// The TPM, as errors name it.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The kernel's number of the TPM, if it is the kernel's.
    pub(super) const fn number(&self) -> Option<u8> {
        self.number
    }

    /// Keeps other threads from using the TPM until it is dropped.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `TPM2_Startup`, which firmware sends to a real TPM, and nobody to one behind a socket. One that was started
    /// says so.
    fn start_up(&self) -> Result<(), Error> {
        let command = Command::new("TPM2_Startup", code::CC_STARTUP).u16(STARTUP_CLEAR);
        match self.run(command) {
            Err(Error::Refused { code, .. }) if code == code::RC_INITIALIZE => Ok(()),
            Err(error) => Err(error),
            Ok(response) => self.read(&response, "TPM2_Startup", |_| Ok(())),
        }
    }

    /// Has the command run, again if the TPM is busy, and gives a successful response's content.
    fn run(&self, command: Command) -> Result<Response, Error> {
        let (name, expected) = (command.name(), command.expected());
        let bytes = command.into_bytes()?;
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        for attempt in 1.. {
            let answer = Zeroizing::new(transport.exchange(&bytes)?);
            let response =
                Response::parse(&answer, expected).map_err(|fault| self.malformed(name, &fault))?;
            match response.code() {
                code::RC_SUCCESS => return Ok(response),
                busy if code::is_busy(busy) && attempt < ATTEMPTS => thread::sleep(self.pause),
                code => {
                    return Err(Error::Refused {
                        interface: self.interface.clone(),
                        command: name,
                        code,
                    });
                }
            }
        }
        Err(self.malformed(name, &"no answer after as many attempts as can be counted"))
    }

    /// Reads a response's parameters to the last byte.
    fn read<T>(
        &self,
        response: &Response,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, nautilus_core::VerifyError>,
    ) -> Result<T, Error> {
        let mut reader = Reader::new("response", response.parameters());
        let value = read(&mut reader).and_then(|value| reader.finish().map(|()| value));
        value.map_err(|fault| self.malformed(name, &fault))
    }

    pub(super) fn malformed(&self, name: &str, what: &dyn std::fmt::Display) -> Error {
        Error::Link(AttestError::Malformed {
            interface: self.interface.clone(),
            what: format!("{name}: {what}"),
        })
    }
}

#[cfg(test)]
impl Tpm {
    /// Asks a busy TPM again at once.
    pub(super) fn without_pause(mut self) -> Self {
        self.pause = Duration::ZERO;
        self
    }
}
