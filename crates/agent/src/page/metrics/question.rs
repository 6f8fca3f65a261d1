//! Reads a query string. Hostile: it is bounded, every key is known and there once, and every value is whole.

use std::ops::Range;

use nautilus_core::UnixMillis;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::history::{ExportFormat, Resolution};

/// Longest query, in bytes: a selector with every byte percent-encoded, and the rest.
pub(super) const MAX_QUERY: usize = 4 * MAX_SELECTOR;
/// Longest selector, in bytes.
pub(super) const MAX_SELECTOR: usize = 1024;
/// Longest range, in days: a year of retention, and some.
pub(super) const MAX_RANGE_DAYS: u64 = 400;
/// Most series of one answer.
pub(super) const MAX_SERIES: usize = 200;
/// Most points of a series in one answer: more than a screen has pixels.
pub(super) const MAX_POINTS: usize = 2_000;

const DAY_MILLIS: u64 = 86_400_000;
/// As much of an unknown key as its sender is shown.
const SHOWN_KEY: usize = 32;

/// A query's keys and values, each key at most once and known to the route.
pub(super) struct Keys(Vec<(&'static str, String)>);

impl Keys {
    pub fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, ApiError> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(ApiError::TooLong { length: query.len() });
        }
        let mut keys: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decoded(key)?;
            let Some(key) = known.iter().find(|one| **one == key).copied() else {
                return Err(unknown(&key, known));
            };
            if keys.iter().any(|(before, _)| *before == key) {
                return Err(ApiError::RepeatedKey { key });
            }
            keys.push((key, decoded(value)?));
        }
        Ok(Self(keys))
    }

    pub fn selector(&self) -> Result<String, ApiError> {
        let selector = self.required("series")?;
        match selector.len() {
            0 => Err(ApiError::BadSelector("it is empty".to_owned())),
            1..=MAX_SELECTOR => Ok(selector.to_owned()),
            length => Err(ApiError::LongSelector { length }),
        }
    }

    pub fn range(&self) -> Result<Range<UnixMillis>, ApiError> {
        let (from, to) = (self.millis("from")?, self.millis("to")?);
        if from >= to || to.since(from) > MAX_RANGE_DAYS.saturating_mul(DAY_MILLIS) {
            return Err(ApiError::BadRange);
        }
        Ok(from..to)
    }

    pub fn resolution(&self) -> Result<Option<Resolution>, ApiError> {
        let all = [Resolution::Raw, Resolution::FiveMinutes, Resolution::Hour];
        match self.value("resolution") {
            None => Ok(None),
            Some(given) => {
                all.into_iter()
                    .find(|one| one.as_str() == given)
                    .map(Some)
                    .ok_or(ApiError::BadValue {
                        key: "resolution",
                        expected: "`raw`, `5m` or `1h`",
                    })
            }
        }
    }

    pub fn format(&self) -> Result<ExportFormat, ApiError> {
        match self.required("format")? {
            "csv" => Ok(ExportFormat::Csv),
            "jsonl" => Ok(ExportFormat::JsonLines),
            _ => Err(ApiError::BadValue {
                key: "format",
                expected: "`csv` or `jsonl`",
            }),
        }
    }

    fn millis(&self, key: &'static str) -> Result<UnixMillis, ApiError> {
        let given = self.required(key)?;
        // `parse` alone would take a plus sign.
        let digits = given.bytes().all(|byte| byte.is_ascii_digit());
        let millis = digits.then(|| given.parse().ok()).flatten();
        millis.map(UnixMillis).ok_or(ApiError::BadValue {
            key,
            expected: "a whole number of milliseconds since 1970",
        })
    }

    fn required(&self, key: &'static str) -> Result<&str, ApiError> {
        self.value(key).ok_or(ApiError::MissingKey { key })
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(one, _)| *one == key)
            .map(|(_, value)| value.as_str())
    }
}

