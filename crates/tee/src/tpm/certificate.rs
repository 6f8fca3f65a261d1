//! Certificates of TPM keys, and their chain to a root that the relying party trusts.
//!
//! RFC 5280, 6.1, without policies and name constraints: a certificate that makes one of them critical is refused.

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError, Want};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Error};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;

use super::public::PublicKey;
use super::spki;
use crate::signature::{Budget, Exhausted};
use crate::x509::{self, AuthorityFault, KeyUsageRule, ListParts, Signed, oid};

/// Longest chain: leaf, three intermediates (makers have one or two), root.
const MAX_CHAIN: usize = 5;
/// Signatures that are verified at most while a chain is looked for, so that no pile of certificates of one name
/// makes it long.
const MAX_SIGNATURES: usize = 16;
/// Revocation lists that are verified at most for a chain: one for each certificate but the root, and older ones.
const MAX_LISTS: usize = 16;

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// What is read here; and certificate policies, which nothing here asks for.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    x509::Certificate::KEY_USAGE,
    SUBJECT_ALT_NAME,
    x509::Certificate::BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    EXTENDED_KEY_USAGE,
];
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// A certificate. Nothing in it has been verified.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    der: Vec<u8>,
    subject: Name,
    issuer: Name,
    /// In hex.
    serial: String,
}

