//! What the attested channel costs: sessions opened a second with evidence and without, MB/s at three lengths of
//! messages, and what idle sessions hold; beside rustls alone, `snow` (Noise XX) and the AEAD alone.
//!
//! `make bench NAME=channel`. All in memory, on one thread that does both ends; contenders take turns, so that noise
//! hits all alike. Each figure is a median with the least and the most of the rounds.

mod bare;
mod ends;
mod memory;
mod noise;
mod rounds;

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use nautilus_channel::MessageType;
use serde_json::json;

use bare::{Bare, Configs};
use ends::{Ours, Profile, Tee};
use memory::{Resident, SESSIONS};
use noise::{Aead, Ends, Noise};
use rounds::{Contender, Done, Figure, alternate, method};

/// Aims of the project.
const THROUGHPUT: f64 = 0.9;
const HANDSHAKES: f64 = 0.9;
const MEMORY_MIB: f64 = 20.0;

const LENGTHS: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];

fn main() -> Result<()> {
    if memory::asked()? {
        return Ok(());
    }
    // `cargo bench` passes `--bench`.
    println!("{}", machine()?);
    println!("{}: least, median, most\n", method());
    let mut aims = Aims::default();
    handshakes(&mut aims)?;
    for (name, length) in LENGTHS {
        throughput(name, length, &mut aims)?;
    }
    compressed()?;
    resident(&mut aims)?;
    println!("load {}\n", load()?);
    aims.print();
    Ok(())
}

/// What it ran on, and what else ran there.
fn machine() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed CPU", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    Ok(format!(
        "{model}, {cpus} CPUs, Linux {}, load {}",
        kernel.trim(),
        load()?
    ))
}

fn load() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn handshakes(aims: &mut Aims) -> Result<()> {
    let provider = bare::provider();
    let beforehand = Configs::new(&provider)?;
    Bare::open(&beforehand)?.check()?;
    let (one_sided, with_key) = (Tee::new()?, Tee::new()?);
    let (enclave, agent, nothing) = (
        Profile::enclave_to_agent(),
        Profile::agent_to_verifier(),
        Profile::without_evidence()?,
    );
    let (chacha, aes) = (Ends::new(noise::CHACHA)?, Ends::new(noise::AES)?);
    let open = |profile: &Profile, tee: &Tee| -> Result<Done> {
        let before = tee.seconds();
        black_box(Ours::open(profile, tee, MessageType::Attestation)?);
        Ok(Done {
            units: 1.0,
            apart: tee.seconds() - before,
        })
    };
    let contenders = vec![
        Contender::new("rustls, keys made beforehand", 1.0, || {
            Bare::open(&beforehand).map(|session| drop(black_box(session)))
        }),
        Contender::new("rustls, keys of the session's own", 1.0, || {
            Bare::open(&Configs::new(&provider)?).map(|session| drop(black_box(session)))
        }),
        Contender::with_apart("ours without evidence", || open(&nothing, &one_sided)),
        Contender::with_apart("ours, enclave to agent", || open(&enclave, &one_sided)),
        Contender::with_apart("ours, agent to verifier", || open(&agent, &with_key)),
        Contender::new("snow, XX ChaChaPoly BLAKE2s", 1.0, || {
            Noise::open(&chacha).map(|session| drop(black_box(session)))
        }),
        Contender::new("snow, XX AES-256-GCM BLAKE2s", 1.0, || {
            Noise::open(&aes).map(|session| drop(black_box(session)))
        }),
    ];
    let figures = alternate(contenders)?;
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "handshakes a second", "least", "median", "most"
    );
    for figure in &figures {
        row(&figure.name, figure.spread());
        if matches!(
            figure.name.as_str(),
            "ours, enclave to agent" | "ours, agent to verifier"
        ) {
            row("  the same, evidence counted apart", figure.spread_rest());
        }
    }
    for (name, tee) in [("enclave to agent", &one_sided), ("agent to verifier", &with_key)] {
        let (making, judging) = tee.micros();
        println!(
            "{name}: evidence takes {making:.0} us to make, {judging:.0} us to verify and appraise (simulated TEE)"
        );
    }
    println!();
    let [beforehand, own, nothing, enclave, agent, ..] = figures.as_slice() else {
        unreachable!("each contender has a figure");
    };
    for (name, figure) in [
        ("without evidence", nothing),
        ("enclave to agent, evidence apart", enclave),
        ("agent to verifier, evidence apart", agent),
    ] {
        let what = format!("channel handshakes {name}, against bare rustls");
        aims.at_least(what.clone(), figure.against(own), HANDSHAKES);
        aims.at_least(
            format!("{what} with keys made beforehand"),
            figure.against(beforehand),
            HANDSHAKES,
        );
    }
    Ok(())
}

