use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const NOON: UnixMillis = UnixMillis(43_200_000);
const ALWAYS: Window = Window {
    from: UnixMillis(0),
    until: UnixMillis(u64::MAX),
};

fn key(n: usize) -> Key {
    Key::of(&[&n.to_le_bytes()])
}

fn refused() -> VerifyError {
    VerifyError::Unsupported {
        what: "this".to_owned(),
    }
}

/// How many facts there are and what they weigh, after a look at the memo's own books.
fn extent<V>(memo: &Memo<V>) -> (usize, usize) {
    let remembered = memo.remembered.read().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(remembered.facts.len(), remembered.order.len());
    for (turn, key) in &remembered.order {
        assert_eq!(remembered.facts[key].turn, *turn);
    }
    let weight: usize = remembered.facts.values().map(|fact| fact.weight).sum();
    assert_eq!(weight, remembered.bytes);
    (remembered.facts.len(), remembered.bytes)
}

fn made<V: Clone>(memo: &Memo<V>, key: Key, now: UnixMillis, value: V, window: Window) -> (V, bool) {
    let mut ran = false;
    let value = memo.get_or_try(key, now, || {
        ran = true;
        Ok((value, window))
    });
    (value.unwrap(), ran)
}

#[test]
fn what_was_made_once_is_not_made_again() {
    let memo = Memo::new(4);
    assert_eq!(made(&memo, key(1), NOON, "first", ALWAYS), ("first", true));
    assert_eq!(made(&memo, key(1), NOON, "second", ALWAYS), ("first", false));
    assert_eq!(made(&memo, key(2), NOON, "second", ALWAYS), ("second", true));
}

#[test]
fn parts_that_join_to_the_same_bytes_have_different_keys() {
    let keys = [
        Key::of(&[b"ab", b"c"]),
        Key::of(&[b"a", b"bc"]),
        Key::of(&[b"abc"]),
        Key::of(&[b"abc", b""]),
        Key::of(&[]),
        Key::of(&[b""]),
    ];
    for (i, one) in keys.iter().enumerate() {
        for other in keys.iter().skip(i + 1) {
            assert!(one != other);
        }
    }
    assert!(Key::of(&[b"ab", b"c"]) == keys[0]);
}

#[test]
fn a_window_holds_at_both_ends_and_nowhere_beyond() {
    let window = Window {
        from: UnixMillis(1000),
        until: UnixMillis(2000),
    };
    let memo = Memo::new(4);
    memo.remember(key(1), "known", window);
    for now in [1000, 1500, 2000] {
        assert_eq!(
            made(&memo, key(1), UnixMillis(now), "new", ALWAYS),
            ("known", false)
        );
    }
    for now in [0, 999, 2001, u64::MAX] {
        let outside = memo.get_or_try(key(1), UnixMillis(now), || Err(refused()));
        assert_eq!(outside, Err(refused()), "{now}");
    }
    // The failures outside it took nothing away.
    assert_eq!(memo.recall(key(1), UnixMillis(1500)), Some("known"));
    // What holds at another time takes the place of what held before.
    assert_eq!(
        made(&memo, key(1), UnixMillis(2001), "new", ALWAYS),
        ("new", true)
    );
    assert_eq!(memo.recall(key(1), UnixMillis(1500)), Some("new"));
    assert_eq!(extent(&memo), (1, 0));
}

#[test]
fn what_does_not_hold_now_is_given_but_not_remembered() {
    let memo = Memo::new(4);
    let past = Window {
        from: UnixMillis(0),
        until: UnixMillis(NOON.0 - 1),
    };
    assert_eq!(made(&memo, key(1), NOON, "past", past), ("past", true));
    assert_eq!(extent(&memo), (0, 0));
}

#[test]
fn windows_intersect() {
    let morning = Window {
        from: UnixMillis(10),
        until: UnixMillis(20),
    };
    let day = Window {
        from: UnixMillis(15),
        until: UnixMillis(30),
    };
    let both = Window {
        from: UnixMillis(15),
        until: UnixMillis(20),
    };
    assert_eq!(morning.and(&day), both);
    assert_eq!(day.and(&morning), both);
    assert_eq!(day.and(&ALWAYS), day);
}

#[test]
fn the_oldest_goes_when_there_are_too_many() {
    let memo = Memo::new(3);
    for n in 0..3 {
        memo.remember(key(n), n, ALWAYS);
    }
    // Remembered anew, the first is the youngest.
    memo.remember(key(0), 100, ALWAYS);
    memo.remember(key(3), 3, ALWAYS);
    let left: Vec<Option<usize>> = (0..4).map(|n| memo.recall(key(n), NOON)).collect();
    assert_eq!(left, [Some(100), None, Some(2), Some(3)]);
    for n in 4..10_000 {
        memo.remember(key(n), n, ALWAYS);
        assert!(extent(&memo).0 <= 3);
    }
    assert_eq!(memo.recall(key(9_999), NOON), Some(9_999));
}

