//! The work that messages make (specification §5.A `messageQueue`): bounded, in order for each channel, fair between
//! them.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::error::ChannelError;

/// Most jobs that wait, over all lanes (specification §5.A).
pub const QUEUE: usize = 1_000;
/// Most jobs that wait in one lane of many: as many lanes as there are workers can be slow at once, and there is still
/// room for the others.
pub const LANE: usize = QUEUE / 4;
/// How many jobs run at once (specification §5.A).
pub const WORKERS: usize = 3;
/// How long a job waits for room (specification §5.A).
pub const ENQUEUE: Duration = Duration::from_secs(5);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Jobs in lanes, one lane for each key. The jobs of a lane run one after the other, in the order in which they got in;
/// lanes run side by side on [`WORKERS`] tasks. A lane that has had a job run goes behind the others that wait, so that
/// none waits for more than one job of each of them.
///
/// A job that does not end holds its worker: give it a deadline of its own. One that panics costs only itself.
///
/// Dropping the queue drops every job, also those that run.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
    workers: tokio::sync::Mutex<JoinSet<()>>,
    /// Of the workers, for who cannot wait for them.
    aborts: Vec<AbortHandle>,
}

impl<K: Eq + Hash + Clone + Send + 'static> Queue<K> {
    /// An empty queue, all of which one lane may fill, and its workers. Only within a tokio runtime.
    pub fn new() -> Self {
        Self::with_lanes_of(QUEUE)
    }

    /// An empty queue for lanes of strangers to each other, none of which holds more than [`LANE`]. Only within a tokio
    /// runtime.
    pub fn for_many() -> Self {
        Self::with_lanes_of(LANE)
    }

    fn with_lanes_of(lane: usize) -> Self {
        let shared = Arc::new(Shared {
            lane,
            places: Arc::new(Semaphore::new(QUEUE)),
            ready: Semaphore::new(0),
            state: Mutex::new(State {
                lanes: HashMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
                running: 0,
                open: true,
            }),
        });
        let mut workers = JoinSet::new();
        let aborts = (0..WORKERS)
            .map(|_| workers.spawn(work(Arc::clone(&shared))))
            .collect();
        Self {
            shared,
            aborts,
            workers: tokio::sync::Mutex::new(workers),
        }
    }

    /// Puts `job` at the end of `lane`, and waits for room if there is none. Whoever stops waiting has put nothing.
    ///
    /// # Errors
    /// [`ChannelError::QueueFull`] if there was no room within [`ENQUEUE`], with the bound that was met: of the
    /// queue or of the lane. [`ChannelError::Closed`] if the queue is drained, or the lane was removed in the meantime.
    pub async fn enqueue(
        &self,
        lane: K,
        job: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ChannelError> {
        let comer = Comer::join(&self.shared, lane)?;
        let mut full = self.shared.lane;
        let places = async {
            let in_lane = Arc::clone(&comer.room).acquire_owned().await?;
            full = QUEUE;
            let in_queue = Arc::clone(&self.shared.places).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>([in_lane, in_queue])
        };
        match timeout(ENQUEUE, places).await {
            Ok(Ok(places)) => comer.put(Entry {
                job: Box::pin(job),
                places,
            }),
            Ok(Err(_closed)) => Err(ChannelError::Closed),
            Err(_elapsed) => Err(ChannelError::QueueFull(full)),
        }
    }

    /// How many jobs wait.
    pub fn depth(&self) -> usize {
        self.shared.lock().waiting
    }

    /// Drops what waits in a lane, for its channel has ended, and gives how many jobs that were. Who waits for room in
    /// it is turned away. A job of it that runs already runs to its end, and what comes to the same lane later runs
    /// after it.
    pub fn remove(&self, lane: &K) -> usize {
        let mut state = self.shared.lock();
        let Some(held) = state.lanes.get_mut(lane) else {
            return 0;
        };
        held.room.close();
        held.room = Arc::new(Semaphore::new(self.shared.lane));
        let dropped = std::mem::take(&mut held.jobs);
        state.waiting = state.waiting.saturating_sub(dropped.len());
        state.turns.retain(|key| key != lane);
        state.forget_if_idle(lane);
        self.shared.stop_if_done(&state);
        drop(state);
        let count = dropped.len();
        dropped.into_iter().for_each(discard);
        count
    }

    /// Takes no more jobs, and works off those that wait. What has not ended after `deadline` is dropped: what waits at
    /// once, what runs at its next `await`. Gives how many jobs these were; of a queue that has been drained, none.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.shared.close();
        let worked_off = timeout(deadline, async {
            let mut workers = self.workers.lock().await;
            while workers.join_next().await.is_some() {}
        });
        if worked_off.await.is_ok() {
            return 0;
        }
        self.aborts.iter().for_each(AbortHandle::abort);
        self.shared.abandon()
    }
}

impl<K> Drop for Queue<K> {
    fn drop(&mut self) {
        // What runs goes with the workers.
        self.shared.abandon();
    }
}

impl<K: Eq + Hash + Clone + Send + 'static> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

struct Shared<K> {
    /// Most jobs that wait in one lane.
    lane: usize,
    /// One permit for each job that may still wait.
    places: Arc<Semaphore>,
    /// One permit for each turn, and some of lanes that were removed. Closed when there will be no more turns.
    ready: Semaphore,
    state: Mutex<State<K>>,
}

struct State<K> {
    lanes: HashMap<K, Lane>,
    /// Lanes of which a job waits and none runs, in the order of their turns.
    turns: VecDeque<K>,
    waiting: usize,
    running: usize,
    open: bool,
}

