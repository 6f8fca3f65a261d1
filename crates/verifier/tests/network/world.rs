//! A whole network in one process: a vendor, a verifier on an embedded ledger, and nodes whose enclaves really
//! attest and sign. Time is an argument everywhere.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use nautilus_channel::{Appraise, MessageType, Present, PresentedEvidence};
use nautilus_core::{
    AppraisalVerdict, Attester as _, BootId, BoundUserData, Challenge, ChallengeTerms, Digest32, End,
    Endorsements, Evidence, EvidenceFile, Measurement, NodeId, Policy, PublicKey, Purpose, Role,
    SessionBinding, Signature, SignedMessage, SuiAddress, TrustAnchors, UnixMillis,
};
use nautilus_enclave::{Enclave, Identity, Reply, Request, hpke};
use nautilus_ledger::{EmbeddedLedger, Genesis, Rules, State, Tip};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::{WalletKey, WalletSignature, personal_message_digest};
use nautilus_proof::{
    CollectorKind, Gap, GapReason, KeyRotation, MAX_VALIDITY_MILLIS, Metrics, PerformanceProof, Registration,
    Sample, SignedBatch,
};
use nautilus_tee::simulated::{Image, Platform, Vendor, verifier_set};
use nautilus_verifier::api::{
    AttestationOutcome, AttestationRequest, ChallengeRequest, Introduction, KeyRotationNotice, Settlement,
};
use nautilus_verifier::{KeyBroker, Refusal, Registry, Verifier, VerifierKey};
use sui_crypto::Signer;
use sui_crypto::ed25519::Ed25519PrivateKey;
use tempfile::TempDir;

/// When the network starts.
pub const START: UnixMillis = UnixMillis(1_800_000_000_000);
/// Time between samples, in milliseconds.
pub const INTERVAL: u64 = 1_000;
/// Length of a window, in milliseconds.
pub const WINDOW: u64 = 4_000;
/// The program that the verifier's policy wants.
pub const WANTED: [u8; 32] = [0xe0; 32];

/// A verifier and all that it relies upon.
pub struct World {
    directory: TempDir,
    vendor: Vendor,
    pub verifier: Arc<Verifier>,
}

impl World {
    pub fn new() -> Self {
        Self::starting(START)
    }

    pub fn starting(now: UnixMillis) -> Self {
        Self::made(now, |verifier| verifier)
    }

