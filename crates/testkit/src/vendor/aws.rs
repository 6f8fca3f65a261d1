//! A fake AWS with its own root: it signs documents of Nitro enclaves as a security module does, and every kind of bad
//! one.

#![expect(
    clippy::unwrap_used,
    reason = "a fake vendor that cannot be made must stop its test"
)]

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use ciborium::Value;
use nautilus_core::UnixMillis;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

/// 2025-10-09T08:53:20Z: when documents are made, unless their maker says otherwise.
pub const NOW: UnixMillis = UnixMillis::from_secs(1_760_000_000);
/// Root, two authorities with lists, one without, leaf.
pub const LEVELS: usize = 5;
/// The protected header of a document: ES384.
pub const PROTECTED: [u8; 4] = [0xa1, 0x01, 0x38, 0x22];

/// What the fake AWS issued: a chain, and the keys of it.
pub struct Aws {
    /// Certificates in DER, from the root to the issuer of `certificate`.
    pub cabundle: Vec<Vec<u8>>,
    /// The leaf, in DER.
    pub certificate: Vec<u8>,
    /// What signs certificates and lists, by level.
    pub issuers: Vec<Issuer<'static, KeyPair>>,
    /// The leaf's key, in PKCS#8.
    key: Vec<u8>,
    now: UnixMillis,
}

/// The fields of a document, in order.
pub type Fields = Vec<(Value, Value)>;

impl Aws {
    /// A chain as AWS issues it, valid at [`NOW`].
    pub fn genuine() -> Self {
        Self::issue(LEVELS, |_, _| {}, p384)
    }

    /// A chain as AWS issues it, valid at `now`, whose documents are made then.
    pub fn at(now: UnixMillis) -> Self {
        let epoch = date_time_ymd(1970, 1, 1);
        let at = |millis: u64| epoch + Duration::from_millis(millis);
        let hour = 60 * 60 * 1000;
        let terms = |level: usize, params: &mut CertificateParams| {
            let hours = if level + 1 == LEVELS { 3 } else { 24 * 30 };
            params.not_before = at(now.0.saturating_sub(hour));
            params.not_after = at(now.0 + hours * hour);
        };
        Self {
            now,
            ..Self::issue(LEVELS, terms, p384)
        }
    }

    /// A chain of `levels` certificates, each changed by `edit` before it is signed, with a key on the curve that
    /// `curve_of` names. Both get the level, from zero for the root.
    pub fn issue(
        levels: usize,
        edit: impl Fn(usize, &mut CertificateParams),
        curve_of: impl Fn(usize) -> &'static SignatureAlgorithm,
    ) -> Self {
        let leaf = levels - 1;
        let mut issuers: Vec<Issuer<'static, KeyPair>> = Vec::new();
        let (mut cabundle, mut certificate, mut key) = (Vec::new(), Vec::new(), Vec::new());
        for level in 0..levels {
            let pair = KeyPair::generate_for(curve_of(level)).unwrap();
            let mut params = params(level, leaf);
            edit(level, &mut params);
            let signed = match issuers.last() {
                None => params.self_signed(&pair).unwrap(),
                Some(issuer) => params.signed_by(&pair, issuer).unwrap(),
            };
            let der = signed.der().to_vec();
            if level == leaf {
                certificate = der;
                key = pair.serialize_der();
            } else {
                cabundle.push(der);
                issuers.push(Issuer::new(params, pair));
            }
        }
        Self {
            cabundle,
            certificate,
            issuers,
            key,
            now: NOW,
        }
    }

    /// The root certificate, in DER.
    pub fn root_der(&self) -> &[u8] {
        self.cabundle.first().unwrap()
    }

    /// The fields of a document with nonce and user data of 32 bytes each.
    pub fn fields(&self) -> Fields {
        let pcrs = (0..16).map(|index: u8| (Value::from(index), Value::Bytes(vec![index + 1; 48])));
        let bundle = self.cabundle.iter().map(|der| Value::Bytes(der.clone()));
        vec![
            ("module_id".into(), "i-0123-enc4567".into()),
            ("digest".into(), "SHA384".into()),
            ("timestamp".into(), self.now.0.into()),
            ("pcrs".into(), Value::Map(pcrs.collect())),
            ("certificate".into(), Value::Bytes(self.certificate.clone())),
            ("cabundle".into(), Value::Array(bundle.collect())),
            ("public_key".into(), Value::Null),
            ("user_data".into(), Value::Bytes(vec![0xda; 32])),
            ("nonce".into(), Value::Bytes(vec![0x0e; 32])),
        ]
    }

    /// A document of these fields, signed by the leaf.
    pub fn document(&self, edit: impl FnOnce(&mut Fields)) -> Vec<u8> {
        let mut fields = self.fields();
        edit(&mut fields);
        self.sign(&PROTECTED, &encoded(&Value::Map(fields)))
    }

    /// A COSE_Sign1 without a tag, by the leaf.
    pub fn sign(&self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &self.key).unwrap();
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let structure = encoded(&Value::Array(vec![
            "Signature1".into(),
            bytes(protected),
            bytes(&[]),
            bytes(payload),
        ]));
        let signature = pair.sign(&SystemRandom::new(), &structure).unwrap();
        encoded(&Value::Array(vec![
            bytes(protected),
            Value::Map(Vec::new()),
            bytes(payload),
            bytes(signature.as_ref()),
        ]))
    }
}

/// The curve of all of AWS's keys.
pub fn p384(_level: usize) -> &'static SignatureAlgorithm {
    &PKCS_ECDSA_P384_SHA384
}

/// A value in CBOR.
pub fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// The field of this name, which must be there.
pub fn field<'a>(fields: &'a mut [(Value, Value)], name: &str) -> &'a mut Value {
    let found = fields.iter_mut().find(|(key, _)| key.as_text() == Some(name));
    &mut found.unwrap().1
}

fn params(level: usize, leaf: usize) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("level {level}"));
    params.serial_number = Some(SerialNumber::from(1000 + level as u64));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params.is_ca = match level {
        0 => IsCa::Ca(BasicConstraints::Unconstrained),
        _ if level == leaf => IsCa::ExplicitNoCa,
        _ => IsCa::Ca(BasicConstraints::Constrained(
            u8::try_from(leaf - 1 - level).unwrap(),
        )),
    };
    params.key_usages = if level == leaf {
        vec![KeyUsagePurpose::DigitalSignature]
    } else {
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
    };
    if matches!(level, 1 | 2) {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![format!("http://crl.example/{level}")],
        }];
    }
    if level == leaf {
        params.not_before = date_time_ymd(2025, 10, 9);
        params.not_after = date_time_ymd(2025, 10, 10);
    }
    params
}
