//! Keys that sign whatever the test wants, in the form of a TPM's: what a TPM would never sign must be refused
//! although the signature is good.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, RsaPssSaltLength};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaEncoding,
};
use nautilus_tee::tpm::{Evidence, HashAlgorithm, PcrValues};

pub const SHA1: u16 = 0x0004;
pub const SHA256_ID: u16 = 0x000b;
pub const SHA384_ID: u16 = 0x000c;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;
/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
pub const EK_ATTRIBUTES: u32 = 0x0003_00b2;

pub fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// `TPMT_PUBLIC` of an ECC key: nothing symmetric, that scheme in hex, that curve.
pub fn ecc_area(name_hash: u16, attributes: u32, middle: &str, point: &[u8]) -> Vec<u8> {
    let (x, y) = point[1..].split_at(point.len() / 2);
    area(
        0x0023,
        name_hash,
        attributes,
        middle,
        &[tpm2b(x), tpm2b(y)].concat(),
    )
}

pub fn area(kind: u16, name_hash: u16, attributes: u32, middle: &str, unique: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &name_hash.to_be_bytes(),
        &attributes.to_be_bytes(),
        &[0, 0],
        &hex::decode(middle.replace(' ', "")).unwrap(),
        unique,
    ]
    .concat()
}

/// An attestation key on P-256 that always signs by ECDSA with SHA-256.
pub struct EccAk {
    pub key: EcdsaKeyPair,
    pub area: Vec<u8>,
}

impl EccAk {
    pub fn new() -> Self {
        Self::with_attributes(AK_ATTRIBUTES)
    }

    pub fn with_attributes(attributes: u32) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let area = ecc_area(
            SHA256_ID,
            attributes,
            "0010 0018000b 0003 0010",
            key.public_key().as_ref(),
        );
        Self { key, area }
    }

    pub fn p384() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let middle = "0010 0018000c 0004 0010";
        let area = ecc_area(SHA384_ID, AK_ATTRIBUTES, middle, key.public_key().as_ref());
        Self { key, area }
    }

    pub fn evidence(&self, quote: &Quote) -> Evidence {
        let attest = quote.to_bytes();
        let both = self.key.sign(&SystemRandom::new(), &attest).unwrap();
        let (r, s) = both.as_ref().split_at(both.as_ref().len() / 2);
        let hash = if r.len() == 32 { SHA256_ID } else { SHA384_ID };
        evidence(
            attest,
            ecdsa_signature(hash, r, s),
            self.area.clone(),
            quote.pcrs.clone(),
        )
    }
}

pub fn ecdsa_signature(hash: u16, r: &[u8], s: &[u8]) -> Vec<u8> {
    [
        &0x0018u16.to_be_bytes()[..],
        &hash.to_be_bytes(),
        &tpm2b(r),
        &tpm2b(s),
    ]
    .concat()
}

/// An attestation key of RSA 2048, without a scheme of its own.
pub struct RsaAk {
    key: RsaKeyPair,
}

/// Scheme, hash and padding of an RSA signature.
pub enum Padding {
    Pkcs1,
    Pss(RsaPssSaltLength),
    PssSha384,
}

impl RsaAk {
    pub fn new() -> Self {
        Self {
            key: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    pub fn modulus(&self) -> Vec<u8> {
        // RSAPublicKey: the modulus of 257 bytes with its sign, then the exponent 65537 in 5 bytes.
        let public = self.key.public_key().as_ref();
        public[public.len() - 5 - 256..public.len() - 5].to_vec()
    }

    pub fn area(&self, scheme: &str) -> Vec<u8> {
        let middle = format!("0010 {scheme} 0800 00000000");
        area(0x0001, SHA256_ID, AK_ATTRIBUTES, &middle, &tpm2b(&self.modulus()))
    }

    pub fn evidence(&self, quote: &Quote, scheme: &str, padding: &Padding) -> Evidence {
        let attest = quote.to_bytes();
        let mut signature = vec![0; 256];
        let digest_salt = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Digest) };
        let longest_salt = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max) };
        let other_salt = &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(20)) };
        let (algorithm, hash, encoding): (u16, u16, &'static dyn RsaEncoding) = match padding {
            Padding::Pkcs1 => (0x0014, SHA256_ID, &RSA_PKCS1_SHA256),
            Padding::Pss(RsaPssSaltLength::Digest) => (0x0016, SHA256_ID, digest_salt),
            Padding::Pss(RsaPssSaltLength::Max) => (0x0016, SHA256_ID, longest_salt),
            Padding::Pss(_) => (0x0016, SHA256_ID, other_salt),
            Padding::PssSha384 => (0x0016, SHA384_ID, &RSA_PSS_SHA384),
        };
        self.key
            .sign(encoding, &SystemRandom::new(), &attest, &mut signature)
            .unwrap();
        let signature = [
            &algorithm.to_be_bytes()[..],
            &hash.to_be_bytes(),
            &tpm2b(&signature),
        ]
        .concat();
        evidence(attest, signature, self.area(scheme), quote.pcrs.clone())
    }
}

fn evidence(attest: Vec<u8>, signature: Vec<u8>, ak_public: Vec<u8>, pcrs: PcrValues) -> Evidence {
    Evidence {
        attest,
        signature,
        ak_public,
        ak_certificate: None,
        ek_certificate: None,
        pcrs,
    }
}

/// A quote of PCR 0 and 7 by SHA-256, each part of which may be something else.
#[derive(Clone)]
pub struct Quote {
    pub magic: u32,
    pub kind: u16,
    pub signer: Vec<u8>,
    pub banks: Vec<(u16, [u8; 3])>,
    pub digest: Vec<u8>,
    pub pcrs: PcrValues,
}

impl Quote {
    pub fn new() -> Self {
        let values = [(0, vec![1; 32]), (7, vec![7; 32])];
        Self {
            magic: 0xff54_4347,
            kind: 0x8018,
            signer: [&[0, 0x0b], [3; 32].as_slice()].concat(),
            banks: vec![(SHA256_ID, [0x81, 0, 0])],
            digest: digest(&SHA256, &[[1; 32], [7; 32]].concat()).as_ref().to_vec(),
            pcrs: PcrValues {
                bank: HashAlgorithm::Sha256,
                values: values.into_iter().collect(),
            },
        }
    }

    /// The same PCRs of the bank of SHA-384, for a key that signs with SHA-384.
    pub fn sha384() -> Self {
        let values = [(0, vec![1; 48]), (7, vec![7; 48])];
        Self {
            signer: [&[0, 0x0c], [3; 48].as_slice()].concat(),
            banks: vec![(SHA384_ID, [0x81, 0, 0])],
            digest: digest(&SHA384, &[[1; 48], [7; 48]].concat()).as_ref().to_vec(),
            pcrs: PcrValues {
                bank: HashAlgorithm::Sha384,
                values: values.into_iter().collect(),
            },
            ..Self::new()
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [
            &self.magic.to_be_bytes()[..],
            &self.kind.to_be_bytes(),
            &tpm2b(&self.signer),
            &tpm2b(&[9; 32]),
            &5u64.to_be_bytes(),
            &2u32.to_be_bytes(),
            &1u32.to_be_bytes(),
            &[0],
            &0x0102_0304_u64.to_be_bytes(),
            &u32::try_from(self.banks.len()).unwrap().to_be_bytes(),
        ]
        .concat();
        for (bank, bitmap) in &self.banks {
            bytes.extend(bank.to_be_bytes());
            bytes.push(3);
            bytes.extend(bitmap);
        }
        bytes.extend(tpm2b(&self.digest));
        bytes
    }
}
