use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_LOCAL};

use super::*;

const SECONDS: Duration = Duration::from_secs(10);
/// `VMADDR_PORT_ANY`.
const ANY_PORT: u32 = u32::MAX;

fn unix(directory: &tempfile::TempDir) -> Address {
    Address::Unix(directory.path().join("channel.sock"))
}

fn path(address: &Address) -> &Path {
    match address {
        Address::Unix(path) => path,
        other => panic!("{other}"),
    }
}

async fn listen(address: &str) -> Listener {
    Listener::bind(&address.parse().unwrap()).await.unwrap()
}

/// More than any buffer on the way holds, both ways at once, and the end of each direction by itself.
async fn exchange(one: Box<dyn Stream>, other: Box<dyn Stream>) {
    const LENGTH: usize = 1 << 20;
    async fn end(stream: Box<dyn Stream>, own: u8, of_peer: u8) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sends = async {
            writer.write_all(&vec![own; LENGTH]).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let takes = async {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).await.unwrap();
            assert_eq!(got.len(), LENGTH);
            assert!(got.iter().all(|byte| *byte == of_peer));
        };
        tokio::join!(sends, takes);
    }
    tokio::join!(end(one, 1, 2), end(other, 2, 1));
}

async fn connected(listener: &Listener, address: &Address) -> Origin {
    let (client, accepted) = tokio::join!(address.connect(SECONDS), listener.accept());
    let (server, origin) = accepted.unwrap();
    exchange(client.unwrap(), server).await;
    origin
}

#[tokio::test]
async fn memory_carries_bytes_both_ways() {
    let (one, other) = pair();
    exchange(one, other).await;
}

#[tokio::test]
async fn tcp_carries_bytes_both_ways() {
    let listener = listen("tcp://127.0.0.1:0").await;
    let Address::Tcp { host, port } = listener.local_address() else {
        panic!("{listener:?}");
    };
    assert_eq!(host, "127.0.0.1");
    assert_ne!(*port, 0);
    let origin = connected(&listener, listener.local_address()).await;
    assert_eq!((origin.transport(), origin.kernel()), ("tcp", None));
    assert!(origin.to_string().starts_with("tcp://127.0.0.1:"), "{origin}");
}

#[tokio::test]
async fn tcp_does_not_wait_for_more_to_send() {
    let listener = listen("tcp://127.0.0.1:0").await;
    let Address::Tcp { host, port } = listener.local_address() else {
        panic!("{listener:?}");
    };
    let stream = connect_tcp(host, *port, Instant::now(), SECONDS).await.unwrap();
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn a_host_by_name_is_tried_at_each_of_its_addresses() {
    // Where `localhost` has an IPv6 address too, nobody listens at that.
    let listener = listen("tcp://127.0.0.1:0").await;
    let Address::Tcp { port, .. } = *listener.local_address() else {
        panic!("{listener:?}");
    };
    let address = Address::Tcp {
        host: "localhost".to_owned(),
        port,
    };
    assert_eq!(connected(&listener, &address).await.transport(), "tcp");
}

#[tokio::test]
async fn nobody_there_is_named_with_the_address() {
    let listener = listen("tcp://127.0.0.1:0").await;
    let address = listener.local_address().clone();
    drop(listener);
    let error = address.connect(SECONDS).await.err().unwrap();
    let ChannelError::Io(text) = &error else {
        panic!("{error}");
    };
    assert!(
        text.starts_with(&format!("cannot connect to {address}: ")),
        "{text}"
    );
    assert!(error.may_pass());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_named_with_the_deadline() {
    // A listener takes one connection more than its backlog, and leaves the next without an answer.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills = std::net::TcpStream::connect(address).unwrap();
    let address: Address = format!("tcp://{address}").parse().unwrap();
    let error = address.connect(SECONDS).await.err().unwrap();
    let expected = format!("{address} did not answer within 10s");
    assert_eq!(error, ChannelError::Io(expected));
}

#[tokio::test]
async fn a_unix_socket_that_takes_nobody_more_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let listener = std::os::unix::net::UnixListener::bind(path(&address)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _fills = std::os::unix::net::UnixStream::connect(path(&address)).unwrap();
    let error = address.connect(SECONDS).await.err().unwrap();
    let ChannelError::Io(text) = &error else {
        panic!("{error}");
    };
    assert!(
        text.starts_with(&format!("cannot connect to {address}: ")),
        "{text}"
    );
    assert!(error.may_pass());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let listener = listen("tcp://127.0.0.1:0").await;
    let address = listener.local_address();
    let error = Listener::bind(address).await.unwrap_err();
    let ChannelError::Io(text) = error else {
        panic!("{error}");
    };
    assert!(
        text.starts_with(&format!("cannot listen at {address}: ")),
        "{text}"
    );
}

#[tokio::test]
async fn a_unix_socket_says_who_is_at_its_other_end() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let listener = Listener::bind(&address).await.unwrap();
    assert_eq!(listener.local_address(), &address);
    let origin = connected(&listener, &address).await;
    let peer = origin.kernel().unwrap();
    assert_eq!(peer.pid(), i32::try_from(std::process::id()).unwrap());
    assert_eq!(peer.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(origin.transport(), "unix");
    assert_eq!(
        origin.to_string(),
        format!("process {} of user {}", peer.pid(), peer.uid())
    );
}

#[tokio::test]
async fn a_unix_socket_is_its_users_alone_and_goes_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let listener = Listener::bind(&address).await.unwrap();
    let found = fs::symlink_metadata(path(&address)).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    drop(listener);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    drop(std::os::unix::net::UnixListener::bind(path(&address)).unwrap());
    assert!(path(&address).exists());
    let listener = Listener::bind(&address).await.unwrap();
    let refused = Listener::bind(&address).await.unwrap_err();
    let expected = format!("cannot listen at {address}: another process listens there");
    assert_eq!(refused, ChannelError::Io(expected));
    // It was left as it was.
    let (client, accepted) = tokio::join!(address.connect(SECONDS), async {
        // The other's question came first.
        let (_question, _) = listener.accept().await.unwrap();
        listener.accept().await
    });
    exchange(client.unwrap(), accepted.unwrap().0).await;
}

#[tokio::test]
async fn a_live_socket_that_takes_nobody_more_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let listener = std::os::unix::net::UnixListener::bind(path(&address)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _fills = std::os::unix::net::UnixStream::connect(path(&address)).unwrap();
    let refused = Listener::bind(&address).await.unwrap_err();
    let expected = format!("cannot listen at {address}: another process listens there");
    assert_eq!(refused, ChannelError::Io(expected));
}

#[tokio::test]
async fn a_file_or_a_link_is_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let expected = format!("cannot listen at {address}: there is a file of that name that is no socket");
    fs::write(path(&address), "precious").unwrap();
    let refused = Listener::bind(&address).await.unwrap_err();
    assert_eq!(refused, ChannelError::Io(expected.clone()));
    assert_eq!(fs::read(path(&address)).unwrap(), b"precious");
    fs::remove_file(path(&address)).unwrap();
    let elsewhere = directory.path().join("elsewhere.sock");
    drop(std::os::unix::net::UnixListener::bind(&elsewhere).unwrap());
    std::os::unix::fs::symlink(&elsewhere, path(&address)).unwrap();
    let refused = Listener::bind(&address).await.unwrap_err();
    assert_eq!(refused, ChannelError::Io(expected));
    assert!(elsewhere.exists());
}

