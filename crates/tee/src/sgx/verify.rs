//! Verification of SGX evidence.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nautilus_core::{
    Descriptor, Endorsements, Measurement, RawClaims, TeeKind, TeeVerifier, UnixMillis, VerifyError, Want,
};

use super::{Quote, parse_quote, recognises};
use crate::dcap::wire::{EnclaveReport, flag_names};
use crate::dcap::{self, Family, Memory, Root, Subject};

/// Verifies SGX quotes against one root certificate. It remembers what it verified, and so do its clones: a later
/// quote of the same platform costs one signature and gets the same answer.
#[derive(Clone, Debug)]
pub struct Verifier {
    root: Root,
    tee: TeeKind,
    memory: Arc<Memory>,
}

impl Verifier {
    /// The verifier of genuine SGX: Intel's root.
    pub fn intel() -> Self {
        Self::of(Root::intel(), TeeKind::Sgx)
    }

    /// A verifier of the same format under another vendor's root, given in DER. It speaks for `tee`: a
    /// verifier that is not Intel's must not say that it is of SGX.
    pub fn with_root(root_der: Vec<u8>, tee: TeeKind) -> Self {
        Self::of(Root::of_der(root_der), tee)
    }

    fn of(root: Root, tee: TeeKind) -> Self {
        Self {
            root,
            tee,
            memory: Arc::new(Memory::new()),
        }
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: self.tee,
            format: "SGX quote version 3, 4 or 5",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        dcap::wants(&parse_quote(evidence)?.subject(evidence), &self.root)
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let again = |quote: &[u8]| self.verify(quote, endorsements, now);
        let quote = parse_quote(evidence).map_err(|fault| dcap::graver_fault(evidence, fault, again))?;
        let vouched = dcap::verify(
            &quote.subject(evidence),
            endorsements,
            now,
            &self.root,
            &self.memory,
        )?;
        let mut attributes = vouched.attributes;
        quote.report.describe(&mut attributes);
        let report = quote.report;
        Ok(RawClaims {
            report_data: report.report_data.to_vec(),
            device: vouched.device,
            debug: report.flags & EnclaveReport::DEBUG != 0,
            tcb: vouched.tcb,
            measurements: BTreeMap::from([
                ("mrenclave".to_owned(), Measurement(report.mrenclave.to_vec())),
                ("mrsigner".to_owned(), Measurement(report.mrsigner.to_vec())),
            ]),
            attributes,
            unsigned: vouched.unsigned,
            revocation: vouched.revocation,
            made_at: None,
            endorsed_until: Some(vouched.endorsed_until),
        })
    }
}

impl Quote {
    fn subject<'a>(&'a self, bytes: &'a [u8]) -> Subject<'a> {
        Subject {
            family: Family::Sgx,
            bytes,
            header: &self.header,
            signature: &self.signature,
            extent: self.extent,
            tee_tcb_svns: Vec::new(),
            judged: Subject::without_claims(
                bytes,
                self.signature.signed_length(),
                self.signature.signed_length().saturating_sub(EnclaveReport::LEN),
                &CLAIMS,
            ),
        }
    }
}

/// What a report says of its enclave and nobody judges here: MRENCLAVE; MRSIGNER; CONFIGID, ISVPRODID, ISVSVN and
/// CONFIGSVN; ISVFAMILYID and the report data.
const CLAIMS: [Range<usize>; 4] = [64..96, 128..160, 192..262, 304..384];

/// `ATTRIBUTES.FLAGS` (Intel SDM, volume 3D, "SECS.ATTRIBUTES").
pub(super) const FLAGS: [(u64, &str); 8] = [
    (0x1, "INIT"),
    (EnclaveReport::DEBUG, "DEBUG"),
    (0x4, "MODE64BIT"),
    (0x10, "PROVISIONKEY"),
    (0x20, "EINITTOKEN_KEY"),
    (0x40, "CET"),
    (0x80, "KSS"),
    (0x400, "AEXNOTIFY"),
];

impl EnclaveReport {
    fn describe(&self, attributes: &mut BTreeMap<String, String>) {
        let mut set = |name: &str, value: String| {
            attributes.insert(name.to_owned(), value);
        };
        set("tee_body", "sgx-enclave-report".to_owned());
        set("isvprodid", self.isv_prod_id.to_string());
        set("isvsvn", self.isv_svn.to_string());
        set("attributes", flag_names(self.flags, &FLAGS));
        set("xfrm", format!("{:#018x}", self.xfrm));
        set("miscselect", format!("{:#010x}", self.miscselect));
        set("cpu_svn", hex::encode(self.cpu_svn));
        set("isvextprodid", hex::encode(self.isv_ext_prod_id));
        set("isvfamilyid", hex::encode(self.isv_family_id));
        set("configid", hex::encode(self.config_id));
        set("configsvn", self.config_svn.to_string());
    }
}
