use super::*;
use crate::schedule::tests::seeded;

const START: Duration = Duration::from_millis(12_345);

fn after(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

#[test]
fn policies_have_names() {
    for policy in BackPressure::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    let unknown = "Drop-Oldest".parse::<BackPressure>().unwrap_err();
    assert_eq!(unknown, UnknownPolicy("Drop-Oldest".to_owned()));
    assert_eq!(
        unknown.to_string(),
        "`Drop-Oldest` is no policy for back-pressure: give drop-oldest, drop-newest or wait"
    );
    let long = "x".repeat(1000).parse::<BackPressure>().unwrap_err();
    assert_eq!(long, UnknownPolicy("x".repeat(64)));
}

#[test]
fn a_flush_is_due_with_each_interval_that_has_samples() {
    let mut buffer = Aggregator::new(START);
    assert!(!buffer.due(after(1000)), "there is nothing to sign");
    buffer.push(1).unwrap();
    assert!(!buffer.due(after(29)));
    assert!(buffer.due(after(30)));
    assert_eq!(buffer.take_batch(after(30)), [1]);
    // One that was late moves no other.
    buffer.push(2).unwrap();
    assert!(!buffer.due(after(59)));
    assert!(buffer.due(after(60)));
    assert_eq!(buffer.take_batch(after(89)), [2]);
    buffer.push(3).unwrap();
    buffer.push(4).unwrap();
    assert!(!buffer.due(after(89)));
    assert!(buffer.due(after(90)));
    // After a window was closed at any time, the next flush is at its time.
    assert_eq!(buffer.take_batch(after(100)), [3, 4]);
    buffer.push(5).unwrap();
    assert!(!buffer.due(after(119)));
    assert!(buffer.due(after(120)));
    // A clock that is set back brings no flush forward.
    assert_eq!(buffer.take_batch(Duration::ZERO), [5]);
    buffer.push(6).unwrap();
    assert!(!buffer.due(after(119)));
    assert!(buffer.due(after(120)));
}

#[test]
fn every_tick_of_a_flush_interval_is_flushed_at_once() {
    let mut buffer = Aggregator::new(START);
    for tick in 1..100 {
        buffer.push(tick).unwrap();
        assert!(buffer.due(after(30 * tick)));
        assert_eq!(buffer.take_batch(after(30 * tick)), [tick]);
    }
    let mut buffer = Aggregator::with_limits(CAPACITY, Duration::ZERO, START);
    buffer.push(()).unwrap();
    assert!(buffer.due(START));
    buffer.take_batch(START);
    buffer.push(()).unwrap();
    assert!(buffer.due(START));
}

#[test]
fn what_is_chained_is_never_dropped_silently() {
    let mut buffer = Aggregator::new(START);
    for item in 0..1000 {
        assert!(!buffer.due(after(1)));
        buffer.push(item).unwrap();
    }
    assert!(buffer.due(after(1)), "it is full before its time");
    let full = buffer.push(1000).unwrap_err();
    assert_eq!(
        full,
        Full {
            capacity: CAPACITY,
            item: 1000
        }
    );
    assert_eq!(
        full.to_string(),
        "1000 samples wait to be signed and there is no room for more: sign a batch first"
    );
    assert!(buffer.take_batch(after(1)).into_iter().eq(0..1000));
    assert!(buffer.is_empty());
}

#[test]
fn a_batch_is_bounded() {
    let capacity = 2500;
    let mut buffer = Aggregator::with_limits(capacity, FLUSH_INTERVAL, START);
    for item in 0..2500 {
        buffer.push(item).unwrap();
    }
    let mut all = Vec::new();
    for (size, is_due_again) in [(1000, true), (1000, false), (500, false), (0, false)] {
        let batch = buffer.take_batch(after(30));
        assert_eq!((batch.len(), buffer.due(after(30))), (size, is_due_again));
        all.extend(batch);
    }
    assert!(all.into_iter().eq(0..2500));
}

#[test]
fn order_and_number_hold_under_random_schedules() {
    for seed in 0..50 {
        let mut random = seeded(seed);
        let capacity = usize::try_from(random() % 40 + 1).unwrap();
        let mut buffer = Aggregator::with_limits(capacity, FLUSH_INTERVAL, START);
        let (mut pushed, mut taken, mut now) = (0_u64, Vec::new(), START);
        for _ in 0..5000 {
            now += Duration::from_millis(random() % 3000);
            match buffer.push(pushed) {
                Ok(()) => pushed += 1,
                Err(full) => {
                    assert_eq!((full.item, buffer.len()), (pushed, capacity));
                    assert!(buffer.due(now));
                }
            }
            if random().is_multiple_of(50) || buffer.due(now) && random().is_multiple_of(2) {
                taken.extend(buffer.take_batch(now));
                assert!(!buffer.due(now));
            }
            assert!(buffer.iter().copied().eq(taken.len() as u64..pushed));
        }
        assert!(taken.iter().copied().eq(0..taken.len() as u64), "seed {seed}");
    }
}
