//! A verifier in this process that answers as a test wants, over the real channel: it appraises simulated evidence, and
//! signs with a key of its own.

use std::sync::{Arc, Mutex};

use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_channel::{
    Address, Appraise, Appraiser, Attested, ChannelError, Config, Demand, Endpoint, Judgement, Listener,
    MessageId, Parties, Payload as _, Present, Presentation, PresentedEvidence, Presenter, SessionKeyHolder,
    TaskClock, Working, open,
};
use nautilus_core::{
    Attester as _, Binding, BootId, BoundUserData, EventLogHead, Measurement, NodeId, Policy, PublicKey,
    Role, SessionBinding, Signature, SignedMessage as _, TeeKind, TrustAnchors, UnixMillis, VerifierSet,
};
use nautilus_tee::simulated::{Image, Platform, Vendor, verifier_set};
use nautilus_verifier::api::{Answer, ApiError, AttestationOutcome, Question};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::clock::NodeClock;
use crate::verifier_client::VerifierAddress;

/// The node that fakes are about.
pub(crate) const NODE: NodeId = NodeId([0x17; 32]);
/// The program that the fake verifier wants.
pub(crate) const WANTED: [u8; 32] = [0xe0; 32];

/// What comes of a question.
pub(crate) enum Said {
    Answer(Answer),
    Declined(ApiError),
    Nothing,
    /// The session ends instead, for a moment.
    Gone,
}

/// A verifier that serves until it is dropped.
pub(crate) struct FakeVerifier {
    pub(crate) at: VerifierAddress,
    pub(crate) tee: Arc<Tee>,
    serving: JoinHandle<()>,
    _socket: TempDir,
}

impl FakeVerifier {
    /// The key of every one.
    pub(crate) fn key() -> PublicKey {
        signing_key().public()
    }

    pub(crate) async fn start(answer: impl Fn(MessageId, &Question) -> Said + Send + Sync + 'static) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let address = Address::Unix(socket.path().join("verifier"));
        let key = signing_key();
        let at = VerifierAddress {
            address: address.clone(),
            key: key.public(),
        };
        let tee = Arc::new(Tee::new());
        let demand = Demand::Evidence {
            verifier: Some(at.key),
            child: None,
        };
        let presents = Presentation::Key(Arc::new(key));
        let config = Config::new(Role::Verifier, Role::Agent, None, presents, demand);
        let parties = Parties {
            presenter: None,
            appraiser: Some(Arc::clone(&tee) as _),
        };
        let listener = Listener::bind(&address).await.unwrap();
        let serving = tokio::spawn(serve(listener, config, parties, Arc::new(answer)));
        Self {
            at,
            tee,
            serving,
            _socket: socket,
        }
    }
}

impl Drop for FakeVerifier {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Answering = Arc<dyn Fn(MessageId, &Question) -> Said + Send + Sync>;

async fn serve(listener: Listener, config: Config, parties: Parties, answer: Answering) {
    let clock = TaskClock::start();
    while let Ok((stream, _)) = listener.accept().await {
        let endpoint = Endpoint::responder(config.clone(), clock.now()).unwrap();
        let (parties, answer) = (parties.clone(), Arc::clone(&answer));
        tokio::spawn(async move {
            // Whom it refuses it has told.
            let Ok((channel, mut questions)) = open::<Attested>(stream, endpoint, clock, parties).await
            else {
                return;
            };
            while let Some(message) = questions.next().await {
                let question = Question::decode(message.message_type, &message.payload).unwrap();
                // Who asked may be gone.
                let _told = match answer(message.message_id, &question) {
                    Said::Answer(answer) => {
                        let payload = answer.encode().unwrap();
                        channel
                            .answer(message.message_id, answer.message_type(), payload)
                            .await
                    }
                    Said::Declined(error) => channel.decline(message.message_id, &error.into()).await,
                    Said::Nothing => Ok(()),
                    Said::Gone => {
                        channel.refuse(ChannelError::QueueFull(1)).await;
                        Ok(())
                    }
                };
            }
        });
    }
}

struct Key(SigningKey);

fn signing_key() -> Key {
    Key(SigningKey::from_bytes(&[0x77; 32]))
}

impl SessionKeyHolder for Key {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, session: &SessionBinding) -> Signature {
        Signature(self.0.sign(&session.to_bytes()).to_bytes())
    }
}

/// A simulated vendor, its verifier and a policy.
pub(crate) struct Tee {
    directory: TempDir,
    vendor: Vendor,
    set: VerifierSet,
    policy: Policy,
    /// What came along with the last evidence.
    pub(crate) accompanying: Mutex<Vec<u8>>,
}

impl Tee {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vendor = Vendor::open_or_create(directory.path(), NodeClock::wall()).unwrap();
        Self {
            set: verifier_set(vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap(),
            policy: Policy::development(Measurement(WANTED.to_vec()), Default::default()),
            vendor,
            directory,
            accompanying: Mutex::default(),
        }
    }
}

impl Appraiser for Tee {
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        let (evidence, endorsements, accompanying) = appraise.presented.parts();
        *self.accompanying.lock().unwrap() = accompanying;
        let binding = Binding::Session {
            terms: &appraise.terms,
            session: &appraise.session,
        };
        match self.set.verify(&evidence, binding, &endorsements, now) {
            Ok(claims) => {
                let appraisal = self.policy.appraise(claims, now);
                let json = serde_json::to_value(&appraisal).unwrap();
                let note = AttestationOutcome::of(&appraisal, json).encode().unwrap();
                Judgement::Appraised {
                    appraisal: Box::new(appraisal),
                    note,
                }
            }
            Err(error) => Judgement::Invalid(error),
        }
    }
}

/// An enclave that vouches, in which this program runs.
pub(crate) struct Program(pub(crate) Arc<Tee>, pub(crate) [u8; 32]);

impl Presenter for Program {
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>> {
        let Self(tee, program) = self;
        let user_data = BoundUserData {
            purpose: present.terms.purpose,
            node: present.session.node,
            tee: TeeKind::Simulated,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: Some(present.session.clone()),
        };
        let image = Image::production(*program);
        let attester = Platform::load(tee.directory.path()).unwrap().into_attester(image);
        let raw = attester
            .attest(&present.terms.challenge().bind(&user_data))
            .unwrap();
        let vendor = tee.vendor.endorsement();
        let presented = PresentedEvidence {
            tee: TeeKind::Simulated,
            evidence: raw.bytes,
            user_data: user_data.to_bytes(),
            event_log: None,
            endorsements: vec![(vendor.kind, vendor.bytes)],
            accompanying: b"introduction".to_vec(),
        };
        Box::pin(async move { Ok(presented) })
    }
}
