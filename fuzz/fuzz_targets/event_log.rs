//! Event logs from anywhere: nothing panics, and a replay that holds is that of the very events.
#![no_main]

use std::collections::BTreeMap;

use nautilus_core::Measurement;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::eventlog::{Bank, EventLog, EventType, hold_against_pcrs, hold_against_rtmrs};

fuzz_target!(|bytes: &[u8]| {
    let Ok(log) = EventLog::parse(bytes) else { return };
    let data: usize = log.events.iter().map(|event| event.data.len()).sum();
    assert!(data + log.padding <= bytes.len(), "more data than bytes");
    for bank in [Bank::Sha1, Bank::Sha256, Bank::Sha384, Bank::Sha512] {
        for event in &log.events {
            let detail = event.detail(bank);
            assert!(!detail.chars().any(char::is_control), "{detail:?}");
        }
        let Ok(registers) = log.replay(bank) else { continue };
        let signed: BTreeMap<_, _> = (0..24)
            .map(|index| (format!("pcr{index}"), Measurement(registers.value(index))))
            .collect();
        let told = hold_against_pcrs(&log, bank.as_str(), &signed).expect("the replay gives itself");
        let extending = log
            .events
            .iter()
            .filter(|event| event.kind != EventType::NO_ACTION);
        assert_eq!(told.len(), extending.count());
        for index in 0..24 {
            let mut other = signed.clone();
            other.insert(format!("pcr{index}"), Measurement(vec![0x5a; bank.len()]));
            assert!(hold_against_pcrs(&log, bank.as_str(), &other).is_err());
        }
    }
    let zeros = (0..4).map(|index| (format!("rtmr{index}"), Measurement(vec![0; 48])));
    let held = hold_against_rtmrs(&log, &zeros.collect());
    assert!(
        held.as_ref().map_or(true, Vec::is_empty),
        "events that extend nothing: {held:?}"
    );
});
