//! Connections that never become a session.

use std::time::Duration;

use nautilus_channel::{Backoff, ChannelError, Endpoint, HANDSHAKES, Stream, TaskClock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;

use crate::fixture::{agent, output};
use crate::setup::{Served, ask, pass};

/// As many as are told of.
const HALF_OPEN: usize = 10_000;
/// How many come at once.
const BURST: usize = 2_000;
/// How often. Places run out after a second.
const PERIOD: Duration = Duration::from_secs(2);
/// How often an honest peer tries at most.
const TRIES: usize = 12;

/// How many connections may be held open: the other end needs some descriptors too.
fn held_at_once() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    // Where it is not allowed, there are fewer.
    let _raised = setrlimit(Resource::Nofile, raised);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed)
        .unwrap_or(usize::MAX)
        .saturating_sub(500)
        .min(HALF_OPEN)
}

/// The resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_half_open_handshakes_cost_nothing_and_keep_nobody_out() {
    let served = Served::start().await;
    let known = served.connect(1).await.unwrap();
    let hello = output(&mut Endpoint::initiator(agent(), TaskClock::start().now()).unwrap());
    let (before, held_at_once) = (resident(), held_at_once());

    let flood = async {
        let mut held: Vec<Box<dyn Stream>> = Vec::new();
        let mut bursts = tokio::time::interval(PERIOD);
        for number in 0..HALF_OPEN {
            if number % BURST == 0 {
                bursts.tick().await;
            }
            if held.len() == held_at_once {
                held.clear();
            }
            let mut stream = served.stream().await;
            if number % 2 == 0 {
                // The server may have closed it already.
                let _sent = stream.write_all(&hello[..hello.len() / 2]).await;
            }
            held.push(stream);
            assert!(served.server.status().handshakes <= HANDSHAKES);
        }
        // What came after the last burst stays until the honest peer has had its tries.
        bursts.tick().await;
        held
    };
    let honest = async {
        // In the middle of it.
        served
            .until(|status| status.counters.accepted as usize > BURST)
            .await;
        let mut backoff = Backoff::new();
        for tries in 1..=TRIES {
            match served.connect(2).await {
                Ok(channel) => return (channel, tries, served.server.status().counters.accepted),
                Err(error) => {
                    assert!(error.may_pass(), "{error}");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
        panic!("it does not get in: {:?}", served.server.status())
    };
    let (held, (channel, tries, when)) = tokio::join!(flood, honest);
    let after = resident();
    println!(
        "{HALF_OPEN} half-open handshakes, {} of them held open: {before} KiB before, {after} KiB after; an honest peer \
         was in at its try number {tries}, after {when} connections",
        held.len()
    );
    assert!((when as usize) < HALF_OPEN, "the flood was over");

    // Who is in is served.
    assert_eq!(ask(&known, b"still there").await.unwrap(), b"still there");
    assert_eq!(ask(&channel, b"here now").await.unwrap(), b"here now");
    let status = served
        .until(|status| status.counters.accepted as usize >= HALF_OPEN + 2)
        .await;
    assert!(status.handshakes <= HANDSHAKES, "{status:?}");
    assert_eq!((status.sessions.len(), status.queued), (2, 0));
    let counters = status.counters;
    assert_eq!((counters.opened, counters.accept_errors), (2, 0));
    // Each is accounted for by name.
    let (refused, failed) = (&counters.refused, &counters.handshakes_failed);
    assert!(refused["handshakes_full"] as usize > HALF_OPEN / 2, "{refused:?}");
    assert_eq!(refused.len(), 1, "{refused:?}");
    let ended: u64 = refused.values().sum::<u64>() + failed.values().sum::<u64>() + counters.gave_way;
    assert_eq!(
        counters.accepted,
        ended + counters.opened + status.handshakes as u64,
        "{counters:?}"
    );
}

#[tokio::test]
async fn a_slow_handshake_is_cut_by_name() {
    let served = Served::start().await;
    let mut stream = served.stream().await;
    let hello = output(&mut Endpoint::initiator(agent(), TaskClock::start().now()).unwrap());
    stream.write_all(&hello[..hello.len() / 2]).await.unwrap();
    served.until(|status| status.handshakes == 1).await;
    pass(Duration::from_secs(11)).await;
    let status = served.until(|status| status.handshakes == 0).await;
    assert_eq!(status.counters.handshakes_failed["handshake_slow"], 1);
}

#[tokio::test]
async fn whoever_speaks_something_else_is_refused_by_name() {
    let served = Served::start().await;
    let mut stream = served.stream().await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let status = served
        .until(|status| !status.counters.handshakes_failed.is_empty())
        .await;
    assert_eq!(
        status.counters.handshakes_failed.get("tls"),
        Some(&1),
        "{status:?}"
    );
    // And whoever leaves.
    drop(served.stream().await);
    let status = served
        .until(|status| status.counters.handshakes_failed.len() == 2)
        .await;
    let name = ChannelError::Truncated.kind().to_owned();
    assert_eq!(status.counters.handshakes_failed[&name], 1);
}
