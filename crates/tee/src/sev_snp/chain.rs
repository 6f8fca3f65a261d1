//! From a pinned root to the endorsement key that signed: names, dates, signatures, constraints, revocation.
//!
//! A chain is ARK, then ASK (of VCEKs) or ASVK (of VLEKs), then the endorsement key. The root is the pinned
//! one, byte for byte, whatever came along. What verified once is remembered by its content: a key costs two
//! RSA verifications the first time, one if its authority is known, and none after that.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::certificate::{Fault, List, ListParts, Parts, oid};
use super::roots::Root;
use super::vek::{Offered, Vek, authority_name, distinguished_name, root_name};
use crate::memo::{Key, Memo, Window};

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
}

/// What verified before.
pub(super) struct Memory {
    keys: Memo<Arc<Vouched>>,
    authorities: Memo<Arc<Authority>>,
    lists: Memo<Arc<List>>,
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
}

impl Memory {
    pub fn new() -> Self {
        let weigh = |list: &Arc<List>| {
            list.serials
                .iter()
                .map(|serial| serial.len().saturating_add(64))
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
        memory.keys.get_or_try(Key::of(&content), now, || {
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
            };
            Ok((Arc::new(vouched), window))
        })
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
        let parts = Parts::parse(&self.root.ark).map_err(untrusted)?;
        if parts.subject != name || parts.issuer != name {
            return Err(untrusted("has another name".to_owned()));
        }
        let window = parts.window().map_err(untrusted)?;
        check_current(window, now, &what, BUILT_IN)?;
        Ok(Ark {
            key: parts.rsa_key().map_err(untrusted)?,
            parts,
            window,
        })
    }

    /// The authority that signed the endorsement key, and its serial number: a built-in one, or one that came
    /// along.
    fn authority<'b>(
        &'b self,
        ark: &Ark<'_>,
        offered: &[(&'b Endorsement, Parts<'b>)],
        now: UnixMillis,
        memory: &Memory,
    ) -> Result<(Arc<Authority>, &'b [u8]), VerifyError> {
        let what = authority_name(self.vek.key, self.root.product);
        let built_in = self.root.authorities.iter().filter_map(|der| {
            let parts = Parts::parse(der).ok()?;
            (parts.subject == self.vek.parts.issuer).then_some((BUILT_IN, der.as_slice(), parts))
        });
        let brought = offered
            .iter()
            .map(|(endorsement, parts)| (endorsement.origin.as_str(), endorsement.bytes.as_slice(), *parts));
        let mut first = None;
        for (origin, der, parts) in built_in.chain(brought) {
            let check = || {
                let authority = memory
                    .authorities
                    .get_or_try(Key::of(&[&self.root.id, der]), now, || {
                        let authority = check_authority(ark, &parts, now, &what, origin)?;
                        let window = authority.window;
                        Ok((Arc::new(authority), window))
                    })?;
                self.vek
                    .parts
                    .signed
                    .check_signed_by(&authority.key)
                    .map_err(|fault| {
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
        let point = self.vek.parts.p384_point().and_then(|point| match point {
            // Uncompressed (SEC 1, 2.3.3), the only form that AMD writes.
            [0x04, ..] if point.len() == 97 => Ok(point),
            _ => Err("does not certify an uncompressed point on P-384".to_owned()),
        });
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
            let list = memory.lists.get_or_try(content, now, || {
                let read = parts.signed.check_signed_by(&ark.key).and_then(|()| parts.read());
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
                if list.serials.contains(serial) {
                    let serial = hex::encode(serial);
                    let what = format!(
                        "{name}, serial number 0x{serial}, is revoked by the list from {}",
                        endorsement.origin
                    );
                    return Err(VerifyError::Untrusted { what });
                }
            }
            let window = Window {
                from: list.this_update,
                until: list.next_update,
            };
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

struct Ark<'a> {
    parts: Parts<'a>,
    key: ParsedPublicKey,
    window: Window,
}

fn check_authority(
    ark: &Ark<'_>,
    parts: &Parts<'_>,
    now: UnixMillis,
    what: &str,
    origin: &str,
) -> Result<Authority, VerifyError> {
    let check = || -> Result<(ParsedPublicKey, Window), Fault> {
        if parts.issuer != ark.parts.subject {
            return Err("is not of the root of its product".to_owned());
        }
        check_may_certify(parts)?;
        parts.signed.check_signed_by(&ark.key)?;
        Ok((parts.rsa_key()?, parts.window()?))
    };
    let (key, window) = check().map_err(|fault| untrusted(what, origin, &fault))?;
    check_current(window, now, what, origin)?;
    Ok(Authority {
        key,
        window: window.and(&ark.window),
    })
}

/// RFC 5280, 4.2.1.3 and 4.2.1.9. What an authority certifies has no authority, so its path length does not
/// matter.
fn check_may_certify(parts: &Parts<'_>) -> Result<(), Fault> {
    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    let (mut is_authority, mut certifies) = (false, false);
    for extension in parts.extensions()? {
        match extension.id {
            BASIC_CONSTRAINTS => {
                is_authority =
                    BasicConstraints::from_der(extension.value).is_ok_and(|constraints| constraints.ca);
            }
            KEY_USAGE => {
                certifies = KeyUsage::from_der(extension.value).is_ok_and(|usage| usage.key_cert_sign());
            }
            id if extension.critical => {
                return Err(format!(
                    "has the critical extension {}, which is unknown",
                    oid(id)
                ));
            }
            _ => {}
        }
    }
    match (is_authority, certifies) {
        (false, _) => Err("is not that of an authority".to_owned()),
        (true, false) => Err("is not for certifying".to_owned()),
        (true, true) => Ok(()),
    }
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
