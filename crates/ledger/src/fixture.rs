//! Nodes and a verifier that really sign, for the tests.

use ed25519_dalek::{Signer, SigningKey};
use nautilus_core::{
    Assurance, BootId, Digest32, EvidenceId, NodeId, PolicyId, PublicKey, Signature, SignedMessage,
    SuiAddress, TeeKind, UnixMillis,
};
use nautilus_proof::merkle::{Frontier, leaf_hash};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::{WalletKey, WalletSignature};
use nautilus_proof::{
    Measurement, Metrics, PerformanceProof, ProofStatement, ProofSubmission, Registration, SampleChain,
    SignedBatch, Window, covered_slots, slots,
};
use sui_crypto::SuiSigner;
use sui_crypto::ed25519::Ed25519PrivateKey;
use sui_sdk_types::PersonalMessage;

use crate::{AppraisalRecord, ClaimRequest, Genesis, Rules, Transaction};

/// When the tests' ledgers start.
pub const START: UnixMillis = UnixMillis(1_800_000_000_000);
/// Time between samples, in milliseconds.
pub const INTERVAL: u64 = 2_000;
/// Length of a window, in milliseconds.
pub const WINDOW: u64 = 10_000;

pub fn verifier() -> SigningKey {
    SigningKey::from_bytes(&[0x77; 32])
}

pub fn genesis() -> Genesis {
    Genesis {
        verifier: key_of(&verifier()),
        rules: Rules::default(),
    }
}

