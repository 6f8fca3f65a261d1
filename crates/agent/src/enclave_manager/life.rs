//! One life of an enclave: from the start of its process to its end.

use std::sync::Arc;

use nautilus_core::{NodeId, SignedMessage as _, UnixMillis};
use nautilus_enclave::{EnclaveFault, Identity, Reply, Request, RetiredKey, Rotated};
use nautilus_proof::KeyRotation;
use tokio::task::spawn_blocking;

use super::entry::Running;
use super::launch::Expected;
use super::link::{Connection, EnclaveLink, HEARTBEAT};
use super::{EnclaveStatus, Entry, Launch, ManagerError};
use crate::enclave_process::{EnclaveError, EnclaveProcess, image_hash};
use crate::event::RotationFacts;

/// A process that runs and serves its node. Dropping it kills the process.
pub(crate) struct Life {
    entry: Arc<Entry>,
    link: EnclaveLink,
    identity: Identity,
    connection: Option<Connection>,
}

impl Life {
    pub(super) async fn boot(launch: &Launch, entry: Arc<Entry>, node: NodeId) -> Result<Self, ManagerError> {
        let image = launch.image.clone();
        let check = Arc::clone(&launch.check);
        let checked = spawn_blocking(move || -> Result<_, ManagerError> {
            let hash = image_hash(&image)?;
            let expected = check.expect(&image, hash).map_err(ManagerError::Image)?;
            Ok((hash, expected))
        });
        let cut_short = |error: tokio::task::JoinError| ManagerError::Image(error.to_string());
        let (hash, expected) = checked.await.map_err(cut_short)??;
        let (arguments, appraiser) = (launch.arguments(entry.name()), Arc::clone(&launch.appraiser));
        let process = EnclaveProcess::start(&arguments, node, appraiser, entry.notes()).await?;
        entry.created(process.pid(), hash)?;
        let (link, connection) = EnclaveLink::start(process, HEARTBEAT);
        match Self::initialize(&entry, &link, node, expected).await {
            Ok(identity) => Ok(Self {
                entry,
                link,
                identity,
                connection: Some(connection),
            }),
            Err(error) => {
                connection.stop().await;
                entry.enter(EnclaveStatus::Error, Some(nautilus_verifier::told(&error)))?;
                Err(error)
            }
        }
    }

