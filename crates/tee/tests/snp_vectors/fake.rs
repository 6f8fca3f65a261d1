//! The fake AMD of the testkit, with verifiers that know it: one that remembers, and a new one each time, which have to
//! agree.

use std::ops::Deref;

use nautilus_core::{Endorsements, RawClaims, TeeKind, TeeVerifier as _, UnixMillis, VerifyError};
use nautilus_tee::sev_snp::{self, Root, Verifier};
use nautilus_testkit::vendor::amd;

pub use nautilus_testkit::vendor::amd::{
    Chip, NOW, PSS_NO_TRAILER, Product, amd_extension, authority, ca, ca_without, certificate, endorsements,
    entries, extension, integer, list, list_with, p384_spki, pkcs1_sha384, tlv, vcek_spec, vlek_spec,
};

/// The authorities of one product, and what verifies under them.
pub struct FakeAmd {
    amd: amd::FakeAmd,
    /// Remembers all that it verified.
    warm: Verifier,
    warm_root: Verifier,
}

impl FakeAmd {
    pub fn new(product: Product) -> Self {
        let amd = amd::FakeAmd::new(product);
        let verifier = |authorities| Verifier::with_roots(vec![root(&amd, authorities)], TeeKind::Simulated);
        Self {
            warm: verifier(built_in(&amd)),
            warm_root: verifier(Vec::new()),
            amd,
        }
    }

    /// The verdict on a chip's report. It is the same whatever the verifier verified before.
    pub fn verify(
        &self,
        report: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let root = root(&self.amd, built_in(&self.amd));
        same_cold_and_warm(&self.warm, root, report, endorsements, now)
    }

    /// The same by a verifier that has the root alone.
    pub fn verify_by_root(
        &self,
        report: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let root = root(&self.amd, Vec::new());
        same_cold_and_warm(&self.warm_root, root, report, endorsements, now)
    }
}

impl Deref for FakeAmd {
    type Target = amd::FakeAmd;

    fn deref(&self) -> &Self::Target {
        &self.amd
    }
}

/// The fake's root with these authorities, as a verifier takes it.
pub fn root(amd: &amd::FakeAmd, authorities: Vec<Vec<u8>>) -> Root {
    let product = match amd.product {
        Product::Milan => sev_snp::Product::Milan,
        Product::Genoa => sev_snp::Product::Genoa,
        Product::Turin => sev_snp::Product::Turin,
    };
    Root::new(product, amd.ark.der.clone(), authorities)
}

fn built_in(amd: &amd::FakeAmd) -> Vec<Vec<u8>> {
    vec![amd.ask.der.clone(), amd.asvk.der.clone()]
}

fn same_cold_and_warm(
    warm: &Verifier,
    root: Root,
    report: &[u8],
    endorsements: &Endorsements,
    now: UnixMillis,
) -> Result<RawClaims, VerifyError> {
    let cold = Verifier::with_roots(vec![root], TeeKind::Simulated).verify(report, endorsements, now);
    for _ in 0..2 {
        assert_eq!(warm.verify(report, endorsements, now), cold);
    }
    cold
}
