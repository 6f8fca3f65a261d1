//! Everything that a node decides before it starts anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nautilus_agent::config::{Config, Origin, format_duration, parse_duration};
use nautilus_agent::enclave_process::image_hash;
use nautilus_agent::event::What;
use nautilus_agent::key_manager::RotationSchedule;
use nautilus_agent::monitor::Monitoring;
use nautilus_agent::runner::{Grounds, Settings};
use nautilus_agent::{LocalAppraiser, VerifierAddress};
use nautilus_core::{Measurement, Policy, TeeKind, TrustAnchors, VerifierSet};
use nautilus_monitor::openmetrics::Build;
use nautilus_tee::simulated;

use super::lock::Lock;
use super::{Choice, NodeFlags, grounds};
use crate::cli::Global;
use crate::command::attest::simulated_platform;
use crate::command::verify::read_policy;
use crate::failure::Failure;
use crate::input::read_trust_anchors;

/// Time between samples where nobody says otherwise: short, so that a first run shows something.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
/// Length of a window where nobody says otherwise: short for the same reason.
const DEFAULT_WINDOW: Duration = Duration::from_secs(20);

/// Keys that are replaced more often than this are hardly used.
const SHORTEST_ROTATION: Duration = Duration::from_secs(1);

/// What a node will do.
pub struct Plan {
    /// The first event.
    pub detected: What,
    /// What the user should know before.
    pub warnings: Vec<String>,
    /// Where page and API are served.
    pub listen: std::net::SocketAddr,
    /// When to stop by itself.
    pub stop_after: Option<Duration>,
    /// What the agent is told of TEEs.
    pub grounds: Grounds,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// What is wanted of the node's evidence.
    pub policy: Policy,
    chosen: TeeKind,
    simulated: Option<PathBuf>,
    enclave_image: PathBuf,
    rotation: RotationSchedule,
    interval: Duration,
    window: Duration,
    anchors: TrustAnchors,
    config: Config,
    _lock: Lock,
}

impl Plan {
    /// Decides, and opens what is kept in the data directory.
    pub fn make(up: &NodeFlags, has_verifier: bool, global: &Global) -> Result<Self, Failure> {
        let config = up.flags.load(global)?;
        if !config.enabled() {
            return Err(Failure::usage(anyhow::anyhow!(
                "the configuration says `enabled: false`: nothing to do"
            )));
        }
        if !config.secure_channels() {
            return Err(Failure::usage(anyhow::anyhow!(
                "`secure_channels: false` is not possible: enclave, agent and verifier speak through the attested channel \
                 and in no other way"
            )));
        }
        let stop_after = up
            .stop_after
            .as_deref()
            .map(|text| parse_flag("--for", text))
            .transpose()?;
        let interval = interval(&config);
        let window = match up.window.as_deref() {
            Some(text) => parse_flag("--window", text)?,
            None => DEFAULT_WINDOW.max(interval),
        };
        if window < interval {
            return Err(Failure::usage(anyhow::anyhow!(
                "--window {} is shorter than the time between samples, {} by {}: give a longer window or a shorter --interval",
                format_duration(window),
                format_duration(interval),
                origin(&config, "metrics_interval"),
            )));
        }
        let rotation = rotation(&up.rotate_keys_every)?;
        let mut warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
        let choice = Choice::make(&config)?;
        let Choice {
            chosen,
            reason,
            detection,
        } = match up.policy {
            Some(_) => choice,
            None => choice.without_policy(&config),
        };
        warnings.extend(unused_settings(&config, up.policy.is_some(), has_verifier));
        if !up.listen.ip().is_loopback() {
            warnings.push(format!(
                "page and API have no authentication yet, and {} is not loopback: whoever reaches it can use them",
                up.listen
            ));
        }

        let data_dir = global.data_dir()?;
        let lock = Lock::take(&data_dir, "agent")?;
        let simulated = simulated_platform(chosen, &data_dir)?;
        let enclave_image = enclave_image(&config)?;
        let anchors = read_trust_anchors(&up.trust)?;
        let policy = match &up.policy {
            Some(path) => read_policy(path)?,
            None => development_policy(&config, chosen, &enclave_image)?,
        };
        let set = verifier_set(simulated.as_deref(), &anchors)?;
        Ok(Self {
            detected: What::Detect {
                chosen,
                reason,
                tees: serde_json::to_value(detection.tees())?,
            },
            warnings,
            listen: up.listen,
            stop_after,
            grounds: grounds(
                chosen,
                set,
                policy.clone(),
                LocalAppraiser::new(verifier_set(simulated.as_deref(), &anchors)?, simulated.clone()),
            ),
            data_dir,
            policy,
            chosen,
            simulated,
            enclave_image,
            rotation,
            interval,
            window,
            anchors,
            config,
            _lock: lock,
        })
    }

    /// The agent's settings, with this verifier.
    pub fn settings(&self, verifier: VerifierAddress) -> Result<Settings, Failure> {
        Ok(Settings {
            directory: self.data_dir.join("agent"),
            tee: self.chosen,
            simulated: self.simulated.clone(),
            quote_provider: self.config.quote_provider().map(str::to_owned),
            enclave_image: self.enclave_image.clone(),
            key_broker: self.config.key_broker(&verifier).map_err(Failure::usage)?,
            verifier,
            rotation: self.rotation,
            interval: self.interval,
            window: self.window,
            batch: self.config.proof_batch_size(),
            monitoring: self.monitoring(),
            build: Build {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: option_env!("NAUTILUS_COMMIT").unwrap_or_default().to_owned(),
                tee: self.chosen.to_string(),
            },
        })
    }

