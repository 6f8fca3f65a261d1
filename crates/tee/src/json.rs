//! Evidence in JSON, read strictly: bounded, without unknown or repeated fields, nothing after it.

use nautilus_core::VerifyError;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// Reads one value of at most `limit` bytes. `T` says which fields there are, and should deny others.
///
/// # Errors
/// `TooLarge`, or `Malformed` with what is wrong and where.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, VerifyError> {
    if bytes.len() > limit {
        return Err(VerifyError::TooLarge { limit });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let what = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what);
        VerifyError::Malformed {
            what: what.to_owned(),
            offset: offset(bytes, error.line(), error.column()),
        }
    })
}

/// The error that a field breaks the format in a way that its type does not tell. Points to the field's name.
pub(crate) fn field_fault(bytes: &[u8], field: &str, what: impl Into<String>) -> VerifyError {
    let name = format!("\"{field}\"");
    let offset = bytes
        .windows(name.len())
        .position(|window| window == name.as_bytes());
    VerifyError::Malformed {
        what: what.into(),
        offset: offset.unwrap_or(0),
    }
}

/// `serde_json` counts lines and the bytes in them, from 1.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before.saturating_add(column.saturating_sub(1)).min(bytes.len())
}

/// Exactly `N` bytes in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        match hex::decode_to_slice(&text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(D::Error::custom(format_args!(
                "expected {N} bytes in hex, found {} characters",
                text.chars().count()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        a: Hex<2>,
        #[serde(default)]
        b: u8,
    }

    fn fault(text: &str) -> (String, usize) {
        match read::<Two>(text.as_bytes(), 64).unwrap_err() {
            VerifyError::Malformed { what, offset } => (what, offset),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let two: Two = read(br#"{"a":"00fF","b":1}"#, 64).unwrap();
        assert_eq!((two.a.0, two.b), ([0, 0xff], 1));
        assert_eq!(
            fault(r#"{"a":"00f"}"#),
            ("expected 2 bytes in hex, found 3 characters".to_owned(), 10)
        );
        assert_eq!(
            fault("{\"a\":\"0000\",\n\"c\":1}"),
            ("unknown field `c`, expected `a` or `b`".to_owned(), 15)
        );
        assert_eq!(fault(r#"{"a":"0000","a":"0000"}"#).0, "duplicate field `a`");
        assert_eq!(fault(r#"{"a":"0000"}{"#), ("trailing characters".to_owned(), 12));
        assert_eq!(fault("").0, "EOF while parsing a value");
        let long = format!("{:65}", r#"{"a":"0000"}"#);
        assert_eq!(
            read::<Two>(long.as_bytes(), 64).unwrap_err(),
            VerifyError::TooLarge { limit: 64 }
        );
    }

    #[test]
    fn a_fault_of_meaning_points_to_its_field() {
        assert_eq!(
            field_fault(br#"{"a":1,"b":2}"#, "b", "too much"),
            VerifyError::Malformed {
                what: "too much".to_owned(),
                offset: 7
            }
        );
    }
}
