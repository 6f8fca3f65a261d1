//! The verifier as it is served: nodes come over sockets, through the attested channel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nautilus_channel::{
    Address, AskError, Channel, ChannelError, Config, Demand, Endpoint, Identified, Listener, MessageId,
    MessageType, Parties, Payload as _, Present, Presentation, PresentedEvidence, Presenter, Server,
    TaskClock, Working, open,
};
use nautilus_core::{NodeId, Purpose, Role};
use nautilus_verifier::api::{Answer, AttestationOutcome, ChallengeRequest, Question};
use nautilus_verifier::now;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{Node, WANTED, WINDOW, World, backed};

const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    world: Arc<World>,
    server: Arc<Server>,
    address: Address,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let world = Arc::new(World::starting(now()));
        let listener = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_address().clone();
        let server = nautilus_verifier::server(Arc::clone(&world.verifier), listener);
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(&server);
        let task = tokio::spawn(async move {
            running
                .run(async {
                    let _stopped = stopped.await;
                })
                .await;
        });
        Self {
            world,
            server,
            address,
            stop,
            task,
        }
    }

    async fn connect(&self, agent: &Arc<Agent>) -> Result<Channel<Identified>, ChannelError> {
        let stream = self.address.connect(PATIENCE).await?;
        let clock = TaskClock::start();
        let node = agent.node.lock().unwrap().id();
        let config = Config::new(
            Role::Agent,
            Role::Verifier,
            Some(node),
            Presentation::Evidence,
            Demand::Key(self.world.verifier.public_key()),
        );
        let endpoint = Endpoint::initiator(config, clock.now())?;
        let parties = Parties {
            presenter: Some(Arc::clone(agent) as _),
            appraiser: None,
        };
        open::<Identified>(stream, endpoint, clock, parties)
            .await
            .map(|(channel, _)| channel)
    }
}

/// A node's agent.
struct Agent {
    world: Arc<World>,
    node: Mutex<Node>,
}

impl Agent {
    fn of(served: &Served, node: Node) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(&served.world),
            node: Mutex::new(node),
        })
    }

    fn id(&self) -> NodeId {
        self.node.lock().unwrap().id()
    }
}

impl Presenter for Agent {
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>> {
        Box::pin(async move { Ok(self.node.lock().unwrap().present(&self.world, &present)) })
    }
}

async fn ask(channel: &Channel<Identified>, question: &Question) -> Result<Answer, AskError> {
    let id = MessageId::random().unwrap();
    channel.request(id, question, PATIENCE).await
}

fn declined(result: Result<Answer, AskError>) -> String {
    match result {
        Err(AskError::Declined(fault)) => fault.kind,
        other => panic!("{other:?}"),
    }
}

