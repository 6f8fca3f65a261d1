//! Keys for what the agent keeps at rest. They leave the enclave: the store is the agent's.

use std::fmt;

use nautilus_core::NodeId;
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::state::State;

/// The provisioned secret that storage keys are made from, if there is one: it outlives the machine.
pub(crate) const SECRET: &str = "metrics-store";
/// Its least length, in bytes.
pub(crate) const MIN_SECRET: usize = 32;
/// What is said of a shorter one.
pub(crate) const TOO_SHORT: &str = "`metrics-store` must have at least 32 random bytes";
const LABEL: &[u8] = b"nautilus storage";

/// The key of one epoch of the agent's store. Wiped when it is dropped; its bytes are in no text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct StorageKey([u8; 32]);

impl StorageKey {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StorageKey(..)")
    }
}

/// What a storage key is made from, and so how long the same epoch gives the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageKeyOrigin {
    /// A secret that was provisioned as `metrics-store`: as long as its owner provisions it.
    Provisioned,
    /// The sealed state: as long as that state is there.
    Sealed,
    /// This process, for its TEE seals nothing: what is written under the key is lost when the enclave ends.
    Process,
}

/// What the storage keys of `state` are made from; says why there is nothing.
pub(crate) fn root(state: &State, is_kept: bool) -> Result<(&[u8], StorageKeyOrigin), &'static str> {
    match state.secrets.iter().find(|secret| secret.name == SECRET) {
        // One from a state of before that was refused.
        Some(secret) if secret.value.len() < MIN_SECRET => Err(TOO_SHORT),
        Some(secret) => Ok((&secret.value, StorageKeyOrigin::Provisioned)),
        None if is_kept => Ok((&state.storage_root, StorageKeyOrigin::Sealed)),
        None => Ok((&state.storage_root, StorageKeyOrigin::Process)),
    }
}

/// HKDF-SHA256 (RFC 5869) without a salt: `info` is the label, the node, and the epoch in little-endian. None if it
/// cannot be derived.
pub(crate) fn key(root: &[u8], node: NodeId, epoch: u32) -> Option<StorageKey> {
    let prk = Salt::new(HKDF_SHA256, &[]).extract(root);
    let epoch = epoch.to_le_bytes();
    let info = [LABEL, node.0.as_slice(), &epoch];
    let mut key = StorageKey([0; 32]);
    prk.expand(&info, HKDF_SHA256).ok()?.fill(&mut key.0).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Secret;

    const NODE: NodeId = NodeId([7; 32]);

    #[test]
    fn the_key_is_what_hkdf_gives() {
        let key = key(&[5; 32], NODE, 0x0102_0304).unwrap();
        // By Python's `hmac` and `hashlib`.
        let expected = "72128373d3e23f358d44f9e6e8671b4a18d973fd9ea2acd4daf7b8ae602272c7";
        assert_eq!(hex::encode(key.as_bytes()), expected);
        assert_eq!(format!("{key:?}"), "StorageKey(..)");
    }

    #[test]
    fn every_root_node_and_epoch_has_a_key_of_its_own() {
        let first = key(&[5; 32], NODE, 1).unwrap();
        assert!(first == key(&[5; 32], NODE, 1).unwrap());
        for other in [
            key(&[6; 32], NODE, 1),
            key(&[5; 33], NODE, 1),
            key(&[5; 32], NodeId([8; 32]), 1),
            key(&[5; 32], NODE, 2),
        ] {
            assert!(first != other.unwrap());
        }
    }

    #[test]
    fn a_provisioned_secret_comes_before_the_state() {
        let state = State::new().unwrap();
        let (sealed, origin) = root(&state, true).unwrap();
        assert_eq!(
            (sealed, origin),
            (&state.storage_root[..], StorageKeyOrigin::Sealed)
        );
        assert_eq!(root(&state, false).unwrap().1, StorageKeyOrigin::Process);
        let with = |length| {
            let secret = Secret {
                name: SECRET.to_owned(),
                value: vec![3; length],
            };
            state.with_secret(secret).unwrap()
        };
        for (length, is_kept) in [(32, true), (33, true), (32, false)] {
            let expected = vec![3; length];
            let state = with(length);
            assert_eq!(
                root(&state, is_kept).unwrap(),
                (expected.as_slice(), StorageKeyOrigin::Provisioned)
            );
        }
        // A state of before such a secret was refused: its keys are never made from less in silence.
        assert_eq!(root(&with(31), true), Err(TOO_SHORT));
    }
}
