use std::collections::BTreeMap;
use std::time::Duration;

use nautilus_core::UnixMillis;
use prometheus_client::metrics::gauge::Gauge;

use super::*;

static CPU: Family = Family::new(
    "nautilus_container_cpu_usage_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "CPU time.",
);
static RATIO: Family = Family::new(
    "nautilus_cpu_usage_ratio",
    "ratio",
    MetricKind::Gauge,
    4,
    "Use of \"all\" CPUs: a\\b.",
);
static PEER: Family = Family::new("nautilus_peer_up", "", MetricKind::Gauge, 0, "");

fn custom(name: &str, unit: &str, kind: MetricKind, value: i64) -> Point {
    let family = Family {
        name: name.to_owned().into(),
        help: "Theirs.".into(),
        unit: unit.to_owned().into(),
        kind,
        places: 0,
    };
    Point {
        family: Cow::Owned(family),
        labels: Vec::new(),
        value,
    }
}

fn build() -> Build {
    Build {
        version: "0.1.0".to_owned(),
        commit: "abc".to_owned(),
        tee: "simulated".to_owned(),
    }
}

fn exposed(points: &[Point]) -> Exposed {
    let exposition = Exposition {
        points,
        registry: None,
    };
    exposition.encode(Format::OpenMetrics).unwrap()
}

/// Asserts that `refused` is left out, for that reason, and `kept` is not.
#[track_caller]
fn leaves_out(refused: Point, why: Refusal, kept: &[Point]) {
    let only = exposed(kept);
    assert_eq!((only.refused, only.first_refused), (0, None));
    let mut points = kept.to_vec();
    let series = refused.series();
    points.push(refused);
    let exposed = exposed(&points);
    assert_eq!((exposed.refused, exposed.first_refused), (1, Some((series, why))));
    let counted = only.text.replace("refused_points 0\n", "refused_points 1\n");
    assert_eq!(exposed.text, counted);
}

#[test]
fn both_formats_are_as_written_here() {
    let points = [
        Point::labelled(&PEER, [("peer", "verifier")], 1),
        Point::labelled(
            &CPU,
            [("container", "c"), ("namespace", "n"), ("pod", "b")],
            1_000_000_000_123_456_789,
        ),
        Point::plain(&RATIO, 4213),
        Point::labelled(
            &CPU,
            [("container", "c"), ("namespace", "n"), ("pod", "a\"\\\n")],
            1_500_000_000,
        ),
        Point::labelled(&PEER, [("peer", "gateway")], 0),
    ];
    let mut registry = Registry::default();
    let limit: Gauge = Gauge::default();
    limit.set(-3);
    registry.register("nautilus_d", "A gauge", limit);
    let exposition = Exposition {
        points: &points,
        registry: Some(&registry),
    };
    let open = r##"# HELP nautilus_container_cpu_usage_seconds CPU time.
# TYPE nautilus_container_cpu_usage_seconds counter
# UNIT nautilus_container_cpu_usage_seconds seconds
nautilus_container_cpu_usage_seconds_total{container="c",namespace="n",pod="a\"\\\n"} 1.5
nautilus_container_cpu_usage_seconds_total{container="c",namespace="n",pod="b"} 1000000000.123456789
# HELP nautilus_cpu_usage_ratio Use of \"all\" CPUs: a\\b.
# TYPE nautilus_cpu_usage_ratio gauge
# UNIT nautilus_cpu_usage_ratio ratio
nautilus_cpu_usage_ratio 0.4213
# HELP nautilus_d A gauge.
# TYPE nautilus_d gauge
nautilus_d -3
# HELP nautilus_exposition_refused_points Values that were measured and cannot be exported, because of their names or because others have the same.
# TYPE nautilus_exposition_refused_points gauge
nautilus_exposition_refused_points 0
# TYPE nautilus_peer_up gauge
nautilus_peer_up{peer="gateway"} 0
nautilus_peer_up{peer="verifier"} 1
# EOF
"##;
    assert_eq!(exposition.encode(Format::OpenMetrics).unwrap().text, open);
    let plain = open
        .replace(
            "# HELP nautilus_container_cpu_usage_seconds ",
            "# HELP nautilus_container_cpu_usage_seconds_total ",
        )
        .replace(
            "# TYPE nautilus_container_cpu_usage_seconds ",
            "# TYPE nautilus_container_cpu_usage_seconds_total ",
        )
        .replace("# UNIT nautilus_container_cpu_usage_seconds seconds\n", "")
        .replace("# UNIT nautilus_cpu_usage_ratio ratio\n", "")
        .replace("\\\"all\\\"", "\"all\"")
        .replace("# EOF\n", "");
    assert_eq!(exposition.encode(Format::PlainText).unwrap().text, plain);
}

