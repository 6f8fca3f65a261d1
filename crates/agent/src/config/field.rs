//! The fields: their names, their rules, and how each is shown. Every rule stands here once, whichever
//! source a value comes from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use nautilus_channel::{Address, AddressError};
use nautilus_core::{PublicKey, TeeKind};
use nautilus_monitor::aggregate::BackPressure;
use nautilus_monitor::network::Peers;
use nautilus_proof::CollectorKind;
use serde_json::Value;

use super::duration::{DurationError, format_duration, parse_duration};
use super::error::{ConfigError, Origin, Right, nearest, short, shown};
use super::yaml::{Found, ScalarKind};
use super::{Config, Set, metrics};

/// Where the block stands in a file.
pub(super) const BLOCK: &str = "daas.nautilus";

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3_600);
const DEFAULT_BATCH: u32 = 100;
const LARGEST_BATCH: u32 = nautilus_proof::MAX_SAMPLES;
/// PATH_MAX of Linux, less its final zero.
const LONGEST_PATH: usize = 4_095;
/// More than any address has, so that the fault is told by what reads it.
const LONGEST_ADDRESS: usize = 1_000;
const LONGEST_NAME: usize = 256;
/// PCRs of a bank: 24 on PC platforms (TCG PC Client §2.3), 32 on AWS Nitro.
const LAST_PCR: u8 = 31;

/// One field of the block.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) env: &'static str,
    pub(super) setter: Setter,
    pub(super) show: fn(&Config) -> (Value, &Origin),
}

