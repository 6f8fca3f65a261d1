//! Which device is OP-TEE's, and what its refusals mean.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use nautilus_core::AttestError;
use nautilus_sys::tee_client::{
    self, CAPABILITY_NO_MEMORY, IMPLEMENTATION_OPTEE, Session, SharedMemory, Status,
};

/// The kernel numbers TEEs as they register; machines have one or two.
const DEVICES: u32 = 16;

/// OP-TEE, as its driver offers it.
pub(super) struct OpTee {
    device: File,
    path: String,
}

/// That OP-TEE, or something in it, would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub Status);

impl OpTee {
    /// Opens the first of `/dev/tee0` … that says it is OP-TEE. On x86 that name is AMD's secure processor's.
    pub(super) fn open() -> Result<Self, AttestError> {
        let mut other = None;
        for number in 0..DEVICES {
            let path = format!("/dev/tee{number}");
            let device = match OpenOptions::new().read(true).write(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(|source| failed("open", &path, source))?,
            };
            let version = tee_client::version(&device)
                .map_err(|source| failed("ask for its version the TEE at", &path, source))?;
            if version.implementation != IMPLEMENTATION_OPTEE {
                other = Some(format!(
                    "the TEE at {path} is of implementation {}",
                    version.implementation
                ));
                continue;
            }
            if version.generic_capabilities & CAPABILITY_NO_MEMORY == 0 {
                return Err(AttestError::Unsupported {
                    what: format!(
                        "the TEE driver at {path}, which cannot be asked for lengths: Linux 5.10 or later can"
                    ),
                });
            }
            return Ok(Self { device, path });
        }
        Err(AttestError::Missing {
            interface: "OP-TEE's device /dev/tee0".to_owned(),
            hint: other.map_or_else(
                || {
                    "the firmware must start OP-TEE, and Linux needs CONFIG_TEE and CONFIG_OPTEE; see \
                     docs/tee/trustzone.md"
                        .to_owned()
                },
                |other| format!("{other}, which is not OP-TEE's ({IMPLEMENTATION_OPTEE})"),
            ),
        })
    }

    /// A session with a trusted application, or why OP-TEE gives none.
    pub(super) fn session(&self, uuid: [u8; 16]) -> Result<Result<Session<'_>, Refusal>, AttestError> {
        Session::open(self.device.as_fd(), uuid)
            .map(|opened| opened.map_err(Refusal))
            .map_err(|source| self.failed("open a session at", source))
    }

    /// Memory to exchange `length` bytes in.
    pub(super) fn memory(&self, length: usize) -> Result<SharedMemory, AttestError> {
        SharedMemory::allocate(&self.device, length)
            .map_err(|source| self.failed("get shared memory of", source))
    }

    pub(super) fn failed(&self, action: &'static str, source: io::Error) -> AttestError {
        failed(action, &self.path, source)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

fn failed(action: &'static str, path: &str, source: io::Error) -> AttestError {
    AttestError::Io {
        action,
        interface: path.to_owned(),
        source,
    }
}

/// GlobalPlatform's TEE Internal Core API 1.3.1, table 3-2, and what each means from OP-TEE.
pub(super) mod code {
    pub const CORRUPT_OBJECT: u32 = 0xf010_0001;
    pub const CORRUPT_OBJECT_2: u32 = 0xf010_0002;
    pub const STORAGE_NOT_AVAILABLE: u32 = 0xf010_0003;
    pub const STORAGE_NOT_AVAILABLE_2: u32 = 0xf010_0004;
    pub const GENERIC: u32 = 0xffff_0000;
    pub const ACCESS_DENIED: u32 = 0xffff_0001;
    pub const ACCESS_CONFLICT: u32 = 0xffff_0003;
    pub const BAD_FORMAT: u32 = 0xffff_0005;
    pub const BAD_PARAMETERS: u32 = 0xffff_0006;
    pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;
    pub const NOT_SUPPORTED: u32 = 0xffff_000a;
    pub const OUT_OF_MEMORY: u32 = 0xffff_000c;
    pub const BUSY: u32 = 0xffff_000d;
    pub const COMMUNICATION: u32 = 0xffff_000e;
    pub const SECURITY: u32 = 0xffff_000f;
    pub const SHORT_BUFFER: u32 = 0xffff_0010;
    pub const TARGET_DEAD: u32 = 0xffff_3024;
    pub const STORAGE_NO_SPACE: u32 = 0xffff_3041;
    pub const MAC_INVALID: u32 = 0xffff_3071;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { code, origin } = self.0;
        let words = match code {
            code::CORRUPT_OBJECT | code::CORRUPT_OBJECT_2 => {
                "an object in secure storage is corrupt; OP-TEE removes it and makes another, and a new attestation \
                 key must be enrolled again"
            }
            code::STORAGE_NOT_AVAILABLE | code::STORAGE_NOT_AVAILABLE_2 => {
                "secure storage is not available: is tee-supplicant running, and can it write /data/tee or the RPMB?"
            }
            code::GENERIC => "unspecified error; OP-TEE's log may say more",
            code::ACCESS_DENIED => "access denied: this is not for programs of the normal world",
            code::ACCESS_CONFLICT => "the object is in use",
            code::BAD_FORMAT => "the bytes have not the form that is expected",
            code::BAD_PARAMETERS => "parameters that it does not take",
            code::ITEM_NOT_FOUND => "there is no such thing",
            code::NOT_SUPPORTED => "not supported by this build of OP-TEE",
            code::OUT_OF_MEMORY => "out of memory in the secure world",
            code::BUSY => "busy; try again",
            code::COMMUNICATION => "no communication: is tee-supplicant running?",
            code::SECURITY => {
                "a check of security failed: a trusted application must be signed with the key of this OP-TEE"
            }
            code::SHORT_BUFFER => "the buffer is too short",
            code::TARGET_DEAD => "the trusted application ended by a panic; OP-TEE's log says where",
            code::STORAGE_NO_SPACE => "no space left in secure storage",
            code::MAC_INVALID => "the authentication code is wrong",
            _ => "an error that has no name here",
        };
        let whose = match origin {
            1 => "the client's side",
            2 => "the way to the secure world",
            3 => "OP-TEE",
            4 => "the trusted application",
            _ => "nobody that it names",
        };
        write!(f, "{words} (0x{code:08x}, from {whose})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let said = |code, origin| Refusal(Status { code, origin }).to_string();
        assert_eq!(
            said(code::COMMUNICATION, 2),
            "no communication: is tee-supplicant running? (0xffff000e, from the way to the secure world)"
        );
        assert!(said(code::CORRUPT_OBJECT, 4).contains("must be enrolled again (0xf0100001"));
        assert_eq!(
            said(7, 9),
            "an error that has no name here (0x00000007, from nobody that it names)"
        );
    }
}