    /// A world whose verifier releases secrets too: files of these names and contents.
    pub fn releasing(secrets: &[(&str, &[u8])]) -> Self {
        let directory = TempDir::new().unwrap();
        for (name, secret) in secrets {
            let path = directory.path().join(name);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let broker = KeyBroker::open(directory.path(), |node, name, key, secret| {
            hpke::seal(key, &hpke::provision_info(node, name), secret).ok()
        });
        let broker = broker.unwrap();
        Self::made(START, |verifier| verifier.releasing(broker))
    }

    /// A world whose verifier tells of its own failures.
    pub fn reporting(report: impl Fn(&Refusal) + Send + Sync + 'static) -> Self {
        Self::made(START, |verifier| verifier.reporting(report))
    }

    /// From now on the registry cannot be written: where its new file would be, there is a directory.
    pub fn break_registry(&self) {
        std::fs::create_dir(self.directory.path().join("registry.json.new")).unwrap();
    }

    fn made(now: UnixMillis, change: impl FnOnce(Verifier) -> Verifier) -> Self {
        Self::made_in(TempDir::new().unwrap(), now, change)
    }

    /// The same world after its verifier was stopped, something was done to its registry's file, and it was started
    /// again.
    pub fn restarted(self, edit: impl FnOnce(&std::path::Path)) -> Self {
        let Self {
            directory, verifier, ..
        } = self;
        // The ledger's file is its verifier's alone.
        assert_eq!(Arc::strong_count(&verifier), 1);
        drop(verifier);
        edit(&directory.path().join("registry.json"));
        Self::made_in(directory, START, |verifier| verifier)
    }

    fn made_in(directory: TempDir, now: UnixMillis, change: impl FnOnce(Verifier) -> Verifier) -> Self {
        let vendor = Vendor::open_or_create(&directory.path().join("simulated"), now).unwrap();
        let key = VerifierKey::open_or_create(&directory.path().join("verifier.key")).unwrap();
        let genesis = Genesis {
            verifier: key.public(),
            rules: Rules::default(),
        };
        let ledger =
            EmbeddedLedger::open_or_create(directory.path().join("ledger.log"), genesis, now).unwrap();
        let policy = Policy::development(Measurement(WANTED.to_vec()), Default::default());
        let verifiers = verifier_set(vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
        let registry = Registry::open(&directory.path().join("registry.json")).unwrap();
        let verifier = change(Verifier::new(verifiers, policy, key, registry, ledger));
        Self {
            directory,
            vendor,
            verifier: Arc::new(verifier),
        }
    }

    /// Where the ledger ends, read from its file.
    pub fn tip(&self) -> Tip {
        EmbeddedLedger::open_read_only(self.ledger_path()).unwrap().tip()
    }

    /// The ledger's state, read from its file.
    pub fn state(&self) -> State {
        EmbeddedLedger::open_read_only(self.ledger_path())
            .unwrap()
            .state()
            .clone()
    }

    pub fn challenge(&self, node: NodeId, purpose: Purpose, now: UnixMillis) -> ChallengeTerms {
        self.verifier
            .challenge(&ChallengeRequest { node, purpose }, now)
            .unwrap()
    }

    /// The name of the error with which an evidence file is refused; nothing may be recorded.
    pub fn attest_refused(&self, file: &EvidenceFile, now: UnixMillis) -> String {
        self.attest_request_refused(&backed(file), now)
    }

    pub fn attest_request_refused(&self, request: &AttestationRequest, now: UnixMillis) -> String {
        self.refused(|| self.verifier.attest(request, now))
    }

    /// The same for a proof.
    pub fn settle_refused(&self, proof: &PerformanceProof, now: UnixMillis) -> String {
        self.refused(|| self.settle(proof, now))
    }

    /// The same for the content of a message that is to settle a proof of the node.
    pub fn settle_body_refused(&self, node: NodeId, body: &[u8], now: UnixMillis) -> String {
        let payload = [br#"{"settle":"#, body, b"}"].concat();
        self.refused(|| {
            self.verifier
                .answer_message(node, MessageType::ProofRequest, &payload, now)
        })
    }

    pub fn settle(&self, proof: &PerformanceProof, now: UnixMillis) -> Result<Settlement, Refusal> {
        self.verifier.settle(proof.clone(), now)
    }

    /// A session that a node would open, as its verifier sees it.
    pub fn session_with(&self, node: NodeId, now: UnixMillis) -> Present {
        Present {
            terms: ChallengeTerms {
                verifier: self.verifier.public_key(),
                node,
                purpose: Purpose::Runtime,
                nonce: Digest32([3; 32]),
                issued_at: now,
                expires_at: now.plus(60_000),
            },
            session: SessionBinding {
                label: SessionBinding::LABEL.to_owned(),
                role: Role::Agent,
                peer_role: Role::Verifier,
                end: End::Initiator,
                node,
                exporter: Digest32([2; 32]),
                initiator_nonce: Digest32([1; 32]),
                responder_nonce: Digest32([3; 32]),
                own_key: Digest32([5; 32]),
                peer_key: Digest32([6; 32]),
                group: 0x11ec,
            },
        }
    }

    /// The name of the error with which something is refused; nothing may be recorded.
    pub fn refused<T: std::fmt::Debug>(&self, ask: impl FnOnce() -> Result<T, Refusal>) -> String {
        let before = self.tip();
        let error = ask().unwrap_err().to_api();
        assert!(!error.detail.is_empty(), "{error:?}");
        assert_eq!(self.tip(), before, "something was recorded in spite of {error:?}");
        error.kind
    }

    /// Evidence that the TEE made of the wanted program, which bound what no honest program binds.
    pub fn evidence_of(&self, bound: &BoundUserData, challenge: Challenge) -> EvidenceFile {
        let platform = Platform::load(&self.directory.path().join("simulated")).unwrap();
        let attester = platform.into_attester(Image::production(WANTED));
        let raw = attester.attest(&challenge.bind(bound)).unwrap();
        EvidenceFile {
            evidence: Evidence {
                tee: attester.descriptor().tee,
                bytes: raw.bytes,
                user_data: Some(bound.to_bytes()),
                event_log: raw.event_log,
            },
            challenge,
            endorsements: Endorsements(vec![self.vendor.endorsement()]),
            created_at: START,
        }
    }

    fn ledger_path(&self) -> PathBuf {
        self.directory.path().join("ledger.log")
    }

    fn enclave(&self, image: [u8; 32]) -> Enclave {
        let platform = Platform::load(&self.directory.path().join("simulated")).unwrap();
        let attester = platform.into_attester(Image::production(image));
        Enclave::boot(Box::new(attester)).unwrap()
    }
}

/// A wallet, a node of it, and one boot of its enclave.
pub struct Node {
    wallet: Ed25519PrivateKey,
    label: BootId,
    enclave: Enclave,
    pub identity: Identity,
    endorsements: Endorsements,
}

impl Node {
    /// A node that the verifier knows, and that has not attested.
    pub fn registered(world: &World, seed: u8) -> Self {
        let node = Self::unknown(world, seed);
        node.register(world, START);
        node
    }

    /// A node that is registered and attested.
    pub fn attested(world: &World, seed: u8, now: UnixMillis) -> Self {
        let mut node = Self::registered(world, seed);
        node.attest(world, Purpose::Boot, now);
        node
    }

    /// A node that the verifier does not know.
    pub fn unknown(world: &World, seed: u8) -> Self {
        let node = node_id(wallet_address(&wallet(seed)), label(seed));
        Self::of(world, seed, node, WANTED)
    }

    /// The wallet of `seed` with an enclave that serves any node, running any program.
    pub fn of(world: &World, seed: u8, serves: NodeId, image: [u8; 32]) -> Self {
        let mut enclave = world.enclave(image);
        let Reply::Identity(identity) = enclave.handle(Request::Initialize { node: serves }) else {
            panic!("the enclave does not start")
        };
        Self {
            wallet: wallet(seed),
            label: label(seed),
            enclave,
            identity,
            endorsements: Endorsements(vec![world.vendor.endorsement()]),
        }
    }

    pub fn wallet(&self) -> SuiAddress {
        wallet_address(&self.wallet)
    }

    pub fn id(&self) -> NodeId {
        node_id(self.wallet(), self.label)
    }

    pub fn registration(&self, world: &World) -> (Registration, WalletSignature) {
        let registration = Registration {
            node: self.id(),
            wallet: self.wallet(),
            label: self.label,
            verifier: world.verifier.public_key(),
        };
        let signature = self.sign(&registration);
        (registration, signature)
    }

    pub fn register(&self, world: &World, now: UnixMillis) {
        let (registration, signature) = self.registration(world);
        world.verifier.register(registration, signature, now).unwrap();
    }

    /// What it presents for a session, as it should.
    pub fn present(&mut self, world: &World, present: &Present) -> PresentedEvidence {
        let request = Request::Vouch {
            terms: Box::new(present.terms.clone()),
            session: Box::new(present.session.clone()),
        };
        let Reply::Vouched(made) = self.enclave.handle(request) else {
            panic!("the enclave does not vouch for the session")
        };
        let bound = BoundUserData::from_canonical(&made.user_data).unwrap();
        let (registration, registration_signature) = self.registration(world);
        let introduction = Introduction {
            registration,
            registration_signature,
            seal_signature: self.sign(&bound),
        };
        let endorsements = self.endorsements.0.iter();
        PresentedEvidence {
            tee: self.identity.tee,
            evidence: made.evidence,
            user_data: made.user_data,
            event_log: made.event_log,
            endorsements: endorsements.map(|each| (each.kind, each.bytes.clone())).collect(),
            accompanying: introduction.encode().unwrap(),
        }
    }

    /// The same, as it comes to the verifier's judgement.
    pub fn appraise(&mut self, world: &World, now: UnixMillis) -> Appraise {
        let present = world.session_with(self.id(), now);
        Appraise {
            presented: self.present(world, &present),
            terms: present.terms,
            session: present.session,
        }
    }

    /// New keys, and the old key's word on it.
    pub fn rotate(&mut self, now: UnixMillis) -> KeyRotationNotice {
        let retired = self.identity.tee_key;
        let Reply::Rotated(rotated) = self.enclave.handle(Request::Rotate { now }) else {
            panic!("the enclave does not rotate its keys")
        };
        self.identity = rotated.identity;
        KeyRotationNotice {
            rotation: KeyRotation {
                node: self.id(),
                retired,
                successor: self.identity.tee_key,
                boot: self.identity.boot,
                at: now,
            },
            signature: rotated.signature,
        }
    }

    /// Evidence that answers a challenge as it should.
    pub fn answer(&mut self, terms: &ChallengeTerms) -> EvidenceFile {
        self.answer_as(terms.challenge(), terms.purpose)
    }

    /// Evidence for a challenge, made for any purpose.
    pub fn answer_as(&mut self, challenge: Challenge, purpose: Purpose) -> EvidenceFile {
        let request = Request::Attest { purpose, challenge };
        let Reply::Evidence(attested) = self.enclave.handle(request) else {
            panic!("the enclave makes no evidence")
        };
        EvidenceFile {
            evidence: Evidence {
                tee: self.identity.tee,
                bytes: attested.evidence,
                user_data: Some(attested.user_data),
                event_log: attested.event_log,
            },
            challenge,
            endorsements: self.endorsements.clone(),
            created_at: START,
        }
    }

    pub fn attest(&mut self, world: &World, purpose: Purpose, now: UnixMillis) -> AttestationOutcome {
        let terms = world.challenge(self.id(), purpose, now);
        let file = self.answer(&terms);
        let outcome = world.verifier.attest(&backed(&file), now).unwrap();
        assert_eq!(outcome.verdict, AppraisalVerdict::Accepted, "{outcome:?}");
        outcome
    }

    /// The proof of the window that starts at `start`, with a sample in each slot, in two batches.
    pub fn prove(&mut self, start: UnixMillis) -> PerformanceProof {
        let slots = WINDOW / INTERVAL;
        let batches = [0..slots - 1, slots - 1..slots].map(|slots| self.batch(start, slots));
        let request = Request::CloseWindow {
            start,
            end: start.plus(WINDOW),
            interval_millis: INTERVAL,
            now: start.plus(WINDOW),
            validity_millis: MAX_VALIDITY_MILLIS,
        };
        let Reply::Window(signed) = self.enclave.handle(request) else {
            panic!("the enclave refuses a window")
        };
        let seal = self.sign(&signed.statement);
        PerformanceProof::assemble(
            signed.statement,
            signed.merkle_proof,
            self.identity.tee_key,
            signed.tee_signature,
            seal,
            batches.to_vec(),
        )
    }

    /// The samples of some slots of the window that starts at `start`, signed.
    fn batch(&mut self, start: UnixMillis, slots: Range<u64>) -> SignedBatch {
        let samples: Vec<Sample> = slots
            .map(|slot| {
                let metrics = Metrics {
                    cpu_usage_bp: 100,
                    memory_usage_bp: 200,
                    process_count: 7,
                    ..Metrics::default()
                };
                let at = start.plus(slot * INTERVAL);
                let measurement = Box::new(nautilus_proof::Measurement {
                    response_time_micros: Some(900),
                    gaps: vec![Gap {
                        collector: CollectorKind::Container,
                        reason: GapReason::Failed,
                    }],
                    ..nautilus_proof::Measurement::of_system(at, metrics)
                });
                match self.enclave.handle(Request::Sample { measurement }) {
                    Reply::Sample(sample) => *sample,
                    other => panic!("the enclave refuses a sample: {other:?}"),
                }
            })
            .collect();
        match self.enclave.handle(Request::SignBatch) {
            Reply::Batch(signed) => SignedBatch {
                samples,
                signature: signed.signature,
            },
            other => panic!("the enclave signs no batch: {other:?}"),
        }
    }

    /// Hands the enclave a secret; gives what it says.
    pub fn take(&mut self, name: &str, sealed: Vec<u8>) -> Reply {
        let name = name.to_owned();
        self.enclave.handle(Request::Provision { name, sealed })
    }

    /// The wallet's signature.
    pub fn sign(&self, message: &impl SignedMessage) -> WalletSignature {
        sign_with(&self.wallet, message)
    }
}

/// A request that the wallet of the node which the evidence names stands behind. Where the user data was spoilt
/// there is no such node and no signature.
pub fn backed(file: &EvidenceFile) -> AttestationRequest {
    let bound = file
        .evidence
        .user_data
        .as_deref()
        .and_then(BoundUserData::from_canonical);
    let owner =
        |node| (0..=u8::MAX).find(|seed| node_id(wallet_address(&wallet(*seed)), label(*seed)) == node);
    let seal_signature = match &bound {
        Some(bound) => sign_with(&wallet(owner(bound.node).unwrap_or(1)), bound),
        None => WalletSignature {
            key: WalletKey::Ed25519(PublicKey([1; 32])),
            signature: Signature([0; 64]),
        },
    };
    AttestationRequest {
        evidence: file.clone(),
        seal_signature,
    }
}

fn sign_with(wallet: &Ed25519PrivateKey, message: &impl SignedMessage) -> WalletSignature {
    let signature: sui_sdk_types::Ed25519Signature = wallet.sign(&personal_message_digest(message));
    WalletSignature {
        key: WalletKey::Ed25519(PublicKey(wallet.public_key().into_inner())),
        signature: Signature(signature.into_inner()),
    }
}

fn wallet(seed: u8) -> Ed25519PrivateKey {
    Ed25519PrivateKey::new([seed; 32])
}

fn label(seed: u8) -> BootId {
    BootId([seed; 16])
}

fn wallet_address(wallet: &Ed25519PrivateKey) -> SuiAddress {
    WalletKey::Ed25519(PublicKey(wallet.public_key().into_inner())).address()
}