fn key_of(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub fn sign(key: &SigningKey, message: &impl SignedMessage) -> Signature {
    Signature(key.sign(&message.to_bytes()).to_bytes())
}

/// A wallet, and one node of it with one boot.
pub struct TestNode {
    wallet: Ed25519PrivateKey,
    tee: SigningKey,
    pub label: BootId,
    pub boot: BootId,
    pub evidence: EvidenceId,
    chain: SampleChain,
    log: Frontier,
}

impl TestNode {
    pub fn new(seed: u8) -> Self {
        Self::of_wallet(seed, seed)
    }

    pub fn of_wallet(wallet: u8, seed: u8) -> Self {
        let wallet = Ed25519PrivateKey::new([wallet; 32]);
        let label = BootId([seed; 16]);
        let boot = BootId([seed ^ 0x40; 16]);
        let address = WalletKey::Ed25519(PublicKey(wallet.public_key().into_inner())).address();
        Self {
            wallet,
            tee: SigningKey::from_bytes(&[seed ^ 0x80; 32]),
            label,
            boot,
            evidence: EvidenceId([seed; 32]),
            chain: SampleChain::of_boot(node_id(address, label), boot),
            log: Frontier::default(),
        }
    }

    /// The same node after its enclave was started anew.
    pub fn rebooted(seed: u8) -> Self {
        let first = Self::new(seed);
        let boot = BootId([seed ^ 0x20; 16]);
        Self {
            chain: SampleChain::of_boot(first.id(), boot),
            tee: SigningKey::from_bytes(&[seed ^ 0x81; 32]),
            evidence: EvidenceId([seed ^ 1; 32]),
            boot,
            ..first
        }
    }

    pub fn wallet(&self) -> SuiAddress {
        WalletKey::Ed25519(PublicKey(self.wallet.public_key().into_inner())).address()
    }

    pub fn id(&self) -> NodeId {
        node_id(self.wallet(), self.label)
    }

    pub fn tee_key(&self) -> PublicKey {
        key_of(&self.tee)
    }

    pub fn wallet_sign(&self, message: &impl SignedMessage) -> WalletSignature {
        let signature = self
            .wallet
            .sign_personal_message(&PersonalMessage(message.to_bytes().into()))
            .unwrap();
        WalletSignature::from_base64(&signature.to_base64()).unwrap()
    }

    pub fn registration(&self) -> Registration {
        let verifier = genesis().verifier;
        Registration {
            node: self.id(),
            wallet: self.wallet(),
            label: self.label,
            verifier,
        }
    }

    pub fn register(&self) -> Transaction {
        let registration = self.registration();
        Transaction::RegisterNode {
            signature: self.wallet_sign(&registration),
            registration,
        }
    }

    /// An appraisal of this boot, good for a day.
    pub fn record(&self, at: UnixMillis) -> AppraisalRecord {
        AppraisalRecord {
            node: self.id(),
            tee: TeeKind::Simulated,
            assurance: Assurance::Simulated,
            evidence: self.evidence,
            tee_key: self.tee_key(),
            boot: self.boot,
            policy: PolicyId([3; 32]),
            appraised_at: at,
            expires_at: at.plus(24 * 60 * 60 * 1000),
        }
    }

    pub fn appraise(&self, at: UnixMillis) -> Transaction {
        appraisal(self.record(at))
    }

    /// The window of one sample an interval that starts at `start`. It is not in the log yet.
    pub fn window(&mut self, start: UnixMillis) -> (Window, SignedBatch) {
        let end = start.plus(WINDOW);
        let mut samples = Vec::new();
        self.chain.start_window();
        for slot in 0..WINDOW / INTERVAL {
            let metrics = Metrics {
                cpu_usage_bp: 100,
                ..Metrics::default()
            };
            let at = start.plus(slot * INTERVAL);
            let sample = self.chain.draft(Measurement {
                monotonic_millis: at.0,
                ..Measurement::of_system(at, metrics)
            });
            self.chain.push(&sample).unwrap();
            samples.push(sample);
        }
        let batch = SignedBatch {
            signature: sign(&self.tee, &self.chain.take_batch().unwrap()),
            samples,
        };
        let window = Window {
            node: self.id(),
            tee: TeeKind::Simulated,
            assurance: Assurance::Simulated,
            boot: self.boot,
            sequence: self.log.size(),
            start,
            end,
            interval_millis: INTERVAL,
            slots: slots(WINDOW, INTERVAL).unwrap(),
            covered: covered_slots(start, end, INTERVAL, self.chain.times()).unwrap(),
            samples: u32::try_from(batch.samples.len()).unwrap(),
            metrics_hash: self.chain.metrics_hash(),
            attestation_hash: self.evidence,
            summary: self.chain.summary(),
        };
        (window, batch)
    }

    /// The statement that adds `window` to the log, and its path.
    pub fn statement(&self, window: &Window) -> (ProofStatement, Vec<Digest32>) {
        let mut log = self.log.clone();
        log.append(leaf_hash(&window.to_bytes()));
        let statement = ProofStatement {
            window: window.clone(),
            merkle_root: log.root(),
            issued_at: window.end,
            expires_at: window.end.plus(60 * 60 * 1000),
        };
        (statement, self.log.next_path())
    }

    /// What enclave and wallet sign for a statement, whatever it says.
    pub fn submission(&self, (statement, merkle_proof): (ProofStatement, Vec<Digest32>)) -> ProofSubmission {
        ProofSubmission {
            merkle_proof,
            tee_signature: sign(&self.tee, &statement),
            wallet_signature: self.wallet_sign(&statement),
            statement,
        }
    }

    /// Takes a window into the log.
    pub fn keep(&mut self, window: &Window) {
        self.log.append(leaf_hash(&window.to_bytes()));
    }

    /// The submission of the next window, which enters the log.
    pub fn settle(&mut self, start: UnixMillis) -> ProofSubmission {
        let (window, _) = self.window(start);
        let submission = self.submission(self.statement(&window));
        self.keep(&window);
        submission
    }

    /// The whole proof of the next window, which enters the log.
    pub fn proof(&mut self, start: UnixMillis) -> PerformanceProof {
        let (window, batch) = self.window(start);
        let ProofSubmission {
            statement,
            merkle_proof,
            tee_signature,
            wallet_signature,
        } = self.submission(self.statement(&window));
        self.keep(&window);
        PerformanceProof::assemble(
            statement,
            merkle_proof,
            self.tee_key(),
            tee_signature,
            wallet_signature,
            vec![batch],
        )
    }

    pub fn claim_request(&self, amount: u64, nonce: u64) -> ClaimRequest {
        ClaimRequest {
            wallet: self.wallet(),
            amount,
            nonce,
            verifier: genesis().verifier,
        }
    }

    pub fn claim(&self, amount: u64, nonce: u64) -> Transaction {
        let claim = self.claim_request(amount, nonce);
        Transaction::Claim {
            signature: self.wallet_sign(&claim),
            claim,
        }
    }
}

/// A record with the verifier's signature.
pub fn appraisal(record: AppraisalRecord) -> Transaction {
    Transaction::RecordAppraisal {
        signature: sign(&verifier(), &record),
        record,
    }
}

pub fn submit(submission: ProofSubmission) -> Transaction {
    Transaction::SubmitProof {
        submission: Box::new(submission),
    }
}
