//! The one task that speaks to an enclave: it asks for others, and for itself whether the enclave is alive.
//!
//! Whoever asks may give up waiting at any moment. The task finishes the exchange all the same, so that a later answer
//! never stands in the place of an earlier one. Only the enclave's own end cuts it short.

use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{BootId, UnixMillis};
use nautilus_enclave::{EnclaveFault, Identity, Reply, Request, Vitals};
use nautilus_verifier::told;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::clock::NodeClock;
use crate::enclave_process::{EnclaveError, EnclaveProcess};
use crate::task::AbortOnDrop;

/// How often the enclave is asked whether it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(3);
/// Requests that wait for the enclave at most; whoever comes on top waits for room.
const MAX_WAITING: usize = 32;

type Answer = Result<Reply, EnclaveError>;

struct Job {
    request: Request,
    reply: oneshot::Sender<Answer>,
}

/// A heartbeat that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// What the enclave said.
    pub(crate) vitals: Vitals,
    /// When.
    pub(crate) at: UnixMillis,
    /// How long question and answer took.
    pub(crate) round_trip: Duration,
}

/// A connection to a running enclave. Cloning is cheap; the enclave ends with [`Connection`].
#[derive(Clone)]
pub(crate) struct EnclaveLink {
    jobs: mpsc::Sender<Job>,
    ended: watch::Receiver<Option<Arc<str>>>,
    pulse: watch::Receiver<Option<Pulse>>,
}

/// What keeps an enclave running. Dropping it kills the process.
pub(crate) struct Connection {
    task: AbortOnDrop<()>,
    stop: oneshot::Sender<()>,
}

impl EnclaveLink {
    /// Takes a process over.
    pub(crate) fn start(process: EnclaveProcess, heartbeat: Duration) -> (Self, Connection) {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let (ended_sender, ended) = watch::channel(None);
        let (pulse_sender, pulse) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let worker = Worker {
            process,
            boot: None,
            pulse: pulse_sender,
        };
        let task = AbortOnDrop::new(tokio::spawn(async move {
            let why = worker.run(waiting, stopped, heartbeat).await;
            ended_sender.send_replace(Some(why.into()));
        }));
        (Self { jobs, ended, pulse }, Connection { task, stop })
    }

