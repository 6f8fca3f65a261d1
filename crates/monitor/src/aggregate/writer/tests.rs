use std::future::Future as _;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Waker};

use super::*;
use crate::schedule::tests::seeded;

/// Far above what any machine needs; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    number: u64,
    samples: usize,
    bytes: usize,
}

impl Load for Batch {
    fn samples(&self) -> usize {
        self.samples
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

const fn batch(number: u64) -> Batch {
    Batch {
        number,
        samples: 1,
        bytes: 10,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stored(u64),
    Failed(u64),
    Dropped(u64, Dropped),
}

type Error = &'static str;

/// What was told of each entry, in the order of the telling.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    fn report(&self) -> impl Fn(Outcome<'_, Batch, Error>) + Send + Sync + 'static {
        let log = self.clone();
        move |outcome| {
            let told = match outcome {
                Outcome::Stored(batch) => Told::Stored(batch.number),
                Outcome::Failed(batch, _) => Told::Failed(batch.number),
                Outcome::Dropped(batch, why) => Told::Dropped(batch.number, why),
            };
            log.0.lock().unwrap().push(told);
        }
    }

    fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }
}

/// A store that tells what it is given, and answers what it is told.
struct Gate {
    entered: Sender<u64>,
    answers: Receiver<Result<(), Error>>,
}

impl Sink<Batch> for Gate {
    type Error = Error;

    fn append(&self, entry: &Batch) -> Result<(), Error> {
        self.entered.send(entry.number).unwrap();
        self.answers.recv().unwrap_or(Err("nobody answers"))
    }
}

struct Gated {
    writer: Writer<Batch, Error>,
    entered: Receiver<u64>,
    answer: Sender<Result<(), Error>>,
    log: Log,
}

fn gated(policy: BackPressure) -> Gated {
    let (tell, entered) = channel();
    let (answer, answers) = channel();
    let room = Room {
        samples: 3,
        bytes: 100,
        policy,
    };
    let log = Log::default();
    let gate = Gate {
        entered: tell,
        answers,
    };
    let writer = Writer::start(gate, room, log.report()).unwrap();
    Gated {
        writer,
        entered,
        answer,
        log,
    }
}

impl Gated {
    /// A store that is busy with entry 0, and has no room after 1, 2 and 3.
    async fn full(policy: BackPressure) -> Self {
        let mut gated = gated(policy);
        gated.writer.submit(batch(0)).await;
        assert_eq!(gated.entered.recv(), Ok(0));
        for number in 1..=3 {
            gated.writer.submit(batch(number)).await;
        }
        assert_eq!(gated.log.all(), []);
        gated
    }

    /// Stores the rest, and gives what was told of all.
    async fn told(self) -> Vec<Told> {
        for _ in 0..10 {
            self.answer.send(Ok(())).unwrap();
        }
        let totals = self.writer.close(LONG).await.unwrap();
        assert_eq!(totals.waiting, Tally::default());
        assert_adds_up(&totals);
        self.log.all()
    }
}

fn assert_adds_up(totals: &Totals) {
    let parts = [
        totals.stored,
        totals.failed,
        totals.dropped,
        totals.ended,
        totals.waiting,
    ];
    let entries = parts.iter().map(|tally| tally.entries).sum::<u64>();
    let samples = parts.iter().map(|tally| tally.samples).sum::<u64>();
    assert_eq!(totals.submitted, Tally { entries, samples });
}

fn dropped(number: u64, policy: BackPressure) -> Told {
    Told::Dropped(number, Dropped::Policy(policy))
}

fn points(writer: &Writer<Batch, Error>, unsigned: usize) -> Vec<(String, i64)> {
    let points = writer.points(unsigned);
    points.iter().map(|point| (point.series(), point.value)).collect()
}

