//! Sealing with the trusted application `nautilus-state` (`deploy/optee/nautilus-state`), which keeps a key and a
//! counter in OP-TEE's secure storage.

use std::error::Error as _;
use std::time::Duration;

use nautilus_core::{AttestError, Counter, Protection, SealError, Sealer};
use nautilus_sys::tee_client::{Parameter, SharedMemory, Status};
use zeroize::Zeroizing;

use super::bounded::{Bounded, NoResult};
use super::client::{OpTee, Refusal, code};

/// `2644c7b2-e17b-4a36-9754-fc5c9502fc6a`: `NAUTILUS_STATE_UUID` of its header.
const UUID: [u8; 16] = [
    0x26, 0x44, 0xc7, 0xb2, 0xe1, 0x7b, 0x4a, 0x36, 0x97, 0x54, 0xfc, 0x5c, 0x95, 0x02, 0xfc, 0x6a,
];
const SEAL: u32 = 0;
const UNSEAL: u32 = 1;
const COUNTER_READ: u32 = 2;
const COUNTER_ADVANCE: u32 = 3;
const DESCRIBE: u32 = 4;

/// The interface that this speaks: what `DESCRIBE` gives first.
const VERSION: u64 = 1;
/// Most bytes that are sealed at once: `NAUTILUS_STATE_MAX`.
const MAX_PLAINTEXT: usize = 16 * 1024;
/// Header 16, nonce 12, tag 16.
const OVERHEAD: usize = 44;

/// Seals by the trusted application. Each call opens the device anew: what another client does to it is not felt.
pub(super) struct StateSealer {
    calls: Bounded,
    storage: Storage,
}

/// Where the trusted application keeps its key and counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// `TEE_STORAGE_PRIVATE`: files of the normal world, or what the build of OP-TEE has instead.
    Default,
    /// `TEE_STORAGE_PRIVATE_RPMB`.
    Rpmb,
}

/// Why a call to the trusted application gave nothing.
enum Failure {
    /// OP-TEE does not open it.
    Closed(Refusal),
    /// It does not do what it was asked for.
    Refused(Refusal),
    Other(AttestError),
}

impl From<AttestError> for Failure {
    fn from(error: AttestError) -> Self {
        Self::Other(error)
    }
}

impl StateSealer {
    /// The sealer, if the trusted application is installed. Loading it is tee-supplicant's, so that it may hang.
    pub(super) fn find(deadline: Duration) -> Result<Option<Self>, AttestError> {
        let calls = Bounded::new(deadline);
        let interface = || "OP-TEE's trusted application nautilus-state".to_owned();
        let described = calls.run(|| values(DESCRIBE)).map_err(|why| match why {
            NoResult::Late => AttestError::NoAnswer {
                interface: format!("{} (is tee-supplicant running?)", interface()),
                after: deadline,
            },
            NoResult::Lost => AttestError::Vendor {
                what: "the call to nautilus-state was lost".to_owned(),
            },
        })?;
        let storage = match described {
            Ok((VERSION, 0)) => Storage::Default,
            Ok((VERSION, 1)) => Storage::Rpmb,
            Ok((version, storage)) => {
                return Err(AttestError::Malformed {
                    interface: interface(),
                    what: format!(
                        "it speaks version {version} with storage {storage}, where version {VERSION} with storage 0 or \
                         1 is known"
                    ),
                });
            }
            Err(Failure::Closed(Refusal(Status {
                code: code::ITEM_NOT_FOUND,
                ..
            }))) => return Ok(None),
            Err(Failure::Closed(refusal) | Failure::Refused(refusal)) => {
                return Err(AttestError::Refused {
                    interface: interface(),
                    what: refusal.to_string(),
                });
            }
            Err(Failure::Other(error)) => return Err(error),
        };
        Ok(Some(Self { calls, storage }))
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, SealError> {
        let tee = |what: String| SealError::Tee { action, what };
        let result = self.calls.run(work).map_err(|why| match why {
            NoResult::Late => tee(format!(
                "nautilus-state did not answer within {} ms: is tee-supplicant running?",
                self.calls.deadline().as_millis()
            )),
            NoResult::Lost => tee("the call to nautilus-state was lost".to_owned()),
        })?;
        result.map_err(|failure| match failure {
            Failure::Closed(refusal) => tee(format!("OP-TEE does not open nautilus-state: {refusal}")),
            Failure::Refused(refusal) => tee(format!("nautilus-state: {refusal}")),
            Failure::Other(error) => {
                let cause = error
                    .source()
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                tee(format!("{error}{cause}"))
            }
        })
    }
}

impl Sealer for StateSealer {
    fn protection(&self) -> Protection {
        let kept = match self.storage {
            Storage::Default => "OP-TEE's secure storage",
            Storage::Rpmb => "OP-TEE's secure storage on RPMB",
        };
        Protection::Tee {
            bound_to: format!("a key of the trusted application nautilus-state in {kept}, on this device"),
        }
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::Tee {
                action: "seal",
                what: format!(
                    "{} bytes, where at most {MAX_PLAINTEXT} are sealed at once",
                    plaintext.len()
                ),
            });
        }
        let plaintext = Zeroizing::new(plaintext.to_vec());
        let room = plaintext.len().saturating_add(OVERHEAD);
        self.call("seal", move || bytes(SEAL, &plaintext, room))
            .map(|sealed| sealed.to_vec())
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let not_ours = |what: &str| SealError::NotOurs {
            what: what.to_owned(),
        };
        let Some(room) = sealed.len().checked_sub(OVERHEAD) else {
            return Err(not_ours("it is too short"));
        };
        if room > MAX_PLAINTEXT {
            return Err(not_ours("it is too long"));
        }
        let sealed = sealed.to_vec();
        let opened = self.call("unseal", move || match bytes(UNSEAL, &sealed, room) {
            Err(Failure::Refused(Refusal(status))) => Ok(Err(status)),
            Ok(plaintext) => Ok(Ok(plaintext)),
            Err(failure) => Err(failure),
        })?;
        opened.map_err(|status| match status.code {
            code::MAC_INVALID => not_ours("its authentication tag is for another key"),
            code::BAD_FORMAT => not_ours("it does not start as state sealed by nautilus-state does"),
            code::ITEM_NOT_FOUND => {
                not_ours("nautilus-state has no key: nothing was sealed here, or its storage was emptied")
            }
            _ => SealError::Tee {
                action: "unseal",
                what: format!("nautilus-state: {}", Refusal(status)),
            },
        })
    }

    fn counter(&self) -> Option<&dyn Counter> {
        Some(self)
    }
}

