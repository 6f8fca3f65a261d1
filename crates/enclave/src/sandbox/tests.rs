use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::*;

/// What a confined process tries, and where its state is.
const ATTEMPT: &str = "NAUTILUS_TEST_ATTEMPT";
const STATE: &str = "NAUTILUS_TEST_STATE";
/// It was let.
const LET: i32 = 42;

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Let,
    /// With this error number.
    Refused(i32),
    /// By the signal of a call that is not allowed.
    Killed,
}

/// Not a test of its own: what runs in the process that is confined.
#[test]
fn confined() {
    let Ok(attempt) = env::var(ATTEMPT) else { return };
    let state = PathBuf::from(env::var_os(STATE).unwrap());
    let (tee, provider) = match attempt.as_str() {
        "ioctl of a device's enclave" => (TeeKind::Nitro, None),
        "loopback, wanted" => (TeeKind::Tpm, Some("tcp:127.0.0.1:1")),
        "loopback, where a path is wanted" => (TeeKind::Tpm, Some("unix:/nowhere")),
        _ => (TeeKind::Simulated, None),
    };
    let sandbox = Sandbox {
        needs: Needs::of(tee, provider, Some(&state)),
        missing: Vec::new(),
        memory: Memory::Locked,
    };
    let directory = File::open(state.parent().unwrap()).unwrap();
    let elsewhere = state.parent().unwrap().parent().unwrap().join("elsewhere");
    assert_eq!(sandbox.confine().unwrap(), Vec::<String>::new());
    let result = match attempt.as_str() {
        "write the state" => fs::write(&state, "state"),
        "replace the state" => fs::write(state.with_extension("new"), "state")
            .and_then(|()| fs::rename(state.with_extension("new"), &state)),
        "read a file" => fs::read("/etc/passwd").map(drop),
        "list the root" => fs::read_dir("/").map(drop),
        "write elsewhere" => fs::write(elsewhere, "data"),
        "start a thread" => std::thread::spawn(|| ())
            .join()
            .map_err(|_| io::Error::other("it did not run")),
        "loopback, wanted" | "loopback, where a path is wanted" => {
            std::net::TcpStream::connect("127.0.0.1:1").map(drop)
        }
        "open a socket" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "signal another" => {
            rustix::process::test_kill_process(rustix::process::Pid::INIT).map_err(io::Error::from)
        }
        "ioctl" | "ioctl of a device's enclave" => rustix::io::ioctl_fionread(&directory)
            .map(drop)
            .map_err(io::Error::from),
        "be dumped" => rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .map_err(io::Error::from),
        other => panic!("{other} is no attempt"),
    };
    std::process::exit(match result {
        Ok(()) => LET,
        Err(error) => error.raw_os_error().unwrap(),
    });
}

fn end_of(attempt: &str) -> End {
    let directory = tempfile::tempdir().unwrap();
    let enclave = directory.path().join("enclave");
    fs::create_dir(&enclave).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::confined", "--nocapture"])
        .env(ATTEMPT, attempt)
        .env(STATE, enclave.join("state"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&status.stderr).into_owned();
    match (status.status.code(), status.status.signal()) {
        (Some(LET), _) => End::Let,
        (Some(101), _) => panic!("{attempt}: {stderr}"),
        (Some(number), _) => End::Refused(number),
        (None, Some(libc::SIGSYS)) => End::Killed,
        other => panic!("{attempt}: {other:?}: {stderr}"),
    }
}

#[test]
fn what_an_enclave_does_is_let() {
    for attempt in ["write the state", "replace the state", "start a thread"] {
        assert_eq!(end_of(attempt), End::Let, "{attempt}");
    }
    // These calls come through; a directory just does not know the one, and nobody listens to the other.
    assert_eq!(end_of("loopback, wanted"), End::Refused(libc::ECONNREFUSED));
    assert_eq!(end_of("ioctl of a device's enclave"), End::Refused(libc::ENOTTY));
}

#[test]
fn files_that_are_not_listed_are_out_of_reach() {
    for attempt in ["read a file", "list the root", "write elsewhere"] {
        assert_eq!(end_of(attempt), End::Refused(libc::EACCES), "{attempt}");
    }
}

#[test]
fn a_call_that_is_not_listed_ends_the_process() {
    for attempt in [
        "open a socket",
        "loopback, where a path is wanted",
        "start a program",
        "signal another",
        "ioctl",
        "be dumped",
    ] {
        assert_eq!(end_of(attempt), End::Killed, "{attempt}");
    }
}

#[test]
fn what_a_tee_needs_is_no_more_than_its_own() {
    let state = Path::new("/var/lib/nautilus/enclave/state");
    let directory = (PathBuf::from("/var/lib/nautilus/enclave"), Access::State);
    let simulated = Needs::of(TeeKind::Simulated, None, Some(state));
    assert_eq!(simulated.paths, std::slice::from_ref(&directory));
    assert_eq!(simulated.connects, Connects::No);
    for tee in TeeKind::ALL {
        let needs = Needs::of(tee, None, Some(state));
        assert_eq!(needs.paths.last(), Some(&directory), "{tee}");
        assert_eq!(needs.has_devices(), tee != TeeKind::Simulated, "{tee}");
        let without_state = Needs::of(tee, None, None);
        assert!(!without_state.paths.contains(&directory), "{tee}");
    }
    for (tee, provider, connects, devices) in [
        (TeeKind::Simulated, None, Connects::No, false),
        (TeeKind::Sgx, None, Connects::No, true),
        (TeeKind::Sgx, Some("gramine"), Connects::No, true),
        (TeeKind::Sgx, Some("aesm"), Connects::ToPath, true),
        (
            TeeKind::Sgx,
            Some("aesm:127.0.0.1:9000"),
            Connects::ToLoopback,
            true,
        ),
        (TeeKind::Tdx, None, Connects::ToHost, true),
        (TeeKind::Sev, None, Connects::No, true),
        (TeeKind::Tpm, None, Connects::No, true),
        (TeeKind::Tpm, Some("device:/dev/tpmrm1"), Connects::No, true),
        (TeeKind::Tpm, Some("unix:/run/tpm"), Connects::ToPath, false),
        (
            TeeKind::Tpm,
            Some("tcp:127.0.0.1:2321"),
            Connects::ToLoopback,
            false,
        ),
    ] {
        let needs = Needs::of(tee, provider, Some(state));
        assert_eq!(
            (needs.connects, needs.has_devices()),
            (connects, devices),
            "{tee} {provider:?}"
        );
    }
    let second = Needs::of(TeeKind::Tpm, Some("device:/dev/tpmrm1"), None);
    assert_eq!(second.paths[0], (PathBuf::from("/dev/tpmrm1"), Access::Device));
    let here = Needs::of(TeeKind::Simulated, None, Some(Path::new("state")));
    assert_eq!(here.paths, [(PathBuf::from("."), Access::State)]);
}
