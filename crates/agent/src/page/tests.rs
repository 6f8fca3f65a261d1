use nautilus_core::UnixMillis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::event::{Event, What};
use crate::hub::MAX_SUBSCRIBERS;

/// A page that is really served, on a port of its own.
struct Served {
    address: std::net::SocketAddr,
    hub: Arc<EventHub>,
}

impl Served {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(EventHub::new());
        let router = guarded(router(Arc::clone(&hub), Arc::new(Board::new())));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, hub }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer to a request that is closed after it.
    async fn answer(&self, method: &str, path: &str, headers: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        let mut answer = String::new();
        self.send(&request)
            .await
            .read_to_string(&mut answer)
            .await
            .unwrap();
        answer
    }

    fn warn(&self, detail: &str) {
        let what = What::Warning {
            detail: detail.to_owned(),
        };
        self.hub.publish(Event {
            at: UnixMillis(1_700_000_000_000),
            what,
        });
    }

    fn stop(&self) {
        let what = What::Stopped {
            reason: "done".to_owned(),
            settled: 1,
            reward: 2,
        };
        self.hub.publish(Event {
            at: UnixMillis(1_700_000_001_000),
            what,
        });
    }
}

const LOCAL: &str = "Host: 127.0.0.1:9000\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[tokio::test]
async fn every_file_is_served_with_its_type_and_the_security_headers() {
    let served = Served::start().await;
    for asset in assets::ASSETS {
        let answer = served.answer("GET", asset.path, LOCAL).await;
        assert_eq!(status(&answer), "200", "{}", asset.path);
        let content_type = header(&answer, "content-type").unwrap();
        let expected = match asset.path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(content_type, expected, "{}", asset.path);
        assert_eq!(
            header(&answer, "content-security-policy"),
            Some(guard::CONTENT_SECURITY_POLICY)
        );
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&answer, "referrer-policy"), Some("no-referrer"));
        assert_eq!(header(&answer, "cache-control"), Some("no-cache"));
        let tag = header(&answer, "etag").unwrap();
        let again = served
            .answer("GET", asset.path, &format!("{LOCAL}If-None-Match: {tag}\r\n"))
            .await;
        assert_eq!(status(&again), "304", "{}", asset.path);
    }
}

#[tokio::test]
async fn what_the_page_imports_is_served() {
    let served = Served::start().await;
    let page = served.answer("GET", "/", LOCAL).await;
    assert!(page.contains("src=\"/assets/app.js\""));
    for asset in assets::ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        let script = served.answer("GET", asset.path, LOCAL).await;
        for line in script.lines().filter(|line| line.starts_with("import ")) {
            let file = line.split('"').nth(1).unwrap().strip_prefix("./").unwrap();
            let path = format!("/assets/{file}");
            assert!(
                assets::ASSETS.iter().any(|asset| asset.path == path),
                "{} imports {path}",
                asset.path
            );
        }
    }
}

#[tokio::test]
async fn other_hosts_methods_and_paths_are_refused() {
    let served = Served::start().await;
    for (method, path, headers, expected) in [
        ("GET", "/", "Host: evil.example\r\n", "421"),
        ("GET", "/api/events", "Host: evil.example:80\r\n", "421"),
        ("GET", "/", "Host: localhost\r\nHost: evil.example\r\n", "421"),
        ("GET", "http://evil.example/", LOCAL, "421"),
        (
            "GET",
            "/api/events",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "403",
        ),
        (
            "GET",
            "/api/events",
            "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
            "403",
        ),
        (
            "GET",
            "/metrics",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "403",
        ),
        (
            "GET",
            "/api/metrics/now",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "403",
        ),
        ("GET", "/api/metrics/now", "Host: evil.example\r\n", "421"),
        ("GET", "/metrics", "Host: evil.example\r\n", "421"),
        ("POST", "/api/metrics/query", LOCAL, "405"),
        ("POST", "/", LOCAL, "405"),
        ("DELETE", "/api/events", LOCAL, "405"),
        ("GET", "/assets/../Cargo.toml", LOCAL, "404"),
        ("GET", "/nothing", LOCAL, "404"),
        ("HEAD", "/", LOCAL, "200"),
    ] {
        let answer = served.answer(method, path, headers).await;
        assert_eq!(status(&answer), expected, "{method} {path} {headers}");
        assert_eq!(
            header(&answer, "content-security-policy"),
            Some(guard::CONTENT_SECURITY_POLICY)
        );
    }
}

#[tokio::test]
async fn events_are_replayed_then_live_then_over() {
    let served = Served::start().await;
    served.warn("first");
    let request = format!("GET /api/events HTTP/1.1\r\nConnection: close\r\n{LOCAL}\r\n");
    let mut stream = served.send(&request).await;
    let mut seen = String::new();
    while !seen.contains("event: live") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended before it was live: {seen}");
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    served.warn("second");
    served.stop();
    stream.read_to_string(&mut seen).await.unwrap();

    assert_eq!(status(&seen), "200");
    assert_eq!(header(&seen, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&seen, "cache-control"), Some("no-cache"));
    let data: Vec<&str> = seen
        .lines()
        .filter(|line| line.starts_with("data:") || line.starts_with("id:"))
        .collect();
    let at = "2023-11-14T22:13:2";
    assert_eq!(
        data,
        [
            "id: 1",
            &format!(r#"data: {{"at":"{at}0.000Z","kind":"warning","detail":"first"}}"#),
            r#"data: {"totals":{"samples":0,"proofs":0,"settled":0}}"#,
            "id: 2",
            &format!(r#"data: {{"at":"{at}0.000Z","kind":"warning","detail":"second"}}"#),
            "id: 3",
            &format!(
                r#"data: {{"at":"{at}1.000Z","kind":"stopped","reason":"done","settled":1,"reward":2}}"#
            ),
        ]
    );
}

#[tokio::test]
async fn one_page_too_many_is_told_so() {
    let served = Served::start().await;
    let seats: Vec<_> = (0..MAX_SUBSCRIBERS)
        .map(|_| served.hub.subscribe().unwrap())
        .collect();
    let answer = served.answer("GET", "/api/events", LOCAL).await;
    assert_eq!(status(&answer), "503");
    assert_eq!(header(&answer, "retry-after"), Some("10"));
    drop(seats);
    served.stop();
    assert_eq!(status(&served.answer("GET", "/api/events", LOCAL).await), "200");
}
