//! A server over loopback, and agents that come to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nautilus_channel::{
    Address, Appraise, Appraiser, AskError, Attested, Channel, ChannelError, Endpoint, Fault, Handler,
    Identified, Judgement, Listener, Message, MessageId, MessageType, Parties, Present, PresentedEvidence,
    Presenter, Server, Status, Stream, TaskClock, Working, open,
};
use nautilus_core::{NodeId, UnixMillis};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::fixture::{Tee, agent, verifier};

pub const PATIENCE: Duration = Duration::from_secs(120);

/// A TEE that serves tasks. Its endorsements are of the present.
pub struct Shared(Tee);

impl Presenter for Shared {
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>> {
        Box::pin(async move { Ok(self.0.present(&present)) })
    }
}

impl Appraiser for Shared {
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        self.0.judge(appraise, now)
    }
}

/// Gives back what it is asked, once it may, and notes in which order.
pub struct Echo {
    /// One permit for each question that may be answered.
    pub gate: Semaphore,
    pub heard: Mutex<Vec<(NodeId, Vec<u8>)>>,
}

impl Echo {
    pub fn heard(&self) -> Vec<(NodeId, Vec<u8>)> {
        self.heard.lock().unwrap().clone()
    }
}

impl Handler for Echo {
    fn handle(
        &self,
        channel: &Channel<Attested>,
        message: Message,
    ) -> Working<'_, Result<(MessageType, Vec<u8>), Fault>> {
        self.heard
            .lock()
            .unwrap()
            .push((channel.node(), message.payload.clone()));
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            match message.payload.as_slice() {
                b"no" => Err(Fault {
                    kind: "no".to_owned(),
                    detail: "as asked".to_owned(),
                    note: Vec::new(),
                }),
                b"much" => Ok((
                    MessageType::PerformanceData,
                    noise(MessageType::PerformanceData.limit()),
                )),
                _ => Ok((message.message_type, message.payload)),
            }
        })
    }
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub struct Served {
    pub server: Arc<Server>,
    pub echo: Arc<Echo>,
    pub address: Address,
    tee: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

impl Served {
    /// A server whose handler answers at once.
    pub async fn start() -> Self {
        Self::with_gate(Semaphore::MAX_PERMITS).await
    }

    pub async fn with_gate(permits: usize) -> Self {
        let tee = Arc::new(Shared(Tee::at(TaskClock::start().now().wall)));
        let echo = Arc::new(Echo {
            gate: Semaphore::new(permits),
            heard: Mutex::default(),
        });
        let listener = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_address().clone();
        let parties = Parties {
            presenter: None,
            appraiser: Some(Arc::clone(&tee) as _),
        };
        let server = Server::new(listener, |_| verifier(), parties, Arc::clone(&echo) as _);
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(&server);
        let task = tokio::spawn(async move {
            let stopped = async {
                let _stopped = stopped.await;
            };
            running.run(stopped).await;
        });
        Self {
            server,
            echo,
            address,
            tee,
            stop: Some(stop),
            task,
        }
    }

    pub async fn stream(&self) -> Box<dyn Stream> {
        self.address.connect(PATIENCE).await.unwrap()
    }

    /// An agent's session for the node with this number.
    pub async fn connect(&self, number: u8) -> Result<Channel<Identified>, ChannelError> {
        self.connect_over(self.stream().await, number).await
    }

    pub async fn connect_over(
        &self,
        stream: Box<dyn Stream>,
        number: u8,
    ) -> Result<Channel<Identified>, ChannelError> {
        let clock = TaskClock::start();
        let mut config = agent();
        config.node = Some(node(number));
        let parties = Parties {
            presenter: Some(Arc::clone(&self.tee) as _),
            appraiser: None,
        };
        let endpoint = Endpoint::initiator(config, clock.now())?;
        open::<Identified>(stream, endpoint, clock, parties)
            .await
            .map(|(channel, _)| channel)
    }

    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until the server's status is as it should be.
    pub async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let found = async {
            loop {
                let status = self.server.status();
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(status) => status,
            Err(_) => panic!("it stays {:?}", self.server.status()),
        }
    }
}

pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

pub async fn ask(channel: &Channel<Identified>, payload: &[u8]) -> Result<Vec<u8>, AskError> {
    let id = MessageId::random().unwrap();
    channel
        .ask(MessageType::PerformanceData, id, payload.to_vec(), PATIENCE)
        .await
        .map(|answer| answer.payload)
}

/// So much time passes at once; what is due is done by the time that something else is waited for.
pub async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}
