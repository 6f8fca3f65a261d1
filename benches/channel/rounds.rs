//! Contenders take turns round by round, so that what else the machine does hits all alike. Time is CPU time of this
//! thread.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// Odd, so that the median is a round.
const ROUNDS: usize = 11;
/// Long enough for the clock's grain not to matter.
const TURN: f64 = 0.15;
/// Seconds between two looks at the clock, at least.
const BURST: f64 = 0.001;

/// CPU time that this thread has used, in seconds.
pub fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A piece of a contender's work.
pub struct Done {
    /// How much, in the unit of the table.
    pub units: f64,
    /// Seconds of it that are counted apart.
    pub apart: f64,
}

/// Who is measured.
pub struct Contender<'a> {
    name: String,
    work: Box<dyn FnMut() -> Result<Done> + 'a>,
}

impl<'a> Contender<'a> {
    /// One whose every piece of work is so many units.
    pub fn new(name: &str, units: f64, mut work: impl FnMut() -> Result<()> + 'a) -> Self {
        Self::with_apart(name, move || {
            work()?;
            Ok(Done { units, apart: 0.0 })
        })
    }

    /// One that counts a part of its work apart.
    pub fn with_apart(name: &str, work: impl FnMut() -> Result<Done> + 'a) -> Self {
        Self {
            name: name.to_owned(),
            work: Box::new(work),
        }
    }

    fn turn(&mut self) -> Result<Rate> {
        let (mut apart, mut units, mut spent, mut burst) = (0.0, 0.0, 0.0, 1);
        let started = thread_seconds();
        while spent < TURN {
            for _ in 0..burst {
                let done = (self.work)()?;
                apart += done.apart;
                units += done.units;
            }
            let before = spent;
            spent = thread_seconds() - started;
            // Reading the clock costs as much as a short message.
            if spent - before < BURST {
                burst *= 2;
            }
        }
        Ok(Rate {
            whole: units / spent,
            rest: units / (spent - apart),
        })
    }
}

/// Units a second.
#[derive(Clone, Copy)]
struct Rate {
    whole: f64,
    /// Without what is counted apart.
    rest: f64,
}

/// A contender's rates, one a round.
pub struct Figure {
    pub name: String,
    rates: Vec<Rate>,
}

impl Figure {
    /// Units a second: the least, the median, the most.
    pub fn spread(&self) -> [f64; 3] {
        spread(self.rates.iter().map(|rate| rate.whole))
    }

    /// The same without what is counted apart.
    pub fn spread_rest(&self) -> [f64; 3] {
        spread(self.rates.iter().map(|rate| rate.rest))
    }

    /// What part of the peer's rate this one has: median over the rounds of both in the same round. What is counted
    /// apart does not count.
    pub fn against(&self, peer: &Self) -> f64 {
        let rounds = self.rates.iter().zip(&peer.rates);
        let [_, median, _] = spread(rounds.map(|(own, peer)| own.rest / peer.rest));
        median
    }
}

fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    [sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]]
}

/// All contenders' figures, in the order given.
pub fn alternate(mut contenders: Vec<Contender<'_>>) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = contenders
        .iter()
        .map(|contender| Figure {
            name: contender.name.clone(),
            rates: Vec::with_capacity(ROUNDS),
        })
        .collect();
    // The first turn of each warms caches and the allocator, and is not counted.
    for contender in &mut contenders {
        contender.turn()?;
    }
    for round in 0..ROUNDS {
        // To and fro: nobody always follows the same neighbour.
        for at in 0..contenders.len() {
            let at = match round % 2 {
                0 => at,
                _ => contenders.len() - 1 - at,
            };
            figures[at].rates.push(contenders[at].turn()?);
        }
    }
    Ok(figures)
}

/// How the figures came to be, for the table's head.
pub fn method() -> String {
    format!("{ROUNDS} rounds in turns of {TURN} s of CPU time of one thread, which does both ends")
}
