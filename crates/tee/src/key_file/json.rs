//! JSON: a key, a JWK set, or a list of keys, in which no object names a field twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{DeviceKey, Jwk, KeyForm, PRIVATE, RsaNumbers};

/// As much of a JSON value as keys are made of. `serde_json::Value` takes the last of two fields of one name.
pub(super) enum Json {
    Text(String),
    List(Vec<Self>),
    Object(Object),
    Null,
    /// A number or a truth value.
    Other,
}

/// A JSON object. A field that is `null` is there for the eye only.
#[derive(Default)]
pub(super) struct Object(BTreeMap<String, Json>);

/// The entries of a file, of which a lone object is one.
pub(super) fn entries(text: &[u8]) -> Result<Vec<Json>, String> {
    let value = serde_json::from_slice(text).map_err(|error: serde_json::Error| match error.is_data() {
        true => format!("it is no JSON key: {error}"),
        false => format!("it is not JSON: {error}"),
    })?;
    let mut object = match value {
        Json::Object(object) => object,
        Json::List(entries) => return Ok(entries),
        Json::Text(_) | Json::Null | Json::Other => {
            return Err("it is no JSON object, and no list".to_owned());
        }
    };
    match object.take("keys") {
        None => Ok(vec![Json::Object(object)]),
        Some(Json::List(entries)) => Ok(entries),
        Some(_) => Err("`keys` of the JWK set is no list".to_owned()),
    }
}

/// The key of one entry.
pub(super) fn key(entry: Json) -> Result<KeyForm, String> {
    let Json::Object(mut object) = entry else {
        return Err("an entry of the list is no JSON object".to_owned());
    };
    if object.has("keys") {
        return Err("it holds a set of keys inside of another".to_owned());
    }
    let ways: Vec<_> = ["kty", "pkey", "public", "n_hex"]
        .into_iter()
        .filter(|name| object.has(name))
        .collect();
    if let [one, other, ..] = ways.as_slice() {
        return Err(format!(
            "a JSON entry gives its key twice: by `{one}` and by `{other}`"
        ));
    }
    if object.has("d") {
        return Err(PRIVATE.to_owned());
    }
    match ways.first().copied() {
        Some("pkey") => of_device(object).map(KeyForm::OfDevice),
        Some("public") => object.hex("public").map(KeyForm::Raw),
        Some("n_hex") => {
            let (modulus, exponent) = (object.hex("n_hex")?, object.hex("e_hex")?);
            Ok(KeyForm::RsaHex(RsaNumbers::of(&modulus, &exponent)))
        }
        Some(_) => Jwk::of(object).map(KeyForm::Jwk),
        None => Err(
            "a JSON entry names no key: expected a JWK with `kty`, `pkey`, `public`, or `n_hex` and `e_hex`"
                .to_owned(),
        ),
    }
}

fn of_device(mut object: Object) -> Result<DeviceKey, String> {
    let Some(Json::Object(key)) = object.take("pkey") else {
        return Err("`pkey` is no JWK".to_owned());
    };
    let mut id = |name: &str, length: usize| match object.take(name) {
        None => Ok(None),
        Some(Json::Text(text)) => match hex::decode(text) {
            Ok(id) if id.len() == length => Ok(Some(id)),
            _ => Err(format!("`{name}` is not {length} bytes in hex")),
        },
        Some(_) => Err(format!("`{name}` is not {length} bytes in hex")),
    };
    let (instance_id, implementation_id) = (id("instance-id", 33)?, id("implementation-id", 32)?);
    // What narrows down for which device a key serves must not be passed over.
    if let Some(name) = object.0.keys().next() {
        let name = name.escape_default();
        return Err(format!(
            "unknown field `{name}` beside `pkey`: expected `instance-id` and `implementation-id`"
        ));
    }
    Ok(DeviceKey {
        key: Jwk::of(key)?,
        instance_id,
        implementation_id,
    })
}

impl Object {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !matches!(value, Json::Null))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{name}` is no text")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        self.0.remove(name).filter(|value| !matches!(value, Json::Null))
    }

    fn hex(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.text(name)?.ok_or_else(|| format!("there is no `{name}`"))?;
        hex::decode(text).map_err(|error| format!("`{name}` is not hex: {error}"))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = Object::default();
        while let Some(name) = map.next_key::<String>()? {
            match object.0.entry(name) {
                Entry::Vacant(field) => {
                    field.insert(map.next_value()?);
                }
                Entry::Occupied(field) => {
                    let name = field.key().escape_default();
                    return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                }
            }
        }
        Ok(Json::Object(object))
    }
}
