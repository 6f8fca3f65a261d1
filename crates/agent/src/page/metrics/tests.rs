use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};

use nautilus_core::{Digest32, NodeId, UnixMillis};
use nautilus_monitor::data::PerformanceData;
use nautilus_monitor::openmetrics::{Exposed, Format};
use nautilus_monitor::store::ChainReport;
use nautilus_proof::CollectorKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fake_history::{CPU, FakeHistory, LOAD};
use super::*;
use crate::page::guarded;

/// The routes, really served, on a port of their own.
struct Served {
    address: SocketAddr,
    board: Arc<Board>,
}

struct Answered {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let board = Arc::new(Board::new());
        let routes = guarded(router(Arc::clone(&board)));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, board }
    }

    async fn with(history: impl History + 'static) -> Self {
        let served = Self::start().await;
        served.board.open(Arc::new(history));
        served
    }

    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(&self, path: &str) -> Answered {
        answered(self.ask(path).await).await
    }
}

async fn answered(mut stream: TcpStream) -> Answered {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answered {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let part = |name: &str| json["error"][name].as_str().unwrap().to_owned();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        (self.status, part("kind"), part("detail"))
    }
}

fn performance() -> PerformanceData {
    PerformanceData {
        timestamp: UnixMillis(1_700_000_000_000),
        node_id: NodeId([7; 32]),
        enclave_id: None,
        system_metrics: None,
        container_metrics: None,
        network_metrics: None,
        security_metrics: None,
        custom_metrics: std::collections::BTreeMap::from([("queue_length".to_owned(), 3.5)]),
        gaps: Vec::new(),
        attestation: None,
        signature: None,
        hash: Digest32([9; 32]),
    }
}

const QUERY: &str = "/api/metrics/query?series=nautilus_load_average&from=0&to=2000000";
const EXPORT: &str = "/api/metrics/export?series=nautilus_*&from=0&to=2000000000";

#[tokio::test]
async fn before_anything_is_there_every_route_says_so() {
    let served = Served::start().await;
    for path in [
        "/metrics",
        "/api/metrics/now",
        "/api/metrics/series",
        QUERY,
        &format!("{EXPORT}&format=csv"),
    ] {
        let answer = served.answer(path).await;
        let (status, kind, _) = answer.error();
        assert_eq!((status, kind.as_str()), (503, "starting"), "{path}");
        assert!(answer.head.contains("retry-after: 5"), "{path}: {}", answer.head);
    }
    served
        .board
        .lock("key epoch 3 is not known: restore it".to_owned());
    let (status, kind, detail) = served.answer(QUERY).await.error();
    assert_eq!((status, kind.as_str()), (503, "locked"));
    assert_eq!(
        detail,
        "the store is locked: key epoch 3 is not known: restore it"
    );
}

#[tokio::test]
async fn what_is_on_the_board_is_shown() {
    let served = Served::start().await;
    served.board.expose(|_format| {
        Ok(Exposed {
            text: "nautilus_up 1\n# EOF\n".to_owned(),
            refused: 0,
            first_refused: None,
        })
    });
    served.board.publish(performance());
    let scraped = served.answer("/metrics?collect=all").await;
    assert_eq!(
        (scraped.status, scraped.body.as_str()),
        (200, "nautilus_up 1\n# EOF\n")
    );
    assert!(
        scraped
            .head
            .contains(&format!("content-type: {}", Format::OpenMetrics.content_type())),
        "{}",
        scraped.head
    );
    let now = served.answer("/api/metrics/now").await;
    assert_eq!(now.json(), serde_json::to_value(performance()).unwrap());
    assert_eq!(now.json()["custom_metrics"], json!({ "queue_length": 3.5 }));
}

#[tokio::test]
async fn series_are_listed_with_their_families() {
    let history =
        FakeHistory::default()
            .with(&LOAD, None, 10, |at| at)
            .with(&CPU, Some(("pod", "a\"b")), 3, |at| at);
    let served = Served::with(history).await;
    let listed = served.answer("/api/metrics/series").await.json();
    assert_eq!(
        listed,
        json!({ "series": [
            {
                "name": "nautilus_load_average", "family": "nautilus_load_average", "labels": {}, "unit": "",
                "kind": "gauge", "places": 2, "part": "system",
                "help": "Mean number of tasks that run or want to.", "first": 1_000_000, "last": 1_009_000,
            },
            {
                "name": "nautilus_pod_cpu_usage_seconds{pod=\"a\"b\"}", "family": "nautilus_pod_cpu_usage_seconds",
                "labels": { "pod": "a\"b" }, "unit": "seconds", "kind": "counter", "places": 9, "part": "system",
                "help": "CPU time.", "first": 1_000_000, "last": 1_002_000,
            },
        ] })
    );
}

