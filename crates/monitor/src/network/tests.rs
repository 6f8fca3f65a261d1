use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::reading::readings;

/// The network's files of a machine in a temporary directory.
struct Machine(TempDir);

const HEADING: &str = concat!(
    "Inter-|   Receive                                                |  Transmit\n",
    " face |bytes    packets errs drop fifo frame compressed multicast",
    "|bytes    packets errs drop fifo colls carrier compressed\n"
);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write("proc/net/dev", include_str!("../../fixtures/nvme/net-dev"));
        machine.write("proc/net/snmp", include_str!("../../fixtures/vm/snmp"));
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn collector(&self, peers: &str) -> NetworkCollector {
        NetworkCollector::new(self.0.path(), peers.parse().unwrap(), None).unwrap()
    }

    fn measure(&self, peers: &str) -> NetworkMetrics {
        self.collector(peers).measure().unwrap()
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port at which nothing listens.
fn closed() -> SocketAddr {
    listener().1
}

#[test]
fn what_the_kernel_counts() {
    let machine = Machine::new();
    machine.write(
        "proc/net/dev",
        format!(
            "{HEADING}    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 1000 10 1 2 0 0 0 0 500 5 3 4 0 0 0 0\nvetha: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
        ),
    );
    let tcp = "Tcp: CurrEstab InSegs OutSegs RetransSegs\nTcp: 5 6 7 8\n";
    machine.write("proc/net/snmp", tcp);
    let metrics = machine.measure("");
    assert_eq!((metrics.packets_in, metrics.packets_out), (11, 6));
    assert_eq!((metrics.errors_in, metrics.errors_out), (1, 3));
    assert_eq!((metrics.drops_in, metrics.drops_out), (2, 4));
    assert_eq!((metrics.throughput_in, metrics.throughput_out), (0, 0));
    assert_eq!(metrics.connection_count, 5);
    assert_eq!(
        (metrics.details.tcp_segments_in, metrics.details.tcp_retransmitted),
        (6, 8)
    );
    assert_eq!(metrics.details.device_count, 2);
    let devices: Vec<_> = metrics
        .details
        .devices
        .iter()
        .map(|one| one.device.as_str())
        .collect();
    assert_eq!(devices, ["eth0"]);
    assert_eq!(metrics.details.sockets, None);
    assert_eq!(metrics.details.conntrack_entries, None);
    assert_eq!((metrics.response_time, metrics.unreachable.len()), (None, 0));

    machine.write("proc/net/sockstat", include_str!("../../fixtures/vm/sockstat"));
    machine.write("proc/sys/net/netfilter/nf_conntrack_count", "17\n");
    machine.write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    let details = machine.measure("").details;
    assert!(details.sockets.is_some() && details.tcp_orphans == Some(0));
    assert_eq!(
        (details.conntrack_entries, details.conntrack_limit),
        (Some(17), Some(262_144))
    );
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    for path in ["proc/net/dev", "proc/net/snmp"] {
        let machine = Machine::new();
        let mut collector = machine.collector("");
        fs::remove_file(machine.path(path)).unwrap();
        let error = collector.measure().unwrap_err();
        assert!(
            matches!(&error, CollectError::Missing { path: missing } if *missing == machine.path(path)),
            "{error:?}"
        );
    }
    for path in [
        "proc/net/dev",
        "proc/net/snmp",
        "proc/net/sockstat",
        "proc/sys/net/netfilter/nf_conntrack_count",
        "proc/sys/net/netfilter/nf_conntrack_max",
    ] {
        let machine = Machine::new();
        let mut collector = machine.collector("");
        machine.write(path, b"\xff\x00 7\n");
        let error = collector.measure().unwrap_err();
        assert!(
            matches!(&error, CollectError::Malformed { path: blamed, .. } if *blamed == machine.path(path)),
            "{error:?}"
        );
    }
    let machine = Machine::new();
    machine.write(
        "proc/net/snmp",
        "Tcp: CurrEstab InSegs OutSegs RetransSegs\nTcp: 4294967296 1 1 1\n",
    );
    let error = machine.collector("").measure().unwrap_err();
    assert!(
        matches!(
            error,
            CollectError::Malformed {
                what: "the number of connections is out of range",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_failed_measurement_swallows_no_bytes() {
    let machine = Machine::new();
    let mut collector = machine.collector("");
    let before = collector.counters.total();
    let snmp = fs::read(machine.path("proc/net/snmp")).unwrap();
    let dev = fs::read_to_string(machine.path("proc/net/dev")).unwrap();
    machine.write("proc/net/dev", dev.replace("1834567890", "1834567990"));
    machine.write("proc/net/snmp", "");
    collector.measure().expect_err("no snmp");
    assert_eq!(collector.counters.total(), before);
    machine.write("proc/net/snmp", snmp);
    let metrics = collector.measure().unwrap();
    assert_eq!(metrics.packets_in, before.received.packets + 100);
}

#[test]
fn peers_that_answer_and_peers_that_do_not() {
    let (_listener, open) = listener();
    let closed = closed();
    let machine = Machine::new();
    let peers = format!(
        "up=tcp://{open},named=tcp://localhost:{},down=tcp://{closed}",
        open.port()
    );
    let metrics = machine.measure(&peers);
    let answered: Vec<_> = metrics.latency.keys().map(String::as_str).collect();
    assert_eq!(answered, ["named", "up"], "{:?}", metrics.unreachable);
    assert!(metrics.latency.values().all(|time| time.0 > 0));
    assert_eq!(metrics.unreachable.len(), 1);
    let reason = &metrics.unreachable["down"];
    assert!(
        reason.starts_with("cannot connect: Connection refused"),
        "{reason}"
    );

    let mut points = Vec::new();
    metrics.points(&mut points);
    let (all, left_out) = readings(&points);
    assert_eq!(left_out, 0);
    let value = |series: &str| {
        all.0
            .iter()
            .find(|reading| reading.series == series)
            .map(|r| r.value)
    };
    assert_eq!(value("nautilus_peer_up{peer=\"up\"}"), Some(1));
    assert_eq!(value("nautilus_peer_up{peer=\"down\"}"), Some(0));
    assert_eq!(
        value("nautilus_peer_latency_seconds{peer=\"up\"}"),
        Some(metrics.latency["up"].0)
    );
    assert_eq!(value("nautilus_peer_latency_seconds{peer=\"down\"}"), None);
}

#[test]
fn a_peer_that_hangs_holds_up_no_other_and_is_not_asked_twice() {
    let (_listener, open) = listener();
    let machine = Machine::new();
    let collector = machine.collector(&format!("up=tcp://{open},hangs=tcp://{open}"));
    // As a thread would hold it that waits for a resolver.
    collector.prober.hold(1);
    let mut results = collector.prober.round(DEADLINE).into_iter();
    let (name, result) = results.next().unwrap();
    assert!(name == "up" && result.is_ok(), "{result:?}");
    let (name, result) = results.next().unwrap();
    assert!(
        name == "hangs" && matches!(result, Err(probe::ProbeError::Busy)),
        "{result:?}"
    );
    let again = collector.prober.round(DEADLINE);
    assert!(again[0].1.is_ok(), "{again:?}");
}

#[test]
fn who_has_no_time_left_gets_no_answer() {
    let (_listener, open) = listener();
    let collector = Machine::new().collector(&format!("up=tcp://{open}"));
    let results = collector.prober.round(Duration::ZERO);
    assert!(
        matches!(results[0].1, Err(probe::ProbeError::NoAnswer)),
        "{results:?}"
    );
}

#[test]
fn the_gateway_is_that_of_the_route_table() {
    let machine = Machine::new();
    let reason = |machine: &Machine| machine.measure("gateway=auto").unreachable.remove("gateway");
    let missing = machine.path("proc/net/route");
    let text = reason(&machine).unwrap();
    assert!(
        text.starts_with(&format!("{} is missing", missing.display())),
        "{text}"
    );
    let route = include_str!("../../fixtures/vm/route");
    machine.write("proc/net/route", format!("{}\n", route.lines().next().unwrap()));
    assert_eq!(
        reason(&machine).as_deref(),
        Some("there is no default route over IPv4")
    );
    machine.write("proc/net/route", "nothing\n");
    let text = reason(&machine).unwrap();
    assert!(text.ends_with("the heading is not that of routes"), "{text}");

    // Loopback as the gateway: it answers where the kernel lets this process send ICMP.
    let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    machine.write("proc/net/route", route.replace("010200C0", &loopback));
    let metrics = machine.measure("gateway=auto");
    match metrics.unreachable.get("gateway") {
        None => assert!(metrics.latency["gateway"].0 > 0),
        Some(reason) => assert!(reason.contains("net.ipv4.ping_group_range"), "{reason}"),
    }
}

#[test]
fn the_api_servers_are_those_that_k3s_noted() {
    const PATH: &str = "var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json";
    let (_listener, open) = listener();
    let closed = closed();
    let machine = Machine::new();
    let measured = |machine: &Machine| {
        let mut metrics = machine.measure("api-server=auto");
        (
            metrics.latency.remove("api-server"),
            metrics.unreachable.remove("api-server").unwrap_or_default(),
        )
    };
    let (latency, reason) = measured(&machine);
    assert_eq!(latency, None);
    assert!(
        reason.ends_with("is missing: no K3s agent has run here"),
        "{reason}"
    );
    let note = |servers: &str| {
        machine.write(
            PATH,
            format!(r#"{{"ServerURL":"https://{open}","ServerAddresses":[{servers}],"Listener":null}}"#),
        );
    };
    note(&format!("\"{closed}\",\"{open}\""));
    let (latency, reason) = measured(&machine);
    assert!(
        latency.is_some_and(|time| time.0 > 0),
        "the second answers: {reason}"
    );
    note("");
    assert_eq!(measured(&machine), (None, "it has no address".to_owned()));
    note("\"no port\"");
    let (_, reason) = measured(&machine);
    assert!(reason.starts_with("its name is not resolved"), "{reason}");
    for hostile in [
        "",
        "[]",
        "{\"ServerAddresses\":7}",
        "{\"ServerAddresses\":[]} more",
        "\u{0}",
    ] {
        machine.write(PATH, hostile);
        let (_, reason) = measured(&machine);
        assert!(reason.ends_with("no list `ServerAddresses` in JSON"), "{reason}");
    }
    machine.write(PATH, vec![b' '; crate::MAX_FILE + 1]);
    let (_, reason) = measured(&machine);
    assert!(reason.contains("is larger than"), "{reason}");
}

#[test]
fn the_verifiers_distance_is_that_of_the_session() {
    let machine = Machine::new();
    let round_trip = Arc::new(RoundTrip::default());
    let mut collector =
        NetworkCollector::new(machine.0.path(), Peers::default(), Some(Arc::clone(&round_trip))).unwrap();
    let metrics = collector.measure().unwrap();
    assert_eq!(metrics.response_time, None);
    assert_eq!(
        metrics.unreachable[VERIFIER],
        "no attested session in which it answered"
    );
    round_trip.set(Some(Duration::from_micros(1234)));
    let metrics = collector.measure().unwrap();
    assert_eq!(metrics.response_time, Some(Decimal(1_234_000)));
    assert_eq!(metrics.latency[VERIFIER], Decimal(1_234_000));
    assert!(metrics.unreachable.is_empty());
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["response_time"], 0.001_234);
    assert_eq!(json["latency"]["verifier"], 0.001_234);
    round_trip.set(None);
    assert_eq!(collector.measure().unwrap().response_time, None);
}

#[test]
fn every_family_has_series_and_every_series_a_family() {
    let (_listener, open) = listener();
    let machine = Machine::new();
    machine.write("proc/net/sockstat", include_str!("../../fixtures/vm/sockstat"));
    machine.write("proc/sys/net/netfilter/nf_conntrack_count", "17\n");
    machine.write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    let round_trip = Arc::new(RoundTrip::default());
    round_trip.set(Some(Duration::from_millis(1)));
    let peers = format!("up=tcp://{open}").parse().unwrap();
    let mut collector = NetworkCollector::new(machine.0.path(), peers, Some(round_trip)).unwrap();
    assert_eq!(collector.kind(), CollectorKind::Network);
    let Part::Network(metrics) = collector.collect().unwrap() else {
        panic!("another part");
    };
    let mut points = Vec::new();
    metrics.points(&mut points);
    assert_eq!(readings(&points).1, 0, "a name is there twice");
    for family in crate::data::network::FAMILIES {
        assert!(
            points.iter().any(|point| point.family.as_ref() == *family),
            "{} has no series",
            family.name
        );
        assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)));
    }
    for point in &points {
        assert!(crate::data::network::FAMILIES.contains(&point.family.as_ref()));
    }
}

/// What the kernel says in between two readings of its own files.
#[test]
fn this_machine() {
    let total = || {
        let dev = fs::read_to_string("/proc/net/dev").unwrap();
        dev.lines()
            .skip(2)
            .filter(|line| !line.trim_start().starts_with("lo:"))
            .map(|line| line.split_once(':').unwrap().1.split_whitespace().nth(1).unwrap())
            .map(|packets| packets.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let before = total();
    let (_listener, open) = listener();
    let peers = format!("self=tcp://{open}").parse().unwrap();
    let mut collector = NetworkCollector::new("/", peers, None).unwrap();
    let metrics = collector.measure().unwrap();
    let after = total();
    assert!(
        before <= metrics.packets_in && metrics.packets_in <= after,
        "{before} <= {} <= {after}",
        metrics.packets_in
    );
    assert!(metrics.latency.contains_key("self"), "{:?}", metrics.unreachable);
    collector.measure().expect("a second sample with the same buffer");
}