/// How a field takes its value.
pub(super) enum Setter {
    /// From one scalar.
    Scalar(fn(&mut Config, &Given<'_>) -> Result<(), ConfigError>),
    /// From `pcrN` names and values: a mapping in a file, `pcr0=HEX,pcr1=HEX` elsewhere.
    Pcrs,
}

/// The specification's `TEEConfig` (§1.A) in its order, and behind each address the key of who is there.
pub(super) const FIELDS: [Field; 19] = [
    Field {
        name: "enabled",
        env: "NAUTILUS_ENABLED",
        setter: Setter::Scalar(|config, given| given.read(boolean).map(|set| config.enabled = set)),
        show: |config| (Value::from(config.enabled.value), &config.enabled.origin),
    },
    Field {
        name: "tee_type",
        env: "NAUTILUS_TEE_TYPE",
        setter: Setter::Scalar(|config, given| given.read(tee).map(|set| config.tee_type = set)),
        show: |config| {
            (
                Value::from(config.tee_type.value.map_or("", TeeKind::as_str)),
                &config.tee_type.origin,
            )
        },
    },
    Field {
        name: "enclave_image",
        env: "NAUTILUS_ENCLAVE_IMAGE",
        setter: Setter::Scalar(|config, given| given.read(path).map(|set| config.enclave_image = set)),
        show: |config| show_path(&config.enclave_image),
    },
    Field {
        name: "attestation_url",
        env: "NAUTILUS_ATTESTATION_URL",
        setter: Setter::Scalar(|config, given| given.read(address).map(|set| config.attestation_url = set)),
        show: |config| show_address(&config.attestation_url),
    },
    Field {
        name: "verifier_key",
        env: "NAUTILUS_VERIFIER_KEY",
        setter: Setter::Scalar(|config, given| given.read(public_key).map(|set| config.verifier_key = set)),
        show: |config| show_key(&config.verifier_key),
    },
    Field {
        name: "key_provision_url",
        env: "NAUTILUS_KEY_PROVISION_URL",
        setter: Setter::Scalar(|config, given| given.read(address).map(|set| config.key_provision_url = set)),
        show: |config| show_address(&config.key_provision_url),
    },
    Field {
        name: "key_provision_key",
        env: "NAUTILUS_KEY_PROVISION_KEY",
        setter: Setter::Scalar(|config, given| {
            given.read(public_key).map(|set| config.key_provision_key = set)
        }),
        show: |config| show_key(&config.key_provision_key),
    },
    Field {
        name: "metrics_interval",
        env: "NAUTILUS_METRICS_INTERVAL",
        setter: Setter::Scalar(|config, given| given.read(interval).map(|set| config.metrics_interval = set)),
        show: |config| {
            (
                Value::from(format_duration(config.metrics_interval.value)),
                &config.metrics_interval.origin,
            )
        },
    },
    Field {
        name: "collectors",
        env: "NAUTILUS_COLLECTORS",
        setter: Setter::Scalar(|config, given| {
            given.read(metrics::collectors).map(|set| config.collectors = set)
        }),
        show: |config| {
            let names: Vec<_> = config.collectors.value.iter().map(|kind| kind.as_str()).collect();
            (Value::from(names.join(",")), &config.collectors.origin)
        },
    },
    Field {
        name: "containerd_address",
        env: "NAUTILUS_CONTAINERD_ADDRESS",
        setter: Setter::Scalar(|config, given| given.read(path).map(|set| config.containerd_address = set)),
        show: |config| show_path(&config.containerd_address),
    },
    Field {
        name: "latency_peers",
        env: "NAUTILUS_LATENCY_PEERS",
        setter: Setter::Scalar(|config, given| {
            given
                .read(metrics::latency_peers)
                .map(|set| config.latency_peers = set)
        }),
        show: |config| {
            let peers = config.latency_peers.value.to_string();
            (Value::from(peers), &config.latency_peers.origin)
        },
    },
    Field {
        name: "textfile_directory",
        env: "NAUTILUS_TEXTFILE_DIRECTORY",
        setter: Setter::Scalar(|config, given| given.read(path).map(|set| config.textfile_directory = set)),
        show: |config| show_path(&config.textfile_directory),
    },
    Field {
        name: "metrics_retention",
        env: "NAUTILUS_METRICS_RETENTION",
        setter: Setter::Scalar(|config, given| {
            given
                .read(metrics::retention)
                .map(|set| config.metrics_retention = set)
        }),
        show: |config| {
            (
                Value::from(format_duration(config.metrics_retention.value)),
                &config.metrics_retention.origin,
            )
        },
    },
    Field {
        name: "metrics_back_pressure",
        env: "NAUTILUS_METRICS_BACK_PRESSURE",
        setter: Setter::Scalar(|config, given| {
            given
                .read(metrics::back_pressure)
                .map(|set| config.metrics_back_pressure = set)
        }),
        show: |config| {
            (
                Value::from(config.metrics_back_pressure.value.as_str()),
                &config.metrics_back_pressure.origin,
            )
        },
    },
    Field {
        name: "proof_batch_size",
        env: "NAUTILUS_PROOF_BATCH_SIZE",
        setter: Setter::Scalar(|config, given| {
            given.read(batch_size).map(|set| config.proof_batch_size = set)
        }),
        show: |config| {
            (
                Value::from(config.proof_batch_size.value),
                &config.proof_batch_size.origin,
            )
        },
    },
    Field {
        name: "secure_channels",
        env: "NAUTILUS_SECURE_CHANNELS",
        setter: Setter::Scalar(|config, given| given.read(boolean).map(|set| config.secure_channels = set)),
        show: |config| {
            (
                Value::from(config.secure_channels.value),
                &config.secure_channels.origin,
            )
        },
    },
    Field {
        name: "debug_mode",
        env: "NAUTILUS_DEBUG_MODE",
        setter: Setter::Scalar(|config, given| given.read(boolean).map(|set| config.debug_mode = set)),
        show: |config| (Value::from(config.debug_mode.value), &config.debug_mode.origin),
    },
    Field {
        name: "quote_provider",
        env: "NAUTILUS_QUOTE_PROVIDER",
        setter: Setter::Scalar(|config, given| given.read(name).map(|set| config.quote_provider = set)),
        show: |config| show_text(&config.quote_provider),
    },
    Field {
        name: "pcr_policy",
        env: "NAUTILUS_PCR_POLICY",
        setter: Setter::Pcrs,
        show: |config| {
            let pcrs = config.pcr_policy.value.iter();
            let shown = pcrs.map(|(pcr, digest)| (format!("pcr{pcr}"), Value::from(hex::encode(digest))));
            (Value::Object(shown.collect()), &config.pcr_policy.origin)
        },
    },
];

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: Set::default(true),
            tee_type: Set::default(None),
            enclave_image: Set::default(None),
            attestation_url: Set::default(None),
            verifier_key: Set::default(None),
            key_provision_url: Set::default(None),
            key_provision_key: Set::default(None),
            metrics_interval: Set::default(DEFAULT_INTERVAL),
            collectors: Set::default(CollectorKind::ALL.into()),
            containerd_address: Set::default(None),
            latency_peers: Set::default(Peers::default()),
            textfile_directory: Set::default(None),
            metrics_retention: Set::default(metrics::DEFAULT_RETENTION),
            metrics_back_pressure: Set::default(BackPressure::default()),
            proof_batch_size: Set::default(DEFAULT_BATCH),
            secure_channels: Set::default(true),
            debug_mode: Set::default(false),
            quote_provider: Set::default(None),
            pcr_policy: Set::default(BTreeMap::new()),
            warnings: Vec::new(),
        }
    }
}

