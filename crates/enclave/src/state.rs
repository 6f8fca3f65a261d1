//! What an enclave keeps from one start to the next: its keys, whose node it is, and what was entrusted to it.

mod store;

use std::io;

use nautilus_core::{NodeId, UnixMillis};
use nautilus_sys::memory;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys;
use crate::protocol::RetiredKey;

pub use store::StateError;
pub(crate) use store::{Store, directory_of};

/// The version of the layout below.
const VERSION: u32 = 2;
/// The layout of [`FirstState`].
const FIRST_VERSION: u32 = 1;
/// Retired keys that are remembered: a rotation a day for two months. What they signed is long settled.
const MAX_RETIRED: usize = 64;
/// Secrets that are kept.
pub(crate) const MAX_SECRETS: usize = 16;
/// Longest name of a secret, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// Longest secret, in bytes.
pub(crate) const MAX_SECRET: usize = 4096;

/// The state. At rest it is canonical BCS, sealed; in memory it is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct State {
    version: u32,
    /// The platform's counter when this was the newest state; 0 where there is none.
    counter: u64,
    /// Starts with this state.
    pub(crate) generation: u64,
    /// The node that it serves; bound once, for good.
    #[zeroize(skip)]
    pub(crate) node: Option<NodeId>,
    /// Seed of the Ed25519 key that signs (RFC 8032 private key).
    pub(crate) signing: [u8; 32],
    /// The P-256 key in PKCS#8.
    pub(crate) p256: Vec<u8>,
    /// The X25519 private key (RFC 7748).
    pub(crate) channel: [u8; 32],
    /// When these keys were made, by the host's clock.
    #[zeroize(skip)]
    pub(crate) keys_made_at: Option<UnixMillis>,
    /// Keys that signed before, newest first.
    #[zeroize(skip)]
    pub(crate) retired: Vec<RetiredKey>,
    /// What was entrusted to it, in the order of the names.
    pub(crate) secrets: Vec<Secret>,
    /// What the keys of the agent's store are made from, where nothing was provisioned for that. Rotations keep it.
    pub(crate) storage_root: [u8; 32],
}

/// Version 1: no storage root.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct FirstState {
    version: u32,
    counter: u64,
    generation: u64,
    #[zeroize(skip)]
    node: Option<NodeId>,
    signing: [u8; 32],
    p256: Vec<u8>,
    channel: [u8; 32],
    #[zeroize(skip)]
    keys_made_at: Option<UnixMillis>,
    #[zeroize(skip)]
    retired: Vec<RetiredKey>,
    secrets: Vec<Secret>,
}

/// Something that was entrusted to the enclave.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret {
    /// What it is called.
    pub(crate) name: String,
    /// What it is.
    pub(crate) value: Vec<u8>,
}

impl State {
    /// The state of an enclave that never ran: new keys, no node.
    ///
    /// # Errors
    /// If there is no randomness.
    pub(crate) fn new() -> Result<Self, keys::KeyError> {
        let mut state = Self {
            version: VERSION,
            counter: 0,
            generation: 1,
            node: None,
            signing: [0; 32],
            p256: Vec::new(),
            channel: [0; 32],
            keys_made_at: None,
            retired: Vec::new(),
            secrets: Vec::new(),
            storage_root: [0; 32],
        };
        state.make_keys()?;
        getrandom::fill(&mut state.storage_root)?;
        Ok(state)
    }

    /// The same with new keys in the place of `retired`, which is remembered as having signed.
    ///
    /// # Errors
    /// If there is no randomness.
    pub(crate) fn rotated(&self, retired: RetiredKey) -> Result<Self, keys::KeyError> {
        let mut next = self.clone();
        next.make_keys()?;
        next.keys_made_at = Some(retired.retired_at);
        next.retired.insert(0, retired);
        next.retired.truncate(MAX_RETIRED);
        Ok(next)
    }

    /// The same with a secret, which takes the place of one with its name; none if there are too many.
    pub(crate) fn with_secret(&self, secret: Secret) -> Option<Self> {
        let mut next = self.clone();
        match next.secrets.binary_search_by(|kept| kept.name.cmp(&secret.name)) {
            Ok(at) => *next.secrets.get_mut(at)? = secret,
            Err(_) if next.secrets.len() >= MAX_SECRETS => return None,
            Err(at) => next.secrets.insert(at, secret),
        }
        Some(next)
    }

    fn make_keys(&mut self) -> Result<(), keys::KeyError> {
        getrandom::fill(&mut self.signing)?;
        getrandom::fill(&mut self.channel)?;
        self.p256 = keys::new_p256()?;
        Ok(())
    }

    /// Keeps it from being swapped out.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn lock(&self) -> io::Result<()> {
        memory::lock(self)?;
        memory::lock(self.p256.as_slice())?;
        self.secrets
            .iter()
            .try_for_each(|secret| memory::lock(secret.value.as_slice()))
    }

    /// The bytes to seal.
    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, bcs::Error> {
        canonical(self)
    }

    /// Reads what was sealed; says what is wrong with anything but the exact encoding of a state that can be. A state of
    /// the first version gets a new storage root, which is at rest with the next write.
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        // The version comes first, so that a later layout is told from a damaged one.
        let state = match bytes.first_chunk().copied().map(u32::from_le_bytes) {
            Some(VERSION) => read(bytes)?,
            Some(FIRST_VERSION) => read::<FirstState>(bytes)?
                .with_storage_root()
                .map_err(|error| error.to_string())?,
            _ => return Err("it has a layout that this program does not know".to_owned()),
        };
        let named = state
            .secrets
            .is_sorted_by(|one, next| one.name < next.name && one.value.len() <= MAX_SECRET);
        if !named || state.secrets.len() > MAX_SECRETS || state.retired.len() > MAX_RETIRED {
            return Err("it holds more than a state may, or in another order".to_owned());
        }
        Ok(state)
    }
}

impl FirstState {
    fn with_storage_root(mut self) -> Result<State, keys::KeyError> {
        let mut state = State {
            version: VERSION,
            counter: self.counter,
            generation: self.generation,
            node: self.node,
            signing: self.signing,
            p256: std::mem::take(&mut self.p256),
            channel: self.channel,
            keys_made_at: self.keys_made_at,
            retired: std::mem::take(&mut self.retired),
            secrets: std::mem::take(&mut self.secrets),
            storage_root: [0; 32],
        };
        getrandom::fill(&mut state.storage_root)?;
        Ok(state)
    }
}

fn canonical(state: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, bcs::Error> {
    // All room from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bcs::serialized_size(state)?));
    bcs::serialize_into(&mut *bytes, state)?;
    Ok(bytes)
}

/// Reads one layout from its exact encoding.
fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let state: T = bcs::from_bytes(bytes).map_err(|error| error.to_string())?;
    if canonical(&state).map_err(|error| error.to_string())?.as_slice() != bytes {
        return Err("it is not in its canonical form".to_owned());
    }
    Ok(state)
}

#[cfg(test)]
mod tests;
