//! One quote under one collateral document: `dcap-qvl` in full, or of a platform that is known, the quote's own
//! signature.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{PckCertFlag, QuoteClaims, QuoteCollateralV3, QuotePolicy};
use nautilus_core::{DeviceIdentity, Tcb, TcbStatus, UnixMillis, UnsignedFact, VerifyError};

use super::chain::Platform;
use super::collateral::Candidate;
use super::crypto::{AttestationKey, AwsLcRs, StandIn};
use super::memory::{self, Judgement, Memory};
use super::verify::{Root, Subject};
use super::wire::Header;
use super::{container, fault, tcb, unsigned};
use crate::memo::Key;

/// One quote that is being verified.
pub(super) struct Examination<'a> {
    pub subject: &'a Subject<'a>,
    pub chain: Key,
    pub evidence: Key,
    pub platform: &'a Arc<Platform>,
    pub now: UnixMillis,
    pub root: &'a Root,
    pub memory: &'a Memory,
}

/// What every quote of one attestation key and platform has proven under one collateral document.
pub(super) struct Proven {
    attestation_key: AttestationKey,
    pub device: DeviceIdentity,
    pub tcb: Tcb,
    pub attributes: BTreeMap<String, String>,
    pub unsigned: Vec<UnsignedFact>,
    pub endorsed_until: UnixMillis,
}

impl Examination<'_> {
    /// The judgement that decides.
    pub(super) fn decide(&self, candidate: &Candidate<'_>) -> Result<Arc<Proven>, VerifyError> {
        if let Some(Judgement::Meets(proven)) = self.recall(candidate) {
            // Of a platform that is known this signature is the first thing that `dcap-qvl` would find wrong.
            let signature = &self.subject.signature.signature;
            return if proven.attestation_key.signed(self.subject.signed(), signature) {
                Ok(proven)
            } else {
                let what = fault::QUOTE_SIGNATURE.to_owned();
                Err(VerifyError::SignatureInvalid { what })
            };
        }
        self.prove(candidate)
    }

    /// The judgement under another evaluation, for a quote that is verified; a document that cannot judge it is
    /// reported instead. A revoked certificate is fatal whichever document says so.
    pub(super) fn compare(
        &self,
        candidate: &Candidate<'_>,
    ) -> Result<Result<Tcb, UnsignedFact>, VerifyError> {
        let falls = |status, shortfalls| {
            let fallen = Arc::new(candidate.document.levels().fallen(status, shortfalls));
            self.remember(candidate, Judgement::Falls(Arc::clone(&fallen)));
            Ok(Ok(Tcb::clone(&fallen)))
        };
        match self.recall(candidate) {
            Some(Judgement::Meets(proven)) => return Ok(Ok(proven.tcb.clone())),
            Some(Judgement::Falls(tcb)) => return Ok(Ok(Tcb::clone(&tcb))),
            None => {}
        }
        match self.prove(candidate) {
            Ok(proven) => Ok(Ok(proven.tcb.clone())),
            Err(VerifyError::NoTcbLevel { shortfalls }) => falls(None, shortfalls),
            Err(VerifyError::TcbRevoked) => falls(Some(TcbStatus::Revoked), Vec::new()),
            Err(VerifyError::Untrusted { what }) if fault::is_revocation(&what) => {
                Err(VerifyError::Untrusted { what })
            }
            Err(error) => Ok(Err(UnsignedFact {
                what: "collateral of another evaluation was not used",
                detail: format!("{}: {error}", candidate.origin),
            })),
        }
    }

    fn recall(&self, candidate: &Candidate<'_>) -> Option<Judgement> {
        if !candidate.known {
            return None;
        }
        self.memory.judgement(self.key(candidate), self.now)
    }

    /// Remembers what was verified, for as long as nothing that it rests on starts or stops being valid.
    fn remember(&self, candidate: &Candidate<'_>, judgement: Judgement) {
        let (Some(mut instants), Some(document)) = (self.platform.instants(), candidate.document.instants())
        else {
            return;
        };
        instants.extend(document);
        let window = memory::undisturbed(&instants, self.now);
        self.memory.remember_document(&candidate.document);
        self.memory.remember_platform(self.chain, self.platform);
        self.memory
            .remember_judgement(self.key(candidate), judgement, window);
    }

    fn key(&self, candidate: &Candidate<'_>) -> Key {
        memory::judgement_key(&self.evidence, &candidate.document)
    }

    /// Every check there is, with nothing taken for granted.
    fn prove(&self, candidate: &Candidate<'_>) -> Result<Arc<Proven>, VerifyError> {
        candidate.check(self.platform, self.now, self.root)?;
        let subject = self.subject;
        let levels = candidate.document.levels();
        let versions = tcb::Versions {
            platform: self.platform,
            tee_tcb_svns: &subject.tee_tcb_svns,
            qe_isv_svn: subject.signature.qe_report.isv_svn,
        };
        let claims = self
            .verified_claims(&candidate.document.documents)
            .map_err(|reason| {
                let no_level = || levels.shortfalls(&versions, tcb::Level::Lowest);
                fault::typed(reason, candidate.origin, no_level)
            })?;
        let attestation_key = AttestationKey::new(&subject.signature.attestation_key).ok_or_else(|| {
            VerifyError::SignatureInvalid {
                what: "attestation key is no point of P-256".to_owned(),
            }
        })?;
        let proven = Arc::new(Proven {
            attestation_key,
            device: DeviceIdentity {
                scheme: "intel-ppid",
                id: hex::encode(&claims.platform.pck.ppid),
                family: Some(hex::encode_upper(claims.platform.pck.fmspc)),
            },
            tcb: tcb::verdict(&claims, levels.shortfalls(&versions, tcb::Level::Newest)),
            attributes: attributes(subject.header, &claims),
            unsigned: unsigned::of_certification(subject.signature, self.platform, self.root),
            endorsed_until: UnixMillis::from_secs(claims.earliest_expiration_date),
        });
        self.remember(candidate, Judgement::Meets(Arc::clone(&proven)));
        Ok(proven)
    }

    /// What `dcap-qvl` says, or why it refuses.
    fn verified_claims(&self, documents: &QuoteCollateralV3) -> Result<QuoteClaims, String> {
        let subject = self.subject;
        let now = self.now.as_secs();
        let verify = |quote: &[u8]| {
            // Debug is a claim: the facade rates such evidence as simulated. Service TDs are not allowed for.
            QuoteVerifier::<AwsLcRs>::new_with_config(self.root.der().to_vec())
                .allow_debug(true)
                .verify_with_policy(quote, documents, now, &QuotePolicy::claims_only(now))
                .map_err(|error| format!("{error:#}"))
        };
        match container::in_version_3(subject) {
            None => verify(subject.bytes.get(..subject.extent.length).unwrap_or_default()),
            Some(quote) => {
                let stand_in = StandIn {
                    shown: quote.signed().to_vec(),
                    signed: subject.signed().to_vec(),
                    key: subject.signature.attestation_key,
                };
                stand_in.during(|| verify(quote.bytes()))
            }
        }
    }
}

