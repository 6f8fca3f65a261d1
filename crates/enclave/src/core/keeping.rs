//! What changes the state: it is at rest before the enclave answers.

use nautilus_core::{Digest32, UnixMillis};
use nautilus_proof::KeyRotation;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Enclave, Memory, Node, new_boot};
use crate::hpke;
use crate::keys::Keys;
use crate::protocol::{EnclaveFault, Reply, RetiredKey, Rotated};
use crate::state::{MAX_NAME, MAX_SECRET, MAX_SECRETS, Secret, State};
use crate::storage;

impl Enclave {
    /// Replaces the keys, which makes a new boot of it. The old signing key names the new one and is gone.
    pub(super) fn rotate(&mut self, now: UnixMillis) -> Result<Reply, EnclaveFault> {
        let refused = |what: String| EnclaveFault::Rotate(what);
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?;
        let id = node.id;
        node.batch_signed()?;
        if node.chain.window_len() > 0 {
            return Err(refused("the open window has samples: close it first".to_owned()));
        }
        let boot = new_boot().map_err(|error| refused(error.to_string()))?;
        let retired = RetiredKey {
            tee_key: self.keys.tee_key(),
            retired_at: now,
        };
        let next = self
            .state
            .rotated(retired)
            .map_err(|error| refused(error.to_string()))?;
        let keys = Keys::of(&next).map_err(|error| refused(error.to_string()))?;
        self.keep(Box::new(next))?;
        let old = std::mem::replace(&mut *self.keys, keys);
        self.boot = boot;
        self.node = Some(Node::of_boot(id, boot));
        let signature = old.sign(&KeyRotation {
            node: id,
            retired: retired.tee_key,
            successor: self.keys.tee_key(),
            boot,
            at: now,
        });
        Ok(Reply::Rotated(Box::new(Rotated {
            identity: self.identity(id),
            signature,
        })))
    }

    /// Takes a secret that was encrypted to the channel key for this node under this name.
    pub(super) fn provision(&mut self, name: String, sealed: &[u8]) -> Result<Reply, EnclaveFault> {
        let refused = |what: String| EnclaveFault::Provision(what);
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?;
        let proper = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(proper) {
            return Err(refused(format!(
                "its name has 1 to {MAX_NAME} of a-z, 0-9, dot, underscore and dash"
            )));
        }
        if sealed.len() > MAX_SECRET.saturating_add(hpke::OVERHEAD) {
            return Err(refused(format!("it has more than {MAX_SECRET} bytes")));
        }
        let info = hpke::provision_info(node.id, &name);
        let mut value: Zeroizing<Vec<u8>> =
            hpke::open(self.keys.channel(), &info, sealed).ok_or_else(|| {
                refused(
                    "it was not encrypted to this enclave's channel key, for this node and name".to_owned(),
                )
            })?;
        if name == storage::SECRET && value.len() < storage::MIN_SECRET {
            return Err(refused(storage::TOO_SHORT.to_owned()));
        }
        let secret = Secret {
            name,
            value: std::mem::take(&mut *value),
        };
        let next = self
            .state
            .with_secret(secret)
            .ok_or_else(|| refused(format!("there are {MAX_SECRETS} already")))?;
        self.keep(Box::new(next))?;
        // Of the sealed bytes: a digest of the secret itself would let the agent try guesses against it.
        let sealed = Digest32(Sha256::digest(sealed).into());
        Ok(Reply::Provisioned { sealed })
    }

    /// Notes when the keys were made, as soon as the host told the time.
    pub(super) fn date_keys(&mut self, now: UnixMillis) -> Result<(), EnclaveFault> {
        if self.state.keys_made_at.is_some() {
            return Ok(());
        }
        let mut next = self.state.clone();
        next.keys_made_at = Some(now);
        self.keep(next)
    }

    /// Makes `next` the state, at rest first.
    pub(super) fn keep(&mut self, mut next: Box<State>) -> Result<(), EnclaveFault> {
        if self.memory == Memory::Locked {
            next.lock()
                .map_err(|error| EnclaveFault::State(format!("its memory cannot be locked: {error}")))?;
        }
        if let Some(store) = &self.store {
            store.write(&mut next).map_err(|error| {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                EnclaveFault::State(format!("{error}{}", cause.unwrap_or_default()))
            })?;
        }
        self.state = next;
        Ok(())
    }
}
