//! What is published over HTTP, and that nothing can be asked there.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_verifier::api::{ApiError, VerifierFacts};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::world::{Node, World};

/// A verifier that serves, and a client.
struct Served {
    world: World,
    address: SocketAddr,
    client: ureq::Agent,
}

impl Served {
    fn start() -> Self {
        let world = World::new();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let routes = nautilus_verifier::router(Arc::clone(&world.verifier));
        // It ends with the test's process.
        std::thread::spawn(move || runtime.block_on(axum::serve(listener, routes).into_future()));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A refusal in the middle of a body ends the connection.
            .max_idle_connections(0)
            .timeout_global(Some(std::time::Duration::from_secs(30)))
            .build();
        Self {
            world,
            address,
            client: config.into(),
        }
    }

    /// Status and body of the answer to a POST.
    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let url = format!("http://{}{path}", self.address);
        let mut answer = self
            .client
            .post(&url)
            .content_type(content_type)
            .send(body)
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_to_vec().unwrap())
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let url = format!("http://{}{path}", self.address);
        let mut answer = self.client.get(&url).call().unwrap();
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_to_vec().unwrap())
    }
}

fn named(answer: &[u8]) -> ApiError {
    serde_json::from_slice(answer)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(answer)))
}

/// A relying party takes them from here, with its standard tools.
#[test]
fn the_keys_that_verify_its_results_are_published_and_no_more() {
    let served = Served::start();
    let verifier = served.world.verifier.public_key();
    let facts: VerifierFacts = serde_json::from_slice(&served.get("/v1/verifier").1).unwrap();
    assert_eq!(facts.verifier, verifier);
    let url = format!("http://{}/v1/keys", served.address);
    let mut answer = served.client.get(&url).call().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["content-type"], "application/jwk-set+json");
    let set: Value = serde_json::from_slice(&answer.body_mut().read_to_vec().unwrap()).unwrap();
    assert_eq!(set, nautilus_verifier::key_set(&verifier));
    let [key] = set["keys"].as_array().unwrap().as_slice() else {
        panic!("not one key: {set}");
    };
    assert_eq!((&key["kty"], &key["crv"]), (&"OKP".into(), &"Ed25519".into()));
    let x = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    assert_eq!(x, verifier.0);
    // RFC 8037 §2: `d` would be the private key.
    let mut members: Vec<_> = key.as_object().unwrap().keys().collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
}

/// Whatever is asked comes through the attested channel.
#[test]
fn there_is_no_second_way_in() {
    let served = Served::start();
    let node = Node::unknown(&served.world, 1);
    let ask = serde_json::json!({ "node": node.id(), "purpose": "boot" }).to_string();
    let before = served.world.tip();
    for path in ["nodes", "challenges", "attestations", "secrets", "proofs"] {
        for body in [b"".as_slice(), b"{}", ask.as_bytes()] {
            let (status, answer) = served.post(&format!("/v1/{path}"), "application/json", body);
            assert_eq!(
                (status, named(&answer).kind.as_str()),
                (404, "not_found"),
                "{path}"
            );
        }
    }
    assert_eq!(served.world.tip(), before);
}

#[test]
fn other_methods_and_paths_are_refused_by_name() {
    let served = Served::start();
    for path in ["/v1/verifier", "/v1/keys"] {
        let (status, answer) = served.post(path, "application/json", b"{}");
        assert_eq!(
            (status, named(&answer).kind.as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
    }
    for path in ["/v1/", "/v1/proof", "/v1/proofs/", "/v1/../secrets"] {
        let (status, answer) = served.get(path);
        assert_eq!(
            (status, named(&answer).kind.as_str()),
            (404, "not_found"),
            "{path}"
        );
    }
}
