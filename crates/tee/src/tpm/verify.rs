//! Verification of a TPM's evidence.

use std::collections::BTreeMap;

use nautilus_core::{
    Descriptor, DeviceIdentity, Endorsements, LoggedEvent, Measurement, RESETTABLE_PCR_PREFIX,
    RESETTABLE_PCRS, RawClaims, Revocation, Tcb, TeeVerifier, TrustAnchorError, TrustAnchors, UnixMillis,
    UnsignedFact, VerifyError, Want,
};
use x509_cert::der::asn1::ObjectIdentifier;

use super::anchors::{Anchors, Enrolled, is_name};
use super::certificate::{Certificate, verify_chain};
use super::endorsement_key::{EkCertificate, EndorsementKey, key_digest};
use super::enrolment::EnrolledKey;
use super::evidence::{Evidence, PcrValues, recognises, refused_bank};
use super::public::Public;
use super::signature;
use super::wire::{AlgorithmId, Attest, HashAlgorithm, PcrSelection, Signature};
use crate::eventlog::{self, EventLog};

/// `tcg-kp-AIKCertificate` (TCG, *EK Credential Profile*, "Extended Key Usage").
const AIK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");

/// Verifies TPM quotes by attestation keys that the relying party enrolled, or that a certificate authority it
/// trusts vouches for.
#[derive(Clone, Debug)]
pub struct Verifier {
    anchors: Anchors,
}