/// A value as it was found.
pub(super) struct Given<'a> {
    /// The key's full path.
    key: &'a str,
    pub(super) text: &'a str,
    /// What a file's syntax makes of it; the environment and flags hold text alone.
    kind: Option<ScalarKind>,
    /// Where the value stands.
    value_at: Origin,
    /// What is kept as the field's origin: in a file, where the key stands.
    origin: Origin,
}

impl<'a> Given<'a> {
    /// A value from the environment or a flag.
    pub(super) fn text(key: &'a str, text: &'a str, origin: Origin) -> Self {
        Self {
            key,
            text,
            kind: None,
            value_at: origin.clone(),
            origin,
        }
    }

    /// A value from a file.
    pub(super) fn file(key: &'a str, found: &'a Found, key_at: Origin) -> Self {
        let Found { text, kind, origin } = found;
        Self {
            key,
            text,
            kind: Some(*kind),
            value_at: origin.clone(),
            origin: key_at,
        }
    }

    fn read<T>(&self, rule: fn(&Self) -> Result<T, ConfigError>) -> Result<Set<T>, ConfigError> {
        if self.kind == Some(ScalarKind::Null) {
            let advice = "write a value after the colon, or remove the line".to_owned();
            return Err(self.wrong_type("a value", Right::Advice(advice)));
        }
        Ok(Set {
            value: rule(self)?,
            origin: self.origin.clone(),
        })
    }

    pub(super) fn bad(&self, expected: &'static str, right: Right) -> ConfigError {
        self.bad_shown(shown(self.text), expected, right)
    }

    fn bad_shown(&self, found: String, expected: &'static str, right: Right) -> ConfigError {
        let advice = self.value_at.advise(&right);
        let (key, origin) = (self.key.to_owned(), self.value_at.clone());
        ConfigError::BadValue {
            key,
            origin,
            found,
            expected,
            advice,
        }
    }

    fn wrong_type(&self, expected: &'static str, right: Right) -> ConfigError {
        let advice = self.value_at.advise(&right);
        let (key, origin) = (self.key.to_owned(), self.value_at.clone());
        ConfigError::WrongType {
            key,
            origin,
            found: shown(self.text),
            expected,
            advice,
        }
    }

    /// Refuses text that is too long for any purpose or would not survive being shown.
    pub(super) fn printable(&self, longest: usize) -> Result<&'a str, ConfigError> {
        if self.text.len() > longest {
            let advice = Right::Advice(format!("write at most {longest} bytes"));
            return Err(self.bad("a shorter text", advice));
        }
        if self.text.chars().any(|c| c.is_control() || c == '\u{feff}') {
            let advice = Right::Advice("remove line breaks and control characters".to_owned());
            return Err(self.bad("text on one line", advice));
        }
        Ok(self.text)
    }
}

