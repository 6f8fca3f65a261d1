//! Intel's collateral: which of the documents that were brought along fits, is current, and was signed in
//! the right role.
//!
//! A document is the JSON of `dcap-qvl`'s `QuoteCollateralV3`: TCB Info, QE Identity, CRLs and their
//! certificate chains. TCB Info and QE Identity are described in Intel's PCS API, version 4, "Get TCB Info"
//! and "Get QE Identity".

mod document;

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, UnixMillis, VerifyError, Want};

pub(super) use self::document::{Document, validity_of};
use super::chain::Platform;
use super::memory::Memory;
use super::verify::{Family, Root};

/// How many other evaluations a quote is held against: Intel serves a standard, an early and a few older ones.
const MAX_OTHERS: usize = 8;

/// A document that was brought along.
pub(super) struct Candidate<'a> {
    /// Where it came from.
    pub origin: &'a str,
    pub document: Arc<Document>,
    /// Whether it was verified before.
    pub known: bool,
}

/// The documents to verify with.
pub(super) struct Chosen<'a> {
    /// What decides.
    pub best: Candidate<'a>,
    /// The best of every other evaluation, the newest first.
    pub others: Vec<Candidate<'a>>,
    /// How many more evaluations there are.
    pub left_out: usize,
    /// Whatever could be read and was not remembered, fitting or not.
    pub unknown: Vec<Arc<Document>>,
}

/// What has to be brought along for a platform.
pub(super) fn wants(family: Family, platform: &Platform, root: &Root) -> Vec<Want> {
    vec![want(platform.subject(family), family, platform, root)]
}

/// The collateral to verify with: it fits platform and family, is current at `now`, and of these has the
/// highest [`document::Rank`]. Nothing else of it has been checked.
pub(super) fn choose<'a>(
    family: Family,
    platform: &Platform,
    endorsements: &'a Endorsements,
    now: UnixMillis,
    root: &Root,
    memory: &Memory,
) -> Result<Chosen<'a>, VerifyError> {
    let mut unreadable = None;
    let mut misfits = Vec::new();
    let mut fitting = Vec::new();
    let mut unknown = Vec::new();
    for endorsement in endorsements.of_kind(EndorsementKind::DcapCollateral) {
        let candidate = match memory.document(&endorsement.bytes, now) {
            Some(document) => Candidate {
                origin: &endorsement.origin,
                document,
                known: true,
            },
            None => match Candidate::read(endorsement) {
                Ok(candidate) => {
                    unknown.push(Arc::clone(&candidate.document));
                    candidate
                }
                Err(error) => {
                    unreadable = unreadable.or(Some(error));
                    continue;
                }
            },
        };
        let all = if candidate.document.fits(family, platform) {
            &mut fitting
        } else {
            &mut misfits
        };
        all.push(candidate);
    }
    if fitting.is_empty() {
        return Err(unreadable.unwrap_or_else(|| {
            let mut subject = platform.subject(family);
            if !misfits.is_empty() {
                let offers: Vec<String> = misfits.iter().map(Candidate::offer).collect();
                subject = format!("{subject}; offered: {}", offers.join(", "));
            }
            VerifyError::EndorsementsMissing {
                wants: vec![want(subject, family, platform, root)],
            }
        }));
    }
    let supported = partition(fitting, |candidate| {
        let what = candidate.document.unsupported()?;
        Some(VerifyError::EndorsementInvalid {
            origin: candidate.origin.to_owned(),
            what,
        })
    })?;
    let current = partition(supported, |candidate| {
        candidate.document.not_current(candidate.origin, now)
    })?;
    let mut evaluations: BTreeMap<u32, Vec<Candidate<'a>>> = BTreeMap::new();
    for candidate in current {
        let evaluation = candidate.document.tcb_info.tcb_evaluation_data_number;
        evaluations.entry(evaluation).or_default().push(candidate);
    }
    let mut newest_first = evaluations.into_values().rev().filter_map(best);
    let Some(best) = newest_first.next() else {
        return Err(VerifyError::EndorsementsMissing {
            wants: wants(family, platform, root),
        });
    };
    Ok(Chosen {
        best,
        others: newest_first.by_ref().take(MAX_OTHERS).collect(),
        left_out: newest_first.count(),
        unknown,
    })
}

/// The newest; of equals the one that was offered first.
fn best(mut candidates: Vec<Candidate<'_>>) -> Option<Candidate<'_>> {
    // Of equal ones `max_by_key` would take the last. Ranks read CRLs, so one that is alone has none made.
    let mut newest = 0;
    for (index, candidate) in candidates.iter().enumerate().skip(1) {
        let rank = |index: usize| candidates.get(index).map(|known| known.document.rank());
        if Some(candidate.document.rank()) > rank(newest) {
            newest = index;
        }
    }
    (newest < candidates.len()).then(|| candidates.swap_remove(newest))
}

/// Those without a fault; if all have one, the first fault.
fn partition<'a>(
    candidates: Vec<Candidate<'a>>,
    fault: impl Fn(&Candidate<'a>) -> Option<VerifyError>,
) -> Result<Vec<Candidate<'a>>, VerifyError> {
    let mut first = None;
    let mut good = Vec::new();
    for candidate in candidates {
        match fault(&candidate) {
            None => good.push(candidate),
            Some(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok(good),
    }
}

fn want(subject: String, family: Family, platform: &Platform, root: &Root) -> Want {
    const PCS: &str = "https://api.trustedservices.intel.com";
    let mut urls = Vec::new();
    if root.is_intel() {
        let path = family.pcs_path();
        urls.push(format!(
            "{PCS}/{path}/certification/v4/tcb?fmspc={}",
            platform.fmspc()
        ));
        urls.push(format!("{PCS}/{path}/certification/v4/qe/identity"));
        if let Some(ca) = platform.ca {
            urls.push(format!(
                "{PCS}/sgx/certification/v4/pckcrl?ca={}&encoding=der",
                ca.as_id_str()
            ));
        }
        urls.push("https://certificates.trustedservices.intel.com/IntelSGXRootCA.der".to_owned());
    }
    Want {
        kind: EndorsementKind::DcapCollateral,
        subject,
        urls,
    }
}

impl<'a> Candidate<'a> {
    fn read(endorsement: &'a Endorsement) -> Result<Self, VerifyError> {
        let origin = endorsement.origin.as_str();
        match Document::read(&endorsement.bytes) {
            Ok(document) => Ok(Self {
                origin,
                document: Arc::new(document),
                known: false,
            }),
            Err(what) => Err(VerifyError::EndorsementInvalid {
                origin: origin.to_owned(),
                what,
            }),
        }
    }

    fn offer(&self) -> String {
        self.document.offer(self.origin)
    }

    /// What `dcap-qvl` leaves unchecked, and what it would not name.
    pub(super) fn check(&self, platform: &Platform, now: UnixMillis, root: &Root) -> Result<(), VerifyError> {
        self.document.check(self.origin, platform, now, root)
    }
}

#[cfg(test)]
mod tests;