fn throughput(name: &str, length: usize, aims: &mut Aims) -> Result<()> {
    let payload = noise_bytes(length);
    let megabytes = length as f64 / 1e6;
    let tee = Tee::new()?;
    let mut bare = Bare::open(&Configs::new(&bare::provider())?)?;
    let mut ours = Ours::open(&Profile::agent_to_verifier(), &tee, MessageType::Attestation)?;
    let mut chacha = Noise::open(&Ends::new(noise::CHACHA)?)?;
    let mut aes = Noise::open(&Ends::new(noise::AES)?)?;
    let mut aead = Aead::new(&payload)?;
    let whole = bare.carry(&payload)? == payload
        && ours.carry(&payload)? == payload
        && chacha.carry(&payload)? == payload
        && aes.carry(&payload)? == payload
        && aead.carry()? == payload;
    ensure!(whole, "something else arrived");
    let figures = alternate(vec![
        Contender::new("rustls, AES-256-GCM", megabytes, || {
            bare.carry(&payload).map(|arrived| {
                black_box(arrived);
            })
        }),
        Contender::new("ours, AES-256-GCM", megabytes, || {
            ours.carry(&payload).map(|arrived| {
                black_box(arrived);
            })
        }),
        Contender::new("snow, ChaChaPoly", megabytes, || {
            chacha.carry(&payload).map(|arrived| {
                black_box(arrived);
            })
        }),
        Contender::new("snow, AES-256-GCM", megabytes, || {
            aes.carry(&payload).map(|arrived| {
                black_box(arrived);
            })
        }),
        Contender::new("AES-256-GCM alone, in place", megabytes, || {
            aead.carry().map(|arrived| {
                black_box(arrived);
            })
        }),
    ])?;
    let title = format!("MB/s there, messages of {name}");
    println!("{title:<44} {:>9} {:>9} {:>9}", "least", "median", "most");
    for figure in &figures {
        row(&figure.name, figure.spread());
    }
    println!();
    let [bare, ours, ..] = figures.as_slice() else {
        unreachable!("each contender has a figure");
    };
    aims.at_least(
        format!("channel throughput {name} against bare rustls"),
        ours.against(bare),
        THROUGHPUT,
    );
    Ok(())
}

/// For information: metrics in JSON, which travel compressed.
fn compressed() -> Result<()> {
    let tee = Tee::new()?;
    let mut rows: Vec<Figure> = Vec::new();
    for (name, length) in LENGTHS {
        // Up to 1,024 bytes nothing is compressed.
        let payload = metrics(length.max(2 << 10));
        let megabytes = payload.len() as f64 / 1e6;
        let open = |message_type| Ours::open(&Profile::agent_to_verifier(), &tee, message_type);
        let mut session = open(MessageType::ProofRequest)?;
        ensure!(session.carry(&payload)? == payload, "something else arrived");
        let part = session.on_wire() as f64 / payload.len() as f64;
        let name = match length {
            1024 => "2 KiB",
            _ => name,
        };
        let title = format!("{name}, {:.0} % of it on the wire", part * 100.0);
        rows.extend(alternate(vec![Contender::new(&title, megabytes, || {
            session.carry(&payload).map(|arrived| {
                black_box(arrived);
            })
        })])?);
    }
    let title = "MB/s there, metrics in a proof_request";
    println!("{title:<44} {:>9} {:>9} {:>9}", "least", "median", "most");
    for figure in &rows {
        row(&figure.name, figure.spread());
    }
    println!();
    Ok(())
}

