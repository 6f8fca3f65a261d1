//! The attestation certificate of a Nautilus enclave, read back: X.509 for the signing key, which carries the evidence
//! that vouches for the key (`docs/wire.md`, "the attestation certificate").
//!
//! The certificate is signed by its own key, so it proves possession of it and no more. What vouches for the key is the
//! evidence: [`read`] gives it as it came, and it counts only once a [`nautilus_core::VerifierSet`] has verified it with
//! [`Binding::Claimed`](nautilus_core::Binding::Claimed), or with a challenge of the relying party's own.

use nautilus_core::{
    BoundUserData, Challenge, Digest32, Evidence, MAX_EVIDENCE, NodeId, PublicKey, Signature,
    SignedMessage as _, TeeKind, UnixMillis, VerifyError, verify_ed25519,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::name::Name;

use crate::cose::cbor::{Label, Lengths, Reader, malformed};
use crate::x509::{Certificate, Fault};

/// Evidence twice, and what surrounds it.
pub const MAX_LEN: usize = 2 * MAX_EVIDENCE + 8192;

/// RFC 8410 §3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// RFC 9999.
const CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.35");
/// TCG DICE Attestation Architecture §6.1.8.
const DICE_CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.9");
const EVIDENCE_TYPE: &str = "application/vnd.nautilus.evidence;tee=";
const CHALLENGE_TYPE: &str = "application/vnd.nautilus.challenge";
const USER_DATA_TYPE: &str = "application/vnd.nautilus.user-data";
/// RFC 9999: bit 2 of `ind` is evidence.
const IS_EVIDENCE: u64 = 0b100;
const MAX_TYPE: usize = 128;
const MAX_USER_DATA: usize = 4096;

/// A certificate whose parts fit each other: the holder of its key signed it, and its user data names key and node.
/// None of that is vouched for by anybody until the evidence is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationCertificate {
    /// The node that it names.
    pub node: NodeId,
    /// Its key, which the user data names too.
    pub tee_key: PublicKey,
    /// First instant at which it is valid.
    pub not_before: UnixMillis,
    /// First instant at which it is not any more.
    pub not_after: UnixMillis,
    /// The evidence with its user data: unverified.
    pub evidence: Evidence,
    /// The challenge that the evidence is said to answer.
    pub challenge: Challenge,
    /// The user data that the evidence is said to bind.
    pub user_data: BoundUserData,
}

/// Reads a certificate in DER, which is hostile, at the time `now`.
///
/// # Errors
/// Names what it lacks, or which of its parts do not belong together.
pub fn read(der: &[u8], now: UnixMillis) -> Result<AttestationCertificate, VerifyError> {
    if der.len() > MAX_LEN {
        return Err(VerifyError::TooLarge { limit: MAX_LEN });
    }
    let certificate = Certificate::parse(der).map_err(unreadable)?;
    let tee_key = key(&certificate).map_err(unreadable)?;
    check_signature(&certificate, &tee_key)?;
    let understood = [
        Certificate::BASIC_CONSTRAINTS,
        Certificate::KEY_USAGE,
        CMW,
        DICE_CMW,
    ];
    if let Some(other) = certificate.unknown_critical(&understood).map_err(unreadable)? {
        return Err(unreadable(format!(
            "has the critical extension {}, which is not understood",
            crate::x509::oid(other.id)
        )));
    }
    let window = certificate.window().map_err(unreadable)?;
    if now < window.from || now >= window.until {
        return Err(VerifyError::Untrusted {
            what: format!(
                "the attestation certificate is valid from {} to {}, not at {now}",
                window.from, window.until
            ),
        });
    }
    let carried = Carried::of(&certificate)?;
    let user_data = BoundUserData::from_canonical(carried.user_data)
        .ok_or_else(|| malformed("the user data is not in its canonical form".to_owned(), 0))?;
    if user_data.tee_key != tee_key {
        return Err(other_than("key", &user_data.tee_key, &tee_key));
    }
    if user_data.tee != carried.tee {
        return Err(other_than("TEE", &user_data.tee, &carried.tee));
    }
    let node = node(&certificate)?;
    if user_data.node != node {
        return Err(other_than("node", &user_data.node, &node));
    }
    Ok(AttestationCertificate {
        node,
        tee_key,
        not_before: window.from,
        not_after: window.until,
        evidence: Evidence {
            tee: carried.tee,
            bytes: carried.evidence.to_vec(),
            user_data: Some(user_data.to_bytes()),
            event_log: None,
        },
        challenge: carried.challenge,
        user_data,
    })
}

fn unreadable(what: Fault) -> VerifyError {
    malformed(format!("the attestation certificate {what}"), 0)
}

fn other_than(what: &str, bound: &impl std::fmt::Display, found: &impl std::fmt::Display) -> VerifyError {
    VerifyError::Untrusted {
        what: format!("the attestation certificate is for {what} {found}, its user data for {bound}"),
    }
}

/// RFC 8410 §4: the key's 32 bytes, and an algorithm without parameters.
fn key(certificate: &Certificate<'_>) -> Result<PublicKey, Fault> {
    let read = || {
        let info = x509_cert::spki::SubjectPublicKeyInfoRef::from_der(certificate.spki).ok()?;
        let plain = info.algorithm.oid == ED25519 && info.algorithm.parameters.is_none();
        let key: BitStringRef<'_> = info.subject_public_key;
        let bytes = key.as_bytes().filter(|_| plain)?;
        bytes.try_into().ok().map(PublicKey)
    };
    read().ok_or_else(|| "has no Ed25519 key".to_owned())
}