impl Verifier {
    /// A verifier that trusts `anchors` of the roles `tpm-root` and `tpm-ak`, and nothing else: no maker's root is
    /// built in.
    ///
    /// # Errors
    /// If an anchor cannot be used as what it is given for.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        Ok(Self {
            anchors: Anchors::parse(anchors)?,
        })
    }

    /// The endorsement key of a genuine TPM, with which its attestation keys are enrolled ([`super::Enrolment`]).
    /// `certificate` is its certificate in DER, `public` its `TPM2B_PUBLIC` or `TPMT_PUBLIC`; intermediates and
    /// revocation lists of its maker come as `endorsements`. All of them come from the prover and are not trusted.
    ///
    /// # Errors
    /// If no trust anchor `tpm-root` vouches for the certificate at `now`, or it is of another key.
    pub fn endorsement_key(
        &self,
        certificate: &[u8],
        public: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<EndorsementKey, VerifyError> {
        EndorsementKey::verify(certificate, public, &self.anchors.roots, endorsements, now)
    }

    /// The enrolled form of the key, if there is one.
    fn enrolled(&self, ak: &Public) -> Option<&Enrolled> {
        let name = ak.name();
        // The form that says most about the key comes first.
        let strength = |enrolled: &&Enrolled| match enrolled {
            Enrolled::Activated(_) => 0,
            Enrolled::Name(_) => 1,
            Enrolled::Key(_) => 2,
        };
        let matches = |enrolled: &&Enrolled| match enrolled {
            Enrolled::Activated(key) => key.name() == name,
            Enrolled::Name(enrolled) => *enrolled == name,
            Enrolled::Key(key) => *key == ak.key,
        };
        self.anchors.keys.iter().filter(matches).min_by_key(strength)
    }

    /// Who says that the key is a TPM's.
    fn vouch(
        &self,
        evidence: &Evidence,
        ak: &Public,
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Voucher, VerifyError> {
        match (self.enrolled(ak), &evidence.ak_certificate) {
            (Some(enrolled), certificate) => {
                let mut voucher = match enrolled {
                    Enrolled::Activated(key) => Voucher::activated(key, ak, evidence)?,
                    Enrolled::Name(_) => Voucher::named(ak, evidence),
                    Enrolled::Key(_) => Voucher::of_key(ak, evidence)?,
                };
                if certificate.is_some() {
                    voucher.unsigned.push(UnsignedFact {
                        what: "attestation key certificate",
                        detail: "not looked at, since the key is enrolled".to_owned(),
                    });
                }
                Ok(voucher)
            }
            (None, Some(certificate)) => {
                let certificate = parse_ak_certificate(certificate)?;
                self.certified(&certificate, ak, evidence, endorsements, now)
            }
            (None, None) => Err(self.not_enrolled(evidence, ak, endorsements, now)),
        }
    }

    fn certified(
        &self,
        certificate: &Certificate,
        ak: &Public,
        evidence: &Evidence,
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Voucher, VerifyError> {
        let untrusted = |what: String| VerifyError::Untrusted {
            what: format!("attestation key certificate {}: {what}", certificate.name()),
        };
        let usage = certificate.extended_key_usage().map_err(untrusted)?;
        // The same root vouches for other keys too, and a key that is no TPM's signs whatever looks like a quote.
        if usage.is_none_or(|usage| !usage.0.contains(&AIK_CERTIFICATE)) {
            return Err(untrusted(format!(
                "its extended key usage lacks {AIK_CERTIFICATE}"
            )));
        }
        let usage = certificate.key_usage().map_err(untrusted)?;
        if usage.is_none_or(|usage| !usage.digital_signature()) {
            return Err(untrusted("its key usage lacks digitalSignature".to_owned()));
        }
        if certificate.key().map_err(untrusted)? != ak.key {
            return Err(untrusted(
                "it is of another key than the one that is said to have signed".to_owned(),
            ));
        }
        let roots = &self.anchors.roots;
        let chain = verify_chain(
            certificate,
            "attestation key certificate",
            roots,
            endorsements,
            now,
        )?;
        let mut voucher = Voucher::of_key(ak, evidence)?;
        voucher.revocation = chain.revocation;
        voucher.endorsed_until = Some(chain.until);
        voucher.set("ak_certificate_issuer", certificate.issuer());
        voucher.set("ak_certificate_serial", certificate.serial());
        Ok(voucher)
    }

    /// The error that nobody vouches for the key. A genuine endorsement key certificate does not help, and is named.
    fn not_enrolled(
        &self,
        evidence: &Evidence,
        ak: &Public,
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> VerifyError {
        let ek = match &evidence.ek_certificate {
            None => String::new(),
            Some(der) => {
                let verified = EkCertificate::parse(der).and_then(|ek| {
                    ek.verify(&self.anchors.roots, endorsements, now)
                        .map_err(|error| error.to_string())
                });
                match verified {
                    Ok(_) => {
                        "; the endorsement key certificate that came along is a trusted maker's, but vouches \
                               for its TPM and not for this key"
                            .to_owned()
                    }
                    Err(why) => format!(
                        "; the endorsement key certificate that came along does not serve either: {why}"
                    ),
                }
            }
        };
        VerifyError::KeyNotEnrolled {
            what: format!(
                "attestation key {} is neither enrolled nor certified{ek}; enrol it by credential activation and give \
                 the result as trust anchor `tpm-ak`",
                hex::encode(ak.name())
            ),
        }
    }

    /// The one selection, if it is that of the values that came along and of PCRs that measure something.
    fn check_selection<'a>(attest: &'a Attest, pcrs: &PcrValues) -> Result<&'a PcrSelection, VerifyError> {
        let found = attest
            .selections
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("+");
        let found = if found.is_empty() {
            "no PCR bank".to_owned()
        } else {
            found
        };
        let mismatch = |expected: String| VerifyError::SelectionMismatch {
            expected,
            found: found.clone(),
        };
        let [selection] = attest.selections.as_slice() else {
            return Err(mismatch("one PCR bank".to_owned()));
        };
        if HashAlgorithm::of_id(selection.bank).is_none() {
            return Err(refused_bank(selection.bank));
        }
        let given = PcrSelection {
            bank: pcrs.bank.id(),
            pcrs: pcrs.values.keys().copied().collect(),
        };
        if *selection != given {
            return Err(mismatch(format!("{given}, whose values came along")));
        }
        if selection.pcrs.iter().all(|pcr| RESETTABLE_PCRS.contains(pcr)) {
            return Err(mismatch(
                "a PCR that nothing but a restart resets (any but 16 and 20 to 23)".to_owned(),
            ));
        }
        Ok(selection)
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        super::DESCRIPTOR
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        let evidence = Evidence::parse(evidence)?;
        let ak = Public::parse("ak_public", &evidence.ak_public)?;
        let certificate = match &evidence.ak_certificate {
            Some(certificate) if self.enrolled(&ak).is_none() => parse_ak_certificate(certificate)?,
            _ => return Ok(Vec::new()),
        };
        let is_root = |root: &Certificate| root.subject_is_issuer_of(&certificate);
        let issuer = (!self.anchors.roots.iter().any(is_root)).then(|| certificate.want_issuer());
        Ok(issuer.into_iter().chain(certificate.want_crl()).collect())
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let evidence = Evidence::parse(evidence)?;
        let attest = Attest::parse(&evidence.attest)?;
        let signature = Signature::parse(&evidence.signature)?;
        let ak = Public::parse("ak_public", &evidence.ak_public)?;
        ak.check_attestation_key()?;
        let mut voucher = self.vouch(&evidence, &ak, endorsements, now)?;
        let (hash, facts) = signature::verify(&ak, &evidence.attest, &signature)?;
        voucher.unsigned.extend(facts);
        check_signer(&attest, &ak)?;
        let selection = Self::check_selection(&attest, &evidence.pcrs)?;
        check_values(&attest, &evidence.pcrs, hash)?;

        describe(&attest, &ak, &signature, &mut voucher);
        voucher.set("pcr_bank", selection.bank.to_string());
        let claimed = |(pcr, value)| (register(pcr), Measurement(value));
        Ok(RawClaims {
            report_data: attest.extra_data,
            device: voucher.device,
            debug: false,
            tcb: Tcb::default(),
            measurements: evidence.pcrs.values.into_iter().map(claimed).collect(),
            attributes: voucher.attributes,
            unsigned: voucher.unsigned,
            revocation: voucher.revocation,
            made_at: None,
            endorsed_until: voucher.endorsed_until,
        })
    }

    fn replay(&self, claims: &RawClaims, event_log: &[u8]) -> Result<Vec<LoggedEvent>, VerifyError> {
        let bank = claims.attributes.get("pcr_bank").map_or("", String::as_str);
        eventlog::hold_against_pcrs(&EventLog::parse(event_log)?, bank, &claims.measurements)
    }
}

/// What is known about the key, by whom.
struct Voucher {
    device: DeviceIdentity,
    attributes: BTreeMap<String, String>,
    unsigned: Vec<UnsignedFact>,
    revocation: Revocation,
    endorsed_until: Option<UnixMillis>,
}

impl Voucher {
    fn of(scheme: &'static str, id: String) -> Self {
        Self {
            device: DeviceIdentity {
                scheme,
                id,
                family: None,
            },
            attributes: BTreeMap::new(),
            unsigned: Vec::new(),
            revocation: Revocation::NotApplicable {
                because: "the relying party enrolled the attestation key: it takes its trust anchor away to revoke it",
            },
            endorsed_until: None,
        }
    }

    /// By credential activation: the key and the TPM that it is in.
    fn activated(key: &EnrolledKey, ak: &Public, evidence: &Evidence) -> Result<Self, VerifyError> {
        let ek = key.endorsement_key();
        if evidence
            .ek_certificate
            .as_deref()
            .is_some_and(|brought| brought != ek.der())
        {
            return Err(VerifyError::KeyNotEnrolled {
                what: format!(
                    "attestation key {} was enrolled with another endorsement key certificate than the one that came \
                     along; enrol it again, or leave the certificate out",
                    hex::encode(ak.name())
                ),
            });
        }
        let digest = ek
            .key_digest()
            .map_err(|what| VerifyError::AttributeInvalid { what })?;
        let mut voucher = Self::of("tpm-ek", digest);
        voucher.attributes = ek.describe();
        voucher.set("ak_name", hex::encode(ak.name()));
        Ok(voucher)
    }

    /// By its name, which covers its public area.
    fn named(ak: &Public, evidence: &Evidence) -> Self {
        let name = hex::encode(ak.name());
        let mut voucher = Self::of("tpm-ak-name", name.clone());
        voucher.set("ak_name", name);
        voucher.note_unbound_ek(evidence);
        voucher
    }

    /// By the key alone: its name and its attributes are only what the evidence says.
    fn of_key(ak: &Public, evidence: &Evidence) -> Result<Self, VerifyError> {
        let digest = key_digest(&ak.key).map_err(|what| VerifyError::AttributeInvalid { what })?;
        let mut voucher = Self::of("tpm-ak-key", digest);
        voucher.unsigned.push(UnsignedFact {
            what: "attestation key's public area",
            detail: "who vouches for the key names the key alone: that a TPM holds it and restricts it is their word, \
                     not that of the attributes which came along"
                .to_owned(),
        });
        voucher.note_unbound_ek(evidence);
        Ok(voucher)
    }

    fn note_unbound_ek(&mut self, evidence: &Evidence) {
        if evidence.ek_certificate.is_some() {
            self.unsigned.push(UnsignedFact {
                what: "endorsement key certificate",
                detail: "nothing binds it to the attestation key, so nothing is taken from it".to_owned(),
            });
        }
    }

    fn set(&mut self, name: &str, value: String) {
        self.attributes.insert(name.to_owned(), value);
    }
}

fn parse_ak_certificate(der: &[u8]) -> Result<Certificate, VerifyError> {
    Certificate::parse(der).map_err(|what| VerifyError::Malformed {
        what: format!("ak_certificate: {what}"),
        offset: 0,
    })
}

/// A qualified name has the form of a name, by the hash of the key's own (part 1, "Names", "Qualified Name").
fn check_signer(attest: &Attest, ak: &Public) -> Result<(), VerifyError> {
    let signer = attest.qualified_signer.as_slice();
    let of_that_hash = signer.starts_with(&ak.name_algorithm.id().0.to_be_bytes());
    if is_name(signer) && of_that_hash {
        return Ok(());
    }
    Err(VerifyError::AttributeInvalid {
        what: format!(
            "qualified name {} of the quote's signer is not one by {}, the attestation key's hash",
            hex::encode(signer),
            ak.name_algorithm.name()
        ),
    })
}

/// The digest is by the hash of the signing scheme, over the values in ascending order (part 3, "TPM2_Quote").
fn check_values(attest: &Attest, pcrs: &PcrValues, hash: HashAlgorithm) -> Result<(), VerifyError> {
    let digest = hash.digest(pcrs.values.values().map(Vec::as_slice));
    if digest == attest.pcr_digest {
        return Ok(());
    }
    Err(VerifyError::SignatureInvalid {
        what: format!(
            "the PCR values that came along are not those quoted: their {} digest is {}, signed is {}",
            hash.name(),
            hex::encode(digest),
            hex::encode(&attest.pcr_digest)
        ),
    })
}

/// The name that a PCR is claimed by. What any program on the machine sets to what it likes must not be taken for a
/// measurement.
fn register(pcr: u8) -> String {
    let prefix = if RESETTABLE_PCRS.contains(&pcr) {
        RESETTABLE_PCR_PREFIX
    } else {
        ""
    };
    format!("{prefix}pcr{pcr}")
}

fn describe(attest: &Attest, ak: &Public, signature: &Signature, voucher: &mut Voucher) {
    let (scheme, hash): (AlgorithmId, AlgorithmId) = signature.algorithms();
    voucher.set("ak_algorithm", ak.key.describe());
    voucher.set("ak_qualified_name", hex::encode(&attest.qualified_signer));
    voucher.set("quote_signature", format!("{scheme}-{hash}"));
    voucher.set("firmware_version", attest.firmware_version.to_string());
    voucher.set("clock", attest.clock.clock.to_string());
    voucher.set("clock_safe", attest.clock.safe.to_string());
    voucher.set("reset_count", attest.clock.reset_count.to_string());
    voucher.set("restart_count", attest.clock.restart_count.to_string());
}
