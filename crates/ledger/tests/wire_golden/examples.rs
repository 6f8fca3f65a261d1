//! Examples of every message, made by the code: one node's story from its registration to a claim.

use std::fs;

use ed25519_dalek::{Signer, SigningKey};
use nautilus_core::{
    Assurance, BootId, BoundUserData, ChallengeTerms, Digest32, Digest48, End, EventLogHead, EvidenceId,
    Kind, NodeId, Policy, PublicKey, Purpose, Role, SessionBinding, Signature, SignedMessage, SuiAddress,
    TeeKind, UnixMillis,
};
use nautilus_ledger::{
    AppraisalRecord, ClaimRequest, EmbeddedLedger, Genesis, Rules, State, Transaction, replay,
};
use nautilus_proof::merkle::{Frontier, leaf_hash};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::{WalletKey, WalletSignature};
use nautilus_proof::{
    AttestationResponse, CollectorKind, EnclaveKey, Gap, GapReason, KeyRotation, Measurement, Metrics,
    ProofStatement, ProofSubmission, Reading, Readings, Registration, SampleChain, Window, covered_slots,
    slots,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sui_crypto::SuiSigner;
use sui_crypto::ed25519::Ed25519PrivateKey;
use sui_sdk_types::PersonalMessage;

use crate::file::hex;

/// Seeds of the keys (RFC 8032 private keys).
pub const WALLET_SEED: [u8; 32] = [0x11; 32];
pub const TEE_SEED: [u8; 32] = [0x22; 32];
pub const VERIFIER_SEED: [u8; 32] = [0x33; 32];

const LABEL: BootId = BootId([0x44; 16]);
const BOOT: BootId = BootId([0x66; 16]);
const START: u64 = 1_800_000_000_000;
const INTERVAL: u64 = 10_000;
const WINDOW: u64 = 20_000;

const POLICY: &str = "
name: golden
tee: { one_of: [sgx, tpm] }
assurance: { at_least: hardware-enclave }
debug: { one_of: [false] }
tcb_status: { one_of: [UpToDate, SWHardeningNeeded] }
advisories: { one_of: [INTEL-SA-00615] }
tcb_evaluation: { at_least: 17 }
revocation: { ignore: { because: offline } }
evidence_age: { at_most_seconds: 300 }
measurements:
  mrenclave: { one_of: [9999999999999999999999999999999999999999999999999999999999999999] }
  mrsigner: { ignore: { because: mrenclave pins the code } }
attributes:
  isvprodid: { one_of: ['7'] }
  isvsvn: { at_least: '2' }
pcr_policy:
  pcr0: '0101010101010101010101010101010101010101'
  pcr23: '0202020202020202020202020202020202020202'
resettable_pcrs: { because: the agent extends it at its start }
per_tee:
  tpm:
    tcb_status: { ignore: { because: no levels } }
    advisories: { one_of: [] }
    tcb_evaluation: { ignore: { because: no levels } }
    pcr_policy:
      pcr4: '0303030303030303030303030303030303030303'
max_age_seconds: 86400
";

/// The whole document, as it stands in the file.
pub fn document() -> Value {
    let story = Story::tell();
    json!({
        "format": "nautilus-wire-vectors/1",
        "keys": {
            "wallet": {
                "seed": hex(WALLET_SEED), "public": key_of(WALLET_SEED), "address": story.wallet,
            },
            "tee": { "seed": hex(TEE_SEED), "public": key_of(TEE_SEED) },
            "verifier": { "seed": hex(VERIFIER_SEED), "public": key_of(VERIFIER_SEED) },
        },
        "messages": story.messages,
        "ledger_file": hex(story.ledger_file),
    })
}

fn key_of(seed: [u8; 32]) -> PublicKey {
    PublicKey(SigningKey::from_bytes(&seed).verifying_key().to_bytes())
}

fn sign(seed: [u8; 32], bytes: &[u8]) -> Signature {
    Signature(SigningKey::from_bytes(&seed).sign(bytes).to_bytes())
}

fn wallet_sign(bytes: &[u8]) -> WalletSignature {
    let message = PersonalMessage(bytes.into());
    let signature = Ed25519PrivateKey::new(WALLET_SEED).sign_personal_message(&message);
    WalletSignature::from_base64(&signature.unwrap().to_base64()).unwrap()
}

/// Who signs an example.
enum By {
    Tee,
    Verifier,
    Wallet,
}

impl By {
    fn signature(&self, bytes: &[u8]) -> Value {
        match self {
            Self::Tee => json!({ "key": "tee", "signature": sign(TEE_SEED, bytes) }),
            Self::Verifier => json!({ "key": "verifier", "signature": sign(VERIFIER_SEED, bytes) }),
            Self::Wallet => json!({
                "key": "wallet",
                "personal_message_digest": hex(PersonalMessage(bytes.into()).signing_digest()),
                "signature": wallet_sign(bytes),
            }),
        }
    }
}

struct Story {
    wallet: SuiAddress,
    messages: Vec<Value>,
    ledger_file: Vec<u8>,
}

impl Story {
    fn tell() -> Self {
        let wallet = WalletKey::Ed25519(key_of(WALLET_SEED)).address();
        let mut story = Self {
            wallet,
            messages: Vec::new(),
            ledger_file: Vec::new(),
        };
        let node = story.name();
        let evidence = story.attest(node);
        story.sign_about_keys(node, evidence);
        let submissions = story.prove(node, evidence);
        story.settle(node, evidence, submissions);
        story.add_message("a policy that uses every form of expectation", &[], &policy());
        story.messages.sort_by_key(|message| message["kind"].as_u64());
        story
    }

    fn add_message<M: SignedMessage + DeserializeOwned>(&mut self, what: &str, by: &[By], message: &M) {
        let fields = serde_json::to_value(message).unwrap();
        let read: M = serde_json::from_value(fields.clone()).unwrap();
        assert_eq!(
            read.to_bytes(),
            message.to_bytes(),
            "{what}: the fields do not give the message back"
        );
        self.add(M::KIND, what, by, fields, &message.to_bytes());
    }

    fn add(&mut self, kind: Kind, what: &str, by: &[By], fields: Value, bytes: &[u8]) {
        self.messages.push(json!({
            "kind": kind as u8,
            "name": format!("{kind:?}"),
            "what": what,
            "fields": fields,
            "bytes": hex(bytes),
            "sha256": hex(Sha256::digest(bytes)),
            "signatures": by.iter().map(|by| by.signature(bytes)).collect::<Vec<_>>(),
        }));
    }

    fn name(&mut self) -> NodeId {
        let bytes = header_and(Kind::NodeName, &(self.wallet, LABEL));
        let fields = json!({ "wallet": self.wallet, "label": LABEL });
        self.add(
            Kind::NodeName,
            "its SHA-256 is the node's id",
            &[],
            fields,
            &bytes,
        );
        let node = node_id(self.wallet, LABEL);
        assert_eq!(node.0[..], Sha256::digest(&bytes)[..]);
        node
    }

    fn attest(&mut self, node: NodeId) -> EvidenceId {
        let terms = ChallengeTerms {
            verifier: key_of(VERIFIER_SEED),
            node,
            purpose: Purpose::Boot,
            nonce: Digest32([0x55; 32]),
            issued_at: UnixMillis(START + 1000),
            expires_at: UnixMillis(START + 61_000),
        };
        self.add_message("its SHA-256 is the challenge", &[], &terms);
        let user_data = BoundUserData {
            purpose: Purpose::Boot,
            node,
            tee: TeeKind::Simulated,
            boot: BOOT,
            tee_key: key_of(TEE_SEED),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        };
        self.add_message("without a channel key and without events", &[], &user_data);
        let with_channel = BoundUserData {
            purpose: Purpose::Runtime,
            tee: TeeKind::Tdx,
            channel_key: Some(PublicKey([0x77; 32])),
            event_log: EventLogHead {
                digest: Digest48([0x88; 48]),
                length: 3,
            },
            ..user_data.clone()
        };
        self.add_message("with a channel key and three events", &[], &with_channel);
        self.open_session(&user_data);

        let report_data = terms.challenge().bind(&user_data);
        let (challenge, bound) = report_data.as_bytes().split_at(32);
        let name = (
            TeeKind::Simulated,
            Digest32(challenge.try_into().unwrap()),
            Digest32(bound.try_into().unwrap()),
        );
        let fields = json!({ "tee": name.0, "challenge": name.1, "user_data": name.2 });
        let bytes = header_and(Kind::Evidence, &name);
        let what = "of the first challenge and the first user data; its SHA-256 is the evidence id";
        self.add(Kind::Evidence, what, &[], fields, &bytes);
        let evidence = EvidenceId::of(TeeKind::Simulated, report_data.as_bytes());
        assert_eq!(evidence.0[..], Sha256::digest(&bytes)[..]);
        evidence
    }

    /// One session of the attested channel, in the words of both its ends: the agent's in the user data of its evidence,
    /// the verifier's under its long-term key.
    fn open_session(&mut self, user_data: &BoundUserData) {
        let agents = SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: Role::Agent,
            peer_role: Role::Verifier,
            end: End::Initiator,
            node: user_data.node,
            exporter: Digest32([0xa1; 32]),
            initiator_nonce: Digest32([0xa2; 32]),
            responder_nonce: Digest32([0xa3; 32]),
            own_key: Digest32([0xa4; 32]),
            peer_key: Digest32([0xa5; 32]),
            group: 0x11ec,
        };
        let verifiers = SessionBinding {
            role: Role::Verifier,
            peer_role: Role::Agent,
            end: End::Responder,
            own_key: agents.peer_key,
            peer_key: agents.own_key,
            ..agents.clone()
        };
        let enclaves = SessionBinding {
            role: Role::Enclave,
            peer_role: Role::Agent,
            ..agents.clone()
        };
        let in_session = |session: &SessionBinding| BoundUserData {
            purpose: Purpose::Runtime,
            channel_key: Some(PublicKey([0x77; 32])),
            session: Some(session.clone()),
            ..user_data.clone()
        };
        let of_agent = "that opens an agent's session with a verifier";
        self.add_message(of_agent, &[], &in_session(&agents));
        let of_enclave = "that opens an enclave's session with its agent";
        self.add_message(of_enclave, &[], &in_session(&enclaves));
        let first = "as the agent states it, which connected: what its evidence has to bind";
        self.add_message(first, &[], &agents);
        let second = "the same session as the verifier states it, which was connected to: what its key signs";
        self.add_message(second, &[By::Verifier], &verifiers);
        let third = "another session, as an enclave states it to its agent";
        self.add_message(third, &[], &enclaves);
    }

    /// What the enclave signs besides samples and proofs.
    fn sign_about_keys(&mut self, node: NodeId, evidence: EvidenceId) {
        let key = EnclaveKey {
            node,
            boot: BOOT,
            tee_key: key_of(TEE_SEED),
            secp256r1: [&[2], [0x99; 32].as_slice()].concat(),
        };
        self.add_message("a key over P-256, compressed", &[By::Tee], &key);
        let rotation = KeyRotation {
            node,
            retired: key_of(TEE_SEED),
            successor: PublicKey([0xaa; 32]),
            boot: BootId([0xbb; 16]),
            at: UnixMillis(START + 90_000),
        };
        self.add_message("by the key that signs no more after it", &[By::Tee], &rotation);
        let response = AttestationResponse {
            node,
            boot: BOOT,
            evidence_id: evidence,
            evidence: Digest32([0xcc; 32]),
            certificate: Digest32([0xdd; 32]),
            measurements: Digest32([0xee; 32]),
            timestamp: UnixMillis(START + 3000),
            expires_at: UnixMillis(START + 3000 + 86_400_000),
        };
        self.add_message("of the evidence example", &[By::Tee], &response);
    }

    /// Two windows of two samples each, and one sample after them.
    fn prove(&mut self, node: NodeId, evidence: EvidenceId) -> Vec<ProofSubmission> {
        let mut chain = SampleChain::of_boot(node, BOOT);
        let mut log = Frontier::default();
        let mut submissions = Vec::new();
        for sequence in 0..2 {
            let start = UnixMillis(START + 4000 + sequence * WINDOW);
            let end = start.plus(WINDOW);
            chain.start_window();
            for slot in 0..2_u16 {
                let after = u64::from(slot) * INTERVAL;
                let sample = chain.draft(Measurement {
                    monotonic_millis: 7_000_000 + sequence * WINDOW + after,
                    ..Measurement::of_system(start.plus(after), metrics(slot))
                });
                chain.push(&sample).unwrap();
                let what = format!("sample {} of the boot, in window {sequence}", sample.sequence);
                self.add_message(&what, &[], &sample);
            }
            let batch = chain.take_batch().unwrap();
            let what = format!("samples {} and {} of the boot", batch.first, batch.first + 1);
            self.add_message(&what, &[By::Tee], &batch);
            let window = Window {
                node,
                tee: TeeKind::Simulated,
                assurance: Assurance::Simulated,
                boot: BOOT,
                sequence,
                start,
                end,
                interval_millis: INTERVAL,
                slots: slots(WINDOW, INTERVAL).unwrap(),
                covered: covered_slots(start, end, INTERVAL, chain.times()).unwrap(),
                samples: 2,
                metrics_hash: chain.metrics_hash(),
                attestation_hash: evidence,
                summary: chain.summary(),
            };
            let what = format!("window {sequence}: leaf {sequence} of the window log, of two samples");
            self.add_message(&what, &[], &window);
            let merkle_proof = log.next_path();
            log.append(leaf_hash(&window.to_bytes()));
            let statement = ProofStatement {
                window,
                merkle_root: log.root(),
                issued_at: end,
                expires_at: end.plus(24 * 60 * 60 * 1000),
            };
            let what = format!("of window {sequence}; its SHA-256 is the proof id");
            self.add_message(&what, &[By::Tee, By::Wallet], &statement);
            submissions.push(ProofSubmission {
                merkle_proof,
                tee_signature: sign(TEE_SEED, &statement.to_bytes()),
                wallet_signature: wallet_sign(&statement.to_bytes()),
                statement,
            });
        }
        self.measure_in_part(&mut chain);
        submissions
    }

    /// A sample in which not everything was measured, after a suspend and a step of the clock, with readings.
    fn measure_in_part(&mut self, chain: &mut SampleChain) {
        let none = Readings::default();
        self.add_message("none: what a sample without readings names", &[], &none);
        let reading = |series: &str, value| Reading {
            series: series.to_owned(),
            value,
        };
        let readings = Readings(vec![
            reading("nautilus_disk_read_bytes", 1_414),
            reading("nautilus_pod_memory_bytes{pod=\"\u{e4}\"}", i64::MIN),
            reading("temperature_celsius", -2),
        ]);
        let what = "three, one of a series with a label and one below zero";
        self.add_message(what, &[], &readings);
        let gap = |collector, reason| Gap { collector, reason };
        let sample = chain.draft(Measurement {
            at: UnixMillis(START + 104_000),
            monotonic_millis: 7_040_000,
            missed: 5,
            clock_step_millis: -1500,
            suspended_millis: 60_000,
            metrics: None,
            response_time_micros: Some(1_717),
            gaps: vec![
                gap(CollectorKind::System, GapReason::Failed),
                gap(CollectorKind::Container, GapReason::Stalled),
                gap(CollectorKind::Custom, GapReason::Truncated),
            ],
            readings: readings.digest(),
            reading_count: 3,
        });
        chain.push(&sample).unwrap();
        let what = "sample 4 of the boot, in no window: the machine slept, its clock was set back, and not all was \
                    measured; it names the three readings";
        self.add_message(what, &[], &sample);
        let batch = chain.take_batch().unwrap();
        self.add_message("sample 4 alone", &[By::Tee], &batch);
    }

    /// A ledger with every kind of transaction.
    fn settle(&mut self, node: NodeId, evidence: EvidenceId, submissions: Vec<ProofSubmission>) {
        let verifier = key_of(VERIFIER_SEED);
        let registration = Registration {
            node,
            wallet: self.wallet,
            label: LABEL,
            verifier,
        };
        self.add_message("a node's registration", &[By::Wallet], &registration);
        let record = AppraisalRecord {
            node,
            tee: TeeKind::Simulated,
            assurance: Assurance::Simulated,
            evidence,
            tee_key: key_of(TEE_SEED),
            boot: BOOT,
            policy: policy().id(),
            appraised_at: UnixMillis(START + 2000),
            expires_at: UnixMillis(START + 2000 + 86_400_000),
        };
        self.add_message("of the evidence example", &[By::Verifier], &record);
        let claim = ClaimRequest {
            wallet: self.wallet,
            amount: 5000,
            nonce: 1,
            verifier,
        };
        self.add_message("a part of what is due", &[By::Wallet], &claim);

        let genesis = Genesis {
            verifier,
            rules: Rules::default(),
        };
        let register = Transaction::RegisterNode {
            signature: wallet_sign(&registration.to_bytes()),
            registration,
        };
        let appraise = Transaction::RecordAppraisal {
            signature: sign(VERIFIER_SEED, &record.to_bytes()),
            record,
        };
        let mut transactions = vec![
            (START, Transaction::Genesis(genesis.clone())),
            (START, register),
            (START + 2000, appraise),
        ];
        for submission in submissions {
            let (at, proof) = (submission.statement.window.end.0, submission.statement.digest());
            let submission = Box::new(submission);
            transactions.push((at, Transaction::SubmitProof { submission }));
            transactions.push((at, Transaction::AccrueReward { proof }));
        }
        let signature = wallet_sign(&claim.to_bytes());
        transactions.push((START + 50_000, Transaction::Claim { claim, signature }));
        self.log(genesis, &transactions);
    }

    fn log(&mut self, genesis: Genesis, transactions: &[(u64, Transaction)]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let mut ledger = EmbeddedLedger::open_or_create(&path, genesis, UnixMillis(START)).unwrap();
        for (at, transaction) in transactions.iter().skip(1) {
            ledger
                .append(std::slice::from_ref(transaction), UnixMillis(*at))
                .unwrap();
        }
        replay(&path).unwrap();
        self.ledger_file = fs::read(&path).unwrap();

        let (mut state, mut previous, mut offset) = (State::new(), Digest32([0; 32]), 1536);
        for ((at, transaction), logged) in transactions.iter().zip(ledger.entries()) {
            state.apply(transaction, UnixMillis(*at)).unwrap();
            let logged = logged.unwrap();
            let length = u32::from_le_bytes(self.ledger_file[offset..offset + 4].try_into().unwrap());
            let end = offset + 4 + usize::try_from(length).unwrap();
            let bytes = self.ledger_file[offset + 4..end].to_vec();
            assert_eq!(logged.hash.0[..], self.ledger_file[end..end + 32]);
            let fields = json!({
                "height": logged.height,
                "at": logged.at,
                "previous": previous,
                "transaction": logged.transaction,
                "state": state.digest(),
            });
            let height = logged.height;
            let what = format!("entry {height} of the ledger file; its SHA-256 is its hash");
            self.add(Kind::LedgerEntry, &what, &[], fields, &bytes);
            let fields = serde_json::to_value(&state).unwrap();
            let what = format!("after entry {height}; its SHA-256 is that entry's state digest");
            self.add(Kind::LedgerState, &what, &[], fields, &state.to_bytes());
            (previous, offset) = (logged.hash, end + 32);
        }
        assert_eq!(offset, self.ledger_file.len());
    }
}

/// The bytes of a message whose type is its crate's own.
fn header_and(kind: Kind, payload: &impl Serialize) -> Vec<u8> {
    let mut bytes = b"NAUTILUS\x01".to_vec();
    bytes.push(kind as u8);
    bcs::serialize_into(&mut bytes, payload).unwrap();
    bytes
}

/// Numbers that tell every field from every other.
fn metrics(slot: u16) -> Metrics {
    Metrics {
        cpu_usage_bp: 101 + slot,
        cpu_efficiency_bp: 151,
        memory_usage_bp: 202,
        disk_usage_bp: 303,
        load_average_centi: [404, 505, 606],
        process_count: 707,
        thread_count: 808,
        file_descriptors: 909,
        context_switches: 1_010,
        interrupts: 1_111,
        network_rx_bytes: 1_212,
        network_tx_bytes: 1_313,
        disk_read_bytes: 1_414,
        disk_written_bytes: 1_515,
        uptime_seconds: 1_616,
    }
}

fn policy() -> Policy {
    Policy::from_yaml(POLICY).unwrap()
}
