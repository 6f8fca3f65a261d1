use nautilus_proof::Reading;

use super::*;
use crate::data::{
    ContainerMetrics, CustomMetrics, DiskIo, NetworkIo, NetworkMetrics, SystemDetails, SystemMetrics,
};
use crate::decimal::{Centi, Decimal};

/// Points that the custom collector has of itself.
const OWN: usize = 3;

static FAMILY: Family = Family::new("a_bytes", "bytes", MetricKind::Gauge, 0, "An example.");

fn custom(names: impl IntoIterator<Item = String>) -> Part {
    let given = names
        .into_iter()
        .zip(1..)
        .map(|(name, value)| Point::labelled(&FAMILY, [("of", &name)], value))
        .collect();
    Part::Custom(Box::new(CustomMetrics {
        given,
        ..CustomMetrics::default()
    }))
}

fn system() -> Part {
    Part::System(Box::new(SystemMetrics {
        cpu_usage: Decimal(1),
        cpu_efficiency: Decimal(2),
        memory_usage: Decimal(3),
        disk_usage: Decimal(4),
        network_io: NetworkIo::default(),
        disk_io: DiskIo::default(),
        load_average: [Centi::default(); 3],
        process_count: 5,
        thread_count: 6,
        file_descriptors: 7,
        context_switches: 8,
        interrupts: 9,
        uptime: Decimal(10),
        tee_status: None,
        details: SystemDetails::default(),
    }))
}

fn gap(collector: CollectorKind, reason: GapReason) -> Gap {
    Gap { collector, reason }
}

fn facts(collector: CollectorKind, reason: GapReason) -> GapFacts {
    GapFacts {
        collector,
        reason,
        detail: "why".to_owned(),
    }
}

fn reading(series: &str, value: i64) -> Reading {
    Reading {
        series: series.to_owned(),
        value,
    }
}

#[test]
fn a_collection_tells_how_its_collectors_fared() {
    let mut collection = Collection {
        parts: vec![custom(["x".to_owned()])],
        gaps: vec![facts(CollectorKind::Network, GapReason::Stalled)],
        durations: vec![(CollectorKind::Custom, Duration::from_micros(1500))],
        errors: vec![(CollectorKind::Network, 7), (CollectorKind::Custom, 0)],
        added: Vec::new(),
    };
    collection.add([Point::plain(&FAMILY, -1)]);
    let committed = collection.commit();
    assert_eq!(
        committed.readings.0,
        [
            reading("a_bytes", -1),
            reading("a_bytes{of=\"x\"}", 1),
            reading("nautilus_collector_errors{collector=\"custom\"}", 0),
            reading("nautilus_collector_errors{collector=\"network\"}", 7),
            reading("nautilus_collector_up{collector=\"custom\"}", 1),
            reading("nautilus_collector_up{collector=\"network\"}", 0),
            reading("nautilus_custom_files_left_out", 0),
            reading("nautilus_custom_series", 1),
            reading("nautilus_custom_values_left_out", 0),
            reading(
                "nautilus_scrape_duration_seconds{collector=\"custom\"}",
                1_500_000
            ),
        ]
    );
    assert_eq!(committed.count, 10);
    assert_eq!(committed.digest, committed.readings.digest());
    assert_eq!(committed.gaps, [gap(CollectorKind::Network, GapReason::Stalled)]);
    assert_eq!(collection.points().len(), 10);
}

#[test]
fn gaps_are_sorted_and_one_for_each_collector() {
    let collection = Collection {
        gaps: vec![
            facts(CollectorKind::Custom, GapReason::Failed),
            facts(CollectorKind::System, GapReason::Stalled),
            facts(CollectorKind::Custom, GapReason::Stalled),
        ],
        ..Collection::default()
    };
    assert_eq!(
        collection.gaps(),
        [
            gap(CollectorKind::System, GapReason::Stalled),
            gap(CollectorKind::Custom, GapReason::Failed)
        ]
    );
}

#[test]
fn metrics_and_response_time_come_from_their_parts() {
    let mut collection = Collection {
        parts: vec![system()],
        ..Collection::default()
    };
    let Part::System(metrics) = system() else {
        unreachable!();
    };
    assert_eq!(collection.metrics(), Some(metrics.signed()));
    assert_eq!(collection.response_time_micros(), None);
    for (nanos, micros) in [(1_234_999, Some(1234)), (0, Some(0)), (-1000, None)] {
        let network = NetworkMetrics {
            response_time: Some(Decimal(nanos)),
            ..NetworkMetrics::default()
        };
        collection.parts = vec![system(), Part::Network(Box::new(network))];
        assert_eq!(collection.commit().response_time_micros, micros);
    }
    collection.gaps = vec![facts(CollectorKind::System, GapReason::Truncated)];
    assert_eq!(collection.commit().metrics, None);
}

