//! Arm CCA attestation tokens: a platform token and a realm token in one collection (RMM specification §A7.2, and
//! draft-ffm-rats-cca-token-00).
//!
//! The platform's key signs the platform token, whose challenge is the digest of the realm's key; that key signs the
//! realm token. The platform's key is enrolled by the relying party.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use nautilus_core::{DeviceIdentity, Measurement, RawClaims, Revocation, Tcb, UnsignedFact, VerifyError};

use super::claims::{self, Component, HASHES, Lifecycle, MAX_CLAIMS};
use super::enrolled::{Device, Keys, PUBLISHED_KEY, is_published};
use crate::cose::cbor::{Label, Lengths, Reader, malformed, shown};
use crate::cose::{Algorithm, Key, Protected, Rules, Signed, Tag};

/// The collection's tag (RMM specification §A7.2.1), as recognised from its first bytes.
const COLLECTION: u64 = 399;
const COLLECTION_HEAD: [u8; 3] = [0xd9, 0x01, 0x8f];
/// The tag of draft-ffm-rats-cca-token-03, a conceptual message wrapper.
const WRAPPER: u64 = 907;
const WRAPPER_HEAD: [u8; 3] = [0xd9, 0x03, 0x8b];
const PLATFORM_TOKEN: i64 = 44234;
const REALM_TOKEN: i64 = 44241;
/// Largest token of the two; those of reference platforms have below 2 KiB.
const MAX_TOKEN: usize = 32 * 1024;

const PLATFORM: Rules = Rules {
    what: "CCA platform token",
    tag: Tag::Required,
    algorithms: &[Algorithm::Es256, Algorithm::Es384, Algorithm::Es512],
    protected: Protected::AlgorithmAndNames,
    max_payload: MAX_TOKEN,
};
/// Realm attestation keys are on P-384 (RMM specification §A7.2.3.1.6).
const REALM: Rules = Rules {
    what: "CCA realm token",
    tag: Tag::Required,
    algorithms: &[Algorithm::Es384],
    protected: Protected::AlgorithmAndNames,
    max_payload: MAX_TOKEN,
};

const PLATFORM_PROFILES: [&str; 2] = [
    "http://arm.com/CCA-SSD/1.0.0",
    "tag:arm.com,2023:cca_platform#1.0.0",
];
const REALM_PROFILE: &str = "tag:arm.com,2023:realm#1.0.0";

/// A collection that was read. Unverified.
pub(crate) struct Collection<'a> {
    platform: Signed<'a>,
    platform_claims: Platform,
    realm: Signed<'a>,
    realm_claims: Realm<'a>,
    /// Whether the realm's token stands first, which nothing signs.
    realm_first: bool,
}

struct Platform {
    profile: String,
    challenge: Vec<u8>,
    implementation_id: [u8; 32],
    instance_id: [u8; 33],
    config: Vec<u8>,
    lifecycle: (Lifecycle, u16),
    components: Vec<Component>,
    verification_service: Option<String>,
    hash_algorithm: String,
    unknown: Vec<String>,
}

struct Realm<'a> {
    profile: Option<String>,
    challenge: [u8; 64],
    personalization: [u8; 64],
    initial: Vec<u8>,
    extensible: Vec<Vec<u8>>,
    hash_algorithm: String,
    /// The claim's bytes, which the platform token's challenge is the digest of.
    key_bytes: &'a [u8],
    key: Key,
    key_hash: (&'static digest::Algorithm, String),
    unknown: Vec<String>,
}

/// Whether bytes look like a CCA token.
pub(crate) fn recognises(evidence: &[u8]) -> bool {
    evidence.starts_with(&COLLECTION_HEAD) || evidence.starts_with(&WRAPPER_HEAD)
}

