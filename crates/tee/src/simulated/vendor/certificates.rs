//! The vendor's certificates, in the shapes of Intel's. Pure: keys, hardware and term in, DER out.
//!
//! Profile: Intel, *SGX PCK Certificate and Certificate Revocation List Profile Specification*. The names say that
//! everything is simulated, but for the one that marks a role: the signer of TCB info is known by its common name.

use std::ops::Add;
use std::time::Duration;

use nautilus_core::UnixMillis;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::simulated::SimulatedError;
use crate::simulated::key::{CaKey, RawKey};

/// The family of all simulated platforms: "SIM" in ASCII.
pub(super) const FMSPC: [u8; 6] = [0x53, 0x49, 0x4d, 0, 0, 0];
/// The one simulated provisioning certification enclave.
pub(super) const PCE_ID: [u8; 2] = [0, 0];
/// Security versions of a platform that lacks nothing.
pub(super) const NEWEST_CPU_SVN: [u8; 16] = [7, 9, 3, 3, 255, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
/// Security version of the newest provisioning certification enclave.
pub(super) const NEWEST_PCE_SVN: u16 = 13;

const ORGANIZATION: &str = "Nautilus, simulated hardware: proves nothing";
/// The extension of Intel's PCK certificates.
const SGX_EXTENSION: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];
/// 9999-12-31T23:59:59Z, the last instant of X.509 (RFC 5280, 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799_000;

/// From when to when a document is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) from: UnixMillis,
    pub(super) until: UnixMillis,
}

/// What a PCK certificate says of its platform.
#[derive(Clone, Debug)]
pub(super) struct Hardware {
    pub(super) ppid: [u8; 16],
    pub(super) instance: [u8; 16],
    pub(super) cpu_svn: [u8; 16],
    pub(super) pce_svn: u16,
}

impl Hardware {
    /// A platform whose TCB is up to date.
    pub(super) const fn new(ppid: [u8; 16], instance: [u8; 16]) -> Self {
        Self {
            ppid,
            instance,
            cpu_svn: NEWEST_CPU_SVN,
            pce_svn: NEWEST_PCE_SVN,
        }
    }
}

/// The keys to be certified.
pub(super) struct Keys {
    pub(super) root: CaKey,
    pub(super) pck_ca: CaKey,
    pub(super) tcb_signing: RawKey,
    pub(super) pck: RawKey,
}

/// Certificates in DER.
pub(super) struct Certificates {
    pub(super) root: Vec<u8>,
    pub(super) pck_ca: Vec<u8>,
    pub(super) tcb_signing: Vec<u8>,
    pub(super) pck: Vec<u8>,
}

impl Certificates {
    /// Leaf, platform CA and root as Intel's quoting library writes them into a quote, with the zero at the end.
    pub(super) fn pck_chain(&self) -> Vec<u8> {
        let mut chain = pem_chain(&[&self.pck, &self.pck_ca, &self.root]).into_bytes();
        chain.push(0);
        chain
    }
}

/// Certificates in PEM, one after the other.
pub(super) fn pem_chain(certificates: &[&[u8]]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    certificates
        .iter()
        .map(|der| pem::encode_config(&Pem::new("CERTIFICATE", *der), config))
        .collect()
}

/// Makes all of the vendor's certificates.
///
/// # Errors
/// If the term lies beyond what X.509 can express, or a key does not sign.
pub(super) fn make(keys: &Keys, hardware: &Hardware, term: Term) -> Result<Certificates, SimulatedError> {
    let failed = |error: rcgen::Error| SimulatedError::Crypto {
        what: format!("certificate: {error}"),
    };
    let params = |role: Role| role.params(keys.root.point(), term);
    let root = params(Role::Root)?;
    let pck_ca = params(Role::PckCa)?;
    let tcb_signing = params(Role::TcbSigning)?;
    let mut pck = params(Role::Pck)?;
    pck.custom_extensions.push(CustomExtension::from_oid_content(
        &SGX_EXTENSION,
        sgx_extension(hardware),
    ));
    let by_root = Issuer::from_params(&root, &keys.root);
    let by_pck_ca = Issuer::from_params(&pck_ca, &keys.pck_ca);
    Ok(Certificates {
        root: root.self_signed(&keys.root).map_err(failed)?.der().to_vec(),
        pck_ca: pck_ca
            .signed_by(&keys.pck_ca, &by_root)
            .map_err(failed)?
            .der()
            .to_vec(),
        tcb_signing: tcb_signing
            .signed_by(&keys.tcb_signing, &by_root)
            .map_err(failed)?
            .der()
            .to_vec(),
        pck: pck
            .signed_by(&keys.pck, &by_pck_ca)
            .map_err(failed)?
            .der()
            .to_vec(),
    })
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Root,
    PckCa,
    TcbSigning,
    Pck,
}

