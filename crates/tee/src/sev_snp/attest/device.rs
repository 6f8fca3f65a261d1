//! `/dev/sev-guest`: reports, certificates and keys from the guest driver itself.
//!
//! Messages: AMD 56860, tables "MSG_REPORT_RSP Message Structure" and "MSG_KEY_RSP Message Structure".

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};

use nautilus_core::{AttestError, ReportData};
use nautilus_sys::sev_guest::{self, Failure, KEY_RESPONSE_LEN, KeyRequest, PAGE_LEN, REPORT_RESPONSE_LEN};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::in_words;
use crate::dcap::wire::Reader;
use crate::sev_snp::REPORT_LEN;

/// Room for certificates that is given at most. Linux takes no more than 16 KiB; later ones may.
const MAX_CERTIFICATES: usize = 64 * 1024;
/// How often the room for certificates is measured anew: the host may change them in between.
const ATTEMPTS: u32 = 3;
/// The host's error when there is too little room for certificates: `SNP_GUEST_VMM_ERR_INVALID_LEN`.
const HOST_INVALID_LENGTH: u64 = 1;
/// What the driver sets before it asks anybody.
const NOBODY_ASKED: u64 = 0xff;
/// Where a report starts in the answer, after its status, its length and reserved bytes; where a key does too.
const ANSWER_HEADER: usize = 32;
/// The privilege level that Linux runs at, where it tells (6.11).
const LEVEL: &str = "/sys/devices/system/cpu/sev/vmpl";

/// The driver's device, open.
pub(super) struct Device {
    file: File,
    level: u32,
}

/// A key from the firmware, or the status that it gave in place of one.
pub(super) enum KeyAnswer {
    Key(Zeroizing<[u8; 32]>),
    Status(u32),
}

impl Device {
    pub(super) const PATH: &str = "/dev/sev-guest";

    /// Opens it.
    ///
    /// # Errors
    /// `Missing` if it is not there.
    pub(super) fn open() -> Result<Self, AttestError> {
        let opened = OpenOptions::new().read(true).write(true).open(Self::PATH);
        let file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AttestError::Missing {
                interface: Self::PATH.to_owned(),
                hint:
                    "modprobe sev-guest; needs an SEV-SNP guest and Linux 5.19 or later with CONFIG_SEV_GUEST"
                        .to_owned(),
            },
            _ => AttestError::Io {
                action: "open",
                interface: format!("{} (udev gives it to root alone)", Self::PATH),
                source,
            },
        })?;
        Ok(Self {
            file,
            level: privilege_level()?,
        })
    }

    /// A report on `report_data`, and the table of certificates that the host has for it, empty if it has none.
    ///
    /// # Errors
    /// What kernel, host and firmware say, in words.
    pub(super) fn report(&self, report_data: &ReportData) -> Result<(Vec<u8>, Vec<u8>), AttestError> {
        let mut certificates = Vec::new();
        for _ in 0..ATTEMPTS {
            let asked =
                sev_guest::get_ext_report(&self.file, report_data.as_bytes(), self.level, &mut certificates);
            let failure = match asked {
                Ok(answer) => return Ok((report_in(&answer)?, certificates)),
                Err(failure) => failure,
            };
            if failure.exit_info >> 32 != HOST_INVALID_LENGTH {
                return self.without_certificates(report_data, failure);
            }
            certificates.clear();
            certificates.resize(room(failure.certificates)?, 0);
        }
        Err(AttestError::Stale {
            interface: Self::PATH.to_owned(),
            what: format!("the host's certificates needed more room each of {ATTEMPTS} times"),
        })
    }

    /// Certificates are a convenience, and a kernel may not take them: more than it has room for, or any. Then a plain
    /// report is all there is. A request that the host or the firmware refused would be refused again, and is told.
    fn without_certificates(
        &self,
        report_data: &ReportData,
        failure: Failure,
    ) -> Result<(Vec<u8>, Vec<u8>), AttestError> {
        let nobody_asked = failure.exit_info == 0 || failure.exit_info == NOBODY_ASKED;
        let not_taken = matches!(
            Errno::from_io_error(&failure.error),
            Some(Errno::INVAL | Errno::OPNOTSUPP)
        );
        if !(nobody_asked && not_taken) {
            return Err(refused("the request for a report", failure));
        }
        let answer = sev_guest::get_report(&self.file, report_data.as_bytes(), self.level)
            .map_err(|failure| refused("the request for a report", failure))?;
        Ok((report_in(&answer)?, Vec::new()))
    }

    /// A key that the firmware derives from `root` and what `fields` selects of the guest.
    ///
    /// # Errors
    /// What kernel and host say, in words; `Malformed` for a key of zeros.
    pub(super) fn key(&self, root: u32, fields: u64) -> Result<KeyAnswer, AttestError> {
        let request = KeyRequest {
            root_key_select: root,
            guest_field_select: fields,
            vmpl: self.level,
            ..KeyRequest::default()
        };
        let mut answer = Zeroizing::new([0; KEY_RESPONSE_LEN]);
        sev_guest::get_derived_key(&self.file, &request, &mut answer)
            .map_err(|failure| refused("the request for a key", failure))?;
        let malformed = |what: &str| AttestError::Malformed {
            interface: Self::PATH.to_owned(),
            what: what.to_owned(),
        };
        let mut reader = Reader::new(answer.as_slice());
        let status = reader
            .u32("status of a key")
            .map_err(|fault| malformed(&in_words(fault)))?;
        if status != 0 {
            return Ok(KeyAnswer::Status(status));
        }
        let mut key = Zeroizing::new([0; 32]);
        let derived = answer
            .get(ANSWER_HEADER..)
            .filter(|bytes| bytes.len() == key.len())
            .ok_or_else(|| malformed("its answer has no room for a key"))?;
        key.copy_from_slice(derived);
        if *key == [0; 32] {
            return Err(malformed("it gave a key of zeros"));
        }
        Ok(KeyAnswer::Key(key))
    }
}

