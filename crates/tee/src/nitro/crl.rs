//! Revocation lists of AWS's intermediates.
//!
//! The intermediates name lists of their issuers. AWS's own validation leaves them out (*Nitro Enclaves Attestation
//! Process* §3.2.3), so that evidence verifies without; where lists came along they are held against the chain.

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError, Want};

use super::chain::{Authority, Issuers, SCHEME, untrusted};
use crate::signature::Budget;
use crate::x509::{List, ListParts, PARTIAL_LIST, PublicKey};

/// Revocation lists that are verified at most for one document; AWS's chain names two.
const MAX_LISTS: usize = 16;

/// The lists that a chain names.
pub(super) fn wants(issuers: &Issuers) -> Vec<Want> {
    issuers
        .intermediates
        .iter()
        .enumerate()
        .filter(|(_, intermediate)| !intermediate.lists.is_empty())
        .map(|(index, intermediate)| Want {
            kind: EndorsementKind::Crl,
            subject: format!("AWS Nitro Enclaves authority {index} of the chain"),
            urls: intermediate.lists.clone(),
        })
        .collect()
}

/// Holds the lists that came along against the chain. Lists of other issuers are none of this chain's business.
pub(super) fn check(
    issuers: &Issuers,
    endorsements: &Endorsements,
    now: UnixMillis,
) -> Result<Revocation, VerifyError> {
    // What is no list at all is of no issuer.
    let offered: Vec<(&Endorsement, ListParts<'_>)> = endorsements
        .of_kind(EndorsementKind::Crl)
        .filter_map(|endorsement| Some((endorsement, ListParts::parse(&endorsement.bytes).ok()?)))
        .collect();
    let budget = Budget::of(MAX_LISTS);
    let mut until: Option<UnixMillis> = None;
    let mut missing = Vec::new();
    for (issuer, intermediate) in issuers.authorities.iter().zip(&issuers.intermediates) {
        if intermediate.lists.is_empty() {
            continue;
        }
        let mut checked = false;
        for (endorsement, parts) in offered.iter().filter(|(_, list)| list.issuer == issuer.subject) {
            let list = verify(endorsement, parts, issuer, &intermediate.lists, &budget)?;
            if list.revoked.contains_key(&intermediate.serial) {
                let serial = hex::encode(&intermediate.serial);
                return Err(untrusted(format!(
                    "intermediate certificate {serial} is revoked by the list from {}",
                    endorsement.origin
                )));
            }
            let next = check_current(&list, endorsement, now)?;
            until = until.into_iter().chain([next]).min();
            checked = true;
        }
        if !checked {
            missing.extend(intermediate.lists.first().cloned());
        }
    }
    if !missing.is_empty() {
        return Ok(Revocation::Unchecked {
            because: format!("no revocation list of {} came along", missing.join(", ")),
        });
    }
    Ok(match until {
        Some(until) => Revocation::Checked { until: Some(until) },
        None => Revocation::NotApplicable {
            because: "no certificate of the chain names a revocation list",
        },
    })
}

/// A list that says that it is of this issuer, if it is.
fn verify(
    endorsement: &Endorsement,
    parts: &ListParts<'_>,
    issuer: &Authority,
    addresses: &[String],
    budget: &Budget,
) -> Result<List, VerifyError> {
    let invalid = |what: String| VerifyError::EndorsementInvalid {
        origin: endorsement.origin.clone(),
        what,
    };
    if parts.signed.scheme() != Some(SCHEME) {
        let what = "the revocation list is not signed by ECDSA with SHA-384";
        return Err(invalid(what.to_owned()));
    }
    budget.spend().map_err(|_| {
        invalid(format!(
            "the revocation list is one of more than {MAX_LISTS} of the chain: bring fewer"
        ))
    })?;
    parts
        .signed
        .verify(&PublicKey::P384(&issuer.key))
        .map_err(|_| invalid("the revocation list is not signed by the issuer that it names".to_owned()))?;
    let list = parts.read(&[PARTIAL_LIST]);
    let list = list.map_err(|fault| invalid(format!("the revocation list {fault}")))?;
    if !list.covers_authorities_at(addresses) {
        let what = "the revocation list does not cover the whole of what its issuer issues";
        return Err(invalid(what.to_owned()));
    }
    Ok(list)
}

/// That the list is current. Gives when the next one is due.
fn check_current(list: &List, endorsement: &Endorsement, now: UnixMillis) -> Result<UnixMillis, VerifyError> {
    let not_current = |what: String| VerifyError::EndorsementNotCurrent {
        origin: endorsement.origin.clone(),
        what,
    };
    let Some(window) = list.window() else {
        return Err(not_current("the revocation list says not until when".to_owned()));
    };
    let until = UnixMillis::from_secs(window.until.as_secs());
    if !window.contains(now) {
        let from = window.from;
        return Err(not_current(format!(
            "the revocation list is of {from} to {until}, now is {now}"
        )));
    }
    Ok(until)
}