impl Role {
    /// A certificate of the vendor whose root has the public key `root`. A vendor that exists must go on to get the
    /// same names: its CRLs are found by them.
    fn params(self, root: &[u8], term: Term) -> Result<CertificateParams, SimulatedError> {
        let common_name = match self {
            Self::Root => "Nautilus Simulated SGX Root CA",
            // "Platform" tells a platform CA from a processor CA.
            Self::PckCa => "Nautilus Simulated SGX PCK Platform CA",
            Self::TcbSigning => "Intel SGX TCB Signing",
            Self::Pck => "Nautilus Simulated SGX PCK Certificate",
        };
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, common_name);
        name.push(DnType::OrganizationName, ORGANIZATION);
        let id: String = hex::encode(Sha256::digest(root)).chars().take(16).collect();
        name.push(DnType::OrganizationalUnitName, format!("vendor {id}"));
        let signs_certificates = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signs_data = vec![KeyUsagePurpose::DigitalSignature];
        let (is_ca, key_usages) = match self {
            Self::Root => (IsCa::Ca(BasicConstraints::Constrained(1)), signs_certificates),
            Self::PckCa => (IsCa::Ca(BasicConstraints::Constrained(0)), signs_certificates),
            Self::TcbSigning | Self::Pck => (IsCa::ExplicitNoCa, signs_data),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.is_ca = is_ca;
        params.key_usages = key_usages;
        params.use_authority_key_identifier_extension = true;
        params.not_before = at(date_time_ymd(1970, 1, 1), term.from)?;
        params.not_after = at(date_time_ymd(1970, 1, 1), term.until)?;
        Ok(params)
    }

    /// What signs in this role. The term does not matter to what is signed.
    pub(super) fn issuer<K: rcgen::SigningKey>(
        self,
        root: &[u8],
        term: Term,
        key: K,
    ) -> Result<Issuer<'static, K>, SimulatedError> {
        Ok(Issuer::new(self.params(root, term)?, key))
    }
}

/// An instant as `rcgen` has it, given the epoch.
///
/// # Errors
/// If X.509 cannot express it.
pub(super) fn at<T: Add<Duration, Output = T>>(epoch: T, when: UnixMillis) -> Result<T, SimulatedError> {
    if when.0 > END_OF_TIME {
        return Err(SimulatedError::Clock { now: when });
    }
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "every instant up to the year 9999 can be expressed"
    )]
    let instant = epoch + Duration::from_secs(when.as_secs());
    Ok(instant)
}

/// When a certificate is valid.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn term(der: &[u8]) -> Result<Term, String> {
    let certificate = parse(der)?;
    let validity = certificate.tbs_certificate().validity();
    let millis = |time: x509_cert::time::Time| UnixMillis::from_secs(time.to_unix_duration().as_secs());
    Ok(Term {
        from: millis(validity.not_before),
        until: millis(validity.not_after),
    })
}

/// The point that a certificate certifies.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn public_key(der: &[u8]) -> Result<Vec<u8>, String> {
    let certificate = parse(der)?;
    Ok(certificate
        .tbs_certificate()
        .subject_public_key_info()
        .subject_public_key
        .raw_bytes()
        .to_vec())
}

fn parse(der: &[u8]) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|error| format!("it is no certificate: {error}"))
}

/// The extension of a PCK certificate, in DER. Numbers are those below the extension's own identifier.
fn sgx_extension(hardware: &Hardware) -> Vec<u8> {
    const BOOLEAN: u8 = 0x01;
    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    const ENUMERATED: u8 = 0x0a;
    let mut tcb: Vec<Vec<u8>> = (1..=16)
        .zip(hardware.cpu_svn)
        .map(|(n, svn)| entry(&[2, n], &tlv(INTEGER, &unsigned(svn.into()))))
        .collect();
    tcb.push(entry(&[2, 17], &tlv(INTEGER, &unsigned(hardware.pce_svn))));
    tcb.push(entry(&[2, 18], &tlv(OCTET_STRING, &hardware.cpu_svn)));
    let no = tlv(BOOLEAN, &[0]);
    sequence(&[
        entry(&[1], &tlv(OCTET_STRING, &hardware.ppid)),
        entry(&[2], &sequence(&tcb)),
        entry(&[3], &tlv(OCTET_STRING, &PCE_ID)),
        entry(&[4], &tlv(OCTET_STRING, &FMSPC)),
        // 1: scalable.
        entry(&[5], &tlv(ENUMERATED, &[1])),
        entry(&[6], &tlv(OCTET_STRING, &hardware.instance)),
        // Dynamic platform, cached keys, SMT.
        entry(
            &[7],
            &sequence(&[entry(&[7, 1], &no), entry(&[7, 2], &no), entry(&[7, 3], &no)]),
        ),
    ])
}

/// An identifier below that of the extension, and its value.
fn entry(path: &[u8], value: &[u8]) -> Vec<u8> {
    const OBJECT_IDENTIFIER: u8 = 0x06;
    // 1.2.840.113741.1.13.1
    let mut oid = vec![0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];
    oid.extend(path);
    sequence(&[tlv(OBJECT_IDENTIFIER, &oid), value.to_vec()])
}

fn sequence(items: &[Vec<u8>]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    tlv(SEQUENCE, &items.concat())
}

/// DER of a value below 64 KiB (X.690, 8.1.3).
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len().to_be_bytes() {
        [0, 0, 0, 0, 0, 0, 0, short @ 0..=0x7f] => der.push(short),
        [0, 0, 0, 0, 0, 0, 0, one] => der.extend([0x81, one]),
        [.., high, low] => der.extend([0x82, high, low]),
    }
    der.extend(content);
    der
}

/// The content of an INTEGER: as few bytes as keep it from looking negative (X.690, 8.3).
fn unsigned(value: u16) -> Vec<u8> {
    match value.to_be_bytes() {
        [0, low @ 0..=0x7f] => vec![low],
        [0, low] => vec![0, low],
        [high @ 0..=0x7f, low] => vec![high, low],
        [high, low] => vec![0, high, low],
    }
}