fn attributes(header: &Header, claims: &QuoteClaims) -> BTreeMap<String, String> {
    let (pck, qe, platform) = (&claims.platform.pck, &claims.qe, &claims.platform);
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        attributes.insert(name.to_owned(), value);
    };
    set("quote_version", header.version.to_string());
    set("quote_user_data", hex::encode(header.user_data));
    if header.version == 3 {
        set("qe_svn", header.qe_svn.to_string());
        set("pce_svn", header.pce_svn.to_string());
    }
    set("pck_cpu_svn", hex::encode(pck.cpu_svn));
    set("pck_pce_svn", pck.pce_svn.to_string());
    set("pce_id", hex::encode_upper(&pck.pce_id));
    set("sgx_type", sgx_type(pck.sgx_type));
    set("smt_enabled", flag(pck.smt_enabled));
    set("dynamic_platform", flag(pck.dynamic_platform));
    set("cached_keys", flag(pck.cached_keys));
    if let Some(id) = pck.platform_instance_id {
        set("platform_instance_id", hex::encode(id));
    }
    set(
        "platform_status",
        tcb::status(platform.tcb_level.tcb_status).to_string(),
    );
    if let Some(level) = &platform.current_tcb_level {
        set(
            "current_platform_status",
            tcb::status(level.tcb_status).to_string(),
        );
    }
    set("qe_status", tcb::status(qe.tcb_level.tcb_status).to_string());
    set("qe_tcb_date", qe.tcb_level.tcb_date.clone());
    set("qe_isvsvn", qe.report.isv_svn.to_string());
    set("qe_mrsigner", hex::encode(qe.report.mr_signer));
    set("pck_crl_number", platform.pck_crl_num.to_string());
    set("root_ca_crl_number", platform.root_ca_crl_num.to_string());
    attributes
}

fn flag(flag: PckCertFlag) -> String {
    match flag {
        PckCertFlag::True => "true",
        PckCertFlag::False => "false",
        PckCertFlag::Undefined => "undefined",
    }
    .to_owned()
}

/// Names from Intel's PCK certificate profile, "SGX Type".
fn sgx_type(kind: u8) -> String {
    match kind {
        0 => "standard".to_owned(),
        1 => "scalable".to_owned(),
        2 => "scalable with integrity".to_owned(),
        other => other.to_string(),
    }
}
