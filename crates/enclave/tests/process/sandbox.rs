//! The sandbox of the running process: what the kernel says of it, and which files and sockets it touches. The lists
//! are those of `docs/enclave.md`.

use std::fs;
use std::process::Command;

use crate::agent::{Agent, Machine, NODE, attest, close, sample};
use nautilus_core::UnixMillis;
use nautilus_enclave::{Reply, Request, hpke};

/// Everything that an agent asks.
fn ask_everything(agent: &mut Agent) {
    let identity = agent.initialize();
    let now = UnixMillis(1_800_000_000_000);
    let secret = hpke::seal(
        &identity.channel_key,
        &hpke::provision_info(NODE, "disk"),
        b"secret",
    );
    let requests = [
        attest(),
        sample(1000),
        Request::SignBatch,
        close(1000, 2000),
        Request::StorageKey { epoch: 1 },
        Request::Certify {
            not_before: now,
            not_after: now.plus(60_000),
        },
        Request::Provision {
            name: "disk".to_owned(),
            sealed: secret.unwrap(),
        },
        Request::Rotate { now },
        Request::Suspend,
        Request::Resume,
        attest(),
    ];
    for request in requests {
        let reply = agent.ask(&request).unwrap();
        assert!(!matches!(reply, Reply::Refused(_)), "{request:?}: {reply:?}");
    }
}

#[test]
fn the_kernel_confirms_the_sandbox() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    ask_everything(&mut agent);
    let process = format!("/proc/{}", agent.child.id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("Seccomp_filters:"), "2");
    assert_ne!(field("VmLck:"), "0");
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    let (status, stderr) = agent.end();
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("the sandbox lacks"), "{stderr}");
}

/// What strace saw of files and sockets.
struct Trace {
    /// Up to the filter of system calls.
    start: Vec<String>,
    /// After it.
    service: Vec<String>,
}

fn trace(machine: &Machine) -> Trace {
    let log = machine.state().with_extension("strace");
    let mut command = Command::new("strace");
    // `-D`: the enclave itself is the child, as it demands.
    command
        .args([
            "-D",
            "-f",
            "-s",
            "4096",
            "-e",
            "trace=%file,%network,seccomp",
            "-o",
        ])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_nautilus-enclave"));
    let mut agent = machine
        .start_with(command, &machine.state())
        .unwrap_or_else(|failed| panic!("{failed:?}"));
    ask_everything(&mut agent);
    let (status, stderr) = agent.end();
    assert!(status.success(), "{stderr}");
    let log = fs::read_to_string(log).unwrap();
    // `pid call(arguments) = result`
    let calls: Vec<String> = log
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1.trim_start().to_owned()))
        // Ends, signals, and second halves of calls whose first half is there.
        .filter(|call| !["+++", "---", "<..."].iter().any(|mark| call.starts_with(mark)))
        .collect();
    let filter = calls
        .iter()
        .rposition(|call| call.starts_with("seccomp("))
        .unwrap();
    let (start, service) = calls.split_at(filter + 1);
    Trace {
        start: start.to_vec(),
        service: service.to_vec(),
    }
}

/// The path that a call names, if it names one.
fn path(call: &str) -> Option<&str> {
    Some(call.split_once('"')?.1.split_once('"')?.0)
}

#[test]
fn no_file_and_no_socket_outside_the_list() {
    let machine = Machine::new();
    let state = machine.state().display().to_string();
    let directory = machine.state().parent().unwrap().display().to_string();
    let platform = machine.simulated().join("platform").display().to_string();
    let root = machine.simulated().parent().unwrap().display().to_string();
    let Trace { start, service } = trace(&machine);

    let of_state = [state.clone(), format!("{state}.new")];
    for call in &service {
        let listed = match call.split('(').next().unwrap() {
            "openat" | "unlink" | "unlinkat" | "rename" | "renameat" | "renameat2" | "statx"
            | "newfstatat" => {
                path(call).is_some_and(|path| path.is_empty() || of_state.iter().any(|one| one == path))
            }
            "recvfrom" | "sendto" => true,
            _ => false,
        };
        assert!(listed, "while it serves: {call}");
    }
    assert!(
        service.iter().any(|call| call.starts_with("rename")),
        "the state was written"
    );

    for call in &start {
        let listed = match call.split('(').next().unwrap() {
            "execve" => path(call) == Some(env!("CARGO_BIN_EXE_nautilus-enclave")),
            "socket" => call.starts_with("socket(AF_UNIX,"),
            "connect" => path(call).is_some_and(|path| path.starts_with(&root) && path.ends_with("/s")),
            "getsockopt" => call.contains("SO_PEERCRED"),
            "setsockopt" => call.contains("SO_RCVTIMEO"),
            "seccomp" => true,
            _ => path(call).is_some_and(|path| {
                let own = [&state, &directory, &platform].contains(&&path.to_owned())
                    || path.starts_with(&format!("{state}."))
                    || path.starts_with(&format!("{platform}/"));
                let library = path.starts_with("/etc/ld.so.")
                    || path.starts_with("/lib") && path.contains(".so")
                    || path.starts_with("/usr/lib") && path.contains(".so");
                let kernel = [
                    "",
                    "/proc/self/exe",
                    "/proc/self/maps",
                    "/proc/self/setgroups",
                    "/proc/self/uid_map",
                    "/proc/self/gid_map",
                    "/dev/sysgenid",
                ];
                own || library || kernel.contains(&path)
            }),
        };
        assert!(listed, "at its start: {call}");
    }
}
