//! Replay of a log, and holding it against what hardware signed.

use std::collections::BTreeMap;

use nautilus_core::{LoggedEvent, Measurement, VerifyError};

use super::{Bank, Event, EventLog, EventType, in_log};

/// First of the registers that a dynamic launch resets; they start as all ones (TCG, *PC Client Platform TPM
/// Profile*, §4.6.2 "PCR Initial and Reset Values").
const FIRST_DYNAMIC: u32 = 17;
/// Last of them.
const LAST_DYNAMIC: u32 = 22;
/// `TCG_EfiStartupLocalityEvent.Signature` (PC Client Platform Firmware Profile, §10.4.5.3).
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

/// What the registers of one bank hold when a log's events have extended them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    bank: Bank,
    startup_locality: u8,
    extended: BTreeMap<u32, Vec<u8>>,
}

impl Registers {
    /// Value of a register: its initial one where the log has no event for it.
    pub fn value(&self, register: u32) -> Vec<u8> {
        match self.extended.get(&register) {
            Some(value) => value.clone(),
            None => initial(self.bank, register, self.startup_locality),
        }
    }

    /// Those that the log extends, by number.
    pub const fn extended(&self) -> &BTreeMap<u32, Vec<u8>> {
        &self.extended
    }
}

impl EventLog<'_> {
    /// Extends the registers of a bank from their initial values by every event.
    ///
    /// # Errors
    /// `Malformed` if an event has no digest for the bank, or if the log contradicts itself about the locality
    /// at which the TPM was started.
    pub fn replay(&self, bank: Bank) -> Result<Registers, VerifyError> {
        let mut locality = None;
        let mut extended: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for event in &self.events {
            if event.kind == EventType::NO_ACTION {
                if let Some(found) = startup_locality(event)? {
                    if locality.is_some() || extended.contains_key(&0) {
                        return Err(in_log(
                            "startup locality is told again, or after PCR 0 was extended".to_owned(),
                            event.offset,
                        ));
                    }
                    locality = Some(found);
                }
                continue;
            }
            let Some(digest) = event.digest(bank) else {
                let what = format!("event {} has no {} digest", event.kind, bank.as_str());
                return Err(in_log(what, event.offset));
            };
            let register = extended
                .entry(event.register)
                .or_insert_with(|| initial(bank, event.register, locality.unwrap_or(0)));
            *register = bank.extend(register, digest);
        }
        Ok(Registers {
            bank,
            startup_locality: locality.unwrap_or(0),
            extended,
        })
    }

    /// The events that extend the registers for which `name` has a name.
    fn logged(&self, bank: Bank, name: impl Fn(u32) -> Option<String>) -> Vec<LoggedEvent> {
        let extending = self
            .events
            .iter()
            .filter(|event| event.kind != EventType::NO_ACTION);
        extending
            .filter_map(|event| {
                Some(LoggedEvent {
                    register: name(event.register)?,
                    event: event.kind.to_string(),
                    digest: Measurement(event.digest(bank)?.to_vec()),
                    detail: event.detail(bank),
                })
            })
            .collect()
    }
}

fn initial(bank: Bank, register: u32, startup_locality: u8) -> Vec<u8> {
    let mut value = match register {
        FIRST_DYNAMIC..=LAST_DYNAMIC => vec![0xff; bank.len()],
        _ => vec![0; bank.len()],
    };
    if register == 0
        && let Some(last) = value.last_mut()
    {
        *last = startup_locality;
    }
    value
}

fn startup_locality(event: &Event<'_>) -> Result<Option<u8>, VerifyError> {
    let Some(rest) = event.data.strip_prefix(STARTUP_LOCALITY) else {
        return Ok(None);
    };
    match rest {
        [locality @ (0 | 3 | 4)] if event.register == 0 => Ok(Some(*locality)),
        _ => Err(in_log(
            "startup locality that is not 0, 3 or 4 for PCR 0".to_owned(),
            event.offset,
        )),
    }
}

