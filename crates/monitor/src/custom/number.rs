//! Decimal text to fixed point, exactly and without floating point.

/// Most digits that are looked at: more than that cannot change the result, but for rounding down before a comparison
/// that rounding down does not change.
const MAX_DIGITS: u128 = 10_u128.pow(37);
/// Ten to a power beyond this is more than 128 bits hold.
const MAX_SHIFT: u32 = 38;

/// What a number's text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// In units of ten to the minus places, rounded to the nearest, halves away from zero.
    Fixed(i64),
    /// Not a number, infinite, or more than 64 bits hold in these units.
    Beyond,
}

/// Reads a decimal number: a sign, digits with a point among them, a power of ten; or `NaN` or `Inf` in any case. None
/// if it is not one. Hexadecimal and underscores, which only Go takes, are not taken.
pub(super) fn number(text: &str, places: u8) -> Option<Number> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if ["inf", "infinity", "nan"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
    {
        return Some(Number::Beyond);
    }
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, power(exponent)?),
        None => (text, 0),
    };
    let (mantissa, dropped) = mantissa(digits)?;
    let shift = exponent.saturating_add(dropped).saturating_add(i64::from(places));
    Some(fixed(mantissa, shift, negative).map_or(Number::Beyond, Number::Fixed))
}

/// The power of ten, or one that is as good as any beyond.
fn power(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Saturated well below what is added to it: no text has as many digits.
    const MOST: i64 = 1 << 40;
    let power = digits.bytes().fold(0_i64, |power, byte| {
        power
            .saturating_mul(10)
            .saturating_add(i64::from(byte.saturating_sub(b'0')))
            .min(MOST)
    });
    Some(if negative { power.saturating_neg() } else { power })
}

/// The digits as an integer, and the power of ten that it is to be taken by.
fn mantissa(text: &str) -> Option<(u128, i64)> {
    let (mut mantissa, mut power) = (0_u128, 0_i64);
    let (mut seen, mut after_point) = (false, false);
    for byte in text.bytes() {
        match byte {
            b'.' if !after_point => after_point = true,
            b'0'..=b'9' => {
                seen = true;
                if mantissa < MAX_DIGITS {
                    let digit = u128::from(byte.saturating_sub(b'0'));
                    mantissa = mantissa.saturating_mul(10).saturating_add(digit);
                    power = power.saturating_sub(i64::from(after_point));
                } else {
                    power = power.saturating_add(i64::from(!after_point));
                }
            }
            _ => return None,
        }
    }
    seen.then_some((mantissa, power))
}

fn fixed(mantissa: u128, shift: i64, negative: bool) -> Option<i64> {
    if mantissa == 0 {
        return Some(0);
    }
    let by = u32::try_from(shift.unsigned_abs())
        .ok()
        .filter(|by| *by <= MAX_SHIFT)
        .map(|by| 10_u128.pow(by));
    let magnitude = match (shift >= 0, by) {
        (true, Some(by)) => mantissa.checked_mul(by)?,
        (true, None) => return None,
        (false, Some(by)) => {
            let whole = mantissa.checked_div(by)?;
            let rest = mantissa.checked_rem(by)?;
            whole.checked_add(u128::from(rest >= by.saturating_sub(rest)))?
        }
        // Less than 10^38 divided by more than 10^38.
        (false, None) => 0,
    };
    let signed = i128::try_from(magnitude).ok()?;
    let signed = if negative { signed.checked_neg()? } else { signed };
    i64::try_from(signed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        match number(text, 6)? {
            Number::Fixed(value) => Some(value),
            Number::Beyond => panic!("{text} is beyond"),
        }
    }

    #[test]
    fn decimal_text_is_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("1", 1_000_000),
            ("+1.5", 1_500_000),
            (".5", 500_000),
            ("5.", 5_000_000),
            ("1e3", 1_000_000_000),
            ("1.25E-2", 12_500),
            ("0.1", 100_000),
            ("123456789012.000001", 123_456_789_012_000_001),
            ("9223372036854.775807", i64::MAX),
            ("-9223372036854.775808", i64::MIN),
            ("0.0000005", 1),
            ("-0.0000005", -1),
            ("0.00000049999999999999999999999999999999999999999999", 0),
            ("1e-99999999999999999999", 0),
            ("0e99999999999999999999", 0),
            ("0000000000000000000000000000000000000000000000001", 1_000_000),
            ("1000000000000000000000000000000000000000000e-42", 1_000_000),
            ("0.000000000000000000000000000000000000000001e42", 1_000_000),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        assert_eq!(number("18446744073709551615", 0), Some(Number::Beyond));
        assert_eq!(number("9223372036854775807", 0), Some(Number::Fixed(i64::MAX)));
    }

    #[test]
    fn what_64_bits_do_not_hold_is_said_to_be_beyond() {
        for text in [
            "NaN",
            "nan",
            "+Inf",
            "-inf",
            "Infinity",
            "1e308",
            "9223372036854.775808",
            "1e99999999999999999999",
            "9999999999999999999999999999999999999999999",
        ] {
            assert_eq!(number(text, 6), Some(Number::Beyond), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_number_is_none() {
        for text in [
            "", "-", "+", ".", "e5", "1e", "1e+", "1e1.5", "1.2.3", "0x10", "1_000", " 1", "1 ", "--1", "١",
            "infin", "1e5e5",
        ] {
            assert_eq!(number(text, 6), None, "{text}");
        }
    }
}
