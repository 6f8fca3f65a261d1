//! What an independent library does not take for a result of ours.

use nautilus_core::UnixMillis;
use serde_json::{Value, json};

use crate::made::{ACCEPTED, Made, REJECTED, Verifier, token_of};
use crate::reader::{accepted_at, refused_at};

/// Bytes between those of the claims that are flipped: every one would take minutes.
const STRIDE: usize = 97;

fn accepted() -> (Verifier, Made) {
    let verifier = Verifier::new();
    let made = verifier.appraises(|policy| policy, ACCEPTED);
    (verifier, made)
}

#[test]
fn claims_of_which_a_byte_was_changed() {
    let (verifier, made) = accepted();
    let keys = verifier.keys();
    let [header, claims, signature] = made.parts();
    assert_eq!(token_of(&made.parts()), made.token);
    for offset in (0..claims.len()).step_by(STRIDE) {
        let mut changed = claims.clone();
        changed[offset] ^= 1;
        let token = token_of(&[header.clone(), changed, signature.clone()]);
        refused_at(made.at, &token, &keys, "InvalidSignature");
    }
}

/// What a node that was rejected would like to show.
#[test]
fn a_verdict_that_was_turned() {
    let verifier = Verifier::new();
    let made = verifier.appraises(|policy| policy.replace("at_least: 18", "at_least: 19"), REJECTED);
    let keys = verifier.keys();
    accepted_at(made.at, &made.token, &keys);
    let [header, _, signature] = made.parts();
    let mut claims = made.claims();
    claims["ear_status"] = json!("affirming");
    claims["submods"]["tdx"]["ear_status"] = json!("affirming");
    let token = token_of(&[header, claims.to_string().into_bytes(), signature]);
    refused_at(made.at, &token, &keys, "InvalidSignature");
}

#[test]
fn a_signature_of_which_a_byte_was_changed() {
    let (verifier, made) = accepted();
    let keys = verifier.keys();
    let [header, claims, signature] = made.parts();
    assert_eq!(signature.len(), 64);
    for offset in 0..signature.len() {
        let mut changed = signature.clone();
        changed[offset] ^= 1;
        let token = token_of(&[header.clone(), claims.clone(), changed]);
        refused_at(made.at, &token, &keys, "InvalidSignature");
    }
    for length in [0, 63] {
        let token = token_of(&[header.clone(), claims.clone(), signature[..length].to_vec()]);
        refused_at(made.at, &token, &keys, "InvalidSignature");
    }
}

#[test]
fn a_result_of_another_verifier() {
    let (ours, made) = accepted();
    let (other, theirs) = accepted();
    refused_at(made.at, &made.token, &other.keys(), "InvalidSignature");
    refused_at(theirs.at, &theirs.token, &ours.keys(), "InvalidSignature");
    assert_eq!(made.claims(), theirs.claims(), "only the keys differ");
}

/// The token does not say by which algorithm it is verified.
#[test]
fn a_token_of_another_algorithm() {
    let (verifier, made) = accepted();
    let keys = verifier.keys();
    let [header, claims, signature] = made.parts();
    let header: Value = serde_json::from_slice(&header).unwrap();
    for (algorithm, why) in [
        ("none", "unknown variant `none`"),
        ("HS256", "InvalidAlgorithm"),
        ("ES256", "InvalidAlgorithm"),
    ] {
        let mut header = header.clone();
        header["alg"] = json!(algorithm);
        for signature in [Vec::new(), signature.clone()] {
            let token = token_of(&[header.to_string().into_bytes(), claims.clone(), signature]);
            refused_at(made.at, &token, &keys, why);
        }
    }
    let (unsigned, _) = made.token.rsplit_once('.').unwrap();
    refused_at(made.at, unsigned, &keys, "InvalidToken");
}

#[test]
fn a_result_that_has_expired() {
    let (verifier, made) = accepted();
    let keys = verifier.keys();
    let end = made.claims()["exp"].as_u64().unwrap();
    accepted_at(UnixMillis::from_secs(end - 1), &made.token, &keys);
    refused_at(UnixMillis::from_secs(end), &made.token, &keys, "EAR has expired");
}
