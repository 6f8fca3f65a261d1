//! TLS of a peer that would have it weaker, or otherwise.

use std::sync::Arc;

use nautilus_channel::{ChannelError, Demand, KernelPeer, Limits, MessageType, Presentation};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection, Error, HandshakeKind};

use crate::fixture::{Side, Tee, agent, verifier};
use crate::raw::{Raw, attested};
use crate::setup::{Setup, certificate};
use nautilus_core::End;

/// How a verifier takes a peer with this TLS, after its hello.
fn at_verifier(setup: &Setup) -> (Option<ChannelError>, Raw) {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::initiator(setup), Side::responder(verifier(), &tee));
    let mut error = raw.carry(&mut side);
    if error.is_none() {
        raw.say_hello();
        error = raw.carry(&mut side);
    }
    assert!(side.events.is_empty());
    (error, raw)
}

/// How an agent takes a peer with this TLS.
fn at_agent(setup: &Setup) -> (Option<ChannelError>, Raw) {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::responder(setup), Side::initiator(agent(), &tee));
    let error = raw.carry(&mut side);
    (error, raw)
}

#[test]
fn a_client_without_the_hybrid_group_is_told_so_after_its_hello() {
    let setup = Setup {
        groups: vec![kx_group::X25519],
        ..Setup::right()
    };
    let (error, mut raw) = at_verifier(&setup);
    let group = "X25519".to_owned();
    assert_eq!(error, Some(ChannelError::GroupDowngraded { group }));
    assert_eq!(raw.heard_fault().kind, "group_downgraded");
}

#[test]
fn a_client_with_neither_group_gets_no_tls() {
    let setup = Setup {
        groups: vec![kx_group::SECP256R1],
        ..Setup::right()
    };
    let (error, raw) = at_verifier(&setup);
    let group = "none in common".to_owned();
    assert_eq!(error, Some(ChannelError::GroupDowngraded { group }));
    assert_eq!(
        raw.error,
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure))
    );
}

#[test]
fn a_server_without_the_hybrid_group_gets_no_tls() {
    let setup = Setup {
        groups: vec![kx_group::X25519],
        ..Setup::right()
    };
    let (error, _) = at_agent(&setup);
    assert_eq!(error, Some(ChannelError::Alert("HandshakeFailure".to_owned())));
}

/// A message of TLS's handshake, in a record.
fn handshake_record(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let [record_high, record_low] = (length + 4).to_be_bytes();
    let header = [0x16, 3, 3, record_high, record_low, message_type, 0, high, low];
    [header.as_slice(), body].concat()
}

#[test]
fn a_client_of_tls_1_2_is_refused() {
    let tee = Tee::new();
    let mut side = Side::responder(verifier(), &tee);
    // No session, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, no compression, signatures by Ed25519, X25519.
    let hello = [
        b"\x03\x03".as_slice(),
        &[7; 32],
        b"\x00\x00\x02\xc0\x2c\x01\x00",
        b"\x00\x10\x00\x0d\x00\x04\x00\x02\x08\x07\x00\x0a\x00\x04\x00\x02\x00\x1d",
    ]
    .concat();
    assert_eq!(
        side.take(&handshake_record(1, &hello)),
        Err(ChannelError::VersionDowngraded)
    );
}

#[test]
fn a_server_of_tls_1_2_is_refused() {
    let tee = Tee::new();
    let mut side = Side::initiator(agent(), &tee);
    side.output();
    // No session, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, no compression, no extensions.
    let hello = [b"\x03\x03".as_slice(), &[7; 32], b"\x00\xc0\x2c\x00\x00\x00"].concat();
    assert_eq!(
        side.take(&handshake_record(2, &hello)),
        Err(ChannelError::VersionDowngraded)
    );
}

#[test]
fn a_client_that_names_no_protocol_is_refused() {
    let setup = Setup {
        alpn: Vec::new(),
        ..Setup::right()
    };
    let (error, mut raw) = at_verifier(&setup);
    assert_eq!(error, Some(ChannelError::ProtocolNotAgreed));
    assert_eq!(raw.heard_fault().kind, "protocol_not_agreed");
}

