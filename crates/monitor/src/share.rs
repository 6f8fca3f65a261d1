//! Shares as they are signed: basis points, without floating point; counts as readings carry them.

use crate::decimal::{Decimal, Seconds};
use crate::reading::{Family, Point};

/// `part` of `whole` in basis points, rounded down. A share of nothing is 0.
///
/// `None` if the part is greater than the whole, so that no share is ever above 10 000.
pub(crate) fn basis_points(part: u128, whole: u128) -> Option<u16> {
    if part > whole {
        return None;
    }
    let share = part.checked_mul(10_000)?.checked_div(whole).unwrap_or(0);
    u16::try_from(share).ok()
}

/// A count as a point. One that a reading cannot carry, beyond 2^63, is left out rather than bent.
pub(crate) fn counted(family: &'static Family, count: Option<u64>) -> Option<Point> {
    let value = i64::try_from(count?).ok()?;
    Some(Point::plain(family, value))
}

/// A time of so many units of `nanos` nanoseconds; the longest that there is, 292 years, if it is longer.
pub(crate) fn seconds(units: u64, nanos: u32) -> Seconds {
    let time = i64::try_from(units)
        .unwrap_or(i64::MAX)
        .saturating_mul(nanos.into());
    Decimal(time)
}

#[cfg(test)]
mod tests {
    use super::{basis_points, counted, seconds};
    use crate::decimal::Decimal;
    use crate::reading::{Family, MetricKind};

    #[test]
    fn rounds_down_and_stays_within_the_whole() {
        assert_eq!(basis_points(0, 0), Some(0));
        assert_eq!(basis_points(0, 7), Some(0));
        assert_eq!(basis_points(2, 3), Some(6666));
        assert_eq!(basis_points(7, 7), Some(10_000));
        assert_eq!(
            basis_points(u128::from(u64::MAX) * 8, u128::from(u64::MAX) * 8),
            Some(10_000)
        );
    }

    #[test]
    fn a_part_beyond_the_whole_is_no_share() {
        assert_eq!(basis_points(1, 0), None);
        assert_eq!(basis_points(8, 7), None);
        assert_eq!(basis_points(u128::MAX, u128::MAX), None, "too large to scale");
    }

    #[test]
    fn what_a_reading_cannot_carry_is_left_out() {
        static COUNT: Family = Family::new("nautilus_x", "", MetricKind::Counter, 0, "An example.");
        let value = |count| counted(&COUNT, count).map(|point| point.value);
        assert_eq!(value(Some(i64::MAX as u64)), Some(i64::MAX));
        assert_eq!(value(Some(i64::MAX as u64 + 1)), None);
        assert_eq!(value(None), None);
    }

    #[test]
    fn times_are_nanoseconds_and_do_not_wrap() {
        assert_eq!(seconds(2, 10_000_000), Decimal(20_000_000));
        assert_eq!(seconds(u64::MAX, 1), Decimal(i64::MAX));
        assert_eq!(seconds(i64::MAX as u64, 10), Decimal(i64::MAX));
    }
}
