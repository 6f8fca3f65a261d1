//! What we write, read by others: hostile values, many series, every instrument.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_monitor::openmetrics::{
    AttestationResult, AttestationStage, Build, Exposition, Format, NodeMetrics,
};
use nautilus_monitor::{Family, MetricKind, Point};
use serde_json::Value;
use tempfile::TempDir;

use crate::server::Prometheus;
use crate::tools::{check_plain, read_openmetrics};

static CPU: Family = Family::new(
    "example_cpu_usage_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "CPU time of a \"pod\": a\\b,\nin two lines.",
);
static RATIO: Family = Family::new("example_usage_ratio", "ratio", MetricKind::Gauge, 4, "A share.");
static UP: Family = Family::new("example_up", "", MetricKind::Gauge, 0, "Whether it is.");

/// Values of labels that a text format trips over.
const HOSTILE: [&str; 12] = [
    "",
    " ",
    "\"",
    "\\",
    "\n",
    "\\n",
    "a\"} 1\nb{c=\"d",
    "# EOF",
    ",",
    "=",
    "ä\u{202e}\u{0}\u{1b}",
    "日本\u{1F980}",
];

fn points() -> Vec<Point> {
    let mut points: Vec<Point> = (0..2000_i64)
        .map(|at| {
            let pod = format!("pod-{at}");
            Point::labelled(&CPU, [("namespace", "n"), ("pod", &pod)], at * 1_000_000_123)
        })
        .collect();
    for (at, value) in HOSTILE.into_iter().enumerate() {
        let up = i64::try_from(at).unwrap();
        points.push(Point::labelled(&UP, [("of", value)], up));
    }
    points.push(Point::labelled(&RATIO, [("of", "a")], -1));
    points.push(Point::labelled(&RATIO, [("of", "b")], i64::MAX));
    points
}

fn instruments() -> NodeMetrics {
    let metrics = NodeMetrics::new(&Build {
        version: "1.2.3".to_owned(),
        commit: "\"\\\n".to_owned(),
        tee: "simulated".to_owned(),
    });
    metrics.attested(
        AttestationStage::Boot,
        AttestationResult::Accepted,
        Duration::from_millis(7),
    );
    metrics.certificate("enclave", UnixMillis(1_795_420_000_123));
    metrics.proved(Duration::from_secs(90));
    metrics.proofs_waiting(1);
    metrics.stored(1, 2);
    metrics.sampled(1);
    metrics.logged("boot");
    metrics
}

#[test]
fn openmetrics_comes_back_as_it_went() {
    let (points, metrics) = (points(), instruments());
    let exposition = Exposition {
        points: &points,
        registry: Some(metrics.registry()),
    };
    let exposed = exposition.encode(Format::OpenMetrics).unwrap();
    assert_eq!((exposed.refused, exposed.first_refused), (0, None));
    let read = read_openmetrics(&exposed.text);

    // What is shorter than 16 digits, a double holds as it is written.
    let wanted = |point: &Point| point.value as f64 / 10_f64.powi(i32::from(point.family.places));
    let by_labels = |name: &str| -> BTreeMap<String, &Value> {
        let of = read.iter().filter(|sample| sample["name"] == name);
        of.map(|sample| (sample["labels"].to_string(), sample)).collect()
    };
    let found: BTreeMap<_, _> = [
        "example_cpu_usage_seconds_total",
        "example_up",
        "example_usage_ratio",
    ]
    .into_iter()
    .map(|name| (name, by_labels(name)))
    .collect();
    for point in &points {
        let name = match point.family.kind {
            MetricKind::Counter => format!("{}_total", point.family.name),
            MetricKind::Gauge => point.family.name.clone().into_owned(),
        };
        let labels: serde_json::Map<String, Value> = point
            .labels
            .iter()
            .map(|(label, value)| (label.clone().into_owned(), value.clone().into()))
            .collect();
        let labels = Value::Object(labels).to_string();
        let sample = found[name.as_str()]
            .get(&labels)
            .unwrap_or_else(|| panic!("{} is not there", point.series()));
        assert_eq!(
            sample["value"].as_f64(),
            Some(wanted(point)),
            "{}",
            point.series()
        );
        assert_eq!(sample["family"], *point.family.name);
        assert_eq!(sample["unit"], *point.family.unit);
        assert_eq!(sample["help"], *point.family.help);
    }
    let count: usize = found.values().map(BTreeMap::len).sum();
    assert_eq!(count, points.len());

    let types: BTreeMap<_, _> = read
        .iter()
        .map(|sample| {
            (
                sample["family"].as_str().unwrap(),
                sample["type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(types["nautilus_build"], "info");
    assert_eq!(types["nautilus_attestation"], "counter");
    assert_eq!(types["nautilus_proof_duration_seconds"], "histogram");
    assert_eq!(types["example_cpu_usage_seconds"], "counter");
}

/// Serves an exposition to whoever asks, until the test ends.
fn serve(text: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        Format::OpenMetrics.content_type(),
        text.len()
    );
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let request = BufReader::new(connection.try_clone().unwrap()).lines();
            let lines = request.map_while(Result::ok).take_while(|line| !line.is_empty());
            // Who asked may be gone.
            let _answered = lines.count() > 0 && write!(connection, "{head}{text}").is_ok();
        }
    });
    address
}