/// The events of a log that gives the PCRs which a TPM signed: `pcr0`, `pcr1`, … of `measurements`.
///
/// Every signed PCR must be what the replay gives; one that the log never extends must have its initial value.
/// Otherwise a log could leave out what was measured, and an empty one would explain anything. So a quote that is
/// to be explained by the firmware's log must not select PCRs which others extend after boot, such as 10 (IMA).
/// Events of PCRs that are not signed are left out, for nothing vouches for them.
///
/// # Errors
/// `EventLogMismatch` names the first PCR that differs; `Unsupported` if there is no replay for the bank, or
/// nothing signed to hold it against; `Malformed` if the log has no digests for the bank.
pub fn hold_against_pcrs(
    log: &EventLog<'_>,
    bank: &str,
    measurements: &BTreeMap<String, Measurement>,
) -> Result<Vec<LoggedEvent>, VerifyError> {
    let Some(bank) = Bank::named(bank) else {
        return Err(unsupported(format!("replay of an event log in bank `{bank}`")));
    };
    let registers = log.replay(bank)?;
    let mut signed: Vec<u32> = Vec::new();
    for (name, value) in measurements {
        let Some(index) = name.strip_prefix("pcr").and_then(|index| index.parse().ok()) else {
            continue;
        };
        must_equal(name, &registers.value(index), value)?;
        signed.push(index);
    }
    if signed.is_empty() {
        return Err(unsupported(
            "an event log beside evidence that signs no PCR".to_owned(),
        ));
    }
    Ok(log.logged(bank, |index| {
        signed.contains(&index).then(|| format!("pcr{index}"))
    }))
}

/// The events of a log (CCEL) that gives the run-time measurement registers which a trust domain's quote signs:
/// `rtmr0` to `rtmr3` of `measurements`.
///
/// RTMR 0 to 2 belong to firmware and boot loader: they must be what the replay gives, also where the log has no
/// event for them. RTMR 3 is the operating system's, which extends it after the firmware closed the log: it is
/// held against the log only where the log has events for it, and is not explained otherwise.
///
/// # Errors
/// `EventLogMismatch` names the first register that differs; `Malformed` for an event that has no SHA-384 digest
/// or extends no RTMR; `Unsupported` if the evidence does not sign the registers, or an event extends MRTD, which
/// no log can give.
pub fn hold_against_rtmrs(
    log: &EventLog<'_>,
    measurements: &BTreeMap<String, Measurement>,
) -> Result<Vec<LoggedEvent>, VerifyError> {
    let registers = log.replay(Bank::Sha384)?;
    for event in &log.events {
        if event.kind != EventType::NO_ACTION && rtmr(event.register).is_none() {
            return Err(match event.register {
                0 => unsupported(format!(
                    "event log whose event at byte {} extends MRTD: it is measured page by page, not by events",
                    event.offset
                )),
                other => in_log(
                    format!(
                        "event {} extends measurement register {other}: 1 to 4 are RTMR 0 to 3",
                        event.kind
                    ),
                    event.offset,
                ),
            });
        }
    }
    for (index, name) in RTMRS {
        let Some(value) = measurements.get(name) else {
            return Err(unsupported(format!(
                "an event log beside evidence that does not sign {name}"
            )));
        };
        if index == LAST_RTMR && !registers.extended().contains_key(&index) {
            continue;
        }
        must_equal(name, &registers.value(index), value)?;
    }
    Ok(log.logged(Bank::Sha384, |index| rtmr(index).map(str::to_owned)))
}

/// Measurement register index by RTMR (UEFI Specification 2.10, §38.4.1 "Intel Trust Domain Extension").
const RTMRS: [(u32, &str); 4] = [(1, "rtmr0"), (2, "rtmr1"), (3, "rtmr2"), (LAST_RTMR, "rtmr3")];
const LAST_RTMR: u32 = 4;

fn rtmr(index: u32) -> Option<&'static str> {
    let (_, name) = RTMRS.into_iter().find(|(found, _)| *found == index)?;
    Some(name)
}

fn must_equal(register: &str, replayed: &[u8], signed: &Measurement) -> Result<(), VerifyError> {
    if replayed == signed.0 {
        return Ok(());
    }
    Err(VerifyError::EventLogMismatch {
        register: register.to_owned(),
        replayed: hex::encode(replayed),
        signed: signed.to_string(),
    })
}

const fn unsupported(what: String) -> VerifyError {
    VerifyError::Unsupported { what }
}
