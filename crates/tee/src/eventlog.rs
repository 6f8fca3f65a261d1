//! Event logs of the firmware: what was measured into the registers of a TPM or of a trust domain.
//!
//! A log is untrusted text until its replay gives the registers that hardware signed:
//! [`hold_against_pcrs`], [`hold_against_rtmrs`]. The digests are vouched for then; what an event says about
//! its digest is, for many types of event, still only its maker's word (see [`Event::detail`]).
//!
//! Layouts: TCG, *PC Client Platform Firmware Profile Specification*, version 1.06, §10 "Event Logging"
//! (`TCG_PCR_EVENT`, `TCG_PCR_EVENT2`, `TCG_EfiSpecIDEvent`); the CCEL log of confidential guests has the same
//! structures: *UEFI Specification* 2.10, §38 "Confidential Computing".

use nautilus_core::{MAX_EVIDENCE, VerifyError};

use crate::dcap::wire::{Reader, malformed};

mod bank;
mod detail;
mod event_type;
mod replay;
mod text;
mod uefi;

pub use bank::Bank;
pub use event_type::EventType;
pub use replay::{Registers, hold_against_pcrs, hold_against_rtmrs};

/// Most events of a log. Boot loaders that measure every command make some hundreds.
pub const MAX_EVENTS: usize = 8192;
/// Most digest algorithms of a log, as many as a TPM may have banks (TPM 2.0 Library, part 2, `HASH_COUNT`).
const MAX_ALGORITHMS: usize = 16;
/// Longest digest of an algorithm: that of SHA-512.
const MAX_DIGEST: usize = 64;
/// Registers of a PC client's TPM; confidential guests have fewer.
const REGISTERS: u32 = 24;

/// What a crypto-agile log starts with, in an event that itself has the older layout.
const SPEC_ID_AGILE: &[u8] = b"Spec ID Event03\0";

/// A log as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog<'a> {
    /// The events, without the header of a crypto-agile log.
    pub events: Vec<Event<'a>>,
    /// Bytes after the last event, all zero or all 0xFF: firmware hands out its log area whole.
    pub padding: usize,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where it starts, from the start of the log.
    pub offset: usize,
    /// The register that it extends: number of a PCR, or in a confidential guest's log a measurement register's
    /// index (0 is MRTD, 1 to 4 are RTMR 0 to 3).
    pub register: u32,
    /// Its type.
    pub kind: EventType,
    /// What was extended, in every bank.
    pub digests: Vec<Digest<'a>>,
    /// What it says it measured.
    pub data: &'a [u8],
}

/// What was extended into one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest<'a> {
    /// The bank's algorithm, a `TPM_ALG_ID`.
    pub algorithm: u16,
    /// The digest.
    pub value: &'a [u8],
}

impl<'a> EventLog<'a> {
    /// Parses a crypto-agile log or one of the older layout, with SHA-1 only.
    ///
    /// A log that was cut where an event ends parses as the shorter log that it then is: only its replay tells.
    ///
    /// # Errors
    /// `TooLarge`, or `Malformed` with the field and its offset within the log.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        if bytes.len() > MAX_EVIDENCE {
            return Err(VerifyError::TooLarge { limit: MAX_EVIDENCE });
        }
        let end = start_of_padding(bytes);
        let mut reader = Reader::new(bytes);
        let mut events = Vec::new();
        let mut algorithms: Option<Vec<Algorithm>> = None;
        while reader.offset() < end {
            let event = match &algorithms {
                Some(algorithms) => Event::read_agile(&mut reader, algorithms)?,
                None => Event::read_legacy(&mut reader)?,
            };
            if event.offset == 0
                && event.kind == EventType::NO_ACTION
                && event.data.starts_with(SPEC_ID_AGILE)
            {
                let data_at = reader.offset().saturating_sub(event.data.len());
                algorithms = Some(Algorithm::read_list(event.data, data_at)?);
                continue;
            }
            if events.len() == MAX_EVENTS {
                return Err(in_log(
                    format!("more than the {MAX_EVENTS} events allowed"),
                    event.offset,
                ));
            }
            events.push(event);
        }
        if events.is_empty() {
            return Err(in_log("no event".to_owned(), reader.offset()));
        }
        Ok(Self {
            events,
            padding: bytes.len().saturating_sub(reader.offset()),
        })
    }
}

/// Where the zeros or 0xFFs begin that end the log, if it ends in such. An event's own last bytes may be among
/// them.
fn start_of_padding(bytes: &[u8]) -> usize {
    match bytes.last() {
        Some(fill @ (0 | 0xff)) => bytes
            .iter()
            .rposition(|byte| byte != fill)
            .map_or(0, |last| last.saturating_add(1)),
        _ => bytes.len(),
    }
}

/// An algorithm that the header of a crypto-agile log names.
#[derive(Clone, Copy, Debug)]
struct Algorithm {
    id: u16,
    digest_len: usize,
}

