//! TLS 1.3 as the channel uses it: keys that live as long as the session, one group, nothing resumed.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use nautilus_core::{Digest32, End, PublicKey};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    DistinguishedName, Error, InvalidMessage, NamedGroup, PeerIncompatible, ServerConfig, ServerConnection,
    SignatureAlgorithm, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use webpki::EndEntityCert;

use crate::error::ChannelError;

/// The name that both ends agree on (RFC 7301).
pub const ALPN: &[u8] = b"nautilus/1";
/// Label of the exporter that names a session (RFC 8446 §7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-nautilus-channel-1";
/// Label of the exporter that gives a session its public name.
pub(crate) const CHANNEL_ID_LABEL: &[u8] = b"EXPORTER-nautilus-channel-1-id";
/// The only group whose sessions are used: X25519MLKEM768, as TLS numbers it.
pub const GROUP: u16 = 0x11ec;

/// The Ed25519 key of one session, and its certificate. The key is made here and dropped with the session.
pub struct TlsKeys {
    certified: Arc<CertifiedKey>,
    public: PublicKey,
    spki: Digest32,
}

impl TlsKeys {
    /// New ones.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self, ChannelError> {
        let failed = || ChannelError::Tls("no session key could be made".to_owned());
        let key = Ed25519KeyPair::generate().map_err(|_| failed())?;
        let public: [u8; 32] = key.public_key().as_ref().try_into().map_err(|_| failed())?;
        let certificate = certificate(&public, |message| key.sign(message).as_ref().to_vec());
        let spki = [SPKI_PREFIX.as_slice(), &public].concat();
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(
                vec![certificate],
                Arc::new(SessionKey(Arc::new(key))),
            )),
            public: PublicKey(public),
            spki: Digest32(Sha256::digest(spki).into()),
        })
    }

    /// The public key.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub const fn spki(&self) -> Digest32 {
        self.spki
    }

    /// One end of a connection.
    pub(crate) fn connection(&self, end: End) -> Result<Connection, ChannelError> {
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&self.certified)));
        let failed = |error: Error| ChannelError::Tls(error.to_string());
        let versions = &[&rustls::version::TLS13];
        match end {
            End::Initiator => {
                let mut config = ClientConfig::builder_with_provider(initiators())
                    .with_protocol_versions(versions)
                    .map_err(failed)?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnySessionKey))
                    .with_client_cert_resolver(resolver);
                config.resumption = Resumption::disabled();
                config.enable_sni = false;
                config.alpn_protocols = vec![ALPN.to_vec()];
                let nobody = ServerName::try_from("session.nautilus.invalid")
                    .map_err(|error| ChannelError::Tls(error.to_string()))?;
                Ok(ClientConnection::new(Arc::new(config), nobody)
                    .map_err(failed)?
                    .into())
            }
            End::Responder => {
                let mut config = ServerConfig::builder_with_provider(responders())
                    .with_protocol_versions(versions)
                    .map_err(failed)?
                    .with_client_cert_verifier(Arc::new(AnySessionKey))
                    .with_cert_resolver(resolver);
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                config.max_early_data_size = 0;
                config.alpn_protocols = vec![ALPN.to_vec()];
                Ok(ServerConnection::new(Arc::new(config)).map_err(failed)?.into())
            }
        }
    }
}

/// What is known of a connection when TLS is done.
pub(crate) struct Handshaken {
    /// SHA-256 of the peer's SubjectPublicKeyInfo.
    pub(crate) peer_spki: Digest32,
    /// The group of the key exchange.
    pub(crate) group: u16,
}

/// Reads what TLS agreed on.
pub(crate) fn handshaken(tls: &Connection) -> Result<Handshaken, ChannelError> {
    if tls.alpn_protocol() != Some(ALPN) {
        return Err(ChannelError::ProtocolNotAgreed);
    }
    let certificate = tls.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or(ChannelError::CertificateInvalid)?;
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| ChannelError::CertificateInvalid)?;
    let group = tls.negotiated_key_exchange_group().map(|group| group.name());
    Ok(Handshaken {
        peer_spki: Digest32(Sha256::digest(parsed.subject_public_key_info()).into()),
        group: group.map_or(0, u16::from),
    })
}

/// The group's name, for people.
pub(crate) fn group_name(group: u16) -> String {
    format!("{:?}", NamedGroup::from(group))
}

/// What an error of TLS means here.
pub(crate) fn named(error: Error) -> ChannelError {
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => ChannelError::VersionDowngraded,
        Error::PeerIncompatible(
            PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired,
        ) => ChannelError::GroupDowngraded {
            group: "none in common".to_owned(),
        },
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            ChannelError::ProtocolNotAgreed
        }
        Error::NoCertificatesPresented => ChannelError::CertificateInvalid,
        Error::InvalidCertificate(CertificateError::BadSignature) => ChannelError::KeyProofInvalid,
        Error::InvalidCertificate(_) => ChannelError::CertificateInvalid,
        Error::DecryptError | Error::AlertReceived(AlertDescription::BadRecordMac) => {
            ChannelError::RecordForged
        }
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            ChannelError::RecordOversized
        }
        Error::AlertReceived(alert) => ChannelError::Alert(format!("{alert:?}")),
        other => ChannelError::Tls(other.to_string()),
    }
}