fn resident(aims: &mut Aims) -> Result<()> {
    let resident = Resident::measure().context("resident memory")?;
    println!(
        "{SESSIONS} idle sessions with evidence, 1 MiB carried each way: MiB by which resident memory grows\n\
         initiators alone {:.2}, responders alone {:.2}, both ends {:.2}\n",
        resident.initiators, resident.responders, resident.both
    );
    aims.at_most(
        format!("memory of {SESSIONS} sessions MiB, initiators"),
        resident.initiators,
        MEMORY_MIB,
    );
    aims.at_most(
        format!("memory of {SESSIONS} sessions MiB, responders"),
        resident.responders,
        MEMORY_MIB,
    );
    Ok(())
}

/// Bytes that nothing compresses, the same in each run.
fn noise_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Samples in JSON as a proof carries them, as many as fit: digests do not shrink, the rest does.
fn metrics(length: usize) -> Vec<u8> {
    let noise = noise_bytes(length);
    let (boot, node) = (hex::encode([2; 16]), hex::encode([0x17; 32]));
    let mut out = String::new();
    for (number, noise) in (0_u64..).zip(noise.chunks_exact(64)) {
        let (previous, readings) = noise.split_at(32);
        let wobble = number * 2_654_435_761 % 10_007;
        let sample = json!({
            "node": node,
            "boot": boot,
            "sequence": number,
            "previous": hex::encode(previous),
            "measurement": {
                "at": 1_800_000_000_000 + number * 30_000,
                "monotonic_millis": 7_000_000 + number * 30_000,
                "missed": 0,
                "clock_step_millis": 0,
                "suspended_millis": 0,
                "metrics": {
                    "cpu_usage_bp": wobble % 2_000,
                    "cpu_efficiency_bp": 9_000 + wobble % 900,
                    "memory_usage_bp": 4_100 + wobble % 50,
                    "disk_usage_bp": 3_300,
                    "load_average_centi": [wobble % 90, 40, 35],
                    "process_count": 210 + wobble % 7,
                    "thread_count": 480 + wobble % 13,
                    "file_descriptors": 2_944 + wobble % 64,
                    "context_switches": 90_210_000 + number * 61_000 + wobble,
                    "interrupts": 41_700_000 + number * 32_000 + wobble,
                    "network_rx_bytes": 7_312_000_000 + number * 15_000 + wobble,
                    "network_tx_bytes": 1_204_000_000 + number * 9_000 + wobble,
                    "disk_read_bytes": 12_884_901_888_u64 + number * 4_096,
                    "disk_written_bytes": 40_802_189_312_u64 + number * 8_192,
                    "uptime_seconds": 7_000 + number * 30,
                },
                "response_time_micros": 900 + wobble % 300,
                "gaps": [],
                "readings": hex::encode(readings),
                "reading_count": 412,
            },
        })
        .to_string();
        if out.len() + sample.len() > length {
            break;
        }
        out.push_str(&sample);
        out.push('\n');
    }
    out.into_bytes()
}

fn row(name: &str, [least, median, most]: [f64; 3]) {
    println!("{name:<44} {least:>9.0} {median:>9.0} {most:>9.0}");
}

#[derive(Default)]
struct Aims(Vec<String>);

impl Aims {
    fn at_most(&mut self, what: String, value: f64, want: f64) {
        let verdict = if value <= want { "ok" } else { "short" };
        self.0
            .push(format!("aim {what}: {value:.2} want <= {want}: {verdict}"));
    }

    fn at_least(&mut self, what: String, value: f64, want: f64) {
        let verdict = if value >= want { "ok" } else { "short" };
        self.0
            .push(format!("aim {what}: {value:.2} want >= {want}: {verdict}"));
    }

    fn print(&self) {
        for line in &self.0 {
            println!("{line}");
        }
    }
}
