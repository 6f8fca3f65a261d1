//! rustls alone, as a program would use it: TLS 1.3, mutual, one hybrid group, one suite, no tickets.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Result, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error,
    NamedGroup, ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme,
};

/// Both configurations of a connection, with keys of their own.
#[derive(Clone)]
pub struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Configs {
    /// With new keys, and self-signed certificates of them: no more work than that takes.
    pub fn new(provider: &Arc<CryptoProvider>) -> Result<Self> {
        let versions = &[&rustls::version::TLS13];
        let any = Arc::new(AnyKey(Arc::clone(provider)));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(any.clone())
            .with_client_cert_resolver(certified()?);
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(any)
            .with_cert_resolver(certified()?);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

/// What our own ends agree on, and nothing else.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    })
}

fn certified() -> Result<Arc<SingleCertAndKey>> {
    let key = Key(Arc::new(Ed25519KeyPair::generate()?));
    let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
    let certified = CertifiedKey::new(vec![certificate.der().clone()], Arc::new(key));
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Signs certificates and handshakes, and is never serialized.
#[derive(Clone, Debug)]
struct Key(Arc<Ed25519KeyPair>);

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let wanted = offered.contains(&SignatureScheme::ED25519);
        wanted.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// A connection, both ends.
pub struct Bare {
    client: Connection,
    server: Connection,
    wire: Vec<u8>,
    arrived: Vec<u8>,
}

impl Bare {
    /// Opens it.
    pub fn open(configs: &Configs) -> Result<Self> {
        let name = ServerName::try_from("bare.invalid")?;
        let mut client: Connection = ClientConnection::new(Arc::clone(&configs.client), name)?.into();
        let mut server: Connection = ServerConnection::new(Arc::clone(&configs.server))?.into();
        // As ours: what a frame needs, at once.
        client.set_buffer_limit(None);
        server.set_buffer_limit(None);
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            let said =
                flight(&mut client, &mut server, &mut wire)? + flight(&mut server, &mut client, &mut wire)?;
            ensure!(said > 0, "the handshake stands still");
        }
        Ok(Self {
            client,
            server,
            wire,
            arrived: Vec::new(),
        })
    }

    /// Whether it agreed on what is measured.
    pub fn check(&self) -> Result<()> {
        let suite = self.client.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = self
            .client
            .negotiated_key_exchange_group()
            .map(|group| group.name());
        ensure!(
            suite == Some(CipherSuite::TLS13_AES_256_GCM_SHA384),
            "another suite: {suite:?}"
        );
        ensure!(
            group == Some(NamedGroup::X25519MLKEM768),
            "another group: {group:?}"
        );
        let certified =
            self.client.peer_certificates().is_some() && self.server.peer_certificates().is_some();
        ensure!(certified, "it is not mutual");
        Ok(())
    }

    /// Sends so many bytes there, and gives what arrived: always in the same buffer.
    pub fn carry(&mut self, payload: &[u8]) -> Result<&[u8]> {
        self.client.writer().write_all(payload)?;
        drain(&mut self.client, &mut self.wire)?;
        self.arrived.resize(payload.len(), 0);
        let (mut rest, mut filled) = (self.wire.as_slice(), 0);
        while !rest.is_empty() {
            self.server.read_tls(&mut rest)?;
            self.server.process_new_packets()?;
            while filled < payload.len() {
                match self.server.reader().read(&mut self.arrived[filled..]) {
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        ensure!(filled == payload.len(), "{filled} bytes arrived");
        Ok(&self.arrived)
    }
}

fn flight(from: &mut Connection, to: &mut Connection, wire: &mut Vec<u8>) -> Result<usize> {
    drain(from, wire)?;
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    Ok(wire.len())
}

fn drain(from: &mut Connection, wire: &mut Vec<u8>) -> Result<()> {
    wire.clear();
    while from.wants_write() {
        from.write_tls(wire)?;
    }
    Ok(())
}

/// Takes any certificate, and has the peer prove that it holds the key.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl AnyKey {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }
}

impl ServerCertVerifier for AnyKey {
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
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
