use std::sync::atomic::{AtomicUsize, Ordering};

use nautilus_core::UnixMillis;
use tokio::sync::oneshot;

use super::*;

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn question(id: u64, payload: &[u8]) -> Message {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    Message {
        message_type: MessageType::Attestation,
        message_id: MessageId(bytes),
        answer: false,
        sequence_num: 1,
        timestamp: UnixMillis(0),
        compressed: false,
        payload: payload.to_vec(),
    }
}

/// Work that counts how often it is done, and answers with that.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn work(&self) -> impl FnOnce(&Message) -> Outcome + Send + 'static {
        let count = Arc::clone(&self.0);
        move |_| {
            let done = count.fetch_add(1, Ordering::SeqCst);
            Outcome::Final(Ok((
                MessageType::Attestation,
                vec![u8::try_from(done % 251).unwrap()],
            )))
        }
    }

    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_question_is_done_once_for_its_node() {
    let (answers, counted) = (Arc::new(Answers::default()), Counted::default());
    let ask =
        |from, id, payload: &'static [u8]| answers.once(node(from), question(id, payload), counted.work());
    let first = ask(1, 1, b"a").await;
    assert_eq!(ask(1, 1, b"a").await, first);
    assert_eq!(counted.times(), 1);
    let reused = ask(1, 1, b"b").await.unwrap_err();
    assert_eq!(reused.kind, "message_id_reused");
    assert_ne!(ask(2, 1, b"a").await, first, "another node's");
    assert_ne!(ask(1, 2, b"a").await, first, "another question");
    assert_eq!(counted.times(), 3);
}

#[tokio::test]
async fn what_is_declined_for_good_is_declined_again_and_what_may_pass_is_tried_again() {
    let (answers, times) = (Arc::new(Answers::default()), Arc::new(AtomicUsize::new(0)));
    let ask = |id, outcome: fn(Fault) -> Outcome| {
        let times = Arc::clone(&times);
        let fault = Fault {
            kind: "no".to_owned(),
            detail: String::new(),
            note: Vec::new(),
        };
        answers.once(node(1), question(id, b""), move |_| {
            times.fetch_add(1, Ordering::SeqCst);
            outcome(fault)
        })
    };
    for _ in 0..2 {
        assert_eq!(
            ask(1, |fault| Outcome::Final(Err(fault))).await.unwrap_err().kind,
            "no"
        );
    }
    assert_eq!(times.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        assert_eq!(ask(2, Outcome::Passing).await.unwrap_err().kind, "no");
    }
    assert_eq!(times.load(Ordering::SeqCst), 3);
    assert!(
        !answers
            .lock()
            .entries
            .contains_key(&(node(1), question(2, b"").message_id))
    );
}

#[tokio::test]
async fn who_asks_again_meanwhile_waits_for_the_same_answer() {
    let (answers, counted) = (Arc::new(Answers::default()), Counted::default());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (started, starts) = oneshot::channel();
    let slow = counted.work();
    let first = answers.once(node(1), question(1, b""), move |message| {
        started.send(()).unwrap();
        wait.recv().unwrap();
        slow(message)
    });
    let mut first = Box::pin(first);
    tokio::select! {
        _ = &mut first => panic!("it is done before it may be"),
        started = starts => started.unwrap(),
    }
    // Its session broke.
    drop(first);
    let again = answers.once(node(1), question(1, b""), counted.work());
    go.send(()).unwrap();
    assert_eq!(again.await.unwrap().1, [0]);
    assert_eq!(counted.times(), 1);
}

#[tokio::test]
async fn work_that_panics_is_a_named_fault_and_not_remembered() {
    let (answers, counted) = (Arc::new(Answers::default()), Counted::default());
    let failed = answers
        .once(node(1), question(1, b""), |_| panic!("on purpose"))
        .await;
    assert_eq!(failed.unwrap_err().kind, "internal");
    assert!(
        answers
            .once(node(1), question(1, b""), counted.work())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn memory_is_bounded_for_each_node_and_in_all() {
    let (answers, counted) = (Arc::new(Answers::default()), Counted::default());
    for id in 0..PER_NODE as u64 + 1 {
        answers
            .once(node(1), question(id, b""), counted.work())
            .await
            .unwrap();
    }
    assert_eq!(answers.lock().done.len(), PER_NODE);
    let before = counted.times();
    answers
        .once(node(1), question(1, b""), counted.work())
        .await
        .unwrap();
    assert_eq!(counted.times(), before, "the second is remembered");
    answers
        .once(node(1), question(0, b""), counted.work())
        .await
        .unwrap();
    assert_eq!(counted.times(), before + 1, "the oldest is not");
    for from in 0..=200 {
        for id in 0..PER_NODE as u64 {
            answers
                .once(node(from), question(id, b""), counted.work())
                .await
                .unwrap();
        }
        let memory = answers.lock();
        assert!(memory.done.len() <= IN_ALL);
        assert_eq!(memory.entries.len(), memory.done.len());
        assert_eq!(memory.bytes, memory.done.len());
    }
    assert_eq!(answers.lock().done.len(), IN_ALL);
}

#[tokio::test]
async fn long_answers_push_out_old_ones_and_never_themselves() {
    let answers = Arc::new(Answers::default());
    let long =
        |bytes: usize| move |_: &Message| Outcome::Final(Ok((MessageType::Attestation, vec![0; bytes])));
    for from in 1..=3 {
        answers
            .once(node(from), question(1, b""), long(BYTES / 2))
            .await
            .unwrap();
    }
    assert_eq!(answers.lock().done.len(), 2);
    answers
        .once(node(4), question(1, b""), long(BYTES + 1))
        .await
        .unwrap();
    let memory = answers.lock();
    assert_eq!((memory.done.len(), memory.bytes), (1, BYTES + 1));
}
