//! From a pinned root to the endorsement key that signed: names, dates, signatures, constraints, revocation.
//!
//! A chain is ARK, then ASK (of VCEKs) or ASVK (of VLEKs), then the endorsement key. The root is the pinned
//! one, byte for byte, whatever came along. What verified once is remembered by its content: a key costs two
//! RSA verifications the first time, one if its authority is known, and none after that.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PSS_2048_8192_SHA384};
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError};
use x509_cert::der::asn1::ObjectIdentifier;

use super::roots::Root;
use super::vek::{Offered, Vek, authority_name, distinguished_name, root_name};
use crate::memo::{Key, Memo, Window};
use crate::signature::Budget;
use crate::x509::{
    AuthorityFault, Certificate, Digest, Fault, KeyFault, KeyUsageRule, List, ListParts, PublicKey, Scheme,
    Signed, oid,
};

/// Signatures that are verified at most for one report. With one certificate that fits, one authority and one list
/// there are four; renewed ones of all three that came along do not double it.
pub(super) const MAX_SIGNATURES: usize = 32;
/// Bytes of the modulus of AMD's keys: RSA-4096 (AMD 57230).
const RSA_BYTES: usize = 512;
/// Lists of one root that are read: AMD has one for its VCEKs and one for its VLEKs.
const MAX_LISTS: usize = 8;
/// Endorsement keys that are remembered: the chips of a large fleet.
const KEYS: usize = 16_384;
const AUTHORITIES: usize = 64;
const LISTS: usize = 64;
const LISTS_BYTES: usize = 16 * 1024 * 1024;
/// Where a built-in certificate comes from, for messages.
const BUILT_IN: &str = "the built-in roots";

/// An endorsement key that a root vouches for.
pub(super) struct Vouched {
    pub key: ParsedPublicKey,
    pub revocation: Revocation,
    /// The last instant at which all of its certificates and the list are current.
    pub until: UnixMillis,
    /// How many signatures vouch for it, and were tried for that.
    signatures: usize,
}

/// What verified before.
pub(super) struct Memory {
    keys: Memo<Arc<Vouched>>,
    authorities: Memo<Arc<Authority>>,
    lists: Memo<Arc<RootList>>,
}

/// A revocation list of a root, and when it is current.
struct RootList {
    list: List,
    window: Window,
}

struct Authority {
    key: ParsedPublicKey,
    window: Window,
}

/// What is to be verified, and with what.
pub(super) struct Chain<'a> {
    pub root: &'a Root,
    pub vek: Vek<'a>,
    /// Where the endorsement key's certificate came from.
    pub origin: &'a str,
    pub offered: &'a Offered<'a>,
    pub endorsements: &'a Endorsements,
    /// Signatures that may still be verified for the report.
    pub budget: &'a Budget,
}

impl Memory {
    pub fn new() -> Self {
        let weigh = |list: &Arc<RootList>| {
            list.list
                .revoked
                .keys()
                .map(|serial| serial.len().saturating_add(72))
                .sum()
        };
        Self {
            keys: Memo::new(KEYS),
            authorities: Memo::new(AUTHORITIES),
            lists: Memo::weighing(LISTS, LISTS_BYTES, weigh),
        }
    }
}