/// The firmware's status in words (AMD 56860, table "Status Codes"; Linux `include/uapi/linux/psp-sev.h`).
pub(super) fn status_words(status: u32) -> String {
    let words = match status {
        0x01 => "the platform is in a state in which it cannot",
        0x02 => "the guest is in a state in which it cannot",
        0x07 => "the guest's policy forbids it",
        0x13 => "the secure processor's hardware failed",
        0x15 => "the firmware does not know the request",
        0x16 => "a parameter is invalid",
        0x17 => "the firmware has no resources left",
        0x1d => "the sequence numbers of messages are used up; the guest must be started anew",
        0x27 => "the key that it needs is not there: the host masks the chip key and installed no VLEK",
        _ => "see `Status Codes` in AMD 56860",
    };
    format!("firmware status {status:#x}, {words}")
}

fn report_in(answer: &[u8; REPORT_RESPONSE_LEN]) -> Result<Vec<u8>, AttestError> {
    let malformed = |what: String| AttestError::Malformed {
        interface: Device::PATH.to_owned(),
        what,
    };
    let mut reader = Reader::new(answer);
    let mut word = |what: &str| reader.u32(what).map_err(|fault| malformed(in_words(fault)));
    let status = word("status of a report")?;
    let length = word("length of a report")?;
    if status != 0 {
        return Err(AttestError::Refused {
            interface: Device::PATH.to_owned(),
            what: status_words(status),
        });
    }
    let (_, report) = answer.split_at(ANSWER_HEADER);
    if usize::try_from(length) != Ok(REPORT_LEN) {
        return Err(malformed(format!(
            "a report of {length} bytes, not of {REPORT_LEN}"
        )));
    }
    let report = report
        .get(..REPORT_LEN)
        .ok_or_else(|| malformed("its answer has no room for a report".to_owned()))?;
    Ok(report.to_vec())
}

/// The room for certificates that the driver asked for.
fn room(asked: u32) -> Result<usize, AttestError> {
    usize::try_from(asked)
        .ok()
        .filter(|length| (1..=MAX_CERTIFICATES).contains(length) && length.is_multiple_of(PAGE_LEN))
        .ok_or_else(|| AttestError::Malformed {
            interface: Device::PATH.to_owned(),
            what: format!("it asks for {asked} bytes of room for certificates, not for 1 to 16 pages"),
        })
}

/// `exitinfo2` in words: what the host said, and what the firmware did.
fn refused(asked: &str, failure: Failure) -> AttestError {
    let Failure { error, exit_info, .. } = failure;
    if exit_info == 0 || exit_info == NOBODY_ASKED {
        let hint = match Errno::from_io_error(&error) {
            Some(Errno::NOTTY) => {
                "the driver gave up its key after an earlier error, or the device is another; restart the guest"
            }
            Some(Errno::ACCESS | Errno::PERM) => "run as root",
            _ => {
                return AttestError::Io {
                    action: "send a request to",
                    interface: Device::PATH.to_owned(),
                    source: error,
                };
            }
        };
        return AttestError::Refused {
            interface: Device::PATH.to_owned(),
            what: format!("{asked} failed ({error}): {hint}"),
        };
    }
    let (host, firmware) = (exit_info >> 32, exit_info & u64::from(u32::MAX));
    let host = match host {
        0 => String::new(),
        HOST_INVALID_LENGTH => "the host found a length invalid; ".to_owned(),
        2 => "the host was too busy; try again later; ".to_owned(),
        other => format!("the host gave error {other:#x}; "),
    };
    let firmware = u32::try_from(firmware).unwrap_or(u32::MAX);
    let firmware = match firmware {
        0 => "the firmware gave none".to_owned(),
        u32::MAX => "the firmware was not asked".to_owned(),
        status => status_words(status),
    };
    AttestError::Refused {
        interface: Device::PATH.to_owned(),
        what: format!("{asked} failed ({error}): {host}{firmware}"),
    }
}

/// The level that reports are asked for. A kernel that does not tell runs at the highest.
fn privilege_level() -> Result<u32, AttestError> {
    let mut text = String::new();
    let read = File::open(LEVEL).and_then(|file| file.take(16).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => {
            return Err(AttestError::Io {
                action: "read",
                interface: LEVEL.to_owned(),
                source,
            });
        }
    }
    match text.trim() {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Ok(2),
        "3" => Ok(3),
        other => Err(AttestError::Malformed {
            interface: LEVEL.to_owned(),
            what: format!("`{}` is no privilege level", other.escape_default()),
        }),
    }
}
