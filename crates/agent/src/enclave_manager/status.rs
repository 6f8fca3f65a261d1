//! The states of an enclave, and which follows which.

use std::fmt;

use serde::{Deserialize, Serialize};

/// States of an enclave (specification §1.B `EnclaveStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnclaveStatus {
    /// Its process runs.
    Created,
    /// It has its keys and serves this node.
    Initialized,
    /// Its boot evidence was accepted.
    Attested,
    /// It signs.
    Running,
    /// It was told to sign nothing.
    Suspended,
    /// It ended, and will not come again.
    Terminated,
    /// It failed. It is booted again, or it failed too often and stays so.
    Error,
}

/// A change of state that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an enclave that is {from} cannot become {to}")]
pub struct IllegalTransition {
    /// The state that it is in.
    pub from: EnclaveStatus,
    /// The state that it should enter.
    pub to: EnclaveStatus,
}

impl EnclaveStatus {
    /// All of them, in the order of an enclave's life.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Initialized,
        Self::Attested,
        Self::Running,
        Self::Suspended,
        Self::Terminated,
        Self::Error,
    ];

    /// The name used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Initialized => "initialized",
            Self::Attested => "attested",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Terminated => "terminated",
            Self::Error => "error",
        }
    }

    /// The state `to`, if it may follow this one. Nothing follows `terminated`; whatever lives may fail or be
    /// terminated; what failed may be booted again.
    ///
    /// # Errors
    /// [`IllegalTransition`] for everything else.
    pub const fn enter(self, to: Self) -> Result<Self, IllegalTransition> {
        use EnclaveStatus::{Attested, Created, Error, Initialized, Running, Suspended, Terminated};
        match (self, to) {
            // Keys that were replaced are those of a new boot, which has to be attested.
            (Created | Running, Initialized)
            | (Initialized, Attested)
            | (Attested | Suspended, Running)
            | (Running, Suspended)
            | (Created | Initialized | Attested | Running | Suspended, Error | Terminated)
            | (Error, Created | Terminated) => Ok(to),
            _ => Err(IllegalTransition { from: self, to }),
        }
    }
}

impl fmt::Display for EnclaveStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_states_is_decided_and_most_are_refused() {
        use EnclaveStatus::{Attested, Created, Error, Initialized, Running, Suspended, Terminated};
        let mut legal = Vec::new();
        for from in EnclaveStatus::ALL {
            for to in EnclaveStatus::ALL {
                match from.enter(to) {
                    Ok(entered) => {
                        assert_eq!(entered, to);
                        legal.push((from, to));
                    }
                    Err(error) => assert_eq!(error, IllegalTransition { from, to }),
                }
            }
        }
        assert_eq!(
            legal,
            [
                (Created, Initialized),
                (Created, Terminated),
                (Created, Error),
                (Initialized, Attested),
                (Initialized, Terminated),
                (Initialized, Error),
                (Attested, Running),
                (Attested, Terminated),
                (Attested, Error),
                (Running, Initialized),
                (Running, Suspended),
                (Running, Terminated),
                (Running, Error),
                (Suspended, Running),
                (Suspended, Terminated),
                (Suspended, Error),
                (Error, Created),
                (Error, Terminated),
            ]
        );
        let error = Suspended.enter(Suspended).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an enclave that is suspended cannot become suspended"
        );
    }

    #[test]
    fn json_has_the_specifications_names() {
        for status in EnclaveStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