/// Reads a collection. Its signatures are not verified.
///
/// # Errors
/// The first thing that is not as the specifications have it.
pub(crate) fn read(evidence: &[u8]) -> Result<Collection<'_>, VerifyError> {
    let mut reader = Reader::new(evidence, 0, Lengths::Definite);
    match reader.tag()? {
        Some(COLLECTION) => {}
        Some(WRAPPER) => {
            return Err(VerifyError::Unsupported {
                what:
                    "a CCA token in a conceptual message wrapper (tag 907): the collection with tag 399 is \
                       supported"
                        .to_owned(),
            });
        }
        _ => return Err(malformed("CCA token does not have tag 399".to_owned(), 0)),
    }
    let (mut platform, mut realm, mut realm_first) = (None, None, false);
    reader.map("CCA token", 2, |reader, label| {
        let offset = reader.offset();
        let part = match label {
            Label::Int(PLATFORM_TOKEN) => &mut platform,
            Label::Int(REALM_TOKEN) => {
                realm_first = platform.is_none();
                &mut realm
            }
            other => {
                let what = format!("CCA token has the key {other}, which is none of a collection");
                return Err(malformed(what, offset));
            }
        };
        let bytes = reader.bytes("token of the collection", MAX_TOKEN)?;
        *part = Some((bytes, reader.offset().saturating_sub(bytes.len())));
        Ok(())
    })?;
    if reader.left() != 0 {
        return Err(VerifyError::TrailingBytes {
            offset: reader.offset(),
            length: reader.left(),
        });
    }
    let lacks = |name: &str| malformed(format!("CCA token lacks its {name} token"), 0);
    let (platform, platform_offset) = platform.ok_or_else(|| lacks("platform"))?;
    let (realm, realm_offset) = realm.ok_or_else(|| lacks("realm"))?;
    let inner = |fault: VerifyError| match fault {
        VerifyError::TrailingBytes { offset, length } => {
            malformed(format!("{length} bytes follow a token of the collection"), offset)
        }
        other => other,
    };
    let platform = Signed::read(platform, platform_offset, &PLATFORM).map_err(inner)?;
    let realm = Signed::read(realm, realm_offset, &REALM).map_err(inner)?;
    Ok(Collection {
        platform_claims: Platform::read(&platform)?,
        realm_claims: Realm::read(&realm)?,
        platform,
        realm,
        realm_first,
    })
}

/// Verifies a collection by an enrolled platform key.
///
/// # Errors
/// If it is malformed, the platform's key not enrolled, a signature invalid, or the realm's key not the platform's.
pub(crate) fn verify(evidence: &[u8], keys: &Keys) -> Result<RawClaims, VerifyError> {
    let token = read(evidence)?;
    let (platform, realm) = (&token.platform_claims, &token.realm_claims);
    let device = Device {
        instance_id: &platform.instance_id,
        implementation_id: &platform.implementation_id,
    };
    let platform_key = keys.signer(&token.platform, device, PLATFORM.what)?;
    let (hash, hash_name) = &realm.key_hash;
    if digest::digest(hash, realm.key_bytes).as_ref() != platform.challenge {
        return Err(VerifyError::SignatureInvalid {
            what: format!(
                "CCA realm token: the {hash_name} of its key is not the platform token's challenge"
            ),
        });
    }
    if !token.realm.is_by(&realm.key) {
        return Err(VerifyError::SignatureInvalid {
            what: "CCA realm token, by the key that the platform token binds".to_owned(),
        });
    }
    let published = is_published(platform_key) || is_published(&realm.key);
    let mut attributes = token.attributes();
    if published {
        attributes.insert("key".to_owned(), PUBLISHED_KEY.to_owned());
    }
    let mut measurements = realm.measurements();
    claims::describe(&platform.components, &mut measurements, &mut attributes);
    Ok(RawClaims {
        report_data: realm.challenge.to_vec(),
        device: DeviceIdentity {
            scheme: "cca-instance",
            id: hex::encode(platform.instance_id),
            family: Some(hex::encode(platform.implementation_id)),
        },
        debug: published || platform.lifecycle.0 != Lifecycle::Secured,
        tcb: Tcb::default(),
        measurements,
        attributes,
        unsigned: token.unsigned(),
        revocation: Revocation::NotApplicable {
            because: "the platform's key is enrolled by the relying party, who takes it back by removing it",
        },
        made_at: None,
        endorsed_until: None,
    })
}

impl Collection<'_> {
    fn unsigned(&self) -> Vec<UnsignedFact> {
        let fact = UnsignedFact {
            what: "order of the collection",
            detail: "the realm token stands before the platform token".to_owned(),
        };
        self.realm_first.then_some(fact).into_iter().collect()
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let (platform, realm) = (&self.platform_claims, &self.realm_claims);
        let (state, value) = platform.lifecycle;
        let mut attributes = BTreeMap::new();
        let mut say = |name: &str, value: String| {
            attributes.insert(name.to_owned(), value);
        };
        say("algorithm", self.platform.algorithm.name().to_owned());
        say("profile", platform.profile.clone());
        say("instance_id", hex::encode(platform.instance_id));
        say("implementation_id", hex::encode(platform.implementation_id));
        say("platform_config", hex::encode(&platform.config));
        say("platform_hash_algorithm", platform.hash_algorithm.clone());
        say("lifecycle", format!("{} ({value:#06x})", state.name()));
        say("realm_hash_algorithm", realm.hash_algorithm.clone());
        say("personalization_value", hex::encode(realm.personalization));
        say("realm_public_key", hex::encode(realm.key_bytes));
        if let Some(profile) = &realm.profile {
            say("realm_profile", profile.clone());
        }
        if let Some(service) = &platform.verification_service {
            say("verification_service", service.clone());
        }
        let unknown: Vec<&str> = platform
            .unknown
            .iter()
            .chain(&realm.unknown)
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            say("unknown_claims", unknown.join(", "));
        }
        attributes
    }
}