#[tokio::test]
async fn a_query_is_answered_with_exact_numbers_and_gaps() {
    let mut history = FakeHistory::default().with(&LOAD, None, 3, |at| 5 * at - 5);
    history.gaps = vec![
        GapSpan {
            start: UnixMillis(1),
            end: UnixMillis(1_000_000),
            reason: SpanReason::NotRunning,
            collector: None,
            detail: String::new(),
        },
        GapSpan {
            start: UnixMillis(1_001_000),
            end: UnixMillis(1_002_000),
            reason: SpanReason::Stalled,
            collector: Some(CollectorKind::Network),
            detail: "no answer in 5 s".to_owned(),
        },
    ];
    let served = Served::with(history).await;
    let raw = served.answer(QUERY).await;
    let points = "\"points\":[[1000000,-0.05],[1001000,0],[1002000,0.05]]";
    assert!(raw.body.contains(points), "{}", raw.body);
    assert_eq!(
        raw.json(),
        json!({
            "resolution": "raw",
            "series": [{
                "name": "nautilus_load_average", "family": "nautilus_load_average", "labels": {}, "unit": "",
                "kind": "gauge", "places": 2,
                "points": [[1_000_000, -0.05], [1_001_000, 0], [1_002_000, 0.05]],
            }],
            "gaps": [
                { "start": 1, "end": 1_000_000, "reason": "not_running", "collector": null, "detail": "" },
                {
                    "start": 1_001_000, "end": 1_002_000, "reason": "stalled", "collector": "network",
                    "detail": "no answer in 5 s",
                },
            ],
            "faults": [],
            "truncated": false,
        })
    );
    let rolled_up = served.answer(&format!("{QUERY}&resolution=5m")).await.json();
    assert_eq!(rolled_up["resolution"], "5m");
    assert_eq!(
        rolled_up["series"][0]["points"],
        json!([[900_000, -0.05, 0, 0.05]])
    );
    let empty = served
        .answer(&QUERY.replace("from=0", "from=1500000"))
        .await
        .json();
    assert_eq!(empty["series"][0]["points"], json!([]));
}