#[tokio::test]
async fn a_successors_socket_stays_when_its_predecessor_goes() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    let predecessor = Listener::bind(&address).await.unwrap();
    fs::remove_file(path(&address)).unwrap();
    let successor = Listener::bind(&address).await.unwrap();
    drop(predecessor);
    assert_eq!(connected(&successor, &address).await.transport(), "unix");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_find_a_stale_socket_one_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix(&directory);
    for _ in 0..20 {
        drop(std::os::unix::net::UnixListener::bind(path(&address)).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let address = address.clone();
            tasks.spawn(async move { Listener::bind(&address).await });
        }
        let (bound, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((bound.len(), refused.len()), (1, 7));
        address.connect(SECONDS).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_is_named() {
    let address = Address::Unix(Path::new("/tmp").join("x".repeat(120)));
    let text = "has more than 107 bytes: choose a shorter one";
    for error in [
        Listener::bind(&address).await.err().unwrap(),
        address.connect(SECONDS).await.err().unwrap(),
    ] {
        assert!(
            matches!(&error, ChannelError::Io(found) if found.ends_with(text)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn accepting_survives_peers_that_leave_at_once() {
    let listener = listen("tcp://127.0.0.1:0").await;
    for _ in 0..10 {
        let stream = listener.local_address().connect(SECONDS).await.unwrap();
        drop(stream);
    }
    let mut left = 0;
    for _ in 0..10 {
        let (mut stream, _) = listener.accept().await.unwrap();
        left += usize::from(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    assert_eq!(left, 10);
    assert_eq!(
        connected(&listener, listener.local_address()).await.transport(),
        "tcp"
    );
}

/// Why this machine cannot speak vsock to itself; none where it can. The kernel lets a socket be bound to the local
/// context id exactly if it has the loopback transport (`vsock_loopback`).
fn no_vsock_loopback() -> Option<String> {
    if !Path::new("/dev/vsock").exists() {
        return Some("this machine has no /dev/vsock".to_owned());
    }
    let probe = tokio_vsock::VsockListener::bind(VsockAddr::new(VMADDR_CID_LOCAL, ANY_PORT));
    probe
        .err()
        .map(|error| format!("this kernel has no loopback for vsock: {error}"))
}

#[tokio::test]
async fn vsock_carries_bytes_both_ways() {
    if let Some(why) = no_vsock_loopback() {
        println!("SKIPPED vsock_carries_bytes_both_ways: {why}");
        return;
    }
    let any = Address::Vsock {
        cid: VMADDR_CID_ANY,
        port: ANY_PORT,
    };
    let listener = Listener::bind(&any).await.unwrap();
    let Address::Vsock { port, .. } = *listener.local_address() else {
        panic!("{listener:?}");
    };
    assert_ne!(port, ANY_PORT);
    let local = Address::Vsock {
        cid: VMADDR_CID_LOCAL,
        port,
    };
    let origin = connected(&listener, &local).await;
    assert!(
        matches!(
            origin,
            Origin::Vsock {
                cid: VMADDR_CID_LOCAL,
                ..
            }
        ),
        "{origin}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vsock_port_of_nobody_is_named_with_the_address() {
    // Without any transport for it the kernel refuses at once; with a hypervisor that does not answer it takes the
    // deadline.
    let address = Address::Vsock {
        cid: VMADDR_CID_LOCAL,
        port: 0xffff_fff0,
    };
    let error = address.connect(SECONDS).await.err().unwrap();
    let ChannelError::Io(text) = error else {
        panic!("{error}");
    };
    assert!(text.contains(&address.to_string()), "{text}");
}