#[test]
fn who_gives_too_much_is_cut_and_nobody_else() {
    let names = |count: usize| (0..count).map(|name| format!("{name:05}"));
    let mut collection = Collection {
        parts: vec![custom(names(MAX_READINGS - OWN))],
        ..Collection::default()
    };
    let committed = collection.commit();
    assert_eq!((committed.count as usize, committed.gaps), (MAX_READINGS, vec![]));
    // Its own points and those of others find room, whatever their names.
    collection.add([Point::plain(&SCRAPE_DURATION, 3)]);
    let committed = collection.commit();
    assert_eq!(committed.count as usize, MAX_READINGS);
    let truncated = [gap(CollectorKind::Custom, GapReason::Truncated)];
    assert_eq!(committed.gaps, truncated);
    assert_eq!(
        committed.readings.0.last(),
        Some(&reading("nautilus_scrape_duration_seconds", 3))
    );
    assert_eq!(collection.gaps.len(), 1);
    assert!(
        collection.gaps[0]
            .detail
            .starts_with("gave more than fits into a sample of 20000")
    );
    // A gap that is there already stays what it is.
    collection.gaps = vec![facts(CollectorKind::Custom, GapReason::Failed)];
    assert_eq!(
        collection.commit().gaps,
        [gap(CollectorKind::Custom, GapReason::Failed)]
    );
    assert_eq!(collection.gaps.len(), 1);
}

#[test]
fn the_largest_part_is_cut_first() {
    let points = |count: usize| vec![Point::plain(&FAMILY, 0); count];
    let lengths = |parts: &[(CollectorKind, Vec<Point>)]| -> Vec<usize> {
        parts.iter().map(|(_, points)| points.len()).collect()
    };
    let mut parts = [
        (CollectorKind::System, points(40)),
        (CollectorKind::Container, points(300)),
        (CollectorKind::Custom, points(500)),
    ];
    assert_eq!(cut_to_fit(&mut parts, 840), HashSet::new());
    assert_eq!(
        cut_to_fit(&mut parts, 400),
        HashSet::from([CollectorKind::Custom])
    );
    assert_eq!(lengths(&parts), [40, 300, 60]);
    let both = HashSet::from([CollectorKind::Container, CollectorKind::Custom]);
    assert_eq!(cut_to_fit(&mut parts, 50), both);
    assert_eq!(lengths(&parts), [40, 0, 10]);
}

#[test]
fn names_that_do_not_fit_are_the_gap_of_who_gave_them() {
    let long = "x".repeat(crate::reading::MAX_LABEL);
    let family = Family::new("nautilus_long", "", MetricKind::Gauge, 0, "An example.");
    let mut point = Point::plain(&FAMILY, 1);
    point.family = std::borrow::Cow::Owned(family);
    point.labels = ["a", "b", "c", "d"]
        .map(|name| (name.into(), long.clone()))
        .into();
    let mut collection = Collection {
        parts: vec![
            Part::Container(Box::<ContainerMetrics>::default()),
            Part::Custom(Box::new(CustomMetrics {
                given: vec![point],
                ..CustomMetrics::default()
            })),
        ],
        ..Collection::default()
    };
    let truncated = [gap(CollectorKind::Custom, GapReason::Truncated)];
    let committed = collection.commit();
    // What is left is of the collectors themselves: one point of the container collector's.
    assert_eq!(
        (committed.count as usize, &committed.gaps[..]),
        (OWN + 1, &truncated[..])
    );
    // A name that is the node's own stays the node's.
    let mut collection = Collection {
        parts: vec![custom(["x".to_owned(), "y".to_owned()])],
        ..Collection::default()
    };
    collection.add([Point::labelled(&FAMILY, [("of", "y")], 77)]);
    let committed = collection.commit();
    assert_eq!(committed.gaps, truncated);
    assert_eq!(
        committed.readings.0,
        [
            reading("a_bytes{of=\"x\"}", 1),
            reading("a_bytes{of=\"y\"}", 77),
            reading("nautilus_custom_files_left_out", 0),
            reading("nautilus_custom_series", 2),
            reading("nautilus_custom_values_left_out", 0)
        ]
    );
}

#[test]
fn the_sample_for_people_has_all_parts_and_gaps() {
    let mut collection = Collection {
        parts: vec![system(), custom(["x".to_owned()])],
        gaps: vec![facts(CollectorKind::Network, GapReason::Failed)],
        ..Collection::default()
    };
    let committed = collection.commit();
    let data = collection.performance_data(
        UnixMillis(5),
        NodeId([1; 32]),
        Some("enclave".to_owned()),
        committed.digest,
    );
    let json = serde_json::to_value(&data).unwrap();
    assert_eq!(json["hash"], serde_json::to_value(committed.digest).unwrap());
    assert_eq!(json["system_metrics"]["process_count"], 5);
    assert_eq!(json["container_metrics"], serde_json::Value::Null);
    assert_eq!(json["custom_metrics"]["a_bytes{of=\"x\"}"], 1.0);
    assert_eq!(json["gaps"][0]["collector"], "network");
    assert_eq!(json["gaps"][0]["detail"], "why");
    assert_eq!(json.get("signature"), None);
}
