//! What is held against an image before it is started, and against what it measures once it attested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_channel::Appraiser;
use nautilus_core::{Digest32, Measurement, TeeKind};

use super::{EnclaveMeasurements, EnclaveName, ManagerError};
use crate::enclave_process::{self, Arguments, Transport};

/// How enclaves are started on this node.
#[derive(Clone)]
pub struct Launch {
    /// The enclave's program.
    pub image: PathBuf,
    /// The TEE that enclaves run in.
    pub tee: TeeKind,
    /// Where the simulated platform's keys and endorsements are; only with the simulated TEE.
    pub simulated: Option<PathBuf>,
    /// Which of several ways to get a quote to use.
    pub quote_provider: Option<String>,
    /// The agent's directory: sockets go into `run`, sealed states into `enclave`.
    pub directory: PathBuf,
    /// What is known of images.
    pub check: Arc<dyn LaunchCheck>,
    /// Who judges the evidence with which enclaves open their channels.
    pub appraiser: Arc<dyn Appraiser>,
    /// How enclaves reach the agent.
    pub transport: Transport,
}

/// Knows what an image measures before it runs. The composition root gives it, for it knows one TEE from another.
pub trait LaunchCheck: Send + Sync {
    /// What evidence of `image`, whose file has this SHA-256, has to show. Called before each start, and may read files.
    ///
    /// # Errors
    /// In words, if the image must not be started.
    fn expect(&self, image: &Path, sha256: Digest32) -> Result<Expected, String>;
}

/// What evidence has to show of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Values of measurement registers by their vendor's names.
    pub registers: BTreeMap<String, Measurement>,
}

impl Expected {
    /// Whether these measurements are what was expected.
    ///
    /// # Errors
    /// [`ManagerError::Measured`] names the first that differs or is missing.
    pub fn compare(&self, name: &EnclaveName, found: &EnclaveMeasurements) -> Result<(), ManagerError> {
        for (register, expected) in &self.registers {
            let expected = expected.to_string();
            let value = found.register(register);
            if value != Some(expected.as_str()) {
                return Err(ManagerError::Measured {
                    name: name.clone(),
                    register: register.clone(),
                    expected,
                    found: value.unwrap_or("nothing").to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Launch {
    /// What the enclave of this name is started with. Its sealed state is a file of its own. Where the platform has one
    /// counter, that serves one state, the node's: another would make that an old copy.
    #[must_use]
    pub fn arguments(&self, name: &EnclaveName) -> Arguments {
        if matches!(self.tee, TeeKind::Tpm | TeeKind::TrustZone) && !name.is_node() {
            return self.passing();
        }
        Arguments {
            state: Some(self.directory.join("enclave").join(format!("{name}.state"))),
            ..self.passing()
        }
    }

    /// What an enclave is started with whose keys end with it.
    #[must_use]
    pub fn passing(&self) -> Arguments {
        Arguments {
            image: self.image.clone(),
            run_directory: self.directory.join("run"),
            tee: self.tee,
            simulated: self.simulated.clone(),
            state: None,
            quote_provider: self.quote_provider.clone(),
            transport: self.transport,
            limits: enclave_process::LIMITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_measurement_and_a_missing_one_are_named() {
        let name = EnclaveName::node();
        let expected = Expected {
            registers: BTreeMap::from([("mrenclave".to_owned(), Measurement(vec![0xaa, 0xbb]))]),
        };
        let mut found = EnclaveMeasurements {
            mrenclave: "aabb".to_owned(),
            ..EnclaveMeasurements::default()
        };
        expected.compare(&name, &found).unwrap();
        for (other, told) in [
            ("aabc", "aabc"),
            ("", "nothing"),
            ("AABB", "AABB"),
            ("aabb00", "aabb00"),
        ] {
            found.mrenclave = other.to_owned();
            let error = expected.compare(&name, &found).unwrap_err();
            assert!(
                matches!(&error, ManagerError::Measured { register, found, .. } if register == "mrenclave" && found == told),
                "{error}"
            );
        }
        Expected::default().compare(&name, &found).unwrap();
    }
}
