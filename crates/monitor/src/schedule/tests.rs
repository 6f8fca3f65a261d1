use std::cell::Cell;
use std::future::Future as _;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use nautilus_core::UnixMillis;
use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(30);

/// Numbers that look random, the same for the same seed.
pub(crate) fn seeded(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A machine whose clocks pass as told.
#[derive(Clone, Copy)]
struct Machine {
    monotonic: Duration,
    suspended: Duration,
    wall: i64,
}

impl Machine {
    const fn new() -> Self {
        Self {
            monotonic: Duration::from_nanos(77_123_456_789),
            suspended: SECOND,
            wall: 1_800_000_000_000,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.monotonic += time;
    }

    fn suspend(&mut self, time: Duration) {
        self.suspended += time;
    }

    fn step(&mut self, millis: i64) {
        self.wall += millis;
    }

    fn reading(&self) -> ClockReading {
        let boottime = self.monotonic + self.suspended;
        let wall = self.wall + i64::try_from(boottime.as_millis()).unwrap();
        ClockReading {
            monotonic: self.monotonic,
            boottime,
            wall: UnixMillis(u64::try_from(wall).unwrap()),
        }
    }

    /// Passes until `late` after the next tick is due, and takes it.
    fn tick(&mut self, ticks: &mut Ticks, late: Duration) -> Tick {
        self.monotonic = ticks.due() + late;
        ticks.advance(&self.reading()).unwrap()
    }
}

#[test]
fn an_interval_is_at_least_a_millisecond() {
    let now = Machine::new().reading();
    let short = MIN_INTERVAL - Duration::from_nanos(1);
    assert_eq!(
        Ticks::starting(short, &now).unwrap_err(),
        ScheduleError::IntervalTooShort(short)
    );
    assert_eq!(
        ScheduleError::IntervalTooShort(Duration::ZERO).to_string(),
        "an interval of 0ns between samples is too short: it is at least 1ms"
    );
    Ticks::starting(MIN_INTERVAL, &now).unwrap();
}

#[test]
fn a_tick_comes_when_it_is_due_and_once() {
    let mut machine = Machine::new();
    let start = machine.monotonic;
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    assert_eq!(ticks.due(), start + INTERVAL);
    machine.pass(INTERVAL - Duration::from_nanos(1));
    assert_eq!(ticks.advance(&machine.reading()), None);
    machine.pass(Duration::from_nanos(1));
    let tick = ticks.advance(&machine.reading()).unwrap();
    assert_eq!(
        tick,
        Tick {
            due: start + INTERVAL,
            index: 1,
            missed: 0,
            monotonic_millis: 107_123,
            clock_step_millis: 0,
            suspended_millis: 0,
        }
    );
    assert_eq!(ticks.advance(&machine.reading()), None);
}

#[test]
fn a_million_late_ticks_do_not_drift() {
    for (seed, interval) in [
        (1, Duration::from_millis(1)),
        (2, Duration::from_nanos(33_333_333)),
        (3, INTERVAL),
    ] {
        let mut random = seeded(seed);
        let mut machine = Machine::new();
        let start = machine.monotonic;
        let mut ticks = Ticks::starting(interval, &machine.reading()).unwrap();
        let mut last = None;
        for index in 1..=1_000_000_u32 {
            let nanos = u64::try_from(interval.as_nanos()).unwrap();
            let tick = machine.tick(&mut ticks, Duration::from_nanos(random() % nanos));
            assert_eq!((tick.index, tick.missed), (index.into(), 0));
            assert_eq!(tick.due, start + interval * index);
            assert!(last < Some(tick.monotonic_millis), "{last:?} {tick:?}");
            last = Some(tick.monotonic_millis);
        }
        // What a millisecond of its own adds does not add up.
        let told = Duration::from_millis(last.unwrap());
        assert!(told.abs_diff(machine.monotonic) < 2 * MIN_INTERVAL);
    }
}

#[test]
fn missed_ticks_add_up() {
    for seed in 0..20 {
        let mut random = seeded(seed);
        let mut machine = Machine::new();
        let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
        let (mut measured, mut missed, mut unmeasured, mut last) = (0, 0, None, 0);
        for _ in 0..10_000 {
            machine.pass(Duration::from_millis(random() % 100_000));
            let Some(tick) = ticks.advance(&machine.reading()) else {
                continue;
            };
            assert!(tick.index > last);
            last = tick.index;
            if random().is_multiple_of(4) {
                ticks.unmeasured(&tick);
                unmeasured = Some(tick);
            } else {
                measured += 1;
                missed += u64::from(tick.missed);
                unmeasured = None;
            }
        }
        let owed = unmeasured.map_or(0, |tick| u64::from(tick.missed) + 1);
        assert_eq!(measured + missed + owed, last, "seed {seed}");
    }
}

#[test]
fn steps_of_the_wall_clock_are_told_once_in_either_direction() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    for step in [500, -500, 3_600_000, -86_400_000, 86_400_000] {
        machine.step(step);
        let tick = machine.tick(&mut ticks, Duration::ZERO);
        assert_eq!((tick.clock_step_millis, tick.suspended_millis), (step, 0));
        assert_eq!(machine.tick(&mut ticks, Duration::ZERO).clock_step_millis, 0);
    }
}

#[test]
fn small_steps_add_up_and_what_is_undone_is_none() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    let mut told = Vec::new();
    for step in [200, 200, 200, -400, 300, -350, -450] {
        machine.step(step);
        told.push(machine.tick(&mut ticks, Duration::ZERO).clock_step_millis);
    }
    assert_eq!(told, [0, 0, 600, 0, 0, 0, -900]);
}

