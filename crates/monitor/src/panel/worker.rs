//! A collector's thread.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nautilus_proof::{CollectorKind, GapReason};
use tokio::sync::Notify;

use super::MAX_RESTARTS;
use crate::collector::{Collector, Part};
use crate::data::GapFacts;

/// Enough for clients of gRPC in unoptimised code; what is not used is never in memory.
const STACK: usize = 512 << 10;
/// What is told of an error at most, in bytes: some of the text comes from files and peers.
const MAX_DETAIL: usize = 1024;

/// What the panel knows of a collector's thread.
pub(super) struct Worker {
    pub(super) kind: CollectorKind,
    /// Of which collection it measures now.
    pub(super) busy_with: Option<u64>,
    /// How often it was a gap.
    pub(super) errors: u64,
    /// Panics since it last did not.
    pub(super) panics: u32,
    /// None once it is not asked any more; its thread ends then.
    questions: Option<Sender<u64>>,
    last_words: String,
}

/// What a collector gave.
pub(super) struct Answer {
    /// The collector's place in the panel.
    pub(super) place: usize,
    /// The collection that it is for.
    pub(super) round: u64,
    pub(super) took: Duration,
    pub(super) outcome: Result<Part, Fault>,
}

/// Why a collector gave nothing, told for people.
pub(super) enum Fault {
    Failed(String),
    Panicked(String),
}

impl Worker {
    pub(super) fn start(
        place: usize,
        collector: Box<dyn Collector>,
        answers: Sender<Answer>,
        answered: Arc<Notify>,
    ) -> io::Result<Self> {
        let kind = collector.kind();
        let (questions, asked) = channel();
        // The kernel shows 15 bytes of a thread's name.
        thread::Builder::new()
            .name(format!("mon-{}", kind.as_str()))
            .stack_size(STACK)
            .spawn(move || work(place, collector, &asked, &answers, &answered))?;
        Ok(Self {
            kind,
            busy_with: None,
            errors: 0,
            panics: 0,
            questions: Some(questions),
            last_words: String::new(),
        })
    }

    /// Asks for the part, unless it is busy or not asked any more.
    pub(super) fn ask(&mut self, round: u64) {
        if self.busy_with.is_some() {
            return;
        }
        let Some(questions) = &self.questions else {
            return;
        };
        if questions.send(round).is_ok() {
            self.busy_with = Some(round);
        } else {
            self.end("its thread has ended".to_owned());
        }
    }

    /// Counts a panic, and tells what comes of it.
    pub(super) fn panicked(&mut self, message: &str) -> String {
        self.panics = self.panics.saturating_add(1);
        if self.panics > MAX_RESTARTS {
            let times = self.panics;
            self.end(format!(
                "is not asked any more, for it panicked {times} times in a row: {message}"
            ));
            return self.last_words.clone();
        }
        format!(
            "panicked, and is started again ({} of {MAX_RESTARTS} times in a row): {message}",
            self.panics
        )
    }

    /// Why it is not asked any more, if it is not.
    pub(super) fn ended(&self) -> Option<String> {
        self.questions.is_none().then(|| self.last_words.clone())
    }

    /// Counts a gap.
    pub(super) fn gap(&mut self, reason: GapReason, detail: String) -> GapFacts {
        self.errors = self.errors.saturating_add(1);
        GapFacts {
            collector: self.kind,
            reason,
            detail,
        }
    }

    fn end(&mut self, why: String) {
        self.questions = None;
        self.last_words = why;
    }
}

/// Answers until nobody asks any more.
fn work(
    place: usize,
    mut collector: Box<dyn Collector>,
    asked: &Receiver<u64>,
    answers: &Sender<Answer>,
    answered: &Notify,
) {
    while let Ok(round) = asked.recv() {
        let begin = Instant::now();
        // A collector keeps nothing but what it last saw. If that is torn by a panic, the next numbers may be wrong or
        // it may panic again; both are its own, and the panic is told.
        let outcome = match catch_unwind(AssertUnwindSafe(|| collector.collect())) {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(error)) => Err(Fault::Failed(bounded(told(&error)))),
            Err(payload) => Err(Fault::Panicked(bounded(message(&*payload)))),
        };
        let answer = Answer {
            place,
            round,
            took: begin.elapsed(),
            outcome,
        };
        if answers.send(answer).is_err() {
            return;
        }
        answered.notify_one();
    }
}

/// The error and all its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What a panic said.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_DETAIL));
    text
}
