use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::collector::Part;
use crate::data::{ContainerMetrics, CustomMetrics, NetworkMetrics};
use crate::error::CollectError;

/// Far above what any machine needs for an answer; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(600);

/// A collector that does what it is told.
struct Told<F> {
    kind: CollectorKind,
    collect: F,
}

impl<F: FnMut() -> Result<Part, CollectError> + Send> Collector for Told<F> {
    fn kind(&self) -> CollectorKind {
        self.kind
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        (self.collect)()
    }
}

fn told<F>(kind: CollectorKind, collect: F) -> Box<dyn Collector>
where
    F: FnMut() -> Result<Part, CollectError> + Send + 'static,
{
    Box::new(Told { kind, collect })
}

fn part(kind: CollectorKind) -> Part {
    match kind {
        CollectorKind::Container => Part::Container(Box::<ContainerMetrics>::default()),
        CollectorKind::Network => Part::Network(Box::<NetworkMetrics>::default()),
        _ => Part::Custom(Box::<CustomMetrics>::default()),
    }
}

/// A collector that always has its part.
fn sound(kind: CollectorKind) -> Box<dyn Collector> {
    told(kind, move || Ok(part(kind)))
}

/// A collector of containers that gives what is sent to it, and stalls until then.
fn fed() -> (Sender<u32>, Box<dyn Collector>) {
    let (feed, food) = channel();
    let collect = move || {
        let total_containers = food.recv().unwrap_or_default();
        Ok(containers(total_containers))
    };
    (feed, told(CollectorKind::Container, collect))
}

fn containers(total_containers: u32) -> Part {
    Part::Container(Box::new(ContainerMetrics {
        total_containers,
        ..ContainerMetrics::default()
    }))
}

fn missing() -> CollectError {
    let source = io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error());
    CollectError::io(Path::new("/proc/stat"), source)
}

impl Panel {
    /// Waits for `count` answers, for as long as they take.
    fn hear(&mut self, count: usize) {
        for _ in 0..count {
            let answer = self.answers.recv().unwrap();
            self.take(answer);
        }
    }

    /// A collection whose deadline passes when `count` have answered.
    fn round(&mut self, count: usize) -> Collection {
        self.ask();
        self.hear(count);
        self.conclude(LONG)
    }
}

fn kinds(collection: &Collection) -> Vec<CollectorKind> {
    collection.parts.iter().map(kind_of).collect()
}

fn gap_of(collection: &Collection) -> (CollectorKind, GapReason, &str) {
    let [gap] = &collection.gaps[..] else {
        panic!("{:?}", collection.gaps);
    };
    (gap.collector, gap.reason, &gap.detail)
}

#[tokio::test]
async fn all_are_asked_and_answer_in_canonical_order() {
    let all = [
        CollectorKind::Custom,
        CollectorKind::Network,
        CollectorKind::Container,
    ];
    let mut panel = Panel::new(all.map(sound).into()).unwrap();
    let order = [
        CollectorKind::Container,
        CollectorKind::Network,
        CollectorKind::Custom,
    ];
    assert!(panel.kinds().eq(order));
    for blocking in [false, true, false] {
        let collection = if blocking {
            panel.collect_blocking(LONG)
        } else {
            panel.collect(LONG).await
        };
        assert_eq!(kinds(&collection), order);
        assert_eq!(collection.gaps, []);
        assert!(collection.durations.iter().map(|(kind, _)| *kind).eq(order));
        assert_eq!(collection.errors, order.map(|kind| (kind, 0)));
    }
}

#[tokio::test]
async fn collectors_work_at_the_same_time() {
    // Each waits for the other: one after the other they would never end.
    let (to_one, from_other) = channel();
    let (to_other, from_one) = channel();
    let meet = |kind, tell: Sender<()>, hear: Receiver<()>| {
        told(kind, move || {
            tell.send(()).unwrap();
            hear.recv().unwrap();
            Ok(part(kind))
        })
    };
    let one = meet(CollectorKind::Container, to_other, from_other);
    let other = meet(CollectorKind::Network, to_one, from_one);
    let mut panel = Panel::new(vec![one, other]).unwrap();
    assert_eq!(panel.collect(LONG).await.parts.len(), 2);
}

#[test]
fn a_panel_without_collectors_has_nothing_to_wait_for() {
    let mut panel = Panel::new(Vec::new()).unwrap();
    let collection = panel.collect_blocking(LONG);
    assert!(collection.parts.is_empty() && collection.gaps.is_empty());
}

