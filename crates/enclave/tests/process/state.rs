//! The enclave process and its state: across restarts, on another platform, damaged.

use std::fs;

use crate::agent::{Agent, Failed, Machine, NODE, attest, close, sample};
use nautilus_channel::ChannelError;
use nautilus_core::{Digest32, NodeId, UnixMillis};
use nautilus_enclave::{EnclaveFault, Reply, Request, Rollback, StorageKey, StorageKeyOrigin, hpke};

#[test]
fn keys_and_secrets_survive_a_restart_which_is_a_new_boot() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    let first = agent.initialize();
    assert_eq!(
        (first.state.generation, first.state.rollback),
        (1, Rollback::Undetected)
    );
    assert!(!first.state.sealed_by_tee);
    assert!(first.state.protection.unwrap().contains("pck.key"));
    assert!(matches!(agent.ask(&attest()).unwrap(), Reply::Evidence(_)));
    assert!(matches!(agent.ask(&sample(1000)).unwrap(), Reply::Sample(_)));
    assert!(matches!(agent.ask(&Request::SignBatch).unwrap(), Reply::Batch(_)));
    assert!(matches!(agent.ask(&close(1000, 2000)).unwrap(), Reply::Window(_)));
    let stored = storage_key(&mut agent);
    let provision = Request::Provision {
        name: "disk".to_owned(),
        sealed: hpke::seal(&first.channel_key, &hpke::provision_info(NODE, "disk"), b"secret").unwrap(),
    };
    assert!(matches!(
        agent.ask(&provision).unwrap(),
        Reply::Provisioned { .. }
    ));
    let (status, stderr) = agent.end();
    assert!(status.success());
    assert!(stderr.contains("WARNING: no TEE seals the state"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");

    let mut agent = machine.start().unwrap();
    let second = agent.initialize();
    assert_eq!(second.tee_key, first.tee_key);
    assert_eq!(second.channel_key, first.channel_key);
    assert_eq!(second.p256.key, first.p256.key);
    assert_ne!(second.boot, first.boot);
    assert_eq!(second.state.generation, 2);
    assert_eq!(second.state.secrets, ["disk"]);
    assert_eq!(second.state.keys_made_at, Some(UnixMillis(2000)));
    // Nothing of the boot before can be signed again: another boot, and everything from its start.
    assert_eq!(
        agent.ask(&close(2000, 3000)).unwrap(),
        Reply::Refused(EnclaveFault::NotAttested)
    );
    let Reply::Sample(sample) = agent.ask(&sample(1000)).unwrap() else {
        panic!("refused")
    };
    assert_eq!((sample.boot, sample.sequence), (second.boot, 0));
    assert_eq!(sample.previous, Digest32([0; 32]));
    assert_eq!(storage_key(&mut agent), stored, "what was stored is read again");
}

/// The key of the first epoch, which the state keeps.
fn storage_key(agent: &mut Agent) -> StorageKey {
    match agent.ask(&Request::StorageKey { epoch: 0 }).unwrap() {
        Reply::StorageKey { key, origin } => {
            assert_eq!(origin, StorageKeyOrigin::Sealed);
            key
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rotation_survives_a_restart() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    let first = agent.initialize();
    let Reply::Rotated(rotated) = agent.ask(&Request::Rotate { now: UnixMillis(5) }).unwrap() else {
        panic!("refused")
    };
    agent.end();
    let second = machine.start().unwrap().initialize();
    assert_eq!(second.tee_key, rotated.identity.tee_key);
    assert_eq!(second.state.retired, rotated.identity.state.retired);
    assert_eq!(second.state.retired[0].tee_key, first.tee_key);
}

#[test]
fn a_state_serves_one_node() {
    let machine = Machine::new();
    let mut agent = machine.start().unwrap();
    agent.initialize();
    agent.end();
    // Its session is about the node that its state is bound to, and so is what is asked in it.
    let mut agent = machine.start_for(None).unwrap();
    assert_eq!(agent.channel().endpoint().node(), Some(NODE));
    let other = NodeId([8; 32]);
    assert_eq!(
        agent.ask(&Request::Initialize { node: other }).unwrap(),
        Reply::Refused(EnclaveFault::AnotherSession(NODE))
    );
    agent.initialize();
    agent.end();

    let refused = machine.start_for(Some(other)).err().unwrap();
    let why = format!("it is about node {NODE}, and this end about {other}");
    assert_eq!(refused.refused, Some(ChannelError::HelloInvalid(why.clone())));
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains(&why), "{}", refused.stderr);
}

#[test]
fn a_session_before_the_first_initialize_binds_no_node() {
    let machine = Machine::new();
    machine.start_for(Some(NodeId([8; 32]))).unwrap().end();
    machine.start().unwrap().initialize();
}

/// It ends with the code for failures, names what is wrong, and leaves the file as it was.
fn assert_refused(machine: &Machine, why: &str) {
    let before = fs::read(machine.state()).unwrap();
    let Err(Failed { status, stderr, .. }) = machine.start() else {
        panic!("it started in spite of: {why}")
    };
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(why), "{stderr}");
    assert_eq!(fs::read(machine.state()).unwrap(), before, "{why}");
}

#[test]
fn a_copy_does_not_open_on_another_platform() {
    let (machine, other) = (Machine::new(), Machine::new());
    machine.start().unwrap().initialize();
    fs::copy(machine.state(), other.state()).unwrap();
    assert_refused(&other, "does not open here");
    assert!(machine.start().is_ok());
}

#[test]
fn a_damaged_state_is_refused_and_never_replaced() {
    let machine = Machine::new();
    machine.start().unwrap().initialize();
    let whole = fs::read(machine.state()).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(machine.state(), &damaged).unwrap();
        assert_refused(&machine, "does not open here");
    }
    fs::write(machine.state(), b"").unwrap();
    assert_refused(&machine, "does not open here");
    fs::write(machine.state(), &whole).unwrap();
    assert!(machine.start().is_ok());
}

#[test]
fn two_enclaves_do_not_run_on_one_state() {
    let machine = Machine::new();
    let first = machine.start().unwrap();
    assert_refused(&machine, "is in use by another enclave");
    first.end();
    assert!(machine.start().is_ok());
}

#[test]
fn a_state_whose_directory_is_missing_is_named() {
    let machine = Machine::new();
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_nautilus-enclave"));
    let nowhere = machine.state().join("nowhere/state");
    let failed = machine.start_with(command, &nowhere).err().unwrap();
    assert!(failed.stderr.contains("cannot open"), "{}", failed.stderr);
    assert!(failed.stderr.contains("nowhere"), "{}", failed.stderr);
}
