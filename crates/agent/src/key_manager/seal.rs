//! The specification's Seal fallback: where there is no TEE, the node's wallet signs what was measured. It says who
//! claims the numbers, and nothing about the machine: no ledger pays for it.

use nautilus_core::{BootId, Digest32, SignedMessage as _};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{Measurement, Sample};
use serde::Serialize;

use crate::identity::NodeIdentity;

/// A sample that the wallet signed. Its boot is all zeros, for there is none.
#[derive(Clone, Debug, Serialize)]
pub struct SealSample {
    /// What was measured.
    pub sample: Sample,
    /// The wallet's signature over the sample as a Sui personal message.
    pub seal_signature: WalletSignature,
}

impl SealSample {
    /// Whether it is what the wallet of its node signed.
    pub fn is_of(&self, identity: &NodeIdentity) -> bool {
        self.sample.node == identity.node() && self.seal_signature.is_of(identity.wallet(), &self.sample)
    }
}

/// Numbers, chains and signs samples in the place of an enclave, as long as this lives.
pub struct SealSigner<'a> {
    identity: &'a NodeIdentity,
    sequence: u64,
    previous: Digest32,
}

impl<'a> SealSigner<'a> {
    /// A signer that starts at sequence 0.
    pub const fn new(identity: &'a NodeIdentity) -> Self {
        Self {
            identity,
            sequence: 0,
            previous: Digest32([0; 32]),
        }
    }

    /// Signs the next sample.
    pub fn sign(&mut self, measurement: Measurement) -> SealSample {
        let sample = Sample {
            node: self.identity.node(),
            boot: BootId([0; 16]),
            sequence: self.sequence,
            previous: self.previous,
            measurement,
        };
        self.sequence = self.sequence.saturating_add(1);
        self.previous = sample.digest();
        SealSample {
            seal_signature: self.identity.sign(&sample),
            sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::UnixMillis;
    use nautilus_proof::Metrics;

    use super::*;
    use crate::wallet::Wallet;

    #[test]
    fn the_wallet_signs_a_chain_of_samples_that_no_other_wallet_signed() {
        let directory = tempfile::tempdir().unwrap();
        let identity = NodeIdentity::import(directory.path(), &Wallet::from_seed(&[1; 32])).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = NodeIdentity::import(elsewhere.path(), &Wallet::from_seed(&[2; 32])).unwrap();
        let mut signer = SealSigner::new(&identity);
        let measured = |at| Measurement::of_system(UnixMillis(at), Metrics::default());
        let [first, second] = [10, 20].map(|at| signer.sign(measured(at)));
        assert_eq!((first.sample.sequence, second.sample.sequence), (0, 1));
        assert_eq!(second.sample.previous, first.sample.digest());
        assert!(first.is_of(&identity) && second.is_of(&identity));
        assert!(!first.is_of(&other));
        let mut changed = second.clone();
        changed.sample.measurement.missed = 7;
        assert!(!changed.is_of(&identity));
    }
}
