//! Byte strings in what goes over the wire. Read as bytes, a length is held against what is there before anything is
//! allocated; as a sequence of numbers it would be believed up to a mebibyte.

use std::fmt;

use nautilus_core::EndorsementKind;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Bytes::deserialize(deserializer).map(|Bytes(bytes)| bytes)
}

/// One, or none.
pub(crate) mod optional {
    use super::{Borrowed, Bytes, Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&Borrowed(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Bytes>::deserialize(deserializer)?.map(|Bytes(bytes)| bytes))
    }
}

/// Documents with their kinds.
pub(crate) mod documents {
    use super::{Borrowed, Deserializer, Documents, EndorsementKind, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        documents: &[(EndorsementKind, Vec<u8>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(documents.iter().map(|(kind, bytes)| (kind, Borrowed(bytes))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(EndorsementKind, Vec<u8>)>, D::Error> {
        deserializer.deserialize_seq(Documents)
    }
}

struct Borrowed<'a>(&'a [u8]);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Whole)
    }
}

struct Documents;

impl<'de> Visitor<'de> for Documents {
    type Value = Vec<(EndorsementKind, Vec<u8>)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("documents with their kinds")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut documents = Vec::new();
        while let Some((kind, Bytes(bytes))) = sequence.next_element()? {
            documents.push((kind, bytes));
        }
        Ok(documents)
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::TeeKind;

    use crate::credential::PresentedEvidence;
    use crate::message::{decode_bcs, encode_bcs};

    /// The same fields, as sequences of numbers.
    type Plain = (
        TeeKind,
        Vec<u8>,
        Vec<u8>,
        Option<Vec<u8>>,
        Vec<(super::EndorsementKind, Vec<u8>)>,
        Vec<u8>,
    );

    #[test]
    fn bytes_have_the_encoding_of_a_sequence_of_them() {
        for event_log in [None, Some(vec![4; 300])] {
            let presented = PresentedEvidence {
                tee: TeeKind::Simulated,
                evidence: vec![1; 200],
                user_data: Vec::new(),
                event_log: event_log.clone(),
                endorsements: vec![(super::EndorsementKind::DcapCollateral, vec![5; 3])],
                accompanying: vec![6],
            };
            let plain: Plain = (
                presented.tee,
                presented.evidence.clone(),
                presented.user_data.clone(),
                event_log,
                presented.endorsements.clone(),
                presented.accompanying.clone(),
            );
            let bytes = encode_bcs(&presented).unwrap();
            assert_eq!(bytes, encode_bcs(&plain).unwrap());
            assert_eq!(decode_bcs::<PresentedEvidence>(&bytes), Ok(presented));
        }
    }
}
