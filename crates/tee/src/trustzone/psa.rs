//! PSA attestation tokens: profile `tag:psacertified.org,2023:psa#tfm` of RFC 9783, its forerunner
//! `http://arm.com/psa/2.0.0`, and `PSA_IOT_PROFILE_1` (draft-tschofenig-rats-psa-token-05).

use std::collections::BTreeMap;

use nautilus_core::{DeviceIdentity, RawClaims, Revocation, Tcb, VerifyError};

use super::claims::{self, Component, HASHES, Lifecycle, MAX_CLAIMS};
use super::enrolled::{Device, Keys, PUBLISHED_KEY, is_published};
use crate::cose::cbor::{Label, Lengths, Reader, malformed, shown};
use crate::cose::{Algorithm, Protected, Rules, Signed, Tag};

/// What a token says. Unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub profile: &'static str,
    pub nonce: Vec<u8>,
    pub instance_id: [u8; 33],
    pub implementation_id: [u8; 32],
    pub client_id: i32,
    pub lifecycle: (Lifecycle, u16),
    pub boot_seed: Option<Vec<u8>>,
    /// Empty where the token says that nothing was measured, which profile 1 allows.
    pub components: Vec<Component>,
    pub certification_reference: Option<String>,
    pub verification_service: Option<String>,
    /// Claims that the profile does not have. EAT has verifiers ignore them (RFC 9711 §7.2.1 and after).
    pub unknown: Vec<String>,
}

/// RFC 9783 §5: COSE_Sign1 or COSE_Mac0, tagged.
const ENVELOPE: Rules = Rules {
    what: "PSA token",
    tag: Tag::Required,
    algorithms: &[
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::Hmac256,
    ],
    protected: Protected::AlgorithmAndNames,
    max_payload: 16 * 1024,
};

/// Two generations of claims under different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    /// `PSA_IOT_PROFILE_1`.
    One,
    /// Profile 2 and RFC 9783.
    Two,
}

const PROFILE_1: &str = "PSA_IOT_PROFILE_1";
const PROFILES_2: [&str; 2] = ["http://arm.com/psa/2.0.0", "tag:psacertified.org,2023:psa#tfm"];

#[derive(Clone, Copy, Debug)]
enum Claim {
    Profile,
    Nonce,
    InstanceId,
    ImplementationId,
    ClientId,
    Lifecycle,
    BootSeed,
    Components,
    NoComponents,
    CertificationReference,
    VerificationService,
}

impl Claim {
    /// By its key: RFC 9783 §4, and `PSA_IOT_PROFILE_1`.
    const fn of(key: i64) -> Option<(Self, Generation)> {
        Some(match key {
            10 => (Self::Nonce, Generation::Two),
            256 => (Self::InstanceId, Generation::Two),
            265 => (Self::Profile, Generation::Two),
            2394 => (Self::ClientId, Generation::Two),
            2395 => (Self::Lifecycle, Generation::Two),
            2396 => (Self::ImplementationId, Generation::Two),
            2397 => (Self::BootSeed, Generation::Two),
            2398 => (Self::CertificationReference, Generation::Two),
            2399 => (Self::Components, Generation::Two),
            2400 => (Self::VerificationService, Generation::Two),
            -75000 => (Self::Profile, Generation::One),
            -75001 => (Self::ClientId, Generation::One),
            -75002 => (Self::Lifecycle, Generation::One),
            -75003 => (Self::ImplementationId, Generation::One),
            -75004 => (Self::BootSeed, Generation::One),
            -75005 => (Self::CertificationReference, Generation::One),
            -75006 => (Self::Components, Generation::One),
            -75007 => (Self::NoComponents, Generation::One),
            -75008 => (Self::Nonce, Generation::One),
            -75009 => (Self::InstanceId, Generation::One),
            -75010 => (Self::VerificationService, Generation::One),
            _ => return None,
        })
    }
}

/// Whether bytes look like a PSA token: a tagged COSE_Sign1 or COSE_Mac0 of a map with an integer as its first key.
pub(crate) fn recognises(evidence: &[u8]) -> bool {
    let (Some(0xd1 | 0xd2), Some(0x84)) = (evidence.first(), evidence.get(1)) else {
        return false;
    };
    let mut reader = Reader::new(evidence.get(2..).unwrap_or_default(), 2, Lengths::Definite);
    if reader.bytes("protected header", usize::MAX).is_err() || reader.skip("unprotected header").is_err() {
        return false;
    }
    let Ok(payload) = reader.bytes("payload", usize::MAX) else {
        return false;
    };
    let first_key = match payload {
        [0xa1..=0xb7, rest @ ..] | [0xb8, _, rest @ ..] => rest.first(),
        _ => None,
    };
    first_key.is_some_and(|key| *key >> 5 <= 1)
}