#[tokio::test]
async fn an_answer_that_is_cut_says_so() {
    let many = u64::try_from(MAX_POINTS).unwrap();
    let served = Served::with(FakeHistory::default().with(&LOAD, None, many + 1, |at| at)).await;
    let all = QUERY.replace("2000000", "9000000");
    let cut = served.answer(&all).await.json();
    assert_eq!(cut["truncated"], true);
    assert_eq!(cut["series"][0]["points"].as_array().unwrap().len(), MAX_POINTS);
    let whole = served.answer(&all.replace("from=0", "from=1001000")).await.json();
    assert_eq!(whole["truncated"], false);
    assert_eq!(whole["series"][0]["points"].as_array().unwrap().len(), MAX_POINTS);

    let many = (0..=MAX_SERIES).fold(FakeHistory::default(), |history, at| {
        history.with(&CPU, Some(("pod", &at.to_string())), 1, |at| at)
    });
    let served = Served::with(many).await;
    let query = "/api/metrics/query?series=nautilus_pod_*&from=0&to=9000000";
    let cut = served.answer(query).await.json();
    assert_eq!(cut["truncated"], true);
    assert_eq!(cut["series"].as_array().unwrap().len(), MAX_SERIES);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_by_name() {
    let served = Served::with(FakeHistory::default()).await;
    served.board.publish(performance());
    let long = format!("/api/metrics/query?series={}&from=1&to=2", "a".repeat(1_025));
    for (path, kind, told) in [
        (
            "/api/metrics/now?x=1",
            "unknown_key",
            "`x`, which this route does not know; it knows none",
        ),
        ("/api/metrics/series?from=1", "unknown_key", "`from`"),
        ("/api/metrics/query", "missing_key", "`series`"),
        ("/api/metrics/query?series=a&from=1", "missing_key", "`to`"),
        (
            "/api/metrics/query?series=a&from=1&to=2&to=3",
            "repeated_key",
            "`to`",
        ),
        (
            "/api/metrics/query?series=a&from=1&to=2&format=csv",
            "unknown_key",
            "`format`",
        ),
        ("/api/metrics/query?series=a&from=-1&to=2", "bad_value", "`from`"),
        (
            "/api/metrics/query?series=a&from=2&to=2",
            "bad_range",
            "`from` must be before `to`",
        ),
        (
            "/api/metrics/query?series=a&from=0&to=34560000001",
            "bad_range",
            "at most 400 days",
        ),
        (
            "/api/metrics/query?series=a&from=1&to=2&resolution=1m",
            "bad_value",
            "`raw`, `5m` or `1h`",
        ),
        (
            "/api/metrics/query?series=&from=1&to=2",
            "bad_selector",
            "it is empty",
        ),
        (
            "/api/metrics/query?series=!&from=1&to=2",
            "bad_selector",
            "`!` is not allowed",
        ),
        (&long, "bad_selector", "1025 bytes"),
        (
            "/api/metrics/query?series=%C3&from=1&to=2",
            "not_utf8",
            "percent-encoded",
        ),
        (
            "/api/metrics/export?series=a&from=1&to=2",
            "missing_key",
            "`format`",
        ),
        (
            "/api/metrics/export?series=a&from=1&to=2&format=xml",
            "bad_value",
            "`csv` or `jsonl`",
        ),
        (
            "/api/metrics/export?series=!&from=1&to=2&format=csv",
            "bad_selector",
            "`!` is not allowed",
        ),
        (
            "/api/metrics/export?series=a&from=1&to=2&format=csv&resolution=raw",
            "unknown_key",
            "`resolution`",
        ),
    ] {
        let (status, found, detail) = served.answer(path).await.error();
        assert_eq!((status, found.as_str()), (400, kind), "{path}: {detail}");
        assert!(detail.contains(told), "{path}: {detail}");
    }
}

#[tokio::test]
async fn an_export_is_a_file() {
    let served = Served::with(FakeHistory::default().with(&LOAD, None, 2, |at| at)).await;
    let csv = served.answer(&format!("{EXPORT}&format=csv")).await;
    assert_eq!(csv.status, 200);
    assert_eq!(
        csv.body,
        "series,at,value\nnautilus_load_average,1000000,0\nnautilus_load_average,1001000,1\n"
    );
    assert!(
        csv.head.contains("content-type: text/csv; charset=utf-8"),
        "{}",
        csv.head
    );
    assert!(
        csv.head.contains("filename=\"nautilus-metrics.csv\""),
        "{}",
        csv.head
    );
    let lines = served.answer(&format!("{EXPORT}&format=jsonl")).await;
    assert_eq!(
        lines.body,
        "[\"nautilus_load_average\",1000000,0]\n[\"nautilus_load_average\",1001000,1]\n"
    );
    let nothing = served
        .answer(
            &EXPORT
                .replace("nautilus_", "other_")
                .replace("from", "format=jsonl&from"),
        )
        .await;
    assert_eq!((nothing.status, nothing.body.as_str()), (200, ""));
}

/// A history that writes as it is told.
struct Writing<F>(F);

impl<F: Fn(&mut dyn std::io::Write) -> Result<(), HistoryError> + Send + Sync> History for Writing<F> {
    fn series(&self) -> Result<Vec<SeriesFacts>, HistoryError> {
        Err(HistoryError::Unreadable(
            "the list of series is damaged".to_owned(),
        ))
    }

    fn query(&self, _: &Question) -> Result<Answer, HistoryError> {
        panic!("a bug in the store")
    }

    fn export(
        &self,
        _: &Question,
        _: ExportFormat,
        out: &mut dyn std::io::Write,
    ) -> Result<(), HistoryError> {
        (self.0)(out)
    }

    fn verify(&self, _: std::ops::Range<UnixMillis>) -> Result<ChainReport, HistoryError> {
        Err(HistoryError::Unreadable("the chain is damaged".to_owned()))
    }
}

#[tokio::test]
async fn the_chain_of_a_time_is_verified() {
    let served = Served::with(FakeHistory::default()).await;
    let verified = served.answer("/api/metrics/verify?from=1&to=2").await;
    let json = verified.json();
    assert_eq!(
        (verified.status, &json["samples"], &json["fault_count"]),
        (200, &7.into(), &0.into())
    );
    let refused = served.answer("/api/metrics/verify?from=2&to=1").await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["kind"]),
        (400, &"bad_range".into())
    );
}

