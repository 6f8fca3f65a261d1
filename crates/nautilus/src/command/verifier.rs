//! `nautilus verifier`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use nautilus_agent::config::parse_duration;
use nautilus_channel::{Address, Listener};
use nautilus_core::TrustAnchors;
use nautilus_verifier::{Refusal, Registry, now};
use serde_json::json;
use tokio::net::TcpListener;

use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::command::up::{
    RelyingParty, Signals, development_policy, enclave_image, registry_path, verifier_set,
};
use crate::command::verify::{read_policy, simulated_directory};
use crate::failure::{Failure, printable};
use crate::input::read_trust_anchors;
use crate::output;

/// Requests that are under way at a stop have this long.
const HTTP_DEADLINE: Duration = Duration::from_millis(250);

/// Judge nodes, settle their proofs, release secrets: the relying party's service
#[derive(Subcommand)]
pub enum Verifier {
    Serve(Box<Serve>),
    Nodes(Nodes),
}

/// Serve nodes over the attested channel, with an embedded ledger, until Ctrl-C.
///
/// Whoever connects has to present evidence that is bound to the connection, verifies, is accepted by the policy, and is
/// of the platform that the registry knows for its node. A node is told this verifier's key, which is printed at the
/// start (`verifier_key` in its configuration), and so knows whom it speaks to. State is kept in the data directory.
#[derive(Args)]
pub struct Serve {
    /// Where nodes connect: tcp://HOST:PORT, unix:///PATH or vsock://CID:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "tcp://127.0.0.1:8472")]
    listen: Address,
    /// Also give the public facts (key, JSON Web Key Set) over HTTP at this address: on loopback, or behind a proxy.
    /// Connections are not bounded
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Policy that evidence has to pass. Needed, but with --dangerous-allow-simulated, where the default pins the
    /// enclave beside this program
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "dangerous_allow_simulated"
    )]
    policy: Option<PathBuf>,
    /// A key or root certificate that you vouch for where no vendor does: ROLE=PATH, or a directory with a folder for
    /// each role; may be given several times
    #[arg(long, value_name = "ROLE=PATH|DIR")]
    trust: Vec<String>,
    /// Accept the simulated TEE too, whose root is in the data directory: it proves nothing about hardware
    #[arg(long)]
    dangerous_allow_simulated: bool,
    /// Stop by itself after this time
    #[arg(long = "for", value_name = "DURATION")]
    stop_after: Option<String>,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// List the nodes that were admitted, with the platform that each is held to
#[derive(Args)]
pub struct Nodes {}

impl Verifier {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(serve) => serve.run(global),
            Self::Nodes(nodes) => nodes.run(global),
        }
    }
}

impl Serve {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let stop_after = match self.stop_after.as_deref().map(parse_duration) {
            Some(parsed) => Some(parsed.map_err(|error| Failure::usage(error).context("--for"))?),
            None => None,
        };
        let data_dir = global.data_dir()?;
        let anchors: TrustAnchors = read_trust_anchors(&self.trust)?;
        let simulated = self
            .dangerous_allow_simulated
            .then(|| simulated_directory(&data_dir));
        let policy = match &self.policy {
            Some(path) => read_policy(path)?,
            None => {
                let config = self.flags.load(global)?;
                development_policy(
                    &config,
                    nautilus_core::TeeKind::Simulated,
                    &enclave_image(&config)?,
                )?
            }
        };
        let set = verifier_set(simulated.as_deref(), &anchors)?;
        let relying = RelyingParty::open(&data_dir, set, policy)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.serve(relying, stop_after, global.json));
        runtime.shutdown_timeout(HTTP_DEADLINE);
        result
    }

    async fn serve(
        &self,
        relying: RelyingParty,
        stop_after: Option<Duration>,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let mut signals = Signals::listen()?;
        let listener = Listener::bind(&self.listen)
            .await
            .map_err(|error| Failure::missing(error).context("give another address with --listen"))?;
        let http = match self.http {
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
                Failure::missing(error).context(format!(
                    "cannot listen on {address}: give another address with --http"
                ))
            })?),
            None => None,
        };
        if let Some(address) = self.http.filter(|address| !address.ip().is_loopback()) {
            let detail = format!(
                "connections over HTTP are not bounded, and {address} is not loopback: have a proxy in front that \
                 bounds them"
            );
            warn(json, &detail)?;
        }
        let channel = listener.local_address().to_string();
        // Peers are told the name alone.
        let report = |refusal: &Refusal| eprintln!("nautilus: {}", printable(&refusal.to_string()));
        let verifier = Arc::new(relying.verifier.reporting(report));
        let key = verifier.public_key();
        let url = match &http {
            Some(listener) => Some(format!("http://{}/", listener.local_addr()?)),
            None => None,
        };
        if json {
            output::line(json!({
                "kind": "listening", "at": now(), "channel": channel, "verifier_key": key, "url": url,
            }))?;
        } else {
            output::line(format_args!(
                "verifier listens at {channel}\nits key is {key}\na node is pointed here with `attestation_url: {channel}` \
                 and `verifier_key: {key}`"
            ))?;
        }
        let routes = nautilus_verifier::router(Arc::clone(&verifier));
        let http = http.map(|listener| tokio::spawn(async move { axum::serve(listener, routes).await }));
        let server = nautilus_verifier::server(verifier, listener);
        let mut reason = None;
        server
            .run(async { reason = Some(signals.wait(stop_after).await) })
            .await;
        if let Some(http) = http {
            http.abort();
        }
        let reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
        let counters = server.status().counters;
        if json {
            output::line(json!({ "kind": "stopped", "at": now(), "reason": reason, "counters": counters }))?;
        } else {
            output::line(format_args!("stopped: {reason}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// As an event where events are asked for.
fn warn(json: bool, detail: &str) -> Result<(), Failure> {
    if json {
        return output::line(json!({ "kind": "warning", "at": now(), "detail": detail }));
    }
    eprintln!("nautilus: {detail}");
    Ok(())
}

impl Nodes {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let registry = Registry::open(&registry_path(&global.data_dir()?))?;
        if global.json {
            let nodes: Vec<_> = registry
                .entries()
                .into_iter()
                .map(|(node, entry)| json!({ "node": node, "entry": entry }))
                .collect();
            output::line(json!({ "nodes": nodes }))?;
            return Ok(ExitCode::SUCCESS);
        }
        for (node, entry) in registry.entries() {
            output::line(format_args!(
                "{node} {} since {}; {} retired keys",
                entry.platform,
                entry.first_seen,
                entry.retired.len()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