#[test]
fn random_steps_are_told_in_full() {
    let mut random = seeded(9);
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    let (mut stepped, mut told) = (0, 0);
    for _ in 0..10_000 {
        let step = i64::try_from(random() % 4001).unwrap() - 2000;
        machine.step(step);
        stepped += step;
        machine.suspend(Duration::from_micros(random() % 3_000_000));
        let late = Duration::from_micros(random() % 90_000_000);
        told += machine.tick(&mut ticks, late).clock_step_millis;
        assert!((stepped - told).unsigned_abs() < CLOCK_THRESHOLD_MILLIS);
    }
}

#[test]
fn a_suspend_of_hours_is_told_once_and_is_no_burst() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    machine.pass(10 * SECOND);
    assert_eq!(ticks.advance(&machine.reading()), None);
    let hours = 7 * 3600;
    machine.suspend(SECOND * hours);
    assert_eq!(ticks.advance(&machine.reading()), None, "time did not pass");
    assert_eq!(ticks.due(), machine.monotonic + 20 * SECOND);
    let tick = machine.tick(&mut ticks, Duration::ZERO);
    assert_eq!((tick.index, tick.missed, tick.clock_step_millis), (1, 0, 0));
    assert_eq!(tick.suspended_millis, u64::from(hours) * 1000);
    let next = machine.tick(&mut ticks, Duration::ZERO);
    assert_eq!((next.index, next.missed, next.suspended_millis), (2, 0, 0));
}

#[test]
fn short_suspends_add_up() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    let told: Vec<_> = (0..5)
        .map(|_| {
            machine.suspend(Duration::from_millis(200));
            machine.tick(&mut ticks, Duration::ZERO).suspended_millis
        })
        .collect();
    assert_eq!(told, [0, 0, 600, 0, 0]);
}

#[test]
fn a_process_that_was_stopped_for_hours_gets_one_tick() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    let tick = machine.tick(&mut ticks, INTERVAL * 1000 + SECOND);
    assert_eq!((tick.index, tick.missed), (1001, 1000));
    assert_eq!(ticks.advance(&machine.reading()), None);
    assert_eq!(ticks.due(), tick.due + INTERVAL);
}

