//! An enclave that is this test program itself, in a process of its own: the real protocol, on a TEE that signs nothing.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nautilus_channel::{Appraise, Appraiser, Judgement};
use nautilus_core::{
    AttestError, Attester, Descriptor, NodeId, RawEvidence, ReportData, TeeKind, UnixMillis, VerifyError,
};
use nautilus_enclave::{Address, Connection, Enclave};
use tempfile::TempDir;

use crate::enclave_process::{Arguments, LIMITS, Notes, Transport};

pub(crate) const NODE: NodeId = NodeId([7; 32]);
const ADDRESS: &str = "NAUTILUS_TEST_CONNECT";
const KIND: &str = "NAUTILUS_TEST_ENCLAVE";

/// What it does once it has connected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Serves.
    Serves,
    /// Serves, and its TEE makes no evidence.
    MakesNoEvidence,
    /// Is killed.
    Dies,
    /// Finds that it cannot go on, and says so.
    Fails,
    /// Says nothing, until the agent gives up.
    Hangs,
}

impl Kind {
    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// What starts such an enclave, from `directory`.
pub(crate) fn arguments(directory: &TempDir, kind: Kind, transport: Transport) -> Arguments {
    let image = directory.path().join("enclave");
    let program = std::env::current_exe().unwrap();
    // `exec`: the process that was started is the one that connects.
    let script = format!(
        "#!/bin/sh\n{ADDRESS}=\"$2\" {KIND}={} exec '{}' --exact fake_enclave::serves --nocapture\n",
        kind.name(),
        program.display()
    );
    std::fs::write(&image, script).unwrap();
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o700)).unwrap();
    Arguments {
        image,
        run_directory: directory.path().join("run"),
        tee: TeeKind::Simulated,
        simulated: None,
        state: None,
        quote_provider: None,
        transport,
        limits: LIMITS,
    }
}

/// Not a test of its own: what runs in the enclave's process.
#[test]
fn serves() {
    let Some(address) = std::env::var_os(ADDRESS) else {
        return;
    };
    let kind = std::env::var(KIND).unwrap();
    let address = Address::parse(&address).unwrap();
    let is = |other: Kind| kind == other.name();
    if is(Kind::Dies) || is(Kind::Fails) || is(Kind::Hangs) {
        let Address::Unix(path) = address else {
            panic!("{address:?}")
        };
        let mut stream = UnixStream::connect(path).unwrap();
        if is(Kind::Hangs) {
            let mut nothing = Vec::new();
            let _closed = stream.read_to_end(&mut nothing);
        }
        if is(Kind::Dies) {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
        eprintln!("nautilus-enclave: cannot open the sealed state");
        std::process::exit(9);
    }
    let connection = Connection::to_agent(&address).unwrap();
    let enclave = Enclave::boot(Box::new(Echo(is(Kind::MakesNoEvidence)))).unwrap();
    let code = match connection.serve(enclave) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("nautilus-enclave: {error}");
            3
        }
    };
    std::process::exit(code);
}

/// Gives the report data as evidence, or none.
struct Echo(bool);

impl Attester for Echo {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Simulated,
            format: "echo",
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        if self.0 {
            return Err(AttestError::NoAnswer {
                interface: "/dev/echo".to_owned(),
                after: std::time::Duration::from_secs(20),
            });
        }
        Ok(RawEvidence {
            bytes: report_data.as_bytes().to_vec(),
            ..RawEvidence::default()
        })
    }
}

/// Judges all evidence alike, and counts it.
pub(crate) struct Judge {
    refuses: AtomicBool,
    pub(crate) judged: AtomicUsize,
}

impl Judge {
    /// This machine lacks what it takes to verify.
    pub(crate) fn without_collateral() -> Arc<Self> {
        Arc::new(Self {
            refuses: AtomicBool::new(false),
            judged: AtomicUsize::new(0),
        })
    }

    /// The evidence is no good.
    pub(crate) fn refusing() -> Arc<Self> {
        let judge = Self::without_collateral();
        judge.refuse_from_now_on();
        judge
    }

    pub(crate) fn refuse_from_now_on(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }
}

impl Appraiser for Judge {
    fn judge(&self, _: Appraise, _: UnixMillis) -> Judgement {
        self.judged.fetch_add(1, Ordering::Relaxed);
        if self.refuses.load(Ordering::Relaxed) {
            let what = "quote".to_owned();
            return Judgement::Invalid(VerifyError::SignatureInvalid { what });
        }
        Judgement::Unverifiable(VerifyError::EndorsementsMissing { wants: Vec::new() })
    }
}

/// Notes, and what they took.
pub(crate) fn notes() -> (Notes, Arc<Mutex<Vec<String>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&taken);
    (Arc::new(move |note| sink.lock().unwrap().push(note)), taken)
}

/// Whether the directory of sockets is there and empty.
pub(crate) fn left_no_socket(directory: &Path) -> bool {
    std::fs::read_dir(directory.join("run")).unwrap().next().is_none()
}
