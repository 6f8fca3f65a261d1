use std::sync::Mutex;

use nautilus_channel::Address;
use nautilus_core::{AppraisalVerdict, BootId, EvidenceId, NodeId, PublicKey, Signature};
use nautilus_monitor::SystemCollector;
use nautilus_monitor::aggregate::BackPressure;
use nautilus_monitor::network::Peers;
use nautilus_proof::{CollectorKind, Measurement, Metrics, SampleChain, SignedBatch};
use nautilus_verifier::api::{ApiError, AttestationOutcome};
use tempfile::TempDir;

use super::window::OpenWindow;
use super::*;
use crate::fake_grounds::grounds;
use crate::fake_verifier::{FakeVerifier, Said};
use crate::key_manager::DEFAULT_ROTATION;
use crate::verifier_client::VerifierError;

fn settings(directory: &TempDir) -> Settings {
    Settings {
        directory: directory.path().to_owned(),
        tee: TeeKind::Simulated,
        simulated: Some(directory.path().join("simulated")),
        quote_provider: None,
        enclave_image: directory.path().join("no-enclave"),
        verifier: nobody(directory),
        key_broker: None,
        rotation: RotationSchedule::every(DEFAULT_ROTATION),
        interval: Duration::from_secs(2),
        window: Duration::from_secs(20),
        batch: 10,
        monitoring: Monitoring {
            collectors: [CollectorKind::System].into(),
            tee: None,
            containerd: None,
            latency_peers: Peers::default(),
            textfiles: None,
            retention: Duration::from_secs(3600),
            back_pressure: BackPressure::default(),
        },
        build: Build {
            version: String::new(),
            commit: String::new(),
            tee: String::new(),
        },
    }
}

/// An agent, and the details of its warnings.
fn agent(settings: Settings) -> (Agent, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&warnings);
    let events: EventSink = Arc::new(move |event: Event| {
        if let What::Warning { detail } = event.what {
            sink.lock().unwrap().push(detail);
        }
    });
    (
        Agent::open(settings, grounds(), Arc::new(Board::new()), events).unwrap(),
        warnings,
    )
}

/// Where nobody is.
fn nobody(directory: &TempDir) -> VerifierAddress {
    VerifierAddress {
        address: Address::Unix(directory.path().join("nobody")),
        key: PublicKey([1; 32]),
    }
}

fn error(kind: &str) -> ApiError {
    ApiError {
        kind: kind.to_owned(),
        detail: "because".to_owned(),
    }
}

