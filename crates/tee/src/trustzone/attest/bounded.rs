//! A bound on calls that nothing can cut short.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

/// Runs one call at a time, and waits so long for each. A call that hangs keeps its thread; until it comes back, no
/// second is made.
#[derive(Clone)]
pub(super) struct Bounded {
    deadline: Duration,
    busy: Arc<Mutex<()>>,
}

/// Why a call gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoResult {
    /// It did not come back in time, or one before it did not.
    Late,
    /// There is no thread for it, or its thread ended.
    Lost,
}

impl Bounded {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            busy: Arc::default(),
        }
    }

    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        if matches!(self.busy.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(NoResult::Late);
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let busy = Arc::clone(&self.busy);
        let call = move || {
            let result = {
                let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
                work()
            };
            // Nobody may be waiting any more: what comes too late is dropped.
            let _late = answer.send(result);
        };
        thread::Builder::new()
            .name("op-tee".to_owned())
            .spawn(call)
            .map_err(|_| NoResult::Lost)?;
        answered.recv_timeout(self.deadline).map_err(|why| match why {
            RecvTimeoutError::Timeout => NoResult::Late,
            RecvTimeoutError::Disconnected => NoResult::Lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_given_up_and_no_other_is_made_until_it_is_back() {
        let bounded = Bounded::new(Duration::from_millis(50));
        let (tell, told) = mpsc::channel::<()>();
        let (back, is_back) = mpsc::channel();
        let hanging = move || {
            let _ended = told.recv();
            back.send(()).unwrap();
        };
        assert_eq!(bounded.run(hanging), Err(NoResult::Late));
        assert_eq!(bounded.run(|| 1), Err(NoResult::Late));
        drop(tell);
        is_back.recv().unwrap();
        drop(bounded.busy.lock());
        assert_eq!(bounded.run(|| 2), Ok(2));
    }

    #[test]
    fn a_call_that_panics_is_lost_and_the_next_is_made() {
        let bounded = Bounded::new(Duration::from_secs(60));
        assert_eq!(
            bounded.run(|| panic!("as it should")),
            Err::<(), _>(NoResult::Lost)
        );
        // Its thread gives back what it held before it tells that it ended.
        drop(bounded.busy.lock());
        assert_eq!(bounded.run(|| 3), Ok(3));
    }
}