#[test]
fn what_an_unmeasured_tick_told_is_told_with_the_next() {
    let mut machine = Machine::new();
    let mut ticks = Ticks::starting(INTERVAL, &machine.reading()).unwrap();
    machine.step(-2000);
    machine.suspend(5 * SECOND);
    let first = machine.tick(&mut ticks, INTERVAL * 2);
    ticks.unmeasured(&first);
    machine.step(3000);
    let next = machine.tick(&mut ticks, Duration::ZERO);
    assert_eq!(
        (next.missed, next.clock_step_millis, next.suspended_millis),
        (3, 1000, 5000)
    );
    let after = machine.tick(&mut ticks, Duration::ZERO);
    assert_eq!(
        (after.missed, after.clock_step_millis, after.suspended_millis),
        (0, 0, 0)
    );
}

#[test]
fn hostile_clocks_do_no_harm() {
    let far = ClockReading {
        monotonic: Duration::MAX,
        boottime: Duration::MAX,
        wall: UnixMillis(u64::MAX),
    };
    let none = ClockReading {
        monotonic: Duration::ZERO,
        boottime: Duration::ZERO,
        wall: UnixMillis(0),
    };
    let mut ticks = Ticks::starting(MIN_INTERVAL, &none).unwrap();
    assert_eq!(ticks.advance(&far).unwrap().missed, u32::MAX);
    assert_eq!(ticks.advance(&none), None);
    let mut ticks = Ticks::starting(MIN_INTERVAL, &far).unwrap();
    assert_eq!(ticks.advance(&none), None);
    assert_eq!(ticks.due(), Duration::MAX);
}

/// The runtime's time, less what the machine's clock stood still.
struct RuntimeClock {
    origin: Instant,
    still: Rc<Cell<Duration>>,
}

impl Clock for RuntimeClock {
    fn read(&self) -> ClockReading {
        let mut machine = Machine::new();
        machine.pass(self.origin.elapsed() - self.still.get());
        machine.reading()
    }
}

fn schedule() -> Schedule<RuntimeClock> {
    let clock = RuntimeClock {
        origin: Instant::now(),
        still: Rc::default(),
    };
    Schedule::starting(INTERVAL, clock).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_schedule_waits_for_each_tick() {
    let mut schedule = schedule();
    let begin = Instant::now();
    for index in 1..=100_u32 {
        let tick = schedule.next().await;
        assert_eq!((tick.index, tick.missed), (index.into(), 0));
        assert_eq!(tick.due, schedule.start() + INTERVAL * index);
        // The runtime's timers have a millisecond's precision.
        let late = schedule.now().monotonic - tick.due;
        assert!(late <= Duration::from_millis(1), "{late:?}");
        advance(Duration::from_millis(u64::from(index) * 290)).await;
    }
    assert!(begin.elapsed() >= INTERVAL * 100);
    advance(INTERVAL * 5).await;
    assert_eq!(schedule.next().await.missed, 4);
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_is_waited_for_in_pieces_is_not_lost() {
    let mut schedule = schedule();
    let mut turns = 0;
    let tick = loop {
        tokio::select! {
            biased;
            () = sleep(7 * SECOND) => turns += 1,
            tick = schedule.next() => break tick,
        }
    };
    assert_eq!((turns, tick.index, tick.missed), (4, 1, 0));
    // One that was due, but not taken, comes with the next wait.
    let mut next = pin!(schedule.next());
    let mut context = Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(&mut context).is_pending());
    advance(INTERVAL + SECOND).await;
    assert_eq!(next.await.index, 2);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_ends_early_is_no_tick() {
    let mut schedule = schedule();
    let (still, begin) = (Rc::clone(&schedule.clock.still), Instant::now());
    let mut next = pin!(schedule.next());
    let mut context = Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(&mut context).is_pending());
    still.set(10 * SECOND);
    assert_eq!(next.await.index, 1);
    assert!(begin.elapsed() >= INTERVAL + 10 * SECOND);
}

#[tokio::test]
async fn the_machines_clock_and_the_runtimes_timer_agree() {
    let mut schedule = Schedule::starting(MIN_INTERVAL, MachineClock).unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let tick = schedule.next().await;
        assert!(tick.due <= schedule.now().monotonic);
        assert_eq!(tick.index, last + 1 + u64::from(tick.missed));
        last = tick.index;
    }
}