impl Algorithm {
    /// Reads `TCG_EfiSpecIDEvent`, which stands at `data_at` of the log.
    fn read_list(data: &[u8], data_at: usize) -> Result<Vec<Self>, VerifyError> {
        let mut reader = Reader::new(data);
        let at = |reader: &Reader<'_>| data_at.saturating_add(reader.offset());
        let short = |error| shifted(error, data_at);
        reader
            .take(SPEC_ID_AGILE.len(), "signature of the header")
            .map_err(short)?;
        reader.u32("platform class").map_err(short)?;
        let [_, major, _, _] = reader.array::<4>("version of the specification").map_err(short)?;
        if major != 2 {
            return Err(in_log(
                format!("specification of major version {major}, not 2"),
                at(&reader),
            ));
        }
        let count_at = at(&reader);
        let count = reader.u32("number of algorithms").map_err(short)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count == 0 || count > MAX_ALGORITHMS {
            return Err(in_log(
                format!("{count} digest algorithms, not 1 to {MAX_ALGORITHMS}"),
                count_at,
            ));
        }
        let mut list: Vec<Self> = Vec::with_capacity(count);
        for _ in 0..count {
            let algorithm_at = at(&reader);
            let id = reader.u16("algorithm").map_err(short)?;
            let digest_len = usize::from(reader.u16("digest size").map_err(short)?);
            let known = Bank::of_algorithm(id);
            if known.map_or(digest_len == 0 || digest_len > MAX_DIGEST, |bank| {
                bank.len() != digest_len
            }) {
                let what = format!("digests of algorithm {id:#06x} cannot have {digest_len} bytes");
                return Err(in_log(what, algorithm_at));
            }
            if list.iter().any(|other| other.id == id) {
                return Err(in_log(format!("algorithm {id:#06x} twice"), algorithm_at));
            }
            list.push(Self { id, digest_len });
        }
        let [vendor_len] = reader
            .array::<1>("length of the vendor's information")
            .map_err(short)?;
        reader
            .take(usize::from(vendor_len), "vendor's information")
            .map_err(short)?;
        if reader.offset() != data.len() {
            return Err(in_log(
                "bytes after the header that belong to nothing".to_owned(),
                at(&reader),
            ));
        }
        Ok(list)
    }
}

impl<'a> Event<'a> {
    /// `TCG_PCR_EVENT`.
    fn read_legacy(reader: &mut Reader<'a>) -> Result<Self, VerifyError> {
        let (offset, register, kind) = Self::read_start(reader)?;
        let digest = reader.take(Bank::Sha1.len(), "digest").map_err(of_log)?;
        let digests = vec![Digest {
            algorithm: Bank::Sha1.algorithm(),
            value: digest,
        }];
        Self::finish(reader, offset, register, kind, digests)
    }

    /// `TCG_PCR_EVENT2`.
    fn read_agile(reader: &mut Reader<'a>, algorithms: &[Algorithm]) -> Result<Self, VerifyError> {
        let (offset, register, kind) = Self::read_start(reader)?;
        let count_at = reader.offset();
        let count = reader.u32("number of digests").map_err(of_log)?;
        let most = algorithms.len();
        if usize::try_from(count).map_or(true, |count| count > most) {
            return Err(in_log(
                format!("{count} digests, but the log's header names {most} algorithms"),
                count_at,
            ));
        }
        let mut digests: Vec<Digest<'a>> = Vec::new();
        for _ in 0..count {
            let at = reader.offset();
            let id = reader.u16("digest's algorithm").map_err(of_log)?;
            let Some(algorithm) = algorithms.iter().find(|algorithm| algorithm.id == id) else {
                let what = format!("digest of algorithm {id:#06x}, which the log's header does not name");
                return Err(in_log(what, at));
            };
            if digests.iter().any(|other| other.algorithm == id) {
                return Err(in_log(format!("two digests of algorithm {id:#06x}"), at));
            }
            let value = reader.take(algorithm.digest_len, "digest").map_err(of_log)?;
            digests.push(Digest { algorithm: id, value });
        }
        Self::finish(reader, offset, register, kind, digests)
    }

    fn read_start(reader: &mut Reader<'a>) -> Result<(usize, u32, EventType), VerifyError> {
        let offset = reader.offset();
        let register = reader.u32("register of an event").map_err(of_log)?;
        let kind = EventType(reader.u32("type of an event").map_err(of_log)?);
        // Events that extend nothing are also logged for no register at all (0xFFFFFFFF).
        if register >= REGISTERS && kind != EventType::NO_ACTION {
            let what = format!("event {kind} extends register {register}: there are {REGISTERS}");
            return Err(in_log(what, offset));
        }
        Ok((offset, register, kind))
    }

    fn finish(
        reader: &mut Reader<'a>,
        offset: usize,
        register: u32,
        kind: EventType,
        digests: Vec<Digest<'a>>,
    ) -> Result<Self, VerifyError> {
        if digests.is_empty() && kind != EventType::NO_ACTION {
            return Err(in_log(
                format!("event {kind} extends register {register} with no digest"),
                offset,
            ));
        }
        let size = reader.u32("size of an event's data").map_err(of_log)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let data = reader.take(size, "event's data").map_err(of_log)?;
        Ok(Self {
            offset,
            register,
            kind,
            digests,
            data,
        })
    }

    /// What was extended into a bank.
    pub fn digest(&self, bank: Bank) -> Option<&'a [u8]> {
        let digest = self
            .digests
            .iter()
            .find(|digest| digest.algorithm == bank.algorithm())?;
        Some(digest.value)
    }
}

fn in_log(what: String, offset: usize) -> VerifyError {
    malformed(format!("event log: {what}"), offset)
}

fn of_log(error: VerifyError) -> VerifyError {
    shifted(error, 0)
}

/// An error of a reader that started at `by`.
fn shifted(error: VerifyError, by: usize) -> VerifyError {
    match error {
        VerifyError::Malformed { what, offset } => in_log(what, offset.saturating_add(by)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
