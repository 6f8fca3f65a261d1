//! One collateral document: what it says it is for, and what `dcap-qvl` does not check of it.

use std::sync::OnceLock;

use dcap_qvl::QuoteCollateralV3;
use nautilus_core::{Endorsements, UnixMillis, VerifyError};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, Uint};
use x509_cert::der::{self, Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber};
use x509_cert::ext::Extensions;
use x509_cert::time::{Time, Validity};

use crate::dcap::chain::{Platform, certificates_in};
use crate::dcap::crypto;
use crate::dcap::tcb::Levels;
use crate::dcap::verify::{Family, Root};
use crate::memo::Key;

/// Common name of the certificate that signs TCB Info and QE Identity (Intel, *SGX PCK Certificate and CRL
/// Profile Specification*, "Intel SGX TCB Signing Certificate").
pub(super) const TCB_SIGNING: &str = "Intel SGX TCB Signing";
/// The extension that makes a certificate a PCK.
const PCK_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A document that could be read. What it says counts only once its signatures were verified.
pub(in crate::dcap) struct Document {
    bytes: Box<[u8]>,
    pub(in crate::dcap) documents: QuoteCollateralV3,
    pub(super) tcb_info: TcbInfoHead,
    pub(super) windows: [Window; 2],
    crls: OnceLock<[Result<CrlHead, String>; 2]>,
    levels: OnceLock<Levels>,
    digest: OnceLock<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcbInfoHead {
    /// Absent before version 3.
    id: Option<String>,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u32,
    pub(super) tcb_evaluation_data_number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentityHead {
    issue_date: String,
    next_update: String,
}

/// When a part of the collateral is valid, both ends included.
pub(super) struct Window {
    what: &'static str,
    pub(super) from: UnixMillis,
    until: UnixMillis,
}

/// What is needed of a CRL.
struct CrlHead {
    number: Option<CrlNumber>,
    this_update: UnixMillis,
    next_update: Option<UnixMillis>,
}

/// How new a document is, by what is compared first. CRLs count, so that today's TCB Info cannot be paired
/// with a CRL from before a revocation and be preferred over the whole of the same day.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    evaluation: u32,
    tcb_info: UnixMillis,
    root_ca_crl: Option<&'a CrlNumber>,
    pck_crl: Option<&'a CrlNumber>,
}

/// A CRL's number (RFC 5280, section 5.2.3), which grows with every issue. The shorter is the smaller: DER has no
/// leading zeros.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CrlNumber {
    length: usize,
    big_endian: Vec<u8>,
}

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let size = bytes.len();
        if size > Endorsements::MAX_SIZE {
            return Err(format!(
                "{size} bytes, more than the {} allowed",
                Endorsements::MAX_SIZE
            ));
        }
        let mut documents: QuoteCollateralV3 =
            serde_json::from_slice(bytes).map_err(|error| format!("not DCAP collateral: {error}"))?;
        // The quote names its platform; nothing else may do so in its place.
        documents.pck_certificate_chain = None;
        let tcb_info: TcbInfoHead = serde_json::from_str(&documents.tcb_info)
            .map_err(|error| format!("TCB Info cannot be read: {error}"))?;
        let qe_identity: QeIdentityHead = serde_json::from_str(&documents.qe_identity)
            .map_err(|error| format!("QE Identity cannot be read: {error}"))?;
        let windows = [
            Window::read("TCB Info", &tcb_info.issue_date, &tcb_info.next_update)?,
            Window::read("QE Identity", &qe_identity.issue_date, &qe_identity.next_update)?,
        ];
        Ok(Self {
            bytes: bytes.into(),
            documents,
            tcb_info,
            windows,
            crls: OnceLock::new(),
            levels: OnceLock::new(),
            digest: OnceLock::new(),
        })
    }

    /// The document as it was brought.
    pub(in crate::dcap) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A digest of the whole document.
    pub(in crate::dcap) fn digest(&self) -> &Key {
        self.digest.get_or_init(|| Key::of(&[&self.bytes]))
    }

    /// TCB levels, as they stand there.
    pub(in crate::dcap) fn levels(&self) -> &Levels {
        self.levels.get_or_init(|| Levels::read(&self.documents))
    }

    pub(super) fn fits(&self, family: Family, platform: &Platform) -> bool {
        let id_fits = match (&self.tcb_info.id, family) {
            (Some(id), _) => id == family.tcb_info_id(),
            (None, Family::Sgx) => self.tcb_info.version < 3,
            (None, Family::Tdx) => false,
        };
        id_fits && self.tcb_info.fmspc.eq_ignore_ascii_case(&platform.fmspc())
    }

    /// What this document is for, for a message.
    pub(super) fn offer(&self, origin: &str) -> String {
        let id = self.tcb_info.id.as_deref().unwrap_or("SGX");
        let name = |text: &str| {
            text.chars()
                .take(16)
                .collect::<String>()
                .escape_default()
                .to_string()
        };
        format!(
            "{} platform {} from {origin}",
            name(id),
            name(&self.tcb_info.fmspc)
        )
    }

    pub(super) fn unsupported(&self) -> Option<String> {
        let version = self.tcb_info.version;
        (version < 3).then(|| {
            format!(
                "TCB Info version {version} is not supported: version 3 comes from version 4 of Intel's PCS"
            )
        })
    }

    pub(super) fn rank(&self) -> Rank<'_> {
        let [tcb_info, _] = &self.windows;
        let [root_ca_crl, pck_crl] = self.crls();
        Rank {
            evaluation: self.tcb_info.tcb_evaluation_data_number,
            tcb_info: tcb_info.from,
            root_ca_crl: root_ca_crl.as_ref().ok().and_then(|crl| crl.number.as_ref()),
            pck_crl: pck_crl.as_ref().ok().and_then(|crl| crl.number.as_ref()),
        }
    }

    pub(super) fn not_current(&self, origin: &str, now: UnixMillis) -> Option<VerifyError> {
        self.windows.iter().find_map(|window| window.fault(origin, now))
    }

    /// What `dcap-qvl` leaves unchecked, and what it would not name.
    pub(super) fn check(
        &self,
        origin: &str,
        platform: &Platform,
        now: UnixMillis,
        root: &Root,
    ) -> Result<(), VerifyError> {
        let invalid = |what: String| VerifyError::EndorsementInvalid {
            origin: origin.to_owned(),
            what,
        };
        let pce_id = hex::encode_upper(&platform.pck.pce_id);
        if !self.tcb_info.pce_id.eq_ignore_ascii_case(&pce_id) {
            let found = self.tcb_info.pce_id.escape_default();
            return Err(invalid(format!(
                "TCB Info is for PCE {found}, the platform has {pce_id}"
            )));
        }
        if self.tcb_info.tcb_type != 0 {
            return Err(invalid(format!(
                "TCB Info has TCB type {}, type 0 is supported",
                self.tcb_info.tcb_type
            )));
        }
        let tcb_info_chain = &self.documents.tcb_info_issuer_chain;
        let qe_identity_chain = &self.documents.qe_identity_issuer_chain;
        check_signer(origin, "TCB Info", tcb_info_chain, now, root)?;
        // Intel signs both with one certificate.
        if qe_identity_chain != tcb_info_chain {
            check_signer(origin, "QE Identity", qe_identity_chain, now, root)?;
        }
        for (what, crl) in ["root CA CRL", "PCK CRL"].into_iter().zip(self.crls()) {
            let crl = crl
                .as_ref()
                .map_err(|error| invalid(format!("{what} cannot be read: {error}")))?;
            if let Some(until) = crl.next_update {
                let window = Window {
                    what,
                    from: crl.this_update,
                    until,
                };
                window.fault(origin, now).map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Every second at which a part of the document starts or stops being valid; none if they cannot be told.
    pub(in crate::dcap) fn instants(&self) -> Option<Vec<u64>> {
        let mut instants = Vec::new();
        for window in &self.windows {
            instants.extend([window.from.as_secs(), window.until.as_secs()]);
        }
        for crl in self.crls() {
            let crl = crl.as_ref().ok()?;
            instants.push(crl.this_update.as_secs());
            instants.extend(crl.next_update.map(UnixMillis::as_secs));
        }
        let mut chains = vec![&self.documents.tcb_info_issuer_chain];
        if !chains.contains(&&self.documents.qe_identity_issuer_chain) {
            chains.push(&self.documents.qe_identity_issuer_chain);
        }
        for chain in chains {
            for certificate in certificates_in(chain.as_bytes()).ok()? {
                instants.extend(validity_of(&certificate)?);
            }
        }
        Some(instants)
    }

    /// Whether TCB Info was signed by a signer whom this root certified, at whatever time: whether the document is
    /// worth remembering although nothing was verified with it.
    pub(in crate::dcap) fn is_authentic(&self, root: &Root) -> bool {
        let signer = certificates_in(self.documents.tcb_info_issuer_chain.as_bytes())
            .ok()
            .and_then(|chain| Certificate::from_der(chain.first()?).ok());
        let (Some(signer), Ok(root)) = (signer, Certificate::from_der(root.der())) else {
            return false;
        };
        let key = |certificate: &Certificate| {
            let key = certificate
                .tbs_certificate()
                .subject_public_key_info()
                .subject_public_key
                .raw_bytes();
            key.to_vec()
        };
        let Ok(certified) = signer.tbs_certificate().to_der() else {
            return false;
        };
        crypto::signed_in_der(&key(&root), &certified, signer.signature().raw_bytes())
            && crypto::signed(
                &key(&signer),
                self.documents.tcb_info.as_bytes(),
                &self.documents.tcb_info_signature,
            )
    }

    fn crls(&self) -> &[Result<CrlHead, String>; 2] {
        self.crls.get_or_init(|| {
            [
                CrlHead::read(&self.documents.root_ca_crl),
                CrlHead::read(&self.documents.pck_crl),
            ]
        })
    }
}

/// `dcap-qvl` takes any certificate that the root issued, a PCK's included, for the signer of TCB Info.
pub(super) fn check_signer(
    origin: &str,
    what: &str,
    chain: &str,
    now: UnixMillis,
    root: &Root,
) -> Result<(), VerifyError> {
    let invalid = |why: String| VerifyError::EndorsementInvalid {
        origin: origin.to_owned(),
        what: format!("signer of {what}: {why}"),
    };
    let certificates = certificates_in(chain.as_bytes()).map_err(invalid)?;
    let leaf = certificates
        .first()
        .ok_or_else(|| invalid("no certificate".to_owned()))?;
    let certificate = Certificate::from_der(leaf).map_err(|error| invalid(error.to_string()))?;
    let leaf = certificate.tbs_certificate();
    let mut names = leaf.subject().iter().filter(|name| name.oid == COMMON_NAME);
    let is_signer = match (names.next(), names.next()) {
        (Some(name), None) => name.value.value() == TCB_SIGNING.as_bytes(),
        _ => false,
    };
    if !is_signer {
        return Err(invalid(format!(
            "certificate of `{}`, not of `{TCB_SIGNING}`",
            leaf.subject()
        )));
    }
    if leaf
        .extensions()
        .into_iter()
        .flatten()
        .any(|extension| extension.extn_id == PCK_EXTENSION)
    {
        return Err(invalid("a platform's PCK certificate may not sign it".to_owned()));
    }
    if !root.issued(&certificate) {
        let what = format!("signer of {what} from {origin} was issued by `{}`", leaf.issuer());
        return Err(VerifyError::Untrusted { what });
    }
    Window::of("TCB signing certificate", leaf.validity())
        .fault(origin, now)
        .map_or(Ok(()), Err)
}

/// The seconds at which a certificate starts and stops being valid.
pub(in crate::dcap) fn validity_of(certificate: &[u8]) -> Option<[u64; 2]> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some([
        millis(validity.not_before).as_secs(),
        millis(validity.not_after).as_secs(),
    ])
}

impl CrlHead {
    fn read(crl: &[u8]) -> Result<Self, String> {
        Self::decode(crl).map_err(|error| error.to_string())
    }

    /// `TBSCertList` (RFC 5280, section 5.1) without its entries, which are most of it: `dcap-qvl` reads those.
    fn decode(crl: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(crl)?;
        let head = reader.sequence(|list| -> der::Result<Self> {
            let head = list.sequence(|tbs| -> der::Result<Self> {
                if next_tag(tbs)? == Some(Tag::Integer) {
                    AnyRef::decode(tbs)?;
                }
                let (_signature, _issuer) = (AnyRef::decode(tbs)?, AnyRef::decode(tbs)?);
                let this_update = millis(Time::decode(tbs)?);
                let next_update = match next_tag(tbs)? {
                    Some(Tag::UtcTime | Tag::GeneralizedTime) => Some(millis(Time::decode(tbs)?)),
                    _ => None,
                };
                if next_tag(tbs)? == Some(Tag::Sequence) {
                    AnyRef::decode(tbs)?;
                }
                let extensions: Option<ContextSpecific<Extensions>> =
                    ContextSpecific::decode_explicit(tbs, TagNumber(0))?;
                let extensions = extensions.map(|explicit| explicit.value).unwrap_or_default();
                let number = extensions
                    .iter()
                    .find(|extension| extension.extn_id == CRL_NUMBER)
                    .and_then(|number| CrlNumber::read(number.extn_value.as_bytes()));
                Ok(Self {
                    number,
                    this_update,
                    next_update,
                })
            })?;
            let (_algorithm, _signature) = (AnyRef::decode(list)?, AnyRef::decode(list)?);
            Ok(head)
        })?;
        reader.finish()?;
        Ok(head)
    }
}

/// The tag of what comes next, if anything does.
fn next_tag(reader: &SliceReader<'_>) -> der::Result<Option<Tag>> {
    if reader.is_finished() {
        Ok(None)
    } else {
        Tag::peek(reader).map(Some)
    }
}

impl CrlNumber {
    /// None, and so the least, where there is no such number.
    fn read(number: &[u8]) -> Option<Self> {
        let number = Uint::from_der(number).ok()?;
        let big_endian = number.as_bytes().to_vec();
        Some(Self {
            length: big_endian.len(),
            big_endian,
        })
    }
}

impl Window {
    fn read(what: &'static str, from: &str, until: &str) -> Result<Self, String> {
        let parse = |text: &str| text.parse().map_err(|error| format!("{what}: {error}"));
        Ok(Self {
            what,
            from: parse(from)?,
            until: parse(until)?,
        })
    }

    fn of(what: &'static str, validity: &Validity<Rfc5280>) -> Self {
        Self {
            what,
            from: millis(validity.not_before),
            until: millis(validity.not_after),
        }
    }

    /// Whole seconds decide, as in X.509 and in Intel's documents.
    fn fault(&self, origin: &str, now: UnixMillis) -> Option<VerifyError> {
        let state = if now.as_secs() < self.from.as_secs() {
            "is not valid yet"
        } else if now.as_secs() > self.until.as_secs() {
            "has expired"
        } else {
            return None;
        };
        let Self { what, from, until } = self;
        let what = format!("{what} {state}: valid from {from} until {until}, now {now}");
        Some(VerifyError::EndorsementNotCurrent {
            origin: origin.to_owned(),
            what,
        })
    }
}

fn millis(time: Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
}
