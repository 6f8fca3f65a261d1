//! The rules of the fields that say what is measured, and how long it is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use nautilus_monitor::aggregate::{BackPressure, UnknownPolicy};
use nautilus_monitor::network::{Peers, PeersError};
use nautilus_proof::CollectorKind;

use super::error::{ConfigError, Right, nearest};
use super::field::{Given, duration};

/// The specification's 30 days.
pub(super) const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Chunks are of one hour: less is not kept apart.
const SHORTEST_RETENTION: Duration = Duration::from_secs(3600);
const LONGEST_RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);
/// Five names with their commas.
const LONGEST_COLLECTORS: usize = 100;
/// Sixteen peers.
const LONGEST_PEERS: usize = 8_000;

/// Names of collectors, separated by commas; each at most once.
pub(super) fn collectors(given: &Given<'_>) -> Result<BTreeSet<CollectorKind>, ConfigError> {
    const EXPECTED: &str = "names of collectors, separated by commas";
    let mut collectors = BTreeSet::new();
    for name in parts(given.printable(LONGEST_COLLECTORS)?) {
        let kind = CollectorKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let Some(kind) = kind else {
            let all = CollectorKind::ALL.map(CollectorKind::as_str);
            let right = match nearest(name, all.into_iter()) {
                Some(close) => Right::Advice(format!("did you mean `{close}`?")),
                None => Right::Advice(format!("write one or more of {}", all.join(", "))),
            };
            return Err(given.bad(EXPECTED, right));
        };
        if !collectors.insert(kind) {
            let advice = format!("write `{name}` once");
            return Err(given.bad(EXPECTED, Right::Advice(advice)));
        }
    }
    if !collectors.contains(&CollectorKind::System) {
        let advice = "add `system`: a sample without the machine's own metrics proves nothing".to_owned();
        return Err(given.bad("`system`, and others", Right::Advice(advice)));
    }
    Ok(collectors)
}

/// `NAME=ADDRESS`, separated by commas.
pub(super) fn latency_peers(given: &Given<'_>) -> Result<Peers, ConfigError> {
    const EXPECTED: &str = "NAME=tcp://HOST:PORT, gateway=auto or api-server=auto, separated by commas";
    let peers = given.printable(LONGEST_PEERS)?.parse();
    peers.map_err(|error: PeersError| given.bad(EXPECTED, Right::Advice(error.to_string())))
}

pub(super) fn retention(given: &Given<'_>) -> Result<Duration, ConfigError> {
    let bounds = SHORTEST_RETENTION..=LONGEST_RETENTION;
    duration(given, DEFAULT_RETENTION, bounds, "a duration of 1h to 9600h")
}

pub(super) fn back_pressure(given: &Given<'_>) -> Result<BackPressure, ConfigError> {
    given
        .text
        .parse()
        .map_err(|error: UnknownPolicy| given.bad("the name of a policy", Right::Advice(error.to_string())))
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}