async fn challenge(channel: &Channel<Identified>, node: NodeId) -> nautilus_core::ChallengeTerms {
    let question = Question::Challenge(ChallengeRequest {
        node,
        purpose: Purpose::Boot,
    });
    match ask(channel, &question).await.unwrap() {
        Answer::Challenge(terms) => terms,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_attests_and_settles_and_nothing_counts_twice() {
    let served = Served::start().await;
    let agent = Agent::of(&served, Node::unknown(&served.world, 1));
    let channel = served.connect(&agent).await.unwrap();
    let outcome = AttestationOutcome::decode(channel.note()).unwrap();
    assert_eq!(outcome.verdict, nautilus_core::AppraisalVerdict::Accepted);
    assert_eq!(channel.standing().key(), served.world.verifier.public_key());

    let terms = challenge(&channel, agent.id()).await;
    let request = backed(&agent.node.lock().unwrap().answer(&terms));
    let attest = Question::Attest(Box::new(request));
    assert!(matches!(
        ask(&channel, &attest).await.unwrap(),
        Answer::Attested(outcome) if outcome.expires_at > now()
    ));
    assert_eq!(declined(ask(&channel, &attest).await), "challenge_unknown");

    let mut proof = agent.node.lock().unwrap().prove(now());
    let settle = Question::Settle(Box::new(proof.clone()));
    let Answer::Settled(settled) = ask(&channel, &settle).await.unwrap() else {
        panic!("it is not settled")
    };
    assert_eq!((settled.sequence, settled.amount), (0, WINDOW));
    assert_eq!(declined(ask(&channel, &settle).await), "already_settled");
    proof.tee_signature.0[3] ^= 4;
    let spoilt = Question::Settle(Box::new(proof));
    assert_eq!(declined(ask(&channel, &spoilt).await), "tee_signature_invalid");

    let status = served.server.status();
    assert_eq!(status.sessions.len(), 1);
    assert_eq!(status.sessions[0].node, agent.id());
    assert_eq!((status.counters.answered, status.counters.declined), (3, 3));
    served.stop.send(()).unwrap();
    let why = channel.ended().await;
    assert!(
        matches!(&why, ChannelError::Terminated(last) if last.reason == nautilus_channel::Reason::ShuttingDown),
        "{why}"
    );
    served.task.await.unwrap();
}

#[tokio::test]
async fn a_question_is_answered_again_in_the_next_session_and_done_once() {
    let served = Served::start().await;
    let agent = Agent::of(&served, Node::unknown(&served.world, 1));
    let channel = served.connect(&agent).await.unwrap();
    let terms = challenge(&channel, agent.id()).await;
    let request = backed(&agent.node.lock().unwrap().answer(&terms));
    let question = Question::Attest(Box::new(request));
    let id = MessageId([7; 16]);
    let first: Answer = channel.request(id, &question, PATIENCE).await.unwrap();
    let height = served.world.tip().height;

    let next = served.connect(&agent).await.unwrap();
    let why = channel.ended().await;
    assert!(
        matches!(&why, ChannelError::Terminated(last) if last.reason == nautilus_channel::Reason::Replaced),
        "{why}"
    );
    let again: Answer = next.request(id, &question, PATIENCE).await.unwrap();
    assert_eq!(again.encode().unwrap(), first.encode().unwrap());
    assert_eq!(served.world.tip().height, height, "it was done twice");
    // The name stands for that question and no other.
    let other = next
        .ask(MessageType::Attestation, id, b"{}".to_vec(), PATIENCE)
        .await;
    assert!(
        matches!(&other, Err(AskError::Declined(fault)) if fault.kind == "message_id_reused"),
        "{other:?}"
    );
    // Another node's questions have names of their own.
    let stranger = Agent::of(&served, Node::unknown(&served.world, 2));
    let theirs = served.connect(&stranger).await.unwrap();
    let answer: Result<Answer, _> = theirs.request(id, &question, PATIENCE).await;
    assert_eq!(declined(answer), "another_node");
}

#[tokio::test]
async fn who_is_not_accepted_gets_no_session_and_learns_why() {
    let served = Served::start().await;
    let honest = Node::unknown(&served.world, 1);
    let mut image = WANTED;
    image[0] ^= 1;
    let agent = Agent::of(&served, Node::of(&served.world, 1, honest.id(), image));
    let before = served.world.tip();
    let Err(ChannelError::Refused(fault)) = served.connect(&agent).await else {
        panic!("it is let in")
    };
    assert_eq!(fault.kind, "not_accepted");
    let outcome = AttestationOutcome::decode(&fault.note).unwrap();
    assert_eq!(outcome.verdict, nautilus_core::AppraisalVerdict::Rejected);
    assert_eq!(served.world.tip(), before);
    // Where another wallet stands behind it.
    let stranger = Agent::of(&served, Node::of(&served.world, 2, honest.id(), WANTED));
    let stream = served.address.connect(PATIENCE).await.unwrap();
    let clock = TaskClock::start();
    let config = Config::new(
        Role::Agent,
        Role::Verifier,
        Some(honest.id()),
        Presentation::Evidence,
        Demand::Key(served.world.verifier.public_key()),
    );
    let endpoint = Endpoint::initiator(config, clock.now()).unwrap();
    let parties = Parties {
        presenter: Some(stranger),
        appraiser: None,
    };
    let Err(ChannelError::Refused(fault)) = open::<Identified>(stream, endpoint, clock, parties).await else {
        panic!("it is let in")
    };
    assert_eq!(fault.kind, "another_node");
    let failed = served.server.status().counters.handshakes_failed;
    assert_eq!(failed.get("not_accepted"), Some(&1), "{failed:?}");
    assert_eq!(served.world.tip(), before);
}

#[tokio::test]
async fn content_that_is_no_question_is_declined_and_the_session_goes_on() {
    let served = Served::start().await;
    let agent = Agent::of(&served, Node::unknown(&served.world, 1));
    let channel = served.connect(&agent).await.unwrap();
    for (message_type, kind) in [
        (MessageType::Attestation, "bad_request"),
        (MessageType::KeyRotation, "bad_request"),
        (MessageType::PerformanceData, "bad_request"),
        (MessageType::ProofRequest, "not_a_proof"),
    ] {
        // Longer than what a decline repeats.
        let payload = format!("{{\"{}\":1}}", "x".repeat(40_000)).into_bytes();
        let id = MessageId::random().unwrap();
        let asked = channel.ask(message_type, id, payload, PATIENCE).await;
        let Err(AskError::Declined(fault)) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!(fault.kind, kind);
        assert!(fault.detail.len() < 20_000);
    }
    challenge(&channel, agent.id()).await;
}