#[tokio::test]
async fn a_store_that_fails_is_no_answer_and_no_end() {
    let served = Served::with(Writing(|out: &mut dyn std::io::Write| {
        writeln!(out, "a line")?;
        Err(HistoryError::Unreadable("chunk 7 is damaged".to_owned()))
    }))
    .await;
    let error = served.answer("/api/metrics/series").await.error();
    let told = "the history cannot be read: the list of series is damaged";
    assert_eq!(error, (500, "unreadable".to_owned(), told.to_owned()));
    let (status, kind, _) = served.answer(QUERY).await.error();
    assert_eq!((status, kind.as_str()), (500, "broken"));
    // Nothing was sent yet, so that there is room for an error.
    let (status, kind, detail) = served.answer(&format!("{EXPORT}&format=csv")).await.error();
    assert_eq!((status, kind.as_str()), (500, "unreadable"), "{detail}");
    assert!(detail.ends_with("chunk 7 is damaged"), "{detail}");
}

#[tokio::test]
async fn a_file_that_breaks_off_does_not_look_whole() {
    let served = Served::with(Writing(|out: &mut dyn std::io::Write| {
        out.write_all(&[b'x'; 300_000])?;
        Err(HistoryError::Unreadable("chunk 7 is damaged".to_owned()))
    }))
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET {EXPORT}&format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // The connection may be reset or closed; either way the last chunk, which is empty, is not there.
    let _reset = stream.read_to_end(&mut bytes).await;
    assert!(
        bytes.starts_with(b"HTTP/1.1 200 "),
        "{:?}",
        String::from_utf8_lossy(&bytes[..40.min(bytes.len())])
    );
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "the answer looks whole");
}

/// Opens when told to.
#[derive(Default)]
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let _state = self.changed.wait_while(state, |(_, open)| !*open).unwrap();
    }

    fn wait_for(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let _state = self
            .changed
            .wait_while(state, |(waiting, _)| *waiting < count)
            .unwrap();
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

#[tokio::test]
async fn one_reader_too_many_is_told_to_come_again() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let served = Served::with(Writing(move |out: &mut dyn std::io::Write| {
        held.wait();
        Ok(out.write_all(b"done")?)
    }))
    .await;
    let path = format!("{EXPORT}&format=csv");
    let mut readers = Vec::new();
    for _ in 0..MAX_AT_ONCE {
        readers.push(served.ask(&path).await);
    }
    let all_in = Arc::clone(&gate);
    spawn_blocking(move || all_in.wait_for(MAX_AT_ONCE))
        .await
        .unwrap();
    let refused = served.answer(&path).await;
    let (status, kind, _) = refused.error();
    assert_eq!((status, kind.as_str()), (503, "busy"));
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    gate.open();
    for reader in readers {
        assert_eq!(answered(reader).await.body, "done");
    }
    assert_eq!(served.answer(&path).await.body, "done");
}

#[tokio::test]
async fn who_goes_away_ends_the_writer_and_frees_its_seat() {
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let served = Served::with(Writing(move |out: &mut dyn std::io::Write| {
        let line = [b'x'; 4096];
        let error = std::iter::repeat_with(|| out.write_all(&line))
            .find_map(Result::err)
            .unwrap();
        ended.send(error.kind()).unwrap();
        Err(error.into())
    }))
    .await;
    for _ in 0..3 * MAX_AT_ONCE {
        let mut stream = served.ask(&format!("{EXPORT}&format=csv")).await;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.0 200");
        drop(stream);
        assert_eq!(ends.recv().await, Some(std::io::ErrorKind::BrokenPipe));
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_given_up() {
    let board = Board::new();
    board.open(Arc::new(FakeHistory::default()));
    let (_, seat) = board.history().unwrap();
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let response = stream::written(seat, JSON, move |out| {
        let line = [b'x'; 4096];
        let error = std::iter::repeat_with(|| out.write_all(&line))
            .find_map(Result::err)
            .unwrap();
        ended.send(error.kind()).unwrap();
        Err(error.into())
    })
    .await
    .unwrap();
    // The answer is there, and nobody reads it. The clock stands still while the writer waits, but for this.
    let ended = loop {
        tokio::time::advance(stream::PATIENCE).await;
        tokio::task::yield_now().await;
        if let Ok(ended) = ends.try_recv() {
            break ended;
        }
    };
    assert_eq!(ended, std::io::ErrorKind::BrokenPipe);
    drop(response);
}