impl Platform {
    fn read(signed: &Signed<'_>) -> Result<Self, VerifyError> {
        let at = signed.payload_offset;
        let mut reader = Reader::new(signed.payload, at, Lengths::Definite);
        let (mut profile, mut challenge, mut implementation_id, mut instance_id) = (None, None, None, None);
        let (mut config, mut lifecycle, mut components) = (None, None, None);
        let (mut verification_service, mut hash_algorithm, mut unknown) = (None, None, Vec::new());
        reader.map("platform claims", MAX_CLAIMS, |reader, label| {
            let offset = reader.offset();
            match label {
                Label::Int(265) => {
                    let name = claims::text(reader, "platform profile")?;
                    if !PLATFORM_PROFILES.contains(&name.as_str()) {
                        return Err(unknown_profile(&name, &PLATFORM_PROFILES, offset));
                    }
                    profile = Some(name);
                }
                Label::Int(10) => challenge = Some(claims::sized(reader, "platform challenge", &HASHES)?),
                Label::Int(2396) => {
                    implementation_id = Some(claims::exactly(reader, "implementation ID")?);
                }
                Label::Int(256) => instance_id = Some(claims::instance_id(reader)?),
                Label::Int(2401) => config = Some(reader.bytes("platform config", 1024)?.to_vec()),
                Label::Int(2395) => lifecycle = Some(Lifecycle::read(reader)?),
                Label::Int(2399) => components = Some(claims::components(reader)?),
                Label::Int(2400) => {
                    verification_service = Some(claims::text(reader, "verification service")?);
                }
                Label::Int(2402) => {
                    hash_algorithm = Some(hash(reader, "platform hash algorithm")?.1);
                }
                other => {
                    unknown.push(other.to_string());
                    reader.skip("unknown claim")?;
                }
            }
            Ok(())
        })?;
        reader.end("platform claims")?;
        let lacks = |name: &str| malformed(format!("CCA platform token lacks its {name}"), at);
        Ok(Self {
            profile: profile.ok_or_else(|| lacks("profile"))?,
            challenge: challenge.ok_or_else(|| lacks("challenge"))?,
            implementation_id: implementation_id.ok_or_else(|| lacks("implementation ID"))?,
            instance_id: instance_id.ok_or_else(|| lacks("instance ID"))?,
            config: config.ok_or_else(|| lacks("config"))?,
            lifecycle: lifecycle.ok_or_else(|| lacks("lifecycle"))?,
            components: components.ok_or_else(|| lacks("software components"))?,
            verification_service,
            hash_algorithm: hash_algorithm.ok_or_else(|| lacks("hash algorithm"))?,
            unknown,
        })
    }
}

impl<'a> Realm<'a> {
    fn read(signed: &Signed<'a>) -> Result<Self, VerifyError> {
        let at = signed.payload_offset;
        let mut reader = Reader::new(signed.payload, at, Lengths::Definite);
        let (mut profile, mut challenge, mut personalization, mut initial) = (None, None, None, None);
        let (mut extensible, mut hash_algorithm, mut key, mut key_hash) = (None, None, None, None);
        let mut unknown = Vec::new();
        reader.map("realm claims", MAX_CLAIMS, |reader, label| {
            let offset = reader.offset();
            match label {
                Label::Int(265) => {
                    let name = claims::text(reader, "realm profile")?;
                    if name != REALM_PROFILE {
                        return Err(unknown_profile(&name, &[REALM_PROFILE], offset));
                    }
                    profile = Some(name);
                }
                Label::Int(10) => challenge = Some(claims::exactly(reader, "realm challenge")?),
                Label::Int(44235) => {
                    personalization = Some(claims::exactly(reader, "personalization value")?);
                }
                Label::Int(44236) => hash_algorithm = Some(hash(reader, "realm hash algorithm")?.1),
                Label::Int(44237) => {
                    let bytes = reader.bytes("realm public key", 256)?;
                    key = Some((bytes, reader.offset().saturating_sub(bytes.len())));
                }
                Label::Int(44238) => initial = Some(claims::sized(reader, "initial measurement", &HASHES)?),
                Label::Int(44239) => extensible = Some(extensible_measurements(reader)?),
                Label::Int(44240) => key_hash = Some(hash(reader, "realm public key hash algorithm")?),
                other => {
                    unknown.push(other.to_string());
                    reader.skip("unknown claim")?;
                }
            }
            Ok(())
        })?;
        reader.end("realm claims")?;
        let lacks = |name: &str| malformed(format!("CCA realm token lacks its {name}"), at);
        let (key_bytes, key_offset) = key.ok_or_else(|| lacks("public key"))?;
        let point = match &profile {
            // The profile's key is a COSE_Key (draft-ffm-rats-cca-token-00 §4.8); before it was a bare point.
            Some(_) => cose_key(key_bytes, key_offset)?,
            None => key_bytes.to_vec(),
        };
        let key = Key::ec(Algorithm::Es384, &point)
            .map_err(|what| malformed(format!("realm public key: {what}"), key_offset))?;
        Ok(Self {
            profile,
            challenge: challenge.ok_or_else(|| lacks("challenge"))?,
            personalization: personalization.ok_or_else(|| lacks("personalization value"))?,
            initial: initial.ok_or_else(|| lacks("initial measurement"))?,
            extensible: extensible.ok_or_else(|| lacks("extensible measurements"))?,
            hash_algorithm: hash_algorithm.ok_or_else(|| lacks("hash algorithm"))?,
            key_bytes,
            key,
            key_hash: key_hash.ok_or_else(|| lacks("public key hash algorithm"))?,
            unknown,
        })
    }

