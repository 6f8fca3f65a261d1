//! Revocation lists of AWS's intermediates.
//!
//! The intermediates name lists of their issuers. AWS's own validation leaves them out (*Nitro Enclaves Attestation
//! Process* §3.2.3), so that evidence verifies without; where lists came along they are held against the chain.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, UnixMillis, VerifyError, Want};
use x509_cert::TbsCertificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::chain::{Authority, Issuers, signed_part, untrusted};

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// Where a certificate says that its issuer publishes a list.
pub(super) fn distribution_points(certificate: &TbsCertificate) -> Vec<String> {
    let points = match certificate.get_extension::<CrlDistributionPoints>() {
        Ok(Some((_, points))) => points.0,
        _ => return Vec::new(),
    };
    points
        .into_iter()
        .flat_map(|point| urls(point.distribution_point))
        .collect()
}

fn urls(name: Option<DistributionPointName>) -> Vec<String> {
    let Some(DistributionPointName::FullName(names)) = name else {
        return Vec::new();
    };
    let url = |name| match name {
        GeneralName::UniformResourceIdentifier(url) => Some(url.as_str().to_owned()),
        _ => None,
    };
    names.into_iter().filter_map(url).collect()
}

/// The lists that a chain names.
pub(super) fn wants(issuers: &Issuers) -> Vec<Want> {
    issuers
        .intermediates
        .iter()
        .enumerate()
        .filter(|(_, intermediate)| !intermediate.lists.is_empty())
        .map(|(index, intermediate)| Want {
            kind: EndorsementKind::Crl,
            subject: format!("AWS Nitro Enclaves authority {index} of the chain"),
            urls: intermediate.lists.clone(),
        })
        .collect()
}

/// Holds the lists that came along against the chain. Lists of other issuers are none of this chain's business.
pub(super) fn check(
    issuers: &Issuers,
    endorsements: &Endorsements,
    now: UnixMillis,
) -> Result<Revocation, VerifyError> {
    let mut until: Option<UnixMillis> = None;
    let mut missing = Vec::new();
    for (issuer, intermediate) in issuers.authorities.iter().zip(&issuers.intermediates) {
        if intermediate.lists.is_empty() {
            continue;
        }
        let mut checked = false;
        for endorsement in endorsements.of_kind(EndorsementKind::Crl) {
            let Some(list) = List::of(endorsement, issuer, &intermediate.lists)? else {
                continue;
            };
            if list.revokes(&intermediate.serial) {
                let serial = hex::encode(&intermediate.serial);
                return Err(untrusted(format!(
                    "intermediate certificate {serial} is revoked by the list from {}",
                    endorsement.origin
                )));
            }
            let next = list.check_current(endorsement, now)?;
            until = until.into_iter().chain([next]).min();
            checked = true;
        }
        if !checked {
            missing.extend(intermediate.lists.first().cloned());
        }
    }
    if !missing.is_empty() {
        return Ok(Revocation::Unchecked {
            because: format!("no revocation list of {} came along", missing.join(", ")),
        });
    }
    Ok(match until {
        Some(until) => Revocation::Checked { until: Some(until) },
        None => Revocation::NotApplicable {
            because: "no certificate of the chain names a revocation list",
        },
    })
}

/// A list that an authority of the chain signed.
struct List(CertificateList);

impl List {
    /// The list in an endorsement, if it is of this issuer.
    fn of(
        endorsement: &Endorsement,
        issuer: &Authority,
        lists: &[String],
    ) -> Result<Option<Self>, VerifyError> {
        let Ok(list) = CertificateList::from_der(&endorsement.bytes) else {
            return Ok(None);
        };
        if list.tbs_cert_list.issuer.to_der().ok().as_ref() != Some(&issuer.subject) {
            return Ok(None);
        }
        let invalid = |what: &str| VerifyError::EndorsementInvalid {
            origin: endorsement.origin.clone(),
            what: what.to_owned(),
        };
        let signed = signed_part(&endorsement.bytes).map_err(|error| invalid(&error.to_string()))?;
        let algorithm = &list.signature_algorithm;
        if algorithm.oid != ECDSA_WITH_SHA384 || list.tbs_cert_list.signature != *algorithm {
            return Err(invalid("the revocation list is not signed by ECDSA with SHA-384"));
        }
        let signature = list.signature.as_bytes().unwrap_or_default();
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &issuer.key)
            .verify(signed, signature)
            .map_err(|_| invalid("the revocation list is not signed by the issuer that it names"))?;
        if !covers(&list, lists) {
            return Err(invalid(
                "the revocation list does not cover the whole of what its issuer issues",
            ));
        }
        Ok(Some(Self(list)))
    }

    fn revokes(&self, serial: &[u8]) -> bool {
        let revoked = self
            .0
            .tbs_cert_list
            .revoked_certificates
            .as_deref()
            .unwrap_or_default();
        revoked
            .iter()
            .any(|entry| entry.serial_number.as_bytes() == serial)
    }

    /// That the list is current. Gives when the next one is due.
    fn check_current(&self, endorsement: &Endorsement, now: UnixMillis) -> Result<UnixMillis, VerifyError> {
        let millis = |time: x509_cert::time::Time| UnixMillis::from_secs(time.to_unix_duration().as_secs());
        let from = millis(self.0.tbs_cert_list.this_update);
        let not_current = |what: String| VerifyError::EndorsementNotCurrent {
            origin: endorsement.origin.clone(),
            what,
        };
        let Some(until) = self.0.tbs_cert_list.next_update.map(millis) else {
            return Err(not_current("the revocation list says not until when".to_owned()));
        };
        if now < from || now > until {
            return Err(not_current(format!(
                "the revocation list is of {from} to {until}, now is {now}"
            )));
        }
        Ok(until)
    }
}

/// Whether a list speaks of every authority that the issuer certified and of every reason (RFC 5280 §5.2.5), at one
/// of the places that the certificate names.
fn covers(list: &CertificateList, lists: &[String]) -> bool {
    let extensions = list.tbs_cert_list.crl_extensions.as_deref().unwrap_or_default();
    extensions.iter().all(|extension| match extension.extn_id {
        AUTHORITY_KEY_IDENTIFIER | CRL_NUMBER => true,
        ISSUING_DISTRIBUTION_POINT => IssuingDistributionPoint::from_der(extension.extn_value.as_bytes())
            .is_ok_and(|point| {
                let partial = point.only_contains_user_certs
                    || point.only_contains_attribute_certs
                    || point.indirect_crl
                    || point.only_some_reasons.is_some();
                let elsewhere = point.distribution_point.is_some()
                    && !urls(point.distribution_point)
                        .iter()
                        .any(|url| lists.contains(url));
                !partial && !elsewhere
            }),
        _ => !extension.critical,
    })
}
