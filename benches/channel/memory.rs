//! What open, idle sessions hold: the growth of a fresh process's resident memory, for one end of each or for both.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nautilus_channel::MessageType;

use crate::ends::{Ours, Profile, Tee};

/// As many as the product has at most.
pub const SESSIONS: usize = 100;
const MESSAGE: usize = 1024 * 1024;
/// The argument under which this program measures, and ends.
const ARGUMENT: &str = "--resident";

/// Which ends stay.
const KEPT: [&str; 3] = ["initiator", "responder", "both"];

/// MiB by which 100 idle sessions grow a process that has only the initiators, only the responders, and both.
pub struct Resident {
    pub initiators: f64,
    pub responders: f64,
    pub both: f64,
}

impl Resident {
    /// Each in a process of its own, whose allocator has nothing left over from the others.
    pub fn measure() -> Result<Self> {
        let [initiators, responders, both] = KEPT.map(in_process);
        Ok(Self {
            initiators: initiators?,
            responders: responders?,
            both: both?,
        })
    }
}

/// Measures and says how much, if this process was started for that.
pub fn asked() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(ARGUMENT) {
        return Ok(false);
    }
    let kept = arguments.next().context("which ends?")?;
    println!("{}", growth(&kept)?);
    Ok(true)
}

fn in_process(kept: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args([ARGUMENT, kept])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{kept}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.trim().parse().with_context(|| format!("{kept}: {said}"))
}

fn growth(kept: &str) -> Result<f64> {
    let (tee, profile) = (Tee::new()?, Profile::agent_to_verifier());
    let payload = vec![0x5a; MESSAGE];
    let session = || -> Result<Ours> {
        let mut session = Ours::open(&profile, &tee, MessageType::Attestation)?;
        session.carry(&payload)?;
        session.carry_back(&payload)?;
        Ok(session)
    };
    let (mut initiators, mut responders) = (Vec::with_capacity(SESSIONS), Vec::with_capacity(SESSIONS));
    // What the first session leaves behind is not a session's: tables of the cryptography, the verifier's memory.
    drop(session()?);
    let before = resident_mib()?;
    for _ in 0..SESSIONS {
        let (initiator, responder) = session()?.into_ends();
        match kept {
            "initiator" => initiators.push(initiator),
            "responder" => responders.push(responder),
            "both" => {
                initiators.push(initiator);
                responders.push(responder);
            }
            other => bail!("there is no end named {other}"),
        }
    }
    let grown = resident_mib()? - before;
    let alive = initiators.iter().chain(&responders);
    ensure!(
        alive.clone().count() >= SESSIONS && alive.clone().all(|end| end.peer().is_some()),
        "a session ended"
    );
    Ok(grown)
}

fn resident_mib() -> Result<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64 / (1024.0 * 1024.0))
}
