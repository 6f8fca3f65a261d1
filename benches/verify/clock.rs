//! Timing on a machine that does other things too: CPU time of this thread, least of several batches.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

const BATCHES: usize = 15;
/// Long enough for the clock's grain not to matter.
const BATCH: Duration = Duration::from_millis(60);

/// CPU time that this thread has used, in seconds.
pub fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Microseconds of CPU time that `run` takes.
pub fn micros(mut run: impl FnMut()) -> f64 {
    micros_after(|| (), |()| run())
}

/// Microseconds of CPU time that `run` takes with what `prepare` makes, which is not counted.
pub fn micros_after<T>(mut prepare: impl FnMut() -> T, mut run: impl FnMut(T)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let (mut spent, mut count) = (0.0, 0u32);
        while spent < BATCH.as_secs_f64() {
            let made = prepare();
            let before = thread_seconds();
            run(made);
            spent += thread_seconds() - before;
            count += 1;
        }
        best = best.min(spent / f64::from(count));
    }
    best * 1e6
}
