//! Reads a signed attestation result with Veraison's EAR library, as a relying party does that knows nothing of
//! Nautilus: `read-ear TOKEN_FILE KEYS_FILE`, where the keys are a JSON Web Key Set. Prints what the library made of
//! it as JSON; exit code 1, and the library's own words, if it does not verify.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use ear::{Algorithm, Ear, TrustClaim, TrustTier, TrustVector};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [token, keys] = arguments.as_slice() else {
        bail!("usage: read-ear TOKEN_FILE KEYS_FILE");
    };
    let token = fs::read_to_string(token).with_context(|| format!("cannot read {token}"))?;
    let keys = fs::read(keys).with_context(|| format!("cannot read {keys}"))?;
    let keys: Value = serde_json::from_slice(&keys).context("the keys are not JSON")?;
    let ear = verified(token.trim_end(), &keys)?;
    let read = json!({ "claims": ear, "tiers": tiers(&ear) });
    println!("{read:#}");
    Ok(())
}

/// The result, verified with one of the keys. The algorithm is ours to say, never the token's.
fn verified(token: &str, keys: &Value) -> Result<Ear> {
    let mut refused = None;
    for key in keys["keys"].as_array().into_iter().flatten() {
        match Ear::from_jwt_jwk(token, Algorithm::EdDSA, key.to_string().as_bytes()) {
            Ok(ear) => return Ok(ear),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("the key set holds no key")?.into())
}

/// The tier of each claim in each trustworthiness vector, by the library's own reckoning.
fn tiers(ear: &Ear) -> BTreeMap<&str, BTreeMap<String, TrustTier>> {
    let of = |vector: TrustVector| {
        vector
            .into_iter()
            .filter(TrustClaim::is_set)
            .map(|claim| (claim.tag().to_owned(), claim.tier()))
            .collect()
    };
    ear.submods
        .iter()
        .map(|(name, appraisal)| (name.as_str(), of(appraisal.trust_vector)))
        .collect()
}
