//! What is said on the control socket.

use serde::{Deserialize, Serialize};

use crate::attestation_service::AttestationRequest;
use crate::enclave_manager::EnclaveName;

/// A command: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Start a further enclave. The answer is its `EnclaveInstance`, as for all below.
    EnclaveCreate {
        /// Its name.
        name: EnclaveName,
    },
    /// Every enclave. The answer is a list.
    EnclaveList {},
    /// Have an enclave sign nothing.
    EnclaveSuspend {
        /// Its name.
        name: EnclaveName,
    },
    /// Let it go on.
    EnclaveResume {
        /// Its name.
        name: EnclaveName,
    },
    /// Have an enclave replace its keys, and attest anew.
    EnclaveRotate {
        /// Its name.
        name: EnclaveName,
    },
    /// End an enclave for good.
    EnclaveTerminate {
        /// Its name.
        name: EnclaveName,
        /// Also if it is the node's own.
        #[serde(default)]
        force: bool,
    },
    /// Make evidence. The answer is an `AttestationResponse`.
    Attest {
        /// What is asked.
        request: AttestationRequest,
    },
}

/// The answer: `{"ok": …}` or `{"error": {"kind": …, "detail": …}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// It was done.
    Ok(serde_json::Value),
    /// It was not.
    Error(Failed),
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The error's name.
    pub kind: String,
    /// What is wrong, and what to do, for people.
    pub detail: String,
}

impl Reply {
    pub(super) fn failed(kind: &str, detail: &str) -> Self {
        Self::Error(Failed {
            kind: kind.to_owned(),
            detail: detail.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_read_whole_or_not_at_all() {
        let read = |value: serde_json::Value| serde_json::from_value::<Command>(value);
        assert_eq!(
            read(json!({"op": "enclave_list"})).unwrap(),
            Command::EnclaveList {}
        );
        let name = EnclaveName::node();
        let command = read(json!({"op": "enclave_terminate", "name": "node"})).unwrap();
        assert_eq!(command, Command::EnclaveTerminate { name, force: false });
        for (wrong, told) in [
            (json!({"op": "enclave_eat"}), "unknown variant"),
            (json!({"op": "enclave_list", "name": "node"}), "unknown field"),
            (json!({"op": "enclave_create"}), "missing field"),
            (
                json!({"op": "enclave_create", "name": "../x"}),
                "cannot be the name",
            ),
            (json!({"name": "node"}), "missing field"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
