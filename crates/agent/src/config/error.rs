//! What can be wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_core::TeeKind;
use serde::{Serialize, Serializer};

use super::duration::DurationError;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File {
        /// The file, as it was opened.
        #[serde(serialize_with = "path_text")]
        path: Arc<Path>,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// An environment variable.
    Env {
        /// Its name, such as `NAUTILUS_METRICS_INTERVAL`.
        name: &'static str,
    },
    /// A command-line flag.
    Flag {
        /// The flag with its dashes, such as `--interval`.
        name: &'static str,
    },
}

impl Origin {
    /// The origin as it stands in a sentence: `at FILE:LINE:COLUMN`, `in NAME`.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Default => "by default".to_owned(),
            Self::File { .. } => format!("at {self}"),
            Self::Env { .. } | Self::Flag { .. } => format!("in {self}"),
        }
    }

    /// `write …` for a value that would be right, in the origin's own notation.
    pub(super) fn advise(&self, right: &Right) -> String {
        match (self, right) {
            (_, Right::Advice(advice)) => advice.clone(),
            (Self::Env { name }, Right::Text(value) | Right::Bare(value)) => format!("write {name}={value}"),
            (Self::Flag { name }, Right::Text(value) | Right::Bare(value)) => format!("write {name} {value}"),
            (Self::Default | Self::File { .. }, Right::Text(value)) => format!("write \"{value}\""),
            (Self::Default | Self::File { .. }, Right::Bare(value)) => format!("write {value}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env { name } | Self::Flag { name } => f.write_str(name),
        }
    }
}

/// A value that would be right where a wrong one stands.
#[derive(Clone, Debug)]
pub(super) enum Right {
    /// A string, quoted in a file.
    Text(String),
    /// A boolean or an integer, never quoted.
    Bare(String),
    /// A whole sentence.
    Advice(String),
}

/// A configuration that cannot be used. Every text ends with what to write or do.
///
/// `key` is the full path of the key, such as `daas.nautilus.metrics_interval`; the text shows it without
/// `daas.nautilus.`, as a person would name it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that the configuration does not have.
    #[error("unknown key `{}` {}: {advice}", short(key), origin.place())]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where the key stands.
        origin: Origin,
        /// The known key that it resembles.
        nearest: Option<&'static str>,
        /// What to write.
        advice: String,
    },
    /// A key that stands twice in one mapping.
    #[error(
        "`{}` {} was set before{}: keep one of the two",
        short(key), origin.place(), first.as_ref().map_or_else(String::new, |first| format!(", {}", first.place()))
    )]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stands for the second time.
        origin: Origin,
        /// Where it stands first, if that is known.
        first: Option<Origin>,
    },
    /// A value of another type than the key's.
    #[error("`{}` is {found} {}, expected {expected}: {advice}", short(key), origin.place())]
    WrongType {
        /// The key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What stands there.
        found: String,
        /// The key's type.
        expected: &'static str,
        /// What to write.
        advice: String,
    },
    /// A value that is no duration in Go's form.
    #[error("`{}` is {found} {}, expected a duration with a unit: {advice}", short(key), origin.place())]
    BadDuration {
        /// The key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What stands there.
        found: String,
        /// What to write.
        advice: String,
        /// What is wrong with it. Boxed to keep the enum small.
        #[source]
        source: Box<DurationError>,
    },
    /// A value of the right type that means nothing or is out of bounds.
    #[error("`{}` is {found} {}, expected {expected}: {advice}", short(key), origin.place())]
    BadValue {
        /// The key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What stands there.
        found: String,
        /// What is allowed.
        expected: &'static str,
        /// What to write.
        advice: String,
    },
    /// Text that is no YAML.
    #[error("{origin}: {detail}: {advice}")]
    Syntax {
        /// Where reading stopped.
        origin: Origin,
        /// What is wrong there.
        detail: String,
        /// What to write.
        advice: &'static str,
    },
    /// YAML that a configuration has no use for, and that would let a small file mean a large thing.
    #[error("{origin}: {what} not supported in a configuration: {advice}")]
    Unsupported {
        /// Where it stands.
        origin: Origin,
        /// Which part of YAML, with its verb, such as `aliases are`.
        what: &'static str,
        /// What to write.
        advice: &'static str,
    },
    /// Mappings or lists nested deeper than any configuration is.
    #[error(
        "{origin}: nested too deeply: the configuration has three levels, `daas`, `nautilus` and `pcr_policy`"
    )]
    TooDeep {
        /// Where the bound was passed.
        origin: Origin,
    },
    /// A file that is larger than any configuration.
    #[error("{} is larger than {limit} bytes: name a configuration file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// A directory with more files than any configuration.
    #[error("{} holds more than {limit} configuration files: merge them", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// A file that is not text.
    #[error("{origin}: the byte there is not UTF-8: save the file as UTF-8 text")]
    NotUtf8 {
        /// Where the first wrong byte stands.
        origin: Origin,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {advice}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A configured TEE that is not this machine's.
    #[error(
        "configured TEE type {configured} {} doesn't match detected {}: {advice}",
        origin.place(), detected.map_or("none", TeeKind::as_str)
    )]
    TeeTypeMismatch {
        /// The configured one.
        configured: TeeKind,
        /// The detected one, if any.
        detected: Option<TeeKind>,
        /// Where it was configured.
        origin: Origin,
        /// What to write.
        advice: String,
    },
    /// The address of a verifier, without the key by which it is known.
    #[error(
        "`{url}` is set {}, and `{key}` is not: set {key} to the public key that the verifier there shows when it \
         starts, so that nobody else can pass for it",
        origin.place()
    )]
    KeyMissing {
        /// The field that holds the address.
        url: &'static str,
        /// Where that is set.
        origin: Origin,
        /// The field that is to hold the key.
        key: &'static str,
    },
    /// No TEE configured, none detected, and the simulated one not allowed.
    #[error(
        "no TEE was detected: run `nautilus detect` to see what is missing, or allow the simulated TEE for \
         development"
    )]
    NoTee,
    /// The simulated TEE is configured where only hardware is accepted.
    #[error("the TEE type is simulated {}, which is not allowed here: {advice}", origin.place())]
    SimulatedRefused {
        /// Where it was configured.
        origin: Origin,
        /// What to write.
        advice: String,
    },
}

