//! How fast a node's attestation service answers: 10,000 requests at once, each with a challenge of its own, against a
//! real `nautilus-enclave` on the simulated TEE, every answer verified and appraised.
//!
//! `make bench NAME=attest`. The floor is what ring's P-256 signatures cost alone: a quote of the simulated TEE is one
//! of them. An answer takes more: the quote is verified, the certificate and the response are signed, and each of the
//! three exchanges with the enclave is a round trip between processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nautilus_agent::attestation_service::{
    Answered, Appraiser, AttestationError, AttestationRequest, AttestationService, QuoteParts,
};
use nautilus_agent::enclave_manager::{Expected, LaunchCheck};
use nautilus_agent::event::{EnclaveStatus, EventSink, What};
use nautilus_agent::key_manager::{DEFAULT_ROTATION, RotationSchedule};
use nautilus_agent::monitor::Monitoring;
use nautilus_agent::page::Board;
use nautilus_agent::runner::{Agent, Grounds, Settings};
use nautilus_agent::{LocalAppraiser, VerifierAddress};
use nautilus_channel::{Address, Listener};
use nautilus_core::{
    Binding, Digest32, Evidence, EvidenceFile, Measurement, Policy, PolicyId, Purpose, TeeKind, TrustAnchors,
    UnixMillis, VerifierSet, VerifyError,
};
use nautilus_ledger::{EmbeddedLedger, Genesis, Rules};
use nautilus_monitor::aggregate::BackPressure;
use nautilus_monitor::network::Peers;
use nautilus_monitor::openmetrics::Build;
use nautilus_proof::CollectorKind;
use nautilus_tee::simulated::{Vendor, verifier_set};
use nautilus_verifier::api::AttestationOutcome;
use nautilus_verifier::{Registry, Verifier, VerifierKey, now};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local};

const CALLERS: usize = 10_000;
const FLOOR_FOR: Duration = Duration::from_secs(3);
/// Aims of the project. An answer with its verification costs about four times a bare signature in computing, and the
/// exchanges with the enclave come on top.
const MIN_OF_FLOOR: f64 = 0.02;
const MAX_P99_MILLIS: f64 = 35_000.0;
const MAX_GROWTH_MIB: f64 = 128.0;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The node's job is one task on one thread, as in `nautilus up`.
    runtime.block_on(LocalSet::new().run_until(run()))
}