/// Reads a token. Its signature is not verified.
///
/// # Errors
/// The first thing that is not as the profiles have it.
pub(crate) fn read(evidence: &[u8]) -> Result<(Signed<'_>, Token), VerifyError> {
    let signed = Signed::read(evidence, 0, &ENVELOPE)?;
    let token = Token::read(&signed)?;
    Ok((signed, token))
}

/// Verifies a token by an enrolled key.
///
/// # Errors
/// If the token is malformed, its key not enrolled or its signature not that key's.
pub(crate) fn verify(evidence: &[u8], keys: &Keys) -> Result<RawClaims, VerifyError> {
    let (signed, token) = read(evidence)?;
    let device = Device {
        instance_id: &token.instance_id,
        implementation_id: &token.implementation_id,
    };
    let published = is_published(keys.signer(&signed, device, ENVELOPE.what)?);
    let mut attributes = token.attributes();
    attributes.insert("algorithm".to_owned(), signed.algorithm.name().to_owned());
    if published {
        attributes.insert("key".to_owned(), PUBLISHED_KEY.to_owned());
    }
    let mut measurements = BTreeMap::new();
    claims::describe(&token.components, &mut measurements, &mut attributes);
    Ok(RawClaims {
        report_data: token.nonce,
        device: DeviceIdentity {
            scheme: "psa-instance",
            id: hex::encode(token.instance_id),
            family: Some(hex::encode(token.implementation_id)),
        },
        debug: published || token.lifecycle.0 != Lifecycle::Secured,
        tcb: Tcb::default(),
        measurements,
        attributes,
        unsigned: Vec::new(),
        revocation: Revocation::NotApplicable {
            because: "the device's key is enrolled by the relying party, who takes it back by removing it",
        },
        made_at: None,
        endorsed_until: None,
    })
}

#[derive(Default)]
struct Fields {
    generation: Option<Generation>,
    profile: Option<(String, usize)>,
    nonce: Option<Vec<u8>>,
    instance_id: Option<[u8; 33]>,
    implementation_id: Option<[u8; 32]>,
    client_id: Option<i32>,
    lifecycle: Option<(Lifecycle, u16)>,
    boot_seed: Option<Vec<u8>>,
    components: Option<Vec<Component>>,
    no_components: bool,
    certification_reference: Option<String>,
    verification_service: Option<String>,
    unknown: Vec<String>,
}

impl Token {
    fn read(signed: &Signed<'_>) -> Result<Self, VerifyError> {
        let offset = signed.payload_offset;
        let mut reader = Reader::new(signed.payload, offset, Lengths::Definite);
        let mut fields = Fields::default();
        reader.map("claims", MAX_CLAIMS, |reader, label| fields.read(reader, label))?;
        reader.end("claims")?;
        let lacks = |name: &str| malformed(format!("PSA token lacks its {name}"), offset);
        let generation = fields.generation.ok_or_else(|| lacks("claims"))?;
        let profile = profile(generation, fields.profile.as_ref()).ok_or_else(|| lacks("profile"))??;
        // What profile 1 asks for, later ones leave to the device.
        if generation == Generation::One && fields.boot_seed.is_none() {
            return Err(lacks("boot seed"));
        }
        let components = match (fields.components, fields.no_components) {
            (Some(components), false) => components,
            (None, true) => Vec::new(),
            (None, false) => return Err(lacks("software components")),
            (Some(_), true) => {
                let what = "PSA token has software components, and says that none was measured";
                return Err(malformed(what.to_owned(), offset));
            }
        };
        Ok(Self {
            profile,
            nonce: fields.nonce.ok_or_else(|| lacks("nonce"))?,
            instance_id: fields.instance_id.ok_or_else(|| lacks("instance ID"))?,
            implementation_id: fields
                .implementation_id
                .ok_or_else(|| lacks("implementation ID"))?,
            client_id: fields.client_id.ok_or_else(|| lacks("client ID"))?,
            lifecycle: fields.lifecycle.ok_or_else(|| lacks("lifecycle"))?,
            boot_seed: fields.boot_seed,
            components,
            certification_reference: fields.certification_reference,
            verification_service: fields.verification_service,
            unknown: fields.unknown,
        })
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let (state, value) = self.lifecycle;
        let mut attributes = BTreeMap::from([
            ("profile".to_owned(), self.profile.to_owned()),
            ("instance_id".to_owned(), hex::encode(self.instance_id)),
            (
                "implementation_id".to_owned(),
                hex::encode(self.implementation_id),
            ),
            ("client_id".to_owned(), self.client_id.to_string()),
            ("lifecycle".to_owned(), format!("{} ({value:#06x})", state.name())),
        ]);
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                attributes.insert(name.to_owned(), value);
            }
        };
        say("boot_seed", self.boot_seed.as_ref().map(hex::encode));
        say("certification_reference", self.certification_reference.clone());
        say("verification_service", self.verification_service.clone());
        say(
            "unknown_claims",
            (!self.unknown.is_empty()).then(|| self.unknown.join(", ")),
        );
        attributes
    }
}

