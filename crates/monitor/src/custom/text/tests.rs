use super::*;
use crate::reading::MAX_LABEL;

fn open_metrics(text: &str) -> Result<Document, TextError> {
    parse_text(text.as_bytes(), Dialect::OpenMetrics, None, 100)
}

fn prometheus(text: &str) -> Result<Document, TextError> {
    parse_text(text.as_bytes(), Dialect::Prometheus, None, 100)
}

/// Series, value, kind and places of each point.
fn told(document: &Document) -> Vec<(String, i64, MetricKind, u8)> {
    let point = |point: &Point| {
        (
            point.series(),
            point.value,
            point.family.kind,
            point.family.places,
        )
    };
    document.points.iter().map(point).collect()
}

/// The only series of a document, and its value.
fn only(document: Result<Document, TextError>) -> (String, i64) {
    match &document.unwrap().points[..] {
        [point] => (point.series(), point.value),
        other => panic!("{other:?}"),
    }
}

/// The fault of a document of OpenMetrics that is `lines` and an end.
fn refused(lines: &str) -> (usize, TextFault) {
    let TextError { line, fault } = open_metrics(&format!("{lines}\n# EOF\n")).unwrap_err();
    (line, fault)
}

#[test]
fn a_document_of_openmetrics_is_read_whole() {
    let document = open_metrics(concat!(
        "# TYPE acme_http_router_request_seconds summary\n",
        "# UNIT acme_http_router_request_seconds seconds\n",
        "# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.\n",
        "acme_http_router_request_seconds_sum{path=\"/api/v1\",method=\"GET\"} 9036.32\n",
        "acme_http_router_request_seconds_count{path=\"/api/v1\",method=\"GET\"} 807283.0\n",
        "acme_http_router_request_seconds_created{path=\"/api/v1\",method=\"GET\"} 1605281325.25\n",
        "acme_http_router_request_seconds{quantile=\"0.5\"} NaN\n",
        "# TYPE go_goroutines gauge\n",
        "# HELP go_goroutines Number \\\\ \\\"of\\\" \\n goroutines.\n",
        "go_goroutines 69\n",
        "# TYPE sent_bytes counter\n",
        "# UNIT sent_bytes bytes\n",
        "sent_bytes_total{to=\"a\\\\b\\\"c\\nd\"} 9e15 # {trace=\"x\"} 1 1605281325.0\n",
        "sent_bytes_created{to=\"a\"} 1.5\n",
        "# TYPE build info\n",
        "build_info{version=\"1\"} 1\n",
        "# TYPE state stateset\n",
        "state{state=\"on\"} 1\n",
        "state{state=\"off\"} 0\n",
        "# TYPE h histogram\n",
        "h_bucket{le=\"0.1\"} 2 # {} 0.05\n",
        "h_bucket{le=\"+Inf\"} 3\n",
        "h_sum 0.25\n",
        "h_count 3\n",
        "# TYPE g gaugehistogram\n",
        "g_bucket{le=\"+Inf\"} 3\n",
        "g_gsum -0.5\n",
        "g_gcount 3\n",
        "# TYPE none unknown\n",
        "bare{empty=\"\"} -1\n",
        "# EOF\n",
    ))
    .unwrap();
    use MetricKind::{Counter, Gauge};
    let router = "{method=\"GET\",path=\"/api/v1\"}";
    let expected = [
        (
            format!("acme_http_router_request_seconds_sum{router}"),
            9_036_320_000,
            Gauge,
            6,
        ),
        (
            format!("acme_http_router_request_seconds_count{router}"),
            807_283,
            Gauge,
            0,
        ),
        (
            format!("acme_http_router_request_seconds_created{router}"),
            1_605_281_325_250_000,
            Gauge,
            6,
        ),
        ("go_goroutines".into(), 69_000_000, Gauge, 6),
        (
            "sent_bytes{to=\"a\\\\b\\\"c\\nd\"}".into(),
            9_000_000_000_000_000,
            Counter,
            0,
        ),
        ("sent_bytes_created{to=\"a\"}".into(), 1_500_000, Gauge, 6),
        ("build_info{version=\"1\"}".into(), 1_000_000, Gauge, 6),
        ("state{state=\"on\"}".into(), 1_000_000, Gauge, 6),
        ("state{state=\"off\"}".into(), 0, Gauge, 6),
        ("h_bucket{le=\"0.1\"}".into(), 2, Gauge, 0),
        ("h_bucket{le=\"+Inf\"}".into(), 3, Gauge, 0),
        ("h_sum".into(), 250_000, Gauge, 6),
        ("h_count".into(), 3, Gauge, 0),
        ("g_bucket{le=\"+Inf\"}".into(), 3, Gauge, 0),
        ("g_gsum".into(), -500_000, Gauge, 6),
        ("g_gcount".into(), 3, Gauge, 0),
        ("bare".into(), -1_000_000, Gauge, 6),
    ];
    assert_eq!(told(&document), expected);
    assert_eq!(document.left_out, 1);
    let family = |name: &str| {
        let mut families = document.points.iter().map(|point| &point.family);
        families.find(|family| family.name == name).unwrap()
    };
    assert_eq!(family("go_goroutines").help, "Number \\ \"of\"   goroutines.");
    assert_eq!(family("sent_bytes").unit, "bytes");
    // A unit ends the name of what has it.
    assert_eq!(family("acme_http_router_request_seconds_count").unit, "");
}