impl Counter for StateSealer {
    fn read(&self) -> Result<u64, SealError> {
        self.call("read its counter", || number(COUNTER_READ))
    }

    fn advance(&self) -> Result<u64, SealError> {
        self.call("advance its counter", || number(COUNTER_ADVANCE))
    }

    /// Storage in the normal world's file system can be put back whole.
    fn outlives_restore(&self) -> bool {
        matches!(self.storage, Storage::Rpmb)
    }
}

/// A command that gives two numbers.
fn values(function: u32) -> Result<(u64, u64), Failure> {
    let mut parameters = [
        Parameter::ValueOut { a: 0, b: 0 },
        Parameter::Nothing,
        Parameter::Nothing,
        Parameter::Nothing,
    ];
    invoke(&OpTee::open()?, function, &mut parameters)?;
    match parameters {
        [Parameter::ValueOut { a, b }, ..] => Ok((a, b)),
        _ => Err(malformed("no value where one was asked for".to_owned())),
    }
}

/// A command that gives a number of 64 bits in two halves of 32, the lower first.
fn number(function: u32) -> Result<u64, Failure> {
    let (low, high) = values(function)?;
    let half = |value: u64| {
        u32::try_from(value).map_err(|_| malformed(format!("half a number that is 0x{value:x}")))
    };
    let (low, high) = (half(low)?, half(high)?);
    Ok(u64::from(low) | u64::from(high) << u32::BITS)
}

/// A command from bytes to bytes, of which there are exactly `room`.
fn bytes(function: u32, input: &[u8], room: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let tee = OpTee::open()?;
    let length = input.len().saturating_add(room);
    let mut memory = tee.memory(length)?;
    memory
        .write(0, input)
        .map_err(|source| tee.failed("write to shared memory of", source))?;
    let taken = exchange(&tee, &memory, function, input.len(), room);
    // Others map the same memory after this; the secret part of it goes, whatever came.
    let wiped = memory.write(0, &vec![0; length]);
    let taken = taken?;
    wiped.map_err(|source| tee.failed("wipe shared memory of", source))?;
    Ok(taken)
}

fn exchange(
    tee: &OpTee,
    memory: &SharedMemory,
    function: u32,
    input: usize,
    room: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let expected = u64::try_from(room).map_err(|_| malformed("more than fits".to_owned()))?;
    let mut parameters = [
        Parameter::Input {
            memory,
            offset: 0,
            length: input,
        },
        Parameter::Output {
            memory: Some(memory),
            offset: input,
            length: expected,
        },
        Parameter::Nothing,
        Parameter::Nothing,
    ];
    invoke(tee, function, &mut parameters)?;
    match parameters {
        [_, Parameter::Output { length, .. }, ..] if length == expected => memory
            .read(input, room)
            .map(Zeroizing::new)
            .map_err(|source| tee.failed("read shared memory of", source).into()),
        [_, Parameter::Output { length, .. }, ..] => {
            Err(malformed(format!("{length} bytes, where {expected} must come")))
        }
        _ => Err(malformed("no bytes where some were asked for".to_owned())),
    }
}

fn invoke(tee: &OpTee, function: u32, parameters: &mut [Parameter<'_>; 4]) -> Result<(), Failure> {
    let session = tee.session(UUID)?.map_err(Failure::Closed)?;
    let status = session
        .invoke(function, parameters)
        .map_err(|source| tee.failed("invoke a command at", source))?;
    match status.code {
        0 => Ok(()),
        _ => Err(Failure::Refused(Refusal(status))),
    }
}

fn malformed(what: String) -> Failure {
    Failure::Other(AttestError::Malformed {
        interface: "OP-TEE's trusted application nautilus-state".to_owned(),
        what,
    })
}
