//! Appraisals as signed attestation results: what a relying party verifies with standard tools.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nautilus_core::{
    Appraisal, AppraisalVerdict, Binding, Endorsement, EndorsementKind, Endorsements, Evidence, Policy,
    PublicKey, Signature, TeeKind, TrustAnchors, UnixMillis, pinned_policy, verify_ed25519,
};
use nautilus_verifier::{VerifierKey, key_set, signed_ear};
use serde_json::Value;

/// Set to 1, the golden token is written instead of compared.
const BLESS: &str = "NAUTILUS_BLESS";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

/// A key that is the same in every run.
fn key() -> VerifierKey {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    std::io::Write::write_all(&mut file, "33".repeat(32).as_bytes()).unwrap();
    VerifierKey::open_or_create(&path).unwrap()
}

/// A real quote, verified and appraised by a policy that was made of it.
fn appraisal() -> Appraisal {
    let directory = vectors().join("sgx/sgx-v3-prod");
    let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
    let now = UnixMillis::from_secs(meta["labels"][0]["now"].as_u64().unwrap());
    let collateral = directory.join(meta["labels"][0]["collateral"].as_str().unwrap());
    let endorsements = Endorsements(vec![Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes: fs::read(&collateral).unwrap(),
        origin: "collateral".to_owned(),
    }]);
    let evidence = Evidence {
        tee: TeeKind::Sgx,
        bytes: fs::read(directory.join("quote.bin")).unwrap(),
        user_data: None,
        event_log: None,
    };
    let set = nautilus_tee::production(&TrustAnchors::default()).unwrap();
    let unbound = Binding::Unchecked { because: "a test" };
    let claims = set.verify(&evidence, unbound, &endorsements, now).unwrap();
    let signed = claims.report_data.0.clone();
    let claims = set
        .verify(&evidence, Binding::ReportData(&signed), &endorsements, now)
        .unwrap();
    let policy = Policy::from_yaml(&pinned_policy("pinned", &claims)).unwrap();
    policy.appraise(claims, now)
}

/// The parts of a compact JWS, decoded.
fn parts(token: &str) -> (Value, Value, Vec<u8>) {
    let parts: Vec<_> = token.split('.').map(base64url).collect();
    let [header, claims, signature] = <[Vec<u8>; 3]>::try_from(parts).unwrap();
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    (json(&header), json(&claims), signature)
}

/// Base64url without padding (RFC 4648 §5), by hand: the code under test does not check itself.
fn base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes() {
        let value = ALPHABET.iter().position(|each| *each == digit).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}

/// Whether a token is signed by the key of a key set.
fn is_signed(token: &str, set: &Value) -> bool {
    let jwk = &set["keys"][0];
    let x = base64url(jwk["x"].as_str().unwrap());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = base64url(signature);
    verify_ed25519(
        &PublicKey(x.try_into().unwrap()),
        signed.as_bytes(),
        &Signature(signature.try_into().unwrap()),
    )
}

#[test]
fn a_policy_made_of_evidence_accepts_it() {
    let appraisal = appraisal();
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Accepted, "{appraisal:#?}");
}

#[test]
fn a_relying_party_verifies_the_result_with_the_published_key() {
    let (key, appraisal) = (key(), appraisal());
    let token = signed_ear(&key, &appraisal);
    let set = key_set(&key.public());
    assert!(is_signed(&token, &set));
    let (header, claims, _) = parts(&token);
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], set["keys"][0]["kid"]);
    assert_eq!(claims["eat_profile"], "tag:ietf.org,2026:rats/ear#04");
    assert_eq!(claims["iat"], appraisal.appraised_at().as_secs());
    assert_eq!(claims["exp"], appraisal.expires_at().as_secs());
    let submod = &claims["submods"]["sgx"];
    let measured = &submod["ear_attester_claims"]["measurements"]["mrenclave"];
    assert_eq!(
        measured.as_str().unwrap(),
        appraisal.claims().measurements["mrenclave"].to_string()
    );
    assert_eq!(
        submod["ear_appraisal_policy_ids"][0],
        format!("pinned#{}", appraisal.policy_id())
    );
    let golden = vectors().join("appraisals/sgx-v3-prod.ear.jwt");
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        fs::write(&golden, format!("{token}\n")).unwrap();
        fs::write(golden.with_extension("keys"), format!("{set:#}\n")).unwrap();
        return;
    }
    assert_eq!(token, fs::read_to_string(&golden).unwrap().trim_end());
    let keys: Value = serde_json::from_slice(&fs::read(golden.with_extension("keys")).unwrap()).unwrap();
    assert_eq!(set, keys);
}

#[test]
fn a_result_that_was_changed_is_refused() {
    let key = key();
    let token = signed_ear(&key, &appraisal());
    let set = key_set(&key.public());
    let signed = token.rfind('.').unwrap();
    for offset in (0..signed)
        .step_by(7)
        .filter(|offset| token.as_bytes()[*offset] != b'.')
    {
        let mut changed = token.clone();
        let other = if &token[offset..=offset] == "A" { "B" } else { "A" };
        changed.replace_range(offset..=offset, other);
        assert!(!is_signed(&changed, &set), "offset {offset}");
    }
    // Nor is a message of ours one: its bytes start otherwise.
    assert!(token.starts_with("eyJ"));
}
