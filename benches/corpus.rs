//! What is verified: one or more pieces of evidence of every format, from `vectors/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dcap_qvl::QuoteCollateralV3;
use nautilus_core::{
    Endorsement, EndorsementKind, Endorsements, Evidence, TeeKind, TrustAnchors, UnixMillis, VerifierSet,
};

/// Evidence with all that its verification needs.
pub struct Case {
    pub name: String,
    pub evidence: Evidence,
    pub endorsements: Endorsements,
    pub anchors: TrustAnchors,
    pub now: UnixMillis,
    pub peer: Peer,
    /// How many P-256 and P-384 verifications remain when all that can be remembered is.
    pub warm_verifications: Option<(u32, u32)>,
}

/// Who else can verify it.
pub enum Peer {
    None,
    Dcap(Box<QuoteCollateralV3>),
    Sev { product: &'static str, vek: Vec<u8> },
}

impl Case {
    /// A set of verifiers that remembers nothing yet.
    pub fn verifiers(&self) -> Result<VerifierSet> {
        Ok(nautilus_tee::production(&self.anchors)?)
    }
}

/// Every case.
pub fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (tee, name) in [
        (TeeKind::Sgx, "sgx/sgx-v3-prod"),
        (TeeKind::Tdx, "tdx/tdx-v4-azure-uptodate"),
        (TeeKind::Tdx, "tdx/tdx-v5-td15ex"),
    ] {
        cases.push(dcap(tee, name).with_context(|| name.to_owned())?);
    }
    for (product, name) in [
        ("Milan", "snp/milan-v3-vcek"),
        ("Genoa", "snp/genoa-v5-vcek"),
        ("Turin", "snp/turin-v5-vcek"),
    ] {
        cases.push(snp(product, name).with_context(|| name.to_owned())?);
    }
    cases.push(nitro()?);
    Ok(cases)
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

fn read(path: &str) -> Result<Vec<u8>> {
    let path = vectors().join(path);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

fn evidence(tee: TeeKind, bytes: Vec<u8>) -> Evidence {
    Evidence {
        tee,
        bytes,
        user_data: None,
        event_log: None,
    }
}

fn endorsement(kind: EndorsementKind, bytes: Vec<u8>) -> Endorsements {
    let origin = "the benchmark".to_owned();
    Endorsements(vec![Endorsement { kind, bytes, origin }])
}

fn short(name: &str) -> String {
    name.split('/').next_back().unwrap_or(name).to_owned()
}

/// The first label under which the quote was accepted says with what and when.
fn dcap(tee: TeeKind, name: &str) -> Result<Case> {
    let meta: serde_json::Value = serde_json::from_slice(&read(&format!("{name}/meta.json"))?)?;
    let label = meta["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|label| label["result"] == "OK")
        .context("no label accepts it")?;
    let file = label["collateral"].as_str().context("collateral")?;
    let collateral = read(&format!("{name}/{file}"))?;
    let parsed: QuoteCollateralV3 = serde_json::from_slice(&collateral)?;
    Ok(Case {
        name: short(name),
        evidence: evidence(tee, read(&format!("{name}/quote.bin"))?),
        endorsements: endorsement(EndorsementKind::DcapCollateral, collateral),
        anchors: TrustAnchors::default(),
        now: UnixMillis::from_secs(label["now"].as_u64().context("now")?),
        peer: Peer::Dcap(Box::new(parsed)),
        warm_verifications: Some((1, 0)),
    })
}

fn snp(product: &'static str, name: &str) -> Result<Case> {
    let vek = read(&format!("{name}/vek.der"))?;
    Ok(Case {
        name: short(name),
        evidence: evidence(TeeKind::Sev, read(&format!("{name}/report.bin"))?),
        endorsements: endorsement(EndorsementKind::Certificate, vek.clone()),
        anchors: TrustAnchors::default(),
        // All certificates of the corpus are valid then.
        now: "2026-06-01T00:00:00Z".parse()?,
        peer: Peer::Sev { product, vek },
        warm_verifications: Some((0, 1)),
    })
}

fn nitro() -> Result<Case> {
    let meta: serde_json::Value = serde_json::from_slice(&read("nitro/prod-2022.meta.json")?)?;
    Ok(Case {
        name: "nitro-prod-2022".to_owned(),
        evidence: evidence(TeeKind::Nitro, read("nitro/prod-2022.cbor")?),
        endorsements: Endorsements::default(),
        anchors: TrustAnchors::default(),
        now: UnixMillis(meta["timestamp_ms"].as_u64().context("timestamp_ms")?),
        peer: Peer::None,
        warm_verifications: Some((0, 2)),
    })
}
