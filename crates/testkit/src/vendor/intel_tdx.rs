//! A platform of Intel's kind that runs trust domains: its TDX module makes reports of them, its quoting enclave quotes.
//!
//! Its keys and certificates are those that the simulated vendor keeps in a directory (`docs/tee/simulated.md`), so that
//! a verifier with that vendor's root in the place of Intel's accepts its quotes. The vendor publishes for SGX; what a
//! verifier needs for TDX is made of that here, and signed with the vendor's key.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a fake platform that cannot be made must stop its test"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use nautilus_core::{Endorsement, EndorsementKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Length of a `TDREPORT`.
pub const TD_REPORT_LEN: usize = 1024;
/// `TD_ATTRIBUTES.DEBUG`.
const DEBUG: u64 = 1;
/// `TD_ATTRIBUTES.SEPT_VE_DISABLE`, which is set for every TD that runs Linux.
const SEPT_VE_DISABLE: u64 = 1 << 28;
const XFAM: u64 = 0x0006_02e7;
/// Version 1 of the TDX module, security version 11; the loader's is 4.
const TEE_TCB_SVN: [u8; 16] = [11, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `INIT | MODE64BIT | PROVISIONKEY`, as the quoting enclave has.
const QE_FLAGS: u64 = 0x15;
const QE_XFRM: u64 = 0xe7;
/// Product and security version of the quoting enclave for TDX.
const TD_QE: (u16, u16) = (2, 4);
const QE_VENDOR_ID: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Where things stand in a `TDREPORT`: `REPORTMACSTRUCT`, `TEE_TCB_INFO`, `TDINFO_STRUCT` (Intel, *TDX Module ABI
/// Specification*).
mod at {
    pub(super) const REPORT_DATA: usize = 128;
    pub(super) const MAC: usize = 224;
    pub(super) const TEE_TCB_SVN: usize = 256 + 8;
    pub(super) const MRSEAM: usize = TEE_TCB_SVN + 16;
    /// To the end of `SEAMATTRIBUTES`.
    pub(super) const SEAM_END: usize = MRSEAM + 48 + 48 + 8;
    pub(super) const TD_INFO: usize = 512;
    pub(super) const MRTD: usize = TD_INFO + 16;
    /// To the end of RTMR 3.
    pub(super) const TD_INFO_END: usize = MRTD + 8 * 48;
}

/// A trust domain, as the TDX module measured it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomain {
    /// Its initial contents.
    pub mrtd: [u8; 48],
    /// What was measured at run time.
    pub rtmr: [[u8; 48]; 4],
    /// Whether the host may look into it.
    pub debug: bool,
}

/// A machine with TDX. Clones are the same machine.
#[derive(Clone)]
pub struct FakeIntelTdx {
    /// Fused into the CPU: reports' codes come from it.
    secret: [u8; 32],
    /// What vouches for the attestation key, as it stands in a quote after the key.
    certification: Vec<u8>,
    attestation_key: Arc<EcdsaKeyPair>,
    qe_id: [u8; 16],
    collateral: Vec<u8>,
}

impl TrustDomain {
    /// One that its host may not look into.
    pub fn production() -> Self {
        Self {
            mrtd: [0x3d; 48],
            rtmr: [[0x40; 48], [0x41; 48], [0x42; 48], [0; 48]],
            debug: false,
        }
    }
}

impl FakeIntelTdx {
    /// The platform of the simulated vendor in `directory`, which `nautilus_tee::simulated::Vendor` made.
    pub fn of(directory: &Path) -> Self {
        let read = |name: &str| fs::read(directory.join(name)).expect("read a file of the simulated vendor");
        let json = |name: &str| -> Value { serde_json::from_slice(&read(name)).expect("it is JSON") };
        let description = json("platform/platform.json");
        let mrsigner: [u8; 32] = unhex(&description["qe"]["mrsigner"]);
        let pck_key = read("platform/pck.key");
        let attestation_key = new_key();
        let auth_data: Vec<u8> = (0..32).collect();
        let bound: [u8; 32] = Sha256::new()
            .chain_update(point(&attestation_key))
            .chain_update(&auth_data)
            .finalize()
            .into();
        let mut qe_report = [0; 384];
        let mut put = |at: usize, value: &[u8]| qe_report[at..at + value.len()].copy_from_slice(value);
        put(0, &unhex::<16>(&description["cpu_svn"]));
        put(48, &QE_FLAGS.to_le_bytes());
        put(56, &QE_XFRM.to_le_bytes());
        put(64, &[0xe7; 32]);
        put(128, &mrsigner);
        put(256, &TD_QE.0.to_le_bytes());
        put(258, &TD_QE.1.to_le_bytes());
        put(320, &bound);
        let chain = read("platform/chain.pem");
        let certification = [
            qe_report.as_slice(),
            &sign(&key(&pck_key), &qe_report),
            &32_u16.to_le_bytes(),
            &auth_data,
            // Type 5: a chain in PEM.
            &5_u16.to_le_bytes(),
            &length(&chain),
            &chain,
        ]
        .concat();
        Self {
            secret: Sha256::digest(&pck_key).into(),
            certification,
            attestation_key: attestation_key.into(),
            qe_id: unhex(&description["qe_id"]),
            collateral: for_tdx(
                json("collateral.json"),
                &mrsigner,
                &key(&read("vendor/tcb-signing.key")),
            ),
        }
    }

    /// TCB info for TDX, the identity of the quoting enclave, and CRLs, as Intel publishes them.
    pub fn endorsement(&self) -> Endorsement {
        Endorsement {
            kind: EndorsementKind::DcapCollateral,
            bytes: self.collateral.clone(),
            origin: "the fake Intel".to_owned(),
        }
    }

    /// `TDG.MR.REPORT`: what only this machine can check.
    pub fn td_report(&self, domain: &TrustDomain, report_data: &[u8; 64]) -> [u8; TD_REPORT_LEN] {
        let mut report = [0; TD_REPORT_LEN];
        let mut put = |at: usize, value: &[u8]| report[at..at + value.len()].copy_from_slice(value);
        put(0, &[0x81]);
        put(at::REPORT_DATA, report_data);
        // All of `TEE_TCB_INFO` is valid but for what TDX 1.5 added.
        put(256, &0x1ff_u64.to_le_bytes());
        put(at::TEE_TCB_SVN, &TEE_TCB_SVN);
        put(at::MRSEAM, &[0x5e; 48]);
        let debug = if domain.debug { DEBUG } else { 0 };
        put(at::TD_INFO, &(SEPT_VE_DISABLE | debug).to_le_bytes());
        put(at::TD_INFO + 8, &XFAM.to_le_bytes());
        put(at::MRTD, &domain.mrtd);
        for (register, value) in domain.rtmr.iter().enumerate() {
            put(at::MRTD + (4 + register) * 48, value);
        }
        let mac = self.mac(&report);
        report[at::MAC..at::MAC + 32].copy_from_slice(&mac);
        report
    }

    /// What the quoting enclave makes of a report: nothing, unless it is of this machine.
    pub fn quote_of(&self, report: &[u8; TD_REPORT_LEN]) -> Option<Vec<u8>> {
        if report[at::MAC..at::MAC + 32] != self.mac(report) {
            return None;
        }
        let signed = [
            // Version 4, ECDSA on P-256, TDX; what SGX has for security versions.
            4_u16.to_le_bytes().as_slice(),
            &2_u16.to_le_bytes(),
            &0x81_u32.to_le_bytes(),
            &[0; 4],
            &QE_VENDOR_ID,
            &self.qe_id,
            &[0; 4],
            &report[at::TEE_TCB_SVN..at::SEAM_END],
            &report[at::TD_INFO..at::TD_INFO_END],
            &report[at::REPORT_DATA..at::REPORT_DATA + 64],
        ]
        .concat();
        let data = [
            sign(&self.attestation_key, &signed).as_slice(),
            &point(&self.attestation_key),
            // Type 6: the report of the quoting enclave with its own certification.
            &6_u16.to_le_bytes(),
            &length(&self.certification),
            &self.certification,
        ]
        .concat();
        Some([signed.as_slice(), &length(&data), &data].concat())
    }

    /// A quote of the domain.
    pub fn quote(&self, domain: &TrustDomain, report_data: &[u8; 64]) -> Vec<u8> {
        self.quote_of(&self.td_report(domain, report_data))
            .expect("the report is of this machine")
    }

    /// The code of a report, which its own field does not enter.
    fn mac(&self, report: &[u8; TD_REPORT_LEN]) -> [u8; 32] {
        let mut without = *report;
        without[at::MAC..at::MAC + 32].fill(0);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), &without);
        tag.as_ref().try_into().unwrap()
    }
}