#[test]
fn a_file_of_node_exporters_kind_is_read_whole() {
    let document = prometheus(concat!(
        "# Written by a job; comments are free.\n",
        "\n",
        "#HELP x not metadata for some, and for Prometheus it is\n",
        "# HELP node_md_disks Number of disks.\n",
        "# TYPE node_md_disks gauge\n",
        "node_md_disks {\tdevice = \"md0\" , state=\"active\", } 2\n",
        "  node_md_disks{device=\"md1\"}3\t\n",
        "# TYPE requests_total counter\n",
        "requests_total 7\n",
        "# TYPE old_counter counter\n",
        "old_counter 8\n",
        "# TYPE rpc_seconds histogram\n",
        "rpc_seconds_bucket{le=\"1\"} 4\n",
        "rpc_seconds_sum 2.5\n",
        "rpc_seconds_count 4\n",
        "untyped_total 1\n",
        "read_bytes_total 18000000000000\n",
        "plain -Inf\n",
    ))
    .unwrap();
    use MetricKind::{Counter, Gauge};
    let expected = [
        (
            "node_md_disks{device=\"md0\",state=\"active\"}".into(),
            2_000_000,
            Gauge,
            6,
        ),
        ("node_md_disks{device=\"md1\"}".into(), 3_000_000, Gauge, 6),
        ("requests".into(), 7_000_000, Counter, 6),
        ("old_counter".into(), 8_000_000, Counter, 6),
        ("rpc_seconds_bucket{le=\"1\"}".into(), 4, Gauge, 0),
        ("rpc_seconds_sum".into(), 2_500_000, Gauge, 6),
        ("rpc_seconds_count".into(), 4, Gauge, 0),
        ("untyped".into(), 1_000_000, Counter, 6),
        ("read_bytes".into(), 18_000_000_000_000, Counter, 0),
    ];
    assert_eq!(told(&document), expected);
    assert_eq!(document.left_out, 1);
    assert_eq!(prometheus("").unwrap(), Document::default());
    assert_eq!(prometheus("# only a comment\n").unwrap(), Document::default());
}

#[test]
fn what_is_exported_has_the_name_that_it_came_with() {
    let document = prometheus("# TYPE a_total counter\na_total 1\nb 1\n").unwrap();
    let names: Vec<_> = document
        .points
        .iter()
        .map(|point| exposed_name(&point.family))
        .collect();
    assert_eq!(names, ["a_total", "b"]);
}