#[test]
fn an_empty_exposition_is_whole() {
    let text = exposed(&[]).text;
    assert!(
        text.starts_with("# HELP nautilus_exposition_refused_points "),
        "{text}"
    );
    assert!(text.ends_with("refused_points 0\n# EOF\n"), "{text}");
}

#[test]
fn faulty_names_are_left_out() {
    let kept = [Point::plain(&RATIO, 1)];
    for name in ["", "1a", "a-b", "a b", "a\nb 1", "a{x=\"1\"}", "ä"] {
        leaves_out(custom(name, "", MetricKind::Gauge, 1), Refusal::FamilyName, &kept);
    }
    let doubled = custom("a_total", "", MetricKind::Counter, 1);
    leaves_out(doubled, Refusal::FamilyName, &kept);
    for (name, unit) in [
        ("a_bytes", "seconds"),
        ("seconds", "seconds"),
        ("aseconds", "seconds"),
    ] {
        leaves_out(custom(name, unit, MetricKind::Gauge, 1), Refusal::Unit, &kept);
    }
    leaves_out(custom("a", "", MetricKind::Counter, -1), Refusal::Negative, &kept);
    assert_eq!(exposed(&[custom("a", "", MetricKind::Gauge, -1)]).refused, 0);
}

#[test]
fn faulty_labels_are_left_out() {
    let with = |names: &[&str]| {
        let mut point = custom("a", "", MetricKind::Gauge, 1);
        for name in names {
            point
                .labels
                .push((Cow::Owned((*name).to_owned()), "v".to_owned()));
        }
        point
    };
    for name in ["", "1", "a-b", "a:b", "__name__", "a=\"b\"} 1\nc{d"] {
        leaves_out(with(&[name]), Refusal::Labels, &[]);
    }
    leaves_out(with(&["b", "a"]), Refusal::Labels, &[]);
    leaves_out(with(&["a", "a"]), Refusal::Labels, &[]);
    assert_eq!(exposed(&[with(&["A9", "_b", "a"])]).refused, 0);
}

#[test]
fn one_name_is_one_family_and_the_programs_own_comes_first() {
    // Whatever the order, the family that the program knows stays.
    let theirs = custom("nautilus_cpu_usage_ratio", "ratio", MetricKind::Gauge, 9999);
    let both = exposed(&[theirs.clone(), Point::plain(&RATIO, 1)]);
    assert_eq!(both.first_refused, Some((theirs.series(), Refusal::Clash)));
    assert!(
        both.text.contains("\nnautilus_cpu_usage_ratio 0.0001\n"),
        "{}",
        both.text
    );
    // A name of a family's samples is taken too.
    for taken in [
        "nautilus_container_cpu_usage_seconds_total",
        "nautilus_container_cpu_usage_seconds",
        "nautilus_exposition_refused_points",
    ] {
        let theirs = custom(taken, "", MetricKind::Gauge, 1);
        leaves_out(theirs, Refusal::Clash, &[Point::plain(&CPU, 1)]);
    }
    // So it is where both are others': who is first in the order of names stays.
    let counter = custom("b", "", MetricKind::Counter, 1);
    let gauge = custom("b_total", "", MetricKind::Gauge, 1);
    leaves_out(gauge, Refusal::Clash, std::slice::from_ref(&counter));
    // A family is of one kind.
    leaves_out(custom("b", "", MetricKind::Gauge, 1), Refusal::Clash, &[counter]);
}

#[test]
fn a_series_occurs_once() {
    let first = Point::labelled(&PEER, [("peer", "a")], 1);
    let again = Point::labelled(&PEER, [("peer", "a")], 0);
    leaves_out(again, Refusal::Duplicate, &[first]);
}

#[test]
fn instruments_have_their_names_before_anybody_else() {
    let metrics = NodeMetrics::new(&build());
    let taken = [
        "nautilus_build_info",
        "nautilus_attestation_total",
        "nautilus_attestation_duration_seconds_bucket",
        "nautilus_proof_duration_seconds_count",
        "nautilus_proof_queue_length",
    ];
    let points = taken.map(|name| custom(name, "", MetricKind::Gauge, 1));
    let exposition = Exposition {
        points: &points,
        registry: Some(metrics.registry()),
    };
    let exposed = exposition.encode(Format::OpenMetrics).unwrap();
    assert_eq!(exposed.refused, taken.len());
    for name in taken {
        assert!(!exposed.text.contains(&format!("# TYPE {name} gauge\nnautilus_x")));
        assert!(!exposed.text.contains("Theirs"), "{}", exposed.text);
    }
}