/// As forms and `URLSearchParams` encode it: a space is a plus sign too.
fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(whole) => Ok(whole.into_owned()),
        Err(_) => Err(ApiError::NotUtf8),
    }
}

fn unknown(key: &str, known: &[&str]) -> ApiError {
    let known = match known {
        [] => "none".to_owned(),
        _ => known.join(", "),
    };
    ApiError::UnknownKey {
        key: key.chars().take(SHOWN_KEY).collect(),
        known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["series", "from", "to", "resolution"];

    fn keys(query: &str) -> Result<Keys, ApiError> {
        Keys::parse(Some(query), &KNOWN)
    }

    #[test]
    fn values_are_decoded_whole() {
        let keys =
            keys("series=a%7Bpod%3D%22x+y%C3%A4%22%7D&from=0&to=18446744073709551615&resolution=5m").unwrap();
        assert_eq!(keys.selector().unwrap(), "a{pod=\"x yä\"}");
        assert_eq!(keys.resolution().unwrap(), Some(Resolution::FiveMinutes));
        assert_eq!(keys.range().unwrap_err(), ApiError::BadRange);
    }

    #[test]
    fn a_range_is_not_empty_and_not_endless() {
        let most = MAX_RANGE_DAYS * DAY_MILLIS;
        let range = |from: u64, to: u64| keys(&format!("from={from}&to={to}")).unwrap().range();
        assert_eq!(range(1, 2).unwrap(), UnixMillis(1)..UnixMillis(2));
        assert_eq!(range(5, 5 + most).unwrap(), UnixMillis(5)..UnixMillis(5 + most));
        for (from, to) in [(2, 2), (3, 2), (5, 6 + most), (0, u64::MAX)] {
            assert_eq!(range(from, to), Err(ApiError::BadRange), "{from}..{to}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_its_key() {
        for given in [
            "",
            "+1",
            "-1",
            "1.0",
            "0x1",
            " 1",
            "1 ",
            "18446744073709551616",
            "now",
        ] {
            let given = percent_encoding::utf8_percent_encode(given, percent_encoding::NON_ALPHANUMERIC);
            let error = keys(&format!("from={given}&to=5")).unwrap().range().unwrap_err();
            assert!(
                matches!(error, ApiError::BadValue { key: "from", .. }),
                "{given}: {error}"
            );
        }
    }

    #[test]
    fn keys_are_known_and_there_once() {
        assert_eq!(
            keys("from=1&from=1").err(),
            Some(ApiError::RepeatedKey { key: "from" })
        );
        let unknown = keys("From=1").err();
        assert!(
            matches!(&unknown, Some(ApiError::UnknownKey { key, .. }) if key == "From"),
            "{unknown:?}"
        );
        assert_eq!(
            keys("to=1").unwrap().range(),
            Err(ApiError::MissingKey { key: "from" })
        );
        assert_eq!(
            keys("").unwrap().selector(),
            Err(ApiError::MissingKey { key: "series" })
        );
        assert_eq!(keys("series=%ff").err(), Some(ApiError::NotUtf8));
        assert_eq!(
            keys("resolution=1m").unwrap().resolution(),
            Err(ApiError::BadValue {
                key: "resolution",
                expected: "`raw`, `5m` or `1h`"
            })
        );
    }

    #[test]
    fn lengths_are_bounded() {
        let selector = |length: usize| {
            keys(&format!("series={}", "a".repeat(length)))
                .unwrap()
                .selector()
        };
        assert_eq!(selector(MAX_SELECTOR).unwrap().len(), MAX_SELECTOR);
        let length = MAX_SELECTOR + 1;
        assert_eq!(selector(length), Err(ApiError::LongSelector { length }));
        assert_eq!(selector(0), Err(ApiError::BadSelector("it is empty".to_owned())));
        let length = MAX_QUERY + 1;
        assert_eq!(
            keys(&"&".repeat(length)).err(),
            Some(ApiError::TooLong { length })
        );
    }
}
