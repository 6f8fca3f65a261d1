//! Thirty days of a node that never was, computed when asked for: what is there is known to the value.
//!
//! One value every thirty seconds. The node did not run in [`Outage::NIGHT`]; within the last quarter of an hour ticks
//! were missed, and one of its pods was started anew, so that its counters began at zero again.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use nautilus_agent::page::metrics::{
    Answer, ExportFormat, Fault, GapSpan, History, HistoryError, Points, Question, Resolution, Rollup,
    Series, SeriesData, SeriesFacts, SpanReason,
};
use nautilus_core::UnixMillis;
use nautilus_monitor::store::ChainReport;
use nautilus_monitor::{Family, MetricKind};
use nautilus_proof::CollectorKind;

const TICK: u64 = 30_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Before the newest value, in milliseconds: from when and until when.
#[derive(Clone, Copy)]
pub struct Outage(pub u64, pub u64);

impl Outage {
    /// The node did not run for eleven hours, six days ago.
    pub const NIGHT: Self = Self(6 * DAY + 11 * HOUR, 6 * DAY);
    /// Ticks were missed, minutes ago.
    pub const MISSED: Self = Self(8 * MINUTE, 5 * MINUTE);
    /// The network's collector stalled, hours ago.
    pub const STALLED: Self = Self(5 * HOUR, 4 * HOUR);
}

/// How long ago the pod `web-0` was started anew.
pub const RESTARTED: u64 = 11 * MINUTE;

/// A month until a moment.
pub struct Month {
    now: u64,
    series: Vec<(Series, Shape)>,
}

/// A value at a time, in units of the family's last place, from milliseconds since the month began.
type Shape = fn(&Series, u64) -> f64;

macro_rules! families {
    ($($name:ident: $text:literal, $unit:literal, $kind:ident, $places:literal, $help:literal;)*) => {
        $(static $name: Family = Family::new($text, $unit, MetricKind::$kind, $places, $help);)*
    };
}

families! {
    CPU: "nautilus_cpu_usage_ratio", "ratio", Gauge, 4, "Share of the time of all CPUs that was in use.";
    MEMORY: "nautilus_memory_usage_ratio", "ratio", Gauge, 4, "Share of the memory that is not available.";
    FREE: "nautilus_memory_available_bytes", "bytes", Gauge, 0, "Memory that is available.";
    LOAD: "nautilus_load_average", "", Gauge, 2, "Mean number of tasks that run or want to.";
    RECEIVED: "nautilus_network_receive_bytes", "bytes", Counter, 0, "Bytes received.";
    SENT: "nautilus_network_transmit_bytes", "bytes", Counter, 0, "Bytes sent.";
    SWITCHES: "nautilus_context_switches", "", Counter, 0, "Context switches since the start.";
    UPTIME: "nautilus_uptime_seconds", "seconds", Gauge, 9, "Time since the machine's start.";
    LATENCY: "nautilus_peer_latency_seconds", "seconds", Gauge, 9, "Time to a peer and back.";
    CONNECTIONS: "nautilus_network_connections", "", Gauge, 0, "Connections that are open.";
    POD_CPU: "nautilus_pod_cpu_usage_seconds", "seconds", Counter, 9, "CPU time of the pod's containers.";
    POD_MEMORY: "nautilus_pod_memory_working_set_bytes", "bytes", Gauge, 0, "Working set of the pod.";
    POD_RECEIVED: "nautilus_pod_network_receive_bytes", "bytes", Counter, 0, "Bytes that the pod received.";
    POD_SENT: "nautilus_pod_network_transmit_bytes", "bytes", Counter, 0, "Bytes that the pod sent.";
    RESTARTS: "nautilus_pod_restarts", "", Counter, 0, "Restarts of the pod's containers.";
    ATTESTED: "nautilus_node_attested", "", Gauge, 0, "Whether the verifier's verdict holds.";
    TRUST: "nautilus_enclave_trust_ratio", "ratio", Gauge, 4, "How far the enclave is to be trusted.";
    QUEUE: "shop_queue_length", "", Gauge, 0, "Orders that wait.";
}

/// The pods, and how much each does.
pub const PODS: [(&str, &str, f64); 8] = [
    ("shop", "web-0", 1.0),
    ("shop", "web-1", 0.7),
    ("shop", "payments-7d9c5b6f4-x2x8k", 0.4),
    ("shop", "database-0", 1.6),
    ("kube-system", "coredns-5dd5756b68-7xq2p", 0.05),
    ("kube-system", "metrics-server-67c658944b-m4w9r", 0.08),
    ("monitoring", "prometheus-0", 0.55),
    (
        "monitoring",
        "a-pod-with-a-name-as-long-as-some-people-make-them-in-earnest-5f6d8c9b7d-zzzzz",
        0.02,
    ),
];

