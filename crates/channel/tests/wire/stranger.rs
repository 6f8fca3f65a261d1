//! An initiator that knows TLS and `docs/wire.md`, and no type of the project. It opens a session with the product's
//! responder, and ends it.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::{
    ChannelError, Config, Demand, Endpoint, Event, GROUP, Now, Peer, Presentation, PresentedEvidence, Reason,
    Termination,
};
use nautilus_core::{EndorsementKind, PublicKey, Role, SignedMessage as _, TeeKind, UnixMillis};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::by_hand::*;

const START: Now = Now {
    monotonic: Duration::from_secs(1_000),
    wall: UnixMillis(NOW),
};
const OWN_NONCE: [u8; 32] = [0xa2; 32];
const DAY: u64 = 86_400_000;

/// The product's end: an agent that presents evidence, and wants the stranger's key.
fn responder() -> Endpoint {
    let config = Config::new(
        Role::Agent,
        Role::Verifier,
        None,
        Presentation::Evidence,
        Demand::Key(PublicKey(public(KEY_SEED))),
    );
    Endpoint::responder(config, START).unwrap()
}

#[derive(Debug)]
struct AnyKey;

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 alone is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// TLS as the page says, with the certificate that is put together by hand.
fn client() -> ClientConnection {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    };
    // PKCS #8 of an Ed25519 key (RFC 8410, section 7).
    let key = Bytes::default()
        .raw([
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ])
        .raw(SESSION_SEED)
        .0;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_auth_cert(
            vec![certificate(SESSION_SEED).into()],
            PrivateKeyDer::try_from(key).unwrap(),
        )
        .unwrap();
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![b"nautilus/1".to_vec()];
    let nobody = ServerName::try_from("nobody.invalid").unwrap();
    ClientConnection::new(Arc::new(config), nobody).unwrap()
}

/// Both ends, and what the stranger has read.
struct Conversation {
    stranger: ClientConnection,
    product: Endpoint,
    read: Vec<u8>,
}

impl Conversation {
    /// Carries bytes until nobody has any.
    fn carry(&mut self) -> Result<(), ChannelError> {
        loop {
            let mut bytes = Vec::new();
            while self.stranger.wants_write() {
                self.stranger.write_tls(&mut bytes).unwrap();
            }
            let mut back = Vec::new();
            let received = self.product.receive(&bytes, START);
            while self.product.wants_write() {
                self.product.write_to(&mut back).unwrap();
            }
            let quiet = bytes.is_empty() && back.is_empty();
            let mut rest = back.as_slice();
            while !rest.is_empty() {
                self.stranger.read_tls(&mut rest).unwrap();
                let state = self.stranger.process_new_packets().unwrap();
                let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
                self.stranger.reader().read_exact(&mut plaintext).unwrap();
                self.read.extend(plaintext);
            }
            received?;
            if quiet {
                return Ok(());
            }
        }
    }

    fn say(&mut self, message_type: u8, sequence_num: u64, payload: &[u8]) -> Result<(), ChannelError> {
        let frame = frame(message_type, sequence_num, payload);
        self.stranger.writer().write_all(&frame).unwrap();
        self.carry()
    }

    /// Takes one frame of the product's from what was read. Its header has to be the expected, whole.
    fn hear(&mut self, message_type: u8, sequence_num: u64) -> Vec<u8> {
        let length: [u8; 4] = self.read[..4].try_into().unwrap();
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap() - 44;
        let rest = self.read.split_off(48 + length);
        let frame = std::mem::replace(&mut self.read, rest);
        let expected = header(message_type, 0, sequence_num, CHANNEL, length, length);
        assert_eq!(frame[..48], expected);
        frame[48..].to_vec()
    }
}

/// TLS, and what the stranger says first.
fn greeted() -> (Conversation, Vec<u8>) {
    let mut conversation = Conversation {
        stranger: client(),
        product: responder(),
        read: Vec::new(),
    };
    conversation.carry().unwrap();
    let terms = challenge(public(KEY_SEED), OWN_NONCE, NOW);
    let hello = hello(VERIFIER, Some(NODE), OWN_NONCE, KEY, EVIDENCE, Some(&terms));
    conversation.say(HANDSHAKE, 1, &hello).unwrap();
    (conversation, terms)
}

