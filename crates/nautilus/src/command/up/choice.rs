//! Which TEE is used, and why.

use nautilus_agent::config::Config;
use nautilus_core::TeeKind;
use nautilus_tee::detect::{Detection, Detector, Status};

use crate::failure::Failure;

const SIMULATED: &str = "which proves nothing about this machine";

/// The TEE to use, and why.
pub struct Choice {
    /// The TEE.
    pub chosen: TeeKind,
    /// Why that one, in words for the user.
    pub reason: String,
    /// What the machine has.
    pub detection: Detection,
}

impl Choice {
    /// Looks at the machine and the configuration. A TEE that the configuration names must be one that can be used
    /// here, be it the first of them or not.
    pub fn make(config: &Config) -> Result<Self, Failure> {
        let detection = Detector::new("/").detect();
        let configured = config.tee_type();
        let is_usable = |kind: &TeeKind| {
            detection
                .report(*kind)
                .is_some_and(|report| report.status() == Status::Usable)
        };
        let detected = configured.filter(is_usable).or(detection.preferred());
        let chosen = config.check_tee(detected, true).map_err(Failure::usage)?;
        let reason = match (configured, chosen) {
            (Some(_), TeeKind::Simulated) => {
                format!("tee_type asks for it: using the simulated TEE, {SIMULATED}")
            }
            (Some(kind), _) => format!("tee_type asks for `{kind}`, and this machine has it"),
            (None, TeeKind::Simulated) => format!(
                "no TEE can be used on this machine (see `nautilus detect`): using the simulated one, {SIMULATED}"
            ),
            (None, kind) => format!("this machine has `{kind}`"),
        };
        Ok(Self {
            chosen,
            reason,
            detection,
        })
    }

    /// The same for a node that nobody gave a policy: a TEE that was only detected is not used then, for nobody said
    /// what is wanted of it. One that the configuration names is.
    pub fn without_policy(self, config: &Config) -> Self {
        if config.tee_type().is_some() || self.chosen == TeeKind::Simulated {
            return self;
        }
        let found = self.chosen;
        Self {
            chosen: TeeKind::Simulated,
            reason: format!(
                "this machine has `{found}`, and no policy says what is wanted of it: using the simulated one, \
                 {SIMULATED}; to use `{found}`, draft a policy (`nautilus policy new --tee {found}`) and give it with \
                 --policy"
            ),
            ..self
        }
    }

    /// The TEE that a flag names, whatever the machine and the configuration say of it.
    pub fn asked_for(chosen: TeeKind) -> Self {
        let reason = if chosen == TeeKind::Simulated {
            format!("--tee asks for it: using the simulated TEE, {SIMULATED}")
        } else {
            format!("--tee asks for `{chosen}`")
        };
        Self {
            chosen,
            reason,
            detection: Detector::new("/").detect(),
        }
    }
}
