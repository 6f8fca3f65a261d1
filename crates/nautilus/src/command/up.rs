//! `nautilus up`

mod human;
mod plan;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nautilus_agent::event::{Event, EventSink, What};
use nautilus_agent::hub::EventHub;
use nautilus_agent::page;
use nautilus_agent::runner::{Agent, AgentError};
use nautilus_tee::simulated::Vendor;
use nautilus_verifier::Verifier;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::failure::Failure;
use crate::input::now;
use plan::Plan;
pub use plan::{Choice, enclave_image};
use signals::StopReason;

/// Do the main job on this machine: verifier, embedded ledger, enclave, agent and page, until Ctrl-C.
///
/// Detects the TEEs; where none can be used it says so and runs the simulated one under a development policy.
/// Then, with a line per stage: enclave, boot attestation with every finding, samples signed in the enclave, and
/// for every window a proof that is verified, settled and rewarded. Samples are taken every 2s unless flags,
/// environment or a file say otherwise. State is kept in the data directory: the next run is the same node with
/// the same ledger.
#[derive(Args)]
pub struct Up {
    /// Length of a window that is proven
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub window: String,
    /// Stop by itself after this time
    #[arg(long = "for", value_name = "DURATION")]
    pub stop_after: Option<String>,
    /// Address of page and API. They have no authentication yet: keep it on loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8471")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub flags: ConfigFlags,
}

impl Up {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let plan = Plan::make(self, global)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_keep_alive(Duration::from_secs(2))
            .build()?;
        runtime.block_on(plan.run(global.json))
    }
}

impl Plan {
    /// Starts everything, waits for the end, and stops everything in reverse.
    async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let stop_signals = signals::listen()?;
        let listener = self.bind().await?;
        let url = format!("http://{}", listener.local_addr()?);
        let hub = Arc::new(EventHub::new());
        let events = printer(Arc::clone(&hub), json);
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

        let verifier = Arc::new(Verifier::new(
            self.verifier_set,
            self.policy,
            self.verifier_key,
            self.ledger,
        ));
        let routes = page::guarded(page::router(hub).merge(nautilus_verifier::router(verifier)));
        let renewal = tokio::spawn(renew_endorsements(
            self.settings.simulated.clone(),
            Arc::clone(&events),
        ));
        let (close, closed) = watch::channel(false);
        let server = tokio::spawn(serve(listener, routes, closed));

        let mut settings = self.settings;
        settings.verifier = url;
        let mut agent = Agent::open(settings, Arc::clone(&events)).map_err(failure)?;
        let (stop, stopped) = watch::channel(false);
        let wait = signals::wait(stop_signals, self.stop_after);
        let (result, reason) = {
            let run = agent.run(stopped);
            tokio::pin!(run, wait);
            tokio::select! {
                result = &mut run => (result, StopReason::Failed),
                reason = &mut wait => {
                    stop.send_replace(true);
                    (run.await, reason)
                }
            }
        };
        let totals = agent.totals();
        let reason = match &result {
            Ok(()) => reason.to_string(),
            Err(error) => error.to_string(),
        };
        emit(What::Stopped {
            reason,
            settled: totals.settled,
            reward: totals.reward,
        });
        renewal.abort();
        close.send_replace(true);
        server.await??;
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
    mut closed: watch::Receiver<bool>,
) -> Result<(), std::io::Error> {
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            // The sender's end is the same as its word.
            let _closed = closed.wait_for(|closed| *closed).await;
        })
        .await
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
fn printer(hub: Arc<EventHub>, json: bool) -> EventSink {
    Arc::new(move |event| {
        let line = if json { None } else { human::lines(&event) };
        let object = hub.publish(event);
        match line {
            Some(line) => println!("{line}"),
            None => println!("{object}"),
        }
    })
}

fn failure(error: AgentError) -> Failure {
    match error {
        AgentError::Rejected { .. } | AgentError::Proof(_) => Failure::rejected(error),
        other => Failure::missing(other),
    }
}