impl Certificate {
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let parts = x509::Certificate::parse(der).map_err(of_it)?;
        parts.extensions().map_err(of_it)?;
        let name =
            |der| Name::from_der(der).map_err(|error| format!("it has a name that cannot be read: {error}"));
        Ok(Self {
            subject: name(parts.subject)?,
            issuer: name(parts.issuer)?,
            serial: hex::encode(parts.serial_number()),
            der: der.to_vec(),
        })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    fn parts(&self) -> Result<x509::Certificate<'_>, String> {
        x509::Certificate::parse(&self.der).map_err(of_it)
    }

    /// The subject, or where it has none, as endorsement keys may, the serial number.
    pub(super) fn name(&self) -> String {
        if self.subject.is_empty() {
            return format!("serial number {} of {}", self.serial, self.issuer);
        }
        self.subject.to_string()
    }

    pub(super) fn issuer(&self) -> String {
        self.issuer.to_string()
    }

    /// The serial number in hex.
    pub(super) fn serial(&self) -> String {
        self.serial.clone()
    }

    pub(super) fn key(&self) -> Result<PublicKey, String> {
        spki::key_of(self.parts()?.key())
    }

    /// The extension of type `T`, where it has one.
    pub(super) fn extension<'a, T: Decode<'a, Error = Error>>(
        &'a self,
        id: ObjectIdentifier,
    ) -> Result<Option<T>, String> {
        self.parts()?.extension(id).map_err(of_it)
    }

    pub(super) fn key_usage(&self) -> Result<Option<KeyUsage>, String> {
        self.parts()?.key_usage().map_err(of_it)
    }

    pub(super) fn extended_key_usage(&self) -> Result<Option<ExtendedKeyUsage>, String> {
        self.extension(EXTENDED_KEY_USAGE)
    }

    /// Why it must not be the leaf of a chain, if so.
    fn check_leaf(&self, now: UnixMillis) -> Result<(), String> {
        if self.parts()?.is_authority().map_err(of_it)? {
            return Err("it is a certificate authority's, not a key's of a TPM".to_owned());
        }
        self.check(now)
    }

    /// Why it must not have issued a certificate with so many others between it and the leaf, if so.
    fn check_issuer(&self, between: usize, now: UnixMillis) -> Result<(), String> {
        let checked = self.parts()?.check_authority(between, KeyUsageRule::WherePresent);
        checked.map_err(|fault| match fault {
            AuthorityFault::NotAuthority => "it is no certificate authority's".to_owned(),
            AuthorityFault::TooDeep => "it allows no chain of this length".to_owned(),
            AuthorityFault::NotForCertificates => "its key is not for signing certificates".to_owned(),
            AuthorityFault::Unreadable(fault) => of_it(fault),
        })?;
        self.check(now)
    }

    fn check(&self, now: UnixMillis) -> Result<(), String> {
        let parts = self.parts()?;
        let window = parts.window().map_err(of_it)?;
        if now < window.from {
            return Err(format!("it is valid from {} on", window.from));
        }
        if now > window.until {
            return Err(format!("it expired at {}", whole_second(window.until)));
        }
        match parts.unknown_critical(&UNDERSTOOD).map_err(of_it)? {
            None => Ok(()),
            Some(extension) => Err(format!(
                "its extension {} is critical and is not understood here",
                oid(extension.id)
            )),
        }
    }

    fn not_after(&self) -> Result<UnixMillis, String> {
        let window = self.parts()?.window().map_err(of_it)?;
        Ok(whole_second(window.until))
    }

    /// Where its issuer's certificate is published.
    pub(super) fn issuer_urls(&self) -> Vec<String> {
        const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
        let access = self.extension::<AuthorityInfoAccessSyntax>(AUTHORITY_INFO_ACCESS);
        let descriptions = access.ok().flatten().map(|access| access.0).unwrap_or_default();
        let issuers = descriptions
            .iter()
            .filter(|description| description.access_method == CA_ISSUERS);
        let url = |name: &GeneralName| match name {
            GeneralName::UniformResourceIdentifier(url) => Some(url.to_string()),
            _ => None,
        };
        issuers
            .filter_map(|description| url(&description.access_location))
            .collect()
    }

    /// Where the list is published on which it would stand if it were revoked.
    pub(super) fn crl_urls(&self) -> Vec<String> {
        self.parts()
            .map(|parts| parts.list_addresses())
            .unwrap_or_default()
    }

    /// What asks for its issuer's certificate.
    pub(super) fn want_issuer(&self) -> Want {
        Want {
            kind: EndorsementKind::Certificate,
            subject: format!("{}, the issuer of {}", self.issuer(), self.name()),
            urls: self.issuer_urls(),
        }
    }

    /// What asks for its issuer's revocation list, where it names one.
    pub(super) fn want_crl(&self) -> Option<Want> {
        let urls = self.crl_urls();
        (!urls.is_empty()).then(|| Want {
            kind: EndorsementKind::Crl,
            subject: format!("{}, the issuer of {}", self.issuer(), self.name()),
            urls,
        })
    }

    pub(super) fn subject_is_issuer_of(&self, child: &Self) -> bool {
        self.subject == child.issuer
    }

    /// That it signed a certificate or a revocation list.
    fn check_signed(&self, document: &Signed<'_>) -> Result<(), String> {
        let key = self.parts()?.key();
        spki::key_of(key.clone())?;
        let key = key.map_err(|fault| of_it(fault.to_string()))?;
        document.verify(&key).map_err(|fault| of_it(fault.to_string()))
    }
}

/// A chain that was verified, from the leaf to a trusted root.
#[derive(Debug)]
pub(super) struct Chain {
    /// When the first of its certificates, or of the revocation lists, ends.
    pub(super) until: UnixMillis,
    /// Whether the certificates were held against revocation lists.
    pub(super) revocation: Revocation,
}

