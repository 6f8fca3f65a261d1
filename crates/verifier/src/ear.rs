//! Appraisals as signed attestation results (EAR): a JWT by the verifier's key, for relying parties that know
//! nothing of Nautilus.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_core::{Appraisal, Ear, PublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::key::VerifierKey;

/// The build that an EAR names.
const BUILD: &str = concat!("nautilus-verifier ", env!("CARGO_PKG_VERSION"));
/// Who made it.
const DEVELOPER: &str = env!("CARGO_PKG_REPOSITORY");

/// The appraisal as an EAR, signed: a JWT in JWS compact serialisation (RFC 7515 §3.1) with EdDSA (RFC 8037).
///
/// What is signed starts with base64url text, and every other message that the key signs with `NAUTILUS` and a byte
/// that base64url does not have: neither can pass for the other.
pub fn signed_ear(key: &VerifierKey, appraisal: &Appraisal) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": key_id(&key.public()) });
    let claims = Ear::of(appraisal, BUILD, DEVELOPER).to_json();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = key.sign_bytes(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.0))
}

/// The key with which EARs are verified, as a JSON Web Key Set (RFC 7517 §5) with one Ed25519 key (RFC 8037 §2).
pub fn key_set(key: &PublicKey) -> Value {
    json!({ "keys": [{
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": key_id(key),
        "x": URL_SAFE_NO_PAD.encode(key.0),
    }] })
}

/// The key's JWK thumbprint (RFC 7638).
fn key_id(key: &PublicKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.0);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 §A.2 and §A.3.
    #[test]
    fn a_key_has_the_id_that_its_rfc_gives() {
        let mut key = [0; 32];
        URL_SAFE_NO_PAD
            .decode_slice("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", &mut key)
            .unwrap();
        let set = key_set(&PublicKey(key));
        assert_eq!(
            set["keys"][0]["kid"],
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        assert_eq!(set["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }
}
