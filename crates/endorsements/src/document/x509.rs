//! X.509 certificates and revocation lists (RFC 5280): names and times. Signatures are not checked.

use nautilus_core::UnixMillis;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::{Subject, Validity, amd, shown};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What is read of a certificate.
pub(crate) struct Parsed {
    certificate: Certificate,
    pub(crate) validity: Validity,
}

/// What is read of a revocation list.
pub(crate) struct Crl {
    /// Its issuer's common name.
    pub(crate) issuer_name: Option<String>,
    /// Its issuer, for messages.
    pub(crate) issuer: String,
    pub(crate) validity: Validity,
}

pub(super) fn read_certificate(der: &[u8]) -> Result<(Subject, Validity), String> {
    let Parsed {
        certificate,
        validity,
    } = parse_certificate(der)?;
    let (subject, issuer) = {
        let fields = certificate.tbs_certificate();
        (fields.subject(), fields.issuer())
    };
    let name = common_name(subject).unwrap_or_default();
    let subject = amd::subject(&certificate, &name, common_name(issuer).as_deref())?.unwrap_or_else(|| {
        Subject::Certificate {
            name: shown(&subject.to_string()),
        }
    });
    Ok((subject, validity))
}

pub(super) fn read_crl(der: &[u8]) -> Result<(Subject, Validity), String> {
    let crl = parse_crl(der)?;
    let amd = crl
        .issuer_name
        .as_deref()
        .and_then(|name| name.strip_prefix("ARK-"))
        .and_then(|product| product.parse().ok());
    let subject = match amd {
        Some(product) => Subject::AmdCrl { product },
        None => Subject::Crl { issuer: crl.issuer },
    };
    Ok((subject, crl.validity))
}

pub(crate) fn parse_certificate(der: &[u8]) -> Result<Parsed, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let validity = certificate.tbs_certificate().validity();
    let validity = Validity {
        from: millis(validity.not_before),
        until: Some(millis(validity.not_after)),
    };
    Ok(Parsed {
        certificate,
        validity,
    })
}

pub(crate) fn parse_crl(der: &[u8]) -> Result<Crl, String> {
    let crl: CertificateList<Rfc5280> = CertificateList::from_der(der).map_err(|error| error.to_string())?;
    let list = crl.tbs_cert_list;
    Ok(Crl {
        issuer_name: common_name(&list.issuer),
        issuer: shown(&list.issuer.to_string()),
        validity: Validity {
            from: millis(list.this_update),
            until: list.next_update.map(millis),
        },
    })
}

/// The common name, if there is exactly one and it is text.
fn common_name(name: &Name) -> Option<String> {
    let mut names = name.iter().filter(|part| part.oid == COMMON_NAME);
    match (names.next(), names.next()) {
        (Some(only), None) => std::str::from_utf8(only.value.value()).ok().map(str::to_owned),
        _ => None,
    }
}

fn millis(time: Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
}
