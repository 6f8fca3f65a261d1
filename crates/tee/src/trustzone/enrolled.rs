//! The keys of devices that the relying party vouches for, and the files in which they come.

use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors, VerifyError};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::cose::{Key, Signed, jwk, spki};

/// The enrolled keys of one role.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    role: AnchorRole,
    keys: Vec<Enrolled>,
}

/// A key, and the device that it belongs to where the anchor says so.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    key: Key,
    instance_id: Option<Vec<u8>>,
    implementation_id: Option<Vec<u8>>,
}

/// The device that a token says it comes from. Unverified until a key of that device verifies the token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device<'a> {
    /// Instance ID, 33 bytes.
    pub instance_id: &'a [u8],
    /// Implementation ID, 32 bytes.
    pub implementation_id: &'a [u8],
}

/// Public keys whose private halves are published, and what they come from. Whoever reads those can sign.
const PUBLISHED_POINTS: [&str; 4] = [
    // TF-M, the initial attestation key of its dummy provisioning.
    "0479eba90e8bf450a6751576ad4599b07adf938da3bb0bd17d0036ed49a2d0fc3fbfcdfa8956b568bfdb8673e648d8b58d929955b14a\
     26c3080f34117d971d6864",
    // RFC 7517 appendix A.2, the key of Veraison's examples.
    "0430a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3ee04b65e92456d9888b52b379bdfbd51ee869ef1f0f\
     c65b6659695b6cce081723",
    // TF-M and TF-A, the CCA platform attestation key of their reference platforms.
    "04212867c52e2b9508b0a420a90560f394d2dfaa21bdd7514ff1a901afe7e1f78bb11d4e66f8a8a38afa76af6a31c4de8c84ce2dafc9\
     964258b53fad718774f45620d111b176e8318e1187db0235a318d37ba597fee80e0e4c762a12bcb3ea6ed4",
    // TF-A, the realm attestation key of its reference platforms.
    "0476f988091be585ed41801aecfab858548c63057e16b0e676120bbd0d2f9c29e056c5d41a0130eb9c21517899dc23146b28e1b062bd\
     3ea4b315fd219f1cbb528cb6e74ca49be16773734f61a1ca61031b2bbf3d918f2f94ffc4228e50919544ae",
];
/// SHA-256 of the secret of TF-M's dummy provisioning for symmetric attestation.
const PUBLISHED_SECRET: &str = "fc15d5755428eb71657cdc8f004f9a82684c5d0f85363e203014c67c7ebc8ba9";
/// What such a key is called in the attributes.
pub(crate) const PUBLISHED_KEY: &str = "published test key";

/// Whether anybody can sign with this key, for its private half is published.
pub(crate) fn is_published(key: &Key) -> bool {
    match key {
        Key::Ec { point, .. } => PUBLISHED_POINTS.contains(&hex::encode(point).as_str()),
        Key::Symmetric { digest, .. } => hex::encode(digest) == PUBLISHED_SECRET,
    }
}

/// Most keys in one anchor.
const MAX_KEYS: usize = 1024;

impl Keys {
    /// The keys of a role. An anchor is a public key or certificate in PEM, a public key in DER, or JSON: a JWK, a
    /// JWK set, or a list whose entries are JWKs or name the device beside the key.
    pub fn read(anchors: &TrustAnchors, role: AnchorRole) -> Result<Self, TrustAnchorError> {
        let mut keys = Vec::new();
        for anchor in anchors.of_role(role) {
            let found = keys_in(anchor).map_err(|what| anchor.refused(what))?;
            if found.is_empty() || found.len() > MAX_KEYS {
                return Err(anchor.refused(format!("it holds {} keys, not 1 to {MAX_KEYS}", found.len())));
            }
            keys.extend(found);
        }
        Ok(Self { role, keys })
    }

