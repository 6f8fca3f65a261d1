use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nautilus_core::{Challenge, Digest32, Endorsements, Evidence, EvidenceFile, EvidenceId, TeeKind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::limits::{MAX_CALLERS, MAX_REMEMBERED, QUEUE};
use super::*;

/// Makes answers without an enclave, as fast as it is allowed to.
struct FakeEnclave {
    boot: Mutex<BootId>,
    /// Answers that it may give; none are missing where it is fast.
    allowance: Semaphore,
    begun: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    made: AtomicUsize,
    verified: bool,
    valid_millis: u64,
}

impl FakeEnclave {
    fn new(allowance: usize) -> Self {
        Self {
            boot: Mutex::new(BootId([1; 16])),
            allowance: Semaphore::new(allowance),
            begun: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
            verified: true,
            valid_millis: limits::VALIDITY_MILLIS,
        }
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn answer(&self, ask: &Ask) -> Answer {
        let challenge = ask.challenge();
        let at = NodeClock::wall();
        let boot = *self.boot.lock().unwrap();
        let file = EvidenceFile {
            evidence: Evidence {
                tee: TeeKind::Simulated,
                bytes: challenge.digest().0.to_vec(),
                user_data: Some(vec![1]),
                event_log: None,
            },
            challenge,
            endorsements: Endorsements::default(),
            created_at: at,
        };
        let mut report_data = challenge.digest().0.to_vec();
        report_data.extend_from_slice(&boot.0);
        report_data.extend_from_slice(&[ask.purpose as u8; 16]);
        Answer {
            response: AttestationResponse {
                quote: TeeQuote::of(&file, QuoteParts::default()),
                certificate: AttestationCert {
                    subject: String::new(),
                    issuer: String::new(),
                    serial_number: String::new(),
                    not_before: at,
                    not_after: at,
                    public_key: Vec::new(),
                    certificate: Vec::new(),
                    cert_chain: Vec::new(),
                },
                measurements: None,
                evidence: file,
                signature: String::new(),
                timestamp: at,
                expires_at: at.plus(self.valid_millis),
                verified: self.verified,
                error: None,
            },
            boot,
            evidence: EvidenceId::of(TeeKind::Simulated, &report_data),
            outcome: None,
        }
    }
}

/// Counts work that is under way, also where it is given up.
struct AtOnce<'a>(&'a FakeEnclave);

impl<'a> AtOnce<'a> {
    fn begin(fake: &'a FakeEnclave) -> Self {
        fake.begun.fetch_add(1, Ordering::Relaxed);
        let now = fake.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        fake.most_at_once.fetch_max(now, Ordering::Relaxed);
        Self(fake)
    }
}

impl Drop for AtOnce<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Producer for FakeEnclave {
    fn now(&self, enclave: &str, _policy: &str) -> Result<EnclaveNow, AttestationError> {
        if enclave != "node" {
            return Err(AttestationError::Enclave {
                kind: "enclave_unknown",
                what: enclave.to_owned(),
            });
        }
        let boot = *self.boot.lock().unwrap();
        Ok(EnclaveNow {
            boot,
            policy: PolicyId([9; 32]),
        })
    }

    fn produce(&self, ask: Ask) -> Working<'_, Result<Answer, AttestationError>> {
        Box::pin(async move {
            let _at_once = AtOnce::begin(self);
            self.allowance.acquire().await.unwrap().forget();
            tokio::task::yield_now().await;
            self.made.fetch_add(1, Ordering::Relaxed);
            Ok(self.answer(&ask))
        })
    }
}

fn start(fake: FakeEnclave) -> (Arc<AttestationService>, Arc<FakeEnclave>) {
    let fake = Arc::new(fake);
    let service = AttestationService::start(Arc::clone(&fake) as Arc<dyn Producer>);
    (Arc::new(service), fake)
}

fn request(number: u64) -> AttestationRequest {
    let mut challenge = vec![0; 32];
    challenge[..8].copy_from_slice(&number.to_le_bytes());
    AttestationRequest {
        enclave_id: "node".to_owned(),
        request_type: Purpose::Runtime,
        challenge,
        user_data: Vec::new(),
        policy_id: String::new(),
        timestamp: NodeClock::wall(),
    }
}