/// The vendor's collateral for SGX with the parts in it that TDX needs, signed anew.
fn for_tdx(mut collateral: Value, qe_mrsigner: &[u8; 32], signing: &EcdsaKeyPair) -> Vec<u8> {
    let parse = |text: &Value| -> Value { serde_json::from_str(text.as_str().unwrap()).unwrap() };
    let level =
        |tcb: Value| json!([{ "tcb": tcb, "tcbDate": "2026-01-14T00:00:00Z", "tcbStatus": "UpToDate" }]);
    let mut tcb_info = parse(&collateral["tcb_info"]);
    let module = json!({
        "mrsigner": "00".repeat(48),
        "attributes": "00".repeat(8),
        "attributesMask": "FF".repeat(8),
    });
    let mut identity = module.clone();
    identity["id"] = json!("TDX_01");
    identity["tcbLevels"] = level(json!({ "isvsvn": TEE_TCB_SVN[0] }));
    tcb_info["id"] = json!("TDX");
    tcb_info["tdxModule"] = module;
    tcb_info["tdxModuleIdentities"] = json!([identity]);
    // The second byte is the module's version, which the identity stands for.
    let components: Vec<Value> = TEE_TCB_SVN
        .iter()
        .enumerate()
        .map(|(at, svn)| json!({ "svn": if at == 1 { 0 } else { *svn } }))
        .collect();
    for level in tcb_info["tcbLevels"].as_array_mut().unwrap() {
        level["tcb"]["tdxtcbcomponents"] = json!(components);
    }
    let mut qe_identity = parse(&collateral["qe_identity"]);
    qe_identity["id"] = json!("TD_QE");
    qe_identity["mrsigner"] = json!(hex::encode_upper(qe_mrsigner));
    qe_identity["isvprodid"] = json!(TD_QE.0);
    qe_identity["tcbLevels"] = level(json!({ "isvsvn": TD_QE.1 }));
    for (name, document) in [("tcb_info", tcb_info), ("qe_identity", qe_identity)] {
        let text = document.to_string();
        collateral[format!("{name}_signature")] = json!(hex::encode(sign(signing, text.as_bytes())));
        collateral[name] = json!(text);
    }
    serde_json::to_vec(&collateral).unwrap()
}

fn unhex<const N: usize>(text: &Value) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.as_str().unwrap(), &mut bytes).unwrap();
    bytes
}

fn new_key() -> EcdsaKeyPair {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    key(pkcs8.as_ref())
}

fn key(pkcs8: &[u8]) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).expect("a P-256 key in PKCS#8")
}

/// `r ‖ s`.
fn sign(key: &EcdsaKeyPair, message: &[u8]) -> [u8; 64] {
    let signature = key.sign(&SystemRandom::new(), message).unwrap();
    signature.as_ref().try_into().unwrap()
}

/// `x ‖ y` of the public key.
fn point(key: &EcdsaKeyPair) -> [u8; 64] {
    key.public_key().as_ref()[1..].try_into().unwrap()
}

fn length(of: &[u8]) -> [u8; 4] {
    u32::try_from(of.len()).unwrap().to_le_bytes()
}
