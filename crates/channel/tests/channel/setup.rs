//! How the TLS of a peer that is none of ours is set up: rightly, or with anything wrong.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use nautilus_channel::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

/// How its TLS is set up.
pub struct Setup {
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    pub alpn: Vec<Vec<u8>>,
    /// The key in its certificate,
    pub key: u8,
    /// and the key with which it proves that it holds it.
    pub proves: u8,
    /// Its certificates in the place of its own; none for no certificate at all.
    pub chain: Option<Vec<CertificateDer<'static>>>,
}

impl Setup {
    /// As the protocol wants it.
    pub fn right() -> Self {
        Self {
            groups: vec![provider::kx_group::X25519MLKEM768],
            alpn: vec![ALPN.to_vec()],
            key: 1,
            proves: 1,
            chain: Some(vec![certificate(1)]),
        }
    }

    fn certified(&self) -> Arc<SingleCertAndKey> {
        // PKCS #8 of an Ed25519 key (RFC 8410 §7).
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend([self.proves; 32]);
        let key = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).unwrap();
        let chain = self.chain.clone().unwrap_or_default();
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
    }

    fn provider(&self) -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::CryptoProvider {
            kx_groups: self.groups.clone(),
            ..provider::default_provider()
        })
    }

    pub fn client_config(&self) -> ClientConfig {
        let config = ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny));
        let mut config = match self.chain {
            Some(_) => config.with_client_cert_resolver(self.certified()),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_secret_extraction = true;
        config.enable_early_data = true;
        config
    }

    pub fn server_config(&self) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(TakesAny))
            .with_cert_resolver(self.certified());
        config.alpn_protocols = self.alpn.clone();
        config
    }
}

/// The certificate of an Ed25519 key. Nobody looks at its signature.
pub fn certificate(seed: u8) -> CertificateDer<'static> {
    let name = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02me".as_slice();
    let algorithm = b"\x30\x05\x06\x03\x2b\x65\x70".as_slice();
    let to_be_signed = [
        b"\x30\x7b\xa0\x03\x02\x01\x02\x02\x01\x01",
        algorithm,
        name,
        b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z",
        name,
        &spki_of(seed),
    ]
    .concat();
    let signed = [to_be_signed.as_slice(), algorithm, b"\x03\x41\x00", &[0; 64]].concat();
    [b"\x30\x81\xc7".as_slice(), &signed].concat().into()
}

/// The SubjectPublicKeyInfo of an Ed25519 key.
pub fn spki_of(seed: u8) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    [
        b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
        key.as_bytes().as_slice(),
    ]
    .concat()
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
