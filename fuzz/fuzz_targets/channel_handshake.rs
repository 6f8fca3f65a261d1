//! A peer that was not appraised: no bytes of its own open a channel or deliver a message, before TLS or behind it.
//!
//! The first byte says where the others go: to both ends as what arrives first; or through TLS that is done, to a
//! responder that waits for the hello, to one that waits for verdict and credential, or to an initiator.
#![no_main]

use std::io::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_channel::{ALPN, Config, Demand, Endpoint, Event, Now, Presentation, SessionKeyHolder};
use nautilus_core::{NodeId, PublicKey, Role, SessionBinding, Signature, SignedMessage as _, UnixMillis};
use nautilus_fuzz::fuzz_target;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, ServerConfig,
    ServerConnection, SignatureScheme,
};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1_000),
    wall: UnixMillis(1_800_000_000_000),
};
const NODE: NodeId = NodeId([0x17; 32]);
/// A hello with which a responder goes on, in its frame.
const HELLO: &[u8] = include_bytes!("../seeds/channel_handshake/hello.bin");

struct Key(SigningKey);

impl Key {
    fn verifiers() -> Self {
        Self(SigningKey::from_bytes(&[0x77; 32]))
    }
}

impl SessionKeyHolder for Key {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, session: &SessionBinding) -> Signature {
        Signature(self.0.sign(&session.to_bytes()).to_bytes())
    }
}

fn agent() -> Endpoint {
    let demands = Demand::Key(Key::verifiers().public());
    let config = Config::new(
        Role::Agent,
        Role::Verifier,
        Some(NODE),
        Presentation::Evidence,
        demands,
    );
    Endpoint::initiator(config, NOW).expect("it has randomness")
}

fn verifier() -> Endpoint {
    let key = Key::verifiers();
    let demands = Demand::Evidence {
        verifier: Some(key.public()),
        child: None,
    };
    let presents = Presentation::Key(Arc::new(key));
    let config = Config::new(Role::Verifier, Role::Agent, None, presents, demands);
    Endpoint::responder(config, NOW).expect("it has randomness")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, bytes)) = bytes.split_first() else {
        return;
    };
    if mode % 4 == 0 {
        for mut end in [agent(), verifier()] {
            output(&mut end);
            let taken = end.receive(bytes, NOW);
            nothing_opened(&mut end, taken.is_err());
        }
        return;
    }
    let (mut peer, mut end) = match mode % 4 {
        3 => (server(), agent()),
        _ => (client(), verifier()),
    };
    carry(&mut peer, &mut end);
    assert!(!peer.is_handshaking(), "TLS is not done");
    if mode % 4 == 2 {
        say(&mut peer, HELLO.get(1..).unwrap_or_default());
        assert!(!carry(&mut peer, &mut end), "its hello is right");
    }
    say(&mut peer, bytes);
    let failed = carry(&mut peer, &mut end);
    nothing_opened(&mut end, failed);
});

/// Evidence to judge and evidence to make may be asked for. More may not happen.
fn nothing_opened(end: &mut Endpoint, failed: bool) {
    while let Some(event) = end.next_event() {
        assert!(
            matches!(event, Event::Appraise(_) | Event::Present(_)),
            "{event:?}"
        );
    }
    assert!(end.peer().is_none());
    assert_eq!(end.next_tick().is_none(), failed, "over exactly if it failed");
    let why = end.ended();
    assert!(!why.kind().is_empty() && !why.to_string().is_empty());
    output(end);
}

fn output(end: &mut Endpoint) -> Vec<u8> {
    let mut bytes = Vec::new();
    while end.wants_write() {
        end.write_to(&mut bytes).expect("memory takes all");
    }
    bytes
}

fn say(peer: &mut Connection, bytes: &[u8]) {
    peer.writer().write_all(bytes).expect("memory takes all");
}

/// Carries bytes until there are none. Says whether the end failed.
fn carry(peer: &mut Connection, end: &mut Endpoint) -> bool {
    let mut failed = false;
    loop {
        let mut sent = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut sent).expect("memory takes all");
        }
        let answered = output(end);
        if sent.is_empty() && answered.is_empty() {
            return failed;
        }
        failed = failed || end.receive(&sent, NOW).is_err();
        let mut answered = answered.as_slice();
        while !answered.is_empty() {
            if peer.read_tls(&mut answered).expect("memory gives all") == 0 {
                break;
            }
            peer.process_new_packets().expect("an honest end breaks no TLS");
            let mut plain = Vec::new();
            // Until there is no more for now.
            let _ended = std::io::Read::read_to_end(&mut peer.reader(), &mut plain);
        }
    }
}

fn key() -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
    let certificate = include_bytes!("../seeds/channel_peer/certificate.der").as_slice();
    let key = include_bytes!("../seeds/channel_peer/key.pkcs8").as_slice();
    (vec![certificate.into()], key.into())
}

/// The one group whose sessions are used: under another, what a peer says would never be looked at.
fn hybrid() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    })
}

fn client() -> Connection {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let (chain, key) = key();
        let mut config = ClientConfig::builder_with_provider(hybrid())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("they are supported")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny))
            .with_client_auth_cert(chain, key.into())
            .expect("they fit");
        config.alpn_protocols = vec![ALPN.to_vec()];
        Arc::new(config)
    });
    let name = ServerName::try_from("anybody.invalid").expect("it is a name");
    ClientConnection::new(Arc::clone(&CONFIG), name)
        .expect("it is complete")
        .into()
}

fn server() -> Connection {
    static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
        let (chain, key) = key();
        let mut config = ServerConfig::builder_with_provider(hybrid())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("they are supported")
            .with_client_cert_verifier(Arc::new(TakesAny))
            .with_single_cert(chain, key.into())
            .expect("they fit");
        config.alpn_protocols = vec![ALPN.to_vec()];
        Arc::new(config)
    });
    ServerConnection::new(Arc::clone(&CONFIG))
        .expect("it is complete")
        .into()
}

/// Takes every certificate and every proof.
#[derive(Debug)]
struct TakesAny;

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for TakesAny {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
