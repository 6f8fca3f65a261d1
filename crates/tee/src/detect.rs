//! Which TEEs this machine has, how each was judged, what is missing and how to get it.
//!
//! Detection looks; it never asks. It reads a handful of small files under `/proc`, `/sys` and `/dev` and
//! asks whether this user may open the device nodes. It opens no device, sends no ioctl and loads no module, so
//! it is safe to run anywhere, and it is a hint to a person or a start-up default, never evidence: a machine
//! that lies here only fails later, when its evidence is verified.
//!
//! **The simulated TEE is never detected**: whoever wants it has to name it.

mod cpu;
mod keystone;
mod machine;
mod nitro;
mod render;
mod sev;
mod sgx;
mod tdx;
mod tpm;
mod trustzone;
mod tsm;

use std::path::{Path, PathBuf};

use nautilus_core::TeeKind;
use serde::Serialize;

pub use machine::{Host, LiveHost, Node, Permission};

use machine::Machine;

/// Looks at one machine's file tree.
#[derive(Debug)]
pub struct Detector {
    root: PathBuf,
    host: Box<dyn Host>,
}

impl Detector {
    /// A detector of the machine whose file tree is at `root`: `/`, or the place where a host's tree is
    /// mounted in a container. Symbolic links are resolved inside `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_host(root, LiveHost)
    }

    /// As [`Detector::new`], with another answer to what the file tree alone cannot tell: who may open
    /// what, and what is a device. For tests, which cannot make device nodes and often run as root.
    pub fn with_host(root: impl Into<PathBuf>, host: impl Host + 'static) -> Self {
        Self {
            root: root.into(),
            host: Box::new(host),
        }
    }

    /// Judges every TEE. What cannot be read is a finding, never an error.
    pub fn detect(&self) -> Detection {
        let machine = Machine::new(&self.root, self.host.as_ref());
        // Order of preference: that of `TeeKind::ALL`, which is the specification's.
        let tees = vec![
            sgx::probe(&machine),
            tdx::probe(&machine),
            sev::probe(&machine),
            trustzone::probe(&machine),
            keystone::probe(&machine),
            tpm::probe(&machine),
            nitro::probe(&machine),
        ];
        Detection::new(tees)
    }

    /// The tree that is looked at.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// What a machine has. Made by [`Detector::detect`] alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    preferred: Option<TeeKind>,
    tees: Vec<TeeReport>,
}

impl Detection {
    fn new(tees: Vec<TeeReport>) -> Self {
        let preferred = tees
            .iter()
            .find(|tee| tee.status == Status::Usable)
            .map(|tee| tee.kind);
        Self { preferred, tees }
    }

    /// The first usable TEE in the order of preference. Never [`TeeKind::Simulated`].
    pub fn preferred(&self) -> Option<TeeKind> {
        self.preferred
    }

    /// One report per hardware TEE, in the order of preference.
    pub fn tees(&self) -> &[TeeReport] {
        &self.tees
    }

    /// The report on one TEE. `None` for [`TeeKind::Simulated`], which is not detected.
    pub fn report(&self, kind: TeeKind) -> Option<&TeeReport> {
        self.tees.iter().find(|tee| tee.kind == kind)
    }

    /// The whole detection as text for a person. Values read from the machine are bounded and escaped.
    pub fn render(&self) -> String {
        render::render(self)
    }
}

/// How one TEE was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TeeReport {
    kind: TeeKind,
    status: Status,
    checks: Vec<Check>,
    missing: Vec<Missing>,
    notes: Vec<String>,
}

impl TeeReport {
    /// The TEE.
    pub fn kind(&self) -> TeeKind {
        self.kind
    }

    /// The verdict.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Everything that was looked at.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What stands between this machine and a usable TEE. Empty if and only if the TEE is usable.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// What a usable TEE does not promise here, and what detection could not see.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// How far a machine is from using a TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything that evidence needs is there and this user may open it.
    Usable,
    /// Hardware or kernel support was seen, but something is missing or this user has no permission. The
    /// host side of a confidential virtual machine is here too: the TEE is in its guests.
    Present,
    /// No sign of it.
    Absent,
}

impl Status {
    /// The name used in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Present => "present",
            Self::Absent => "absent",
        }
    }
}

/// One look at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What finding it would mean.
    pub what: &'static str,
    /// Where: a path, or a line of `/proc/cpuinfo`.
    pub source: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, in words.
    pub detail: String,
}

impl Check {
    fn is_found(&self) -> bool {
        self.outcome == Outcome::Found
    }

    /// Whether it exists, be it that this user may not open it.
    fn is_seen(&self) -> bool {
        matches!(self.outcome, Outcome::Found | Outcome::Denied)
    }

    /// The same look, judged otherwise for what was read there.
    fn judged(self, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
            ..self
        }
    }
}

/// What came of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is there, and this user may use it.
    Found,
    /// It is not there.
    Absent,
    /// It is there, but this user may not open it.
    Denied,
    /// It is there and makes no sense: a directory in a device's place, an empty or foreign file, a loop
    /// of links.
    Unreadable,
}

impl Outcome {
    /// The name used in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Something a TEE needs that this machine does not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The thing.
    pub what: String,
    /// What a person does to have it.
    pub how_to_get_it: String,
}

impl Missing {
    fn new(what: impl Into<String>, how_to_get_it: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            how_to_get_it: how_to_get_it.into(),
        }
    }

    /// What `check` lacks: `absent` is the remedy when the thing does not exist, `denied` the one when this
    /// user may not open it. `None` when it was found.
    fn from_check(check: &Check, absent: &str, denied: &str) -> Option<Self> {
        let source = &check.source;
        match check.outcome {
            Outcome::Found => None,
            Outcome::Absent => Some(Self::new(source, absent)),
            Outcome::Denied => Some(Self::new(format!("permission to open {source}"), denied)),
            Outcome::Unreadable => Some(Self::new(
                format!("a working {source}"),
                format!("{}: remove what is there, then: {absent}", check.detail),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