#[test]
fn instruments_that_share_a_name_are_an_error() {
    let mut registry = Registry::default();
    registry.register("a", "One", Gauge::<i64>::default());
    registry.register("a", "Another", Gauge::<i64>::default());
    let exposition = Exposition {
        points: &[],
        registry: Some(&registry),
    };
    let error = exposition.encode(Format::OpenMetrics).unwrap_err();
    assert!(
        matches!(&error, ExpositionError::Registered(name) if name == "a"),
        "{error:?}"
    );
}

/// Samples by series.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

#[test]
fn the_agents_instruments_are_told_and_shown() {
    let metrics = NodeMetrics::new(&build());
    let text = |format| {
        let exposition = Exposition {
            points: &[],
            registry: Some(metrics.registry()),
        };
        exposition.encode(format).unwrap().text
    };
    let before = text(Format::OpenMetrics);
    for absent in ["storage", "expiry", "log_entries"] {
        assert!(!before.contains(absent), "{before}");
    }
    assert_eq!(
        samples(&before)[r#"nautilus_attestation_total{stage="boot",result="failed"}"#],
        "0"
    );

    let took = Duration::from_millis(40);
    metrics.attested(AttestationStage::Boot, AttestationResult::Failed, took);
    metrics.attested(AttestationStage::Boot, AttestationResult::Accepted, took);
    metrics.certificate("enclave", UnixMillis(1_795_420_000_123));
    metrics.proved(Duration::from_secs(60));
    metrics.proofs_waiting(3);
    metrics.stored(4096, u64::MAX);
    metrics.sampled(0);
    metrics.sampled(2);
    metrics.log_types(["boot", "rotation"]);
    metrics.logged("boot");
    let open = text(Format::OpenMetrics);
    let shown = samples(&open);
    for (series, value) in [
        (
            r#"nautilus_build_info{version="0.1.0",commit="abc",tee="simulated"}"#,
            "1",
        ),
        (r#"nautilus_attestation_total{stage="boot",result="failed"}"#, "1"),
        (
            r#"nautilus_attestation_total{stage="boot",result="accepted"}"#,
            "1",
        ),
        (
            r#"nautilus_attestation_total{stage="request",result="accepted"}"#,
            "0",
        ),
        (r#"nautilus_attestation_duration_seconds_bucket{le="0.025"}"#, "0"),
        (r#"nautilus_attestation_duration_seconds_bucket{le="0.05"}"#, "2"),
        (r#"nautilus_attestation_duration_seconds_bucket{le="+Inf"}"#, "2"),
        ("nautilus_attestation_duration_seconds_count", "2"),
        ("nautilus_attestation_duration_seconds_sum", "0.08"),
        (
            r#"nautilus_certificate_expiry_timestamp_seconds{cert="enclave"}"#,
            "1795420000.123",
        ),
        (r#"nautilus_proof_duration_seconds_bucket{le="30.0"}"#, "0"),
        (r#"nautilus_proof_duration_seconds_bucket{le="+Inf"}"#, "1"),
        ("nautilus_proof_queue_length", "3"),
        ("nautilus_storage_bytes", "4096"),
        ("nautilus_storage_free_bytes", "18446744073709551615"),
        ("nautilus_samples_total", "2"),
        ("nautilus_ticks_missed_total", "2"),
        (r#"nautilus_event_log_entries_total{type="boot"}"#, "1"),
        (r#"nautilus_event_log_entries_total{type="rotation"}"#, "0"),
    ] {
        assert_eq!(shown.get(series), Some(&value), "{series} in {open}");
    }
    assert!(open.contains("# TYPE nautilus_build info\n"), "{open}");
    let plain = text(Format::PlainText);
    assert_eq!(samples(&plain), shown);
    for header in [
        "# TYPE nautilus_build_info gauge\n",
        "# TYPE nautilus_attestation_total counter\n",
        "# TYPE nautilus_attestation_duration_seconds histogram\n",
    ] {
        assert!(plain.contains(header), "{plain}");
    }
}

#[test]
fn two_thousand_series_are_all_there_and_in_order() {
    let points: Vec<Point> = (0..2000_i64)
        .rev()
        .map(|at| Point::labelled(&CPU, [("pod", &format!("pod-{at:04}"))], at))
        .collect();
    let exposed = exposed(&points);
    assert_eq!(exposed.refused, 0);
    let lines: Vec<&str> = exposed
        .text
        .lines()
        .filter(|line| line.contains("pod-"))
        .collect();
    assert_eq!(lines.len(), 2000);
    assert!(lines.is_sorted());
    assert_eq!(
        lines[1999],
        r#"nautilus_container_cpu_usage_seconds_total{pod="pod-1999"} 0.000001999"#
    );
}
