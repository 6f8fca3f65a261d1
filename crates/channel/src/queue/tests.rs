use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Barrier, Notify, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::*;
use crate::backoff::seeded;

const HOUR: Duration = Duration::from_secs(3600);

/// Occupies all workers, each with a lane of its own from `first` on, until the result is used.
async fn occupy(queue: &Queue<usize>, first: usize) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let started = Arc::new(Barrier::new(WORKERS + 1));
    for lane in first..first + WORKERS {
        let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
        let job = async move {
            started.wait().await;
            drop(gate.acquire().await);
        };
        queue.enqueue(lane, job).await.unwrap();
    }
    started.wait().await;
    gate
}

/// Fills the queue with jobs that count themselves.
async fn fill(queue: &Queue<usize>) -> Arc<AtomicUsize> {
    let ran = Arc::new(AtomicUsize::new(0));
    for number in 0..QUEUE {
        let ran = Arc::clone(&ran);
        let job = async move {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        queue.enqueue(number % 10, job).await.unwrap();
    }
    assert_eq!(queue.depth(), QUEUE);
    ran
}

#[tokio::test(start_paused = true)]
async fn a_lane_keeps_its_order_though_its_jobs_take_less_and_less_time() {
    let queue = Queue::new();
    let (tell, mut told) = mpsc::unbounded_channel();
    for number in 0..50 {
        let tell = tell.clone();
        let job = async move {
            sleep(Duration::from_millis(50 - number)).await;
            tell.send(number).unwrap();
        };
        queue.enqueue("one", job).await.unwrap();
    }
    drop(tell);
    let mut order = Vec::new();
    while let Some(number) = told.recv().await {
        order.push(number);
    }
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn as_many_lanes_as_workers_run_side_by_side_and_no_more() {
    let queue = Queue::new();
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for lane in 0..9 {
        let (most, now) = (Arc::clone(&most), Arc::clone(&now));
        let job = async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::Relaxed);
        };
        queue.enqueue(lane, job).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(queue.drain(HOUR).await, 0);
    assert_eq!(most.load(Ordering::Relaxed), WORKERS);
    // Nine seconds of work by three.
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_after_five_seconds() {
    let queue = Queue::new();
    let gate = occupy(&queue, 100).await;
    let ran = fill(&queue).await;
    let start = Instant::now();
    let refused = queue.enqueue(11, async {}).await.unwrap_err();
    assert_eq!(refused, ChannelError::QueueFull(1_000));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(queue.depth(), QUEUE);
    gate.add_permits(WORKERS);
    assert_eq!(queue.drain(HOUR).await, 0);
    assert_eq!(ran.load(Ordering::Relaxed), QUEUE);
}

#[tokio::test(start_paused = true)]
async fn a_lane_fills_a_quarter_of_the_queue_and_no_more() {
    let queue = Queue::for_many();
    let gate = occupy(&queue, 100).await;
    for _ in 0..LANE {
        queue.enqueue(1, async {}).await.unwrap();
    }
    let refused = queue.enqueue(1, async {}).await.unwrap_err();
    assert_eq!(refused, ChannelError::QueueFull(250));
    let start = Instant::now();
    queue.enqueue(2, async {}).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn room_lets_in_who_waits_for_it() {
    let queue = Arc::new(Queue::new());
    let gate = occupy(&queue, 100).await;
    fill(&queue).await;
    let start = Instant::now();
    let (tell, told) = oneshot::channel();
    let waits = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.enqueue(500, async { tell.send(()).unwrap() }).await }
    });
    sleep(Duration::from_secs(4)).await;
    assert!(!waits.is_finished());
    gate.add_permits(1);
    waits.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 4);
    told.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_room_has_put_nothing_and_takes_none() {
    let queue = Queue::new();
    let gate = occupy(&queue, 100).await;
    let ran = fill(&queue).await;
    let late = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let late = Arc::clone(&late);
        let job = async move {
            late.fetch_add(1, Ordering::Relaxed);
        };
        let stopped = timeout(Duration::from_secs(1), queue.enqueue(77, job)).await;
        assert!(stopped.is_err(), "there was room");
    }
    assert!(!queue.shared.lock().lanes.contains_key(&77));
    gate.add_permits(WORKERS);
    while queue.depth() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(queue.shared.places.available_permits(), QUEUE);
    assert_eq!(queue.drain(HOUR).await, 0);
    assert_eq!(
        (ran.load(Ordering::Relaxed), late.load(Ordering::Relaxed)),
        (QUEUE, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_works_off_what_waits_and_takes_nothing_new() {
    let queue = Arc::new(Queue::new());
    let gate = occupy(&queue, 100).await;
    let ran = fill(&queue).await;
    let waits = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.enqueue(500, async {}).await }
    });
    let drains = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.drain(Duration::from_secs(3)).await }
    });
    assert_eq!(waits.await.unwrap().unwrap_err(), ChannelError::Closed);
    let refused = queue.enqueue(1, async {}).await.unwrap_err();
    assert_eq!(refused, ChannelError::Closed);
    gate.add_permits(WORKERS);
    assert_eq!(drains.await.unwrap(), 0);
    assert_eq!(ran.load(Ordering::Relaxed), QUEUE);
    assert_eq!((queue.depth(), queue.drain(HOUR).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_beyond_its_deadline_drops_the_rest_and_says_how_much() {
    let queue = Queue::new();
    let gone = Arc::new(Notify::new());
    struct Tell(Arc<Notify>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let held = Tell(Arc::clone(&gone));
    let running = async move {
        let _held = held;
        std::future::pending::<()>().await;
    };
    queue.enqueue(1, running).await.unwrap();
    for _ in 0..4 {
        queue
            .enqueue(1, async { panic!("runs after a job that does not end") })
            .await
            .unwrap();
    }
    let ended = Arc::new(AtomicUsize::new(0));
    for _ in 0..7 {
        let ended = Arc::clone(&ended);
        let job = async move {
            sleep(Duration::from_secs(1)).await;
            ended.fetch_add(1, Ordering::Relaxed);
        };
        queue.enqueue(2, job).await.unwrap();
    }
    let start = Instant::now();
    // Of lane 1 the job that runs and four that wait. Of lane 2 one ends after each second, and two are left.
    assert_eq!(queue.drain(Duration::from_millis(5_500)).await, 5 + 2);
    assert_eq!(start.elapsed().as_millis(), 5_500);
    assert_eq!((queue.depth(), ended.load(Ordering::Relaxed)), (0, 5));
    gone.notified().await;
    assert_eq!(queue.drain(HOUR).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_drained_at_once() {
    let queue = Queue::<u8>::new();
    let start = Instant::now();
    assert_eq!(queue.drain(HOUR).await, 0);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on its way out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_panics_costs_only_itself() {
    let queue = Queue::new();
    for _ in 0..2 * WORKERS {
        queue.enqueue(1, async { panic!("of its own") }).await.unwrap();
        let held = PanicsWhenDropped;
        queue.enqueue(1, async move { drop(held) }).await.unwrap();
    }
    let (tell, told) = oneshot::channel();
    queue.enqueue(1, async { tell.send(7).unwrap() }).await.unwrap();
    assert_eq!(told.await.unwrap(), 7);
    assert_eq!(queue.drain(HOUR).await, 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_panic_when_they_are_dropped_cost_nobody_else() {
    let queue = Queue::new();
    let gate = occupy(&queue, 100).await;
    for lane in [1, 2] {
        for _ in 0..3 {
            let held = PanicsWhenDropped;
            queue.enqueue(lane, async move { drop(held) }).await.unwrap();
        }
    }
    assert_eq!((queue.remove(&1), queue.depth()), (3, 3));
    let left = queue.drain(Duration::from_secs(1)).await;
    assert_eq!(left, WORKERS + 3);
    drop(gate);
    let queue = Queue::new();
    for _ in 0..3 {
        let held = PanicsWhenDropped;
        queue.enqueue(1, async move { drop(held) }).await.unwrap();
    }
    drop(queue);
}

#[tokio::test(start_paused = true)]
async fn no_lane_waits_for_more_than_one_job_of_each_other() {
    let queue = Queue::new();
    let gate = occupy(&queue, 100).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    // Lanes with much to do, more than there are workers, came first; two with little come last.
    for (lane, jobs) in [(0, 150), (1, 150), (2, 150), (3, 150), (4, 2), (5, 1)] {
        for _ in 0..jobs {
            let tell = tell.clone();
            let job = async move {
                sleep(Duration::from_secs(1)).await;
                tell.send(lane).unwrap();
            };
            queue.enqueue(lane, job).await.unwrap();
        }
    }
    drop(tell);
    gate.add_permits(WORKERS);
    let mut order = Vec::new();
    while let Some(lane) = told.recv().await {
        order.push(lane);
    }
    assert_eq!(order.len(), 603);
    let last_of = |lane| order.iter().rposition(|each| *each == lane).unwrap();
    assert!(last_of(5) < 6 + WORKERS, "{:?}", &order[..20]);
    assert!(last_of(4) < 12 + WORKERS, "{:?}", &order[..20]);
    // Those with much to do stay level to the end.
    for step in (20..600).step_by(30) {
        let counts = [0, 1, 2, 3].map(|lane| order[..step].iter().filter(|each| **each == lane).count());
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(most - least <= 1, "{counts:?} after {step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_lane_drops_what_waits_and_turns_away_who_comes() {
    let queue = Arc::new(Queue::for_many());
    let gate = occupy(&queue, 1).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let say = |what: &'static str| {
        let tell = tell.clone();
        async move { tell.send(what).unwrap() }
    };
    for _ in 0..LANE {
        queue.enqueue(1, say("old")).await.unwrap();
    }
    queue.enqueue(9, say("other")).await.unwrap();
    let turned_away = tokio::spawn({
        let (queue, job) = (Arc::clone(&queue), say("late"));
        async move { queue.enqueue(1, job).await }
    });
    while queue.shared.lock().lanes[&1].comers == 0 {
        yield_now().await;
    }
    assert_eq!(queue.remove(&1), LANE);
    assert_eq!(queue.depth(), 1);
    assert_eq!(turned_away.await.unwrap().unwrap_err(), ChannelError::Closed);
    assert_eq!(queue.remove(&1), 0);
    assert_eq!(queue.remove(&55), 0);
    // The lane's running job has not ended: what comes anew waits for it.
    queue.enqueue(1, say("new")).await.unwrap();
    gate.add_permits(WORKERS);
    assert_eq!(queue.drain(HOUR).await, 0);
    assert_eq!(queue.shared.places.available_permits(), QUEUE);
    drop(tell);
    let mut order = Vec::new();
    while let Some(what) = told.recv().await {
        order.push(what);
    }
    assert_eq!(order, ["other", "new"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_queue_in_a_lane_that_is_removed_is_turned_away() {
    let queue = Arc::new(Queue::new());
    let gate = occupy(&queue, 100).await;
    fill(&queue).await;
    let turned_away = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            queue
                .enqueue(500, async { panic!("of a lane that is gone") })
                .await
        }
    });
    while !queue.shared.lock().lanes.contains_key(&500) {
        yield_now().await;
    }
    assert_eq!(queue.remove(&500), 0);
    gate.add_permits(WORKERS);
    assert_eq!(turned_away.await.unwrap().unwrap_err(), ChannelError::Closed);
    assert_eq!(queue.drain(HOUR).await, 0);
}

#[tokio::test(start_paused = true)]
async fn lanes_are_forgotten_when_they_are_done() {
    let queue = Queue::new();
    for lane in 0..2_000 {
        queue.enqueue(lane, async {}).await.unwrap();
    }
    while queue.depth() > 0 || queue.shared.lock().running > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let state = queue.shared.lock();
    assert_eq!((state.lanes.len(), state.turns.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_queue_drops_its_jobs() {
    let queue = Queue::new();
    let (kept, mut gone) = mpsc::channel::<()>(1);
    for lane in 0..10 {
        let kept = kept.clone();
        let job = async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        };
        queue.enqueue(lane, job).await.unwrap();
    }
    drop(kept);
    yield_now().await;
    drop(queue);
    assert_eq!(gone.recv().await, None);
}

/// Several channels feed lanes while jobs pause for random times, and some lanes are removed: whatever the schedule, a
/// lane runs one job at a time and in order.
async fn random_schedule(seed: u64, jobs: usize, pause: fn(u64) -> Duration) {
    const LANES: usize = 17;
    let queue = Arc::new(Queue::new());
    let ran: Arc<Vec<_>> = Arc::new((0..LANES).map(|_| AtomicUsize::new(0)).collect());
    let busy: Arc<Vec<_>> = Arc::new((0..LANES).map(|_| AtomicUsize::new(0)).collect());
    let total = Arc::new(AtomicUsize::new(0));
    let mut feeders = JoinSet::new();
    for lane in 0..LANES {
        let (queue, ran, busy, total) = (
            Arc::clone(&queue),
            Arc::clone(&ran),
            Arc::clone(&busy),
            Arc::clone(&total),
        );
        let mut random = seeded(seed ^ ((lane as u64) << 32));
        feeders.spawn(async move {
            let mut removed = 0;
            // From 1 on, so that the last that ran is below the next.
            for number in 1..=jobs {
                for _ in 0..random() % 4 {
                    yield_now().await;
                }
                if random().is_multiple_of(500) {
                    removed += queue.remove(&lane);
                }
                let (yields, rest) = (random() % 5, pause(random()));
                let (ran, busy, total) = (Arc::clone(&ran), Arc::clone(&busy), Arc::clone(&total));
                let job = async move {
                    assert_eq!(
                        busy[lane].fetch_add(1, Ordering::SeqCst),
                        0,
                        "two jobs of a lane at once"
                    );
                    for _ in 0..yields {
                        yield_now().await;
                    }
                    if !rest.is_zero() {
                        sleep(rest).await;
                    }
                    assert!(ran[lane].swap(number, Ordering::SeqCst) < number, "out of order");
                    assert_eq!(busy[lane].fetch_sub(1, Ordering::SeqCst), 1);
                    total.fetch_add(1, Ordering::SeqCst);
                };
                queue.enqueue(lane, job).await.unwrap();
            }
            removed
        });
    }
    let removed: usize = feeders.join_all().await.into_iter().sum();
    assert_eq!(queue.drain(HOUR).await, 0);
    // A job that asserted in vain panicked, and is missing here.
    assert_eq!(
        total.load(Ordering::SeqCst) + removed,
        LANES * jobs,
        "seed {seed}"
    );
    assert!(ran.iter().all(|last| last.load(Ordering::SeqCst) == jobs));
    assert_eq!(queue.shared.places.available_permits(), QUEUE);
    assert!(queue.shared.lock().lanes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn order_holds_under_random_schedules() {
    for seed in 0..8 {
        random_schedule(seed, 250, |random| Duration::from_millis(random % 6)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_on_several_threads() {
    for seed in 100..104 {
        random_schedule(seed, 500, |_| Duration::ZERO).await;
    }
}
