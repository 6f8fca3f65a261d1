use nautilus_core::VerifyError;
use nautilus_enclave::Vitals;

use super::*;
use crate::fake_enclave::{Judge, Kind, NODE, arguments, left_no_socket, notes};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn start(
    arguments: &Arguments,
    appraiser: Arc<Judge>,
) -> (Result<EnclaveProcess, EnclaveError>, Vec<String>) {
    let (notes, taken) = notes();
    let started = EnclaveProcess::start(arguments, NODE, appraiser, notes).await;
    let taken = taken.lock().unwrap().clone();
    (started, taken)
}

#[tokio::test]
async fn a_child_whose_evidence_cannot_be_verified_here_serves_and_is_said_to_be_one() {
    let directory = directory();
    let judge = Judge::without_collateral();
    let arguments = arguments(&directory, Kind::Serves, Transport::Unix);
    let (started, notes) = start(&arguments, Arc::clone(&judge)).await;
    let mut enclave = started.unwrap();
    assert!(
        matches!(notes.as_slice(), [note] if note.contains("cannot be verified on this machine")
            && note.contains("endorsements are missing")),
        "{notes:?}"
    );
    let initialize = Request::Initialize { node: NODE };
    let Reply::Identity(identity) = enclave.request(&initialize).await.unwrap() else {
        panic!("no identity")
    };
    // What it refuses comes as it is, and the channel stays.
    let refused = enclave.request(&initialize).await.unwrap_err();
    assert!(
        matches!(refused, EnclaveError::Refused(EnclaveFault::AlreadyInitialized)),
        "{refused}"
    );
    enclave.renew().await.unwrap();
    let Reply::Alive(Vitals { boot, .. }) = enclave.request(&Request::Heartbeat).await.unwrap() else {
        panic!("not alive")
    };
    assert_eq!(boot, identity.boot);
    assert_eq!(judge.judged.load(std::sync::atomic::Ordering::Relaxed), 2);
    enclave.stop().await;
    assert!(left_no_socket(directory.path()));
}

#[tokio::test]
async fn a_child_whose_evidence_is_wrong_is_refused_though_the_kernel_knows_it() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::Serves, Transport::Unix);
    let (started, _) = start(&arguments, Judge::refusing()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(
            &error,
            EnclaveError::Handshake(ChannelError::Evidence(VerifyError::SignatureInvalid { .. }))
        ),
        "{error:?}"
    );
    assert!(!error.may_pass());
}

#[tokio::test]
async fn over_tcp_evidence_alone_counts() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::Serves, Transport::Loopback { port: 0 });
    let (started, notes) = start(&arguments, Judge::without_collateral()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(
            &error,
            EnclaveError::Handshake(ChannelError::Evidence(VerifyError::EndorsementsMissing { .. }))
        ),
        "{error:?}"
    );
    assert!(notes.iter().all(|note| !note.contains("has to do")), "{notes:?}");
}

#[tokio::test]
async fn an_impostor_that_connects_over_tcp_presents_nothing_and_is_refused() {
    let directory = directory();
    // Nothing that connects is started; somebody else finds the port.
    let script = directory.path().join("idle");
    let port = directory.path().join("port");
    let text = format!(
        "#!/bin/sh\necho \"$2\" > '{0}.new' && mv '{0}.new' '{0}' && exec sleep 60\n",
        port.display()
    );
    let arguments = Arguments {
        image: script.clone(),
        ..arguments(&directory, Kind::Serves, Transport::Loopback { port: 0 })
    };
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let impostor = async {
        let address = loop {
            match std::fs::read_to_string(&port) {
                Ok(address) => break address.trim().trim_start_matches("tcp://").to_owned(),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"I am the enclave, believe me\n")
            .await
            .unwrap();
        stream
    };
    let ((started, _), _stream) = tokio::join!(start(&arguments, Judge::without_collateral()), impostor);
    let error = started.err().unwrap();
    assert!(
        matches!(&error, EnclaveError::Handshake(ChannelError::Tls(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_tee_that_makes_no_evidence_is_named() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::MakesNoEvidence, Transport::Unix);
    let (started, _) = start(&arguments, Judge::without_collateral()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(&error, EnclaveError::Refused(EnclaveFault::Attest(why)) if why.starts_with("/dev/echo did not answer")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_enclave_that_dies_in_the_handshake_is_named_and_another_may_do_better() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::Dies, Transport::Unix);
    let (started, _) = start(&arguments, Judge::without_collateral()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(&error, EnclaveError::Handshake(ChannelError::Truncated)),
        "{error:?}"
    );
    assert!(error.may_pass());
}

#[tokio::test]
async fn an_enclave_that_fails_in_the_handshake_is_quoted_and_another_would_fail_too() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::Fails, Transport::Unix);
    let (started, _) = start(&arguments, Judge::without_collateral()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(&error, EnclaveError::NotConnected(why)
            if why.starts_with("it ended with exit status: 9: ")
                && why.ends_with("cannot open the sealed state")),
        "{error:?}"
    );
    assert!(!error.may_pass());
}

#[tokio::test]
async fn an_enclave_that_hangs_in_the_handshake_is_named_and_ended() {
    let directory = directory();
    let mut arguments = arguments(&directory, Kind::Hangs, Transport::Unix);
    arguments.limits.hello = Duration::from_millis(200);
    let (started, _) = start(&arguments, Judge::without_collateral()).await;
    let error = started.err().unwrap();
    assert!(
        matches!(
            &error,
            EnclaveError::Handshake(ChannelError::HandshakeSlow {
                due: "TLS handshake",
                ..
            })
        ),
        "{error:?}"
    );
    assert!(error.may_pass());
}

#[tokio::test]
async fn an_enclave_that_is_killed_is_named_in_the_middle_of_a_request() {
    let directory = directory();
    let arguments = arguments(&directory, Kind::Serves, Transport::Unix);
    let mut enclave = start(&arguments, Judge::without_collateral()).await.0.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(enclave.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Until the signal has reached every thread, one of them can still answer.
    let stopped = rustix::process::WaitId::Pid(pid);
    rustix::process::waitid(stopped, rustix::process::WaitIdOptions::STOPPED).unwrap();
    let kill = async {
        tokio::task::yield_now().await;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (asked, ()) = tokio::join!(enclave.request(&Request::Heartbeat), kill);
    let error = asked.unwrap_err();
    assert!(
        matches!(&error, EnclaveError::Channel(ChannelError::Truncated)),
        "{error:?}"
    );
    assert!(error.may_pass());
}
