//! `nautilus up`

mod choice;
mod grounds;
mod human;
mod lock;
mod plan;
mod printer;
mod relying_party;
mod signals;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nautilus_agent::event::{Event, EventSink, What};
use nautilus_agent::hub::EventHub;
use nautilus_agent::page;
use nautilus_agent::runner::{Agent, AgentError, Ended, Settings};
use nautilus_agent::{VerifierAddress, told};
use nautilus_channel::{Address, Listener};
use nautilus_tee::simulated::Vendor;
use nautilus_verifier::now;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::failure::Failure;
pub use choice::Choice;
pub use grounds::ImageCheck;
use grounds::grounds;
pub use plan::{Plan, development_policy, enclave_image, monitoring, verifier_set};
use printer::{Lines, Printer};
pub use relying_party::{RelyingParty, registry_path};
pub use signals::Signals;
use signals::StopReason;

/// At a stop, the last window has this long to be proven and settled.
const STOP_DEADLINE: Duration = Duration::from_millis(1500);
/// After that, requests that are under way have this long.
const SERVER_DEADLINE: Duration = Duration::from_millis(250);

/// Do the main job on this machine: verifier, embedded ledger, enclave, agent and page, until Ctrl-C.
///
/// Detects the TEEs, and uses the first that can be used under the policy that you give. Where there is no TEE, or no
/// policy, it says so and runs the simulated one under a development policy.
/// Then, with a line per stage: enclave, boot attestation with every finding, samples signed in the enclave, and
/// for every window a proof that is verified, settled and rewarded. Samples are taken every 2s unless flags,
/// environment or a file say otherwise. State is kept in the data directory: the next run is the same node with
/// the same ledger.
#[derive(Args)]
pub struct Up {
    #[command(flatten)]
    pub node: NodeFlags,
}

/// What a node is told on the command line.
#[derive(Args)]
pub struct NodeFlags {
    /// Length of a window that is proven [default: 20s, or one interval if that is longer]
    #[arg(long, value_name = "DURATION")]
    pub window: Option<String>,
    /// Stop by itself after this time
    #[arg(long = "for", value_name = "DURATION")]
    pub stop_after: Option<String>,
    /// Policy that the node's evidence has to pass [default: with the simulated TEE, one that pins the enclave's
    /// program]. A real TEE needs one: see `nautilus policy new`
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A key or root certificate that you vouch for where no vendor does: ROLE=PATH, or a directory with a folder for
    /// each role; may be given several times
    #[arg(long, value_name = "ROLE=PATH|DIR")]
    pub trust: Vec<String>,
    /// How long the enclave signs with the same keys; a rotation is a new boot with new evidence
    #[arg(long, value_name = "DURATION", default_value = "720h")]
    pub rotate_keys_every: String,
    /// Address of page and API. They have no authentication yet: keep it on loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8471")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub flags: ConfigFlags,
}

impl Up {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let plan = Plan::make(&self.node, true, global)?;
        let relying = RelyingParty::open(&plan.data_dir, plan.verifier_set()?, plan.policy.clone())?;
        run_node(plan, Whom::Own(Box::new(relying)), global.json)
    }
}

/// The verifier that a node attests to.
pub enum Whom {
    /// The one of this process.
    Own(Box<RelyingParty>),
    /// One elsewhere.
    Other(VerifierAddress),
}

/// Runs a node until it is to stop.
pub fn run_node(plan: Plan, whom: Whom, json: bool) -> Result<ExitCode, Failure> {
    let verifier = match &whom {
        Whom::Other(verifier) => verifier.clone(),
        Whom::Own(relying) => VerifierAddress {
            address: own_address(&plan.data_dir)?,
            key: relying.verifier.public_key(),
        },
    };
    let settings = plan.settings(verifier)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_secs(2))
        .build()?;
    let result = runtime.block_on(plan.run(whom, settings, json));
    // A request to a verifier that hangs must not hold the end up.
    runtime.shutdown_timeout(SERVER_DEADLINE);
    result
}

