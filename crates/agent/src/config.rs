//! The node's configuration: the specification's `daas.nautilus` block, from files, the environment and flags.
//!
//! Flags win over `NAUTILUS_*` variables, these over `config.d/*.yaml` by name, these over `config.yaml`, and
//! that over the defaults. Every source is checked, also where a stronger one wins: a mistake in a file does
//! not wait until a variable is unset. Nothing here reads the process's own environment or arguments;
//! [`Sources`] holds all that a configuration is made from, and all of it is untrusted.

mod duration;
mod error;
mod field;
mod files;
mod guard;
mod metrics;
mod view;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::Address;
use nautilus_core::{PublicKey, TeeKind};
use nautilus_monitor::aggregate::BackPressure;
use nautilus_monitor::network::Peers;
use nautilus_proof::CollectorKind;

pub use self::duration::{DurationError, format_duration, parse_duration};
pub use self::error::{ConfigError, Origin, Warning};
use self::field::{BLOCK, FIELDS, Field, Given, Setter};
pub use self::view::{Resolved, ResolvedValue};
use self::yaml::{Document, Entry};
use crate::verifier_client::VerifierAddress;

/// Where the configuration is, unless the caller says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/etc/nautilus";

/// Variables with the prefix that others than the configuration read.
const OTHER_VARIABLES: [&str; 1] = ["NAUTILUS_DATA_DIR"];

/// All that a configuration is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The one file to read (`--config`). It must exist, and stands in place of `directory`.
    pub file: Option<PathBuf>,
    /// The directory of `config.yaml` and `config.d`. What is absent is not read.
    pub directory: PathBuf,
    /// The environment. Only names that begin with `NAUTILUS_` are looked at.
    pub environment: Vec<(String, String)>,
    /// Values from the command line, the last of a key winning.
    pub flags: Vec<FlagValue>,
}

/// A value from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagValue {
    /// The flag as the user writes it, such as `--interval`.
    pub flag: &'static str,
    /// The field that it sets, such as `metrics_interval`.
    pub key: &'static str,
    /// The text that was given.
    pub value: String,
}

/// The resolved configuration. Every value keeps its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    enabled: Set<bool>,
    tee_type: Set<Option<TeeKind>>,
    enclave_image: Set<Option<PathBuf>>,
    attestation_url: Set<Option<Address>>,
    verifier_key: Set<Option<PublicKey>>,
    key_provision_url: Set<Option<Address>>,
    key_provision_key: Set<Option<PublicKey>>,
    metrics_interval: Set<Duration>,
    collectors: Set<BTreeSet<CollectorKind>>,
    containerd_address: Set<Option<PathBuf>>,
    latency_peers: Set<Peers>,
    textfile_directory: Set<Option<PathBuf>>,
    metrics_retention: Set<Duration>,
    metrics_back_pressure: Set<BackPressure>,
    proof_batch_size: Set<u32>,
    secure_channels: Set<bool>,
    debug_mode: Set<bool>,
    quote_provider: Set<Option<String>>,
    pcr_policy: Set<BTreeMap<u8, Vec<u8>>>,
    warnings: Vec<Warning>,
}

/// A value and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set<T> {
    value: T,
    origin: Origin,
}

impl<T> Set<T> {
    fn default(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }
}

