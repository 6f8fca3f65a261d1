//! Fixed-point numbers: exact integers within, decimal numbers in JSON.

use serde::{Serialize, Serializer};

/// An integer that counts units of ten to the minus `PLACES`. JSON shows the decimal number; whatever is signed or
/// stored takes the integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal<const PLACES: u8>(pub i64);

/// A share of a whole, from 0 to 1, in basis points.
pub type Ratio = Decimal<4>;
/// A time, in nanoseconds; in JSON in seconds.
pub type Seconds = Decimal<9>;
/// Hundredths, such as of a load average.
pub type Centi = Decimal<2>;

impl<const PLACES: u8> Serialize for Decimal<PLACES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Shown to people: what is exact is the integer.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number in JSON is a double for most readers"
        )]
        serializer.serialize_f64(self.0 as f64 / 10_f64.powi(i32::from(PLACES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_shows_the_decimal_number() {
        assert_eq!(serde_json::to_string(&Decimal::<4>(4213)).unwrap(), "0.4213");
        assert_eq!(
            serde_json::to_string(&Decimal::<9>(-1_500_000_000)).unwrap(),
            "-1.5"
        );
    }
}
