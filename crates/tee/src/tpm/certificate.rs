//! Certificates of TPM keys, and their chain to a root that the relying party trusts.
//!
//! RFC 5280, 6.1, without policies and name constraints: a certificate that makes one of them critical is refused.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError, Want};
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Reader as _, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage,
};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

use super::public::{Curve, PublicKey};
use super::spki;

/// Longest chain: leaf, three intermediates (makers have one or two), root.
const MAX_CHAIN: usize = 5;
/// Signatures that are verified at most while a chain is looked for, so that no pile of certificates of one name
/// makes it long.
const MAX_SIGNATURES: usize = 16;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// What is read here; and certificate policies, which nothing here asks for.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    EXTENDED_KEY_USAGE,
];
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// A certificate. Nothing in it has been verified.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

impl Certificate {
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
        if parsed.tbs_certificate().signature() != parsed.signature_algorithm() {
            return Err("it names two signature algorithms".to_owned());
        }
        let extensions = parsed
            .tbs_certificate()
            .extensions()
            .map_or(&[][..], Vec::as_slice);
        for (index, extension) in extensions.iter().enumerate() {
            let earlier = extensions.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.extn_id == extension.extn_id) {
                return Err(format!("it has extension {} twice", extension.extn_id));
            }
        }
        Ok(Self {
            der: der.to_vec(),
            parsed,
        })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, or where it has none, as endorsement keys may, the serial number.
    pub(super) fn name(&self) -> String {
        let tbs = self.parsed.tbs_certificate();
        if tbs.subject().is_empty() {
            return format!("serial number {} of {}", self.serial(), tbs.issuer());
        }
        tbs.subject().to_string()
    }

    pub(super) fn issuer(&self) -> String {
        self.parsed.tbs_certificate().issuer().to_string()
    }

    /// The serial number in hex.
    pub(super) fn serial(&self) -> String {
        hex::encode(self.parsed.tbs_certificate().serial_number().as_bytes())
    }

    pub(super) fn key(&self) -> Result<PublicKey, String> {
        spki::key_in(self.parsed.tbs_certificate().subject_public_key_info())
    }

    /// The extension of type `T`, where it has one.
    pub(super) fn extension<'a, T: Decode<'a, Error = x509_cert::der::Error>>(
        &'a self,
        id: ObjectIdentifier,
    ) -> Result<Option<T>, String> {
        let extensions = self
            .parsed
            .tbs_certificate()
            .extensions()
            .map_or(&[][..], Vec::as_slice);
        let found = extensions.iter().find(|extension| extension.extn_id == id);
        found
            .map(|extension| T::from_der(extension.extn_value.as_bytes()))
            .transpose()
            .map_err(|error| format!("its extension {id}: {error}"))
    }

    pub(super) fn key_usage(&self) -> Result<Option<KeyUsage>, String> {
        self.extension(KEY_USAGE)
    }

    pub(super) fn extended_key_usage(&self) -> Result<Option<ExtendedKeyUsage>, String> {
        self.extension(EXTENDED_KEY_USAGE)
    }

    /// Why it must not be the leaf of a chain, if so.
    fn leaf_fault(&self, now: UnixMillis) -> Option<String> {
        let is_ca = match self.extension::<BasicConstraints>(BASIC_CONSTRAINTS) {
            Ok(constraints) => constraints.is_some_and(|constraints| constraints.ca),
            Err(fault) => return Some(fault),
        };
        if is_ca {
            return Some("it is a certificate authority's, not a key's of a TPM".to_owned());
        }
        self.fault(now)
    }

    /// Why it must not have issued a certificate with so many others between it and the leaf, if so.
    fn issuer_fault(&self, between: usize, now: UnixMillis) -> Option<String> {
        let constraints = match self.extension::<BasicConstraints>(BASIC_CONSTRAINTS) {
            Ok(Some(constraints)) if constraints.ca => constraints,
            Ok(_) => return Some("it is no certificate authority's".to_owned()),
            Err(fault) => return Some(fault),
        };
        if constraints
            .path_len_constraint
            .is_some_and(|most| between > usize::from(most))
        {
            return Some("it allows no chain of this length".to_owned());
        }
        match self.key_usage() {
            Ok(usage) if usage.is_none_or(|usage| usage.key_cert_sign()) => self.fault(now),
            Ok(_) => Some("its key is not for signing certificates".to_owned()),
            Err(fault) => Some(fault),
        }
    }

    fn fault(&self, now: UnixMillis) -> Option<String> {
        let tbs = self.parsed.tbs_certificate();
        let (from, until) = (
            instant(tbs.validity().not_before),
            instant(tbs.validity().not_after),
        );
        if now < from {
            return Some(format!("it is valid from {from} on"));
        }
        if now > until {
            return Some(format!("it expired at {until}"));
        }
        let extensions = tbs.extensions().map_or(&[][..], Vec::as_slice);
        unknown_critical(extensions, &UNDERSTOOD)
    }

    fn not_after(&self) -> UnixMillis {
        instant(self.parsed.tbs_certificate().validity().not_after)
    }

    /// Where its issuer's certificate is published.
    pub(super) fn issuer_urls(&self) -> Vec<String> {
        const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
        let access = self.extension::<AuthorityInfoAccessSyntax>(AUTHORITY_INFO_ACCESS);
        let descriptions = access.ok().flatten().map(|access| access.0).unwrap_or_default();
        let issuers = descriptions
            .iter()
            .filter(|description| description.access_method == CA_ISSUERS);
        issuers
            .filter_map(|description| url(&description.access_location))
            .collect()
    }

    /// Where the list is published on which it would stand if it were revoked.
    pub(super) fn crl_urls(&self) -> Vec<String> {
        const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
        let points = self.extension::<CrlDistributionPoints>(CRL_DISTRIBUTION_POINTS);
        let points = points.ok().flatten().map(|points| points.0).unwrap_or_default();
        let names = points.iter().filter_map(|point| match &point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            _ => None,
        });
        names.flatten().filter_map(url).collect()
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
        self.parsed.tbs_certificate().subject() == child.parsed.tbs_certificate().issuer()
    }

    fn signed(&self, child: &Self) -> Result<(), String> {
        let key = self.parsed.tbs_certificate().subject_public_key_info();
        let algorithm = child.parsed.signature_algorithm().oid;
        check_signature(key, algorithm, &child.der, child.parsed.signature().raw_bytes())
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
    if let Some(fault) = leaf.leaf_fault(now) {
        return Err(untrusted(origin, leaf, &fault));
    }
    let intermediates = parse_intermediates(endorsements)?;
    let mut chain = vec![leaf];
    let mut budget = MAX_SIGNATURES;
    while let Some(child) = chain.last().copied() {
        let between = chain.len().saturating_sub(1);
        let (issuer, is_root) = find_issuer(child, between, roots, &intermediates, &mut budget, now)
            .map_err(|missing| match missing {
                NoIssuer::Fault(issuer, fault) => untrusted("issuer", issuer, &fault),
                NoIssuer::Signature(fault) => VerifyError::SignatureInvalid {
                    what: format!("certificate {} of {}: {fault}", child.name(), child.issuer()),
                },
                NoIssuer::Unknown => VerifyError::EndorsementsMissing {
                    wants: vec![child.want_issuer()],
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
    let until = chain
        .iter()
        .map(|certificate| certificate.not_after())
        .min()
        .unwrap_or(now);
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
}

/// The root, or else the intermediate, that signed `child` and may; and whether it is a root.
fn find_issuer<'a>(
    child: &Certificate,
    between: usize,
    roots: &'a [Certificate],
    intermediates: &'a [Certificate],
    budget: &mut usize,
    now: UnixMillis,
) -> Result<(&'a Certificate, bool), NoIssuer<'a>> {
    let mut reason = NoIssuer::Unknown;
    let all = roots.iter().map(|root| (root, true));
    let all = all.chain(intermediates.iter().map(|other| (other, false)));
    for (issuer, is_root) in all.filter(|(issuer, _)| issuer.subject_is_issuer_of(child)) {
        let Some(left) = budget.checked_sub(1) else {
            break;
        };
        *budget = left;
        match (issuer.signed(child), issuer.issuer_fault(between, now)) {
            (Ok(()), None) => return Ok((issuer, is_root)),
            (Ok(()), Some(fault)) => reason = NoIssuer::Fault(issuer, fault),
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
        let list = CertificateList::from_der(&endorsement.bytes);
        lists.push((
            list.map_err(|error| unfit(endorsement, error.to_string()))?,
            endorsement,
        ));
    }
    let (mut until, mut unlisted, mut any_named) = (None::<UnixMillis>, Vec::new(), false);
    for pair in chain.windows(2) {
        let &[certificate, issuer] = pair else {
            continue;
        };
        let own = issuer.parsed.tbs_certificate().subject();
        let mut listed = false;
        for (list, endorsement) in lists.iter().filter(|(list, _)| list.tbs_cert_list.issuer == *own) {
            let ends = check_list(list, endorsement, issuer, now)?;
            let revoked = list.tbs_cert_list.revoked_certificates.iter().flatten();
            let serial = certificate.parsed.tbs_certificate().serial_number();
            if let Some(entry) = revoked.into_iter().find(|entry| entry.serial_number == *serial) {
                let since = instant(entry.revocation_date);
                return Err(VerifyError::Untrusted {
                    what: format!("{} is revoked since {since}", certificate.name()),
                });
            }
            listed = true;
            until = [until, ends].into_iter().flatten().min();
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

/// Whether the issuer signed the list, for all of its certificates and for now. Gives when it ends.
fn check_list(
    list: &CertificateList,
    endorsement: &Endorsement,
    issuer: &Certificate,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, VerifyError> {
    let tbs = &list.tbs_cert_list;
    if tbs.signature != list.signature_algorithm {
        return Err(unfit(endorsement, "it names two signature algorithms".to_owned()));
    }
    let key = issuer.parsed.tbs_certificate().subject_public_key_info();
    check_signature(
        key,
        list.signature_algorithm.oid,
        &endorsement.bytes,
        list.signature.raw_bytes(),
    )
    .map_err(|what| unfit(endorsement, what))?;
    match issuer.key_usage() {
        Ok(usage) if usage.is_none_or(|usage| usage.crl_sign()) => {}
        Ok(_) => {
            return Err(unfit(
                endorsement,
                "its issuer's key is not for signing revocation lists".to_owned(),
            ));
        }
        Err(what) => return Err(unfit(endorsement, what)),
    }
    // An issuing distribution point or a delta list covers a part of the certificates only; both are critical.
    let extensions = tbs.crl_extensions.as_deref().unwrap_or_default();
    if let Some(what) = unknown_critical(extensions, &[]) {
        return Err(unfit(endorsement, what));
    }
    let ends = tbs.next_update.map(instant);
    if now < instant(tbs.this_update) || ends.is_some_and(|ends| now > ends) {
        let ends = ends.map_or_else(|| "no end".to_owned(), |ends| ends.to_string());
        return Err(VerifyError::EndorsementNotCurrent {
            origin: endorsement.origin.clone(),
            what: format!("the revocation list is of {} to {ends}", instant(tbs.this_update)),
        });
    }
    Ok(ends)
}

/// Whether `key` signed the first element of `der`, which is a signed type of X.509 (RFC 5280, 4.1 and 5.1).
fn check_signature(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: ObjectIdentifier,
    der: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    const SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
    const ECDSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
    if [SHA1_WITH_RSA, ECDSA_WITH_SHA1].contains(&algorithm) {
        return Err("it is signed over its SHA-1 digest, which collides".to_owned());
    }
    let parsed = spki::key_in(key)?;
    let verification = verification_of(&parsed, algorithm).ok_or_else(|| {
        format!("its signature algorithm {algorithm} is not supported with its issuer's key")
    })?;
    let signed = signed_part(der).map_err(|error| error.to_string())?;
    let bits = key.subject_public_key.raw_bytes();
    UnparsedPublicKey::new(verification, bits)
        .verify(signed, signature)
        .map_err(|_| "its signature is not its issuer's".to_owned())
}

fn verification_of(
    key: &PublicKey,
    algorithm: ObjectIdentifier,
) -> Option<&'static dyn VerificationAlgorithm> {
    // RFC 4055, 5; RFC 5758, 3.2.
    const RSA: [&str; 3] = [
        "1.2.840.113549.1.1.11",
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
    ];
    const ECDSA: [&str; 3] = [
        "1.2.840.10045.4.3.2",
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
    ];
    let name = algorithm.to_string();
    let at = |names: [&str; 3]| names.iter().position(|known| *known == name);
    let choices: (Option<usize>, [&'static dyn VerificationAlgorithm; 3]) = match key {
        PublicKey::Rsa { .. } => (
            at(RSA),
            [
                &RSA_PKCS1_2048_8192_SHA256,
                &RSA_PKCS1_2048_8192_SHA384,
                &RSA_PKCS1_2048_8192_SHA512,
            ],
        ),
        PublicKey::Ecc {
            curve: Curve::P256, ..
        } => (
            at(ECDSA),
            [
                &ECDSA_P256_SHA256_ASN1,
                &ECDSA_P256_SHA384_ASN1,
                &ECDSA_P256_SHA512_ASN1,
            ],
        ),
        PublicKey::Ecc {
            curve: Curve::P384, ..
        } => (
            at(ECDSA),
            [
                &ECDSA_P384_SHA256_ASN1,
                &ECDSA_P384_SHA384_ASN1,
                &ECDSA_P384_SHA512_ASN1,
            ],
        ),
    };
    choices.0.and_then(|at| choices.1.get(at).copied())
}

/// The bytes as they came, not as they would be encoded again.
fn signed_part(der: &[u8]) -> Result<&[u8], x509_cert::der::Error> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|reader| {
        let signed = reader.tlv_bytes()?;
        let (_algorithm, _signature) = (reader.tlv_bytes()?, reader.tlv_bytes()?);
        Ok(signed)
    })
}

fn unknown_critical(extensions: &[Extension], understood: &[ObjectIdentifier]) -> Option<String> {
    let unknown = extensions
        .iter()
        .find(|extension| extension.critical && !understood.contains(&extension.extn_id))?;
    Some(format!(
        "its extension {} is critical and is not understood here",
        unknown.extn_id
    ))
}

fn url(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(url) => Some(url.to_string()),
        _ => None,
    }
}

fn instant(time: Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
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
