//! How bytes stand in JSON: base64, as Go's `encoding/json` writes and reads `[]byte`.

/// One byte string.
pub(super) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map_err(|error| D::Error::custom(format_args!("expected base64: {error}")))
    }
}

/// A byte string among others.
#[derive(serde::Serialize, serde::Deserialize)]
struct Base64(#[serde(with = "base64_bytes")] Vec<u8>);

/// A list of them.
pub(super) mod base64_list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Base64;

    pub(in super::super) fn serialize<S: Serializer>(
        list: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().cloned().map(Base64))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<Base64>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|Base64(bytes)| bytes).collect())
    }
}

/// Some by name.
pub(super) mod base64_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Base64;

    pub(in super::super) fn serialize<S: Serializer>(
        map: &BTreeMap<String, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(name, bytes)| (name, Base64(bytes.clone()))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let map = BTreeMap::<String, Base64>::deserialize(deserializer)?;
        Ok(map
            .into_iter()
            .map(|(name, Base64(bytes))| (name, bytes))
            .collect())
    }
}