struct Lane {
    jobs: VecDeque<Entry>,
    running: bool,
    /// One permit for each job that may still wait in it. Closed when the lane is removed.
    room: Arc<Semaphore>,
    /// How many wait for room.
    comers: usize,
}

/// A job, and the room that it takes in its lane and in the queue.
struct Entry {
    job: Job,
    places: [OwnedSemaphorePermit; 2],
}

impl<K> Shared<K> {
    /// Nothing panics while the state is locked but the hash of a key, and it is whole then.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what waits, and forgets what runs. Gives how many jobs that were.
    fn abandon(&self) -> usize {
        let mut state = self.lock();
        let left = state.waiting.saturating_add(state.running);
        (state.waiting, state.running, state.open) = (0, 0, false);
        state.turns.clear();
        let lanes = std::mem::take(&mut state.lanes);
        drop(state);
        self.ready.close();
        lanes.into_values().flat_map(|lane| lane.jobs).for_each(discard);
        left
    }
}

impl<K: Eq + Hash + Clone> Shared<K> {
    /// Makes a lane's next job its turn, behind those of all others.
    fn give_turn(&self, state: &mut State<K>, lane: K) {
        state.turns.push_back(lane);
        self.ready.add_permits(1);
    }

    fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        self.places.close();
        for lane in state.lanes.values() {
            lane.room.close();
        }
        self.stop_if_done(&state);
    }

    /// Sends the workers home when nothing will come any more. Jobs that run end first.
    fn stop_if_done(&self, state: &State<K>) {
        if !state.open && state.waiting == 0 {
            self.ready.close();
        }
    }

    /// The job whose turn it is; none when there will be no more.
    async fn next(&self) -> Option<(K, Entry)> {
        loop {
            self.ready.acquire().await.ok()?.forget();
            let mut state = self.lock();
            let Some(key) = state.turns.pop_front() else {
                continue;
            };
            let entry = state.lanes.get_mut(&key).and_then(|lane| {
                let entry = lane.jobs.pop_front()?;
                lane.running = true;
                Some(entry)
            });
            if let Some(entry) = entry {
                state.waiting = state.waiting.saturating_sub(1);
                state.running = state.running.saturating_add(1);
                self.stop_if_done(&state);
                return Some((key, entry));
            }
        }
    }

    fn done(&self, key: K) {
        let mut state = self.lock();
        // Nothing is left to count after the deadline of a drain.
        let Some(lane) = state.lanes.get_mut(&key) else {
            return;
        };
        lane.running = false;
        let waits = !lane.jobs.is_empty();
        state.running = state.running.saturating_sub(1);
        if waits {
            self.give_turn(&mut state, key);
        } else {
            state.forget_if_idle(&key);
        }
    }
}

impl<K: Eq + Hash> State<K> {
    fn forget_if_idle(&mut self, key: &K) {
        let idle = |lane: &Lane| lane.jobs.is_empty() && !lane.running && lane.comers == 0;
        if self.lanes.get(key).is_some_and(idle) {
            self.lanes.remove(key);
        }
    }
}

/// One that wants room in a lane. The lane stays as long as it does.
struct Comer<'a, K: Eq + Hash + Clone> {
    shared: &'a Shared<K>,
    key: K,
    room: Arc<Semaphore>,
}

impl<'a, K: Eq + Hash + Clone> Comer<'a, K> {
    fn join(shared: &'a Shared<K>, key: K) -> Result<Self, ChannelError> {
        let mut state = shared.lock();
        if !state.open {
            return Err(ChannelError::Closed);
        }
        let lane = state.lanes.entry(key.clone()).or_insert_with(|| Lane {
            jobs: VecDeque::new(),
            running: false,
            room: Arc::new(Semaphore::new(shared.lane)),
            comers: 0,
        });
        lane.comers = lane.comers.saturating_add(1);
        let room = Arc::clone(&lane.room);
        Ok(Self { shared, key, room })
    }

    fn put(&self, entry: Entry) -> Result<(), ChannelError> {
        let mut state = self.shared.lock();
        // The lane may have been removed, and come again, while this waited for room in the queue.
        if !state.open || self.room.is_closed() {
            drop(state);
            return Err(ChannelError::Closed);
        }
        let Some(lane) = state.lanes.get_mut(&self.key) else {
            drop(state);
            return Err(ChannelError::Closed);
        };
        let is_next = lane.jobs.is_empty() && !lane.running;
        lane.jobs.push_back(entry);
        state.waiting = state.waiting.saturating_add(1);
        if is_next {
            self.shared.give_turn(&mut state, self.key.clone());
        }
        Ok(())
    }
}

impl<K: Eq + Hash + Clone> Drop for Comer<'_, K> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(lane) = state.lanes.get_mut(&self.key) {
            lane.comers = lane.comers.saturating_sub(1);
        }
        state.forget_if_idle(&self.key);
    }
}

async fn work<K: Eq + Hash + Clone>(shared: Arc<Shared<K>>) {
    while let Some((key, Entry { job, places })) = shared.next().await {
        drop(places);
        run(job).await;
        shared.done(key);
    }
}

/// Runs a job to its end. The panic hook has told of a panic by the time that it is caught.
async fn run(mut job: Job) {
    poll_fn(|context| {
        let poll = AssertUnwindSafe(|| job.as_mut().poll(context));
        catch_unwind(poll).unwrap_or(Poll::Ready(()))
    })
    .await;
    discard(job);
}

/// Drops a job: what it holds is foreign code, and may panic when it goes. Each by itself, for two panics at once end the
/// process.
fn discard<T>(job: T) {
    let _panicked = catch_unwind(AssertUnwindSafe(move || drop(job)));
}

#[cfg(test)]
mod tests;