impl Chain<'_> {
    /// The endorsement key, if the root vouches for it at `now`.
    pub fn verify(&self, now: UnixMillis, memory: &Memory) -> Result<Arc<Vouched>, VerifyError> {
        let root = self.root;
        let ark_name = distinguished_name(&root_name(root.product));
        let authorities: Vec<_> = self
            .offered
            .authorities(self.vek.parts.issuer, &root.authorities)
            .collect();
        let lists = self.lists(&ark_name)?;
        let mut content: Vec<&[u8]> = vec![&root.id, self.vek.der];
        content.extend(
            authorities
                .iter()
                .map(|(endorsement, _)| endorsement.bytes.as_slice()),
        );
        content.push(b"lists");
        content.extend(lists.iter().map(|(endorsement, _)| endorsement.bytes.as_slice()));
        // A verdict must not depend on what is remembered, so that what is costs the budget as much.
        let before = self.budget.left();
        let vouched = memory.keys.get_or_try(Key::of(&content), now, || {
            let ark = self.ark(&ark_name, now)?;
            let (issuer, serial) = self.authority(&ark, &authorities, now, memory)?;
            let own = self.check_key(now)?;
            let key = self.public_key()?;
            let serials = [ark.parts.serial, serial, self.vek.parts.serial];
            let (revocation, current) = self.check_lists(&ark, &lists, serials, now, memory)?;
            let window = own.and(&issuer.window).and(&current);
            let until = UnixMillis::from_secs(window.until.as_secs());
            let vouched = Vouched {
                key,
                revocation,
                until,
                signatures: before.saturating_sub(self.budget.left()),
            };
            Ok((Arc::new(vouched), window))
        })?;
        if self.budget.left() == before {
            self.budget
                .spend_again(vouched.signatures)
                .map_err(|_| exhausted())?;
        }
        Ok(vouched)
    }

    /// The revocation lists that claim to be of this root. Those of others serve other evidence.
    fn lists(&self, ark_name: &[u8]) -> Result<Vec<(&Endorsement, ListParts<'_>)>, VerifyError> {
        let mut lists = Vec::new();
        for endorsement in self.endorsements.of_kind(EndorsementKind::Crl) {
            match ListParts::parse(&endorsement.bytes) {
                Ok(list) if list.issuer == ark_name => lists.push((endorsement, list)),
                Ok(_) => {}
                Err(fault) => return Err(invalid(&endorsement.origin, fault)),
            }
        }
        match lists.get(MAX_LISTS) {
            None => Ok(lists),
            Some((endorsement, _)) => {
                let what = format!(
                    "is one of more than {MAX_LISTS} of {}",
                    root_name(self.root.product)
                );
                Err(invalid(&endorsement.origin, what))
            }
        }
    }

    fn ark(&self, name: &[u8], now: UnixMillis) -> Result<Ark<'_>, VerifyError> {
        let what = root_name(self.root.product);
        let untrusted = |fault: Fault| untrusted(&what, BUILT_IN, &fault);
        let parts = Certificate::parse(&self.root.ark).map_err(untrusted)?;
        if parts.subject != name || parts.issuer != name {
            return Err(untrusted("has another name".to_owned()));
        }
        let window = parts.window().map_err(untrusted)?;
        check_current(window, now, &what, BUILT_IN)?;
        Ok(Ark {
            key: rsa_key(&parts).map_err(untrusted)?,
            parts,
            window,
        })
    }

    /// The authority that signed the endorsement key, and its serial number: a built-in one, or one that came
    /// along.
    fn authority<'b>(
        &'b self,
        ark: &Ark<'_>,
        offered: &[(&'b Endorsement, Certificate<'b>)],
        now: UnixMillis,
        memory: &Memory,
    ) -> Result<(Arc<Authority>, &'b [u8]), VerifyError> {
        let what = authority_name(self.vek.key, self.root.product);
        let built_in = self.root.authorities.iter().filter_map(|der| {
            let parts = Certificate::parse(der).ok()?;
            (parts.subject == self.vek.parts.issuer).then_some((BUILT_IN, der.as_slice(), parts))
        });
        let brought = offered
            .iter()
            .map(|(endorsement, parts)| (endorsement.origin.as_str(), endorsement.bytes.as_slice(), *parts));
        let mut first = None;
        for (origin, der, parts) in built_in.chain(brought) {
            let check = || {
                self.spend()?;
                let authority = memory
                    .authorities
                    .get_or_try(Key::of(&[&self.root.id, der]), now, || {
                        let authority = check_authority(ark, &parts, now, &what, origin)?;
                        let window = authority.window;
                        Ok((Arc::new(authority), window))
                    })?;
                self.spend()?;
                check_signed(&self.vek.parts.signed, &authority.key).map_err(|fault| {
                    untrusted(&self.vek.describe(), self.origin, &format!("{fault} with {what}"))
                })?;
                Ok(authority)
            };
            match check() {
                Ok(authority) => return Ok((authority, parts.serial)),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            let fault = format!("names {what} as its issuer, whose certificate did not come along");
            untrusted(&self.vek.describe(), self.origin, &fault)
        }))
    }

    /// Takes one signature out of the budget, before it is verified.
    pub fn spend(&self) -> Result<(), VerifyError> {
        self.budget.spend().map_err(|_| exhausted())
    }

    fn check_key(&self, now: UnixMillis) -> Result<Window, VerifyError> {
        let what = self.vek.describe();
        let window = self
            .vek
            .parts
            .window()
            .map_err(|fault| untrusted(&what, self.origin, &fault))?;
        check_current(window, now, &what, self.origin)?;
        Ok(window)
    }

    fn public_key(&self) -> Result<ParsedPublicKey, VerifyError> {
        let point = match self.vek.parts.key() {
            // Uncompressed (SEC 1, 2.3.3), the only form that AMD writes.
            Ok(PublicKey::P384(point)) => Ok(point),
            Err(KeyFault::Point("P-384")) => {
                Err("does not certify an uncompressed point on P-384".to_owned())
            }
            Err(fault @ KeyFault::Unreadable(_)) => Err(fault.to_string()),
            _ => Err("does not certify a key on P-384".to_owned()),
        };
        point
            .and_then(|point| {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .map_err(|_| "certifies a point that is not on P-384".to_owned())
            })
            .map_err(|fault| untrusted(&self.vek.describe(), self.origin, &fault))
    }

    /// Holds the chain against the lists of its root, all of which have to be genuine and one of them
    /// current; the window is in which the same list stays the one that counts.
    ///
    /// The root's list names certificates that it issued. Endorsement keys are not among those, and all have
    /// the serial number 0; should a list name it all the same, it can mean nothing else.
    fn check_lists(
        &self,
        ark: &Ark<'_>,
        lists: &[(&Endorsement, ListParts<'_>)],
        [ark_serial, authority_serial, key_serial]: [&[u8]; 3],
        now: UnixMillis,
        memory: &Memory,
    ) -> Result<(Revocation, Window), VerifyError> {
        let ark_name = root_name(self.root.product);
        let authority = authority_name(self.vek.key, self.root.product);
        let key = self.vek.describe();
        let mut newest: Option<Window> = None;
        let mut stale = None;
        let mut next_comes = ark.window.until;
        for (endorsement, parts) in lists {
            let content = Key::of(&[&self.root.id, &endorsement.bytes]);
            let always = Window {
                from: UnixMillis(0),
                until: UnixMillis(u64::MAX),
            };
            self.spend()?;
            let list = memory.lists.get_or_try(content, now, || {
                let read = check_signed(&parts.signed, &ark.key).and_then(|()| parts.read(&[]));
                let read = read.and_then(|list| match list.window() {
                    Some(window) => Ok(RootList { list, window }),
                    None => Err("does not say when the next one comes".to_owned()),
                });
                let named = |fault: Fault| {
                    invalid(
                        &endorsement.origin,
                        format!("revocation list of {ark_name} {fault}"),
                    )
                };
                Ok((Arc::new(read.map_err(named)?), always))
            })?;
            let chain = [
                (ark_serial, &ark_name),
                (authority_serial, &authority),
                (key_serial, &key),
            ];
            for (serial, name) in chain {
                if list.list.revoked.contains_key(serial) {
                    let serial = hex::encode(serial);
                    let what = format!(
                        "{name}, serial number 0x{serial}, is revoked by the list from {}",
                        endorsement.origin
                    );
                    return Err(VerifyError::Untrusted { what });
                }
            }
            let window = list.window;
            if window.contains(now) {
                newest = newest
                    .into_iter()
                    .chain([window])
                    .max_by_key(|window| window.until);
                continue;
            }
            if now < window.from {
                next_comes = next_comes.min(UnixMillis(window.from.0.saturating_sub(1)));
            }
            let name = format!("revocation list of {ark_name}");
            stale = stale.or(check_current(window, now, &name, &endorsement.origin).err());
        }
        match (newest, stale) {
            (Some(list), _) => {
                let until = Some(UnixMillis::from_secs(list.until.as_secs()));
                let window = Window {
                    from: list.from,
                    until: list.until.min(next_comes),
                };
                Ok((Revocation::Checked { until }, window))
            }
            (None, Some(stale)) => Err(stale),
            (None, None) => {
                let because = format!("no revocation list of {ark_name} came along");
                Ok((Revocation::Unchecked { because }, ark.window))
            }
        }
    }
}

/// That finding the report's chain costs too much.
pub(super) fn exhausted() -> VerifyError {
    VerifyError::Untrusted {
        what: format!(
            "more than {MAX_SIGNATURES} signatures would have to be verified to tell which of the certificates and \
             lists that came along belong to the report: bring fewer"
        ),
    }
}

struct Ark<'a> {
    parts: Certificate<'a>,
    key: ParsedPublicKey,
    window: Window,
}

