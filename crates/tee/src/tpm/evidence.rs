//! A TPM's evidence: the quote and what explains it, which a TPM hands out in several files, as one JSON object.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::VerifyError;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::wire::{AlgorithmId, HashAlgorithm, PCR_COUNT};
use crate::json;

/// The format's name, the value of the key `format`.
pub const FORMAT: &str = "nautilus-tpm/1";
/// What the names of all versions of the format start with.
const FAMILY: &str = "nautilus-tpm/";

/// Largest evidence: two certificates, a quote and 24 values in base64 and hex stay below half of it.
pub const MAX_LEN: usize = 64 * 1024;
/// Largest structure of a TPM's: `TPMS_ATTEST`, `TPMT_SIGNATURE` and `TPM2B_PUBLIC` with the largest keys, digests
/// and selections have room in it.
const MAX_STRUCTURE: usize = 1024;
/// Largest certificate. NV memory of a TPM holds 2 KiB at most (TCG, *PC Client Platform TPM Profile*).
const MAX_CERTIFICATE: usize = 8 * 1024;
/// Banks that are read before a second one is refused.
const MAX_BANKS: usize = 4;

/// A TPM's evidence as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// `TPMS_ATTEST`, the quote.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
    /// `TPM2B_PUBLIC` or `TPMT_PUBLIC` of the attestation key that signed.
    pub ak_public: Vec<u8>,
    /// The attestation key's certificate in DER, where a certificate authority vouches for it.
    pub ak_certificate: Option<Vec<u8>>,
    /// The endorsement key's certificate in DER. Nothing in a quote binds it to the attestation key.
    pub ek_certificate: Option<Vec<u8>>,
    /// The values that are said to be in the quoted PCRs.
    pub pcrs: PcrValues,
}

/// PCR values of one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrValues {
    /// The bank.
    pub bank: HashAlgorithm,
    /// The values by PCR, each as long as the bank's digests.
    pub values: BTreeMap<u8, Vec<u8>>,
}

/// Whether bytes are a JSON object that names this format, in any version.
pub fn recognises(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Named {
        format: String,
    }
    let object = bytes.len() <= MAX_LEN && bytes.trim_ascii_start().starts_with(b"{");
    object && serde_json::from_slice(bytes).is_ok_and(|named: Named| named.format.starts_with(FAMILY))
}

impl Evidence {
    /// Parses evidence; what its parts hold is not looked at.
    ///
    /// # Errors
    /// `Malformed` says where the JSON, a field, base64 or hex is not as it must be; `Unsupported` names another
    /// version; `AttributeInvalid` a bank that is not relied upon.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let written: Written = json::read(bytes, MAX_LEN).map_err(|error| match error {
            VerifyError::Malformed { what, offset } => VerifyError::Malformed {
                what: format!("TPM evidence: {what}"),
                offset,
            },
            other => other,
        })?;
        if written.format != FORMAT {
            let found = written.format.escape_default();
            return Err(match written.format.starts_with(FAMILY) {
                true => VerifyError::Unsupported {
                    what: format!("TPM evidence of format `{found}`: `{FORMAT}` is supported"),
                },
                false => malformed(bytes, "format", format!("`{found}` is not `{FORMAT}`")),
            });
        }
        Ok(Self {
            attest: written.attest.0,
            signature: written.signature.0,
            ak_public: written.ak_public.0,
            ak_certificate: written.ak_certificate.map(|bytes| bytes.0),
            ek_certificate: written.ek_certificate.map(|bytes| bytes.0),
            pcrs: PcrValues::of(written.pcrs, bytes)?,
        })
    }

    /// The evidence in its canonical form: the fields in their order, no spaces, hex in lower case.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Canonical<'a> {
            format: &'static str,
            attest: String,
            signature: String,
            ak_public: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            ak_certificate: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            ek_certificate: Option<String>,
            pcrs: BTreeMap<&'a str, BTreeMap<u8, String>>,
        }
        let values = self
            .pcrs
            .values
            .iter()
            .map(|(pcr, value)| (*pcr, hex::encode(value)));
        let canonical = Canonical {
            format: FORMAT,
            attest: STANDARD.encode(&self.attest),
            signature: STANDARD.encode(&self.signature),
            ak_public: STANDARD.encode(&self.ak_public),
            ak_certificate: self.ak_certificate.as_deref().map(|der| STANDARD.encode(der)),
            ek_certificate: self.ek_certificate.as_deref().map(|der| STANDARD.encode(der)),
            pcrs: BTreeMap::from([(self.pcrs.bank.name(), values.collect())]),
        };
        #[expect(clippy::expect_used, reason = "texts and maps of texts always serialize")]
        serde_json::to_string(&canonical).expect("texts and maps of texts always serialize")
    }
}