fn check_signature(certificate: &Certificate<'_>, key: &PublicKey) -> Result<(), VerifyError> {
    let signed = &certificate.signed;
    let invalid = |what: &str| VerifyError::SignatureInvalid {
        what: format!("the attestation certificate's {what}"),
    };
    let algorithm = x509_cert::spki::AlgorithmIdentifierRef::from_der(signed.algorithm)
        .map_err(|_| invalid("algorithm cannot be read"))?;
    if algorithm.oid != ED25519 || algorithm.parameters.is_some() {
        return Err(invalid("algorithm is not Ed25519"));
    }
    let signature = signed.signature.try_into().map(Signature);
    if certificate.issuer != certificate.subject {
        return Err(invalid("issuer is another than its subject"));
    }
    match signature {
        Ok(signature) if verify_ed25519(key, signed.tbs, &signature) => Ok(()),
        _ => Err(invalid("signature is not its own key's")),
    }
}

/// The common name, which is all of the subject.
fn node(certificate: &Certificate<'_>) -> Result<NodeId, VerifyError> {
    let read = || {
        let name = Name::from_der(certificate.subject).ok()?;
        let mut attributes = name.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else {
            return None;
        };
        let text = std::str::from_utf8(attribute.value.value()).ok()?;
        (attribute.oid == COMMON_NAME)
            .then(|| text.parse().ok())
            .flatten()
    };
    read().ok_or_else(|| unreadable("names no node".to_owned()))
}

/// What the extensions hold.
struct Carried<'a> {
    tee: TeeKind,
    evidence: &'a [u8],
    challenge: Challenge,
    user_data: &'a [u8],
}

impl<'a> Carried<'a> {
    fn of(certificate: &Certificate<'a>) -> Result<Self, VerifyError> {
        let value = |id| {
            let found: Option<&'a OctetStringRef> = certificate.extension(id).map_err(unreadable)?;
            Ok::<_, VerifyError>(found.map(OctetStringRef::as_bytes))
        };
        let collection =
            value(CMW)?.ok_or_else(|| unreadable(format!("has no extension {CMW}, which holds evidence")))?;
        let carried = Self::read(collection)?;
        // The same evidence once more, for those who read that form alone.
        if let Some(record) = value(DICE_CMW)? {
            let mut reader = Reader::new(record, 0, Lengths::Definite);
            let twin = Record::read(&mut reader)?;
            reader.end("the record")?;
            if (twin.tee()?, twin.value) != (carried.tee, carried.evidence) {
                return Err(unreadable("carries two different pieces of evidence".to_owned()));
            }
        }
        Ok(carried)
    }

    fn read(collection: &'a [u8]) -> Result<Self, VerifyError> {
        let [mut evidence, mut challenge, mut user_data] = [const { None }; 3];
        let mut reader = Reader::new(collection, 0, Lengths::Definite);
        reader.map("the collection", 3, |reader, label| {
            let slot = match label {
                Label::Text("evidence") => &mut evidence,
                Label::Text("challenge") => &mut challenge,
                Label::Text("user-data") => &mut user_data,
                _ => {
                    return Err(malformed(
                        "the collection has an unknown label".to_owned(),
                        reader.offset(),
                    ));
                }
            };
            *slot = Some(Record::read(reader)?);
            Ok(())
        })?;
        reader.end("the collection")?;
        let needed = |record: Option<Record<'a>>, what| {
            record.ok_or_else(|| malformed(format!("the collection has no {what}"), 0))
        };
        let evidence = needed(evidence, "evidence")?;
        let challenge = needed(challenge, "challenge")?.typed(CHALLENGE_TYPE)?;
        let digest = challenge
            .try_into()
            .map_err(|_| malformed("the challenge has not 32 bytes".to_owned(), 0))?;
        Ok(Self {
            tee: evidence.tee()?,
            evidence: evidence.value,
            challenge: Challenge::from_digest(Digest32(digest)),
            user_data: needed(user_data, "user data")?.typed(USER_DATA_TYPE)?,
        })
    }
}

/// A Record CMW in CBOR (RFC 9999): media type, value, and what it is where that is said.
struct Record<'a> {
    media_type: &'a str,
    value: &'a [u8],
    indicator: Option<u64>,
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, VerifyError> {
        let (mut media_type, mut value, mut indicator) = (None, None, None);
        let start = reader.offset();
        reader.array("the record", 3, |reader, index| {
            match index {
                0 => media_type = Some(reader.text("the media type", MAX_TYPE)?),
                1 => value = Some(reader.bytes("the value", MAX_EVIDENCE)?),
                _ => indicator = Some(reader.uint("the indicator")?),
            }
            Ok(())
        })?;
        match (media_type, value) {
            (Some(media_type), Some(value)) => Ok(Self {
                media_type,
                value,
                indicator,
            }),
            _ => Err(malformed(
                "the record has less than two elements".to_owned(),
                start,
            )),
        }
    }

    /// The value, which has to be of this type and small.
    fn typed(self, media_type: &str) -> Result<&'a [u8], VerifyError> {
        if self.media_type != media_type || self.indicator.is_some() || self.value.len() > MAX_USER_DATA {
            return Err(malformed(format!("a record is not of type {media_type}"), 0));
        }
        Ok(self.value)
    }

    /// The TEE whose evidence it is.
    fn tee(&self) -> Result<TeeKind, VerifyError> {
        let named = self.media_type.strip_prefix(EVIDENCE_TYPE);
        named
            .filter(|_| self.indicator == Some(IS_EVIDENCE))
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| malformed(format!("a record is not of type {EVIDENCE_TYPE}…"), 0))
    }
}