#[test]
fn who_follows_the_page_opens_a_session_and_ends_it() {
    let (mut conversation, terms) = greeted();
    assert_eq!(
        conversation
            .stranger
            .negotiated_key_exchange_group()
            .map(|group| u16::from(group.name())),
        Some(GROUP)
    );

    // The product's certificate is the page's, but for its key.
    let theirs = conversation.stranger.peer_certificates().unwrap()[0].to_vec();
    let key: [u8; 32] = theirs[125..157].try_into().unwrap();
    assert_eq!(theirs[3..157], to_be_signed(key));
    assert_eq!((theirs.len(), &theirs[..3]), (231, &[0x30, 0x81, 0xe4][..]));

    // Its hello, with the nonce that it chose.
    let theirs = conversation.hear(HANDSHAKE, 1);
    let nonce: [u8; 32] = theirs[5..37].try_into().unwrap();
    assert_eq!(theirs, hello(AGENT, None, nonce, EVIDENCE, KEY, None));
    assert!(conversation.read.is_empty());

    // It is asked for evidence of the session that the stranger derives by itself.
    let context = [OWN_NONCE, nonce].concat();
    let exporter = conversation
        .stranger
        .export_keying_material([0; 32], b"EXPORTER-nautilus-channel-1", Some(&context))
        .unwrap();
    let sha256 = |bytes: Vec<u8>| -> [u8; 32] { Sha256::digest(bytes).into() };
    let (own_key, peer_key) = (sha256(spki(public(SESSION_SEED))), sha256(spki(key)));
    let products = Session {
        role: AGENT,
        peer_role: VERIFIER,
        end: RESPONDER,
        exporter,
        nonces: [OWN_NONCE, nonce],
        own_key: peer_key,
        peer_key: own_key,
    };
    let Some(Event::Present(present)) = conversation.product.next_event() else {
        panic!("no evidence is asked for");
    };
    assert_eq!(present.session.to_bytes(), products.message());
    assert_eq!(
        present.terms.to_bytes(),
        Bytes::default().raw(b"NAUTILUS\x01\x01").raw(terms).0
    );
    let evidence = PresentedEvidence {
        tee: TeeKind::Simulated,
        evidence: b"raw evidence".to_vec(),
        user_data: b"user data".to_vec(),
        event_log: Some(b"log".to_vec()),
        endorsements: vec![
            (EndorsementKind::Certificate, b"certificate".to_vec()),
            (EndorsementKind::Crl, b"list".to_vec()),
        ],
        accompanying: b"registration".to_vec(),
    };
    conversation.product.presented(Ok(evidence), START).unwrap();
    conversation.carry().unwrap();
    assert_eq!(
        conversation.hear(ATTESTATION, 2),
        evidence_credential(b"user data")
    );

    // The stranger accepts, signs its own statement of the session, and is accepted for a day.
    conversation
        .say(HANDSHAKE, 2, &verdict(NOW + 3_600_000, b"outcome"))
        .unwrap();
    let own = Session {
        role: VERIFIER,
        peer_role: AGENT,
        end: INITIATOR,
        own_key,
        peer_key,
        ..products
    };
    let credential = key_credential(public(KEY_SEED), &sign(KEY_SEED, &own.message()));
    conversation.say(ATTESTATION, 3, &credential).unwrap();
    assert_eq!(conversation.hear(HANDSHAKE, 3), verdict(NOW + DAY, b""));
    assert!(matches!(
        conversation.product.next_event(),
        Some(Event::Established)
    ));
    assert!(matches!(
        conversation.product.peer(),
        Some(Peer::Identified(identified)) if identified.key().0 == public(KEY_SEED)
    ));
    assert_eq!(conversation.product.note(), b"outcome");
    assert_eq!(
        conversation.product.expires_at(),
        Some(UnixMillis(NOW + 3_600_000))
    );
    let channel_id = conversation
        .stranger
        .export_keying_material([0; 16], b"EXPORTER-nautilus-channel-1-id", Some(&context))
        .unwrap();
    assert_eq!(conversation.product.channel_id().unwrap().0, channel_id);

    conversation.say(TERMINATION, 4, &termination(0, "")).unwrap();
    let done = Termination {
        reason: Reason::Done,
        detail: String::new(),
    };
    let Some(Event::Terminated(told)) = conversation.product.next_event() else {
        panic!("the end is not told of");
    };
    assert_eq!(told, done);
    assert_eq!(
        conversation.product.tick(START),
        Err(ChannelError::Terminated(done))
    );
    // Nothing was said that was not heard here.
    assert!(conversation.read.is_empty());
}

#[test]
fn its_own_statement_sent_back_is_not_the_other_ends() {
    let (mut conversation, _) = greeted();
    let theirs = conversation.hear(HANDSHAKE, 1);
    let Some(Event::Present(present)) = conversation.product.next_event() else {
        panic!("no evidence is asked for");
    };
    assert_eq!(theirs[5..37], present.session.responder_nonce.0);
    let evidence = PresentedEvidence {
        tee: TeeKind::Simulated,
        evidence: Vec::new(),
        user_data: Vec::new(),
        event_log: None,
        endorsements: Vec::new(),
        accompanying: Vec::new(),
    };
    conversation.product.presented(Ok(evidence), START).unwrap();
    conversation.say(HANDSHAKE, 2, &verdict(NOW + DAY, b"")).unwrap();
    // Signed with the right key, but in the product's own words.
    let signature = sign(KEY_SEED, &present.session.to_bytes());
    let error = conversation
        .say(ATTESTATION, 3, &key_credential(public(KEY_SEED), &signature))
        .unwrap_err();
    assert_eq!(
        error,
        ChannelError::KeyUnexpected("its signature is not of this session")
    );
    // It is told by name, as the page has it.
    conversation.hear(ATTESTATION, 2);
    let told = conversation.hear(ERROR, 3);
    assert_eq!(told, fault("key_unexpected", &error.to_string(), b""));
}
