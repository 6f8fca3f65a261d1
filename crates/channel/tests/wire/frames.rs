//! The golden frames: made by hand they equal the file, and the code makes and reads the same.

use std::fs;
use std::path::Path;

use nautilus_channel::{
    ChannelError, Credential, CredentialKind, Fault, FrameReader, Hello, MessageId, MessageType,
    PresentedEvidence, Reason, Termination, Verdict, decode_bcs, encode_bcs, encode_header,
};
use nautilus_core::{
    ChallengeTerms, Digest32, EndorsementKind, NodeId, PublicKey, Purpose, Role, Signature, TeeKind,
    UnixMillis,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::by_hand::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/channel/frames.json");
const NONCE: [u8; 32] = [0xa2; 32];
const QUESTION: [u8; 16] = [0x99; 16];

/// One golden frame, put together by hand.
struct Example {
    name: &'static str,
    message_type: u8,
    flags: u8,
    sequence_num: u64,
    message_id: [u8; 16],
    payload: Vec<u8>,
    /// Of a compressed payload.
    raw_len: Option<usize>,
}

impl Example {
    fn new(name: &'static str, message_type: u8, sequence_num: u64, payload: Vec<u8>) -> Self {
        Self {
            name,
            message_type,
            flags: 0,
            sequence_num,
            message_id: CHANNEL,
            payload,
            raw_len: None,
        }
    }

    /// One of the application's.
    fn question(name: &'static str, message_type: u8, sequence_num: u64, payload: &[u8]) -> Self {
        Self {
            message_id: QUESTION,
            ..Self::new(name, message_type, sequence_num, payload.to_vec())
        }
    }

    fn answer(self) -> Self {
        Self {
            flags: self.flags | 2,
            ..self
        }
    }

    fn header(&self) -> Vec<u8> {
        let length = self.payload.len();
        let raw_len = self.raw_len.unwrap_or(length);
        header(
            self.message_type,
            self.flags,
            self.sequence_num,
            self.message_id,
            length,
            raw_len,
        )
    }
}

fn examples() -> Vec<Example> {
    let terms = challenge(public(KEY_SEED), NONCE, NOW);
    let beat = |count: u64| Bytes::default().u64(count).raw([0xff; 8]).0.try_into().unwrap();
    let heartbeat = |name, sequence_num| Example {
        message_id: beat(1),
        ..Example::new(name, HEARTBEAT, sequence_num, Vec::new())
    };
    let statement = Session {
        role: VERIFIER,
        peer_role: AGENT,
        end: RESPONDER,
        exporter: [0xa1; 32],
        nonces: [NONCE, [0xa3; 32]],
        own_key: [0xa5; 32],
        peer_key: [0xa4; 32],
    };
    let signature = sign(KEY_SEED, &statement.message());
    let agents_hello = hello(AGENT, Some(NODE), [0xa3; 32], EVIDENCE, KEY, None);
    let enclaves_hello = hello(ENCLAVE, Some(NODE), [0xa6; 32], EVIDENCE, NOTHING, None);
    let verifiers_hello = hello(VERIFIER, None, NONCE, KEY, EVIDENCE, Some(&terms));
    let by_key = key_credential(public(KEY_SEED), &signature);
    let accepted = verdict(NOW + 86_400_000, b"outcome");
    let refused = fault("session_mismatch", "another session", b"");
    let declined = fault("busy", "later", b"note");
    vec![
        Example::new("hello of an agent", HANDSHAKE, 1, agents_hello),
        Example::new("hello of an enclave", HANDSHAKE, 1, enclaves_hello),
        Example::new("hello of a verifier", HANDSHAKE, 1, verifiers_hello),
        Example::new("credential: nothing", ATTESTATION, 2, vec![0]),
        Example::new("credential: a key", ATTESTATION, 2, by_key),
        Example::new(
            "credential: evidence",
            ATTESTATION,
            3,
            evidence_credential(b"user data"),
        ),
        Example::new("verdict", HANDSHAKE, 2, accepted),
        Example::question("attestation", ATTESTATION, 4, b"request"),
        Example::question("performance_data", PERFORMANCE_DATA, 5, b"samples"),
        Example {
            flags: 1,
            raw_len: Some(2000),
            ..Example::question(
                "performance_data, compressed",
                PERFORMANCE_DATA,
                6,
                &run(b'm', 2000),
            )
        },
        Example::question("proof_request", PROOF_REQUEST, 7, b"settle"),
        Example::question("proof_response", PROOF_RESPONSE, 4, b"settled").answer(),
        heartbeat("heartbeat", 8),
        heartbeat("answer to a heartbeat", 5).answer(),
        Example::question("key_rotation", KEY_ROTATION, 9, b"keys"),
        Example::new("error that ends", ERROR, 3, refused),
        Example::question("error for an answer", ERROR, 6, &declined).answer(),
        Example::new(
            "termination",
            TERMINATION,
            0x0102_0304_0506_0708,
            termination(4, "update"),
        ),
    ]
}

fn document() -> Value {
    let frames = examples().into_iter().map(|example| {
        json!({
            "name": example.name,
            "header": hex(&example.header()),
            "payload": hex(&example.payload),
        })
    });
    json!({
        "format": "nautilus-channel-vectors/1",
        "keys": {
            "long_term": { "seed": hex(&KEY_SEED), "public": hex(&public(KEY_SEED)) },
            "session": { "seed": hex(&SESSION_SEED), "public": hex(&public(SESSION_SEED)) },
        },
        "certificate": hex(&certificate(SESSION_SEED)),
        "frames": frames.collect::<Vec<_>>(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden() -> Value {
    serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Header and payload of a golden frame.
fn golden_frame(name: &str) -> (Vec<u8>, Vec<u8>) {
    let golden = golden();
    let mut frames = golden["frames"].as_array().unwrap().iter();
    let frame = frames
        .find(|frame| frame["name"] == name)
        .unwrap_or_else(|| panic!("no frame {name}"));
    (unhex(&frame["header"]), unhex(&frame["payload"]))
}

#[test]
fn the_file_is_what_the_page_says() {
    let made = document();
    if golden() == made {
        return;
    }
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("frames.json");
    let mut text = serde_json::to_string_pretty(&made).unwrap();
    text.push('\n');
    fs::write(&new, text).unwrap();
    panic!(
        "docs/wire.md, followed by hand, gives other bytes than {FILE}. A change is a new version of the channel: take \
         {} over, then change the code",
        new.display()
    );
}

#[test]
fn the_code_makes_every_header() {
    for example in examples() {
        let (header, payload) = golden_frame(example.name);
        let made = encode_header(
            MessageType::from_byte(example.message_type).unwrap(),
            MessageId(example.message_id),
            example.flags & 2 != 0,
            example.sequence_num,
            UnixMillis(NOW),
            payload.len(),
            example.raw_len,
        );
        assert_eq!(made.unwrap().as_slice(), header, "{}", example.name);
    }
}

#[test]
fn the_code_reads_every_frame() {
    let mut types = Vec::new();
    for example in examples() {
        let (header, payload) = golden_frame(example.name);
        let bytes = [header, payload.clone()].concat();
        let mut rest = bytes.as_slice();
        let mut reader = FrameReader::default();
        let frame = reader.push(&mut rest, MessageType::limit).unwrap().unwrap();
        assert!(rest.is_empty() && reader.is_between(), "{}", example.name);
        assert_eq!(frame.message_type as u8, example.message_type, "{}", example.name);
        assert_eq!(frame.compressed, example.flags & 1 != 0, "{}", example.name);
        assert_eq!(frame.answer, example.flags & 2 != 0, "{}", example.name);
        assert_eq!(frame.sequence_num, example.sequence_num, "{}", example.name);
        assert_eq!(frame.message_id.0, example.message_id, "{}", example.name);
        assert_eq!(frame.timestamp, UnixMillis(NOW), "{}", example.name);
        let expanded = example.raw_len.unwrap_or(payload.len());
        assert_eq!(frame.raw_len, expanded, "{}", example.name);
        assert_eq!(frame.payload, payload, "{}", example.name);
        types.push(frame.message_type);
    }
    for message_type in MessageType::ALL {
        assert!(types.contains(&message_type), "no example of {message_type}");
    }
}

#[test]
fn the_compressed_frame_expands_where_the_build_can() {
    let (header, payload) = golden_frame("performance_data, compressed");
    assert_eq!(payload.len(), 11);
    let bytes = [header, payload].concat();
    let frame = FrameReader::default()
        .push(&mut bytes.as_slice(), MessageType::limit)
        .unwrap()
        .unwrap();
    let message = frame.into_message();
    if cfg!(feature = "compression") {
        let message = message.unwrap();
        assert_eq!(message.payload, vec![b'm'; 2000]);
        assert!(message.compressed);
    } else {
        let Err(ChannelError::ExpansionInvalid { expected: 2000, .. }) = message else {
            panic!("{message:?}");
        };
    }
}

/// The code reads `payload` as `value`, and makes it of that.
fn holds<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(payload: &[u8], value: &T) {
    assert_eq!(decode_bcs::<T>(payload).as_ref(), Ok(value));
    assert_eq!(encode_bcs(value).unwrap(), payload);
    let longer = [payload, &[0]].concat();
    assert!(
        decode_bcs::<T>(&longer)
            .unwrap_err()
            .to_string()
            .contains("remaining"),
        "a trailing byte is named"
    );
}

/// The content of a `handshake` payload, whose index is `index`.
fn of_handshake(name: &str, index: u8) -> Vec<u8> {
    let (_, payload) = golden_frame(name);
    assert_eq!(payload[0], index, "{name}");
    payload[1..].to_vec()
}

#[test]
fn the_code_reads_what_the_handshake_says() {
    let agents = Hello {
        version: 1,
        role: Role::Agent,
        node: Some(NodeId(NODE)),
        nonce: Digest32([0xa3; 32]),
        presents: CredentialKind::Evidence,
        demands: CredentialKind::Key,
        challenge: None,
    };
    holds(&of_handshake("hello of an agent", 0), &agents);
    let enclaves = Hello {
        role: Role::Enclave,
        nonce: Digest32([0xa6; 32]),
        demands: CredentialKind::Nothing,
        ..agents
    };
    holds(&of_handshake("hello of an enclave", 0), &enclaves);
    let verifiers = Hello {
        version: 1,
        role: Role::Verifier,
        node: None,
        nonce: Digest32(NONCE),
        presents: CredentialKind::Key,
        demands: CredentialKind::Evidence,
        challenge: Some(ChallengeTerms {
            verifier: PublicKey(public(KEY_SEED)),
            node: NodeId(NODE),
            purpose: Purpose::Runtime,
            nonce: Digest32(NONCE),
            issued_at: UnixMillis(NOW),
            expires_at: UnixMillis(NOW + 60_000),
        }),
    };
    holds(&of_handshake("hello of a verifier", 0), &verifiers);
    let verdict = Verdict {
        accepted_until: UnixMillis(NOW + 86_400_000),
        note: b"outcome".to_vec(),
    };
    holds(&of_handshake("verdict", 1), &verdict);
}

#[test]
fn the_code_reads_credentials_faults_and_terminations() {
    holds(&golden_frame("credential: nothing").1, &Credential::Nothing);
    let by_key = golden_frame("credential: a key").1;
    let signature = Signature(by_key[33..].try_into().unwrap());
    let key = PublicKey(public(KEY_SEED));
    holds(&by_key, &Credential::Key { key, signature });
    let evidence = Credential::Evidence(Box::new(PresentedEvidence {
        tee: TeeKind::Simulated,
        evidence: b"raw evidence".to_vec(),
        user_data: b"user data".to_vec(),
        event_log: Some(b"log".to_vec()),
        endorsements: vec![
            (EndorsementKind::Certificate, b"certificate".to_vec()),
            (EndorsementKind::Crl, b"list".to_vec()),
        ],
        accompanying: b"registration".to_vec(),
    }));
    holds(&golden_frame("credential: evidence").1, &evidence);
    let refused = Fault {
        kind: "session_mismatch".to_owned(),
        detail: "another session".to_owned(),
        note: Vec::new(),
    };
    holds(&golden_frame("error that ends").1, &refused);
    let declined = Fault {
        kind: "busy".to_owned(),
        detail: "later".to_owned(),
        note: b"note".to_vec(),
    };
    holds(&golden_frame("error for an answer").1, &declined);
    let termination = Termination {
        reason: Reason::ShuttingDown,
        detail: "update".to_owned(),
    };
    holds(&golden_frame("termination").1, &termination);
    let reasons = [
        Reason::Done,
        Reason::Renew,
        Reason::Evicted,
        Reason::Replaced,
        Reason::ShuttingDown,
    ];
    for (index, reason) in reasons.into_iter().enumerate() {
        assert_eq!(encode_bcs(&reason), Ok(vec![u8::try_from(index).unwrap()]));
    }
}