    async fn initialize(
        entry: &Entry,
        link: &EnclaveLink,
        node: NodeId,
        expected: Expected,
    ) -> Result<Identity, ManagerError> {
        let Reply::Identity(identity) = link.request(Request::Initialize { node }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        entry.initialized(Running {
            link: link.clone(),
            identity: identity.clone(),
            expected: Arc::new(expected),
        })?;
        Ok(identity)
    }

    /// The enclave.
    pub(crate) const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Who it is in this boot.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If the enclave refuses, or has ended or ends.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, EnclaveError> {
        self.link.request(request).await
    }

    /// Waits until the enclave ends by itself. Gives why.
    pub(crate) async fn ended(&mut self) -> Arc<str> {
        self.link.ended().await
    }

    /// Has the enclave sign nothing until [`Self::resume`].
    ///
    /// # Errors
    /// If it is in no state for it, or does not do it.
    pub(crate) async fn suspend(&self) -> Result<(), ManagerError> {
        self.entry.instance().status.enter(EnclaveStatus::Suspended)?;
        self.pause(Request::Suspend, true).await?;
        Ok(self.entry.enter(EnclaveStatus::Suspended, None)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it is not suspended, or does not do it.
    pub(crate) async fn resume(&self) -> Result<(), ManagerError> {
        let status = self.entry.instance().status;
        if status != EnclaveStatus::Suspended {
            return Err(super::IllegalTransition {
                from: status,
                to: EnclaveStatus::Running,
            }
            .into());
        }
        self.pause(Request::Resume, false).await?;
        Ok(self.entry.enter(EnclaveStatus::Running, None)?)
    }

    /// Has the enclave replace its keys, which starts a new boot without evidence. Its open window must be closed, and
    /// what it signed be settled. Gives what the old signing key signed last.
    ///
    /// # Errors
    /// [`ManagerError::NotRotated`] if it refuses, and nothing changed. After any other it must not be used again.
    pub(crate) async fn rotate(
        &mut self,
        node: NodeId,
        now: UnixMillis,
    ) -> Result<RotationFacts, ManagerError> {
        let name = self.entry.name().clone();
        self.entry.instance().status.enter(EnclaveStatus::Initialized)?;
        // What others had the old keys attest is answered before.
        let _order = self.entry.attesting.lock().await;
        let rotated = match self.link.request(Request::Rotate { now }).await {
            Ok(Reply::Rotated(rotated)) => *rotated,
            Ok(_) => return Err(EnclaveError::WrongReply.into()),
            Err(EnclaveError::Refused(EnclaveFault::Rotate(why) | EnclaveFault::State(why))) => {
                return Err(ManagerError::NotRotated { name, why });
            }
            Err(error) => return Err(error.into()),
        };
        let rotation =
            checked(node, &self.identity, &rotated, now).map_err(|what| ManagerError::BadRotation {
                name: name.clone(),
                what,
            })?;
        self.identity = rotated.identity;
        let facts = RotationFacts {
            name,
            rotation,
            signature: rotated.signature,
        };
        self.entry.rotated(self.identity.clone(), facts.clone())?;
        Ok(facts)
    }

    async fn pause(&self, request: Request, suspended: bool) -> Result<(), EnclaveError> {
        match self.request(request).await? {
            Reply::Alive(vitals) if vitals.suspended == suspended && vitals.boot == self.identity.boot => {
                Ok(())
            }
            _ => Err(EnclaveError::WrongReply),
        }
    }

    /// Ends the process in order. The state stays; it is the driver's to say what this end was.
    pub(crate) async fn stop(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.stop().await;
        }
    }
}

/// What the old signing key signed, if it signed this rotation, and the new identity says the same.
fn checked(
    node: NodeId,
    old: &Identity,
    rotated: &Rotated,
    now: UnixMillis,
) -> Result<KeyRotation, &'static str> {
    let new = &rotated.identity;
    let rotation = KeyRotation {
        node,
        retired: old.tee_key,
        successor: new.tee_key,
        boot: new.boot,
        at: now,
    };
    let retired = RetiredKey {
        tee_key: old.tee_key,
        retired_at: now,
    };
    let same_key =
        new.tee_key == old.tee_key || new.channel_key == old.channel_key || new.p256.key == old.p256.key;
    if !rotation.is_signed_by(&old.tee_key, &rotated.signature) {
        return Err("the old signing key did not sign it");
    }
    if same_key {
        return Err("a key is the old one");
    }
    if new.boot == old.boot || new.tee != old.tee {
        return Err("it is no new boot in the same TEE");
    }
    if new.state.retired.first() != Some(&retired) {
        return Err("the old key is not the one that was retired last");
    }
    Ok(rotation)
}

impl Drop for Life {
    fn drop(&mut self) {
        self.entry.disconnected();
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::{BootId, PublicKey, Signature, TeeKind};
    use nautilus_enclave::{P256Key, Rollback, StateFacts};
    use sui_crypto::Signer as _;
    use sui_crypto::ed25519::Ed25519PrivateKey;
    use sui_sdk_types::Ed25519Signature;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const NOW: UnixMillis = UnixMillis(1_000);

    fn key(seed: u8) -> Ed25519PrivateKey {
        Ed25519PrivateKey::new([seed; 32])
    }

    /// The enclave whose keys are made of a seed.
    fn identity(seed: u8, retired: Vec<RetiredKey>) -> Identity {
        Identity {
            tee: TeeKind::Simulated,
            boot: BootId([seed; 16]),
            tee_key: PublicKey(key(seed).public_key().into_inner()),
            p256: P256Key {
                key: vec![seed; 33],
                signature: Signature([seed; 64]),
            },
            channel_key: PublicKey([seed; 32]),
            state: StateFacts {
                generation: 1,
                protection: None,
                sealed_by_tee: false,
                rollback: Rollback::NotApplicable,
                keys_made_at: Some(NOW),
                retired,
                secrets: Vec::new(),
            },
        }
    }

    fn signed(rotation: &KeyRotation, seed: u8) -> Signature {
        let signature: Ed25519Signature = key(seed).sign(&rotation.to_bytes());
        Signature(signature.into_inner())
    }

    /// What an enclave with the keys of seed 1 says that took those of seed 2 and tells `change` of it.
    fn said(change: impl FnOnce(&mut Identity)) -> Result<KeyRotation, &'static str> {
        let old = identity(1, Vec::new());
        let retired = RetiredKey {
            tee_key: old.tee_key,
            retired_at: NOW,
        };
        let mut new = identity(2, vec![retired]);
        change(&mut new);
        let rotation = KeyRotation {
            node: NODE,
            retired: old.tee_key,
            successor: new.tee_key,
            boot: new.boot,
            at: NOW,
        };
        let rotated = Rotated {
            signature: signed(&rotation, 1),
            identity: new,
        };
        checked(NODE, &old, &rotated, NOW)
    }

    #[test]
    fn a_rotation_is_what_the_old_key_signed() {
        let rotation = said(|_| ()).unwrap();
        let (old, new) = (identity(1, Vec::new()), identity(2, Vec::new()));
        assert_eq!((rotation.retired, rotation.successor), (old.tee_key, new.tee_key));
        let by_the_new_key = Rotated {
            signature: signed(&rotation, 2),
            identity: new,
        };
        let unsigned = Err("the old signing key did not sign it");
        assert_eq!(checked(NODE, &old, &by_the_new_key, NOW), unsigned);
        let by_the_old_key = Rotated {
            signature: signed(&rotation, 1),
            ..by_the_new_key
        };
        assert_eq!(
            checked(NodeId([2; 32]), &old, &by_the_old_key, NOW),
            unsigned,
            "another node"
        );
        assert_eq!(
            checked(NODE, &old, &by_the_old_key, NOW.plus(1)),
            unsigned,
            "another time"
        );
    }

    #[test]
    fn a_rotation_replaces_every_key_and_starts_a_boot() {
        let old = identity(1, Vec::new());
        let same = Err("a key is the old one");
        assert_eq!(said(|new| new.tee_key = old.tee_key), same);
        assert_eq!(said(|new| new.channel_key = old.channel_key), same);
        assert_eq!(said(|new| new.p256 = old.p256.clone()), same);
        let same = Err("it is no new boot in the same TEE");
        assert_eq!(said(|new| new.boot = old.boot), same);
        assert_eq!(said(|new| new.tee = TeeKind::Sgx), same);
        let not_retired = Err("the old key is not the one that was retired last");
        assert_eq!(said(|new| new.state.retired.clear()), not_retired);
        assert_eq!(
            said(|new| new.state.retired[0].retired_at = NOW.plus(1)),
            not_retired
        );
    }
}
