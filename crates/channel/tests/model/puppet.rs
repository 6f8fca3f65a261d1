//! An initiator that says what it is told to: TLS as the channel wants it, and any frame after it.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use nautilus_channel::{
    ALPN, EXPORTER_LABEL, Endpoint, FrameReader, GROUP, HEADER, Hello, MessageId, MessageType, Verdict,
    decode_bcs, encode_header,
};
use nautilus_core::{Digest32, End, Role, SessionBinding};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fixture::{NODE, START, output};

/// What a `handshake` message holds, as the wire has it.
#[derive(Serialize, Deserialize)]
pub enum HandshakeContent {
    Hello(Box<Hello>),
    Verdict(Verdict),
}

pub struct Puppet {
    tls: ClientConnection,
    own_key: Digest32,
    pub nonce: Digest32,
    reader: FrameReader,
    pub hello: Option<Hello>,
}

impl Puppet {
    /// One whose TLS with `end` is done.
    pub fn connect(end: &mut Endpoint) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let (certificate, spki) = certificate(key.public_key().as_ref());
        let mut crypto = provider::default_provider();
        crypto.kx_groups = vec![provider::kx_group::X25519MLKEM768];
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_auth_cert(
                vec![certificate],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.as_ref().to_vec())),
            )
            .unwrap();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from("session.nautilus.invalid").unwrap();
        let mut puppet = Self {
            tls: ClientConnection::new(Arc::new(config), name).unwrap(),
            own_key: Digest32(Sha256::digest(spki).into()),
            nonce: Digest32([0x5a; 32]),
            reader: FrameReader::default(),
            hello: None,
        };
        while puppet.tls.is_handshaking() || puppet.tls.wants_write() {
            puppet.carry(end);
        }
        puppet
    }

    /// Says a frame. What comes of it shows at `end`, and in what it answers.
    pub fn say(&mut self, end: &mut Endpoint, kind: MessageType, number: u64, answer: bool, payload: &[u8]) {
        let id = MessageId::CHANNEL;
        let header = encode_header(kind, id, answer, number, START.wall, payload.len(), None).unwrap();
        self.say_bytes(end, &header, payload);
    }

    pub fn say_bytes(&mut self, end: &mut Endpoint, header: &[u8; HEADER], payload: &[u8]) {
        self.tls
            .writer()
            .write_all(&[header.as_slice(), payload].concat())
            .unwrap();
        self.carry(end);
    }

    /// Carries what both have to say, once each way.
    pub fn carry(&mut self, end: &mut Endpoint) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        // What it says shows in its state.
        let _result = end.receive(&bytes, START);
        let answer = output(end);
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            self.tls.process_new_packets().unwrap();
        }
        let mut plain = Vec::new();
        // It ends with what has arrived so far.
        let _end = self.tls.reader().read_to_end(&mut plain);
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let Some(frame) = self.reader.push(&mut rest, MessageType::limit).unwrap() else {
                continue;
            };
            if frame.message_type == MessageType::Handshake
                && let Ok(HandshakeContent::Hello(hello)) = decode_bcs(&frame.payload)
            {
                self.hello = Some(*hello);
            }
        }
    }

    /// What an honest agent would state of this session; none before the responder's hello.
    pub fn session(&self) -> Option<SessionBinding> {
        let responder_nonce = self.hello.as_ref()?.nonce;
        let context = [self.nonce.0, responder_nonce.0].concat();
        let exporter = self
            .tls
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(&context))
            .unwrap();
        let certificate = &self.tls.peer_certificates().unwrap()[0];
        let peer = webpki::EndEntityCert::try_from(certificate).unwrap();
        Some(SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: Role::Agent,
            peer_role: Role::Verifier,
            end: End::Initiator,
            node: NODE,
            exporter: Digest32(exporter),
            initiator_nonce: self.nonce,
            responder_nonce,
            own_key: self.own_key,
            peer_key: Digest32(Sha256::digest(peer.subject_public_key_info()).into()),
            group: GROUP,
        })
    }
}

/// A certificate with this key, and the key as it stands in it. Nobody looks at its signature.
fn certificate(key: &[u8]) -> (CertificateDer<'static>, Vec<u8>) {
    let sequence = |tag: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        let length = match content.len() {
            length @ 0..0x80 => vec![u8::try_from(length).unwrap()],
            length => vec![0x81, u8::try_from(length).unwrap()],
        };
        [&[tag], length.as_slice(), &content].concat()
    };
    let ed25519 = sequence(0x30, &[&[0x06, 0x03, 0x2b, 0x65, 0x70]]);
    let bits = |bytes: &[u8]| sequence(0x03, &[&[0], bytes]);
    let spki = sequence(0x30, &[&ed25519, &bits(key)]);
    let nobody = sequence(0x30, &[]);
    let validity = sequence(
        0x30,
        &[
            &sequence(0x17, &[b"700101000000Z"]),
            &sequence(0x18, &[b"99991231235959Z"]),
        ],
    );
    let version_and_serial = [0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x01];
    let to_be_signed = sequence(
        0x30,
        &[&version_and_serial, &ed25519, &nobody, &validity, &nobody, &spki],
    );
    let whole = sequence(0x30, &[&to_be_signed, &ed25519, &bits(&[0; 64])]);
    (whole.into(), spki)
}

/// A puppet asks nobody who they are.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
