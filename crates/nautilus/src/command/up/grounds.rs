//! What the agent is given because it knows no TEE from another: whose evidence counts, and what images measure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nautilus_agent::LocalAppraiser;
use nautilus_agent::attestation_service::{Appraiser, QuoteParts};
use nautilus_agent::enclave_manager::{Expected, LaunchCheck};
use nautilus_agent::runner::Grounds;
use nautilus_core::{
    Binding, Digest32, Evidence, EvidenceFile, Measurement, Policy, PolicyId, TeeKind, UnixMillis,
    VerifierSet, VerifyError,
};
use nautilus_tee::dcap::wire::SignatureData;
use nautilus_verifier::api::AttestationOutcome;
use nautilus_verifier::told;

use crate::input::read_bounded;

/// Largest signature structure that is read: it has 1,808 bytes (Intel SDM, volume 3D, "SIGSTRUCT").
const MAX_SIGSTRUCT: usize = 4096;

/// Judges in this process, by the same verifiers and policy as the verifier service, and records nothing.
struct Here {
    set: VerifierSet,
    policy: Policy,
}

/// Knows what images of one TEE measure.
pub struct ImageCheck(pub TeeKind);

/// The grounds of an agent whose enclaves run in `tee`, and prove to `enclaves` what they are.
pub fn grounds(tee: TeeKind, set: VerifierSet, policy: Policy, enclaves: LocalAppraiser) -> Grounds {
    Grounds {
        appraiser: Arc::new(Here { set, policy }),
        launch_check: Arc::new(ImageCheck(tee)),
        enclaves: Arc::new(enclaves),
    }
}

impl Appraiser for Here {
    fn policy(&self) -> (PolicyId, String) {
        (self.policy.id(), self.policy.name().to_owned())
    }

    fn appraise(&self, file: &EvidenceFile, now: UnixMillis) -> Result<AttestationOutcome, VerifyError> {
        let binding = Binding::Challenge(file.challenge);
        let claims = self
            .set
            .verify(&file.evidence, binding, &file.endorsements, now)?;
        let appraisal = self.policy.appraise(claims, now);
        // An appraisal is data whose JSON form is its API; were it none, it would have no findings and no claims.
        let json = serde_json::to_value(&appraisal).unwrap_or_default();
        Ok(AttestationOutcome::of(&appraisal, json))
    }

    fn parts(&self, evidence: &Evidence) -> QuoteParts {
        let quote = &evidence.bytes;
        match evidence.tee {
            TeeKind::Sgx | TeeKind::Simulated => nautilus_tee::sgx::parse_quote(quote)
                .ok()
                .map(|quote| dcap(quote.header.version, &quote.signature)),
            TeeKind::Tdx => nautilus_tee::tdx::parse_quote(quote)
                .ok()
                .map(|quote| dcap(quote.header.version, &quote.signature)),
            // Their signature has no one place, or its place is the vendor's own format: it is in the quote.
            TeeKind::Sev | TeeKind::TrustZone | TeeKind::Keystone | TeeKind::Tpm | TeeKind::Nitro => None,
        }
        .unwrap_or_default()
    }
}

fn dcap(version: u16, signature: &SignatureData) -> QuoteParts {
    QuoteParts {
        version: version.to_string(),
        signature: signature.signature.to_vec(),
        // The PCK chain as it stands in the quote, PEM.
        certificates: vec![signature.certification.data.clone()],
    }
}

impl LaunchCheck for ImageCheck {
    fn expect(&self, image: &Path, sha256: Digest32) -> Result<Expected, String> {
        let registers = match self.0 {
            // It reports the program's SHA-256 as what hardware would measure of its pages.
            TeeKind::Simulated => BTreeMap::from([("mrenclave".to_owned(), Measurement(sha256.0.to_vec()))]),
            TeeKind::Sgx => signed_enclave(image)?,
            // What they measure is what the machine was booted from, or an application that is not ours to start: the
            // policy pins it, and `nautilus measure` computes it.
            TeeKind::Tdx
            | TeeKind::Sev
            | TeeKind::TrustZone
            | TeeKind::Keystone
            | TeeKind::Tpm
            | TeeKind::Nitro => BTreeMap::new(),
        };
        Ok(Expected { registers })
    }
}

/// MRENCLAVE and MRSIGNER, by the signature structure (SIGSTRUCT) beside the program, whose own signature is verified:
/// the processor launches no enclave that measures otherwise.
fn signed_enclave(image: &Path) -> Result<BTreeMap<String, Measurement>, String> {
    let mut path = image.as_os_str().to_owned();
    path.push(".sig");
    let path = Path::new(&path);
    let bytes = read_bounded(path, MAX_SIGSTRUCT).map_err(|failure| {
        let why = failure.causes().join(": ");
        format!("an SGX enclave needs its signature beside its program (`gramine-sgx-sign` makes it): {why}")
    })?;
    let expected = nautilus_tee::launch::expected(TeeKind::Sgx, &bytes).map_err(|error| {
        format!(
            "{} is no signature of an SGX enclave: {}",
            path.display(),
            told(&error)
        )
    })?;
    Ok(expected.measurements)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGSTRUCT: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/sgx/launch/fortanix-sgxs-tools/test_enclave.sig"
    );

    #[test]
    fn an_sgx_enclave_is_known_by_its_signature_before_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("nautilus-enclave");
        let check = ImageCheck(TeeKind::Sgx);
        let told = check.expect(&image, Digest32([0; 32])).unwrap_err();
        assert!(told.contains("nautilus-enclave.sig"), "{told}");

        let signature = directory.path().join("nautilus-enclave.sig");
        let mut bytes = std::fs::read(SIGSTRUCT).unwrap();
        std::fs::write(&signature, &bytes).unwrap();
        let expected = check.expect(&image, Digest32([0; 32])).unwrap();
        // Intel SDM, volume 3D, "SIGSTRUCT": ENCLAVEHASH at byte 960.
        assert_eq!(expected.registers["mrenclave"].0, bytes[960..992]);
        assert_eq!(expected.registers["mrsigner"].0.len(), 32);

        bytes[960] ^= 1;
        std::fs::write(&signature, &bytes).unwrap();
        let told = check.expect(&image, Digest32([0; 32])).unwrap_err();
        assert!(told.contains("invalid signature"), "{told}");
    }

    #[test]
    fn a_simulated_enclave_measures_its_program() {
        let expected = ImageCheck(TeeKind::Simulated)
            .expect(Path::new("/absent"), Digest32([7; 32]))
            .unwrap();
        assert_eq!(expected.registers["mrenclave"].0, [7; 32]);
    }
}