#[test]
fn a_client_of_another_protocol_is_refused() {
    let setup = Setup {
        alpn: vec![b"h2".to_vec()],
        ..Setup::right()
    };
    let (error, raw) = at_verifier(&setup);
    assert_eq!(error, Some(ChannelError::ProtocolNotAgreed));
    assert_eq!(
        raw.error,
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol))
    );
}

#[test]
fn a_server_that_names_no_protocol_is_refused() {
    let setup = Setup {
        alpn: Vec::new(),
        ..Setup::right()
    };
    let (error, mut raw) = at_agent(&setup);
    assert_eq!(error, Some(ChannelError::ProtocolNotAgreed));
    assert_eq!(raw.heard_fault().kind, "protocol_not_agreed");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let setup = Setup {
        chain: None,
        ..Setup::right()
    };
    assert_eq!(at_verifier(&setup).0, Some(ChannelError::CertificateInvalid));
}

#[test]
fn a_certificate_that_is_none_or_one_too_many_is_refused() {
    let chains = [
        vec![b"no certificate".to_vec().into()],
        vec![certificate(1), certificate(2)],
    ];
    for chain in chains {
        let setup = Setup {
            chain: Some(chain),
            ..Setup::right()
        };
        assert_eq!(at_verifier(&setup).0, Some(ChannelError::CertificateInvalid));
        assert_eq!(at_agent(&setup).0, Some(ChannelError::CertificateInvalid));
    }
}

#[test]
fn a_peer_that_does_not_hold_the_key_in_its_certificate_is_refused() {
    let setup = Setup {
        proves: 2,
        ..Setup::right()
    };
    assert_eq!(at_verifier(&setup).0, Some(ChannelError::KeyProofInvalid));
    assert_eq!(at_agent(&setup).0, Some(ChannelError::KeyProofInvalid));
}

#[test]
fn nothing_is_resumed_and_nothing_is_early() {
    let tee = Tee::new();
    let setup = Setup::right();
    // It keeps what tickets it gets, and would send early data.
    let config = Arc::new(setup.client_config());
    for _ in 0..2 {
        let name = ServerName::try_from("anybody.invalid").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&config), name).unwrap();
        assert!(client.early_data().is_none());
        let mut raw = Raw::new(client.into(), End::Initiator, &setup);
        let mut side = Side::responder(verifier(), &tee);
        assert_eq!(raw.carry(&mut side), None);
        raw.say_hello();
        assert_eq!(raw.carry(&mut side), None);
        assert_eq!(raw.tls.handshake_kind(), Some(HandshakeKind::Full));
        let rustls::Connection::Client(client) = &raw.tls else {
            panic!("a server");
        };
        assert_eq!(client.tls13_tickets_received(), 0);
        assert!(!client.is_early_data_accepted());
    }
    // Nor later in the session.
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    raw.frame(MessageType::PerformanceData, b"data");
    assert_eq!(raw.carry(&mut side), None);
    side.say(b"data");
    assert_eq!(raw.carry(&mut side), None);
    let rustls::Connection::Client(client) = &raw.tls else {
        panic!("a server");
    };
    assert_eq!(client.tls13_tickets_received(), 0);
}

#[test]
fn a_channel_without_any_evidence_needs_the_dangerous_configuration() {
    let tee = Tee::new();
    let mut config = agent();
    config.presents = Presentation::Nothing;
    config.demands = Demand::Nothing;
    let mut peers = verifier();
    peers.presents = Presentation::Nothing;
    peers.demands = Demand::Nothing;
    let refused = nautilus_channel::Endpoint::initiator(config.clone(), crate::fixture::START).err();
    assert!(
        matches!(refused, Some(ChannelError::PolicyMismatch { .. })),
        "{refused:?}"
    );
    let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
    let kernel = KernelPeer::of(&here).unwrap();
    let (mut a, mut b) = (
        Side::initiator(config.dangerous_without_evidence(kernel), &tee),
        Side::responder(peers.dangerous_without_evidence(kernel), &tee),
    );
    assert_eq!(crate::fixture::run(&mut a, &mut b), (None, None));
    assert!(matches!(
        a.end.peer(),
        Some(nautilus_channel::Peer::Unidentified(_))
    ));
}
