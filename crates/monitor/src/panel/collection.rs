//! What all collectors gave for one sample.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use nautilus_core::{Digest32, NodeId, SignedMessage as _, UnixMillis};
use nautilus_proof::{CollectorKind, Gap, GapReason, MAX_SERIES_NAME, Metrics, Readings};

use crate::collector::Part;
use crate::data::{GapFacts, PerformanceData};
use crate::reading::{Family, MAX_READINGS, MetricKind, Point, readings};

/// All families that a panel adds to those of its collectors.
pub const FAMILIES: &[&Family] = &[&COLLECTOR_ERRORS, &COLLECTOR_UP, &SCRAPE_DURATION];

static COLLECTOR_ERRORS: Family = Family::new(
    "nautilus_collector_errors",
    "",
    MetricKind::Counter,
    0,
    "Samples in which the collector failed or stalled, since the agent's start.",
);
static COLLECTOR_UP: Family = Family::new(
    "nautilus_collector_up",
    "",
    MetricKind::Gauge,
    0,
    "Whether the collector gave its part of this sample.",
);
static SCRAPE_DURATION: Family = Family::new(
    "nautilus_scrape_duration_seconds",
    "seconds",
    MetricKind::Gauge,
    9,
    "How long the collector took for this sample.",
);

const NANOS_PER_MICRO: i64 = 1000;

/// What the collectors gave for one sample, each list in canonical order.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// What was measured.
    pub parts: Vec<Part>,
    /// What was to be measured and was not, at most one for each collector.
    pub gaps: Vec<GapFacts>,
    /// How long each collector took that answered in time.
    pub durations: Vec<(CollectorKind, Duration)>,
    /// How often each collector of the panel was a gap so far, this sample included.
    pub errors: Vec<(CollectorKind, u64)>,
    /// What the agent measured itself.
    pub added: Vec<Point>,
}

/// A collection in the form in which a sample commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// All readings.
    pub readings: Readings,
    /// Their digest.
    pub digest: Digest32,
    /// Their number.
    pub count: u32,
    /// What was not measured, or not in full: ascending by collector, at most one for each.
    pub gaps: Vec<Gap>,
    /// What a sample says of the machine; none if the system collector is a gap.
    pub metrics: Option<Metrics>,
    /// Time to the verifier and back over the attested session, in microseconds; none if it is not known.
    pub response_time_micros: Option<u64>,
}

impl Collection {
    /// Adds points that no collector measures.
    pub fn add(&mut self, points: impl IntoIterator<Item = Point>) {
        self.added.extend(points);
    }

    /// All that was measured, as named integers, and how the collectors themselves fared.
    pub fn points(&self) -> Vec<Point> {
        let mut points = self.own_points();
        for part in &self.parts {
            part.points(&mut points);
        }
        points
    }