impl PcrValues {
    fn of(written: Entries<Entries<Hex, 24>, MAX_BANKS>, bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut banks = written.0.into_iter();
        let (Some((name, values)), rest) = (banks.next(), banks.len()) else {
            return Err(malformed(bytes, "pcrs", "no PCR bank".to_owned()));
        };
        if rest > 0 {
            return Err(malformed(
                bytes,
                "pcrs",
                format!("{} PCR banks, one is quoted", rest.saturating_add(1)),
            ));
        }
        let bank = bank_of(&name).ok_or_else(|| match name.as_str() {
            "sha1" => refused_bank("sha1"),
            _ => malformed(
                bytes,
                "pcrs",
                format!("`{}` is no PCR bank", name.escape_default()),
            ),
        })?;
        if values.0.is_empty() {
            return Err(malformed(bytes, "pcrs", "no PCR".to_owned()));
        }
        let mut read = BTreeMap::new();
        for (name, value) in values.0 {
            let pcr = name
                .parse::<u8>()
                .ok()
                .filter(|pcr| *pcr < PCR_COUNT && pcr.to_string() == name);
            let Some(pcr) = pcr else {
                let what = format!("`{}` is no PCR from 0 to 23", name.escape_default());
                return Err(malformed(bytes, "pcrs", what));
            };
            if value.0.len() != bank.digest_len() {
                let (found, wanted) = (value.0.len(), bank.digest_len());
                let what = format!(
                    "PCR {pcr} has {found} bytes, bank {name} has {wanted}",
                    name = bank.name()
                );
                return Err(malformed(bytes, "pcrs", what));
            }
            read.insert(pcr, value.0);
        }
        Ok(Self { bank, values: read })
    }
}

/// The error that a bank's hash collides or is not in use.
pub(super) fn refused_bank(name: impl fmt::Display) -> VerifyError {
    VerifyError::AttributeInvalid {
        what: format!("PCR bank {name} is not relied upon: quote the bank sha256, sha384 or sha512"),
    }
}

fn bank_of(name: &str) -> Option<HashAlgorithm> {
    let all = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ];
    all.into_iter()
        .find(|bank| AlgorithmId::to_string(&bank.id()) == name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    attest: Base64<MAX_STRUCTURE>,
    signature: Base64<MAX_STRUCTURE>,
    ak_public: Base64<MAX_STRUCTURE>,
    #[serde(default, deserialize_with = "present")]
    ak_certificate: Option<Base64<MAX_CERTIFICATE>>,
    #[serde(default, deserialize_with = "present")]
    ek_certificate: Option<Base64<MAX_CERTIFICATE>>,
    pcrs: Entries<Entries<Hex, 24>, MAX_BANKS>,
}

/// A field that may be left out, but not be null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// At most `MAX` bytes, and at least one.
struct Base64<const MAX: usize>(Vec<u8>);

impl<'de, const MAX: usize> Deserialize<'de> for Base64<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > MAX.saturating_mul(2) {
            return Err(D::Error::custom(format_args!("more than {MAX} bytes")));
        }
        let bytes = STANDARD
            .decode(&text)
            .map_err(|error| D::Error::custom(format_args!("not base64: {error}")))?;
        match bytes.len() {
            0 => Err(D::Error::custom("no bytes")),
            length if length > MAX => Err(D::Error::custom(format_args!("more than {MAX} bytes"))),
            _ => Ok(Self(bytes)),
        }
    }
}

/// At most 64 bytes.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > 128 {
            return Err(D::Error::custom("more than 64 bytes"));
        }
        let bytes = hex::decode(&text);
        bytes
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("not hex: {error}")))
    }
}

/// A JSON object of at most `MAX` entries, none of which has the name of another.
struct Entries<V, const MAX: usize>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Entries<V, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V, const MAX: usize>(PhantomData<V>);

impl<'de, V: Deserialize<'de>, const MAX: usize> Visitor<'de> for EntriesVisitor<V, MAX> {
    type Value = Entries<V, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX} entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, V)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if entries.iter().any(|(other, _)| *other == name) {
                let name = name.escape_default();
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            if entries.len() == MAX {
                return Err(A::Error::custom(format_args!("more than {MAX} entries")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Entries(entries))
    }
}

fn malformed(bytes: &[u8], field: &str, what: String) -> VerifyError {
    json::field_fault(bytes, field, format!("TPM evidence: {field}: {what}"))
}