    /// The enrolled key that signed. A key that names a device signs for that device alone.
    pub fn signer(&self, signed: &Signed<'_>, device: Device<'_>, what: &str) -> Result<&Key, VerifyError> {
        let mut candidates = self
            .keys
            .iter()
            .filter(|enrolled| enrolled.key.algorithm() == signed.algorithm && enrolled.is_of(device))
            .peekable();
        if candidates.peek().is_none() {
            let (role, instance) = (self.role, hex::encode(device.instance_id));
            let algorithm = signed.algorithm.name();
            return Err(VerifyError::KeyNotEnrolled {
                what: format!(
                    "no key for {algorithm} is known of instance {instance}: give the device's key as trust anchor \
                     `{role}`"
                ),
            });
        }
        if let Some(enrolled) = candidates.find(|enrolled| signed.is_by(&enrolled.key)) {
            return Ok(&enrolled.key);
        }
        let what = if signed.is_unkeyed() {
            format!(
                "{what}: its code is a plain digest, as TF-M's short-circuit test mode makes it without a key"
            )
        } else {
            format!("{what}, by none of the keys enrolled for its instance")
        };
        Err(VerifyError::SignatureInvalid { what })
    }
}

impl Enrolled {
    fn is_of(&self, device: Device<'_>) -> bool {
        let named = |name: &Option<Vec<u8>>, id: &[u8]| name.as_ref().is_none_or(|name| name == id);
        named(&self.instance_id, device.instance_id)
            && named(&self.implementation_id, device.implementation_id)
    }
}

const WHAT_SERVES: &str = "expected a public key in PEM or DER, a JWK, or a JSON list of keys";

fn keys_in(anchor: &TrustAnchor) -> Result<Vec<Enrolled>, String> {
    let bytes = anchor.bytes.trim_ascii();
    let any_device = |key| Enrolled {
        key,
        instance_id: None,
        implementation_id: None,
    };
    match bytes.first() {
        Some(b'{' | b'[') => {
            let value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
            keys_in_json(&value)
        }
        Some(b'-') => {
            let blocks = pem::parse_many(bytes).map_err(|error| format!("it is not PEM: {error}"))?;
            blocks
                .iter()
                .map(|block| match block.tag() {
                    "PUBLIC KEY" => spki(block.contents()).map(any_device),
                    "CERTIFICATE" => key_certified(block.contents()).map(any_device),
                    other => Err(format!(
                        "it is a PEM block `{}`: {WHAT_SERVES}",
                        other.escape_default()
                    )),
                })
                .collect()
        }
        Some(0x30) => Ok(vec![any_device(spki(&anchor.bytes)?)]),
        _ => Err(format!("it has an unknown format: {WHAT_SERVES}")),
    }
}

/// The key that a certificate is for. The certificate vouches for nothing: the relying party does.
fn key_certified(der: &[u8]) -> Result<Key, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let info = certificate.tbs_certificate().subject_public_key_info().to_der();
    spki(&info.map_err(|error| error.to_string())?)
}

/// An entry that names its device, as Veraison's tools write them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    pkey: serde_json::Value,
    instance_id: Option<String>,
    implementation_id: Option<String>,
}

fn keys_in_json(value: &serde_json::Value) -> Result<Vec<Enrolled>, String> {
    match value {
        serde_json::Value::Array(entries) => entries.iter().map(entry).collect(),
        serde_json::Value::Object(fields) => match fields.get("keys") {
            Some(serde_json::Value::Array(entries)) => entries.iter().map(entry).collect(),
            Some(_) => Err("`keys` of the JWK set is no list".to_owned()),
            None => Ok(vec![entry(value)?]),
        },
        _ => Err(WHAT_SERVES.to_owned()),
    }
}

fn entry(value: &serde_json::Value) -> Result<Enrolled, String> {
    if value.get("kty").is_some() {
        return Ok(Enrolled {
            key: jwk(value)?,
            instance_id: None,
            implementation_id: None,
        });
    }
    let entry = Entry::deserialize(value).map_err(|error| format!("an entry does not read: {error}"))?;
    let id = |name: &str, text: Option<&String>, length: usize| {
        let Some(text) = text else { return Ok(None) };
        match hex::decode(text) {
            Ok(id) if id.len() == length => Ok(Some(id)),
            _ => Err(format!("`{name}` is not {length} bytes in hex")),
        }
    };
    Ok(Enrolled {
        key: jwk(&entry.pkey)?,
        instance_id: id("instance-id", entry.instance_id.as_ref(), 33)?,
        implementation_id: id("implementation-id", entry.implementation_id.as_ref(), 32)?,
    })
}
