//! The attester: a quote over the PCRs that say what booted, by a key that is the same after each start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use nautilus_core::{AttestError, Attester, Descriptor, Endorsements, MAX_EVIDENCE, RawEvidence, ReportData};

use super::DESCRIPTOR;
use super::ak::{AttestationKey, Usable};
use super::client::Tpm;
use super::evidence::{Evidence, PcrValues};
use super::seal::TpmSealer;
use super::wire::{Attest, HashAlgorithm, PcrSelection};
use crate::{Platform, PlatformOptions};

/// The bank that every TPM 2.0 has (TCG, *PC Client Platform TPM Profile*).
const BANK: HashAlgorithm = HashAlgorithm::Sha256;
/// What is quoted: firmware, its settings and secure boot (0 to 7), the boot loader's commands and files (8, 9), the
/// unified kernel image, its command line and its extensions (11 to 13), and what shim was told (14). Not 10, which
/// the kernel extends with every program that it measures, so that no two quotes would be alike; nor 15, which is of
/// the disk and not of what runs; nor those that a running system can reset (UAPI, *TPM2 PCR Measurements Made by
/// UEFI, shim, GRUB, systemd*).
const PCRS: [u8; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];
/// How often a quote is made again whose PCRs changed before they were read.
const ATTEMPTS: usize = 5;

/// What a TPM offers to the code on its machine.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    let tpm = Arc::new(Tpm::open(options.quote_provider.as_deref())?);
    let event_log = tpm.number().map(event_log_of).transpose()?.flatten();
    Ok(Platform {
        attester: Box::new(TpmAttester {
            tpm: Arc::clone(&tpm),
            event_log,
            key: Mutex::default(),
            last: Mutex::default(),
        }),
        sealer: Some(Box::new(TpmSealer::new(tpm))),
    })
}

/// Makes evidence with a TPM.
pub struct TpmAttester {
    tpm: Arc<Tpm>,
    /// The firmware's log, which ends when the kernel starts.
    event_log: Option<Vec<u8>>,
    key: Mutex<Option<AttestationKey>>,
    last: Mutex<Option<Quote>>,
}

/// A quote with what is to explain it.
#[derive(Clone)]
struct Quote {
    bytes: Vec<u8>,
    signature: Vec<u8>,
    attest: Attest,
}

impl TpmAttester {
    /// An attester with this TPM, without an event log.
    pub fn new(tpm: Arc<Tpm>) -> Self {
        Self {
            tpm,
            event_log: None,
            key: Mutex::default(),
            last: Mutex::default(),
        }
    }

    fn key(&self) -> Result<AttestationKey, AttestError> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(key.clone());
        }
        self.check_bank()?;
        let chosen = AttestationKey::choose(&self.tpm)?;
        Ok(key.insert(chosen).clone())
    }

    /// A TPM quotes no PCR of a bank that is off, and does not say so.
    fn check_bank(&self) -> Result<(), AttestError> {
        let banks = self.tpm.pcr_banks()?;
        let active =
            |bank: &PcrSelection| bank.bank == BANK.id() && PCRS.iter().all(|pcr| bank.pcrs.contains(pcr));
        if banks.iter().any(active) {
            return Ok(());
        }
        Err(AttestError::Unsupported {
            what: format!(
                "{} has no active PCR bank {}: switch it on in the firmware's setup",
                self.tpm.interface(),
                BANK.name()
            ),
        })
    }

    fn quote(&self, key: &Usable<'_>, report_data: &ReportData) -> Result<Quote, AttestError> {
        let expected = report_data.sha256();
        let selection = PcrSelection {
            bank: BANK.id(),
            pcrs: BTreeSet::from(PCRS),
        };
        let (bytes, signature) = self.tpm.quote(key.handle, &expected, &selection)?;
        let attest = Attest::parse(&bytes).map_err(|error| self.tpm.malformed("TPM2_Quote", &error))?;
        super::wire::Signature::parse(&signature)
            .map_err(|error| self.tpm.malformed("TPM2_Quote", &error))?;
        if attest.extra_data != expected {
            return Err(AttestError::WrongReportData {
                interface: self.tpm.interface().to_owned(),
                expected: hex::encode(expected),
                found: hex::encode(&attest.extra_data),
            });
        }
        if attest.selections != [selection.clone()] {
            let found: Vec<String> = attest.selections.iter().map(ToString::to_string).collect();
            let what = format!("it quotes {}, {selection} was asked for", found.join("+"));
            return Err(self.tpm.malformed("TPM2_Quote", &what).into());
        }
        Ok(Quote {
            bytes,
            signature,
            attest,
        })
    }

    /// What shows that a quote was made before this one was asked for.
    fn is_old(&self, quote: &Quote) -> Option<&'static str> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last {
            if last.bytes == quote.bytes && last.signature == quote.signature {
                return Some("it is the quote that it gave before");
            }
            let (before, now) = (&last.attest.clock, &quote.attest.clock);
            if (now.reset_count, now.restart_count) == (before.reset_count, before.restart_count)
                && now.clock < before.clock
            {
                return Some("its clock runs back");
            }
        }
        *last = Some(quote.clone());
        None
    }
}

impl Attester for TpmAttester {
    fn descriptor(&self) -> Descriptor {
        DESCRIPTOR
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let _turn = self.tpm.turn();
        let chosen = self.key()?;
        let key = chosen.load(&self.tpm)?;
        let hash = key
            .public
            .scheme
            .map_or(Some(BANK), |(_, hash)| HashAlgorithm::of_id(hash))
            .ok_or_else(|| AttestError::Unsupported {
                what: format!(
                    "{}: its attestation key signs by a weak hash",
                    self.tpm.interface()
                ),
            })?;
        let mut stale = "";
        for _ in 0..ATTEMPTS {
            let quote = self.quote(&key, report_data)?;
            if let Some(why) = self.is_old(&quote) {
                stale = why;
                continue;
            }
            let values = self.tpm.pcr_values(BANK, &BTreeSet::from(PCRS))?;
            if hash.digest(values.values().map(Vec::as_slice)) != quote.attest.pcr_digest {
                stale = "its PCRs are not those quoted: something extends them all the time";
                continue;
            }
            let evidence = Evidence {
                attest: quote.bytes,
                signature: quote.signature,
                ak_public: key.public.to_tpm2b(),
                ak_certificate: chosen.certificate().map(<[u8]>::to_vec),
                ek_certificate: None,
                pcrs: PcrValues { bank: BANK, values },
            };
            return Ok(RawEvidence {
                bytes: evidence.to_json().into_bytes(),
                endorsements: Endorsements::default(),
                event_log: self.event_log.clone(),
            });
        }
        Err(AttestError::Stale {
            interface: self.tpm.interface().to_owned(),
            what: stale.to_owned(),
        })
    }
}

/// The log of the kernel's TPM of that number; none where the firmware keeps none, or only root may read it and this
/// is not root.
fn event_log_of(number: u8) -> Result<Option<Vec<u8>>, AttestError> {
    let path = format!("/sys/kernel/security/tpm{number}/binary_bios_measurements");
    let most = u64::try_from(MAX_EVIDENCE).unwrap_or(u64::MAX).saturating_add(1);
    let mut log = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(most).read_to_end(&mut log));
    match read {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(AttestError::Io {
            action: "read",
            interface: path,
            source,
        }),
        Ok(0) => Ok(None),
        Ok(length) if length > MAX_EVIDENCE => Err(AttestError::Malformed {
            interface: path,
            what: format!("the event log has more than the {MAX_EVIDENCE} bytes that travel with evidence"),
        }),
        Ok(_) => Ok(Some(log)),
    }
}