impl Config {
    /// Reads all sources and resolves them.
    ///
    /// # Errors
    /// The first fault in the order of reading: files, the environment, flags.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let (files, warnings) = files::list(sources.file.as_deref(), &sources.directory)?;
        config.warnings = warnings;
        for path in files {
            let text = files::read(&path)?;
            config.apply_file(path.into(), &text)?;
        }
        config.apply_environment(&sources.environment)?;
        for FlagValue { flag, key, value } in &sources.flags {
            let origin = Origin::Flag { name: flag };
            match FIELDS.iter().find(|field| field.name == *key) {
                Some(field) => config.apply_text(field, value, origin)?,
                None => return Err(field::unknown_key(format!("{BLOCK}.{key}"), key, origin, BLOCK)),
            }
        }
        Ok(config)
    }

    /// Whether the node attests at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.value
    }

    /// The TEE that this machine must have; `None` is to detect it. See [`check_tee`](Self::check_tee).
    #[must_use]
    pub fn tee_type(&self) -> Option<TeeKind> {
        self.tee_type.value
    }

    /// The enclave to start; `None` is the `nautilus-enclave` beside this program.
    #[must_use]
    pub fn enclave_image(&self) -> Option<&Path> {
        self.enclave_image.value.as_deref()
    }

    /// Where the verifier is that the node attests to; `None` is the local one. See [`verifier`](Self::verifier).
    #[must_use]
    pub fn attestation_url(&self) -> Option<&Address> {
        self.attestation_url.value.as_ref()
    }

    /// Where the key broker is; `None` is no provisioning. See [`key_broker`](Self::key_broker).
    #[must_use]
    pub fn key_provision_url(&self) -> Option<&Address> {
        self.key_provision_url.value.as_ref()
    }

    /// The verifier to attest to, with the key by which it is known; `None` is the local one.
    ///
    /// # Errors
    /// [`ConfigError::KeyMissing`] if there is an address and no key: whoever answers there could be anybody.
    pub fn verifier(&self) -> Result<Option<VerifierAddress>, ConfigError> {
        known_by_key(
            ("attestation_url", &self.attestation_url),
            ("verifier_key", self.verifier_key.value),
        )
    }

    /// The key broker, with the key by which it is known; `None` is no provisioning. Where it is the node's verifier,
    /// `own`, it is known already.
    ///
    /// # Errors
    /// [`ConfigError::KeyMissing`] if it is another, and there is no key.
    pub fn key_broker(&self, own: &VerifierAddress) -> Result<Option<VerifierAddress>, ConfigError> {
        let is_own = self.key_provision_url() == Some(&own.address);
        let key = self.key_provision_key.value.or(is_own.then_some(own.key));
        known_by_key(
            ("key_provision_url", &self.key_provision_url),
            ("key_provision_key", key),
        )
    }

    /// The time between two samples, 100 ms to 1 h.
    #[must_use]
    pub fn metrics_interval(&self) -> Duration {
        self.metrics_interval.value
    }

    /// What is measured.
    #[must_use]
    pub fn collectors(&self) -> &BTreeSet<CollectorKind> {
        &self.collectors.value
    }

    /// The container runtime's socket; `None` is the first of the usual ones that is there.
    #[must_use]
    pub fn containerd_address(&self) -> Option<&Path> {
        self.containerd_address.value.as_deref()
    }

    /// Whom the time to and back is measured of, besides the verifier.
    #[must_use]
    pub fn latency_peers(&self) -> &Peers {
        &self.latency_peers.value
    }

    /// Where other programs put metrics as files.
    #[must_use]
    pub fn textfile_directory(&self) -> Option<&Path> {
        self.textfile_directory.value.as_deref()
    }

    /// How long metrics are kept, 1 h to 400 days.
    #[must_use]
    pub fn metrics_retention(&self) -> Duration {
        self.metrics_retention.value
    }

    /// What gives way when metrics come faster than they are kept.
    #[must_use]
    pub fn metrics_back_pressure(&self) -> BackPressure {
        self.metrics_back_pressure.value
    }

    /// How many samples one proof covers at most, 1 to 10,000.
    #[must_use]
    pub fn proof_batch_size(&self) -> u32 {
        self.proof_batch_size.value
    }

    /// Whether connections go over the attested channel.
    #[must_use]
    pub fn secure_channels(&self) -> bool {
        self.secure_channels.value
    }

    /// Whether the enclave runs in debug mode, which every verifier sees in the evidence.
    #[must_use]
    pub fn debug_mode(&self) -> bool {
        self.debug_mode.value
    }

    /// The quote provider's name; `None` lets the TEE choose.
    #[must_use]
    pub fn quote_provider(&self) -> Option<&str> {
        self.quote_provider.value.as_deref()
    }

    /// The expected digest of each PCR: 20, 32 or 48 bytes for 0 to 31.
    #[must_use]
    pub fn pcr_policy(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.pcr_policy.value
    }

    /// What looked odd but was no error.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The TEE to use, given the one that was detected.
    ///
    /// A configured TEE must be the detected one. Without one configured it is the detected one, or the
    /// simulated one where that is allowed. A configured simulated TEE is taken where it is allowed, whatever
    /// the machine has.
    ///
    /// # Errors
    /// [`ConfigError::TeeTypeMismatch`], [`ConfigError::SimulatedRefused`] and [`ConfigError::NoTee`].
    pub fn check_tee(
        &self,
        detected: Option<TeeKind>,
        allow_simulated: bool,
    ) -> Result<TeeKind, ConfigError> {
        // A detector that reports the stand-in has found no hardware.
        let detected = detected.filter(|kind| *kind != TeeKind::Simulated);
        let Set { value, origin } = &self.tee_type;
        match (*value, detected) {
            (None, Some(detected)) => Ok(detected),
            (None | Some(TeeKind::Simulated), _) if allow_simulated => Ok(TeeKind::Simulated),
            (None, None) => Err(ConfigError::NoTee),
            (Some(TeeKind::Simulated), _) => Err(ConfigError::SimulatedRefused {
                origin: origin.clone(),
                advice: field::write_tee(origin, detected),
            }),
            (Some(configured), Some(detected)) if configured == detected => Ok(configured),
            (Some(configured), _) => Err(ConfigError::TeeTypeMismatch {
                configured,
                detected,
                origin: origin.clone(),
                advice: field::write_tee(origin, detected),
            }),
        }
    }

    fn apply_file(&mut self, path: Arc<Path>, text: &str) -> Result<(), ConfigError> {
        let document = Document::parse(path, text)?;
        for outer in document.top()? {
            let daas = expect_key(outer, "", "daas")?;
            for inner in document.entries(&daas.path, daas.value)? {
                let nautilus = expect_key(inner, "daas", "nautilus")?;
                for entry in document.entries(&nautilus.path, nautilus.value)? {
                    self.apply_entry(&document, entry)?;
                }
            }
        }
        Ok(())
    }

    fn apply_entry(&mut self, document: &Document<'_>, entry: Entry<'_>) -> Result<(), ConfigError> {
        let Some(field) = FIELDS.iter().find(|field| field.name == entry.name) else {
            return Err(field::unknown_key(entry.path, &entry.name, entry.origin, BLOCK));
        };
        match field.setter {
            Setter::Scalar(set) => {
                let found = document.scalar(&entry.path, entry.value)?;
                set(self, &Given::file(&entry.path, &found, entry.origin))
            }
            Setter::Pcrs => {
                let mut found = Vec::new();
                for pcr in document.entries(&entry.path, entry.value)? {
                    let scalar = document.scalar(&pcr.path, pcr.value)?;
                    found.push((pcr.path, scalar, pcr.origin));
                }
                let given = found
                    .iter()
                    .map(|(path, scalar, origin)| Given::file(path, scalar, origin.clone()));
                self.pcr_policy = field::pcr_policy(&given.collect::<Vec<_>>(), entry.origin)?;
                Ok(())
            }
        }
    }

    fn apply_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, value) in environment
            .iter()
            .filter(|(name, _)| name.starts_with("NAUTILUS_"))
        {
            if let Some(field) = FIELDS.iter().find(|field| field.env == name) {
                self.apply_text(field, value, Origin::Env { name: field.env })?;
            } else if !OTHER_VARIABLES.contains(&name.as_str()) {
                let known = FIELDS.iter().map(|field| field.env).chain(OTHER_VARIABLES);
                let nearest = error::nearest(name, known);
                self.warnings.push(Warning::UnknownVariable {
                    name: name.clone(),
                    nearest,
                });
            }
        }
        Ok(())
    }

    fn apply_text(&mut self, field: &Field, text: &str, origin: Origin) -> Result<(), ConfigError> {
        match field.setter {
            Setter::Scalar(set) => set(
                self,
                &Given::text(&format!("{BLOCK}.{}", field.name), text, origin),
            ),
            Setter::Pcrs => {
                let pairs = field::split_pcrs(text, &origin)?;
                let given = pairs
                    .iter()
                    .map(|(key, digest)| Given::text(key, digest, origin.clone()));
                self.pcr_policy = field::pcr_policy(&given.collect::<Vec<_>>(), origin.clone())?;
                Ok(())
            }
        }
    }
}

fn known_by_key(
    (url, address): (&'static str, &Set<Option<Address>>),
    (name, key): (&'static str, Option<PublicKey>),
) -> Result<Option<VerifierAddress>, ConfigError> {
    match (&address.value, key) {
        (None, _) => Ok(None),
        (Some(address), Some(key)) => Ok(Some(VerifierAddress {
            address: address.clone(),
            key,
        })),
        (Some(_), None) => Err(ConfigError::KeyMissing {
            url,
            origin: address.origin.clone(),
            key: name,
        }),
    }
}

fn expect_key<'a>(entry: Entry<'a>, parent: &str, name: &str) -> Result<Entry<'a>, ConfigError> {
    if entry.name == name {
        return Ok(entry);
    }
    Err(field::unknown_key(entry.path, &entry.name, entry.origin, parent))
}
