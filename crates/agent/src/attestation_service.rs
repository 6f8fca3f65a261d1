//! The attestation service (specification §2.A): requests in, evidence with the verifier's word on it out.
//!
//! Its limits are the specification's: a queue of 100, three workers, 5 s for a place in the queue and 30 s for the
//! answer from then on, responses valid for 24 hours. A full queue and a missed deadline are errors that the caller
//! sees. A caller that gives up frees its place, and what nobody waits for any more is not done.
//!
//! Requests for the same evidence share one quote, and later ones get it again while it is valid (`cache`). The same
//! is: the same enclave in the same boot, type, challenge, user data, and policy. Requests with different challenges
//! never share anything: each challenge is there to show that its own evidence is fresh.
//!
//! Memory is bounded whatever the number of callers: the queue, the workers, the answers that are kept, and the number
//! of callers that wait.
//!
//! The node's own evidence, which its verifier asks for, has a lane of its own ([`AttestationService::for_verifier`]):
//! a flood of other requests cannot keep the node from renewing it.

mod base64_fields;
mod cache;
mod error;
mod flights;
pub mod limits;
mod pipeline;
mod request;
mod response;

use std::pin::Pin;
use std::sync::Arc;

use nautilus_core::{BootId, ChallengeTerms, PolicyId, Purpose, UnixMillis};
use tokio::time::timeout;

use self::base64_fields::{base64_bytes, base64_list, base64_map};
pub use self::error::AttestationError;
use self::flights::{Flights, Place};
use self::limits::{ANSWER, ENQUEUE, WORKERS};
pub use self::pipeline::{Appraiser, Pipeline};
pub(crate) use self::pipeline::{failed_findings, rejection};
use self::request::Fingerprint;
pub use self::request::{Ask, AttestationRequest, MAX_USER_DATA, Question, bound_challenge};
pub use self::response::{Answer, AttestationCert, AttestationResponse, QuoteParts, TeeQuote};
use crate::clock::NodeClock;
use crate::task::AbortOnDrop;

/// What comes of a request.
pub type Answered = Result<Arc<Answer>, AttestationError>;
/// Work that is under way.
pub type Working<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes answers. Work on them may be given up at any moment.
pub trait Producer: Send + Sync {
    /// The enclave that is asked for, as it is now, and the policy that would judge. Called for every request, so it is
    /// quick.
    ///
    /// # Errors
    /// If there is none that can be asked, or another policy is in force than the one of this id or name.
    fn now(&self, enclave: &str, policy: &str) -> Result<EnclaveNow, AttestationError>;

    /// Evidence, and what the verifier says of it.
    fn produce(&self, ask: Ask) -> Working<'_, Result<Answer, AttestationError>>;
}

/// What an answer depends on besides the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnclaveNow {
    /// The enclave's boot.
    pub boot: BootId,
    /// The policy in force.
    pub policy: PolicyId,
}

/// How much the service holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Callers that wait, for a place or for an answer.
    pub callers: usize,
    /// Requests in the queue.
    pub queued: usize,
    /// Requests that workers are at.
    pub worked_on: usize,
    /// Answers that are kept.
    pub remembered: usize,
    /// Bytes that those take.
    pub remembered_bytes: usize,
}

/// The service. It ends with this.
pub struct AttestationService {
    producer: Arc<dyn Producer>,
    flights: Arc<Flights>,
    _workers: Vec<AbortOnDrop<()>>,
}

impl AttestationService {
    /// Starts its workers on the current runtime.
    pub fn start(producer: Arc<dyn Producer>) -> Self {
        let flights = Arc::new(Flights::default());
        let worker = |_| {
            let (flights, producer) = (Arc::clone(&flights), Arc::clone(&producer));
            AbortOnDrop::new(tokio::spawn(async move { flights.work(&*producer).await }))
        };
        Self {
            _workers: (0..WORKERS).map(worker).collect(),
            producer,
            flights,
        }
    }

    /// Answers a request of anybody. Dropping the future frees whatever it holds.
    ///
    /// # Errors
    /// See [`AttestationError`]; back-pressure is `QueueFull`, `TooManyCallers` and `Timeout`. That evidence is not
    /// accepted is no error: the response says so.
    pub async fn request(&self, request: &AttestationRequest) -> Answered {
        let _caller = self.flights.admit()?;
        let now = NodeClock::wall();
        let ask = request.check(now)?;
        let facts = self.producer.now(&request.enclave_id, &request.policy_id)?;
        let fingerprint = Fingerprint::of(&ask, &facts);
        let waiting = match self.flights.board(fingerprint, now) {
            Place::Remembered(answer) => return Ok(answer),
            Place::Aboard(waiting) => waiting,
            Place::None => {
                let slot = timeout(ENQUEUE, self.flights.slot()).await;
                let slot = slot.map_err(|_| AttestationError::QueueFull)??;
                match self.flights.depart(fingerprint, facts, ask, slot, now) {
                    Place::Remembered(answer) => return Ok(answer),
                    Place::Aboard(waiting) => waiting,
                    Place::None => return Err(AttestationError::Stopped),
                }
            }
        };
        let answered = timeout(ANSWER, waiting.answer()).await;
        answered.map_err(|_| AttestationError::Timeout)?
    }

    /// Answers the node's verifier, which judges and records the answer, in a lane besides the queue.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn for_verifier(
        &self,
        enclave: &str,
        terms: ChallengeTerms,
    ) -> Result<Answer, AttestationError> {
        let ask = Ask {
            enclave: enclave.to_owned(),
            purpose: terms.purpose,
            question: Question::Verifier(terms),
        };
        let produced = timeout(ANSWER, self.producer.produce(ask)).await;
        produced.map_err(|_| AttestationError::Timeout)?
    }

    /// Answers this agent's own question about an enclave, against a challenge that nobody else can know before.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn for_agent(&self, enclave: &str, purpose: Purpose) -> Answered {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge)
            .map_err(|error| AttestationError::Internal(format!("no randomness: {error}")))?;
        self.request(&AttestationRequest {
            enclave_id: enclave.to_owned(),
            request_type: purpose,
            challenge: challenge.to_vec(),
            user_data: Vec::new(),
            policy_id: String::new(),
            timestamp: NodeClock::wall(),
        })
        .await
    }

    /// Forgets the answers of a boot that is over.
    pub fn forget(&self, boot: BootId) {
        self.flights.forget(boot);
    }

    /// How much it holds now.
    pub fn load(&self) -> Load {
        self.flights.load()
    }
}

/// Until when a response that is made at `at` is valid: 24 hours, and never longer than the verdict.
fn expiry(at: UnixMillis, verdict: Option<UnixMillis>) -> UnixMillis {
    let longest = at.plus(limits::VALIDITY_MILLIS);
    verdict.map_or(longest, |verdict| longest.min(verdict))
}

#[cfg(test)]
mod tests;