/// The PCR policy from its names and values.
pub(super) fn pcr_policy(
    entries: &[Given<'_>],
    origin: Origin,
) -> Result<Set<BTreeMap<u8, Vec<u8>>>, ConfigError> {
    let mut value = BTreeMap::new();
    let mut places: BTreeMap<u8, &Origin> = BTreeMap::new();
    for entry in entries {
        let pcr = pcr_number(entry)?;
        if let Some(first) = places.insert(pcr, &entry.origin) {
            let (key, origin) = (entry.key.to_owned(), entry.origin.clone());
            return Err(ConfigError::DuplicateKey {
                key,
                origin,
                first: Some(first.clone()),
            });
        }
        value.insert(pcr, pcr_digest(entry, pcr)?);
    }
    Ok(Set { value, origin })
}

/// Splits `pcr0=HEX,pcr1=HEX` into keys' full paths and values. Nothing is an empty policy.
///
/// # Errors
/// A part without `=`.
pub(super) fn split_pcrs(text: &str, origin: &Origin) -> Result<Vec<(String, String)>, ConfigError> {
    let parts = text.split(',').map(str::trim);
    let split = |part: &str| {
        let (name, digest) = part.split_once('=').ok_or_else(|| ConfigError::BadValue {
            key: format!("{BLOCK}.pcr_policy"),
            origin: origin.clone(),
            found: shown(part),
            expected: "pcr0=HEX,pcr1=HEX",
            advice: "join the name and the digest with `=`, and the pairs with `,`".to_owned(),
        })?;
        Ok((
            format!("{BLOCK}.pcr_policy.{}", name.trim()),
            digest.trim().to_owned(),
        ))
    };
    if text.trim().is_empty() {
        Ok(Vec::new())
    } else {
        parts.map(split).collect()
    }
}

/// The error for a key that is none of the fields.
pub(super) fn unknown_key(key: String, name: &str, origin: Origin, parent: &str) -> ConfigError {
    let known: &[&'static str] = match parent {
        "" => &["daas"],
        "daas" => &["nautilus"],
        _ => &[],
    };
    let fields = || FIELDS.iter().map(|field| field.name);
    let close = if parent == BLOCK {
        nearest(name, fields())
    } else {
        nearest(name, known.iter().copied())
    };
    let advice = match close {
        Some(close) => format!("did you mean `{close}`?"),
        None if parent == BLOCK => {
            format!(
                "write one of {}, or remove it",
                fields().collect::<Vec<_>>().join(", ")
            )
        }
        None if name == "nautilus" || fields().any(|field| field == name) => {
            format!(
                "write it below {}",
                if name == "nautilus" {
                    "`daas:`"
                } else {
                    "`daas:`, `nautilus:`"
                }
            )
        }
        None => format!(
            "only `{}` is known here, remove it",
            known.first().copied().unwrap_or(parent)
        ),
    };
    ConfigError::UnknownKey {
        key,
        origin,
        nearest: close,
        advice,
    }
}

/// What to write for `tee_type` at `origin` so that it means `kind`; or to remove it.
pub(super) fn write_tee(origin: &Origin, kind: Option<TeeKind>) -> String {
    match (origin, kind) {
        (Origin::File { .. } | Origin::Default, Some(kind)) => {
            format!("write tee_type: \"{kind}\" or remove the line")
        }
        (Origin::File { .. } | Origin::Default, None) => {
            "remove the line, and run `nautilus detect` to see what is missing".to_owned()
        }
        (Origin::Env { name }, Some(kind)) => format!("write {name}={kind} or unset it"),
        (Origin::Env { name }, None) => {
            format!("unset {name}, and run `nautilus detect` to see what is missing")
        }
        (Origin::Flag { name }, Some(kind)) => format!("write {name} {kind} or leave the flag out"),
        (Origin::Flag { name }, None) => {
            format!("leave {name} out, and run `nautilus detect` to see what is missing")
        }
    }
}

fn show_path(set: &Set<Option<PathBuf>>) -> (Value, &Origin) {
    // Read from text, so nothing is lost here.
    let text = set
        .value
        .as_deref()
        .map_or_else(String::new, |path| path.to_string_lossy().into_owned());
    (Value::from(text), &set.origin)
}

fn show_text(set: &Set<Option<String>>) -> (Value, &Origin) {
    (Value::from(set.value.as_deref().unwrap_or("")), &set.origin)
}

fn boolean(given: &Given<'_>) -> Result<bool, ConfigError> {
    let right = match given.text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "1" | "true" | "t" => Right::Bare("true".to_owned()),
        "no" | "off" | "n" | "0" | "false" | "f" => Right::Bare("false".to_owned()),
        _ => Right::Advice("write true or false".to_owned()),
    };
    match (given.text, given.kind) {
        ("true" | "True" | "TRUE", None | Some(ScalarKind::Boolean)) => Ok(true),
        ("false" | "False" | "FALSE", None | Some(ScalarKind::Boolean)) => Ok(false),
        ("true" | "false", _) => Err(given.wrong_type("true or false without quotes", right)),
        (_, Some(_)) => Err(given.wrong_type("true or false", right)),
        (_, None) => Err(given.bad("true or false", right)),
    }
}

