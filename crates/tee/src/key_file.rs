//! The forms in which people keep the public keys that they enrol: PEM, DER, JSON Web Keys, hex.

use nautilus_core::{TrustAnchor, TrustAnchorError, TrustAnchors};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// One key of a file. Nothing says yet that it is a key of the right kind.
#[derive(Debug)]
pub(crate) enum KeyForm {
    /// `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1).
    Spki(Vec<u8>),
    /// `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
    Pkcs1(Vec<u8>),
    /// A JSON object.
    Json(Box<JsonKey>),
    /// Bytes that were written in hex.
    Raw(Vec<u8>),
}

/// A JSON Web Key (RFC 7517), or an object that holds a key's parts in hex. Other fields are of no concern.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JsonKey {
    pub(crate) kty: Option<String>,
    pub(crate) crv: Option<String>,
    pub(crate) x: Option<String>,
    pub(crate) n: Option<String>,
    pub(crate) e: Option<String>,
    pub(crate) public: Option<String>,
    pub(crate) n_hex: Option<String>,
    pub(crate) e_hex: Option<String>,
    d: Option<IgnoredAny>,
    keys: Option<Vec<JsonKey>>,
}

/// Most keys that one file may hold.
const MAX_KEYS: usize = 4096;

/// Reads an anchor's file, of one key or of several. `serves` names the forms that its role takes.
///
/// # Errors
/// If it holds no key, a private one, or something else than keys.
pub(crate) fn read(anchor: &TrustAnchor, serves: &str) -> Result<Vec<KeyForm>, TrustAnchorError> {
    let bytes = anchor.bytes.as_slice();
    if bytes.len() > TrustAnchors::MAX_SIZE {
        let limit = TrustAnchors::MAX_SIZE;
        return Err(anchor.refused(format!("it is larger than the {limit} bytes that are read")));
    }
    // DER starts with 0x30, which is an ASCII `0`: only the rest tells it from hex.
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let keys = if bytes.iter().all(is_text) {
        let text = str::from_utf8(bytes).unwrap_or_default().trim();
        match text.as_bytes() {
            [] => Vec::new(),
            [b'{' | b'[', ..] => json(anchor, text)?,
            _ if text.contains("-----") => pem(anchor, text, serves)?,
            _ => {
                let raw = hex::decode(text).map_err(|_| anchor.refused(format!("it is none of {serves}")))?;
                vec![KeyForm::Raw(raw)]
            }
        }
    } else if bytes.first() == Some(&0x30) {
        vec![KeyForm::Spki(bytes.to_vec())]
    } else if bytes.windows(5).any(|window| window == b"-----") {
        // Text around the blocks may be in any alphabet.
        pem(anchor, &String::from_utf8_lossy(bytes), serves)?
    } else {
        return Err(anchor.refused(format!("it is none of {serves}")));
    };
    match keys.len() {
        0 => Err(anchor.refused(format!("it holds no key: {serves} would serve"))),
        1..=MAX_KEYS => Ok(keys),
        count => Err(anchor.refused(format!("it holds {count} keys, more than the {MAX_KEYS} allowed"))),
    }
}

const PRIVATE: &str = "it holds a private key, which must not leave its device: enrol the public key";

fn pem(anchor: &TrustAnchor, text: &str, serves: &str) -> Result<Vec<KeyForm>, TrustAnchorError> {
    let blocks = pem::parse_many(text).map_err(|error| anchor.refused(format!("it is no PEM: {error}")))?;
    let key = |block: pem::Pem| match block.tag() {
        "PUBLIC KEY" => Ok(KeyForm::Spki(block.into_contents())),
        "RSA PUBLIC KEY" => Ok(KeyForm::Pkcs1(block.into_contents())),
        tag if tag.contains("PRIVATE") => Err(anchor.refused(PRIVATE)),
        tag => Err(anchor.refused(format!("it holds a PEM block `{tag}`: {serves} would serve"))),
    };
    blocks.into_iter().map(key).collect()
}

