//! Stopping does not wait for what hangs.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::node::Node;

#[test]
fn a_request_that_never_ends_holds_nothing_up() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let url = node.url();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    node.next("sample");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    drop(half);
}

#[test]
fn an_enclave_that_hangs_is_ended_with_the_node() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    node.next("sample");
    let enclave = node.find("the enclave", |event| event["kind"] == "enclave")["pid"]
        .as_i64()
        .unwrap();
    let enclave = Pid::from_raw(enclave.try_into().unwrap()).unwrap();
    kill_process(enclave, Signal::STOP).unwrap();
    node.interrupt();
    let ended = node.ended_soon();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let warned = ended
        .of("warning")
        .iter()
        .any(|event| event["detail"].as_str().unwrap().contains("in time"));
    assert!(warned, "{ended:?}");
}

#[test]
fn a_window_is_never_shorter_than_the_documented_interval() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "30s"]);
    node.next("boot");
    node.interrupt();
    node.ended_soon().is_orderly();
}
