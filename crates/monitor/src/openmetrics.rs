//! What is measured, as Prometheus and its kin scrape it: the OpenMetrics text format 1.0.0, and the older text format
//! 0.0.4 for who asks for that.
//!
//! Points are written here and not by `prometheus-client`: their fixed-point values come out exactly, where that crate
//! has only integers and doubles, and their help, which may be another program's text, is escaped. What counts and
//! times inside the agent ([`NodeMetrics`]) is that crate's. Both are merged into one exposition, in which no family
//! occurs twice.

mod format;
mod node;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use thiserror::Error;

pub use self::format::Format;
pub use self::node::{AttestationResult, AttestationStage, Build, NodeMetrics};
use self::text::{Block, Kind};
use crate::reading::{Family, MetricKind, Point};

/// How many points the newest exposition left out.
static REFUSED: Family = Family::new(
    "nautilus_exposition_refused_points",
    "",
    MetricKind::Gauge,
    0,
    "Values that were measured and cannot be exported, because of their names or because others have the same.",
);

/// Families that every exposition has, whatever was measured.
pub static FAMILIES: &[&Family] = &[&REFUSED];

/// What is to be exported.
#[derive(Clone, Copy, Debug)]
pub struct Exposition<'a> {
    /// What was measured. Those of families that the program knows are its own; all others are hostile.
    pub points: &'a [Point],
    /// Instruments of the agent.
    pub registry: Option<&'a Registry>,
}

/// An exposition as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The text, whole.
    pub text: String,
    /// How many points are not in it. The text says so too.
    pub refused: usize,
    /// The first of them, by the name it was given, which is hostile, and why.
    pub first_refused: Option<(String, Refusal)>,
}

/// Why a point is not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The family's name.
    #[error(
        "its name is none of a metric: letters, digits, `_` and `:`, no digit first, and no `_total` of its own"
    )]
    FamilyName,
    /// The family's unit.
    #[error("its name does not end with its unit")]
    Unit,
    /// A label's name, or the labels' order.
    #[error("its labels are not ascending names of letters, digits and `_`, without a digit or `__` first")]
    Labels,
    /// A counter below zero.
    #[error("it is a counter and negative")]
    Negative,
    /// Another family has one of its names.
    #[error("another metric has its name")]
    Clash,
    /// The series is there already.
    #[error("it occurs twice")]
    Duplicate,
}

/// Why there is no exposition.
#[derive(Debug, Error)]
pub enum ExpositionError {
    /// An instrument cannot be written.
    #[error("an instrument of the agent cannot be written as text")]
    Instrument(#[from] std::fmt::Error),
    /// An instrument's family is registered twice, or is named as another's sample.
    #[error("instruments of the agent share the name {0}")]
    Registered(String),
}

impl Exposition<'_> {
    /// Writes families in ascending order of their names, and series in ascending order of their labels. A point that
    /// cannot be written is left out and counted, so that what others give takes nothing else away.
    ///
    /// # Errors
    /// If the registry is faulty, which no input brings about.
    pub fn encode(&self, format: Format) -> Result<Exposed, ExpositionError> {
        let mut instruments = String::new();
        if let Some(registry) = self.registry {
            encode_registry(&mut instruments, registry)?;
        }
        let mut merged = Merged::default();
        for block in Block::read_all(&instruments) {
            merged.instrument(block)?;
        }
        // Its name is the program's before any other program can take it.
        merged.reserve(&REFUSED.name, Kind::Gauge);
        for group in grouped(self.points) {
            merged.family(group);
        }
        let refused = merged.refused;
        let count = Point::plain(&REFUSED, i64::try_from(refused).unwrap_or(i64::MAX));
        merged.add(&REFUSED, &[&count]);

        let mut text = String::new();
        for block in merged.blocks.values() {
            block.write(format, &mut text);
        }
        format.end(&mut text);
        Ok(Exposed {
            text,
            refused,
            first_refused: merged.first_refused,
        })
    }
}

/// The points of one family name after the other: first those that the program knows, so that nobody else's take their
/// names, then by name. Within a name the order stays.
fn grouped(points: &[Point]) -> Vec<Vec<&Point>> {
    let mut ordered: Vec<&Point> = points.iter().collect();
    ordered.sort_by_key(|point| (!is_known(point), &point.family.name));
    let same = |one: &&Point, other: &&Point| {
        is_known(one) == is_known(other) && one.family.name == other.family.name
    };
    ordered.chunk_by(same).map(<[_]>::to_vec).collect()
}

const fn is_known(point: &Point) -> bool {
    matches!(point.family, Cow::Borrowed(_))
}

/// What is written so far.
#[derive(Default)]
struct Merged {
    blocks: BTreeMap<String, Block>,
    /// Names of families and of their samples.
    taken: HashSet<String>,
    refused: usize,
    first_refused: Option<(String, Refusal)>,
}

impl Merged {
    fn instrument(&mut self, block: Block) -> Result<(), ExpositionError> {
        if !self.reserve(&block.name, block.kind) {
            return Err(ExpositionError::Registered(block.name));
        }
        self.blocks.insert(block.name.clone(), block);
        Ok(())
    }

    /// Takes a family's names. False if one of them is taken, and then none is.
    fn reserve(&mut self, name: &str, kind: Kind) -> bool {
        let names = kind.names(name);
        let free = names.iter().all(|name| !self.taken.contains(name));
        if free {
            self.taken.extend(names);
        }
        free
    }

    /// Adds what there is of one family name. The first point says what family it is.
    fn family(&mut self, points: Vec<&Point>) {
        let Some(first) = points.first() else {
            return;
        };
        let family = first.family.as_ref();
        let fault = text::fault_of(family).or_else(|| {
            let free = self.reserve(&family.name, family.kind.into());
            (!free).then_some(Refusal::Clash)
        });
        if let Some(why) = fault {
            for point in points {
                self.refuse(point, why);
            }
            return;
        }
        let mut kept = Vec::with_capacity(points.len());
        for point in points {
            let same = (point.family.kind, &point.family.unit) == (family.kind, &family.unit);
            match text::fault_of_point(point) {
                Some(why) => self.refuse(point, why),
                None if same => kept.push(point),
                None => self.refuse(point, Refusal::Clash),
            }
        }
        kept.sort_by(|one, other| one.labels.cmp(&other.labels));
        kept.dedup_by(|later, earlier| {
            let again = later.labels == earlier.labels;
            if again {
                self.refuse(later, Refusal::Duplicate);
            }
            again
        });
        self.add(family, &kept);
    }

    fn add(&mut self, family: &Family, points: &[&Point]) {
        if !points.is_empty() {
            let block = Block::of_points(family, points);
            self.blocks.insert(block.name.clone(), block);
        }
    }

    fn refuse(&mut self, point: &Point, why: Refusal) {
        self.refused = self.refused.saturating_add(1);
        self.first_refused.get_or_insert_with(|| (point.series(), why));
    }
}

#[cfg(test)]
mod tests;
