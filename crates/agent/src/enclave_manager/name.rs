//! What enclaves are called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name. It is part of a file's name.
const MAX_LENGTH: usize = 32;

/// The name of an enclave: it stands in events, on command lines and in a file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnclaveName(String);

/// A text that names no enclave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} cannot be the name of an enclave: use 1 to {MAX_LENGTH} lower-case letters, digits and hyphens, a letter first"
)]
pub struct NameError {
    /// The text, cut where it is long.
    pub name: String,
}

impl EnclaveName {
    /// The name of the node's own enclave, which signs its samples.
    #[must_use]
    pub fn node() -> Self {
        Self("node".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the node's own enclave.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.0 == "node"
    }
}

impl FromStr for EnclaveName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if first && rest && text.len() <= MAX_LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError {
                name: text.chars().take(2 * MAX_LENGTH).collect(),
            })
        }
    }
}

impl TryFrom<String> for EnclaveName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<EnclaveName> for String {
    fn from(name: EnclaveName) -> Self {
        name.0
    }
}

impl fmt::Display for EnclaveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_part_of_a_path_and_of_a_line() {
        for name in ["node", "a", "job-7", &"a".repeat(32)] {
            assert_eq!(name.parse::<EnclaveName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(33);
        for name in [
            "", "-a", "7up", "..", "a/b", "Job", "a b", "a.state", "ä", "a\n", &long,
        ] {
            let error = name.parse::<EnclaveName>().unwrap_err();
            assert_eq!(error.name, name);
            assert!(
                serde_json::from_value::<EnclaveName>(name.into()).is_err(),
                "{name}"
            );
        }
    }
}
