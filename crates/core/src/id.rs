//! Fixed-size identifiers, keys and digests. Hex in text and JSON, raw bytes in BCS.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not the hex of an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: expected {hex_digits} hex digits")]
pub struct ParseIdError {
    what: &'static str,
    hex_digits: usize,
    text: String,
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError {
                    what: $what,
                    hex_digits: $len * 2,
                    text: text.chars().take(160).collect(),
                };
                let mut bytes = [0; $len];
                let digits = text.strip_prefix($prefix).ok_or_else(wrong)?;
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.collect_str(self);
                }
                let mut tuple = serializer.serialize_tuple($len)?;
                self.0.iter().try_for_each(|byte| serde::ser::SerializeTuple::serialize_element(&mut tuple, byte))?;
                serde::ser::SerializeTuple::end(tuple)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                deserializer.deserialize_tuple($len, ByteArrayVisitor::<$len>).map(Self)
            }
        }
    };
}

struct ByteArrayVisitor<const N: usize>;

impl<'de, const N: usize> serde::de::Visitor<'de> for ByteArrayVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
        let mut bytes = [0; N];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = seq
                .next_element()?
                .ok_or_else(|| serde::de::Error::invalid_length(index, &self))?;
        }
        Ok(bytes)
    }
}

bytes_newtype!(
    /// A node's lasting name: derived from its wallet and a label, so that nobody can register another's.
    NodeId, 32, "a node id", ""
);
bytes_newtype!(
    /// One run of an enclave, random at its start. A restart is a new boot and needs new evidence.
    BootId, 16, "a boot id", ""
);
bytes_newtype!(
    /// The canonical identity of evidence: a digest of what was bound, never of the malleable quote.
    EvidenceId, 32, "an evidence id", ""
);
bytes_newtype!(
    /// SHA-256 of a policy's canonical bytes.
    PolicyId, 32, "a policy id", ""
);
bytes_newtype!(
    /// A SHA-256 digest.
    Digest32, 32, "a SHA-256 digest", ""
);
bytes_newtype!(
    /// A SHA-384 digest.
    Digest48, 48, "a SHA-384 digest", ""
);
bytes_newtype!(
    /// An Ed25519 public key (RFC 8032).
    PublicKey, 32, "an Ed25519 public key", ""
);
bytes_newtype!(
    /// An Ed25519 signature (RFC 8032).
    Signature, 64, "an Ed25519 signature", ""
);
bytes_newtype!(
    /// A Sui address: BLAKE2b-256 of the scheme flag and the public key.
    SuiAddress, 32, "a Sui address", "0x"
);