#[test]
fn two_collectors_of_one_part_are_refused() {
    let twice = vec![
        sound(CollectorKind::Custom),
        sound(CollectorKind::Network),
        sound(CollectorKind::Custom),
    ];
    let error = Panel::new(twice).err().unwrap();
    assert!(matches!(error, PanelError::Twice(CollectorKind::Custom)));
    assert_eq!(error.to_string(), "there are two collectors for custom: give one");
}

#[tokio::test]
async fn one_that_fails_is_a_gap_with_the_reason() {
    let mut fail = true;
    let network = told(CollectorKind::Network, move || {
        fail = !fail;
        if fail {
            Ok(part(CollectorKind::Network))
        } else {
            Err(missing())
        }
    });
    let mut panel = Panel::new(vec![network, sound(CollectorKind::Custom)]).unwrap();
    let collection = panel.collect(LONG).await;
    assert_eq!(kinds(&collection), [CollectorKind::Custom]);
    let (collector, reason, detail) = gap_of(&collection);
    assert_eq!((collector, reason), (CollectorKind::Network, GapReason::Failed));
    assert_eq!(detail, "cannot read /proc/stat: Permission denied (os error 13)");
    assert_eq!(collection.durations.len(), 2);
    let collection = panel.collect(LONG).await;
    assert_eq!((collection.parts.len(), collection.gaps.len()), (2, 0));
    assert_eq!(
        collection.errors,
        [(CollectorKind::Network, 1), (CollectorKind::Custom, 0)]
    );
}

#[test]
fn what_is_told_of_an_error_is_bounded() {
    let path = "ä".repeat(2000);
    let fails = told(CollectorKind::Custom, move || {
        Err(CollectError::io(Path::new(&path), io::Error::other("no")))
    });
    let mut panel = Panel::new(vec![fails]).unwrap();
    let collection = panel.collect_blocking(LONG);
    let (_, _, detail) = gap_of(&collection);
    assert!(detail.starts_with("cannot read ä"));
    assert!((1000..=1024).contains(&detail.len()));
}

#[test]
fn one_that_stalls_is_a_gap_until_it_comes_back_and_its_late_answer_is_dropped() {
    let (feed, stalled) = fed();
    let mut panel = Panel::new(vec![stalled, sound(CollectorKind::Custom)]).unwrap();
    let collection = panel.round(1);
    assert_eq!(kinds(&collection), [CollectorKind::Custom]);
    assert_eq!(
        gap_of(&collection),
        (
            CollectorKind::Container,
            GapReason::Stalled,
            "did not answer within 600s"
        )
    );
    assert_eq!(collection.durations.len(), 1);
    // Nobody waits for it any more: there is a deadline of ten minutes, and the other's answer ends the wait.
    for detail in [
        "is still busy with the sample before",
        "is still busy with the sample 2 before",
    ] {
        let collection = panel.collect_blocking(LONG);
        assert_eq!(kinds(&collection), [CollectorKind::Custom]);
        assert_eq!(
            gap_of(&collection),
            (CollectorKind::Container, GapReason::Stalled, detail)
        );
    }
    // Its answer comes while the next sample is taken: not that sample's.
    panel.ask();
    feed.send(1).unwrap();
    panel.hear(2);
    assert!(!panel.is_waiting());
    let collection = panel.conclude(LONG);
    assert_eq!(kinds(&collection), [CollectorKind::Custom]);
    assert_eq!(
        gap_of(&collection),
        (
            CollectorKind::Container,
            GapReason::Stalled,
            "came back from an earlier sample too late for this one"
        )
    );
    // From now on it is asked again.
    feed.send(2).unwrap();
    let collection = panel.collect_blocking(LONG);
    assert_eq!(collection.parts.first(), Some(&containers(2)));
    assert_eq!(collection.errors[0], (CollectorKind::Container, 4));
}

