//! What an Intel TDX trust domain will report, from what it is launched with: MRTD of its firmware, and the run-time
//! measurement registers (RTMRs) that an event log explains.
//!
//! MRTD: the TDX module hashes each page that the hypervisor adds before the domain starts, by its address
//! (TDH.MEM.PAGE.ADD) and, where the firmware wants that, by its contents (TDH.MR.EXTEND): Intel, *TDX Module Base
//! Architecture Specification* (348549), §"Measurement and Attestation", and *ABI Reference*, "TDH.MEM.PAGE.ADD",
//! "TDH.MR.EXTEND". Which pages: Intel, *TDX Virtual Firmware Design Guide* (344991), §11 "TDVF Metadata".

mod metadata;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use nautilus_core::{Measurement, VerifyError};
use sha2::{Digest as _, Sha384};

use crate::eventlog::{Bank, EventLog, hold_against_rtmrs};
use crate::launch::LaunchError;
use crate::launch::ovmf::{Firmware, PAGE};
use metadata::{Metadata, Section};

/// What TDH.MR.EXTEND measures at once.
const CHUNK: usize = 256;
/// Bytes of what is hashed for an operation: its name, at 16 the address, and zeros.
const OPERATION: usize = 128;
/// Most pages that are added: 64 MiB.
const MAX_PAGES: usize = 16_384;

/// In which order a hypervisor adds pages and extends MRTD by their contents. The register depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is added and measured before the next: Linux from 6.16 on (`tdx_gmem_post_populate`).
    #[default]
    ByPage,
    /// All pages of a section are added, then all are measured: kernels with TDX from before it was in Linux.
    BySection,
}

impl PageOrder {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ByPage, Self::BySection];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByPage => "by-page",
            Self::BySection => "by-section",
        }
    }
}

impl fmt::Display for PageOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PageOrder {
    type Err = LaunchError;

    fn from_str(name: &str) -> Result<Self, LaunchError> {
        let known = Self::ALL.into_iter().find(|each| each.as_str() == name);
        known.ok_or_else(|| LaunchError::Configuration {
            what: format!("unknown order of pages `{name}`: expected by-page or by-section"),
        })
    }
}

/// MRTD of a trust domain that starts with this firmware (TDVF, an OVMF image that knows TDX). It does not depend on
/// processors, memory, kernel or disks.
///
/// # Errors
/// What is wrong with the image, and where; [`LaunchError::Unsupported`] if it does not know TDX.
pub fn mrtd(firmware: &[u8], order: PageOrder) -> Result<[u8; 48], LaunchError> {
    let firmware = Firmware::parse(firmware)?;
    let metadata = Metadata::read(&firmware, MAX_PAGES)?;
    let mut digest = Sha384::new();
    for section in metadata.sections.iter().filter(|section| section.is_added()) {
        match order {
            PageOrder::ByPage => {
                for index in 0..section.pages {
                    add(&mut digest, section, index);
                    extend(&mut digest, section, index);
                }
            }
            PageOrder::BySection => {
                (0..section.pages).for_each(|index| add(&mut digest, section, index));
                (0..section.pages).for_each(|index| extend(&mut digest, section, index));
            }
        }
    }
    Ok(digest.finalize().into())
}

fn add(digest: &mut Sha384, section: &Section<'_>, index: usize) {
    digest.update(operation(b"MEM.PAGE.ADD", section.address_of(index)));
}

fn extend(digest: &mut Sha384, section: &Section<'_>, index: usize) {
    let Some(contents) = section.measured else {
        return;
    };
    let page = contents.chunks(PAGE).nth(index).unwrap_or_default();
    let mut address = section.address_of(index);
    for chunk in page.chunks(CHUNK) {
        digest.update(operation(b"MR.EXTEND", address));
        digest.update(chunk);
        address = address.wrapping_add(256);
    }
}

fn operation(name: &[u8], address: u64) -> [u8; OPERATION] {
    let mut buffer = [0; OPERATION];
    let address = address.to_le_bytes();
    for (into, from) in buffer.iter_mut().zip(name) {
        *into = *from;
    }
    for (into, from) in buffer.iter_mut().skip(16).zip(address) {
        *into = from;
    }
    buffer
}

/// The registers that an event log (CCEL) gives: `rtmr0` to `rtmr2`, and `rtmr3` where the log has events for it. A
/// domain that was launched in the same way reports the same.
///
/// The log says nothing of MRTD, and nothing vouches for it: take it of a launch that you trust.
///
/// # Errors
/// [`LaunchError::EventLog`] says what is wrong with the log.
pub fn rtmrs(event_log: &[u8]) -> Result<BTreeMap<String, Measurement>, LaunchError> {
    replay(event_log).map_err(LaunchError::EventLog)
}

/// The last of the four, which the operating system extends after the firmware closed its log.
const RTMR3: (u32, &str) = (4, "rtmr3");

fn replay(event_log: &[u8]) -> Result<BTreeMap<String, Measurement>, VerifyError> {
    let log = EventLog::parse(event_log)?;
    let registers = log.replay(Bank::Sha384)?;
    let names = [(1, "rtmr0"), (2, "rtmr1"), (3, "rtmr2"), RTMR3];
    let mut measurements: BTreeMap<String, Measurement> = names
        .into_iter()
        .map(|(index, name)| (name.to_owned(), Measurement(registers.value(index))))
        .collect();
    // Refuses what no log of a trust domain has.
    hold_against_rtmrs(&log, &measurements)?;
    if !registers.extended().contains_key(&RTMR3.0) {
        measurements.remove(RTMR3.1);
    }
    Ok(measurements)
}

#[cfg(test)]
mod tests;
