//! The other implementations, and the floor: bare signature verifications.

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
    KeyPair, ParsedPublicKey,
};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::signature::DerSigEncoder;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::x509::X509CertBackend;
use rustls_pki_types::SignatureVerificationAlgorithm;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

/// `dcap-qvl` with the cryptography of aws-lc-rs.
pub struct AwsLcRs;

impl Config for AwsLcRs {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for AwsLcRs {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref());
        out
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        let mut out = [0; 48];
        out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, data).as_ref());
        out
    }
}

/// A verification by `dcap-qvl` 0.7.1, with `ring` or with aws-lc-rs.
pub fn dcap<C: Config>(quote: &[u8], collateral: &QuoteCollateralV3, now: u64) -> Result<()> {
    QuoteVerifier::<C>::new_with_config(INTEL_ROOT.to_vec())
        .allow_debug(true)
        .verify(quote, collateral, now)
        .map(drop)
        .map_err(|error| anyhow!("dcap-qvl: {error:#}"))
}

const INTEL_ROOT: &[u8] = include_bytes!("../../crates/tee/src/dcap/intel-sgx-root-ca.der");

/// A verification by the `sev` crate 8.0.0, from bytes, as its users write it.
pub struct Sev {
    chain: Chain,
}

impl Sev {
    pub fn new(product: &str, vek: &[u8]) -> Result<Self> {
        use sev::certs::snp::builtin::{genoa, milan, turin};
        let (ark, ask) = match product {
            "Milan" => (milan::ark()?, milan::ask()?),
            "Genoa" => (genoa::ark()?, genoa::ask()?),
            "Turin" => (turin::ark()?, turin::ask()?),
            other => anyhow::bail!("no built-in certificates for {other}"),
        };
        let chain = Chain {
            ca: ca::Chain { ark, ask },
            vek: Certificate::from_der(vek).context("VEK")?,
        };
        Ok(Self { chain })
    }

    pub fn verify(&self, report: &[u8]) -> Result<()> {
        let report = AttestationReport::from_bytes(report)?;
        (&self.chain, &report).verify()?;
        Ok(())
    }
}

/// A key and a signature by it, to verify again and again.
pub struct Floor {
    key: ParsedPublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Floor {
    /// ECDSA P-256 over as many bytes as a TDX quote signs.
    pub fn p256() -> Result<Self> {
        Self::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED, 632)
    }

    /// ECDSA P-384 over as many bytes as an SNP report signs.
    pub fn p384() -> Result<Self> {
        Self::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED, 0x2a0)
    }

    fn ecdsa(
        signing: &'static EcdsaSigningAlgorithm,
        verifying: &'static EcdsaVerificationAlgorithm,
        length: usize,
    ) -> Result<Self> {
        let pair = EcdsaKeyPair::generate(signing)?;
        let message = vec![7; length];
        let signature = pair.sign(&SystemRandom::new(), &message)?.as_ref().to_vec();
        let key = ParsedPublicKey::new(verifying, pair.public_key().as_ref())?;
        Ok(Self {
            key,
            message,
            signature,
        })
    }

    /// Verifies it once.
    pub fn verify(&self) -> Result<()> {
        self.key
            .verify_sig(&self.message, &self.signature)
            .map_err(|_| anyhow!("the floor's signature does not verify"))
    }
}