/// Verifies `leaf`, which `origin` names in messages, up to one of `roots`, with the intermediates and revocation
/// lists that came along.
pub(super) fn verify_chain(
    leaf: &Certificate,
    origin: &str,
    roots: &[Certificate],
    endorsements: &Endorsements,
    now: UnixMillis,
) -> Result<Chain, VerifyError> {
    if roots.is_empty() {
        return Err(VerifyError::Untrusted {
            what: format!(
                "{origin} needs its maker's root certificate as trust anchor `tpm-root`, and there is none"
            ),
        });
    }
    leaf.check_leaf(now)
        .map_err(|fault| untrusted(origin, leaf, &fault))?;
    let intermediates = parse_intermediates(endorsements)?;
    let mut chain = vec![leaf];
    let budget = Budget::of(MAX_SIGNATURES);
    while let Some(child) = chain.last().copied() {
        let between = chain.len().saturating_sub(1);
        let (issuer, is_root) = find_issuer(child, between, roots, &intermediates, &budget, now)
            .map_err(|missing| match missing {
                NoIssuer::Fault(issuer, fault) => untrusted("issuer", issuer, &fault),
                NoIssuer::Signature(fault) => VerifyError::SignatureInvalid {
                    what: format!("certificate {} of {}: {fault}", child.name(), child.issuer()),
                },
                NoIssuer::Unknown => VerifyError::EndorsementsMissing {
                    wants: vec![child.want_issuer()],
                },
                NoIssuer::Exhausted => VerifyError::Untrusted {
                    what: format!(
                        "more than {MAX_SIGNATURES} signatures would have to be verified to find the chain of \
                         {origin} {}: bring fewer certificates of one name",
                        leaf.name()
                    ),
                },
            })?;
        chain.push(issuer);
        if is_root {
            break;
        }
        if chain.len() >= MAX_CHAIN {
            return Err(VerifyError::Untrusted {
                what: format!("{origin} has more than {MAX_CHAIN} certificates up to a root"),
            });
        }
    }
    let revocation = check_revocation(&chain, endorsements, now)?;
    let ends = chain.iter().map(|certificate| {
        let end = certificate.not_after();
        end.map_err(|fault| untrusted("certificate", certificate, &fault))
    });
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let until = ends.into_iter().min().unwrap_or(now);
    let until = match &revocation {
        Revocation::Checked { until: Some(lists) } => until.min(*lists),
        _ => until,
    };
    Ok(Chain { until, revocation })
}

fn parse_intermediates(endorsements: &Endorsements) -> Result<Vec<Certificate>, VerifyError> {
    endorsements
        .of_kind(EndorsementKind::Certificate)
        .map(|endorsement| Certificate::parse(&endorsement.bytes).map_err(|what| unfit(endorsement, what)))
        .collect()
}

enum NoIssuer<'a> {
    /// It would be this one, but for that.
    Fault(&'a Certificate, String),
    /// Those of its name did not sign, or not so that it can be relied upon.
    Signature(String),
    /// None has its name.
    Unknown,
    /// Too many have its name.
    Exhausted,
}

