//! Durations as Go's `time.ParseDuration` and `Duration.String` write them, because the specification's
//! `metrics_interval` is a Go `time.Duration`.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

/// The longest text read. Go's longest own output has 25 characters.
const MAX_TEXT: usize = 64;
/// Go holds a duration as a signed 64-bit number of nanoseconds.
const MAX_NANOS: u128 = i64::MAX as u128;

/// Units, longest name first where one is the start of another, with their length in nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),  // micro sign
    ("\u{3bc}s", 1_000), // Greek mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration cannot be empty: write a number and a unit, such as 30s")]
    Empty,
    /// A number without a unit, such as `30`.
    #[error("`{number}` has no unit: write {number}s for seconds, or one of ns, us, ms, s, m, h")]
    MissingUnit {
        /// The number that stands alone.
        number: String,
    },
    /// A unit that Go does not have, such as `d`.
    #[error("unknown unit `{unit}`: write one of ns, us, ms, s, m, h")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
    },
    /// No digit where a number must stand.
    #[error("`{text}` does not start with a number: write a number and a unit, such as 30s or 1m30s")]
    BadNumber {
        /// What stands there instead.
        text: String,
    },
    /// A sign. An interval has no direction.
    #[error("a duration has no sign here: write it without one, such as 30s")]
    Signed,
    /// A fraction of a nanosecond.
    #[error("a duration is a whole number of nanoseconds: write fewer digits after the point")]
    TooPrecise,
    /// More than Go's 2^63 - 1 nanoseconds, about 292 years; or a text longer than any duration.
    #[error("the duration is too long: write at most 2562047h")]
    TooLong,
}

/// Reads a duration in Go's form: `30s`, `1m30s`, `500ms`, `1.5h`, or `0`.
///
/// Units are ns, us (also µs), ms, s, m and h. Unlike Go, signs are refused, and so are digits below one
/// nanosecond, which Go drops silently.
///
/// # Errors
/// [`DurationError`] says what is wrong and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Duration::ZERO),
        _ if text.len() > MAX_TEXT => return Err(DurationError::TooLong),
        _ if text.starts_with(['-', '+']) => return Err(DurationError::Signed),
        _ => {}
    }
    let mut nanos: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = parse_part(rest)?;
        nanos = nanos.saturating_add(part);
        if nanos > MAX_NANOS {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| DurationError::TooLong)
}

/// Writes a duration in Go's form, so that [`parse_duration`] and Go both read it back: `30s`, `1m30s`,
/// `1h0m0s`, `500ms`, `0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => with_fraction(u64::from(nanos / 1_000), nanos % 1_000, 3, "\u{b5}s"),
            _ => with_fraction(u64::from(nanos / 1_000_000), nanos % 1_000_000, 6, "ms"),
        };
    }
    let mut text = String::new();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    // Writing to a String cannot fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    text.push_str(&with_fraction(seconds % 60, nanos, 9, "s"));
    text
}

/// Reads one number with its unit, and gives its nanoseconds and what follows.
fn parse_part(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, after) = split_digits(text);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after_point) => split_digits(after_point),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::BadNumber {
            text: text.to_owned(),
        });
    }
    let unit_end = after
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(after.len());
    let (unit, rest) = after.split_at_checked(unit_end).unwrap_or((after, ""));
    if unit.is_empty() {
        let number = text.strip_suffix(after).unwrap_or(text).to_owned();
        return Err(DurationError::MissingUnit { number });
    }
    let scale = UNITS
        .iter()
        .find_map(|&(name, scale)| (name == unit).then_some(scale))
        .ok_or_else(|| DurationError::UnknownUnit {
            unit: unit.to_owned(),
        })?;
    let fraction = fraction_nanos(fraction, scale)?;
    let nanos = decimal(whole)?
        .checked_mul(scale)
        .and_then(|nanos| nanos.checked_add(fraction));
    Ok((nanos.ok_or(DurationError::TooLong)?, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The digits' value; none is zero, as in `.5s`.
fn decimal(digits: &str) -> Result<u128, DurationError> {
    if digits.is_empty() {
        return Ok(0);
    }
    digits.parse().map_err(|_| DurationError::TooLong)
}

/// `0.digits × scale`, exactly.
fn fraction_nanos(digits: &str, scale: u128) -> Result<u128, DurationError> {
    let digits = digits.trim_end_matches('0');
    let mut nanos: u128 = 0;
    let mut place = scale;
    for digit in digits.bytes() {
        // A digit is worth a whole number of nanoseconds only while ten divides the place before it.
        if !place.is_multiple_of(10) {
            return Err(DurationError::TooPrecise);
        }
        place /= 10;
        nanos = nanos.saturating_add(u128::from(digit.saturating_sub(b'0')).saturating_mul(place));
    }
    Ok(nanos)
}

/// `whole.fraction` and the unit, with the fraction's trailing zeros dropped.
fn with_fraction(whole: u64, fraction: u32, digits: usize, unit: &str) -> String {
    if fraction == 0 {
        return format!("{whole}{unit}");
    }
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}