fn json(anchor: &TrustAnchor, text: &str) -> Result<Vec<KeyForm>, TrustAnchorError> {
    let no_json = |error: serde_json::Error| anchor.refused(format!("it is no JSON key: {error}"));
    let keys = if text.starts_with('[') {
        serde_json::from_str::<Vec<JsonKey>>(text).map_err(no_json)?
    } else {
        let mut object: JsonKey = serde_json::from_str(text).map_err(no_json)?;
        match object.keys.take() {
            Some(set) => set,
            None => vec![object],
        }
    };
    if keys.iter().any(|key| key.keys.is_some()) {
        return Err(anchor.refused("it holds a set of keys inside of another"));
    }
    if keys.iter().any(|key| key.d.is_some()) {
        return Err(anchor.refused(PRIVATE));
    }
    Ok(keys.into_iter().map(|key| KeyForm::Json(Box::new(key))).collect())
}

#[cfg(test)]
mod tests {
    use nautilus_core::AnchorRole;

    use super::*;

    fn anchor(bytes: &[u8]) -> TrustAnchor {
        TrustAnchor {
            role: AnchorRole::OpteeKey,
            bytes: bytes.to_vec(),
            origin: "a test".to_owned(),
        }
    }

    fn refusal(bytes: &[u8]) -> String {
        read(&anchor(bytes), "PEM and hex").unwrap_err().what
    }

    #[test]
    fn every_form_is_told_from_the_others() {
        let one = |bytes: &[u8]| read(&anchor(bytes), "any").unwrap().remove(0);
        assert!(matches!(one(b" 30ff \n"), KeyForm::Raw(raw) if raw == [0x30, 0xff]));
        assert!(matches!(one(&[0x30, 0x01, 0xff]), KeyForm::Spki(der) if der == [0x30, 0x01, 0xff]));
        let pem = |tag: &str| pem::encode(&pem::Pem::new(tag, [1, 2]));
        assert!(matches!(one(pem("PUBLIC KEY").as_bytes()), KeyForm::Spki(der) if der == [1, 2]));
        assert!(matches!(one(pem("RSA PUBLIC KEY").as_bytes()), KeyForm::Pkcs1(der) if der == [1, 2]));
        for title in ["", "key:\n", "Schlüssel:\n"] {
            let both = format!("{title}{}{}", pem("PUBLIC KEY"), pem("PUBLIC KEY"));
            assert_eq!(read(&anchor(both.as_bytes()), "any").unwrap().len(), 2, "{title}");
        }
        for json in [
            r#"{"kty":"RSA","use":"sig"}"#,
            r#"[{"kty":"RSA"}]"#,
            r#"{"keys":[{"kty":"RSA"}]}"#,
        ] {
            assert!(
                matches!(one(json.as_bytes()), KeyForm::Json(key) if key.kty.as_deref() == Some("RSA")),
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_by_name() {
        let private = pem::encode(&pem::Pem::new("EC PRIVATE KEY", [1]));
        assert_eq!(refusal(private.as_bytes()), PRIVATE);
        assert_eq!(refusal(br#"{"kty":"RSA","d":"AQ"}"#), PRIVATE);
        assert_eq!(refusal(b""), "it holds no key: PEM and hex would serve");
        assert_eq!(refusal(b"[]"), "it holds no key: PEM and hex would serve");
        assert_eq!(refusal(b"no hex"), "it is none of PEM and hex");
        assert_eq!(refusal(&[0xff, 0x00]), "it is none of PEM and hex");
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", [1]));
        assert_eq!(
            refusal(certificate.as_bytes()),
            "it holds a PEM block `CERTIFICATE`: PEM and hex would serve"
        );
        let nested = br#"{"keys":[{"keys":[]}]}"#;
        assert_eq!(refusal(nested), "it holds a set of keys inside of another");
        let twice = br#"{"kty":"RSA","kty":"RSA"}"#;
        assert!(refusal(twice).starts_with("it is no JSON key: duplicate field `kty`"));
        let many = format!("[{}{{}}]", "{},".repeat(MAX_KEYS));
        assert_eq!(
            refusal(many.as_bytes()),
            "it holds 4097 keys, more than the 4096 allowed"
        );
        assert_eq!(
            refusal(&vec![b'0'; TrustAnchors::MAX_SIZE + 1]),
            "it is larger than the 262144 bytes that are read"
        );
    }
}