/// The root, or else the intermediate, that signed `child` and may; and whether it is a root.
fn find_issuer<'a>(
    child: &Certificate,
    between: usize,
    roots: &'a [Certificate],
    intermediates: &'a [Certificate],
    budget: &Budget,
    now: UnixMillis,
) -> Result<(&'a Certificate, bool), NoIssuer<'a>> {
    let mut reason = NoIssuer::Unknown;
    let all = roots.iter().map(|root| (root, true));
    let all = all.chain(intermediates.iter().map(|other| (other, false)));
    for (issuer, is_root) in all.filter(|(issuer, _)| issuer.subject_is_issuer_of(child)) {
        if budget.spend() == Err(Exhausted) {
            return Err(NoIssuer::Exhausted);
        }
        let signed = child.parts().and_then(|child| issuer.check_signed(&child.signed));
        match (signed, issuer.check_issuer(between, now)) {
            (Ok(()), Ok(())) => return Ok((issuer, is_root)),
            (Ok(()), Err(fault)) => reason = NoIssuer::Fault(issuer, fault),
            (Err(fault), _) if matches!(reason, NoIssuer::Unknown) => reason = NoIssuer::Signature(fault),
            (Err(_), _) => {}
        }
    }
    Err(reason)
}

/// Holds every certificate but the root against the lists of its issuer.
fn check_revocation(
    chain: &[&Certificate],
    endorsements: &Endorsements,
    now: UnixMillis,
) -> Result<Revocation, VerifyError> {
    let mut lists = Vec::new();
    for endorsement in endorsements.of_kind(EndorsementKind::Crl) {
        let list = ListParts::parse(&endorsement.bytes).map_err(|fault| unfit(endorsement, of_it(fault)))?;
        lists.push((list, endorsement));
    }
    let budget = Budget::of(MAX_LISTS);
    let (mut until, mut unlisted, mut any_named) = (None::<UnixMillis>, Vec::new(), false);
    for pair in chain.windows(2) {
        let &[certificate, issuer] = pair else {
            continue;
        };
        let unread = |fault: String| untrusted("certificate", certificate, &fault);
        let parts = certificate.parts().map_err(unread)?;
        let mut listed = false;
        for (list, endorsement) in lists.iter().filter(|(list, _)| list.issuer == parts.issuer) {
            budget.spend().map_err(|_| {
                unfit(
                    endorsement,
                    format!("it is one of more than {MAX_LISTS} revocation lists of the chain: bring fewer"),
                )
            })?;
            let list = check_list(list, endorsement, issuer, now)?;
            if let Some(since) = list.revoked.get(parts.serial) {
                return Err(VerifyError::Untrusted {
                    what: format!("{} is revoked since {since}", certificate.name()),
                });
            }
            listed = true;
            until = [until, list.next_update.map(whole_second)]
                .into_iter()
                .flatten()
                .min();
        }
        any_named |= !certificate.crl_urls().is_empty();
        if !listed {
            unlisted.push(certificate.name());
        }
    }
    Ok(match unlisted.as_slice() {
        [] => Revocation::Checked { until },
        _ if !any_named && lists.is_empty() => Revocation::NotApplicable {
            because: "the certificates name no revocation list",
        },
        names => Revocation::Unchecked {
            because: format!("no revocation list came along for {}", names.join("; ")),
        },
    })
}

/// The list, if the issuer signed it, for all of its certificates and for now.
fn check_list(
    parts: &ListParts<'_>,
    endorsement: &Endorsement,
    issuer: &Certificate,
    now: UnixMillis,
) -> Result<x509::List, VerifyError> {
    let refused = |what: String| unfit(endorsement, what);
    issuer.check_signed(&parts.signed).map_err(refused)?;
    match issuer.key_usage() {
        Ok(usage) if usage.is_none_or(|usage| usage.crl_sign()) => {}
        Ok(_) => {
            return Err(refused(
                "its issuer's key is not for signing revocation lists".to_owned(),
            ));
        }
        Err(what) => return Err(refused(what)),
    }
    // An issuing distribution point or a delta list covers a part of the certificates only; both are critical.
    let list = parts.read(&[]).map_err(|fault| refused(of_it(fault)))?;
    if now < list.this_update || list.next_update.is_some_and(|ends| now > ends) {
        let ends = list.next_update.map(whole_second);
        let ends = ends.map_or_else(|| "no end".to_owned(), |ends| ends.to_string());
        return Err(VerifyError::EndorsementNotCurrent {
            origin: endorsement.origin.clone(),
            what: format!("the revocation list is of {} to {ends}", list.this_update),
        });
    }
    Ok(list)
}

/// A fault of what the message speaks of already.
fn of_it(fault: x509::Fault) -> String {
    format!("it {fault}")
}

/// Times are shown without the milliseconds that belong to their last second.
fn whole_second(time: UnixMillis) -> UnixMillis {
    UnixMillis::from_secs(time.as_secs())
}

fn untrusted(role: &str, certificate: &Certificate, fault: &str) -> VerifyError {
    VerifyError::Untrusted {
        what: format!("{role} {}: {fault}", certificate.name()),
    }
}

fn unfit(endorsement: &Endorsement, what: String) -> VerifyError {
    VerifyError::EndorsementInvalid {
        origin: endorsement.origin.clone(),
        what,
    }
}