    fn measurements(&self) -> BTreeMap<String, Measurement> {
        let rems = self.extensible.iter().enumerate();
        let rems = rems.map(|(index, value)| (format!("rem{index}"), Measurement(value.clone())));
        std::iter::once(("rim".to_owned(), Measurement(self.initial.clone())))
            .chain(rems)
            .collect()
    }
}

fn unknown_profile(name: &str, known: &[&str], offset: usize) -> VerifyError {
    let what = format!("profile `{}` is none of {}", shown(name), known.join(", "));
    malformed(what, offset)
}

/// A hash by its name in IANA's "Hash Function Textual Names".
fn hash(reader: &mut Reader<'_>, what: &str) -> Result<(&'static digest::Algorithm, String), VerifyError> {
    let offset = reader.offset();
    let name = claims::text(reader, what)?;
    let algorithm = match name.as_str() {
        "sha-256" => &digest::SHA256,
        "sha-384" => &digest::SHA384,
        "sha-512" => &digest::SHA512,
        other => {
            let what = format!("{what} `{}` is none of sha-256, sha-384, sha-512", shown(other));
            return Err(malformed(what, offset));
        }
    };
    Ok((algorithm, name))
}

/// Four registers (RMM specification §A7.1.2).
fn extensible_measurements(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, VerifyError> {
    let offset = reader.offset();
    let mut registers = Vec::new();
    let count = reader.array("extensible measurements", 4, |reader, index| {
        registers.push(claims::sized(
            reader,
            &format!("extensible measurement {index}"),
            &HASHES,
        )?);
        Ok(())
    })?;
    if count != 4 {
        return Err(malformed(
            format!("extensible measurements are {count}, not 4"),
            offset,
        ));
    }
    Ok(registers)
}

/// The point of a COSE_Key on P-384 (RFC 9053 §7.1.1).
fn cose_key(bytes: &[u8], base: usize) -> Result<Vec<u8>, VerifyError> {
    let mut reader = Reader::new(bytes, base, Lengths::Definite);
    let (mut kind, mut curve, mut x, mut y) = (None, None, None, None);
    reader.map("realm public key", 8, |reader, label| {
        match label {
            Label::Int(1) => kind = Some(reader.int("type of the realm public key")?),
            Label::Int(-1) => curve = Some(reader.int("curve of the realm public key")?),
            Label::Int(-2) => x = Some(claims::exactly::<48>(reader, "x of the realm public key")?),
            Label::Int(-3) => y = Some(claims::exactly::<48>(reader, "y of the realm public key")?),
            // Its name, algorithm and uses.
            Label::Int(2..=4) => reader.skip("realm public key")?,
            other => {
                let what =
                    format!("realm public key has the parameter {other}, which is none of a public key");
                return Err(malformed(what, reader.offset()));
            }
        }
        Ok(())
    })?;
    reader.end("realm public key")?;
    match (kind, curve, x, y) {
        (Some(2), Some(2), Some(x), Some(y)) => Ok([[4].as_slice(), &x, &y].concat()),
        _ => Err(malformed(
            "realm public key is no COSE_Key of a point on P-384".to_owned(),
            base,
        )),
    }
}
