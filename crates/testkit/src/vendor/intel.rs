//! A platform of Intel's kind that runs SGX enclaves: it makes reports, seal keys and quotes of any enclave.
//!
//! Its keys and certificates are those that the simulated vendor keeps in a directory (`docs/tee/simulated.md`), so that
//! a verifier with that vendor's root in the place of Intel's accepts its quotes.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a fake platform that cannot be made must stop its test"
)]

use std::fs;
use std::path::Path;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};

/// Length of a report: body, key id, code.
pub const REPORT_LEN: usize = 432;
/// Length of a target info.
pub const TARGET_INFO_LEN: usize = 512;
/// Length of a report's body, which a quote takes over.
const BODY_LEN: usize = 384;
/// Where the report data starts in a body.
const REPORT_DATA: usize = 320;
/// `INIT | MODE64BIT`, and `DEBUG`.
const FLAGS: u64 = 0x5;
const FLAG_DEBUG: u64 = 0x2;
/// `INIT | MODE64BIT | PROVISIONKEY`, as the quoting enclave has.
const QE_FLAGS: u64 = 0x15;
const XFRM: u64 = 0x7;
const QE_VENDOR_ID: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// An enclave, as the CPU measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enclave {
    /// Its measurement.
    pub mrenclave: [u8; 32],
    /// Whether a debugger may look into it.
    pub debug: bool,
}

/// A machine with SGX. Clones are the same machine.
#[derive(Clone)]
pub struct Platform {
    /// Fused into the CPU: seal keys and reports' codes come from it.
    secret: [u8; 32],
    /// What vouches for the attestation key, as it stands in a quote after the key.
    certification: Vec<u8>,
    attestation_key: std::sync::Arc<EcdsaKeyPair>,
    description: Description,
}

#[derive(Clone)]
struct Description {
    cpu_svn: [u8; 16],
    pce_svn: u16,
    mrsigner: [u8; 32],
    qe_id: [u8; 16],
    qe_mrenclave: [u8; 32],
    qe_mrsigner: [u8; 32],
    qe_prod_id: u16,
    qe_svn: u16,
}

impl Platform {
    /// The platform of the simulated vendor in `directory`, which `nautilus_tee::simulated::Vendor` made.
    pub fn of(directory: &Path) -> Self {
        let directory = directory.join("platform");
        let read =
            |name: &str| fs::read(directory.join(name)).expect("read a file of the simulated platform");
        let description = Description::read(&read("platform.json"));
        let pkcs8 = read("pck.key");
        let pck = key(&pkcs8);
        let attestation_key = new_key();
        let auth_data: Vec<u8> = (0..32).collect();
        let mut bound = [0; 64];
        bound[..32].copy_from_slice(
            &Sha256::new()
                .chain_update(point(&attestation_key))
                .chain_update(&auth_data)
                .finalize(),
        );
        let qe_report = body(&Body {
            cpu_svn: description.cpu_svn,
            flags: QE_FLAGS,
            mrenclave: description.qe_mrenclave,
            mrsigner: description.qe_mrsigner,
            isv_prod_id: description.qe_prod_id,
            isv_svn: description.qe_svn,
            report_data: bound,
        });
        let chain = read("chain.pem");
        let certification = [
            qe_report.as_slice(),
            &sign(&pck, &qe_report),
            &32_u16.to_le_bytes(),
            &auth_data,
            // Type 5: a chain in PEM.
            &5_u16.to_le_bytes(),
            &length(&chain),
            &chain,
        ]
        .concat();
        Self {
            secret: Sha256::digest(&pkcs8).into(),
            certification,
            attestation_key: attestation_key.into(),
            description,
        }
    }

    /// `EREPORT`: what only the enclave with this target info can check, on this machine.
    pub fn report(
        &self,
        enclave: &Enclave,
        target_info: &[u8; TARGET_INFO_LEN],
        report_data: &[u8; 64],
    ) -> [u8; REPORT_LEN] {
        let flags = if enclave.debug { FLAGS | FLAG_DEBUG } else { FLAGS };
        let body = body(&Body {
            cpu_svn: self.description.cpu_svn,
            flags,
            mrenclave: enclave.mrenclave,
            mrsigner: self.description.mrsigner,
            isv_prod_id: 1,
            isv_svn: 1,
            report_data: *report_data,
        });
        let key_id = [0x1d; 32];
        let code = self.code(target_info, &body);
        [body.as_slice(), &key_id, &code].concat().try_into().unwrap()
    }