/// The profile's name; none where it is missing and must not be. Profile 1 may leave its name out.
fn profile(
    generation: Generation,
    claim: Option<&(String, usize)>,
) -> Option<Result<&'static str, VerifyError>> {
    let known: &[&'static str] = match generation {
        Generation::One => &[PROFILE_1],
        Generation::Two => &PROFILES_2,
    };
    let Some((name, offset)) = claim else {
        return (generation == Generation::One).then_some(Ok(PROFILE_1));
    };
    let found = known.iter().find(|known| *known == name);
    Some(found.copied().ok_or_else(|| {
        let what = format!("profile `{}` is none of {}", shown(name), known.join(", "));
        malformed(what, *offset)
    }))
}

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>, label: Label<'_>) -> Result<(), VerifyError> {
        let offset = reader.offset();
        let known = match label {
            Label::Int(key) => Claim::of(key),
            Label::Text(_) => None,
        };
        let Some((claim, generation)) = known else {
            self.unknown.push(label.to_string());
            return reader.skip("unknown claim");
        };
        if self.generation.is_some_and(|earlier| earlier != generation) {
            return Err(malformed("claims are of two profiles".to_owned(), offset));
        }
        self.generation = Some(generation);
        match claim {
            Claim::Profile => self.profile = Some((claims::text(reader, "profile")?, offset)),
            Claim::Nonce => self.nonce = Some(claims::sized(reader, "nonce", &HASHES)?),
            Claim::InstanceId => self.instance_id = Some(claims::instance_id(reader)?),
            Claim::ImplementationId => {
                self.implementation_id = Some(claims::exactly(reader, "implementation ID")?);
            }
            Claim::ClientId => {
                let id = i32::try_from(reader.int("client ID")?);
                let id = id.map_err(|_| malformed("client ID exceeds 32 bits".to_owned(), offset))?;
                self.client_id = Some(id);
            }
            Claim::Lifecycle => self.lifecycle = Some(Lifecycle::read(reader)?),
            Claim::BootSeed => self.boot_seed = Some(boot_seed(reader, generation)?),
            Claim::Components => self.components = Some(claims::components(reader)?),
            Claim::NoComponents => {
                if reader.uint("no software measurements")? != 1 {
                    return Err(malformed("no software measurements is not 1".to_owned(), offset));
                }
                self.no_components = true;
            }
            Claim::CertificationReference => {
                let reference = claims::text(reader, "certification reference")?;
                if !is_reference(&reference, generation) {
                    let what = format!(
                        "certification reference `{}` is no EAN-13 with five digits of version",
                        shown(&reference)
                    );
                    return Err(malformed(what, offset));
                }
                self.certification_reference = Some(reference);
            }
            Claim::VerificationService => {
                self.verification_service = Some(claims::text(reader, "verification service indicator")?);
            }
        }
        Ok(())
    }
}

/// RFC 9783 §4.3.2: 8 to 32 bytes; profile 1: 32.
fn boot_seed(reader: &mut Reader<'_>, generation: Generation) -> Result<Vec<u8>, VerifyError> {
    let offset = reader.offset();
    let seed = reader.bytes("boot seed", usize::MAX)?;
    let allowed = match generation {
        Generation::One => 32..=32,
        Generation::Two => 8..=32,
    };
    if !allowed.contains(&seed.len()) {
        let (least, most) = (allowed.start(), allowed.end());
        return Err(malformed(
            format!("boot seed has {} bytes, not {least} to {most}", seed.len()),
            offset,
        ));
    }
    Ok(seed.to_vec())
}

/// RFC 9783 §4.2.3: thirteen digits, a hyphen, five digits. Profile 1 takes the thirteen alone too, as "hardware
/// version".
fn is_reference(reference: &str, generation: Generation) -> bool {
    let digits =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match reference.split_once('-') {
        Some((number, version)) => digits(number, 13) && digits(version, 5),
        None => generation == Generation::One && digits(reference, 13),
    }
}
