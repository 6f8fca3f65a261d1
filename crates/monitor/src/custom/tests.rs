use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, SystemTime};

use nautilus_core::UnixMillis;

use super::*;
use crate::reading::Point;

struct Node {
    directory: tempfile::TempDir,
    pushed: Arc<Pushed>,
}

impl Node {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            pushed: Arc::new(Pushed::new(Arc::new(|| UnixMillis(5_000)))),
        }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn push(&self, job: &str, text: &str) {
        let text = format!("job {job}\n{text}# EOF\n");
        self.pushed.push(text.as_bytes()).unwrap();
    }

    fn collect(&self) -> Box<CustomMetrics> {
        let mut collector = CustomCollector::new(CustomSources {
            directory: Some(self.directory.path().to_owned()),
            push: Some(Arc::clone(&self.pushed)),
        });
        assert_eq!(collector.kind(), CollectorKind::Custom);
        match collector.collect().unwrap() {
            Part::Custom(metrics) => metrics,
            other => panic!("{other:?}"),
        }
    }
}

fn series(metrics: &CustomMetrics) -> Vec<String> {
    metrics.given.iter().map(Point::series).collect()
}

/// Name and fault of each source.
fn faults(metrics: &CustomMetrics) -> Vec<(&str, Option<&str>)> {
    let sources = metrics.sources.iter();
    sources
        .map(|source| (source.name.as_str(), source.fault.as_deref()))
        .collect()
}

#[test]
fn files_and_jobs_are_gathered() {
    let node = Node::new();
    let path = node.write("raid.prom", "raid_disks 4\n");
    let written = SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_250);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(written)
        .unwrap();
    node.write(
        "ups.om",
        "# TYPE ups_charge_ratio gauge\nups_charge_ratio 0.5\nbad NaN\n# EOF\n",
    );
    node.write("ups.om.tmp", "half wri");
    node.write(".hidden.prom", "half wri");
    node.push("backup", "# TYPE done counter\ndone_total 3\n");
    let metrics = node.collect();
    assert_eq!(
        series(&metrics),
        ["raid_disks", "ups_charge_ratio", "done{job=\"backup\"}"]
    );
    assert_eq!(
        faults(&metrics),
        [("raid.prom", None), ("ups.om", None), ("backup", None)]
    );
    assert_eq!((metrics.left_out, metrics.files_left_out), (1, 0));
    assert_eq!(
        metrics.by_series()["ups_charge_ratio"].to_bits(),
        0.5_f64.to_bits()
    );

    let mut points = Vec::new();
    metrics.points(&mut points);
    let value = |series: &str| {
        let point = points.iter().find(|point| point.series() == series);
        point.map(|point| (point.value, point.family.places))
    };
    for (name, expected) in [
        ("nautilus_custom_file_error{file=\"raid.prom\"}", (0, 0)),
        (
            "nautilus_custom_file_mtime_timestamp_seconds{file=\"raid.prom\"}",
            (1_600_000_000_250, 3),
        ),
        ("nautilus_custom_job_error{job=\"backup\"}", (0, 0)),
        (
            "nautilus_custom_job_push_timestamp_seconds{job=\"backup\"}",
            (5_000, 3),
        ),
        ("nautilus_custom_series", (3, 0)),
        ("nautilus_custom_values_left_out", (1, 0)),
        ("nautilus_custom_files_left_out", (0, 0)),
        ("raid_disks", (4_000_000, 6)),
    ] {
        assert_eq!(value(name), Some(expected), "{name}");
    }
}