impl ConfigError {
    /// Where the fault is, if it is at one place.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::UnknownKey { origin, .. }
            | Self::DuplicateKey { origin, .. }
            | Self::WrongType { origin, .. }
            | Self::BadDuration { origin, .. }
            | Self::BadValue { origin, .. }
            | Self::Syntax { origin, .. }
            | Self::Unsupported { origin, .. }
            | Self::TooDeep { origin }
            | Self::NotUtf8 { origin }
            | Self::KeyMissing { origin, .. }
            | Self::TeeTypeMismatch { origin, .. }
            | Self::SimulatedRefused { origin, .. } => Some(origin),
            Self::TooLarge { .. } | Self::TooManyFiles { .. } | Self::Io { .. } | Self::NoTee => None,
        }
    }

    /// The key that is at fault, if one is.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. }
            | Self::DuplicateKey { key, .. }
            | Self::WrongType { key, .. }
            | Self::BadDuration { key, .. }
            | Self::BadValue { key, .. } => Some(key),
            Self::KeyMissing { key, .. } => Some(key),
            Self::TeeTypeMismatch { .. } | Self::SimulatedRefused { .. } => Some("daas.nautilus.tee_type"),
            _ => None,
        }
    }
}

/// Something that is not an error but probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A `NAUTILUS_*` variable that nothing reads.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known variable that it resembles.
        nearest: Option<&'static str>,
    },
    /// A file in `config.d` that looks like a configuration but is not read.
    IgnoredFile {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable {
                name,
                nearest: Some(nearest),
            } => {
                write!(
                    f,
                    "nothing reads the environment variable {name}: did you mean {nearest}?"
                )
            }
            Self::UnknownVariable { name, nearest: None } => {
                write!(f, "nothing reads the environment variable {name}")
            }
            Self::IgnoredFile { path } => {
                write!(f, "{} is not read: only files named *.yaml are", path.display())
            }
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The known name that `name` resembles most, if it resembles one at all.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    /// No known name is near this length, so nothing longer resembles one.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = plain(name);
    known
        .map(|candidate| (distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal.saturating_add(usize::from(from != to));
            diagonal = *cell;
            left = replaced
                .min(diagonal.saturating_add(1))
                .min(left.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

/// The key as a person names it.
pub(super) fn short(key: &str) -> &str {
    key.strip_prefix("daas.nautilus.").unwrap_or(key)
}

/// A value as it stands in an error: quoted, on one line, and not longer than a line.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut escaped = String::new();
    for c in text.chars().take(LONGEST) {
        if matches!(c, '"' | '\'' | '\\') {
            escaped.push(c)
        } else {
            escaped.extend(c.escape_debug())
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        escaped.push('…');
    }
    if escaped.is_empty() {
        "empty".to_owned()
    } else {
        format!("`{escaped}`")
    }
}

fn path_text<S: Serializer>(path: &Arc<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    // A path that is not UTF-8 has no exact JSON form; it is shown, not used.
    serializer.collect_str(&path.display())
}