/// Lets every task go on until nothing changes any more.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// What callers came to, by the error's name; `ok` for an answer to their own challenge.
async fn outcomes(mut callers: JoinSet<(u64, Answered)>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    while let Some(joined) = callers.join_next().await {
        let (number, answered) = joined.unwrap();
        let name = match answered {
            Ok(answer) => {
                assert_eq!(answer.response.evidence.evidence.bytes, request(number).challenge);
                "ok".to_owned()
            }
            Err(error) => error.kind().to_owned(),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn call(callers: &mut JoinSet<(u64, Answered)>, service: &Arc<AttestationService>, number: u64) {
    let service = Arc::clone(service);
    callers.spawn(async move { (number, service.request(&request(number)).await) });
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_are_all_answered_by_a_fast_enclave_in_bounded_memory() {
    let (service, fake) = start(FakeEnclave::new(Semaphore::MAX_PERMITS));
    let mut callers = JoinSet::new();
    for number in 0..10_000 {
        call(&mut callers, &service, number);
    }
    let watcher = Arc::clone(&service);
    let most = Arc::new(Mutex::new(Load::default()));
    let seen = Arc::clone(&most);
    let watching = AbortOnDrop::new(tokio::spawn(async move {
        loop {
            {
                let load = watcher.load();
                let mut most = seen.lock().unwrap();
                most.queued = most.queued.max(load.queued);
                most.worked_on = most.worked_on.max(load.worked_on);
                most.remembered = most.remembered.max(load.remembered);
                most.callers = most.callers.max(load.callers);
            }
            tokio::task::yield_now().await;
        }
    }));
    assert_eq!(
        outcomes(callers).await,
        BTreeMap::from([("ok".to_owned(), 10_000)])
    );
    drop(watching);
    assert_eq!(fake.made(), 10_000, "every challenge has evidence of its own");
    assert!(fake.most_at_once.load(Ordering::Relaxed) <= WORKERS);
    let most = *most.lock().unwrap();
    assert!(most.callers > 9_000, "{most:?}");
    assert!(most.queued <= QUEUE && most.queued > QUEUE / 2, "{most:?}");
    assert!(most.worked_on <= WORKERS, "{most:?}");
    assert_eq!(most.remembered, MAX_REMEMBERED);
    assert_eq!(
        service.load(),
        Load {
            remembered: MAX_REMEMBERED,
            remembered_bytes: service.load().remembered_bytes,
            ..Load::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_of_a_stuck_enclave_all_learn_of_the_back_pressure() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    for number in 0..10_000 {
        call(&mut callers, &service, number);
    }
    settle().await;
    let load = service.load();
    assert_eq!((load.queued, load.worked_on), (QUEUE, WORKERS), "{load:?}");
    let counts = outcomes(callers).await;
    // Who had a place waited for the answer; and behind those that gave up nobody waited any more.
    let expected = [
        ("queue_full", 10_000 - QUEUE - WORKERS),
        ("timeout", QUEUE + WORKERS),
    ];
    assert_eq!(
        counts,
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
    settle().await;
    assert_eq!(fake.made(), 0);
    assert_eq!(service.load(), Load::default());
}

#[tokio::test(start_paused = true)]
async fn more_callers_than_may_wait_are_told_at_once() {
    let (service, _fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    for number in 0..MAX_CALLERS as u64 {
        call(&mut callers, &service, number);
    }
    settle().await;
    assert_eq!(service.load().callers, MAX_CALLERS);
    let error = service.request(&request(u64::MAX)).await.unwrap_err();
    assert!(matches!(error, AttestationError::TooManyCallers), "{error}");
    callers.shutdown().await;
    assert_eq!(service.load(), Load::default());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_frees_its_place_and_its_work() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    for number in 0..(QUEUE + WORKERS) as u64 {
        call(&mut callers, &service, number);
    }
    settle().await;
    assert_eq!(service.load().queued, QUEUE);
    callers.shutdown().await;
    settle().await;
    assert_eq!(service.load(), Load::default());
    assert_eq!(fake.at_once.load(Ordering::Relaxed), 0, "nobody works for nobody");
    fake.allowance.add_permits(1);
    service.request(&request(7)).await.unwrap();
    assert_eq!(fake.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn equal_requests_share_one_quote_and_different_ones_never_do() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..5000 {
        call(&mut callers, &service, 1);
    }
    call(&mut callers, &service, 2);
    settle().await;
    let load = service.load();
    assert_eq!(
        (load.queued + load.worked_on, load.callers),
        (2, 5001),
        "{load:?}"
    );
    fake.allowance.add_permits(2);
    assert_eq!(outcomes(callers).await, BTreeMap::from([("ok".to_owned(), 5001)]));
    assert_eq!(fake.made(), 2);

    // The same challenge with another type or other user data is another request.
    fake.allowance.add_permits(2);
    let mut other = request(1);
    other.request_type = Purpose::Workload;
    service.request(&other).await.unwrap();
    let mut other = request(1);
    other.user_data = vec![1];
    let answer = service.request(&other).await.unwrap();
    assert_eq!(
        answer.response.evidence.challenge,
        bound_challenge(Digest32(request(1).challenge.try_into().unwrap()), &[1])
    );
    assert_eq!(fake.made(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_of_many_that_share_may_leave() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    call(&mut callers, &service, 1);
    let same = request(1);
    let leaver = service.request(&same);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), leaver)
            .await
            .is_err()
    );
    fake.allowance.add_permits(1);
    assert_eq!(outcomes(callers).await, BTreeMap::from([("ok".to_owned(), 1)]));
    assert_eq!(fake.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_until_the_enclave_is_another() {
    let (service, fake) = start(FakeEnclave::new(Semaphore::MAX_PERMITS));
    let first = service.request(&request(1)).await.unwrap();
    let again = service.request(&request(1)).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(fake.made(), 1);
    *fake.boot.lock().unwrap() = BootId([2; 16]);
    let other = service.request(&request(1)).await.unwrap();
    assert_eq!(other.boot, BootId([2; 16]));
    assert_eq!((fake.made(), service.load().remembered), (2, 2));
    service.forget(BootId([1; 16]));
    assert_eq!(service.load().remembered, 1);
    service.forget(BootId([2; 16]));
    assert_eq!(service.load(), Load::default());
    service.request(&request(1)).await.unwrap();
    assert_eq!(fake.made(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_expired_or_was_not_verified_is_not_given_again() {
    let mut expired = FakeEnclave::new(Semaphore::MAX_PERMITS);
    expired.valid_millis = 0;
    let mut refused = FakeEnclave::new(Semaphore::MAX_PERMITS);
    refused.verified = false;
    for fake in [expired, refused] {
        let (service, fake) = start(fake);
        service.request(&request(1)).await.unwrap();
        service.request(&request(1)).await.unwrap();
        assert_eq!(fake.made(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_verifiers_questions_pass_the_queue() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut callers = JoinSet::new();
    for number in 0..1000 {
        call(&mut callers, &service, number);
    }
    settle().await;
    let terms = ChallengeTerms {
        verifier: nautilus_core::PublicKey([1; 32]),
        node: nautilus_core::NodeId([2; 32]),
        purpose: Purpose::Runtime,
        nonce: Digest32([3; 32]),
        issued_at: UnixMillis(0),
        expires_at: UnixMillis(1),
    };
    let asked = service.for_verifier("node", terms.clone());
    tokio::pin!(asked);
    assert!(tokio::time::timeout(Duration::ZERO, &mut asked).await.is_err());
    assert_eq!(fake.at_once.load(Ordering::Relaxed), WORKERS + 1);
    callers.shutdown().await;
    settle().await;
    fake.allowance.add_permits(1);
    let answer = asked.await.unwrap();
    assert_eq!(answer.response.evidence.challenge, terms.challenge());
    assert_eq!(service.load().remembered, 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_named_before_it_takes_a_place() {
    let (service, fake) = start(FakeEnclave::new(0));
    let mut unknown = request(1);
    unknown.enclave_id = "other".to_owned();
    let error = service.request(&unknown).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        ("enclave_unknown", "other")
    );
    let mut short = request(1);
    short.challenge.pop();
    assert_eq!(service.request(&short).await.unwrap_err().kind(), "bad_request");
    assert_eq!(fake.begun.load(Ordering::Relaxed), 0);
    assert_eq!(service.load(), Load::default());
}

#[test]
fn a_response_is_valid_for_a_day_and_never_longer_than_the_verdict() {
    let at = UnixMillis(1000);
    assert_eq!(expiry(at, None), UnixMillis(1000 + 86_400_000));
    assert_eq!(expiry(at, Some(UnixMillis(5000))), UnixMillis(5000));
    assert_eq!(
        expiry(at, Some(UnixMillis(u64::MAX))),
        UnixMillis(1000 + 86_400_000)
    );
}

#[test]
fn responses_have_the_specifications_fields() {
    let fake = FakeEnclave::new(0);
    let ask = Ask {
        enclave: "node".to_owned(),
        purpose: Purpose::Boot,
        question: Question::Anybody(Challenge::from_digest(Digest32([0; 32]))),
    };
    let mut response = fake.answer(&ask).response;
    response.error = Some("because".to_owned());
    let value = serde_json::to_value(&response).unwrap();
    let names = |value: &serde_json::Value| -> Vec<String> {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&value),
        [
            "certificate",
            "error",
            "evidence",
            "expires_at",
            "measurements",
            "quote",
            "signature",
            "timestamp",
            "verified"
        ]
    );
    assert_eq!(
        names(&value["quote"]),
        [
            "certificates",
            "collateral",
            "quote_data",
            "signature",
            "tee_type",
            "version"
        ]
    );
    assert_eq!(
        names(&value["certificate"]),
        [
            "cert_chain",
            "certificate",
            "issuer",
            "not_after",
            "not_before",
            "public_key",
            "serial_number",
            "subject"
        ]
    );
    assert_eq!(
        serde_json::from_value::<AttestationResponse>(value).unwrap(),
        response
    );
    response.error = None;
    assert!(!names(&serde_json::to_value(&response).unwrap()).contains(&"error".to_owned()));
}
