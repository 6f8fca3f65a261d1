//! Getting evidence from a TEE: what an attester of each kind offers to the enclave.

use std::time::Duration;

use crate::{Descriptor, Endorsements, ReportData};

/// Makes the evidence of one TEE, from inside it.
pub trait Attester: Send + Sync {
    /// What this attester is: the same as that of the verifier which accepts its evidence.
    fn descriptor(&self) -> Descriptor;

    /// Has the TEE sign `report_data`. It may block on a device for as long as the device likes.
    ///
    /// # Errors
    /// If the device, the vendor's service or a file that is needed does not do its part; and if what it gave is for
    /// other report data. Nothing else about the evidence is checked here: that is a verifier's.
    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError>;
}

/// What an attester got from its TEE. Untrusted, as all evidence is until it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawEvidence {
    /// The evidence itself, in the format of the attester's [`Descriptor`].
    pub bytes: Vec<u8>,
    /// The vendor's documents that the platform handed out along with it.
    pub endorsements: Endorsements,
    /// The firmware's event log, where the platform keeps one that gives registers in the evidence.
    pub event_log: Option<Vec<u8>>,
}

/// Why there is no evidence, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// What makes the evidence is not on this machine.
    #[error("{interface} is not there: {hint}")]
    Missing {
        /// The device, directory or socket.
        interface: String,
        /// What to do about it.
        hint: String,
    },
    /// The kernel refused.
    #[error("cannot {action} {interface}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The device, file or socket.
        interface: String,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The device or firmware answered that it would not.
    #[error("{interface} refused: {what}")]
    Refused {
        /// The device or service.
        interface: String,
        /// Its reason, with its code.
        what: String,
    },
    /// The device answered with something that is no answer.
    #[error("{interface} gave a malformed answer: {what}")]
    Malformed {
        /// The device or service.
        interface: String,
        /// What is wrong with it.
        what: String,
    },
    /// Someone else used the interface in between, again and again.
    #[error("{interface} gave stale evidence: {what}")]
    Stale {
        /// The interface.
        interface: String,
        /// What shows it.
        what: String,
    },
    /// The evidence is for other report data than was asked for.
    #[error("{interface} gave evidence for report data {found}, not {expected}")]
    WrongReportData {
        /// The interface.
        interface: String,
        /// What was asked for, in hex.
        expected: String,
        /// What came, in hex.
        found: String,
    },
    /// There was no answer.
    #[error("{interface} did not answer within {} ms", after.as_millis())]
    NoAnswer {
        /// The interface.
        interface: String,
        /// How long was waited.
        after: Duration,
    },
    /// Something that this platform or program does not do.
    #[error("unsupported: {what}")]
    Unsupported {
        /// What it is, and what to do instead.
        what: String,
    },
    /// The vendor's part of the TEE: its quoting enclave, firmware or service.
    #[error("the TEE's vendor component made no evidence: {what}")]
    Vendor {
        /// Which, and why.
        what: String,
    },
}