fn check_authority(
    ark: &Ark<'_>,
    parts: &Certificate<'_>,
    now: UnixMillis,
    what: &str,
    origin: &str,
) -> Result<Authority, VerifyError> {
    let untrusted = |fault: Fault| untrusted(what, origin, &fault);
    if parts.issuer != ark.parts.subject {
        return Err(untrusted("is not of the root of its product".to_owned()));
    }
    check_may_certify(parts).map_err(untrusted)?;
    check_signed(&parts.signed, &ark.key).map_err(untrusted)?;
    let key = rsa_key(parts).map_err(untrusted)?;
    let window = parts.window().map_err(untrusted)?;
    check_current(window, now, what, origin)?;
    Ok(Authority {
        key,
        window: window.and(&ark.window),
    })
}

/// RFC 5280, 4.2.1.3 and 4.2.1.9. What an authority certifies has no authority.
fn check_may_certify(parts: &Certificate<'_>) -> Result<(), Fault> {
    const UNDERSTOOD: [ObjectIdentifier; 2] = [Certificate::BASIC_CONSTRAINTS, Certificate::KEY_USAGE];
    if let Some(extension) = parts.unknown_critical(&UNDERSTOOD)? {
        return Err(format!(
            "has the critical extension {}, which is unknown",
            oid(extension.id)
        ));
    }
    let checked = parts.check_authority(0, KeyUsageRule::Required);
    checked.map_err(|fault| match fault {
        AuthorityFault::NotAuthority | AuthorityFault::TooDeep => "is not that of an authority".to_owned(),
        AuthorityFault::NotForCertificates => "is not for certifying".to_owned(),
        AuthorityFault::Unreadable(fault) => fault,
    })
}