#[test]
fn a_bad_file_costs_itself_only() {
    let node = Node::new();
    node.write("a.prom", "good 1\n");
    node.write("b.prom", "not a metric\n");
    node.write("c.om", "cut_off 1\n");
    node.write("d.prom", vec![b'#'; MAX_DOCUMENT + 1]);
    let open_to_all = node.write("e.prom", "anyone 1\n");
    std::fs::set_permissions(open_to_all, std::fs::Permissions::from_mode(0o666)).unwrap();
    symlink("a.prom", node.directory.path().join("f.prom")).unwrap();
    let pipe = node.directory.path().join("g.prom");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    std::fs::create_dir(node.directory.path().join("h.prom")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(node.directory.path().join("i.prom")).unwrap();
    node.write("j.prom", "forged 1\nnautilus_tee_integrity 1\n");
    node.write("k.prom", "last 1\n");
    let metrics = node.collect();
    drop(socket);
    assert_eq!(series(&metrics), ["good", "last"]);
    let links = "it is no regular file: links and pipes are not followed";
    let expected = [
        ("a.prom", None),
        ("b.prom", Some("line 1: something follows a sample's value")),
        (
            "c.om",
            Some("line 2: `# EOF` is missing at the end: the document is cut off"),
        ),
        (
            "d.prom",
            Some("line 1: the document is larger than 1048576 bytes"),
        ),
        (
            "e.prom",
            Some("everybody may write it: take that permission away"),
        ),
        ("f.prom", Some(links)),
        ("g.prom", Some(links)),
        ("h.prom", Some(links)),
        ("i.prom", Some(links)),
        (
            "j.prom",
            Some("line 2: `nautilus_tee_integrity`: names that begin with `nautilus_` are the agent's own"),
        ),
        ("k.prom", None),
    ];
    assert_eq!(faults(&metrics), expected);
    let mut points = Vec::new();
    metrics.points(&mut points);
    let errors: i64 = points
        .iter()
        .filter(|point| point.family.name == "nautilus_custom_file_error")
        .map(|point| point.value)
        .sum();
    assert_eq!(errors, 9);
}

#[test]
fn a_metric_is_taken_from_one_file() {
    let node = Node::new();
    node.write("a.prom", "# TYPE same counter\nsame{from=\"a\"} 1\n");
    node.write("b.prom", "other 1\nsame_total{from=\"b\"} 1\n");
    node.write("c.prom", "same{from=\"c\"} 1\n");
    node.push("j", "same{from=\"j\"} 1\n");
    let metrics = node.collect();
    assert_eq!(series(&metrics), ["same{from=\"a\"}"]);
    let also = "`same` is also in a.prom: a metric is taken from one place";
    assert_eq!(
        faults(&metrics),
        [
            ("a.prom", None),
            ("b.prom", Some(also)),
            ("c.prom", Some(also)),
            ("j", Some(also)),
        ]
    );
}

#[test]
fn jobs_share_a_metric_that_is_the_same_to_all() {
    let node = Node::new();
    node.push("a", "# TYPE runs counter\n# HELP runs First.\nruns_total 1\n");
    node.push("b", "# TYPE runs counter\n# HELP runs Second.\nruns_total 2\n");
    node.push("c", "# TYPE runs gauge\nruns 3\n");
    let metrics = node.collect();
    assert_eq!(series(&metrics), ["runs{job=\"a\"}", "runs{job=\"b\"}"]);
    assert!(metrics.given.iter().all(|point| point.family.help == "First."));
    assert_eq!(
        faults(&metrics)[2],
        ("c", Some("other jobs push `runs` as something else"))
    );
}

#[test]
fn all_sources_together_are_bounded() {
    let node = Node::new();
    let gauges = |name: &str, count: usize| -> String {
        (0..count).map(|at| format!("{name}{{n=\"{at}\"}} 1\n")).collect()
    };
    node.write("a.prom", gauges("a", MAX_SERIES - 10));
    node.write("b.prom", gauges("b", 11));
    node.write("c.prom", gauges("c", 9));
    node.push("j", &gauges("d", 2));
    node.push("k", "last 1\n");
    let metrics = node.collect();
    assert_eq!(metrics.given.len(), MAX_SERIES);
    let refused =
        "line 11: more than 10 series, which is what is left of those that all sources together may have";
    assert_eq!(
        faults(&metrics),
        [
            ("a.prom", None),
            ("b.prom", Some(refused)),
            ("c.prom", None),
            (
                "j",
                Some("2 series are more than the 1 that other files and jobs leave of 5000")
            ),
            ("k", None),
        ]
    );
}

#[test]
fn files_beyond_the_most_are_counted_and_not_looked_at() {
    let node = Node::new();
    for at in 0..MAX_FILES + 3 {
        node.write(&format!("{at:03}.prom"), format!("m{at} 1\n"));
    }
    let metrics = node.collect();
    assert_eq!((metrics.given.len(), metrics.files_left_out), (MAX_FILES, 3));
    assert_eq!(metrics.given[MAX_FILES - 1].series(), "m63");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let nowhere = PathBuf::from("/nonexistent/metrics");
    let mut collector = CustomCollector::new(CustomSources {
        directory: Some(nowhere.clone()),
        push: None,
    });
    match collector.collect() {
        Err(CollectError::Directory { path, source }) => {
            assert_eq!((path, source.kind()), (nowhere, std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
    let mut nothing = CustomCollector::new(CustomSources::default());
    assert_eq!(nothing.collect().unwrap(), Part::Custom(Box::default()));
}