fn tee(given: &Given<'_>) -> Result<Option<TeeKind>, ConfigError> {
    if given.text.is_empty() {
        return Ok(None);
    }
    given.text.parse().map(Some).map_err(|_| {
        let lower = given.text.to_ascii_lowercase();
        // Names that people and vendors use for the same things.
        let close = match lower.as_str() {
            "sev-snp" | "snp" | "sev_snp" | "sevsnp" => Some("sev"),
            "op-tee" | "optee" | "psa" => Some("trustzone"),
            "tpm2" | "tpm2.0" | "vtpm" => Some("tpm"),
            "auto" | "detect" | "none" => Some(""),
            _ => nearest(&lower, TeeKind::ALL.into_iter().map(TeeKind::as_str)),
        };
        let all =
            "write sgx, sev, trustzone, keystone, tdx, tpm, nitro or simulated, or nothing to detect it";
        let right = close.map_or_else(
            || Right::Advice(all.to_owned()),
            |name| Right::Text(name.to_owned()),
        );
        given.bad("the name of a TEE", right)
    })
}

fn path(given: &Given<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let text = given.printable(LONGEST_PATH)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn name(given: &Given<'_>) -> Result<Option<String>, ConfigError> {
    let text = given.printable(LONGEST_NAME)?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn interval(given: &Given<'_>) -> Result<Duration, ConfigError> {
    duration(
        given,
        DEFAULT_INTERVAL,
        SHORTEST_INTERVAL..=LONGEST_INTERVAL,
        "a duration of 100ms to 1h",
    )
}

/// As people write it: hours alone where there is nothing else.
fn in_hours(duration: Duration) -> String {
    match (duration.as_secs() / 3600, duration.as_secs() % 3600) {
        (hours @ 1.., 0) => format!("{hours}h"),
        _ => format_duration(duration),
    }
}

/// A duration within bounds; `usual` is what an example shows.
pub(super) fn duration(
    given: &Given<'_>,
    usual: Duration,
    bounds: RangeInclusive<Duration>,
    expected: &'static str,
) -> Result<Duration, ConfigError> {
    let duration = parse_duration(given.text).map_err(|source| {
        let right = match &source {
            DurationError::MissingUnit { number } if number == given.text => format!("{number}s"),
            _ => format_duration(usual),
        };
        ConfigError::BadDuration {
            key: given.key.to_owned(),
            origin: given.value_at.clone(),
            found: shown(given.text),
            advice: given.value_at.advise(&Right::Text(right)),
            source: Box::new(source),
        }
    })?;
    let allowed = duration.clamp(*bounds.start(), *bounds.end());
    if duration != allowed {
        return Err(given.bad(expected, Right::Text(in_hours(allowed))));
    }
    Ok(duration)
}

fn batch_size(given: &Given<'_>) -> Result<u32, ConfigError> {
    const EXPECTED: &str = "an integer of 1 to 10000";
    let is_decimal = given.text.bytes().all(|b| b.is_ascii_digit()) && !given.text.is_empty();
    let is_plain = is_decimal && (given.text == "0" || !given.text.starts_with('0'));
    let bare = |value: u32| Right::Bare(value.to_string());
    if !is_plain {
        let right = bare(DEFAULT_BATCH);
        return Err(match given.kind {
            Some(ScalarKind::Boolean | ScalarKind::Text) => given.wrong_type(EXPECTED, right),
            _ => given.bad(EXPECTED, right),
        });
    }
    let value = given.text.parse().unwrap_or(u32::MAX);
    let allowed = value.clamp(1, LARGEST_BATCH);
    if given.kind == Some(ScalarKind::Text) {
        return Err(given.wrong_type("an integer without quotes", bare(allowed)));
    }
    if value != allowed {
        return Err(given.bad(EXPECTED, bare(allowed)));
    }
    Ok(value)
}

/// Where a verifier is. Whether it is there shows when it is used.
fn address(given: &Given<'_>) -> Result<Option<Address>, ConfigError> {
    const EXPECTED: &str = "an address such as https://attestation.example.org or tcp://127.0.0.1:8471";
    let text = given.printable(LONGEST_ADDRESS)?;
    if text.is_empty() {
        return Ok(None);
    }
    let advise = |advice: &str| Right::Advice(advice.to_owned());
    if text.contains('@') {
        // Not shown: what stands before the @ is a secret, and errors are logged.
        let right = advise("remove the name and password before the `@`");
        return Err(given.bad_shown("an address with credentials".to_owned(), EXPECTED, right));
    }
    match text.parse() {
        Ok(Address::Tcp { port: 0, .. }) => {
            Err(given.bad(EXPECTED, advise("write the port at which the verifier listens")))
        }
        Ok(address) => Ok(Some(address)),
        Err(AddressError::Scheme(_)) => Err(given.bad(
            EXPECTED,
            advise("begin it with https://, tcp://, unix:// or vsock://"),
        )),
        Err(error) => Err(given.bad(EXPECTED, Right::Advice(error.to_string()))),
    }
}

/// The long-term key of a verifier.
fn public_key(given: &Given<'_>) -> Result<Option<PublicKey>, ConfigError> {
    if given.text.is_empty() {
        return Ok(None);
    }
    let mut key = [0; 32];
    match hex::decode_to_slice(given.text, &mut key) {
        Ok(()) => Ok(Some(PublicKey(key))),
        Err(_) => {
            let advice = "write the key that the verifier shows when it starts".to_owned();
            Err(given.bad(
                "64 hexadecimal digits (an Ed25519 public key)",
                Right::Advice(advice),
            ))
        }
    }
}

fn show_address(set: &Set<Option<Address>>) -> (Value, &Origin) {
    let text = set.value.as_ref().map_or_else(String::new, Address::to_string);
    (Value::from(text), &set.origin)
}

fn show_key(set: &Set<Option<PublicKey>>) -> (Value, &Origin) {
    let text = set.value.map_or_else(String::new, |key| key.to_string());
    (Value::from(text), &set.origin)
}

fn pcr_number(entry: &Given<'_>) -> Result<u8, ConfigError> {
    let name = entry.key.rsplit_once('.').map_or(entry.key, |(_, name)| name);
    let number = name.strip_prefix("pcr").unwrap_or("");
    let is_plain = number == "0" || (!number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit()));
    match number.parse::<u8>() {
        Ok(pcr) if is_plain && pcr <= LAST_PCR => Ok(pcr),
        _ => Err(ConfigError::UnknownKey {
            key: entry.key.to_owned(),
            origin: entry.origin.clone(),
            nearest: None,
            advice: format!("write a name from pcr0 to pcr{LAST_PCR}"),
        }),
    }
}

fn pcr_digest(entry: &Given<'_>, pcr: u8) -> Result<Vec<u8>, ConfigError> {
    if entry.kind == Some(ScalarKind::Null) || !matches!(entry.text.len(), 40 | 64 | 96) {
        return Err(bad_digest(entry, pcr));
    }
    hex::decode(entry.text).map_err(|_| bad_digest(entry, pcr))
}

fn bad_digest(entry: &Given<'_>, pcr: u8) -> ConfigError {
    let expected = "40, 64 or 96 hexadecimal digits (SHA-1, SHA-256 or SHA-384)";
    let what = short(entry.key);
    let advice = format!(
        "write the digest that {what} must have (a TPM's is in /sys/class/tpm/tpm0/pcr-sha256/{pcr}), or \
         remove it"
    );
    entry.bad(expected, Right::Advice(advice))
}