#[test]
fn a_document_that_is_cut_off_is_refused() {
    assert_eq!(
        open_metrics("a 1\n").unwrap_err(),
        TextError {
            line: 2,
            fault: TextFault::NoEof
        }
    );
    assert_eq!(open_metrics("").unwrap_err().fault, TextFault::NoEof);
    assert_eq!(
        open_metrics("a 1\n# EOF").unwrap_err().fault,
        TextFault::Unterminated
    );
    assert_eq!(prometheus("a 1\nb 2").unwrap_err().fault, TextFault::Unterminated);
    for after in ["\n", "a 1\n", "# EOF\n", "x"] {
        let error = open_metrics(&format!("a 1\n# EOF\n{after}")).unwrap_err();
        assert_eq!((error.line, error.fault), (3, TextFault::AfterEof));
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let parse = |text: &[u8]| parse_text(text, Dialect::Prometheus, None, 100).unwrap_err();
    let error = parse(b"a 1\nb\xff 2\n");
    assert_eq!((error.line, error.fault), (2, TextFault::NotUtf8));
    assert_eq!(parse(b"a 1\r\n").fault, TextFault::ControlCharacter);
    assert_eq!(parse(b"a{b=\"\0\"} 1\n").fault, TextFault::ControlCharacter);
    assert_eq!(parse(&vec![b'\n'; MAX_DOCUMENT + 1]).fault, TextFault::TooLarge);
    assert_eq!(
        parse_text(&vec![b'\n'; MAX_DOCUMENT], Dialect::Prometheus, None, 0),
        Ok(Document::default())
    );
}

#[test]
fn openmetrics_has_no_comments_and_no_empty_lines() {
    assert_eq!(refused("a 1\n"), (2, TextFault::EmptyLine));
    for comment in [
        "# a comment",
        "#",
        "#EOF",
        "# EOF ",
        "#TYPE a gauge",
        "# TYPEa gauge",
    ] {
        assert_eq!(refused(comment), (1, TextFault::Comment), "{comment}");
    }
    assert_eq!(refused(" a 1").1, TextFault::Name { text: String::new() });
}

#[test]
fn metadata_says_one_thing_before_the_samples() {
    let name = || "a".to_owned();
    for line in ["# TYPE", "# HELP", "# UNIT", "# TYPE "] {
        assert_eq!(refused(line), (1, TextFault::Metadata), "{line}");
    }
    for what in ["HELP", "TYPE", "UNIT"] {
        let text = if what == "TYPE" { "gauge" } else { "" };
        let twice = refused(&format!("# {what} a {text}\n# {what} a {text}"));
        assert_eq!(twice, (2, TextFault::MetadataTwice { what, name: name() }));
        let late = refused(&format!("a 1\n# {what} a {text}"));
        assert_eq!(late, (2, TextFault::MetadataLate { name: name() }));
    }
    for text in ["Gauge", "", "untyped", "gauge "] {
        let text = text.to_owned();
        assert_eq!(
            refused(&format!("# TYPE a {text}")),
            (1, TextFault::Type { text })
        );
    }
    let text = "info".to_owned();
    assert_eq!(
        prometheus("# TYPE a info\n").unwrap_err().fault,
        TextFault::Type { text }
    );
    let unit = "bytes".to_owned();
    for metric in ["a", "abytes", "bytes"] {
        let fault = TextFault::Unit {
            name: metric.to_owned(),
            unit: unit.clone(),
        };
        assert_eq!(refused(&format!("# UNIT {metric} bytes")), (1, fault));
    }
    assert_eq!(refused("# HELP a \\x"), (1, TextFault::Escape));
}

#[test]
fn names_are_names_and_none_passes_for_the_agents() {
    for text in ["1a", "a-b", "ä", "a.b", "\"quoted\""] {
        let fault = TextFault::Name {
            text: text.to_owned(),
        };
        assert_eq!(refused(&format!("{text} 1")), (1, fault.clone()));
        assert_eq!(refused(&format!("# TYPE {text} gauge")), (1, fault));
    }
    assert_eq!(only(open_metrics("_a:b9 1\n# EOF\n")).0, "_a:b9");
    let fault = |name: &str| TextFault::ReservedName {
        name: name.to_owned(),
    };
    assert_eq!(refused("nautilus_x 1"), (1, fault("nautilus_x")));
    assert_eq!(refused("# HELP nautilus_x y"), (1, fault("nautilus_x")));
    // Where the name becomes one of the agent's only with its suffix.
    assert_eq!(
        refused("# TYPE nautilus histogram\nnautilus_count 1"),
        (2, fault("nautilus_count"))
    );
    let error = prometheus("# TYPE nautilus counter\nnautilus 1\n").unwrap_err();
    assert_eq!((error.line, error.fault), (2, fault("nautilus_total")));
    assert_eq!(only(open_metrics("nautilusx 1\n# EOF\n")).0, "nautilusx");
    let text = "_total".to_owned();
    assert_eq!(refused("_total 1"), (1, TextFault::Name { text }));
}

#[test]
fn a_metric_is_in_one_place() {
    let twice = |name: &str| TextFault::FamilyTwice {
        name: name.to_owned(),
    };
    assert_eq!(refused("a 1\nb 1\na{x=\"1\"} 2"), (3, twice("a")));
    assert_eq!(
        refused("# TYPE a gauge\n# TYPE b gauge\n# HELP a x"),
        (3, twice("a"))
    );
    // They would be exported under one name.
    assert_eq!(
        refused("# TYPE a counter\na_total 1\n# TYPE a_total gauge"),
        (3, twice("a_total"))
    );
    assert_eq!(refused("a_total 1\n# TYPE a gauge"), (2, twice("a")));
    assert_eq!(
        refused("# TYPE a histogram\na_count 1\n# TYPE a_count gauge"),
        (3, twice("a_count"))
    );
    let series = "a{b=\"1\",c=\"2\"}".to_owned();
    assert_eq!(
        refused("a{b=\"1\",c=\"2\"} 1\na{c=\"2\",b=\"1\"} 1"),
        (2, TextFault::SeriesTwice { series })
    );
    // An empty label is none, and a series twice is one whatever its value.
    let series = "a".to_owned();
    assert_eq!(
        refused("a NaN\na{b=\"\"} 1"),
        (2, TextFault::SeriesTwice { series })
    );
}

#[test]
fn a_sample_has_the_suffix_of_its_type() {
    for (kind, sample) in [("counter", "a 1"), ("info", "a 1"), ("histogram", "a 1")] {
        let name = "a".to_owned();
        let lines = format!("# TYPE a {kind}\n{sample}");
        assert_eq!(refused(&lines), (2, TextFault::Suffix { name }), "{kind}");
    }
    // A suffix that the type does not have makes another metric.
    let document = open_metrics("# TYPE a gauge\na_sum 1\n# EOF\n").unwrap();
    assert_eq!(told(&document)[0].0, "a_sum");
    let name = "a_total".to_owned();
    assert_eq!(
        refused("# TYPE a counter\na_total -1"),
        (2, TextFault::NegativeCounter { name })
    );
}

#[test]
fn labels_are_as_the_format_has_them() {
    for labels in [
        "{",
        "{a",
        "{a=",
        "{a=b}",
        "{a=\"b\"",
        "{a=\"b",
        "{a=\"b\"a=\"c\"}",
        "{a=\"b\";}",
    ] {
        assert_eq!(refused(&format!("m{labels} 1")).1, TextFault::Labels, "{labels}");
    }
    for (labels, text) in [
        ("{1=\"b\"}", "1"),
        ("{__name__=\"b\"}", "__name__"),
        ("{a =\"b\"}", "a "),
        ("{=\"b\"}", ""),
        ("{a=\"b\", c=\"d\"}", " c"),
        ("{a:b=\"c\"}", "a:b"),
    ] {
        let text = text.to_owned();
        assert_eq!(
            refused(&format!("m{labels} 1")).1,
            TextFault::LabelName { text },
            "{labels}"
        );
    }
    assert_eq!(refused("m{a=\"b\",} 1").1, TextFault::Labels);
    let name = || "a".to_owned();
    assert_eq!(
        refused("m{a=\"b\",a=\"\"} 1").1,
        TextFault::LabelTwice { name: name() }
    );
    for escape in ["\\t", "\\", "\\x"] {
        assert_eq!(
            refused(&format!("m{{a=\"{escape}\"}} 1")).1,
            labels_or_escape(escape)
        );
    }
    let long = "x".repeat(MAX_LABEL);
    assert_eq!(
        refused(&format!("m{{a=\"{long}x\"}} 1")).1,
        TextFault::LabelLong { name: name() }
    );
    assert_eq!(
        only(open_metrics(&format!("m{{a=\"{long}\"}} 1\n# EOF\n")))
            .0
            .len(),
        MAX_LABEL + 7
    );
    let many = |count: usize| {
        let labels: Vec<_> = (0..count).map(|at| format!("l{at}=\"\"")).collect();
        labels.join(",")
    };
    assert_eq!(
        only(open_metrics(&format!("m{{{}}} 1\n# EOF\n", many(MAX_LABELS)))).0,
        "m"
    );
    assert_eq!(
        refused(&format!("m{{{}}} 1", many(MAX_LABELS + 1))).1,
        TextFault::TooManyLabels
    );
    // Each fits, and all together do not.
    let labels: Vec<_> = (0..5).map(|at| format!("l{at}=\"{long}\"")).collect();
    assert_eq!(
        refused(&format!("m{{{}}} 1", labels.join(","))).1,
        TextFault::SeriesLong
    );
}

/// A backslash before the closing quote escapes it, so that the value never ends.
fn labels_or_escape(escape: &str) -> TextFault {
    if escape == "\\" {
        TextFault::Labels
    } else {
        TextFault::Escape
    }
}

#[test]
fn a_value_is_a_number_and_is_of_now() {
    for (line, text) in [("m x", "x"), ("m 0x1p3", "0x1p3"), ("m{}1", "1"), ("m ", "")] {
        let text = text.to_owned();
        assert_eq!(refused(line), (1, TextFault::Value { text }), "{line}");
    }
    assert_eq!(refused("m 1 1605281325.0").1, TextFault::Timestamp);
    assert_eq!(
        prometheus("m 1 1605281325000\n").unwrap_err().fault,
        TextFault::Timestamp
    );
    for line in ["m 1 x", "m 1  2"] {
        assert_eq!(refused(line), (1, TextFault::AfterValue), "{line}");
    }
    // Exemplars are those of counters and buckets.
    for exemplar in [" # {} 1", " # x", " # {} x", " # {} 1 2 3", " # {a=\"b\"}"] {
        let fault = refused(&format!("m 1{exemplar}")).1;
        assert_eq!(fault, TextFault::AfterValue, "{exemplar}");
        if exemplar != " # {} 1" {
            let fault = refused(&format!("m_total 1{exemplar}")).1;
            assert_eq!(fault, TextFault::AfterValue, "{exemplar}");
        }
    }
    assert_eq!(
        only(open_metrics("m_total 1 # {} 1\n# EOF\n")),
        ("m".to_owned(), 1_000_000)
    );
    let beyond = open_metrics("m 1e13\nn NaN\no +Inf\n# EOF\n").unwrap();
    assert_eq!((beyond.points, beyond.left_out), (Vec::new(), 3));
}

#[test]
fn series_are_bounded_whatever_their_values() {
    let parse = |max| parse_text(b"a 1\nb NaN\nc 1\n", Dialect::Prometheus, None, max);
    assert_eq!(parse(3).unwrap().points.len(), 2);
    let fault = TextFault::TooManySeries { max: 2 };
    assert_eq!(parse(2), Err(TextError { line: 3, fault }));
}

#[test]
fn what_is_pushed_is_labelled_with_its_job() {
    let job: JobName = "backup".parse().unwrap();
    let parse = |text: &str| parse_text(text.as_bytes(), Dialect::OpenMetrics, Some(&job), 9);
    let document = parse("a{z=\"1\",b=\"2\"} 1\n# EOF\n").unwrap();
    assert_eq!(told(&document)[0].0, "a{b=\"2\",job=\"backup\",z=\"1\"}");
    let error = parse("a{job=\"\"} 1\n# EOF\n");
    assert_eq!(told(&error.unwrap())[0].0, "a{job=\"backup\"}");
    let fault = TextFault::ReservedLabel;
    assert_eq!(
        parse("a{job=\"x\"} 1\n# EOF\n"),
        Err(TextError { line: 1, fault })
    );
}

#[test]
fn an_error_quotes_little_and_only_what_can_be_shown() {
    let hostile = format!("\u{202e}{}", "x".repeat(1_000));
    let (_, TextFault::Name { text }) = refused(&format!("{hostile} 1")) else {
        panic!("another fault");
    };
    assert!(text.starts_with("?xxx") && text.len() <= 80, "{text}");
}