#[tokio::test]
async fn entries_are_stored_in_order() {
    let mut gated = gated(BackPressure::DropOldest);
    for number in 0..100 {
        gated.answer.send(Ok(())).unwrap();
        gated.writer.submit(batch(number)).await;
        gated.writer.flush(LONG).await.unwrap();
    }
    assert!(gated.told().await.into_iter().eq((0..100).map(Told::Stored)));
}

#[tokio::test]
async fn the_oldest_gives_way() {
    let mut gated = Gated::full(BackPressure::DropOldest).await;
    gated.writer.submit(batch(4)).await;
    let large = Batch {
        samples: 2,
        ..batch(5)
    };
    gated.writer.submit(large).await;
    let policy = BackPressure::DropOldest;
    let gone = [1, 2, 3].map(|number| dropped(number, policy));
    assert_eq!(gated.log.all(), gone);
    assert_eq!(
        points(&gated.writer, 5),
        [
            ("nautilus_aggregator_buffer".to_owned(), 9),
            (
                "nautilus_aggregator_dropped{policy=\"drop-oldest\"}".to_owned(),
                3
            ),
            ("nautilus_aggregator_write_errors".to_owned(), 0),
        ]
    );
    let kept = [0, 4, 5].map(Told::Stored);
    assert_eq!(gated.told().await, [gone, kept].concat());
}

#[tokio::test]
async fn the_newest_is_not_taken() {
    let mut gated = Gated::full(BackPressure::DropNewest).await;
    gated.writer.submit(batch(4)).await;
    let series = "nautilus_aggregator_dropped{policy=\"drop-newest\"}";
    assert_eq!(points(&gated.writer, 0)[1], (series.to_owned(), 1));
    let mut told = vec![dropped(4, BackPressure::DropNewest)];
    told.extend([0, 1, 2, 3].map(Told::Stored));
    assert_eq!(gated.told().await, told);
}

