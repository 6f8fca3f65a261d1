//! The golden bytes once more, put together byte by byte as `docs/wire.md` says, without the project's types.

use sha2::{Digest, Sha256};
use sui_sdk_types::hash::Hasher;

use crate::examples::{TEE_SEED, VERIFIER_SEED, WALLET_SEED};
use crate::file::{bytes, golden, hex, message, text, unhex};

const START: u64 = 1_800_000_000_000;
const ZERO: [u8; 32] = [0; 32];
const LABEL: [u8; 16] = [0x44; 16];
const BOOT: [u8; 16] = [0x66; 16];
const SIMULATED_TEE: u8 = 7;
const SIMULATED_ASSURANCE: u8 = 0;

/// Bytes in the making.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn message(kind: u8) -> Self {
        Self::default().raw(b"NAUTILUS").u8(1).u8(kind)
    }

    fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn u8(self, value: u8) -> Self {
        self.raw([value])
    }

    fn u16(self, value: u16) -> Self {
        self.raw(value.to_le_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.raw(value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.raw(value.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.u8(u8::try_from(text.len()).unwrap()).raw(text)
    }
}

fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn blake2b(bytes: &[u8]) -> [u8; 32] {
    Hasher::digest(bytes).into_inner()
}

fn key(seed: [u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&seed)
        .verifying_key()
        .to_bytes()
}

fn verifies(seed: [u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    key.verify_strict(message, &signature).is_ok()
}

fn wallet() -> [u8; 32] {
    blake2b(&Bytes::default().u8(0).raw(key(WALLET_SEED)).0)
}

fn node() -> [u8; 32] {
    sha256(bytes("NodeName", 0))
}

fn report_data() -> [u8; 64] {
    [sha256(bytes("Challenge", 0)), sha256(bytes("UserData", 0))]
        .concat()
        .try_into()
        .unwrap()
}

fn evidence() -> [u8; 32] {
    sha256(bytes("Evidence", 0))
}

fn leaf(data: &[u8]) -> [u8; 32] {
    sha256(Bytes::default().u8(0).raw(data).0)
}

fn inner(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    sha256(Bytes::default().u8(1).raw(left).raw(right).0)
}

#[test]
fn names_and_attestation() {
    let node_name = Bytes::message(12).raw(wallet()).raw(LABEL);
    assert_eq!(bytes("NodeName", 0), node_name.0);
    let challenge = Bytes::message(1)
        .raw(key(VERIFIER_SEED))
        .raw(node())
        .u8(0)
        .raw([0x55; 32])
        .u64(START + 1000)
        .u64(START + 61_000);
    assert_eq!(bytes("Challenge", 0), challenge.0);
    let user_data = Bytes::message(2)
        .u8(0)
        .raw(node())
        .u8(SIMULATED_TEE)
        .raw(BOOT)
        .raw(key(TEE_SEED))
        .u8(0)
        .raw([0; 48])
        .u64(0)
        .u8(0);
    assert_eq!(bytes("UserData", 0), user_data.0);
    let with_channel = Bytes::message(2)
        .u8(1)
        .raw(node())
        .u8(1)
        .raw(BOOT)
        .raw(key(TEE_SEED))
        .u8(1)
        .raw([0x77; 32])
        .raw([0x88; 48])
        .u64(3)
        .u8(0);
    assert_eq!(bytes("UserData", 1), with_channel.0);
    let evidence = Bytes::message(3).u8(SIMULATED_TEE).raw(report_data());
    assert_eq!(bytes("Evidence", 0), evidence.0);
}

const ENCLAVE: u8 = 0;
const AGENT: u8 = 1;
const VERIFIER: u8 = 2;
const INITIATOR: u8 = 0;
const RESPONDER: u8 = 1;

/// A session's binding without its header.
fn session(role: u8, peer_role: u8, end: u8, own_key: u8, peer_key: u8) -> Vec<u8> {
    let binding = Bytes::default()
        .text("nautilus-channel/1")
        .u8(role)
        .u8(peer_role)
        .u8(end)
        .raw(node())
        // The exporter, the initiator's nonce, the responder's nonce: who states it changes nothing of them.
        .raw([0xa1; 32])
        .raw([0xa2; 32])
        .raw([0xa3; 32])
        .raw([own_key; 32])
        .raw([peer_key; 32])
        // X25519MLKEM768 is 4588, and integers are little-endian.
        .raw([0xec, 0x11]);
    assert_eq!(binding.0.len(), 216);
    binding.0
}

#[test]
fn sessions_of_the_channel() {
    let agents = session(AGENT, VERIFIER, INITIATOR, 0xa4, 0xa5);
    let verifiers = session(VERIFIER, AGENT, RESPONDER, 0xa5, 0xa4);
    let enclaves = session(ENCLAVE, AGENT, INITIATOR, 0xa4, 0xa5);
    for (index, session) in [&agents, &verifiers, &enclaves].into_iter().enumerate() {
        assert_eq!(
            bytes("Session", index),
            Bytes::message(17).raw(session).0,
            "{index}"
        );
    }
    for (index, session) in [(2, agents), (3, enclaves)] {
        let user_data = Bytes::message(2)
            .u8(1)
            .raw(node())
            .u8(SIMULATED_TEE)
            .raw(BOOT)
            .raw(key(TEE_SEED))
            .u8(1)
            .raw([0x77; 32])
            .raw([0; 48])
            .u64(0)
            // There is a session. Nothing follows it, and it has no header of its own.
            .u8(1)
            .raw(session);
        assert_eq!(bytes("UserData", index), user_data.0, "{index}");
    }
    let signature = unhex(&signature("Session", 1, "verifier"));
    assert!(verifies(VERIFIER_SEED, &bytes("Session", 1), &signature));
}

#[test]
fn what_the_enclave_signs_about_its_keys() {
    let enclave_key = Bytes::message(14)
        .raw(node())
        .raw(BOOT)
        .raw(key(TEE_SEED))
        // A byte string: its length comes first.
        .u8(33)
        .u8(2)
        .raw([0x99; 32]);
    assert_eq!(bytes("EnclaveKey", 0), enclave_key.0);
    let rotation = Bytes::message(15)
        .raw(node())
        .raw(key(TEE_SEED))
        .raw([0xaa; 32])
        .raw([0xbb; 16])
        .u64(START + 90_000);
    assert_eq!(bytes("KeyRotation", 0), rotation.0);
    let response = Bytes::message(16)
        .raw(node())
        .raw(BOOT)
        .raw(evidence())
        .raw([0xcc; 32])
        .raw([0xdd; 32])
        .raw([0xee; 32])
        .u64(START + 3000)
        .u64(START + 86_403_000);
    assert_eq!(bytes("AttestationResponse", 0), response.0);
}

/// A sample up to its metrics, in which nothing was missed and no clock moved.
fn sample_at(sequence: u64, previous: [u8; 32], at: u64, monotonic: u64) -> Bytes {
    Bytes::message(5)
        .raw(node())
        .raw(BOOT)
        .u64(sequence)
        .raw(previous)
        .u64(at)
        .u64(monotonic)
}

fn sample(sequence: u64, previous: [u8; 32]) -> Vec<u8> {
    let slot = u16::try_from(sequence % 2).unwrap();
    let after = sequence * 10_000;
    let sample = sample_at(sequence, previous, START + 4000 + after, 7_000_000 + after)
        // Nothing missed, no step of the clock, no suspend.
        .u32(0)
        .u64(0)
        .u64(0)
        // There are metrics.
        .u8(1)
        .u16(101 + slot)
        .u16(151)
        .u16(202)
        .u16(303)
        .u32(404)
        .u32(505)
        .u32(606)
        .u32(707)
        .u32(808);
    let counters = (0..8).map(|counter| 909 + counter * 101);
    counters
        .fold(sample, Bytes::u64)
        // No response time, no gaps.
        .u8(0)
        .u8(0)
        // The readings: none.
        .raw(sha256(Bytes::message(19).u8(0).0))
        .u32(0)
        .0
}

#[test]
fn readings_and_a_sample_in_part() {
    assert_eq!(bytes("Readings", 0), Bytes::message(19).u8(0).0);
    let readings = Bytes::message(19)
        .u8(3)
        .text("nautilus_disk_read_bytes")
        .u64(1_414)
        // Two bytes of UTF-8 are two bytes of the length.
        .text("nautilus_pod_memory_bytes{pod=\"\u{e4}\"}")
        .u64(1 << 63)
        .text("temperature_celsius")
        // Two's complement.
        .u64(u64::MAX - 1);
    assert_eq!(bytes("Readings", 1), readings.0);
    let before = sha256(bytes("Sample", 3));
    let sample = sample_at(4, before, START + 104_000, 7_040_000)
        .u32(5)
        .raw((-1500_i64).to_le_bytes())
        .u64(60_000)
        // No metrics, a response time.
        .u8(0)
        .u8(1)
        .u64(1_717)
        // Three gaps: system failed, container stalled, custom truncated.
        .raw([3, 0, 0, 1, 1, 4, 2])
        .raw(sha256(readings.0))
        .u32(3);
    assert_eq!(bytes("Sample", 4), sample.0);
}

#[test]
fn batches_of_samples() {
    for (index, (first, count)) in [(0, 2), (2, 2), (4, 1)].into_iter().enumerate() {
        let digest = |sequence| sha256(bytes("Sample", sequence));
        let batch = Bytes::message(18)
            .raw(node())
            .raw(BOOT)
            .u64(u64::try_from(first).unwrap())
            .u32(u32::try_from(count).unwrap())
            .raw(if first == 0 { ZERO } else { digest(first - 1) })
            .raw(digest(first + count - 1));
        assert_eq!(bytes("SampleBatch", index), batch.0, "{index}");
    }
}

/// Window `sequence` without its header.
fn window(sequence: u64) -> Vec<u8> {
    let first = usize::try_from(sequence).unwrap() * 2;
    let metrics_hash = inner(leaf(&bytes("Sample", first)), leaf(&bytes("Sample", first + 1)));
    Bytes::default()
        .raw(node())
        .u8(SIMULATED_TEE)
        .u8(SIMULATED_ASSURANCE)
        .raw(BOOT)
        .u64(sequence)
        .u64(START + 4000 + sequence * 20_000)
        .u64(START + 24_000 + sequence * 20_000)
        .u64(10_000)
        .u32(2)
        .u32(2)
        .u32(2)
        .raw(metrics_hash)
        .raw(evidence())
        // The mean of 101 and 102, rounded down, then the maxima.
        .u16(101)
        .u16(102)
        .u16(202)
        .u16(303)
        .0
}

/// Statement `sequence` without its header.
fn statement(sequence: u64) -> Vec<u8> {
    let end = START + 24_000 + sequence * 20_000;
    let first = leaf(&bytes("Window", 0));
    let root = match sequence {
        0 => first,
        _ => inner(first, leaf(&bytes("Window", 1))),
    };
    Bytes::default()
        .raw(window(sequence))
        .raw(root)
        .u64(end)
        .u64(end + 86_400_000)
        .0
}

#[test]
fn samples_windows_and_proofs() {
    let mut previous = ZERO;
    for sequence in 0..4 {
        let expected = sample(sequence, previous);
        assert_eq!(
            bytes("Sample", usize::try_from(sequence).unwrap()),
            expected,
            "{sequence}"
        );
        previous = sha256(&expected);
    }
    for (index, sequence) in [(0, 0), (1, 1)] {
        assert_eq!(bytes("Window", index), Bytes::message(6).raw(window(sequence)).0);
        assert_eq!(
            bytes("Proof", index),
            Bytes::message(7).raw(statement(sequence)).0
        );
    }
}

#[test]
fn a_policy() {
    let policy = Bytes::message(13)
        .text("golden")
        // tee: one_of [sgx, tpm]
        .u8(0)
        .u8(2)
        .u8(0)
        .u8(5)
        // assurance: at_least hardware-enclave
        .u8(1)
        .u8(2)
        // debug: one_of [false]
        .u8(0)
        .u8(1)
        .u8(0)
        // tcb_status: one_of [UpToDate, SWHardeningNeeded]
        .u8(0)
        .u8(2)
        .u8(0)
        .u8(1)
        // advisories: one_of [INTEL-SA-00615]
        .u8(0)
        .u8(1)
        .text("INTEL-SA-00615")
        // tcb_evaluation: at_least 17
        .u8(1)
        .u32(17)
        // revocation: ignore
        .u8(1)
        .text("offline")
        // evidence_age: at_most_seconds 300
        .u8(1)
        .u64(300)
        // measurements: the shorter name first, for maps are in the order of their keys' encodings
        .u8(2)
        .text("mrsigner")
        .u8(2)
        .text("mrenclave pins the code")
        .text("mrenclave")
        .u8(0)
        .u8(1)
        .text(&"99".repeat(32))
        // attributes: numbers are text too
        .u8(2)
        .text("isvsvn")
        .u8(1)
        .text("2")
        .text("isvprodid")
        .u8(0)
        .u8(1)
        .text("7")
        // pcr_policy
        .u8(2)
        .text("pcr0")
        .text(&"01".repeat(20))
        .text("pcr23")
        .text(&"02".repeat(20))
        // resettable_pcrs: there is a reason
        .u8(1)
        .text("the agent extends it at its start")
        // per_tee: one section, of the TPM
        .u8(1)
        .u8(5)
        // its tcb_status: there is one, ignore
        .u8(1)
        .u8(2)
        .text("no levels")
        // its advisories: there is one, none may apply
        .u8(1)
        .u8(0)
        .u8(0)
        // its tcb_evaluation: there is one, ignore
        .u8(1)
        .u8(2)
        .text("no levels")
        // its measurements and attributes: none
        .u8(0)
        .u8(0)
        // its pcr_policy
        .u8(1)
        .text("pcr4")
        .text(&"03".repeat(20))
        .u64(86_400);
    assert_eq!(bytes("Policy", 0), policy.0);
}

fn registration() -> Bytes {
    Bytes::default()
        .raw(node())
        .raw(wallet())
        .raw(LABEL)
        .raw(key(VERIFIER_SEED))
}

fn record() -> Bytes {
    Bytes::default()
        .raw(node())
        .u8(SIMULATED_TEE)
        .u8(SIMULATED_ASSURANCE)
        .raw(evidence())
        .raw(key(TEE_SEED))
        .raw(BOOT)
        .raw(sha256(bytes("Policy", 0)))
        .u64(START + 2000)
        .u64(START + 86_402_000)
}

fn claim() -> Bytes {
    Bytes::default()
        .raw(wallet())
        .u64(5000)
        .u64(1)
        .raw(key(VERIFIER_SEED))
}

#[test]
fn registration_appraisal_and_claim() {
    assert_eq!(
        bytes("Registration", 0),
        Bytes::message(4).raw(registration().0).0
    );
    assert_eq!(bytes("AppraisalRecord", 0), Bytes::message(8).raw(record().0).0);
    assert_eq!(bytes("Claim", 0), Bytes::message(9).raw(claim().0).0);
}

/// The signature of `key` over an example.
fn signature(name: &str, index: usize, key: &str) -> String {
    let message = message(name, index);
    let mut signatures = message["signatures"].as_array().unwrap().iter();
    let found = signatures.find(|one| one["key"] == key).unwrap();
    text(&found["signature"]).to_owned()
}

/// The wallet's signature over an example as the ledger has it, after it was checked: 97 bytes, which the file has in
/// base64, `0x00 ‖ signature ‖ public key`.
fn wallet_signature(name: &str, index: usize) -> Vec<u8> {
    let serialised = unbase64(&signature(name, index, "wallet"));
    assert_eq!((serialised.len(), serialised[0]), (97, 0), "{name} {index}");
    assert_eq!(serialised[65..], key(WALLET_SEED), "{name} {index}");
    let message = bytes(name, index);
    let length = match u8::try_from(message.len()) {
        Ok(short @ 0..=127) => vec![short],
        _ => vec![
            u8::try_from(message.len() % 128).unwrap() + 128,
            u8::try_from(message.len() / 128).unwrap(),
        ],
    };
    let digest = blake2b(&Bytes::default().raw([3, 0, 0]).raw(length).raw(&message).0);
    assert!(
        verifies(WALLET_SEED, &digest, &serialised[1..65]),
        "{name} {index}"
    );
    [&[97], serialised.as_slice()].concat()
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no base64"),
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(value).collect();
    let bits = digits
        .iter()
        .flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit))
        .collect()
}

#[test]
fn every_signature_is_over_what_the_specification_says() {
    for (name, count) in [
        ("SampleBatch", 3),
        ("Proof", 2),
        ("EnclaveKey", 1),
        ("KeyRotation", 1),
        ("AttestationResponse", 1),
    ] {
        for index in 0..count {
            let signature = unhex(&signature(name, index, "tee"));
            assert!(
                verifies(TEE_SEED, &bytes(name, index), &signature),
                "{name} {index}"
            );
        }
    }
    let signature = unhex(&signature("AppraisalRecord", 0, "verifier"));
    assert!(verifies(VERIFIER_SEED, &bytes("AppraisalRecord", 0), &signature));
    for (name, count) in [("Registration", 1), ("Proof", 2), ("Claim", 1)] {
        (0..count).for_each(|index| drop(wallet_signature(name, index)));
    }
}

/// Payloads of the ledger's transactions, in the order of the log, with their times.
fn transactions() -> Vec<(u64, Bytes)> {
    let verifier_signature = unhex(&signature("AppraisalRecord", 0, "verifier"));
    let submit = |index: usize, path: &[u8]| {
        Bytes::default()
            .u8(3)
            .raw(statement(u64::try_from(index).unwrap()))
            .u8(u8::try_from(path.len() / 32).unwrap())
            .raw(path)
            .raw(unhex(&signature("Proof", index, "tee")))
            .raw(wallet_signature("Proof", index))
    };
    let accrue = |index| Bytes::default().u8(4).raw(sha256(bytes("Proof", index)));
    let genesis = Bytes::default()
        .u8(0)
        .raw(key(VERIFIER_SEED))
        .u64(1000)
        .u64(600_000)
        .u64(3_600_000);
    let register = Bytes::default()
        .u8(1)
        .raw(registration().0)
        .raw(wallet_signature("Registration", 0));
    let appraise = Bytes::default().u8(2).raw(record().0).raw(verifier_signature);
    let claim = Bytes::default()
        .u8(5)
        .raw(claim().0)
        .raw(wallet_signature("Claim", 0));
    vec![
        (START, genesis),
        (START, register),
        (START + 2000, appraise),
        (START + 24_000, submit(0, &[])),
        (START + 24_000, accrue(0)),
        (START + 44_000, submit(1, &leaf(&bytes("Window", 0)))),
        (START + 44_000, accrue(1)),
        (START + 50_000, claim),
    ]
}

#[test]
fn the_ledger_file() {
    let mut previous = ZERO;
    let mut records = Bytes::default();
    let mut ends = Vec::new();
    for (height, (at, transaction)) in transactions().into_iter().enumerate() {
        let entry = Bytes::message(10)
            .u64(u64::try_from(height).unwrap())
            .u64(at)
            .raw(previous)
            .raw(transaction.0)
            .raw(sha256(bytes("LedgerState", height)))
            .0;
        assert_eq!(hex(bytes("LedgerEntry", height)), hex(&entry), "entry {height}");
        previous = sha256(&entry);
        records = records
            .u32(u32::try_from(entry.len()).unwrap())
            .raw(entry)
            .raw(previous);
        ends.push((u64::try_from(1536 + records.0.len()).unwrap(), previous));
    }
    // Entry n is commit n + 1; the last is commit 8, in slot 0.
    let slot = |generation: u64| {
        let (length, tip) = ends[usize::try_from(generation - 1).unwrap()];
        let fields = Bytes::default().u64(generation).u64(length).raw(tip).0;
        let checksum = sha256(Bytes::default().raw("nautilus ledger commit").raw(&fields).0);
        Bytes::default().raw(fields).raw(checksum).raw([0; 432]).0
    };
    let header = Bytes::default().raw("NAUTILUS LEDGER\n").u32(1).raw([0; 492]);
    let file = header.raw(slot(8)).raw(slot(7)).raw(records.0).0;
    assert_eq!(text(&golden()["ledger_file"]), hex(file));
}

#[test]
fn the_ledger_state() {
    let genesis = || {
        Bytes::message(11)
            .u8(1)
            .raw(key(VERIFIER_SEED))
            .u64(1000)
            .u64(600_000)
            .u64(3_600_000)
    };
    let empty = genesis().u64(START).u8(0).u8(0).u8(0);
    assert_eq!(bytes("LedgerState", 0), empty.0);
    let registered = genesis()
        .u64(START)
        .u8(1)
        .raw(node())
        .raw(wallet())
        .u8(0)
        .u64(0)
        .raw(sha256([]))
        .u64(START - 60_000)
        .u64(0)
        .u64(0)
        .u8(0)
        .u8(0);
    assert_eq!(bytes("LedgerState", 1), registered.0);
    // Two windows settled, the second of which is not rewarded yet.
    let settled = |at: u64, accrued: u64, claimed: u64| {
        genesis()
            .u64(at)
            .u8(1)
            .raw(node())
            .raw(wallet())
            .u8(1)
            .raw(record().0)
            .u64(2)
            .raw(inner(leaf(&bytes("Window", 0)), leaf(&bytes("Window", 1))))
            .u64(START + 44_000)
            .u64(accrued)
            .u64(claimed)
    };
    let unrewarded = settled(START + 44_000, 20_000, 0)
        .u8(1)
        .raw(sha256(bytes("Proof", 1)))
        .raw(node())
        .u64(20_000)
        .u8(0);
    assert_eq!(bytes("LedgerState", 5), unrewarded.0);
    let claimed = settled(START + 50_000, 40_000, 5000)
        .u8(0)
        .u8(1)
        .raw(wallet())
        .u64(1);
    assert_eq!(bytes("LedgerState", 7), claimed.0);
}