    /// What was not measured, as it is signed: ascending by collector, at most one for each.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps: Vec<_> = self
            .gaps
            .iter()
            .map(
                |GapFacts {
                     collector, reason, ..
                 }| Gap {
                    collector: *collector,
                    reason: *reason,
                },
            )
            .collect();
        gaps.sort();
        gaps.dedup_by_key(|gap| gap.collector);
        gaps
    }

    /// What a sample says of the machine; none if the system collector is a gap.
    pub fn metrics(&self) -> Option<Metrics> {
        if self.has_gap(CollectorKind::System) {
            return None;
        }
        self.parts.iter().find_map(|part| match part {
            Part::System(metrics) => Some(metrics.signed()),
            _ => None,
        })
    }

    /// Time to the verifier and back over the attested session, in microseconds; none if it is not known.
    pub fn response_time_micros(&self) -> Option<u64> {
        let nanos = self.parts.iter().find_map(|part| match part {
            Part::Network(metrics) => metrics.response_time,
            _ => None,
        })?;
        u64::try_from(nanos.0.checked_div(NANOS_PER_MICRO)?).ok()
    }

    /// What a sample commits to. Readings that do not fit are left out, and then become a gap here: of the collectors
    /// with the most points, as many as are too many; and those of a name that is too long or was there before.
    pub fn commit(&mut self) -> Committed {
        let own = self.own_points();
        let mut by_part: Vec<(CollectorKind, Vec<Point>)> = self
            .parts
            .iter()
            .map(|part| {
                let mut points = Vec::new();
                part.points(&mut points);
                (kind_of(part), points)
            })
            .collect();
        let mut cut = cut_to_fit(&mut by_part, MAX_READINGS.saturating_sub(own.len()));
        // The node's own names and the machine's come first: what others give cannot displace them.
        let mut all = own;
        let mut ends = Vec::with_capacity(by_part.len());
        let own = all.len();
        for (kind, mut points) in by_part {
            all.append(&mut points);
            ends.push((kind, all.len()));
        }
        let (readings, left_out) = readings(&all);
        if left_out > 0 {
            cut.extend(unfit(&all, own, &ends));
        }
        self.truncated(cut);
        Committed {
            digest: readings.digest(),
            count: u32::try_from(readings.0.len()).unwrap_or(u32::MAX),
            readings,
            gaps: self.gaps(),
            metrics: self.metrics(),
            response_time_micros: self.response_time_micros(),
        }
    }

    /// The sample with all that was measured, for people; not signed yet.
    pub fn performance_data(
        &self,
        timestamp: UnixMillis,
        node_id: NodeId,
        enclave_id: Option<String>,
        hash: Digest32,
    ) -> PerformanceData {
        let mut data = PerformanceData {
            timestamp,
            node_id,
            enclave_id,
            system_metrics: None,
            container_metrics: None,
            network_metrics: None,
            security_metrics: None,
            custom_metrics: BTreeMap::new(),
            gaps: self.gaps.clone(),
            attestation: None,
            signature: None,
            hash,
        };
        for part in &self.parts {
            match part.clone() {
                Part::System(metrics) => data.system_metrics = Some(metrics),
                Part::Container(metrics) => data.container_metrics = Some(metrics),
                Part::Network(metrics) => data.network_metrics = Some(metrics),
                Part::Security(metrics) => data.security_metrics = Some(metrics),
                Part::Custom(metrics) => data.custom_metrics = metrics.by_series(),
            }
        }
        data
    }

    /// Whether it has a part of this kind, or a gap in its place.
    pub(super) fn tells_of(&self, kind: CollectorKind) -> bool {
        self.has_gap(kind) || self.parts.iter().any(|part| kind_of(part) == kind)
    }

    fn own_points(&self) -> Vec<Point> {
        let of = |family, kind: CollectorKind, value| {
            Point::labelled(family, [("collector", kind.as_str())], value)
        };
        let durations = self.durations.iter().map(|(kind, took)| {
            let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
            of(&SCRAPE_DURATION, *kind, nanos)
        });
        let errors = self.errors.iter().flat_map(|(kind, errors)| {
            let up = self.parts.iter().any(|part| kind_of(part) == *kind);
            let errors = i64::try_from(*errors).unwrap_or(i64::MAX);
            [
                of(&COLLECTOR_ERRORS, *kind, errors),
                of(&COLLECTOR_UP, *kind, up.into()),
            ]
        });
        durations
            .chain(errors)
            .chain(self.added.iter().cloned())
            .collect()
    }

    fn has_gap(&self, kind: CollectorKind) -> bool {
        self.gaps.iter().any(|gap| gap.collector == kind)
    }

    fn truncated(&mut self, kinds: HashSet<CollectorKind>) {
        for collector in kinds {
            if !self.has_gap(collector) {
                self.gaps.push(GapFacts {
                    collector,
                    reason: GapReason::Truncated,
                    detail: format!(
                        "gave more than fits into a sample of {MAX_READINGS} readings with names of {MAX_SERIES_NAME} \
                         bytes, or a name twice"
                    ),
                });
            }
        }
        self.gaps.sort_by_key(|gap| gap.collector);
    }
}

/// Which collector gives such a part.
pub(super) const fn kind_of(part: &Part) -> CollectorKind {
    match part {
        Part::System(_) => CollectorKind::System,
        Part::Container(_) => CollectorKind::Container,
        Part::Network(_) => CollectorKind::Network,
        Part::Security(_) => CollectorKind::Security,
        Part::Custom(_) => CollectorKind::Custom,
    }
}

/// Leaves at most `room` points, at the cost of who has the most: who gives too much harms no other. Gives whom it cut.
fn cut_to_fit(by_part: &mut [(CollectorKind, Vec<Point>)], room: usize) -> HashSet<CollectorKind> {
    let mut cut = HashSet::new();
    loop {
        let all = by_part.iter().map(|(_, points)| points.len()).sum::<usize>();
        let excess = all.saturating_sub(room);
        let most = by_part.iter_mut().max_by_key(|(_, points)| points.len());
        match most {
            Some((kind, points)) if excess > 0 => {
                points.truncate(points.len().saturating_sub(excess));
                cut.insert(*kind);
            }
            _ => return cut,
        }
    }
}

/// Whose points have a name that is too long, or that was there before: the first `own` are nobody's, and those of each
/// kind come before its end.
fn unfit(all: &[Point], own: usize, ends: &[(CollectorKind, usize)]) -> HashSet<CollectorKind> {
    let mut seen = HashSet::with_capacity(all.len());
    let mut ends = ends.iter().peekable();
    let mut unfit = HashSet::new();
    for (place, point) in all.iter().enumerate() {
        while ends.next_if(|(_, end)| *end <= place).is_some() {}
        let series = point.series();
        if (series.len() > MAX_SERIES_NAME || !seen.insert(series)) && place >= own {
            unfit.extend(ends.peek().map(|(kind, _)| *kind));
        }
    }
    unfit
}

#[cfg(test)]
mod tests;