impl Plan {
    /// Starts everything, waits for the end, and stops everything in reverse.
    async fn run(self, whom: Whom, settings: Settings, json: bool) -> Result<ExitCode, Failure> {
        let mut signals = Signals::listen()?;
        let listener = self.bind().await?;
        let url = format!("http://{}", listener.local_addr()?);
        let hub = Arc::new(EventHub::new());
        let printer = Printer::start();
        let events = sink(Arc::clone(&hub), printer.lines(), json);
        let emit = |what| events(Event { at: now(), what });
        emit(What::Listening {
            url: format!("{url}/"),
        });
        emit(self.detected.clone());
        self.warnings.iter().for_each(|detail| {
            emit(What::Warning {
                detail: detail.clone(),
            })
        });

        let (close, closed) = watch::channel(false);
        let board = Arc::new(page::Board::new());
        let mut routes = page::router(hub, Arc::clone(&board));
        let mut served = match whom {
            Whom::Other(_) => None,
            Whom::Own(relying) => {
                let listener = Listener::bind(&settings.verifier.address)
                    .await
                    .map_err(Failure::missing)?;
                let report = Arc::clone(&events);
                let verifier = relying.verifier.reporting(move |refusal| {
                    report(Event {
                        at: now(),
                        what: What::Warning {
                            detail: told(refusal),
                        },
                    });
                });
                let verifier = Arc::new(verifier);
                routes = routes.merge(nautilus_verifier::router(Arc::clone(&verifier)));
                let serve = nautilus_verifier::serve(verifier, listener, until_closed(closed.clone()));
                Some(tokio::spawn(serve))
            }
        };
        let routes = page::guarded(routes);
        let simulated = self.simulated().map(Path::to_owned);
        let renewal =
            simulated.map(|simulated| tokio::spawn(renew_endorsements(simulated, Arc::clone(&events))));
        let mut server = tokio::spawn(serve(listener, routes, closed));

        let mut agent = Agent::open(settings, self.grounds, board, Arc::clone(&events)).map_err(failure)?;
        let (stop, stopped) = watch::channel(false);
        let (result, reason) = {
            let run = agent.run(stopped);
            tokio::pin!(run);
            tokio::select! {
                result = &mut run => (result, StopReason::Failed),
                reason = signals.wait(self.stop_after) => {
                    stop.send_replace(true);
                    // What hangs, or a second signal, ends it the hard way: the enclave is killed with it.
                    let ended = tokio::select! {
                        result = &mut run => Some(result),
                        () = tokio::time::sleep(STOP_DEADLINE) => None,
                        _ = signals.wait(None) => None,
                    };
                    let late = || {
                        let detail = "the node did not stop in time, and was ended".to_owned();
                        emit(What::Warning { detail });
                        Ok(Ended::Stopped)
                    };
                    (ended.unwrap_or_else(late), reason)
                }
            }
        };
        let totals = agent.totals();
        let reason = match &result {
            Ok(Ended::EnclaveTerminated) => "the node's enclave was terminated".to_owned(),
            Ok(Ended::Stopped) => reason.to_string(),
            Err(error) => told(error),
        };
        emit(What::Stopped {
            reason,
            settled: totals.settled,
            reward: totals.reward,
        });
        renewal.inspect(tokio::task::JoinHandle::abort);
        close.send_replace(true);
        if tokio::time::timeout(SERVER_DEADLINE, &mut server).await.is_err() {
            server.abort();
        }
        if let Some(served) = &mut served
            && tokio::time::timeout(SERVER_DEADLINE, &mut *served).await.is_err()
        {
            served.abort();
        }
        printer.finish()?;
        result.map_err(failure)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn bind(&self) -> Result<TcpListener, Failure> {
        TcpListener::bind(self.listen).await.map_err(|error| {
            Failure::missing(error).context(format!(
                "cannot listen on {}: give another address with --listen, or port 0 for a free one",
                self.listen
            ))
        })
    }
}

async fn serve(
    listener: TcpListener,
    routes: axum::Router,
    closed: watch::Receiver<bool>,
) -> Result<(), std::io::Error> {
    axum::serve(listener, routes)
        .with_graceful_shutdown(until_closed(closed))
        .await
}

async fn until_closed(mut closed: watch::Receiver<bool>) {
    // The sender's end is the same as its word.
    let _closed = closed.wait_for(|closed| *closed).await;
}

/// Where this process's own verifier is: a socket that only this user reaches.
fn own_address(data_dir: &Path) -> Result<Address, Failure> {
    let directory = std::path::absolute(data_dir.join("verifier"))?;
    Ok(Address::Unix(directory.join("channel.sock")))
}

/// The simulated vendor's endorsements hold for 30 days and are renewed when they are opened.
async fn renew_endorsements(simulated: PathBuf, events: EventSink) {
    let mut days = tokio::time::interval(Duration::from_secs(24 * 60 * 60));
    days.tick().await;
    loop {
        days.tick().await;
        if let Err(error) = Vendor::open(&simulated, now()) {
            let detail = format!("endorsements of the simulated TEE were not renewed: {error}");
            events(Event {
                at: now(),
                what: What::Warning { detail },
            });
        }
    }
}

/// Prints every event and hands it to the page.
fn sink(hub: Arc<EventHub>, lines: Lines, json: bool) -> EventSink {
    Arc::new(move |event| {
        let line = human::lines(&event);
        let object = hub.publish(event);
        if json {
            lines.print(object.to_string());
        } else if let Some(line) = line {
            lines.print(line);
        }
    })
}

fn failure(error: AgentError) -> Failure {
    match error {
        AgentError::Rejected { .. } | AgentError::Proof(_) => Failure::rejected(error),
        other => Failure::missing(other),
    }
}
