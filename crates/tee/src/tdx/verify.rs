//! Verification of TDX evidence.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nautilus_core::{
    Descriptor, Endorsements, LoggedEvent, Measurement, RawClaims, TeeKind, TeeVerifier, UnixMillis,
    VerifyError, Want,
};

use super::{Quote, TdReport, parse_quote, recognises};
use crate::dcap::wire::flag_names;
use crate::dcap::{self, Family, Memory, Root, Subject};
use crate::eventlog::{self, EventLog};

/// Verifies TDX quotes against Intel's root certificate. It remembers what it verified, and so do its clones: a
/// later quote of the same platform costs one signature and gets the same answer.
#[derive(Clone, Debug)]
pub struct Verifier {
    root: Root,
    memory: Arc<Memory>,
}

impl Verifier {
    /// The verifier of genuine TDX: Intel's root.
    pub fn intel() -> Self {
        Self::of(Root::intel())
    }

    /// A verifier of the same format under another root, given in DER. What it verifies is no trust domain of Intel's:
    /// see [`nautilus_core::VerifierSet::dangerous_with_stand_in`].
    pub fn with_root(root_der: Vec<u8>) -> Self {
        Self::of(Root::of_der(root_der))
    }

    fn of(root: Root) -> Self {
        Self {
            root,
            memory: Arc::new(Memory::new()),
        }
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Tdx,
            format: super::FORMAT,
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
        Ok(RawClaims {
            report_data: quote.report.report_data.to_vec(),
            device: vouched.device,
            debug: quote.report.td_attributes & TD_UNDER_DEBUG != 0,
            tcb: vouched.tcb,
            measurements: quote.report.measurements(),
            attributes,
            unsigned: vouched.unsigned,
            revocation: vouched.revocation,
            made_at: None,
            endorsed_until: Some(vouched.endorsed_until),
        })
    }

    fn replay(&self, claims: &RawClaims, event_log: &[u8]) -> Result<Vec<LoggedEvent>, VerifyError> {
        eventlog::hold_against_rtmrs(&EventLog::parse(event_log)?, &claims.measurements)
    }
}

impl Quote {
    fn subject<'a>(&'a self, bytes: &'a [u8]) -> Subject<'a> {
        let now = self.report.v15.as_ref().map(|v15| v15.tee_tcb_svn2);
        Subject {
            family: Family::Tdx,
            bytes,
            header: &self.header,
            signature: &self.signature,
            extent: self.extent,
            tee_tcb_svns: [self.report.tee_tcb_svn].into_iter().chain(now).collect(),
            judged: Subject::without_claims(
                bytes,
                self.signature.signed_length(),
                self.signature.signed_length().saturating_sub(self.report.len()),
                &CLAIMS,
            ),
        }
    }
}

/// What a report says of its TD and nobody judges here: MRTD to MROWNERCONFIG; the RTMRs and the report data.
const CLAIMS: [Range<usize>; 2] = [136..328, 328..584];

/// The group TUD, "TD under debug": with any bit of it set the host may look inside (Intel TDX Module ABI
/// Specification, "TD_ATTRIBUTES").
const TD_UNDER_DEBUG: u64 = 0xff;
/// `TD_ATTRIBUTES` (Intel TDX Module ABI Specification).
const TD_ATTRIBUTES: [(u64, &str); 13] = [
    (1, "DEBUG"),
    (1 << 4, "HGS_PLUS_PROF"),
    (1 << 5, "PERF_PROF"),
    (1 << 6, "PMT_PROF"),
    (1 << 16, "ICSSD"),
    (1 << 17, "SERVTD_EXT"),
    (1 << 27, "LASS"),
    (1 << 28, "SEPT_VE_DISABLE"),
    (1 << 29, "MIGRATABLE"),
    (1 << 30, "PKS"),
    (1 << 31, "KL"),
    (1 << 62, "TPA"),
    (1 << 63, "PERFMON"),
];

impl TdReport {
    fn measurements(&self) -> BTreeMap<String, Measurement> {
        let [rtmr0, rtmr1, rtmr2, rtmr3] = &self.rtmr;
        let mut registers = vec![
            ("mrtd", &self.mrtd),
            ("mrseam", &self.mrseam),
            ("mrsignerseam", &self.mrsignerseam),
            ("mrconfigid", &self.mrconfigid),
            ("mrowner", &self.mrowner),
            ("mrownerconfig", &self.mrownerconfig),
            ("rtmr0", rtmr0),
            ("rtmr1", rtmr1),
            ("rtmr2", rtmr2),
            ("rtmr3", rtmr3),
        ];
        registers.extend(self.v15.as_ref().map(|v15| ("mrservicetd", &v15.mrservicetd)));
        registers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Measurement(value.to_vec())))
            .collect()
    }

    fn describe(&self, attributes: &mut BTreeMap<String, String>) {
        let mut set = |name: &str, value: String| {
            attributes.insert(name.to_owned(), value);
        };
        set("tee_body", self.body_name().to_owned());
        set("tee_tcb_svn", hex::encode(self.tee_tcb_svn));
        set("td_attributes", flag_names(self.td_attributes, &TD_ATTRIBUTES));
        set("seam_attributes", format!("{:#018x}", self.seam_attributes));
        set("xfam", format!("{:#018x}", self.xfam));
        let Some(v15) = &self.v15 else { return };
        set("tee_tcb_svn2", hex::encode(v15.tee_tcb_svn2));
        let Some(ex) = &v15.ex else { return };
        set("vmid", ex.vmid.to_string());
        set("td_id", hex::encode(ex.td_id));
        set("dev_info", hex::encode(ex.dev_info));
        set("init_servtd_hash", hex::encode(ex.init_service_td_hash));
        set(
            "init_servtd_attributes",
            hex::encode(ex.init_service_td_attributes),
        );
        set("init_cpu_svn", hex::encode(ex.init_cpu_svn));
        set("init_tee_tcb_svn", hex::encode(ex.init_tee_tcb_svn));
        set("init_tee_fmspc", hex::encode(ex.init_tee_fmspc));
        set("cur_servtd_hash", hex::encode(ex.cur_service_td_hash));
        set("cur_servtd_attributes", hex::encode(ex.cur_service_td_attributes));
    }
}
