//! Verification of a document: its chain up to AWS's root, its signature, its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use nautilus_core::{
    Descriptor, DeviceIdentity, Endorsements, Measurement, RawClaims, Tcb, TeeKind, TeeVerifier, UnixMillis,
    VerifyError, Want,
};

use super::chain::{self, Issuers};
use super::crl;
use super::document::{Document, ENVELOPE, recognises};
use crate::cose::{Algorithm, Key, Signed};
use crate::memo::{self, Memo};

/// AWS's root of all Nitro Enclaves, "aws.nitro-enclaves" G1, as published at
/// <https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip>. SHA-256
/// 641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b.
const AWS_ROOT: &[u8] = include_bytes!("aws-nitro-enclaves-root-g1.der");
/// How far the clock of a hypervisor may be ahead of ours.
const CLOCK_SKEW: u64 = 5 * 60 * 1000;
/// Chains to remember. An instance has one for a day; a chain is below 2 KiB as it is remembered.
const REMEMBERED_CHAINS: usize = 4096;

/// Verifies attestation documents against AWS's root certificate. Chains of intermediates that verified are
/// remembered for as long as they are valid; clones share them.
#[derive(Clone, Debug)]
pub struct Verifier {
    root: Vec<u8>,
    chains: Arc<Memo<Arc<Issuers>>>,
}

impl Verifier {
    /// The verifier of genuine enclaves: AWS's root.
    pub fn aws() -> Self {
        Self::with_root(AWS_ROOT.to_vec())
    }

    /// A verifier of the same format under another root, given in DER. What it verifies is no enclave of AWS: see
    /// [`nautilus_core::VerifierSet::dangerous_with_stand_in`].
    pub fn with_root(root_der: Vec<u8>) -> Self {
        Self {
            root: root_der,
            chains: Arc::new(Memo::new(REMEMBERED_CHAINS)),
        }
    }

    fn issuers(&self, document: &Document, now: UnixMillis) -> Result<Arc<Issuers>, VerifyError> {
        let parts: Vec<&[u8]> = document.cabundle.iter().map(Vec::as_slice).collect();
        self.chains.get_or_try(memo::Key::of(&parts), now, || {
            let issuers = chain::issuers(&self.root, &document.cabundle, now)?;
            let window = match issuers.authorities.last() {
                Some(last) => last.window,
                None => return Err(chain::untrusted("it has no certificate".to_owned())),
            };
            Ok((Arc::new(issuers), window))
        })
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Nitro,
            format: "AWS Nitro Enclaves attestation document",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        let document = Document::read(&Signed::read(evidence, 0, &ENVELOPE)?)?;
        // The chain is in the document. What it names can only be told where it is genuine, at its own time.
        let issuers = self.issuers(&document, document.timestamp)?;
        Ok(crl::wants(&issuers))
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let signed = Signed::read(evidence, 0, &ENVELOPE)?;
        let document = Document::read(&signed)?;
        let issuers = self.issuers(&document, now)?;
        let Some(issuer) = issuers.authorities.last() else {
            return Err(chain::untrusted("it has no certificate".to_owned()));
        };
        let leaf = chain::leaf(&document.certificate, issuer, now)?;
        let key = Key::ec(Algorithm::Es384, &leaf.key)
            .map_err(|what| chain::untrusted(format!("leaf certificate: {what}")))?;
        if !signed.is_by(&key) {
            return Err(VerifyError::SignatureInvalid {
                what: "attestation document, by its leaf certificate".to_owned(),
            });
        }
        check_time(&document, leaf.window, now)?;
        let revocation = crl::check(&issuers, endorsements, now)?;
        let listed_until = match &revocation {
            nautilus_core::Revocation::Checked { until } => *until,
            _ => None,
        };
        let certified_until = leaf.window.and(&issuer.window).until;
        Ok(RawClaims {
            report_data: document.report_data(),
            device: DeviceIdentity {
                scheme: "nitro-module",
                id: document.module_id.clone(),
                family: None,
            },
            debug: document.is_debug(),
            tcb: Tcb::default(),
            measurements: document.measurements(),
            attributes: document.attributes(),
            unsigned: Vec::new(),
            revocation,
            made_at: Some(document.timestamp),
            endorsed_until: listed_until.into_iter().chain([certified_until]).min(),
        })
    }
}

/// That the document was signed while its certificate was valid, and not in the future.
fn check_time(document: &Document, leaf: memo::Window, now: UnixMillis) -> Result<(), VerifyError> {
    let made_at = document.timestamp;
    if made_at.0 > now.0.saturating_add(CLOCK_SKEW) {
        return Err(VerifyError::AttributeInvalid {
            what: format!("`timestamp` {made_at} lies in the future, now is {now}"),
        });
    }
    if !leaf.contains(made_at) {
        let (from, until) = (leaf.from, leaf.until);
        return Err(VerifyError::AttributeInvalid {
            what: format!("`timestamp` {made_at} lies outside of the leaf certificate's {from} to {until}"),
        });
    }
    Ok(())
}

impl Document {
    fn measurements(&self) -> BTreeMap<String, Measurement> {
        self.pcrs
            .iter()
            .map(|(index, value)| (format!("pcr{index}"), Measurement(value.to_vec())))
            .collect()
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([("module_id".to_owned(), self.module_id.clone())]);
        let fields = [
            ("nonce", &self.nonce),
            ("user_data", &self.user_data),
            ("public_key", &self.public_key),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                attributes.insert(name.to_owned(), hex::encode(value));
            }
        }
        attributes
    }
}
