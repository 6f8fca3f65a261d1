//! The attester: an enclave that runs under Gramine has a quote made.
//!
//! - `gramine`: the files by which Gramine gives an enclave its instructions `EREPORT` and `EGETKEY`.
//! - `aesm`: Intel's service outside, which makes a quote of a report.
//!
//! Gramine asks AESM by itself, and its quote is the way to be taken. The provider `aesm` does the same from within
//! the enclave, where Gramine was told not to, or where the service is somewhere else.

pub(crate) mod aesm;
mod gramine;

use std::sync::{Mutex, PoisonError};

use nautilus_core::{
    AttestError, Attester, Descriptor, Endorsements, Protection, RawEvidence, ReportData, TeeKind,
    VerifyError,
};
use ring::hkdf;
use zeroize::Zeroizing;

use self::aesm::Aesm;
use self::gramine::{AttestationType, Gramine};
use super::parse_quote;
use crate::sealing::KeySealer;
use crate::{Platform, PlatformOptions};

/// The sealing key is one use of the key that the CPU gives; Gramine's encrypted files may be another.
const SEALING_LABEL: &[u8] = b"nautilus SGX enclave: sealing";

/// What SGX offers to the code that runs on it.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    let provider = Provider::named(options.quote_provider.as_deref())?;
    let gramine = Gramine;
    match (gramine.attestation_type()?, &provider) {
        (AttestationType::Dcap, _) | (AttestationType::None, Provider::Aesm(_)) => {}
        (AttestationType::None, Provider::Gramine) => return Err(gramine.makes_no_quotes()),
        (AttestationType::Epid, _) => {
            return Err(AttestError::Unsupported {
                what: "Gramine's attestation type `epid`, whose service Intel has ended: set \
                       `sgx.remote_attestation = \"dcap\"` in the manifest"
                    .to_owned(),
            });
        }
    }
    let sealer = KeySealer::new(
        sealing_key(&gramine)?,
        Protection::Tee {
            bound_to: "CPU and MRENCLAVE".to_owned(),
        },
    );
    Ok(Platform {
        attester: Box::new(SgxAttester {
            gramine,
            provider,
            turn: Mutex::new(()),
        }),
        sealer: Some(Box::new(sealer)),
    })
}

/// Who makes a quote.
#[derive(Debug)]
enum Provider {
    /// Gramine, which asks AESM outside of the enclave.
    Gramine,
    /// AESM, asked from within.
    Aesm(Aesm),
}

impl Provider {
    fn named(name: Option<&str>) -> Result<Self, AttestError> {
        match name {
            None | Some("gramine") => Ok(Self::Gramine),
            Some("aesm") => Ok(Self::Aesm(Aesm::at_its_socket())),
            Some(other) => match other.strip_prefix("aesm:").and_then(Aesm::at_loopback) {
                Some(aesm) => Ok(Self::Aesm(aesm)),
                None => Err(AttestError::Unsupported {
                    what: format!(
                        "quote_provider `{}`: SGX has `gramine`, `aesm` and `aesm:127.0.0.1:PORT`",
                        other.escape_default()
                    ),
                }),
            },
        }
    }
}

struct SgxAttester {
    gramine: Gramine,
    provider: Provider,
    /// Report data and quote are two files, which all threads of the process share.
    turn: Mutex<()>,
}

impl SgxAttester {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, AttestError> {
        match &self.provider {
            Provider::Gramine => self.gramine.quote(report_data),
            Provider::Aesm(aesm) => {
                let key = aesm.attestation_key()?;
                let target_info = aesm.target_info(&key)?;
                let report = self.gramine.report(report_data, &target_info)?;
                aesm.quote(&key, &report)
            }
        }
    }

    fn interface(&self) -> String {
        match &self.provider {
            Provider::Gramine => gramine::QUOTE.to_owned(),
            Provider::Aesm(aesm) => aesm.name(),
        }
    }
}

impl Attester for SgxAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Sgx,
            format: "SGX quote version 3, 4 or 5",
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = self.quote(report_data.as_bytes())?;
        let quote = parse_quote(&bytes).map_err(|fault| malformed(self.interface(), fault))?;
        check_report_data(
            self.interface(),
            &quote.report.report_data,
            report_data.as_bytes(),
        )?;
        // AESM gives back a buffer of the size that it was asked for.
        bytes.truncate(quote.extent.length);
        // Collateral is for the relying party to find: it says what it needs.
        Ok(RawEvidence {
            bytes,
            endorsements: Endorsements::default(),
            event_log: None,
        })
    }
}

/// 32 bytes from the 16 that the CPU gives to this MRENCLAVE: HKDF-SHA256 (RFC 5869).
fn sealing_key(gramine: &Gramine) -> Result<Zeroizing<[u8; 32]>, AttestError> {
    let root = gramine.mrenclave_key()?;
    let mut key = Zeroizing::new([0; 32]);
    let failed = |_| AttestError::Vendor {
        what: "HKDF gives no key of 32 bytes".to_owned(),
    };
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"")
        .extract(root.as_slice())
        .expand(&[SEALING_LABEL], hkdf::HKDF_SHA256)
        .map_err(failed)?
        .fill(key.as_mut_slice())
        .map_err(failed)?;
    Ok(key)
}

fn check_report_data(interface: String, found: &[u8], expected: &[u8]) -> Result<(), AttestError> {
    if found == expected {
        return Ok(());
    }
    Err(AttestError::WrongReportData {
        interface,
        expected: hex::encode(expected),
        found: hex::encode(found),
    })
}

fn malformed(interface: String, fault: VerifyError) -> AttestError {
    AttestError::Malformed {
        interface,
        what: match fault {
            VerifyError::Malformed { what, offset } => format!("{what} at byte {offset}"),
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_known_by_name_and_nothing_far_away_is_asked() {
        assert!(matches!(Provider::named(None), Ok(Provider::Gramine)));
        assert!(matches!(Provider::named(Some("gramine")), Ok(Provider::Gramine)));
        for (name, interface) in [
            ("aesm", "/var/run/aesmd/aesm.socket"),
            ("aesm:127.0.0.1:4051", "AESM at 127.0.0.1:4051"),
            ("aesm:[::1]:4051", "AESM at [::1]:4051"),
        ] {
            match Provider::named(Some(name)) {
                Ok(Provider::Aesm(aesm)) => assert_eq!(aesm.name(), interface),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in [
            "",
            "qgs",
            "aesm:",
            "aesm:4051",
            "aesm:192.0.2.1:4051",
            "aesm:localhost:4051",
            "aesm:127.0.0.1:0",
            "AESM",
        ] {
            match Provider::named(Some(name)) {
                Err(AttestError::Unsupported { what }) => {
                    assert!(what.starts_with(&format!("quote_provider `{name}`")), "{what}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