impl Month {
    /// A month until `now`.
    pub fn until(now: UnixMillis) -> Self {
        let now = now.0 - now.0 % TICK;
        let mut series = Vec::new();
        let mut add = |family: &'static Family, part, labels: &[(&str, &str)], shape: Shape| {
            series.push((named(family, part, labels), shape));
        };
        let system = CollectorKind::System;
        add(&CPU, system, &[], |_, at| {
            3_100.0 + 2_000.0 * wave(at, DAY) + 700.0 * noise(at)
        });
        add(&MEMORY, system, &[], |_, at| {
            5_200.0 + 900.0 * wave(at, 3 * DAY) + 60.0 * noise(at)
        });
        add(&FREE, system, &[], |_, at| {
            7.4e9 - 1.5e9 * wave(at, 3 * DAY) + 4.0e7 * noise(at)
        });
        let loads: [(&str, Shape); 3] = [
            ("1m", |_, at| 130.0 + 80.0 * wave(at, DAY) + 40.0 * noise(at)),
            ("5m", |_, at| 130.0 + 80.0 * wave(at, DAY) + 20.0 * noise(at)),
            ("15m", |_, at| 130.0 + 80.0 * wave(at, DAY)),
        ];
        for (window, shape) in loads {
            add(&LOAD, system, &[("window", window)], shape);
        }
        add(&RECEIVED, system, &[], |_, at| counted(at, 3.2e6));
        add(&SENT, system, &[], |_, at| counted(at, 1.1e6));
        add(&SWITCHES, system, &[], |_, at| counted(at, 5_200.0));
        add(&UPTIME, system, &[], |_, at| millis(at) * 1e6);
        for peer in ["api-server", "gateway", "verifier"] {
            add(
                &LATENCY,
                CollectorKind::Network,
                &[("peer", peer)],
                |series, at| {
                    let far = if series.labels[0].1 == "verifier" {
                        2.1e7
                    } else {
                        9.0e5
                    };
                    far * (1.1 + 0.1 * wave(at, HOUR) + 0.08 * noise(at))
                },
            );
        }
        add(&CONNECTIONS, CollectorKind::Network, &[], |_, at| {
            140.0 + 60.0 * wave(at, DAY) + 9.0 * noise(at)
        });
        for (namespace, pod, _) in PODS {
            let labels = [("namespace", namespace), ("pod", pod)];
            let pods = CollectorKind::Container;
            add(&POD_CPU, pods, &labels, |series, at| {
                counted(at, 0.3e9 * busy(series))
            });
            add(&POD_MEMORY, pods, &labels, |series, at| {
                busy(series) * (3.0e8 + 6.0e7 * wave(at, 6 * HOUR) + 4.0e6 * noise(at))
            });
            add(&POD_RECEIVED, pods, &labels, |series, at| {
                counted(at, 2.5e5 * busy(series))
            });
            add(&POD_SENT, pods, &labels, |series, at| {
                counted(at, 9.0e4 * busy(series))
            });
            add(&RESTARTS, pods, &labels, |_, _| 0.0);
        }
        add(&ATTESTED, CollectorKind::Security, &[], |_, _| 1.0);
        add(&TRUST, CollectorKind::Security, &[], |_, at| {
            if at % (9 * DAY) < DAY { 7_500.0 } else { 10_000.0 }
        });
        add(&QUEUE, CollectorKind::Custom, &[("queue", "orders")], |_, at| {
            40.0 + 38.0 * wave(at, 12 * HOUR)
        });
        series.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Self { now, series }
    }

    /// The time of an outage.
    pub fn when(&self, Outage(from, until): Outage) -> (u64, u64) {
        (self.now - from, self.now - until)
    }

    fn start(&self) -> u64 {
        self.now - 30 * DAY
    }

    fn gaps(&self) -> Vec<GapSpan> {
        let span = |outage, reason, collector, detail: &str| {
            let (start, end) = self.when(outage);
            GapSpan {
                start: UnixMillis(start),
                end: UnixMillis(end),
                reason,
                collector,
                detail: detail.to_owned(),
            }
        };
        vec![
            span(Outage::NIGHT, SpanReason::NotRunning, None, ""),
            span(
                Outage::STALLED,
                SpanReason::Stalled,
                Some(CollectorKind::Network),
                "no answer in 5 s",
            ),
            span(Outage::MISSED, SpanReason::Missed, None, ""),
        ]
    }

    fn is_measured(&self, part: CollectorKind, at: u64) -> bool {
        let own = |gap: &GapSpan| gap.collector.is_none_or(|collector| collector == part);
        // What ends and begins a gap was measured.
        !self
            .gaps()
            .iter()
            .any(|gap| own(gap) && gap.start.0 < at && at < gap.end.0)
    }

    fn values<'a>(
        &'a self,
        (series, shape): &'a (Series, Shape),
        question: &'a Question,
    ) -> impl Iterator<Item = (u64, i64)> + 'a {
        let first = question.range.start.0.max(self.start()).next_multiple_of(TICK);
        let end = question.range.end.0.min(self.now + 1);
        let anew = self.now - RESTARTED;
        let restarts = series.labels.iter().any(|(_, value)| value == "web-0");
        let is_counter = series.family.kind == MetricKind::Counter;
        (first..end)
            .step_by(usize::try_from(TICK).unwrap())
            .filter(|at| self.is_measured(series.part, *at))
            .map(move |at| {
                let began = if restarts && is_counter && at >= anew {
                    anew
                } else {
                    self.start()
                };
                #[expect(clippy::cast_possible_truncation, reason = "far below 2^63")]
                let value = shape(series, at - began) as i64;
                (at, value)
            })
    }
}

