//! The keys of devices that the relying party vouches for.

use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors, VerifyError};

use crate::cose::{Key, Signed, jwk, spki};
use crate::key_file::{self, KeyForm};

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

/// Most keys in one anchor: a token that does not say which signed it is tried with each.
const MAX_KEYS: usize = 1024;
/// Most keys that are tried on one token.
const MAX_TRIED: usize = 16;

impl Keys {
    /// The keys of a role. An anchor is a public key or a certificate in PEM or DER, or JSON: a JWK, a JWK set, or a
    /// list whose entries are JWKs or name the device beside the key.
    pub fn read(anchors: &TrustAnchors, role: AnchorRole) -> Result<Self, TrustAnchorError> {
        let mut keys = Vec::new();
        for anchor in anchors.of_role(role) {
            keys.extend(keys_in(anchor)?);
        }
        Ok(Self { role, keys })
    }

    /// The enrolled key that signed. A key that names a device signs for that device alone.
    pub fn signer(&self, signed: &Signed<'_>, device: Device<'_>, what: &str) -> Result<&Key, VerifyError> {
        let candidates: Vec<&Enrolled> = self
            .keys
            .iter()
            .filter(|enrolled| enrolled.key.algorithm() == signed.algorithm && enrolled.is_of(device))
            .collect();
        if candidates.is_empty() {
            let (role, instance) = (self.role, hex::encode(device.instance_id));
            let algorithm = signed.algorithm.name();
            return Err(VerifyError::KeyNotEnrolled {
                what: format!(
                    "no key for {algorithm} is known of instance {instance}: give the device's key as trust anchor \
                     `{role}`"
                ),
            });
        }
        if candidates.len() > MAX_TRIED {
            return Err(VerifyError::Unsupported {
                what: format!(
                    "{what}, which {} enrolled keys could have signed where at most {MAX_TRIED} are tried: say in trust \
                     anchor `{}` which `instance-id` each is for",
                    candidates.len(),
                    self.role
                ),
            });
        }
        if let Some(enrolled) = candidates.iter().find(|enrolled| signed.is_by(&enrolled.key)) {
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

const SERVES: &str = "expected a public key in PEM or DER, a JWK, or a JSON list of keys";

fn keys_in(anchor: &TrustAnchor) -> Result<Vec<Enrolled>, TrustAnchorError> {
    let forms = key_file::read(anchor, SERVES)?;
    if forms.len() > MAX_KEYS {
        let count = forms.len();
        return Err(anchor.refused(format!("it holds {count} keys, not 1 to {MAX_KEYS}")));
    }
    let keys: Result<_, String> = forms.into_iter().map(Enrolled::of).collect();
    keys.map_err(|what| anchor.refused(what))
}

impl Enrolled {
    fn of(form: KeyForm) -> Result<Self, String> {
        let key = match &form {
            KeyForm::Spki(der) => spki(der)?,
            KeyForm::Certificate(der) => spki(&key_file::spki_of_certificate(der)?)?,
            KeyForm::Jwk(key) => jwk(key)?,
            KeyForm::OfDevice(of) => jwk(&of.key)?,
            KeyForm::Pkcs1(_) | KeyForm::RsaHex(_) | KeyForm::Raw(_) => {
                return Err(format!("it holds `{}`: {SERVES}", form.name()));
            }
        };
        let (instance_id, implementation_id) = match form {
            KeyForm::OfDevice(of) => (of.instance_id, of.implementation_id),
            _ => (None, None),
        };
        Ok(Self {
            key,
            instance_id,
            implementation_id,
        })
    }

    fn is_of(&self, device: Device<'_>) -> bool {
        let named = |name: &Option<Vec<u8>>, id: &[u8]| name.as_ref().is_none_or(|name| name == id);
        named(&self.instance_id, device.instance_id)
            && named(&self.implementation_id, device.implementation_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Keys, TrustAnchorError> {
        let anchor = TrustAnchor {
            role: AnchorRole::PsaKey,
            bytes: bytes.to_vec(),
            origin: "a test".to_owned(),
        };
        Keys::read(&TrustAnchors(vec![anchor]), AnchorRole::PsaKey)
    }

    #[test]
    fn forms_that_serve_for_other_roles_do_not_serve() {
        let secret = "A".repeat(43);
        let pkcs1 = pem::encode(&pem::Pem::new("RSA PUBLIC KEY", [1]));
        for (bytes, says) in [
            (
                b"00ff".as_slice(),
                "it holds `key in hex`: expected a public key in PEM",
            ),
            (br#"{"public":"00"}"#, "it holds `key in hex`: expected"),
            (
                br#"{"n_hex":"c5","e_hex":"03"}"#,
                "it holds `RSA key in hex`: expected",
            ),
            (pkcs1.as_bytes(), "it holds `RSA PUBLIC KEY`: expected"),
            (br#"{"kty":"OKP"}"#, "the JWK is of another type than EC or oct"),
            // Which of two secrets counts would depend on who reads.
            (
                format!(r#"{{"kty":"oct","k":"{secret}","k":"{secret}"}}"#).as_bytes(),
                "it is no JSON key: duplicate field `k`",
            ),
        ] {
            let what = read(bytes).unwrap_err().what;
            assert!(what.starts_with(says), "{what}");
        }
        let many = |count| {
            format!(
                "[{}]",
                vec![format!(r#"{{"kty":"oct","k":"{secret}"}}"#); count].join(",")
            )
        };
        assert_eq!(read(many(MAX_KEYS).as_bytes()).unwrap().keys.len(), MAX_KEYS);
        assert_eq!(
            read(many(MAX_KEYS + 1).as_bytes()).unwrap_err().what,
            "it holds 1025 keys, not 1 to 1024"
        );
    }

    #[test]
    fn a_certificate_serves_in_der_as_in_pem() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
        for bytes in [certificate.der().to_vec(), certificate.pem().into_bytes()] {
            let keys = read(&bytes).unwrap().keys;
            let [
                Enrolled {
                    key: Key::Ec { point, .. },
                    ..
                },
            ] = keys.as_slice()
            else {
                panic!("{keys:?}")
            };
            assert_eq!(point, pair.public_key_raw());
        }
    }
}