#[test]
fn prometheus_takes_every_series() {
    let (points, metrics) = (points(), instruments());
    let exposition = Exposition {
        points: &points,
        registry: Some(metrics.registry()),
    };
    let address = serve(exposition.encode(Format::OpenMetrics).unwrap().text);
    let data = TempDir::new().unwrap();
    let prometheus = Prometheus::start(data.path(), Some(&address.to_string()));
    prometheus.until("up{job=\"nautilus\"} == 1");
    prometheus.until("count(example_cpu_usage_seconds_total) == 2000");
    let is_there = prometheus.query("example_cpu_usage_seconds_total{pod=\"pod-1999\"}");
    assert_eq!(is_there[0]["value"][1], "1999.000245877");
    for (at, value) in HOSTILE.into_iter().enumerate() {
        let selector = format!("example_up{{of={}}}", serde_json::to_string(value).unwrap());
        // To Prometheus a label without a value is no label.
        let found = prometheus.query(&selector);
        assert_eq!(found.len(), 1, "{selector}");
        assert_eq!(found[0]["value"][1], at.to_string(), "{selector}");
    }
    let metadata = prometheus.api("targets/metadata", &[("metric", "example_usage_ratio")]);
    assert_eq!(metadata[0]["type"], "gauge", "{metadata}");
    assert_eq!(metadata[0]["unit"], "ratio", "{metadata}");
    assert_eq!(metadata[0]["help"], "A share.", "{metadata}");
}

#[test]
fn promtool_finds_nothing_in_the_older_format() {
    let (points, metrics) = (points(), instruments());
    let exposition = Exposition {
        points: &points,
        registry: Some(metrics.registry()),
    };
    check_plain(&exposition.encode(Format::PlainText).unwrap().text);
}

#[test]
fn what_another_program_gives_cannot_break_it() {
    let names = [
        "nautilus_proof_duration_seconds",
        "a\n# EOF\n",
        "b{",
        "example_up",
        "good",
    ];
    let kinds = [MetricKind::Gauge, MetricKind::Counter];
    let mut points = vec![Point::labelled(&UP, [("of", "us")], 1)];
    for (name, kind) in names.into_iter().zip(kinds.into_iter().cycle()) {
        for label in ["ok", "no\"", "__name__"] {
            points.push(Point {
                family: Cow::Owned(Family {
                    name: name.into(),
                    help: "evil\n# TYPE nautilus_build gauge\nnautilus_build 7".into(),
                    unit: "".into(),
                    kind,
                    places: 255,
                }),
                labels: vec![(label.into(), "v".to_owned())],
                value: 1,
            });
        }
    }
    let metrics = instruments();
    let exposition = Exposition {
        points: &points,
        registry: Some(metrics.registry()),
    };
    let exposed = exposition.encode(Format::OpenMetrics).unwrap();
    let read = read_openmetrics(&exposed.text);
    let theirs: Vec<_> = read
        .iter()
        .filter(|sample| sample["help"].as_str().unwrap().contains("evil"))
        .map(|sample| sample["name"].as_str().unwrap())
        .collect();
    // Of fifteen, the one with a good and free name and a good label.
    assert_eq!((theirs, exposed.refused), (vec!["good"], 14));
    check_plain(&exposition.encode(Format::PlainText).unwrap().text);
}