    /// Asks, and waits for the answer. May be given up at any moment; the enclave may have done it all the same.
    ///
    /// # Errors
    /// If the enclave refuses, or has ended or ends.
    pub(crate) async fn request(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let gone = || EnclaveError::Gone(self.why().unwrap_or_else(|| "it was ended".into()).to_string());
        self.jobs.send(Job { request, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the enclave ends. Gives why.
    pub(crate) async fn ended(&mut self) -> Arc<str> {
        // The sender's end without a word is an end by our own hand.
        drop(self.ended.wait_for(Option::is_some).await);
        self.why().unwrap_or_else(|| "it was ended".into())
    }

    /// The last heartbeat.
    pub(crate) fn pulse(&self) -> Option<Pulse> {
        *self.pulse.borrow()
    }

    fn why(&self) -> Option<Arc<str>> {
        self.ended.borrow().clone()
    }
}

impl Connection {
    /// Ends the enclave in order, and waits until it has ended.
    pub(crate) async fn stop(self) {
        let Self { mut task, stop } = self;
        // The task may have ended by itself.
        let _told = stop.send(());
        task.finished().await;
    }
}

struct Worker {
    process: EnclaveProcess,
    /// The run that answers have to be of, once it is known.
    boot: Option<BootId>,
    pulse: watch::Sender<Option<Pulse>>,
}

/// Why nothing more is asked.
enum End {
    /// The enclave is of no use.
    Lost(String),
    /// It is to end in order.
    Unwanted(&'static str),
}

impl Worker {
    /// Until the enclave ends or is to end. Gives why.
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Job>,
        stop: oneshot::Receiver<()>,
        heartbeat: Duration,
    ) -> String {
        let why = tokio::select! {
            biased;
            // Its sender is dropped where nobody wants the enclave any more. What is under way is given up: an enclave
            // that does not answer must not hold up its end.
            _ = stop => End::Unwanted("it was told to stop"),
            end = self.serve(&mut waiting, heartbeat) => end,
        };
        match why {
            End::Lost(why) => why,
            End::Unwanted(why) => {
                self.process.stop().await;
                why.to_owned()
            }
        }
    }

    /// Asks what is to be asked, until the enclave ends or nobody asks any more.
    async fn serve(&mut self, waiting: &mut mpsc::Receiver<Job>, heartbeat: Duration) -> End {
        let mut beats = interval_at(Instant::now() + heartbeat, heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let renewal_due = self.process.renewal_due();
            tokio::select! {
                biased;
                how = self.process.ended() => return End::Lost(format!("its process ended with {how}")),
                job = waiting.recv() => {
                    let Some(Job { request, reply }) = job else {
                        return End::Unwanted("nobody needs it any more");
                    };
                    if reply.is_closed() {
                        // Nobody waits for it, and the enclave was not asked yet.
                        continue;
                    }
                    let answer = self.ask(&request).await;
                    let fatal = answer.as_ref().err().filter(|error| !matches!(error, EnclaveError::Refused(_))).map(|error| told(error));
                    // The asker may have given up.
                    let _received = reply.send(answer);
                    if let Some(why) = fatal {
                        return End::Lost(why);
                    }
                }
                () = sleep_until(renewal_due) => {
                    if let Err(error) = self.process.renew().await {
                        return End::Lost(format!("its session was not renewed: {}", told(&error)));
                    }
                }
                _ = beats.tick(), if self.boot.is_some() => {
                    if let Err(why) = self.beat().await {
                        return End::Lost(why);
                    }
                }
            }
        }
    }

    async fn ask(&mut self, request: &Request) -> Answer {
        let reply = self.process.request(request).await?;
        match &reply {
            Reply::Identity(Identity { boot, .. }) => self.boot = Some(*boot),
            Reply::Rotated(rotated) => self.boot = Some(rotated.identity.boot),
            _ => {}
        }
        Ok(reply)
    }

    async fn beat(&mut self) -> Result<(), String> {
        let missed = |error: EnclaveError| format!("it missed a heartbeat: {}", told(&error));
        let asked = Instant::now();
        match self.process.request(&Request::Heartbeat).await.map_err(missed)? {
            Reply::Alive(vitals) if Some(vitals.boot) == self.boot => {
                self.pulse.send_replace(Some(Pulse {
                    vitals,
                    at: NodeClock::wall(),
                    round_trip: asked.elapsed(),
                }));
                Ok(())
            }
            Reply::Alive(vitals) => Err(format!("its heartbeat is of another boot, {}", vitals.boot)),
            _ => Err(missed(EnclaveError::WrongReply)),
        }
    }
}

/// What an enclave says that refuses because it sleeps.
pub(crate) const fn is_suspended(error: &EnclaveError) -> bool {
    matches!(error, EnclaveError::Refused(EnclaveFault::Suspended))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::enclave_process::Transport;
    use crate::fake_enclave::{Judge, Kind, NODE, arguments, notes};

    #[tokio::test]
    async fn a_session_is_renewed_before_it_ends_and_the_enclave_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut arguments = arguments(&directory, Kind::Serves, Transport::Unix);
        arguments.limits.lifetime = Duration::from_secs(6);
        let judge = Judge::without_collateral();
        let appraiser = Arc::clone(&judge);
        let process = EnclaveProcess::start(&arguments, NODE, appraiser, notes().0)
            .await
            .unwrap();
        let (link, connection) = EnclaveLink::start(process, Duration::from_millis(50));
        let Reply::Identity(identity) = link.request(Request::Initialize { node: NODE }).await.unwrap()
        else {
            panic!("no identity")
        };
        while judge.judged.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Answered in the session that follows, by the same boot.
        let Reply::Alive(vitals) = link.request(Request::Heartbeat).await.unwrap() else {
            panic!("not alive")
        };
        assert_eq!(vitals.boot, identity.boot);
        assert_eq!(link.why(), None);
        let pulse = link.pulse().unwrap();
        assert_eq!(pulse.vitals.boot, identity.boot);
        assert!(pulse.round_trip > Duration::ZERO);
        connection.stop().await;
    }

    #[tokio::test]
    async fn an_enclave_that_does_not_answer_does_not_hold_up_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments(&directory, Kind::Serves, Transport::Unix);
        let judge = Judge::without_collateral();
        let process = EnclaveProcess::start(&arguments, NODE, judge, notes().0)
            .await
            .unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let stopped = rustix::process::WaitId::Pid(pid);
        rustix::process::waitid(stopped, rustix::process::WaitIdOptions::STOPPED).unwrap();
        let (link, connection) = EnclaveLink::start(process, HEARTBEAT);
        let asking = link.request(Request::Initialize { node: NODE });
        let stopping = async {
            // The request has its turn first.
            tokio::task::yield_now().await;
            connection.stop().await;
        };
        let asked = Instant::now();
        let (answer, ()) = tokio::join!(asking, stopping);
        assert!(matches!(&answer, Err(EnclaveError::Gone(_))), "{answer:?}");
        // What a request may take is 30 s.
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert_eq!(link.why().as_deref(), Some("it was told to stop"));
    }

    #[tokio::test]
    async fn an_enclave_that_does_not_prove_itself_again_is_lost_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut arguments = arguments(&directory, Kind::Serves, Transport::Unix);
        arguments.limits.lifetime = Duration::from_secs(3);
        let judge = Judge::without_collateral();
        let process = EnclaveProcess::start(&arguments, NODE, Arc::clone(&judge) as _, notes().0)
            .await
            .unwrap();
        judge.refuse_from_now_on();
        let (mut link, _connection) = EnclaveLink::start(process, HEARTBEAT);
        let why = link.ended().await;
        assert!(
            why.starts_with(
                "its session was not renewed: no channel to the enclave: peer's evidence is refused"
            ),
            "{why}"
        );
    }
}