#[tokio::test]
async fn a_busy_verifier_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, warnings) = agent(settings(&directory));
    let mut tries = 0;
    let asked = agent.persist(async || {
        tries += 1;
        if tries < 3 {
            return Err(VerifierError::Failed(error("busy")).into());
        }
        Ok(tries)
    });
    assert_eq!(asked.await.unwrap(), 3);
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for warning in warnings.iter() {
        assert!(
            warning.contains("(busy)") && warning.contains(": trying again in ") && warning.ends_with(" ms"),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn stop_ends_the_wait_for_a_verifier_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, warnings) = agent(settings(&directory));
    let (stop, mut stopped) = watch::channel(false);
    let asking = async {
        while warnings.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let (result, ()) = tokio::join!(until_stop(&mut stopped, agent.open_channel()), asking);
    assert!(result.is_none(), "{result:?}");
    let warnings = warnings.lock().unwrap();
    assert!(
        warnings[0].starts_with("no channel to the verifier at unix://") && warnings[0].contains("(io)"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn without_an_enclave_no_channel_opens_and_the_boot_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let verifier = FakeVerifier::start(|_, _| Said::Nothing).await;
    let settings = Settings {
        verifier: verifier.at.clone(),
        ..settings(&directory)
    };
    let (agent, warnings) = agent(settings);
    let error = agent.open_channel().await.unwrap_err();
    assert!(
        matches!(&error, AgentError::Verifier(VerifierError::EnclaveAway(_))),
        "{error:?}"
    );
    // Trying again with this enclave does not help: another boot does.
    assert!(error.loses_enclave() && !error.may_pass());
    assert!(warnings.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_broker_that_is_the_verifier_is_spoken_to_in_the_same_session() {
    let directory = tempfile::tempdir().unwrap();
    let own = settings(&directory);
    let other = VerifierAddress {
        key: PublicKey([2; 32]),
        ..own.verifier.clone()
    };
    let with = |broker: &VerifierAddress| Settings {
        key_broker: Some(broker.clone()),
        ..own.clone()
    };
    let (same, _) = agent(with(&own.verifier));
    assert!(std::ptr::eq(
        same.broker.as_ref().unwrap().at(),
        same.verifier.at()
    ));
    let (differs, _) = agent(with(&other));
    assert_eq!(differs.broker.as_ref().unwrap().at(), &other);
}

#[tokio::test]
async fn a_rejected_session_is_told_as_rejected_boot_evidence_is() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, _) = agent(settings(&directory));
    let outcome = AttestationOutcome {
        verdict: AppraisalVerdict::Rejected,
        assurance: TeeKind::Simulated.assurance(),
        evidence_id: EvidenceId([4; 32]),
        expires_at: UnixMillis(1),
        appraisal: serde_json::json!({
            "policy": "strict",
            "findings": [
                { "rule": "debug", "passed": true, "detail": "off" },
                { "rule": "tcb", "passed": false, "detail": "out of date" },
            ],
        }),
    };
    let error = agent.rejected(outcome).await;
    assert!(
        matches!(&error, AgentError::Rejected { policy, findings } if policy == "strict" && findings == "tcb: out of date"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_booted_once_stop_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut agent, warnings) = agent(settings(&directory));
    let (_stop, stopped) = watch::channel(true);
    // Neither the missing verifier nor the missing enclave is looked for.
    assert_eq!(agent.run(stopped).await.unwrap(), Ended::Stopped);
    assert!(warnings.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_used_up_challenge_is_followed_by_another_and_a_refusal_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, warnings) = agent(settings(&directory));
    let mut kinds = ["challenge_unknown", "evidence_invalid"].into_iter();
    let result: Result<(), _> = agent
        .persist(async || {
            let kind = kinds.next().unwrap().to_owned();
            let detail = String::new();
            Err(VerifierError::Refused(ApiError { kind, detail }).into())
        })
        .await;
    assert!(
        matches!(&result, Err(AgentError::Verifier(VerifierError::Refused(error))) if error.kind == "evidence_invalid"),
        "{result:?}"
    );
    assert_eq!(warnings.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_clock_behind_what_is_settled_is_waited_for_until_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (mut agent, warnings) = agent(settings(&directory));
    agent.settled_until = NodeClock::wall().plus(3_600_000);
    let (stop, stopped) = watch::channel(false);
    let asking = async {
        while !warnings
            .lock()
            .unwrap()
            .iter()
            .any(|detail| detail.contains("behind what is settled"))
        {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let (result, ()) = tokio::join!(agent.run(stopped), asking);
    result.unwrap();
}

#[test]
fn a_window_ends_after_its_last_sample_and_goes_on_without_any() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&directory);
    let mut window = OpenWindow::starting(UnixMillis(1000));
    assert!(!window.is_over(UnixMillis(100_000), &settings));
    assert_eq!(window.end(UnixMillis(3000)), UnixMillis(3000));
    assert_eq!(window.next_sample(UnixMillis(999)), UnixMillis(1000));

    let chain = SampleChain::of_boot(NodeId([1; 32]), BootId([2; 16]));
    let sample = chain.draft(Measurement::of_system(UnixMillis(3000), metrics()));
    window.took(&sample);
    // Whether it is signed yet makes no difference.
    for signed in [false, true] {
        if signed {
            window.signed(SignedBatch {
                samples: vec![sample.clone()],
                signature: Signature([0; 64]),
            });
        }
        assert_eq!(window.end(UnixMillis(2999)), UnixMillis(3001));
        assert_eq!(window.end(UnixMillis(3000)), UnixMillis(3001));
        assert_eq!(window.end(UnixMillis(4000)), UnixMillis(4000));
        assert_eq!(window.next_sample(UnixMillis(3000)), UnixMillis(3001));
        assert!(!window.is_empty());
        assert!(!window.is_over(UnixMillis(20_999), &settings));
        assert!(window.is_over(UnixMillis(21_000), &settings));
    }
    let at_once = Settings { batch: 2, ..settings };
    assert!(!window.is_over(UnixMillis(3000), &at_once));
    window.took(&sample);
    assert!(
        window.is_over(UnixMillis(3000), &at_once),
        "one signed and one not are two"
    );
    let batches = window.into_batches();
    assert_eq!(batches.len(), 1, "what is not signed is no batch");
    assert_eq!(batches[0].samples, [sample]);
}

fn metrics() -> Metrics {
    SystemCollector::new("/").unwrap().measure().unwrap().signed()
}