#[test]
fn the_oldest_go_when_they_are_too_large() {
    let memo: Memo<Arc<[u8]>> = Memo::weighing(100, 1000, |bytes| bytes.len());
    for n in 0..10 {
        memo.remember(key(n), vec![0; 100].into(), ALWAYS);
    }
    assert_eq!(extent(&memo), (10, 1000));
    memo.remember(key(10), vec![0; 250].into(), ALWAYS);
    assert_eq!(extent(&memo), (8, 950));
    assert_eq!(memo.recall(key(2), NOON), None);
    assert!(memo.recall(key(3), NOON).is_some());
    // What is larger than the whole memo is given and not remembered, and drives nothing out.
    let huge: Arc<[u8]> = vec![0; 1001].into();
    assert!(made(&memo, key(11), NOON, Arc::clone(&huge), ALWAYS).1);
    assert!(made(&memo, key(11), NOON, huge, ALWAYS).1);
    assert_eq!(extent(&memo), (8, 950));
}

#[test]
fn a_memo_of_nothing_remembers_nothing() {
    let memo = Memo::new(0);
    assert!(made(&memo, key(1), NOON, 1, ALWAYS).1);
    assert!(made(&memo, key(1), NOON, 1, ALWAYS).1);
    assert_eq!(extent(&memo), (0, 0));
}

#[test]
fn a_million_failures_leave_no_trace() {
    let memo: Memo<usize> = Memo::new(8);
    memo.remember(key(usize::MAX), 7, ALWAYS);
    for n in 0..1_000_000 {
        assert_eq!(memo.get_or_try(key(n), NOON, || Err(refused())), Err(refused()));
    }
    assert_eq!(extent(&memo), (1, 0));
    assert_eq!(memo.recall(key(usize::MAX), NOON), Some(7));
    let remembered = memo.remembered.read().unwrap();
    assert!(remembered.facts.capacity() < 64);
}

#[test]
fn threads_share_what_each_of_them_proved() {
    let memo: Memo<usize> = Memo::new(64);
    let makings = AtomicUsize::new(0);
    let threads = 4;
    std::thread::scope(|scope| {
        for offset in 0..threads {
            let (memo, makings) = (&memo, &makings);
            scope.spawn(move || {
                for round in 0..2_000 {
                    let n = (round + offset) % 32;
                    let value = memo.get_or_try(key(n), NOON, || {
                        makings.fetch_add(1, Ordering::Relaxed);
                        Ok((n, ALWAYS))
                    });
                    assert_eq!(value, Ok(n));
                }
            });
        }
    });
    let makings = makings.into_inner();
    assert!((32..=32 * threads).contains(&makings), "{makings}");
    assert_eq!(extent(&memo), (32, 0));
}

#[test]
fn threads_that_evict_each_other_keep_the_bounds() {
    let memo: Memo<usize> = Memo::weighing(16, 100, |_| 10);
    std::thread::scope(|scope| {
        for offset in 0..4 {
            let memo = &memo;
            scope.spawn(move || {
                for round in 0..2_000 {
                    let n = round * (offset + 1);
                    assert_eq!(memo.get_or_try(key(n), NOON, || Ok((n, ALWAYS))), Ok(n));
                }
            });
        }
    });
    assert_eq!(extent(&memo), (10, 100));
}

/// A value whose clone panics while the memo's lock is held.
struct Explosive(bool);

impl Clone for Explosive {
    fn clone(&self) -> Self {
        assert!(!self.0, "as asked");
        Self(self.0)
    }
}

#[test]
fn a_panic_elsewhere_does_not_end_the_memo() {
    let memo = Memo::weighing(4, usize::MAX, |value: &Explosive| {
        assert!(!value.0, "as asked");
        0
    });
    memo.remember(key(1), Explosive(false), ALWAYS);
    // While making, without a lock; while weighing; and with the write lock held.
    let making = || memo.get_or_try(key(2), NOON, || panic!("as asked"));
    assert!(catch_unwind(AssertUnwindSafe(making)).is_err());
    let weighing = || memo.remember(key(2), Explosive(true), ALWAYS);
    assert!(catch_unwind(AssertUnwindSafe(weighing)).is_err());
    let holding = || {
        let _held = memo.remembered.write().unwrap();
        panic!("as asked")
    };
    assert!(catch_unwind(AssertUnwindSafe(holding)).is_err());
    assert!(memo.remembered.is_poisoned());
    assert!(memo.recall(key(1), NOON).is_some());
    memo.remember(key(3), Explosive(false), ALWAYS);
    assert!(memo.recall(key(3), NOON).is_some());
    assert_eq!(extent(&memo), (2, 0));
}
