//! The one header that every signed or hashed message carries.
//!
//! `"NAUTILUS" ‖ version u8 ‖ kind u8 ‖ BCS(payload)`: a signature over one kind can never pass for
//! another, whatever the payloads. `docs/wire.md` lists every kind and field.

use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Digest32, PublicKey, Signature};

/// First bytes of every message.
pub const MAGIC: &[u8; 8] = b"NAUTILUS";
/// Version of the wire format.
pub const VERSION: u8 = 1;

/// What a message says. The discriminant is the kind byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Terms of a verifier's challenge; its digest goes into report data.
    Challenge = 1,
    /// What evidence binds besides the challenge.
    UserData = 2,
    /// The canonical identity of evidence.
    Evidence = 3,
    /// A node's registration, signed by its wallet.
    Registration = 4,
    /// One metric sample, signed in the enclave.
    Sample = 5,
    /// One window of samples: a leaf of the boot's window log.
    Window = 6,
    /// A performance proof, signed in the enclave and by the wallet.
    Proof = 7,
    /// A verifier's record of an accepted appraisal.
    AppraisalRecord = 8,
    /// A wallet's claim of its rewards.
    Claim = 9,
    /// One entry of the ledger's log.
    LedgerEntry = 10,
    /// The ledger's whole state.
    LedgerState = 11,
    /// The facts a node id is derived from.
    NodeName = 12,
    /// A policy's canonical form.
    Policy = 13,
    /// A key over another curve that belongs to the holder of an enclave's signing key.
    EnclaveKey = 14,
    /// An enclave's new signing key, named by its old one.
    KeyRotation = 15,
    /// An attestation response, signed in the enclave.
    AttestationResponse = 16,
    /// One end's statement of a session of the attested channel.
    Session = 17,
    /// A run of samples, signed in the enclave.
    SampleBatch = 18,
    /// What a sample's collectors measured, by series.
    Readings = 19,
}

/// A message that is hashed or signed: its bytes are made here and nowhere else.
pub trait SignedMessage: Serialize {
    /// The kind byte in the header.
    const KIND: Kind;

    /// The canonical bytes: header and BCS payload.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, Self::KIND as u8]);
        #[expect(
            clippy::expect_used,
            reason = "BCS fails only on floats, unsized sequences and depth over 500, which no message type has"
        )]
        bcs::serialize_into(&mut bytes, self).expect("message types are BCS-encodable");
        bytes
    }

    /// SHA-256 of the canonical bytes.
    fn digest(&self) -> Digest32 {
        Digest32(Sha256::digest(self.to_bytes()).into())
    }

    /// Whether `signature` is `key`'s over this message.
    fn is_signed_by(&self, key: &PublicKey, signature: &Signature) -> bool {
        verify_ed25519(key, &self.to_bytes(), signature)
    }
}

/// Strict Ed25519 verification: canonical S, no small-order keys (RFC 8032 §5.1.7, cofactorless).
pub fn verify_ed25519(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}
