//! The attestation certificate: X.509 for the signing key (RFC 8410), with the evidence that vouches for the key.
//!
//! The evidence is there first, and binds the key; the certificate only carries both in a form that other tools read:
//!
//! - `id-pe-cmw` (RFC 9999, "Transporting CMW in PKIX Formats") holds a Collection CMW in CBOR: `evidence`, the
//!   `challenge` that it answers, and `user-data`, which it binds and which names the key.
//! - TCG's `tcg-dice-conceptual-message-wrapper` (DICE Attestation Architecture, section 6.1.8) holds the evidence
//!   alone, for that form knows no collections.
//!
//! `nautilus_tee::certificate` is what reads it back.

mod der;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nautilus_core::{Challenge, NodeId, PublicKey, Signature, TeeKind, UnixMillis};

use self::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, UTC_TIME,
    UTF8_STRING, encode,
};

/// 1.3.101.112, Ed25519 (RFC 8410 §3).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 2.5.4.3, the common name.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.15.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 1.3.6.1.5.5.7.1.35, `id-pe-cmw`.
const CMW: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x23];
/// 2.23.133.5.4.9, `tcg-dice-conceptual-message-wrapper`.
const DICE_CMW: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x09];
/// `ind` of RFC 9999: bit 2 is evidence.
const IS_EVIDENCE: u8 = 0b100;

/// What a certificate says.
pub(crate) struct Contents<'a> {
    pub(crate) node: NodeId,
    pub(crate) tee: TeeKind,
    pub(crate) tee_key: PublicKey,
    pub(crate) serial: [u8; 16],
    pub(crate) not_before: UnixMillis,
    pub(crate) not_after: UnixMillis,
    pub(crate) evidence: &'a [u8],
    pub(crate) challenge: Challenge,
    pub(crate) user_data: &'a [u8],
}

/// A certificate but for its signature. Made here alone, so that nothing else is signed as one.
pub(crate) struct ToBeSigned(Vec<u8>);

impl ToBeSigned {
    /// RFC 5280, section 4.1; none if a time is no date.
    pub(crate) fn new(contents: &Contents<'_>) -> Option<Self> {
        let mut serial = contents.serial;
        // Positive, and never shorter: the first byte is neither zero nor has its high bit set.
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x3f) | 0x40;
        }
        let name = name(contents.node);
        let validity = [time(contents.not_before)?, time(contents.not_after)?].concat();
        let public_key = [&[0], contents.tee_key.0.as_slice()].concat();
        let key_info = [algorithm(), encode(BIT_STRING, &public_key)].concat();
        let evidence = record(
            &format!("application/vnd.nautilus.evidence;tee={}", contents.tee),
            contents.evidence,
            Some(IS_EVIDENCE),
        );
        let user_data = record("application/vnd.nautilus.user-data", contents.user_data, None);
        let challenge = record(
            "application/vnd.nautilus.challenge",
            &contents.challenge.digest().0,
            None,
        );
        let collection = cbor::map(&[
            ("evidence", &evidence),
            ("challenge", &challenge),
            ("user-data", &user_data),
        ]);
        let extensions = [
            extension(BASIC_CONSTRAINTS, Critical::Yes, &encode(SEQUENCE, &[])),
            // digitalSignature alone, with seven unused bits.
            extension(KEY_USAGE, Critical::Yes, &encode(BIT_STRING, &[7, 0x80])),
            extension(CMW, Critical::No, &encode(OCTET_STRING, &collection)),
            extension(DICE_CMW, Critical::No, &encode(OCTET_STRING, &evidence)),
        ]
        .concat();
        let fields = [
            encode(der::context(0), &encode(INTEGER, &[2])),
            encode(INTEGER, &serial),
            algorithm(),
            name.clone(),
            encode(SEQUENCE, &validity),
            name,
            encode(SEQUENCE, &key_info),
            encode(der::context(3), &encode(SEQUENCE, &extensions)),
        ];
        Some(Self(encode(SEQUENCE, &fields.concat())))
    }

    /// What the signature is over.
    pub(crate) fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The certificate in DER.
    pub(crate) fn signed(self, signature: &Signature) -> Vec<u8> {
        let signature = encode(BIT_STRING, &[&[0], signature.0.as_slice()].concat());
        encode(SEQUENCE, &[self.0, algorithm(), signature].concat())
    }
}

enum Critical {
    Yes,
    No,
}

fn extension(id: &[u8], critical: Critical, value: &[u8]) -> Vec<u8> {
    let critical = match critical {
        Critical::Yes => encode(BOOLEAN, &[0xff]),
        Critical::No => Vec::new(),
    };
    let value = encode(OCTET_STRING, value);
    encode(
        SEQUENCE,
        &[encode(OBJECT_IDENTIFIER, id), critical, value].concat(),
    )
}

/// RFC 8410 §3: the parameters are absent.
fn algorithm() -> Vec<u8> {
    encode(SEQUENCE, &encode(OBJECT_IDENTIFIER, ED25519))
}

/// The node's id in hex, which has the 64 characters that a common name may have (RFC 5280, appendix A).
fn name(node: NodeId) -> Vec<u8> {
    let value = encode(UTF8_STRING, node.to_string().as_bytes());
    let attribute = encode(
        SEQUENCE,
        &[encode(OBJECT_IDENTIFIER, COMMON_NAME), value].concat(),
    );
    encode(SEQUENCE, &encode(SET, &attribute))
}

/// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds.
fn time(at: UnixMillis) -> Option<Vec<u8>> {
    let seconds = i64::try_from(at.as_secs()).ok()?;
    let at = Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC);
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    Some(match at.year() {
        1950..=2049 => encode(UTC_TIME, text.get(2..)?.as_bytes()),
        _ => encode(GENERALIZED_TIME, text.as_bytes()),
    })
}

/// A Record CMW in CBOR: media type, value, and what it is.
fn record(media_type: &str, value: &[u8], indicator: Option<u8>) -> Vec<u8> {
    let mut items = vec![cbor::text(media_type), cbor::bytes(value)];
    items.extend(indicator.map(|bits| cbor::number(bits.into())));
    cbor::array(&items)
}

/// As much of CBOR (RFC 8949) as the wrapper needs, in its deterministic form.
mod cbor {
    pub(super) fn number(value: u64) -> Vec<u8> {
        head(0, value)
    }

    pub(super) fn bytes(value: &[u8]) -> Vec<u8> {
        [head(2, value.len() as u64), value.to_vec()].concat()
    }

    pub(super) fn text(value: &str) -> Vec<u8> {
        [head(3, value.len() as u64), value.as_bytes().to_vec()].concat()
    }

    pub(super) fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [head(4, items.len() as u64), items.concat()].concat()
    }

    /// A map whose keys come in the order of their encodings.
    pub(super) fn map(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut map = head(5, entries.len() as u64);
        for (key, value) in entries {
            map.extend(text(key));
            map.extend_from_slice(value);
        }
        map
    }

    /// RFC 8949 §3: the shortest form.
    fn head(major: u8, value: u64) -> Vec<u8> {
        let major = major << 5;
        let long = value.to_be_bytes();
        let (information, width) = match value {
            0..24 => return vec![major | long[7]],
            24..0x100 => (24, 1),
            0x100..0x1_0000 => (25, 2),
            0x1_0000..0x1_0000_0000 => (26, 4),
            _ => (27, 8),
        };
        let mut head = vec![major | information];
        head.extend(long.iter().skip(long.len().saturating_sub(width)));
        head
    }
}

#[cfg(test)]
mod tests;