async fn run() -> Result<()> {
    let floor = signatures_per_second()?;
    println!("ring signs {floor:.0} P-256 messages a second on one core");
    let data_dir = tempfile::tempdir()?;
    let node = Node::start(data_dir.path()).await?;
    let before = resident_mib()?;
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let service = Arc::clone(&node.service);
        callers.spawn(async move {
            let asked = Instant::now();
            let answered = service.request(&request(number)).await;
            (asked.elapsed(), answered)
        });
    }
    let mut tally = Tally::default();
    let mut most = before;
    while let Some(joined) = callers.join_next().await {
        let (took, answered) = joined?;
        tally.count(took, answered)?;
        if tally.total() % 256 == 0 {
            most = most.max(resident_mib()?);
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    tally.report(elapsed)?;
    let growth = most - before;
    println!("resident {before:.1} MiB before, {most:.1} MiB at most");
    let rate = tally.answered() as f64 / elapsed;
    let (sequential, alone) = node.one_after_the_other().await?;
    println!("one after the other: {sequential:.0} a second, median {alone:.2} ms");
    aim_least(
        "attest quotes/s against the signing floor",
        rate / floor,
        MIN_OF_FLOOR,
    );
    aim_most(
        "attest p99 of 10,000 at once, ms",
        tally.percentile(0.99),
        MAX_P99_MILLIS,
    );
    aim_most("attest growth of resident memory, MiB", growth, MAX_GROWTH_MIB);
    node.stop().await
}

#[derive(Default)]
struct Tally {
    /// How long callers waited, in milliseconds.
    waits: Vec<f64>,
    answered: usize,
    back_pressure: usize,
}

impl Tally {
    fn count(&mut self, took: Duration, answered: Answered) -> Result<()> {
        self.waits.push(took.as_secs_f64() * 1000.0);
        match answered {
            Ok(answer) => {
                ensure!(
                    answer.response.verified,
                    "not verified: {:?}",
                    answer.response.error
                );
                self.answered += 1;
            }
            Err(AttestationError::QueueFull | AttestationError::Timeout) => self.back_pressure += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn total(&self) -> usize {
        self.waits.len()
    }

    const fn answered(&self) -> usize {
        self.answered
    }

    fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * part) as usize;
        sorted
            .get(place.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    fn report(&self, elapsed: f64) -> Result<()> {
        ensure!(
            self.total() == CALLERS,
            "{} of {CALLERS} callers came back",
            self.total()
        );
        println!(
            "{CALLERS} requests at once: {} answered, {} told of back-pressure, in {elapsed:.2} s; p50 {:.1} ms, p99 {:.1} ms",
            self.answered,
            self.back_pressure,
            self.percentile(0.5),
            self.percentile(0.99)
        );
        Ok(())
    }
}

fn aim_least(what: &str, value: f64, want: f64) {
    let verdict = if value >= want { "ok" } else { "short" };
    println!("aim {what}: {value:.3} want >= {want}: {verdict}");
}

fn aim_most(what: &str, value: f64, want: f64) {
    let verdict = if value <= want { "ok" } else { "short" };
    println!("aim {what}: {value:.3} want <= {want}: {verdict}");
}

fn request(number: usize) -> AttestationRequest {
    let mut challenge = vec![0; 24];
    challenge.extend_from_slice(&(number as u64).to_le_bytes());
    AttestationRequest {
        enclave_id: "node".to_owned(),
        request_type: Purpose::Runtime,
        challenge,
        user_data: Vec::new(),
        policy_id: String::new(),
        timestamp: now(),
    }
}

fn signatures_per_second() -> Result<f64> {
    let random = SystemRandom::new();
    let failed = |_| anyhow::anyhow!("ring made no key");
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("ring reads no key: {error}"))?;
    // As much as the simulated TEE signs: header and report.
    let message = [7; 432];
    let started = Instant::now();
    let mut signed = 0_u32;
    while started.elapsed() < FLOOR_FOR {
        key.sign(&random, &message).map_err(failed)?;
        signed += 1;
    }
    Ok(f64::from(signed) / started.elapsed().as_secs_f64())
}

fn resident_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// A node whose job is under way: verifier, ledger, agent and enclave.
struct Node {
    service: Arc<AttestationService>,
    stop: watch::Sender<bool>,
    agent: JoinHandle<Result<()>>,
}

impl Node {
    async fn start(data_dir: &Path) -> Result<Self> {
        let image = PathBuf::from(env!("CARGO_BIN_EXE_nautilus")).with_file_name("nautilus-enclave");
        let simulated = data_dir.join("simulated");
        let vendor = Vendor::open_or_create(&simulated, now())?;
        let root = vendor.root_der().to_vec();
        let set = || verifier_set(root.clone(), &TrustAnchors::default());
        let hash = nautilus_agent::enclave_process::image_hash(&image)?;
        let policy = Policy::development(Measurement(hash.0.to_vec()), Default::default());
        let key = VerifierKey::open_or_create(&data_dir.join("verifier.key"))?;
        let genesis = Genesis {
            verifier: key.public(),
            rules: Rules::default(),
        };
        let ledger = EmbeddedLedger::open_or_create(data_dir.join("ledger"), genesis, now())?;
        let registry = Registry::open(&data_dir.join("registry.json"))?;
        let public = key.public();
        let verifier = Verifier::new(set()?, policy.clone(), key, registry, ledger);
        let listener = Listener::bind(&Address::Unix(data_dir.join("channel.sock"))).await?;
        let verifier_address = VerifierAddress {
            address: listener.local_address().clone(),
            key: public,
        };
        tokio::spawn(nautilus_verifier::serve(
            Arc::new(verifier),
            listener,
            std::future::pending(),
        ));
        let judge = Arc::new(Judge { set: set()?, policy });
        let settings = Settings {
            directory: data_dir.join("agent"),
            tee: TeeKind::Simulated,
            simulated: Some(simulated.clone()),
            quote_provider: None,
            enclave_image: image,
            verifier: verifier_address,
            key_broker: None,
            rotation: RotationSchedule::every(DEFAULT_ROTATION),
            // Nothing else is to be measured than attestation.
            interval: Duration::from_secs(3600),
            window: Duration::from_secs(3600),
            batch: 10,
            monitoring: Monitoring {
                collectors: BTreeSet::from([CollectorKind::System]),
                tee: None,
                containerd: None,
                latency_peers: Peers::default(),
                textfiles: None,
                retention: Duration::from_secs(3600),
                back_pressure: BackPressure::default(),
            },
            build: Build {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: String::new(),
                tee: TeeKind::Simulated.to_string(),
            },
        };
        let grounds = Grounds {
            appraiser: Arc::clone(&judge) as Arc<dyn Appraiser>,
            launch_check: judge,
            enclaves: Arc::new(LocalAppraiser::new(set()?, Some(simulated.clone()))),
        };
        let (running, mut runs) = watch::channel(false);
        let events: EventSink = Arc::new(move |event| {
            if matches!(&event.what, What::Enclave(facts) if facts.status == EnclaveStatus::Running) {
                running.send_replace(true);
            }
        });
        let mut agent = Agent::open(settings, grounds, Arc::new(Board::new()), events)?;
        let service = Arc::clone(agent.attestation_service());
        let (stop, stopped) = watch::channel(false);
        let agent = spawn_local(async move {
            agent.run(stopped).await?;
            Ok(())
        });
        runs.wait_for(|runs| *runs)
            .await
            .context("the node ended before it ran")?;
        Ok(Self { service, stop, agent })
    }

    /// Answers a second, and the median in milliseconds, without any queue.
    async fn one_after_the_other(&self) -> Result<(f64, f64)> {
        let mut tally = Tally::default();
        let started = Instant::now();
        for number in 0..500 {
            let asked = Instant::now();
            let answered = self.service.request(&request(CALLERS + number)).await;
            tally.count(asked.elapsed(), answered)?;
        }
        let rate = tally.answered() as f64 / started.elapsed().as_secs_f64();
        Ok((rate, tally.percentile(0.5)))
    }

    async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.agent.await?
    }
}

struct Judge {
    set: VerifierSet,
    policy: Policy,
}

impl Appraiser for Judge {
    fn policy(&self) -> (PolicyId, String) {
        (self.policy.id(), self.policy.name().to_owned())
    }

    fn appraise(&self, file: &EvidenceFile, now: UnixMillis) -> Result<AttestationOutcome, VerifyError> {
        let binding = Binding::Challenge(file.challenge);
        let claims = self
            .set
            .verify(&file.evidence, binding, &file.endorsements, now)?;
        let appraisal = self.policy.appraise(claims, now);
        let json = serde_json::to_value(&appraisal).unwrap_or_default();
        Ok(AttestationOutcome::of(&appraisal, json))
    }

    fn parts(&self, _evidence: &Evidence) -> QuoteParts {
        QuoteParts::default()
    }
}

impl LaunchCheck for Judge {
    fn expect(&self, _image: &Path, _sha256: Digest32) -> Result<Expected, String> {
        Ok(Expected::default())
    }
}
