//! Shares as they are signed: basis points, without floating point.

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

#[cfg(test)]
mod tests {
    use super::basis_points;

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
}
