//! The channel between agent and enclave, as the enclave keeps it: over each transport, renewed, cut, misused.

use std::io::Write as _;
use std::process::Command;

use nautilus_channel::{ChannelError, Fault, MessageType, Payload, PayloadError};
use nautilus_core::{SignedMessage as _, TeeKind};
use nautilus_enclave::{Reply, Request};

use crate::agent::{Machine, NODE, attest, sample};

#[test]
fn it_serves_over_tcp_where_its_evidence_alone_says_who_it_is() {
    let machine = Machine::new();
    let mut agent = machine.start_over_tcp().unwrap();
    let identity = agent.initialize();
    let appraisal = agent.channel().standing().appraisal();
    let bound = appraisal.claims().user_data.as_ref().unwrap();
    assert_eq!(
        (bound.node, bound.tee, bound.boot),
        (NODE, TeeKind::Simulated, identity.boot)
    );
    assert_eq!(bound.tee_key, identity.tee_key);
    assert!(matches!(agent.ask(&attest()).unwrap(), Reply::Evidence(_)));
    let (status, stderr) = agent.end();
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("the sandbox lacks"), "{stderr}");
}

#[test]
fn a_session_follows_another_on_the_same_connection_and_in_the_same_boot() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    let identity = agent.initialize();
    let first = agent.channel().endpoint().channel_id();
    assert!(matches!(agent.ask(&sample(1000)).unwrap(), Reply::Sample(_)));
    assert!(matches!(agent.ask(&Request::Suspend).unwrap(), Reply::Alive(_)));
    // Also while it signs nothing: else nobody could tell it to go on.
    let mut agent = agent.renew();
    assert!(matches!(agent.ask(&Request::Heartbeat).unwrap(), Reply::Alive(_)));
    let mut agent = agent.renew();
    assert_ne!(agent.channel().endpoint().channel_id(), first);
    let Reply::Alive(vitals) = agent.ask(&Request::Resume).unwrap() else {
        panic!("refused")
    };
    assert_eq!((vitals.boot, vitals.samples), (identity.boot, 1));
    assert_eq!(vitals.unsigned, 1, "the open batch outlives a session");
    let Reply::Batch(signed) = agent.ask(&Request::SignBatch).unwrap() else {
        panic!("refused")
    };
    assert!(signed.batch.is_signed_by(&identity.tee_key, &signed.signature));
    let (status, stderr) = agent.end();
    assert!(status.success(), "{stderr}");
}

#[test]
fn an_agent_that_dies_is_named_and_ends_the_enclave() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    agent.initialize();
    agent.send(&attest()).unwrap();
    // In the middle of a request, and of its answer.
    let (status, stderr) = agent.vanish();
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("channel to the agent ended"), "{stderr}");
    assert!(
        stderr.contains("because: connection ended without a termination"),
        "{stderr}"
    );
    // In the handshake.
    let (child, stream) = machine.spawn_unheard();
    drop(stream);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("no channel to the agent"), "{stderr}");
    // Nothing of it stays: the next one opens the state.
    machine.start().unwrap().initialize();
}

#[test]
fn an_agent_that_speaks_no_channel_is_refused() {
    let machine = Machine::new();
    let (child, mut stream) = machine.spawn_unheard();
    // A frame of the protocol that was spoken before there was a channel.
    stream.write_all(&[1, 0, 0, 0, 4]).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("no channel to the agent"), "{stderr}");
    assert!(stderr.contains("because: peer broke TLS"), "{stderr}");
}

/// Bytes under a type of their own.
struct Raw(MessageType, Vec<u8>);

impl Payload for Raw {
    fn message_type(&self) -> MessageType {
        self.0
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(self.1.clone())
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        Ok(Self(message_type, bytes.to_vec()))
    }
}

#[test]
fn what_is_no_request_is_declined_by_name_and_ends_the_enclave() {
    let heartbeat = Request::Heartbeat.encode().unwrap();
    let longer = [heartbeat.as_slice(), &[0]].concat();
    let cases = [
        (
            Raw(MessageType::Attestation, heartbeat),
            "its content is of type heartbeat",
        ),
        (Raw(MessageType::Heartbeat, longer), "remaining input"),
        (Raw(MessageType::ProofResponse, vec![0xff; 40]), "proof_response"),
    ];
    for (raw, says) in cases {
        let machine = Machine::new();
        let mut agent = machine.start().unwrap();
        agent.channel().ask(&raw).unwrap();
        let nautilus_channel::blocking::Next::Message(answer) = agent.channel().wait().unwrap() else {
            panic!("{says}")
        };
        let fault: Fault = nautilus_channel::decode_bcs(&answer.payload).unwrap();
        assert_eq!(
            (answer.message_type, fault.kind.as_str()),
            (MessageType::Error, "request_invalid")
        );
        assert_eq!(agent.receive(), Err(ChannelError::Truncated));
        let (status, stderr) = agent.vanish();
        assert_eq!(status.code(), Some(3), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
        assert!(stderr.contains("that is no request"), "{stderr}");
    }
}

#[test]
fn an_address_off_this_machine_is_refused_before_anything_is_opened() {
    for (address, says) in [
        (
            "tcp://192.0.2.1:9000",
            "192.0.2.1:9000 is not an address of this machine",
        ),
        ("/run/agent.sock", "/run/agent.sock is no address"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_nautilus-enclave"))
            .args(["--connect", address, "--tee", "sev"])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
}
