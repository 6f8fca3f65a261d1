//! `nautilus detect`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nautilus_tee::detect::Detector;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output;

/// Say which TEEs this machine has, how each was judged, and what is missing.
///
/// Nothing is opened or changed: CPU flags, device nodes, sysfs and configfs are looked at. Order is that of
/// preference.
#[derive(Args)]
pub struct Detect {
    /// Look at the machine whose file tree lies here
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl Detect {
    /// Runs the command. A machine without a TEE is a fact, not a failure.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        if !self.root.is_dir() {
            return Err(Failure::missing(anyhow::anyhow!(
                "{} is no directory",
                self.root.display()
            )));
        }
        let detection = Detector::new(&self.root).detect();
        if global.json {
            output::line(serde_json::to_string_pretty(&detection)?)?;
        } else {
            output::write(&detection.render().to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