    /// `EGETKEY` for the policy MRENCLAVE: the key of this enclave on this machine.
    pub fn seal_key(&self, enclave: &Enclave) -> [u8; 16] {
        self.derived(&[b"seal", &enclave.mrenclave, &[enclave.debug.into()]])
    }

    /// The quoting enclave, as the target of a report.
    pub fn quoting_enclave(&self) -> [u8; TARGET_INFO_LEN] {
        let mut target_info = [0; TARGET_INFO_LEN];
        target_info[..32].copy_from_slice(&self.description.qe_mrenclave);
        target_info[32..40].copy_from_slice(&QE_FLAGS.to_le_bytes());
        target_info[40..48].copy_from_slice(&XFRM.to_le_bytes());
        target_info
    }

    /// What the quoting enclave makes of a report: nothing, unless it is for it and of this machine.
    pub fn quote_of(&self, report: &[u8; REPORT_LEN]) -> Option<Vec<u8>> {
        let (body, rest) = report.split_at(BODY_LEN);
        if rest[32..] != self.code(&self.quoting_enclave(), body) {
            return None;
        }
        let Description {
            pce_svn,
            qe_id,
            qe_svn,
            ..
        } = self.description;
        let signed = [
            // Version 3, ECDSA on P-256, SGX.
            3_u16.to_le_bytes().as_slice(),
            &2_u16.to_le_bytes(),
            &0_u32.to_le_bytes(),
            &qe_svn.to_le_bytes(),
            &pce_svn.to_le_bytes(),
            &QE_VENDOR_ID,
            &qe_id,
            &[0; 4],
            body,
        ]
        .concat();
        let data = [
            sign(&self.attestation_key, &signed).as_slice(),
            &point(&self.attestation_key),
            &self.certification,
        ]
        .concat();
        Some([signed.as_slice(), &length(&data), &data].concat())
    }

    /// A quote of the enclave.
    pub fn quote(&self, enclave: &Enclave, report_data: &[u8; 64]) -> Vec<u8> {
        let report = self.report(enclave, &self.quoting_enclave(), report_data);
        self.quote_of(&report)
            .expect("the report is for the quoting enclave")
    }

    fn code(&self, target_info: &[u8], body: &[u8]) -> [u8; 16] {
        self.derived(&[b"report", target_info, body])
    }

    fn derived(&self, parts: &[&[u8]]) -> [u8; 16] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, &parts.concat());
        *tag.as_ref().first_chunk().unwrap()
    }
}

/// The report data in a report.
pub fn report_data(report: &[u8; REPORT_LEN]) -> [u8; 64] {
    report[REPORT_DATA..BODY_LEN].try_into().unwrap()
}

impl Description {
    fn read(json: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(json).expect("the description is JSON");
        let number = |value: &serde_json::Value| u16::try_from(value.as_u64().unwrap()).unwrap();
        let qe = &json["qe"];
        Self {
            cpu_svn: unhex(&json["cpu_svn"]),
            pce_svn: number(&json["pce_svn"]),
            mrsigner: unhex(&json["mrsigner"]),
            qe_id: unhex(&json["qe_id"]),
            qe_mrenclave: unhex(&qe["mrenclave"]),
            qe_mrsigner: unhex(&qe["mrsigner"]),
            qe_prod_id: number(&qe["isv_prod_id"]),
            qe_svn: number(&qe["isv_svn"]),
        }
    }
}

fn unhex<const N: usize>(text: &serde_json::Value) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.as_str().unwrap(), &mut bytes).unwrap();
    bytes
}

/// The fields of a report's body that are not zero.
struct Body {
    cpu_svn: [u8; 16],
    flags: u64,
    mrenclave: [u8; 32],
    mrsigner: [u8; 32],
    isv_prod_id: u16,
    isv_svn: u16,
    report_data: [u8; 64],
}

fn body(fields: &Body) -> [u8; BODY_LEN] {
    let mut bytes = [0; BODY_LEN];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &fields.cpu_svn);
    put(48, &fields.flags.to_le_bytes());
    put(56, &XFRM.to_le_bytes());
    put(64, &fields.mrenclave);
    put(128, &fields.mrsigner);
    put(256, &fields.isv_prod_id.to_le_bytes());
    put(258, &fields.isv_svn.to_le_bytes());
    put(REPORT_DATA, &fields.report_data);
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
