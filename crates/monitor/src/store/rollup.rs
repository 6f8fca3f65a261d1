//! What a stretch of time amounts to: minimum, maximum, mean and last value of a series' samples in it.

use nautilus_core::UnixMillis;
use serde::Serialize;

use super::column::{put_column, put_presence, take_column, take_presence};
use super::wire::{Malformed, Reader};

/// A series over five minutes or an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rollup {
    /// First instant.
    pub at: UnixMillis,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// Mean, rounded down; from a stored rollup to within a 255th of the distance from `min` to `max`.
    pub mean: i64,
    /// Newest value: what a counter stood at. A stored rollup has it where it mostly is the greatest, as of counters.
    pub last: Option<i64>,
}

/// Length of a day.
pub(super) const DAY_MILLIS: u64 = 24 * super::HOUR_MILLIS;

/// Points in ascending order of time, by stretches of `width` milliseconds.
pub(super) fn roll(points: &[(UnixMillis, i64)], width: u64) -> Vec<Rollup> {
    let start = |at: UnixMillis| at.0.saturating_sub(at.0.checked_rem(width).unwrap_or(0));
    let stretches = points.chunk_by(|one, next| start(one.0) == start(next.0));
    stretches
        .filter_map(|stretch| of(UnixMillis(start(stretch.first()?.0)), stretch))
        .collect()
}

fn of(at: UnixMillis, points: &[(UnixMillis, i64)]) -> Option<Rollup> {
    let values = || points.iter().map(|(_, value)| *value);
    let sum: i128 = values().map(i128::from).sum();
    let mean = sum.checked_div_euclid(points.len() as i128)?;
    Some(Rollup {
        at,
        min: values().min()?,
        max: values().max()?,
        mean: i64::try_from(mean).ok()?,
        last: values().next_back(),
    })
}

/// Steps of a mean between the least and the greatest value.
const STEPS: u128 = 255;

/// Rollups of one day, by stretches of `width`, as a column. Noise does not compress, so what few ask for is left out:
/// a mean's last digits, and the last value of what goes up and down.
pub(super) fn encode(rollups: &[Rollup], day: UnixMillis, width: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let place = |rollup: &Rollup| {
        let place = rollup.at.since(day).checked_div(width).unwrap_or(0);
        u32::try_from(place).unwrap_or(u32::MAX)
    };
    put_presence(
        &mut out,
        &rollups.iter().map(place).collect::<Vec<_>>(),
        places(width),
    );
    let rising = rollups
        .iter()
        .filter(|rollup| rollup.last == Some(rollup.max))
        .count();
    let with_last = rising > rollups.len() / 2 && rollups.iter().all(|rollup| rollup.last.is_some());
    out.push(u8::from(with_last));
    let mut column = |value: &dyn Fn(&Rollup) -> i64| {
        put_column(&mut out, &rollups.iter().map(value).collect::<Vec<_>>());
    };
    column(&|rollup| rollup.max);
    column(&|rollup| rollup.max.wrapping_sub(rollup.min));
    column(&|rollup| {
        let step = above(rollup.mean, rollup.min).saturating_mul(STEPS);
        let step = step.checked_div(above(rollup.max, rollup.min)).unwrap_or(0);
        i64::try_from(step).unwrap_or(0)
    });
    if with_last {
        column(&|rollup| rollup.max.wrapping_sub(rollup.last.unwrap_or(rollup.max)));
    }
    out
}

fn above(value: i64, least: i64) -> u128 {
    value.wrapping_sub(least).cast_unsigned().into()
}

pub(super) fn decode(bytes: &[u8], day: UnixMillis, width: u64) -> Result<Vec<Rollup>, Malformed> {
    let mut reader = Reader::new(bytes);
    let present = take_presence(&mut reader, places(width))?;
    let with_last = match reader.byte()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed("a rollup neither has last values nor has none")),
    };
    let mut column = || take_column(&mut reader, present.len());
    let (max, range, mean) = (column()?, column()?, column()?);
    let last = if with_last {
        column()?
    } else {
        vec![0; present.len()]
    };
    reader.end()?;
    let rows = present.iter().zip(max).zip(range.into_iter().zip(mean)).zip(last);
    let rollups = rows.map(|(((place, max), (range, step)), below)| {
        let min = max.wrapping_sub(range);
        let step = u128::try_from(step).unwrap_or(0).min(STEPS);
        let mean = above(max, min)
            .saturating_mul(step)
            .checked_div(STEPS)
            .unwrap_or(0);
        Rollup {
            at: day.plus(u64::from(*place).saturating_mul(width)),
            min,
            max,
            mean: min.wrapping_add_unsigned(u64::try_from(mean).unwrap_or(0)),
            last: with_last.then(|| max.wrapping_sub(below)),
        }
    });
    Ok(rollups.collect())
}

/// Stretches of a day.
fn places(width: u64) -> usize {
    usize::try_from(DAY_MILLIS.checked_div(width).unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_amount_to_what_is_in_them() {
        let points: Vec<(UnixMillis, i64)> = [
            (0, 5),
            (1, -3),
            (299_999, 4),
            (900_000, i64::MAX),
            (900_001, i64::MIN),
        ]
        .map(|(at, value)| (UnixMillis(DAY_MILLIS + at), value))
        .to_vec();
        let day = UnixMillis(DAY_MILLIS);
        let rolled = roll(&points, 300_000);
        let at = |millis, min, max, mean, last| Rollup {
            at: day.plus(millis),
            min,
            max,
            mean,
            last,
        };
        assert_eq!(
            rolled,
            [
                at(0, -3, 5, 2, Some(4)),
                at(900_000, i64::MIN, i64::MAX, -1, Some(i64::MIN))
            ]
        );
        let stored = decode(&encode(&rolled, day, 300_000), day, 300_000).unwrap();
        assert!(stored.iter().all(|rollup| rollup.last.is_none()));
        for (stored, rolled) in stored.iter().zip(&rolled) {
            assert_eq!(
                (stored.at, stored.min, stored.max),
                (rolled.at, rolled.min, rolled.max)
            );
            let off = i128::from(rolled.mean) - i128::from(stored.mean);
            assert!(
                (0..=(i128::from(rolled.max) - i128::from(rolled.min)) / 255 + 1).contains(&off),
                "{off}"
            );
        }
        assert!(roll(&[], 300_000).is_empty());
    }

    #[test]
    fn a_counter_keeps_its_last_values() {
        let points: Vec<(UnixMillis, i64)> = (0..2_000)
            .map(|at| {
                (
                    UnixMillis(DAY_MILLIS + at * 15_000),
                    if at < 990 { 7 * at } else { at }.cast_signed(),
                )
            })
            .collect();
        let day = UnixMillis(DAY_MILLIS);
        let rolled = roll(&points, 300_000);
        let stored = decode(&encode(&rolled, day, 300_000), day, 300_000).unwrap();
        let last = |rollups: &[Rollup]| rollups.iter().map(|rollup| rollup.last).collect::<Vec<_>>();
        assert_eq!(last(&stored), last(&rolled));
    }
}