/// An RSA key of 4,096 bits, which all of AMD's authorities have (AMD 57230).
fn rsa_key(parts: &Certificate<'_>) -> Result<ParsedPublicKey, Fault> {
    let key = match parts.key() {
        Ok(PublicKey::Rsa {
            modulus, der, plain, ..
        }) if plain && modulus.len() == RSA_BYTES => {
            ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, der).ok()
        }
        Err(fault @ KeyFault::Unreadable(_)) => return Err(fault.to_string()),
        _ => None,
    };
    key.ok_or_else(|| "does not certify an RSA key of 4096 bits".to_owned())
}

/// That `issuer` signed it, with RSASSA-PSS, SHA-384 and a salt of 48 bytes (AMD 57230).
fn check_signed(signed: &Signed<'_>, issuer: &ParsedPublicKey) -> Result<(), Fault> {
    if signed.scheme() != Some(Scheme::RsaPss(Digest::Sha384)) {
        return Err("is not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes".to_owned());
    }
    signed
        .verify_by(issuer)
        .map_err(|_| "has a signature that does not verify".to_owned())
}

fn check_current(window: Window, now: UnixMillis, what: &str, origin: &str) -> Result<(), VerifyError> {
    if window.contains(now) {
        return Ok(());
    }
    let seconds = |time: UnixMillis| UnixMillis::from_secs(time.as_secs());
    Err(VerifyError::EndorsementNotCurrent {
        origin: origin.to_owned(),
        what: format!(
            "{what} is valid from {} to {}, not at {now}",
            seconds(window.from),
            seconds(window.until)
        ),
    })
}

fn invalid(origin: &str, what: String) -> VerifyError {
    VerifyError::EndorsementInvalid {
        origin: origin.to_owned(),
        what,
    }
}

fn untrusted(what: &str, origin: &str, fault: &str) -> VerifyError {
    VerifyError::Untrusted {
        what: format!("{what} from {origin} {fault}"),
    }
}
