//! The API over a socket: whatever is sent, the answer is a success or a named error.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_core::{ChallengeTerms, MAX_EVIDENCE_FILE, Purpose, UnixMillis};
use nautilus_proof::MAX_PROOF;
use nautilus_verifier::api::{ApiError, AttestationOutcome, Registered, Settlement, VerifierFacts};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::world::{Node, START, World, backed};

const ROUTES: [(&str, usize, &str); 4] = [
    ("/v1/nodes", 16 * 1024, "bad_request"),
    ("/v1/challenges", 16 * 1024, "bad_request"),
    ("/v1/attestations", MAX_EVIDENCE_FILE, "bad_request"),
    ("/v1/proofs", MAX_PROOF, "not_a_proof"),
];

/// A verifier that serves, and a client.
struct Served {
    world: Arc<World>,
    address: SocketAddr,
    client: ureq::Agent,
}

impl Served {
    fn start() -> Self {
        Self::start_at(START)
    }

    fn start_at(now: UnixMillis) -> Self {
        let world = Arc::new(World::starting(now));
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

    /// What a POST that must succeed gives.
    fn accepted<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> T {
        let (status, answer) = self.post(path, "application/json", body);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }

    /// Status and name of the error that a POST gives; nothing may be recorded.
    fn refused(&self, path: &str, body: &[u8]) -> (u16, String) {
        let before = self.world.tip();
        let (status, answer) = self.post(path, "application/json", body);
        assert_eq!(self.world.tip(), before, "{path} recorded something");
        (status, named(&answer).kind)
    }
}

fn named(answer: &[u8]) -> ApiError {
    serde_json::from_slice(answer)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(answer)))
}

fn now() -> UnixMillis {
    let passed = std::time::UNIX_EPOCH.elapsed().unwrap();
    UnixMillis(u64::try_from(passed.as_millis()).unwrap())
}

#[test]
fn a_node_registers_attests_and_settles_and_nothing_counts_twice() {
    let served = Served::start_at(now());
    let world = &served.world;
    let facts: VerifierFacts = serde_json::from_slice(&served.get("/v1/verifier").1).unwrap();
    assert_eq!(facts.verifier, world.verifier.public_key());

    let mut node = Node::unknown(world, 1);
    let register = serde_json::to_vec(&node.registration(world)).unwrap();
    let registered: Registered = served.accepted("/v1/nodes", &register);
    assert_eq!(registered.node, node.id());

    let ask = serde_json::json!({ "node": node.id(), "purpose": Purpose::Boot }).to_string();
    let terms: ChallengeTerms = served.accepted("/v1/challenges", ask.as_bytes());
    let evidence = serde_json::to_vec(&backed(&node.answer(&terms))).unwrap();
    let outcome: AttestationOutcome = served.accepted("/v1/attestations", &evidence);
    assert_eq!(
        served.refused("/v1/attestations", &evidence),
        (409, "challenge_unknown".to_owned())
    );

    let start = now();
    let first = serde_json::to_vec(&node.prove(start)).unwrap();
    let settled: Settlement = served.accepted("/v1/proofs", &first);
    assert_eq!((settled.sequence, settled.amount), (0, 4000));
    assert_eq!(
        served.refused("/v1/proofs", &first),
        (409, "already_settled".to_owned())
    );
    assert!(outcome.expires_at > start);

    let mut spoilt = node.prove(start.plus(10_000));
    spoilt.tee_signature.0[3] ^= 4;
    let spoilt = serde_json::to_vec(&spoilt).unwrap();
    assert_eq!(
        served.refused("/v1/proofs", &spoilt),
        (422, "tee_signature_invalid".to_owned())
    );
    let terms: ChallengeTerms = served.accepted("/v1/challenges", ask.as_bytes());
    let mut file = node.answer(&terms);
    file.evidence.bytes[100] ^= 1;
    assert_eq!(
        served.refused("/v1/attestations", &serde_json::to_vec(&backed(&file)).unwrap()),
        (422, "signature_invalid".to_owned())
    );
}

/// A relying party takes them from here, with its standard tools.
#[test]
fn the_keys_that_verify_its_results_are_published_and_no_more() {
    let served = Served::start();
    let verifier = served.world.verifier.public_key();
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

#[test]
fn bodies_are_bounded() {
    let served = Served::start();
    for (path, limit, named_at_the_limit) in ROUTES {
        let full = vec![b' '; limit];
        assert_eq!(served.refused(path, &full).1, named_at_the_limit, "{path}");
        let over = vec![b' '; limit + 1];
        assert_eq!(
            served.refused(path, &over),
            (413, "too_large".to_owned()),
            "{path}"
        );
    }
}

#[test]
fn bodies_of_another_shape_are_refused_by_name() {
    let served = Served::start();
    let nested = "[".repeat(8_000);
    for (path, _, kind) in ROUTES {
        for body in [
            b"".as_slice(),
            b"not json",
            b"null",
            b"{}",
            b"[]",
            b"\"\\ud800\"",
            b"\xff\xfe",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"node=1&purpose=boot",
            nested.as_bytes(),
        ] {
            let (status, found) = served.refused(path, body);
            assert_eq!(found, kind, "{path} with {:?}", String::from_utf8_lossy(body));
            assert!(status == 400 || status == 422, "{path}: {status}");
        }
    }
    let node = Node::unknown(&served.world, 1);
    let mut register = serde_json::to_value(node.registration(&served.world)).unwrap();
    register["admin"] = true.into();
    let refused = served.refused("/v1/nodes", register.to_string().as_bytes());
    assert_eq!(refused, (400, "bad_request".to_owned()), "a field more");
    let ask = serde_json::json!({ "node": node.id(), "purpose": "coffee" }).to_string();
    assert_eq!(served.refused("/v1/challenges", ask.as_bytes()).1, "bad_request");
    let ask = serde_json::json!({ "node": "12", "purpose": "boot" }).to_string();
    assert_eq!(served.refused("/v1/challenges", ask.as_bytes()).1, "bad_request");
}

/// What a body says it is does not make it so.
#[test]
fn the_content_type_decides_nothing() {
    let served = Served::start();
    let node = Node::unknown(&served.world, 1);
    let ask = serde_json::json!({ "node": node.id(), "purpose": "boot" }).to_string();
    for content_type in ["application/json", "text/plain", "image/png"] {
        let (status, _) = served.post("/v1/challenges", content_type, ask.as_bytes());
        assert_eq!(status, 200, "{content_type}");
        let (status, answer) = served.post("/v1/challenges", content_type, b"\x89PNG");
        assert_eq!((status, named(&answer).kind.as_str()), (400, "bad_request"));
    }
}

#[test]
fn other_methods_and_paths_are_refused_by_name() {
    let served = Served::start();
    for (path, _, _) in ROUTES {
        let (status, answer) = served.get(path);
        assert_eq!(
            (status, named(&answer).kind.as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
    }
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