fn initiators() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || Arc::new(with_groups(vec![provider::kx_group::X25519MLKEM768]));
    Arc::clone(PROVIDER.get_or_init(make))
}

/// A responder finishes TLS under X25519 too, so that a foreign client is told by name what it lacks; the session is
/// refused all the same.
fn responders() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let groups = || vec![provider::kx_group::X25519MLKEM768, provider::kx_group::X25519];
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(with_groups(groups()))))
}

fn with_groups(kx_groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups,
        signature_verification_algorithms: SIGNATURES,
        ..provider::default_provider()
    }
}

/// Session keys of ours are Ed25519; a foreign client may have one over P-256, and learn what else it lacks.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ED25519, webpki::aws_lc_rs::ECDSA_P256_SHA256],
    mapping: &[
        (SignatureScheme::ED25519, &[webpki::aws_lc_rs::ED25519]),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
        ),
    ],
};

/// Takes any certificate whose key the peer proves to hold: who that is the evidence says, or the long-term key.
#[derive(Debug)]
struct AnySessionKey;

impl AnySessionKey {
    fn check(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !intermediates.is_empty() || EndEntityCert::try_from(end_entity).is_err() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(())
    }
}

impl ServerCertVerifier for AnySessionKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

impl ClientCertVerifier for AnySessionKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

/// Signs for TLS without that its private half was ever bytes of ours.
#[derive(Clone)]
struct SessionKey(Arc<Ed25519KeyPair>);

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SessionKey")
    }
}

impl SigningKey for SessionKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for SessionKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// SubjectPublicKeyInfo of an Ed25519 key, without the key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// AlgorithmIdentifier of Ed25519 (RFC 8410 §3).
const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// The name `CN=nautilus-channel`.
const NAME: &[u8; 29] = b"\x30\x1b\x31\x19\x30\x17\x06\x03\x55\x04\x03\x0c\x10nautilus-channel";
/// From 1970 to the end of what X.509 can say (RFC 5280 §4.1.2.5): the session's end is not the certificate's affair.
const VALIDITY: &[u8; 34] = b"\x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z";

/// A self-signed certificate (RFC 5280 §4.1). Everything but key and signature is constant, and so are all lengths: it
/// says nothing that the key does not.
fn certificate(key: &[u8; 32], sign: impl Fn(&[u8]) -> Vec<u8>) -> CertificateDer<'static> {
    let to_be_signed = [
        // A SEQUENCE of 151 bytes: version 3, serial number 1.
        b"\x30\x81\x97\xa0\x03\x02\x01\x02\x02\x01\x01".as_slice(),
        &ED25519,
        NAME,
        VALIDITY,
        NAME,
        &SPKI_PREFIX,
        key,
    ]
    .concat();
    let signature = sign(&to_be_signed);
    [
        // A SEQUENCE of 228 bytes; a BIT STRING of 65, of which none is unused.
        b"\x30\x81\xe4".as_slice(),
        &to_be_signed,
        &ED25519,
        b"\x03\x41\x00",
        &signature,
    ]
    .concat()
    .into()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519 as VERIFY, UnparsedPublicKey};
    use x509_cert::der::{Decode as _, Encode as _};

    use super::*;

    #[test]
    fn the_certificate_is_one_and_signs_itself() {
        let keys = TlsKeys::generate().unwrap();
        let der = keys.certified.cert.first().unwrap();
        let parsed = x509_cert::Certificate::from_der(der).unwrap();
        assert_eq!(parsed.to_der().unwrap(), der.to_vec());
        let to_be_signed = parsed.tbs_certificate();
        assert_eq!(to_be_signed.issuer().to_string(), "CN=nautilus-channel");
        assert_eq!(to_be_signed.issuer(), to_be_signed.subject());
        let key = to_be_signed.subject_public_key_info();
        assert_eq!(key.subject_public_key.raw_bytes(), keys.public().0);
        let spki = key.to_der().unwrap();
        assert_eq!(keys.spki(), Digest32(Sha256::digest(spki).into()));
        UnparsedPublicKey::new(&VERIFY, keys.public().0)
            .verify(&to_be_signed.to_der().unwrap(), parsed.signature().raw_bytes())
            .unwrap();
    }

    #[test]
    fn no_two_sessions_have_the_same_key() {
        assert_ne!(
            TlsKeys::generate().unwrap().spki(),
            TlsKeys::generate().unwrap().spki()
        );
    }
}