impl History for Month {
    fn series(&self) -> Result<Vec<SeriesFacts>, HistoryError> {
        let facts = self.series.iter().map(|(series, _)| SeriesFacts {
            series: series.clone(),
            first: UnixMillis(self.start()),
            last: UnixMillis(self.now),
        });
        Ok(facts.collect())
    }

    fn query(&self, question: &Question) -> Result<Answer, HistoryError> {
        let resolution = question.resolution.unwrap_or(Resolution::Raw);
        let chosen = self
            .series
            .iter()
            .filter(|(series, _)| selects(&question.selector, series));
        let series = chosen.map(|one| {
            let values = self.values(one, question);
            let points = match resolution {
                Resolution::Raw => Points::Raw(values.map(|(at, value)| (UnixMillis(at), value)).collect()),
                Resolution::FiveMinutes => rolled_up(values, 5 * MINUTE),
                Resolution::Hour => rolled_up(values, HOUR),
            };
            SeriesData {
                series: one.0.clone(),
                points,
            }
        });
        let within = |gap: &GapSpan| gap.end > question.range.start && gap.start < question.range.end;
        let gaps = self.gaps().into_iter().filter(within).collect();
        Ok(Answer {
            resolution,
            series: series.collect(),
            gaps,
            faults: Vec::<Fault>::new(),
            truncated: false,
        })
    }

    fn verify(&self, _range: Range<UnixMillis>) -> Result<ChainReport, HistoryError> {
        Err(HistoryError::Unreadable(
            "nothing of this month was signed".to_owned(),
        ))
    }

    fn export(
        &self,
        question: &Question,
        _format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), HistoryError> {
        for one in self
            .series
            .iter()
            .filter(|(series, _)| selects(&question.selector, series))
        {
            for (at, value) in self.values(one, question) {
                writeln!(out, "{at},{value}")?;
            }
        }
        Ok(())
    }
}

fn named(family: &'static Family, part: CollectorKind, labels: &[(&str, &str)]) -> Series {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let name = match pairs.as_slice() {
        [] => family.name.clone().into_owned(),
        _ => format!("{}{{{}}}", family.name, pairs.join(",")),
    };
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Series {
        name,
        family: Cow::Borrowed(family),
        labels: labels.collect(),
        part,
    }
}

/// `family`, `prefix*`, and either with label equalities.
fn selects(selector: &str, series: &Series) -> bool {
    let (family, labels) = selector.split_once('{').unwrap_or((selector, ""));
    let is_family = match family.strip_suffix('*') {
        Some(prefix) => series.name.starts_with(prefix),
        None => series.family.name == family,
    };
    let mut wanted = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|pair| !pair.is_empty());
    is_family
        && wanted.all(|pair| {
            series
                .labels
                .iter()
                .any(|(name, value)| format!("{name}=\"{value}\"") == pair)
        })
}

fn rolled_up(values: impl Iterator<Item = (u64, i64)>, step: u64) -> Points {
    let mut rollups: Vec<(Rollup, i64)> = Vec::new();
    for (at, value) in values {
        let at = UnixMillis(at - at % step);
        match rollups.last_mut() {
            Some((sum, count)) if sum.at == at => {
                *count += 1;
                sum.min = sum.min.min(value);
                sum.max = sum.max.max(value);
                sum.mean += value;
            }
            _ => {
                let (min, mean, max) = (value, value, value);
                rollups.push((Rollup { at, min, mean, max }, 1));
            }
        }
    }
    let means = rollups.into_iter().map(|(sum, count)| Rollup {
        mean: sum.mean / count,
        ..sum
    });
    Points::Rollups(means.collect())
}

fn busy(series: &Series) -> f64 {
    let pod = series.labels.iter().find(|(name, _)| name == "pod");
    let found = PODS
        .iter()
        .find(|(_, name, _)| pod.is_some_and(|(_, pod)| pod == name));
    found.map_or(1.0, |(_, _, busy)| *busy)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a month has fewer milliseconds than a double has integers"
)]
fn millis(at: u64) -> f64 {
    at as f64
}

/// From -1 to 1 and back, once in a period.
fn wave(at: u64, period: u64) -> f64 {
    (millis(at % period) / millis(period) * std::f64::consts::TAU).sin()
}

/// From -1 to 1, and the same whenever it is asked for.
fn noise(at: u64) -> f64 {
    let mixed = (at / TICK).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    millis(mixed >> 40) / millis(1 << 23) - 1.0
}

/// What has come together at a pace a second that goes up and down by the day, and is never below zero.
fn counted(at: u64, per_second: f64) -> f64 {
    let day = millis(DAY) / std::f64::consts::TAU;
    let angle = millis(at % DAY) / day;
    (millis(at) + 0.8 * day * (1.0 - angle.cos())) / 1_000.0 * per_second
}