#[test]
fn an_answer_between_two_samples_is_dropped() {
    let (feed, slow_once) = fed();
    let mut panel = Panel::new(vec![slow_once]).unwrap();
    assert_eq!(gap_of(&panel.round(0)).1, GapReason::Stalled);
    feed.send(1).unwrap();
    // Wait until it has come, without taking it.
    let answer = panel.answers.recv().unwrap();
    let (again, answers) = channel();
    again.send(answer).unwrap();
    panel.answers = answers;
    panel.take_answers();
    assert_eq!(
        panel.collection.parts,
        [containers(1)],
        "in the collection that has ended"
    );
    panel.ask();
    assert_eq!(panel.collection.parts, []);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait() {
    let (_feed, stalled) = fed();
    let mut panel = Panel::new(vec![stalled]).unwrap();
    let begin = tokio::time::Instant::now();
    let deadline = Duration::from_secs(2);
    let collection = panel.collect(deadline).await;
    assert_eq!(gap_of(&collection).2, "did not answer within 2s");
    assert!(begin.elapsed() >= deadline);
    // A second time costs no time.
    let again = tokio::time::Instant::now();
    let collection = panel.collect(deadline).await;
    assert_eq!(gap_of(&collection).2, "is still busy with the sample before");
    assert_eq!(again.elapsed(), Duration::ZERO);
    // Nor does a thread's own clock have to pass.
    assert_eq!(gap_of(&panel.collect_blocking(LONG)).1, GapReason::Stalled);
}

#[tokio::test]
async fn a_collection_that_is_given_up_leaves_nothing_behind() {
    let (feed, collector) = fed();
    let mut panel = Panel::new(vec![collector]).unwrap();
    tokio::select! {
        biased;
        _ = panel.collect(LONG) => panic!("nothing was fed"),
        () = std::future::ready(()) => {}
    }
    feed.send(1).unwrap();
    panel.hear(1);
    feed.send(2).unwrap();
    assert_eq!(panel.collect(LONG).await.parts, [containers(2)]);
}

#[test]
fn one_that_panics_is_asked_again_a_few_times_in_a_row() {
    let (orders, order) = channel();
    let collect = move || {
        if order.recv().unwrap() {
            panic!("no {}", "luck");
        }
        Ok(part(CollectorKind::Network))
    };
    let network = told(CollectorKind::Network, collect);
    let mut panel = Panel::new(vec![network, sound(CollectorKind::Custom)]).unwrap();
    let mut round = |panics| {
        orders.send(panics).ok();
        let collection = panel.collect_blocking(LONG);
        assert!(kinds(&collection).contains(&CollectorKind::Custom));
        let gap = collection.gaps.first();
        gap.map(|gap| (gap.collector, gap.reason, gap.detail.clone()))
    };
    let failed = |detail: String| Some((CollectorKind::Network, GapReason::Failed, detail));
    let restarted = |times| {
        failed(format!(
            "panicked, and is started again ({times} of 3 times in a row): no luck"
        ))
    };
    assert_eq!(round(true), restarted(1));
    assert_eq!(round(true), restarted(2));
    assert_eq!(round(false), None, "one that is sound counts anew");
    for times in 1..=MAX_RESTARTS {
        assert_eq!(round(true), restarted(times));
    }
    let given_up = || failed("is not asked any more, for it panicked 4 times in a row: no luck".to_owned());
    assert_eq!(round(true), given_up());
    // Its thread has ended, and it stays a gap.
    assert_eq!(round(false), given_up());
    assert_eq!(round(false), given_up());
}

#[test]
fn one_that_gives_anothers_part_is_a_gap() {
    let liar = told(CollectorKind::Network, || Ok(part(CollectorKind::Custom)));
    let mut panel = Panel::new(vec![liar]).unwrap();
    let collection = panel.collect_blocking(LONG);
    assert!(collection.parts.is_empty());
    assert_eq!(
        gap_of(&collection),
        (
            CollectorKind::Network,
            GapReason::Failed,
            "gave what the custom collector is to give"
        )
    );
}

/// Tells when it is dropped, by its sender.
struct Alive(#[expect(dead_code, reason = "its drop is what counts")] Sender<()>);

#[test]
fn threads_end_with_the_panel_and_a_stalled_one_when_it_comes_back() {
    let (alive, idle_ended) = channel();
    let alive = Alive(alive);
    let idle = told(CollectorKind::Custom, move || {
        let _alive = &alive;
        Ok(part(CollectorKind::Custom))
    });
    let (alive, stalled_ended) = channel();
    let alive = Alive(alive);
    let (feed, food) = channel::<()>();
    let stalled = told(CollectorKind::Network, move || {
        let _alive = &alive;
        food.recv().unwrap();
        Ok(part(CollectorKind::Network))
    });
    let mut panel = Panel::new(vec![idle, stalled]).unwrap();
    assert_eq!(panel.round(1).gaps.len(), 1);
    drop(panel);
    // Both end by the collector's drop, which is the last that a thread does.
    idle_ended.recv().unwrap_err();
    assert!(matches!(
        stalled_ended.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Empty)
    ));
    feed.send(()).unwrap();
    stalled_ended.recv().unwrap_err();
}

#[test]
fn threads_bear_their_collectors_names() {
    let (tell, name) = channel();
    let collector = told(CollectorKind::Container, move || {
        tell.send(std::thread::current().name().map(str::to_owned))
            .unwrap();
        Ok(part(CollectorKind::Container))
    });
    Panel::new(vec![collector]).unwrap().collect_blocking(LONG);
    assert_eq!(name.recv().unwrap().as_deref(), Some("mon-container"));
}
