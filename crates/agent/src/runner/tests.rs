use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use nautilus_core::{BootId, NodeId, PublicKey, Signature};
use nautilus_monitor::SystemCollector;
use nautilus_proof::{Metrics, SampleChain, SignedSample};
use nautilus_verifier::api::{ApiError, Registered, VerifierFacts};
use tempfile::TempDir;

use super::window::OpenWindow;
use super::*;
use crate::enclave_process::EnclaveError;
use crate::fake_grounds::grounds;
use crate::fake_verifier::serve;
use crate::key_manager::DEFAULT_ROTATION;
use crate::verifier_client::VerifierError;

fn settings(directory: &TempDir, verifier: String) -> Settings {
    Settings {
        directory: directory.path().to_owned(),
        tee: TeeKind::Simulated,
        simulated: Some(directory.path().join("simulated")),
        quote_provider: None,
        enclave_image: directory.path().join("no-enclave"),
        verifier,
        key_broker: None,
        rotation: RotationSchedule::every(DEFAULT_ROTATION),
        interval: Duration::from_secs(2),
        window: Duration::from_secs(20),
        batch: 10,
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
    (Agent::open(settings, grounds(), events).unwrap(), warnings)
}

fn busy() -> Response {
    let error = ApiError {
        kind: "busy".to_owned(),
        detail: "try again in a minute".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
}

/// Busy twice, then one that registers.
async fn busy_at_first() -> String {
    let asked = Arc::new(AtomicU32::new(0));
    let facts = VerifierFacts {
        verifier: PublicKey([1; 32]),
        version: "0".to_owned(),
    };
    let facts = get(async move || {
        if asked.fetch_add(1, Ordering::Relaxed) < 2 {
            busy()
        } else {
            Json(facts).into_response()
        }
    });
    let register = post(async || {
        Json(Registered {
            node: NodeId([1; 32]),
        })
    });
    let routes = axum::Router::new()
        .route("/v1/verifier", facts)
        .route("/v1/nodes", register);
    serve(routes).await
}

#[tokio::test]
async fn a_busy_verifier_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut agent, warnings) = agent(settings(&directory, busy_at_first().await));
    let (_stop, stopped) = watch::channel(false);
    // It gets as far as the enclave, which is not there.
    let error = agent.run(stopped).await.unwrap_err();
    assert!(
        matches!(error, AgentError::Enclave(EnclaveError::Image { .. })),
        "{error}"
    );
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("(busy)"), "{warnings:?}");
    assert!(warnings[1].ends_with("trying again in 500 ms"), "{warnings:?}");
}

#[tokio::test]
async fn stop_ends_the_wait_for_a_verifier_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let (mut agent, warnings) = agent(settings(&directory, "http://127.0.0.1:1".to_owned()));
    let (stop, stopped) = watch::channel(false);
    let asking = async {
        while warnings.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let (result, ()) = tokio::join!(agent.run(stopped), asking);
    result.unwrap();
    let warnings = warnings.lock().unwrap();
    assert!(
        warnings[0].starts_with("cannot reach the verifier"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn nothing_is_booted_once_stop_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut agent, warnings) = agent(settings(&directory, "http://127.0.0.1:1".to_owned()));
    let (_stop, stopped) = watch::channel(true);
    // Neither the missing verifier nor the missing enclave is looked for.
    assert_eq!(agent.run(stopped).await.unwrap(), Ended::Stopped);
    assert!(warnings.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_used_up_challenge_is_followed_by_another_and_a_refusal_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, warnings) = agent(settings(&directory, "http://127.0.0.1:1".to_owned()));
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
    let (mut agent, warnings) = agent(settings(&directory, busy_at_first().await));
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
    let settings = settings(&directory, String::new());
    let mut window = OpenWindow::starting(UnixMillis(1000));
    assert!(!window.is_over(UnixMillis(100_000), &settings));
    assert_eq!(window.end(UnixMillis(3000)), UnixMillis(3000));
    assert_eq!(window.next_sample(UnixMillis(999)), UnixMillis(1000));

    let sample = SampleChain::of_boot(NodeId([1; 32]), BootId([2; 16])).draft(UnixMillis(3000), metrics());
    let signature = Signature([0; 64]);
    window.samples.push(SignedSample { sample, signature });
    assert_eq!(window.end(UnixMillis(2999)), UnixMillis(3001));
    assert_eq!(window.end(UnixMillis(3000)), UnixMillis(3001));
    assert_eq!(window.end(UnixMillis(4000)), UnixMillis(4000));
    assert_eq!(window.next_sample(UnixMillis(3000)), UnixMillis(3001));
    assert!(!window.is_over(UnixMillis(20_999), &settings));
    assert!(window.is_over(UnixMillis(21_000), &settings));
}

fn metrics() -> Metrics {
    SystemCollector::new("/").unwrap().collect().unwrap()
}