#[tokio::test]
async fn who_comes_waits_for_room() {
    let mut gated = Gated::full(BackPressure::Wait).await;
    {
        let mut submitted = pin!(gated.writer.submit(batch(4)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(submitted.as_mut().poll(&mut context).is_pending());
        gated.answer.send(Ok(())).unwrap();
        submitted.await;
    }
    assert_eq!(
        gated.entered.recv(),
        Ok(1),
        "there is room as soon as one is taken"
    );
    assert!(gated.told().await.into_iter().eq((0..=4).map(Told::Stored)));
}

#[tokio::test]
async fn who_gives_up_waiting_is_counted() {
    let mut gated = Gated::full(BackPressure::Wait).await;
    tokio::select! {
        biased;
        () = gated.writer.submit(batch(4)) => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(gated.log.all(), [dropped(4, BackPressure::Wait)]);
    let series = "nautilus_aggregator_dropped{policy=\"wait\"}";
    assert_eq!(points(&gated.writer, 0)[1], (series.to_owned(), 1));
    assert_eq!(gated.told().await.len(), 5);
}

#[tokio::test]
async fn bytes_are_bounded_too_and_one_that_is_too_large_is_taken_alone() {
    let sized = |number, samples, bytes| Batch {
        number,
        samples,
        bytes,
    };
    let mut gated = gated(BackPressure::DropNewest);
    gated.writer.submit(batch(0)).await;
    assert_eq!(gated.entered.recv(), Ok(0));
    gated.writer.submit(sized(1, 1, 60)).await;
    gated.writer.submit(sized(2, 1, 41)).await;
    gated.writer.submit(sized(3, 1, 40)).await;
    assert_eq!(gated.log.all(), [dropped(2, BackPressure::DropNewest)]);
    for _ in 0..3 {
        gated.answer.send(Ok(())).unwrap();
    }
    gated.writer.flush(LONG).await.unwrap();
    assert_eq!(gated.entered.recv(), Ok(1));
    assert_eq!(gated.entered.recv(), Ok(3));
    gated.writer.submit(batch(4)).await;
    assert_eq!(gated.entered.recv(), Ok(4));
    gated.writer.submit(sized(5, 1000, 1000)).await;
    gated.writer.submit(batch(6)).await;
    let told = gated.told().await;
    assert!(told.contains(&Told::Stored(5)));
    assert!(told.contains(&dropped(6, BackPressure::DropNewest)));
}

#[tokio::test]
async fn what_the_store_refuses_is_told_and_not_tried_again() {
    let mut gated = gated(BackPressure::DropOldest);
    for answer in [Ok(()), Err("the disk is full"), Ok(())] {
        gated.answer.send(answer).unwrap();
    }
    for number in 0..3 {
        gated.writer.submit(batch(number)).await;
    }
    gated.writer.flush(LONG).await.unwrap();
    assert_eq!(
        gated.log.all(),
        [Told::Stored(0), Told::Failed(1), Told::Stored(2)]
    );
    let series = "nautilus_aggregator_write_errors";
    assert_eq!(points(&gated.writer, 0)[2], (series.to_owned(), 1));
    let totals = gated.writer.close(LONG).await.unwrap();
    let one = Tally {
        entries: 1,
        samples: 1,
    };
    assert_eq!((totals.failed, totals.dropped), (one, Tally::default()));
}

/// A store that panics at each odd entry.
struct Panics;

impl Sink<Batch> for Panics {
    type Error = Error;

    fn append(&self, entry: &Batch) -> Result<(), Error> {
        assert!(entry.number.is_multiple_of(2), "odd: {}", entry.number);
        Ok(())
    }
}

#[tokio::test]
async fn a_store_that_panics_goes_on() {
    let (tell, faults) = channel();
    let report = move |outcome: Outcome<'_, Batch, Error>| {
        if let Outcome::Failed(batch, fault) = outcome {
            tell.send((batch.number, fault.clone())).unwrap();
        }
    };
    let mut writer = Writer::start(Panics, Room::new(BackPressure::Wait), report).unwrap();
    for number in 0..3 {
        writer.submit(batch(number)).await;
    }
    let totals = writer.close(LONG).await.unwrap();
    assert_eq!((totals.stored.entries, totals.failed.entries), (2, 1));
    let (number, fault) = faults.recv().unwrap();
    assert_eq!((number, &fault), (1, &WriteFault::Panicked("odd: 1".to_owned())));
    assert_eq!(fault.to_string(), "the store panicked: odd: 1");
    let refused = WriteFault::Refused(io::Error::other("the disk is full"));
    assert_eq!(refused.to_string(), "the disk is full");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_store_does_not_hold_up_the_end() {
    let mut gated = Gated::full(BackPressure::DropOldest).await;
    let begin = tokio::time::Instant::now();
    let deadline = Duration::from_secs(5);
    let left = Tally {
        entries: 4,
        samples: 4,
    };
    let unstored = Unfinished::Unstored(left);
    assert_eq!(gated.writer.flush(deadline).await, Err(unstored));
    assert_eq!(
        unstored.to_string(),
        "4 samples in 4 batches were not stored in time"
    );
    assert_eq!(gated.log.all(), [], "a flush that fails drops nothing");
    assert_eq!(gated.writer.close(deadline).await, Err(unstored));
    assert!(begin.elapsed() >= 2 * deadline);
    assert_eq!(
        gated.log.all(),
        [1, 2, 3].map(|number| Told::Dropped(number, Dropped::Ended))
    );
    // When the store comes back, what it was busy with is stored, and the thread ends with it.
    gated.answer.send(Ok(())).unwrap();
    gated.entered.recv().unwrap_err();
    assert_eq!(gated.log.all().last(), Some(&Told::Stored(0)));
}

#[tokio::test]
async fn the_thread_ends_with_its_writer() {
    let gated = gated(BackPressure::Wait);
    drop(gated.writer);
    gated.entered.recv().unwrap_err();
}

#[tokio::test]
async fn a_writer_that_is_closed_has_dropped_its_sink() {
    let gated = gated(BackPressure::Wait);
    gated.writer.close(LONG).await.unwrap();
    assert_eq!(
        gated.entered.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Disconnected)
    );
}

#[tokio::test]
async fn nothing_waits_for_a_thread_that_has_ended() {
    let (entered, answers) = (channel().0, channel().1);
    // It panics outside of the store, as only a report that panics can do.
    let mut writer = Writer::start(
        Gate { entered, answers },
        Room::new(BackPressure::Wait),
        |outcome| {
            assert!(matches!(outcome, Outcome::Dropped(_, Dropped::Ended)));
        },
    )
    .unwrap();
    writer.submit(batch(0)).await;
    writer.flush(LONG).await.unwrap_err();
    writer.submit(batch(1)).await;
    assert_eq!(writer.totals().ended.entries, 1);
}

/// A store that is slow, refuses and panics as its numbers say.
struct Moody {
    random: Mutex<Box<dyn FnMut() -> u64 + Send>>,
    stored: Sender<u64>,
}

impl Sink<Batch> for Moody {
    type Error = Error;

    fn append(&self, entry: &Batch) -> Result<(), Error> {
        let random = (self.random.lock().unwrap())();
        for _ in 0..random % 8 {
            thread::yield_now();
        }
        match random >> 32 {
            mood if mood.is_multiple_of(50) => Err("not today"),
            _ => {
                self.stored.send(entry.number).unwrap();
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn counts_add_up_under_random_schedules() {
    for seed in 0..60 {
        let policy = BackPressure::ALL[usize::try_from(seed % 3).unwrap()];
        let mut random = seeded(seed);
        let room = Room {
            samples: usize::try_from(random() % 12).unwrap(),
            bytes: usize::try_from(random() % 200).unwrap(),
            policy,
        };
        let (tell, stored) = channel();
        let moody = Moody {
            random: Mutex::new(Box::new(seeded(!seed))),
            stored: tell,
        };
        let log = Log::default();
        let mut writer = Writer::start(moody, room, log.report()).unwrap();
        let (mut entries, mut samples) = (0, 0);
        for number in 0..300 {
            let batch = Batch {
                number,
                samples: usize::try_from(random() % 5).unwrap(),
                bytes: usize::try_from(random() % 50).unwrap(),
            };
            entries += 1;
            samples += batch.samples as u64;
            let gives_up = random().is_multiple_of(20);
            tokio::select! {
                biased;
                () = writer.submit(batch) => {}
                () = std::future::ready(()), if gives_up => {}
            }
            if random().is_multiple_of(40) {
                writer.flush(LONG).await.unwrap();
                assert_eq!(writer.totals().waiting, Tally::default());
            }
            assert_adds_up(&writer.totals());
        }
        let totals = writer.close(LONG).await.unwrap();
        assert_adds_up(&totals);
        assert_eq!(totals.submitted, Tally { entries, samples }, "seed {seed}");
        assert_eq!(
            (totals.waiting, totals.ended),
            (Tally::default(), Tally::default())
        );
        // Each entry is told of once, and what is stored is in order.
        let told = log.all();
        let mut numbers: Vec<_> = told
            .iter()
            .map(|told| match told {
                Told::Stored(number) | Told::Failed(number) | Told::Dropped(number, _) => *number,
            })
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..300), "seed {seed}");
        let of = |tally: Tally, is: fn(&Told) -> bool| {
            let count = told.iter().filter(|told| is(told)).count();
            assert_eq!(tally.entries, count as u64, "seed {seed}");
        };
        of(totals.stored, |told| matches!(told, Told::Stored(_)));
        of(totals.failed, |told| matches!(told, Told::Failed(_)));
        of(totals.dropped, |told| matches!(told, Told::Dropped(..)));
        let stored: Vec<_> = stored.try_iter().collect();
        assert_eq!(stored.len() as u64, totals.stored.entries);
        assert!(stored.is_sorted_by(|one, other| one < other), "seed {seed}");
    }
}