    fn monitoring(&self) -> Monitoring {
        let devices = nautilus_tee::devices(self.chosen).iter().map(PathBuf::from);
        Monitoring {
            tee: Some((self.chosen, devices.chain(self.simulated.clone()).collect())),
            ..monitoring(&self.config)
        }
    }

    /// The verifier that the configuration names.
    pub fn configured_verifier(&self) -> Result<VerifierAddress, Failure> {
        let configured = self.config.verifier().map_err(Failure::usage)?;
        configured.ok_or_else(|| {
            Failure::usage(anyhow::anyhow!(
                "no verifier is configured: set `attestation_url` to its address and `verifier_key` to its key, which \
                 `nautilus verifier serve` prints; or run `nautilus up`, which has its own"
            ))
        })
    }

    /// Where the simulated platform is, if it is used.
    pub fn simulated(&self) -> Option<&Path> {
        self.simulated.as_deref()
    }

    /// Whose evidence counts.
    pub fn verifier_set(&self) -> Result<VerifierSet, Failure> {
        verifier_set(self.simulated.as_deref(), &self.anchors)
    }
}

/// What a configuration says of what is measured, on a machine without a TEE.
pub fn monitoring(config: &Config) -> Monitoring {
    Monitoring {
        collectors: config.collectors().clone(),
        tee: None,
        containerd: config.containerd_address().map(Path::to_owned),
        latency_peers: config.latency_peers().clone(),
        textfiles: config.textfile_directory().map(Path::to_owned),
        retention: config.metrics_retention(),
        back_pressure: config.metrics_back_pressure(),
    }
}

/// Pins this very enclave. Only for the simulated TEE: what is wanted of a real one is its owner's to say.
pub fn development_policy(config: &Config, tee: TeeKind, image: &Path) -> Result<Policy, Failure> {
    if tee != TeeKind::Simulated {
        return Err(Failure::usage(anyhow::anyhow!(
            "a node in `{tee}` needs a policy: draft one with `nautilus policy new`, or from evidence of this machine with \
             `nautilus attest --tee {tee} -o evidence.json` and `nautilus policy new --from evidence.json`, and give it \
             with --policy; or try the simulated TEE with --tee-type simulated"
        )));
    }
    let mrenclave = Measurement(image_hash(image)?.0.to_vec());
    let pcrs = config.pcr_policy().iter();
    let pcr_policy = pcrs.map(|(index, value)| (format!("pcr{index}"), Measurement(value.clone())));
    Ok(Policy::development(mrenclave, pcr_policy.collect()))
}

/// Whose evidence counts: real TEEs' alone, or with the simulated one's.
pub fn verifier_set(simulated: Option<&Path>, anchors: &TrustAnchors) -> Result<VerifierSet, Failure> {
    match simulated {
        None => nautilus_tee::production(anchors).map_err(Failure::usage),
        Some(directory) => {
            let root = simulated::read_root(directory)?;
            simulated::verifier_set(root, anchors).map_err(Failure::usage)
        }
    }
}

fn parse_flag(flag: &str, text: &str) -> Result<Duration, Failure> {
    let parsed = parse_duration(text);
    parsed.map_err(|error| Failure::usage(error).context(format!("{flag} {text:?} is no duration")))
}

fn interval(config: &Config) -> Duration {
    match origin(config, "metrics_interval") {
        Origin::Default => DEFAULT_INTERVAL,
        _ => config.metrics_interval(),
    }
}

/// When keys are replaced. The enclave remembers its last 64: they are not to be used up in a minute.
fn rotation(text: &str) -> Result<RotationSchedule, Failure> {
    let every = parse_flag("--rotate-keys-every", text)?;
    if every < SHORTEST_ROTATION {
        return Err(Failure::usage(anyhow::anyhow!(
            "--rotate-keys-every {} is too often: give {} or more",
            format_duration(every),
            format_duration(SHORTEST_ROTATION)
        )));
    }
    Ok(RotationSchedule::every(every))
}

/// Settings that somebody made and that this version does not act upon: said, not ignored in silence.
fn unused_settings(config: &Config, policy_is_given: bool, has_verifier: bool) -> Vec<String> {
    let mut unused = vec![("debug_mode", "the enclave's program has no debug mode")];
    if has_verifier {
        unused.extend([
            (
                "attestation_url",
                "the verifier of `nautilus up` is in this process",
            ),
            ("verifier_key", "the verifier of `nautilus up` is in this process"),
        ]);
    }
    if policy_is_given {
        unused.push(("pcr_policy", "--policy says which PCRs are wanted"));
    }
    unused
        .into_iter()
        .filter(|(name, _)| origin(config, name) != Origin::Default)
        .map(|(name, why)| format!("`{name}` is set and not used: {why}"))
        .collect()
}

/// Where the value of a setting came from.
fn origin(config: &Config, name: &str) -> Origin {
    let suffix = format!(".{name}");
    let rows = config.resolved_rows();
    rows.into_iter()
        .find(|row| row.key.ends_with(&suffix))
        .map_or(Origin::Default, |row| row.origin)
}

/// The enclave's program: as configured, or the one beside this program.
pub fn enclave_image(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(image) = config.enclave_image() {
        return Ok(image.to_owned());
    }
    let beside = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    Ok(beside.join("nautilus-enclave"))
}
