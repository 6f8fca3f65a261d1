//! What a verifier remembers of nodes: on which platform each one runs, and which of its keys sign no more.
//!
//! The file is the operator's: it says what is registered in words, and a node that is meant to move is taken out of it
//! by hand.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nautilus_core::{Claims, NodeId, PublicKey, TeeKind, UnixMillis};
use serde::{Deserialize, Serialize};

/// Most nodes that are remembered.
const MAX_NODES: usize = 10_000;
/// Most retired keys of one node: a key a day for almost three years.
const MAX_RETIRED: usize = 1_000;
/// Most keys of one node that may retire: an agent runs 16 enclaves at most, and each has two keys while it rotates.
const MAX_ADMITTED: usize = 32;
/// Most nodes on one device. Wallets and labels cost nothing and devices do: so one machine cannot take the whole
/// registry, and there is room for a node in each of a large machine's guests.
const MAX_ON_DEVICE: usize = 16;

/// The registry, kept in a file.
pub struct Registry {
    path: PathBuf,
    nodes: Mutex<BTreeMap<NodeId, Entry>>,
}

/// What is remembered of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it runs.
    pub platform: Platform,
    /// When its evidence was first accepted.
    pub first_seen: UnixMillis,
    /// Keys of its enclaves whose evidence was accepted and that were not retired, the last few.
    pub admitted: Vec<PublicKey>,
    /// Keys of its enclave that sign no more, in the order in which they were retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<PublicKey>,
}

/// A platform, by the word of its TEE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// The kind of TEE.
    pub tee: TeeKind,
    /// The device; none where evidence names none.
    pub device: Option<Device>,
}

/// A device's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What kind of name it is, such as `intel-ppid`.
    pub scheme: String,
    /// The name, in hex where it is made of bytes.
    pub id: String,
}

/// Why there is no registry, or it cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The file cannot be read or written.
    #[error("cannot read or write registry {}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read or write it.
    #[error("{} can be read by others than its owner: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// Its path.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} holds no registry ({what}): restore it from a backup, or move it away to register every platform anew", path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is larger than it may be.
    #[error("registry {} has more than {limit} {what}: remove nodes that are gone", path.display())]
    Full {
        /// Its path.
        path: PathBuf,
        /// How much it may have.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
}

/// Why a node does not get in.
#[derive(Debug, thiserror::Error)]
pub enum NotRegistered {
    /// It runs elsewhere than it did.
    #[error(
        "node {node} is registered on platform {registered}, and this evidence is of {found}: if it was moved on \
         purpose, stop the verifier, take the node out of its registry.json, and start it again"
    )]
    PlatformChanged {
        /// The node.
        node: NodeId,
        /// Where it runs by the registry.
        registered: Box<Platform>,
        /// Where the evidence was made.
        found: Box<Platform>,
    },
    /// Its key was retired.
    #[error(
        "key {key} of node {node} was retired by a rotation: an old copy of the enclave's state is running"
    )]
    KeyRetired {
        /// The node.
        node: NodeId,
        /// The key.
        key: PublicKey,
    },
    /// As many nodes as may be are registered on its platform.
    #[error(
        "platform {platform} has {MAX_ON_DEVICE} registered nodes, and no more may run there: if some are gone for \
         good, stop the verifier, take them out of its registry.json, and start it again"
    )]
    PlatformFull {
        /// The platform.
        platform: Box<Platform>,
    },
    /// The key that is to retire vouched for nothing here.
    #[error("key {key} of node {node} was never admitted here, or long ago: there is nothing to retire")]
    KeyNotAdmitted {
        /// The node.
        node: NodeId,
        /// The key.
        key: PublicKey,
    },
    /// Nothing is remembered of it.
    #[error("node {node} has no platform in the registry: its evidence has to be accepted first")]
    Unknown {
        /// The node.
        node: NodeId,
    },
    /// The registry cannot be kept.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

impl Platform {
    /// The platform that verified claims name.
    pub fn of(claims: &Claims) -> Self {
        let device = &claims.device;
        // A Nitro module is an instance and one enclave's run on it; only the instance lasts.
        let id = match claims.tee {
            TeeKind::Nitro => device.id.split("-enc").next().unwrap_or_default(),
            _ => device.id.as_str(),
        };
        // Zeros stand for a name that the platform's owner hides.
        let named = id.bytes().any(|digit| digit != b'0');
        Self {
            tee: claims.tee,
            device: named.then(|| Device {
                scheme: device.scheme.to_owned(),
                id: id.to_owned(),
            }),
        }
    }

    /// Whether a node that is registered here may come from there. A name that was missing may come to light; one that
    /// is known may not go missing.
    fn admits(&self, found: &Self) -> bool {
        self.tee == found.tee && (self.device.is_none() || self.device == found.device)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(formatter, "{} {} {}", self.tee, device.scheme, device.id),
            None => write!(formatter, "{} unnamed", self.tee),
        }
    }
}

impl Registry {
    /// The registry kept at `path`; an empty one where there is no such file.
    ///
    /// # Errors
    /// If it cannot be read, others can read it, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let nodes = file::read(path)?;
        Ok(Self {
            path: path.to_owned(),
            nodes: Mutex::new(nodes),
        })
    }

    /// What is remembered of a node.
    pub fn entry(&self, node: NodeId) -> Option<Entry> {
        self.lock().get(&node).cloned()
    }

    /// All nodes, in the order of their ids.
    pub fn entries(&self) -> Vec<(NodeId, Entry)> {
        let nodes = self.lock();
        nodes.iter().map(|(node, entry)| (*node, entry.clone())).collect()
    }

    /// Whether the node may run on this platform with this key, and has a place in the registry or can get one. Changes
    /// nothing.
    ///
    /// # Errors
    /// If it is registered elsewhere, the key was retired, or there is no place for another node, in all or on that
    /// platform.
    pub fn check(&self, node: NodeId, platform: &Platform, key: &PublicKey) -> Result<(), NotRegistered> {
        self.check_among(&self.lock(), node, platform, key)
    }

    /// Registers platform and key of a node whose evidence was accepted, if they are not; durable when it returns.
    ///
    /// # Errors
    /// As [`Self::check`]; and if the registry cannot be kept. Nothing is changed then.
    pub fn admit(
        &self,
        node: NodeId,
        platform: &Platform,
        key: &PublicKey,
        now: UnixMillis,
    ) -> Result<(), NotRegistered> {
        let mut nodes = self.lock();
        self.check_among(&nodes, node, platform, key)?;
        let entry = match nodes.get_mut(&node) {
            Some(entry) => {
                let comes_to_light = platform.device.is_some() && entry.platform != *platform;
                if entry.renew(key) && !comes_to_light {
                    return Ok(());
                }
                let mut entry = entry.clone();
                if comes_to_light {
                    entry.platform = platform.clone();
                }
                entry.admit(*key);
                entry
            }
            None => Entry {
                platform: platform.clone(),
                first_seen: now,
                admitted: vec![*key],
                retired: Vec::new(),
            },
        };
        self.change(&mut nodes, node, entry)
    }

    /// Notes that an admitted key signs no more; durable when it returns. Noting it again changes nothing. Any other key
    /// is refused: keys that anybody can make would take the places of those that count.
    ///
    /// # Errors
    /// If the node is not registered, the key was not admitted, or the registry cannot be kept. Nothing is changed then.
    pub fn retire(&self, node: NodeId, key: PublicKey) -> Result<(), NotRegistered> {
        let mut nodes = self.lock();
        let entry = nodes.get(&node).ok_or(NotRegistered::Unknown { node })?;
        if entry.retired.contains(&key) {
            return Ok(());
        }
        if !entry.admitted.contains(&key) {
            return Err(NotRegistered::KeyNotAdmitted { node, key });
        }
        if entry.retired.len() >= MAX_RETIRED {
            return Err(self.full(MAX_RETIRED as u64, "retired keys of one node").into());
        }
        let mut entry = entry.clone();
        entry.admitted.retain(|admitted| *admitted != key);
        entry.retired.push(key);
        self.change(&mut nodes, node, entry)
    }

    fn check_among(
        &self,
        nodes: &BTreeMap<NodeId, Entry>,
        node: NodeId,
        platform: &Platform,
        key: &PublicKey,
    ) -> Result<(), NotRegistered> {
        let known = nodes.get(&node);
        match known {
            Some(entry) => entry.check(node, platform, key)?,
            None if nodes.len() >= MAX_NODES => return Err(self.full(MAX_NODES as u64, "nodes").into()),
            None => {}
        }
        let is_there = |entry: &Entry| entry.platform.device == platform.device;
        if platform.device.is_none() || known.is_some_and(is_there) {
            return Ok(());
        }
        if nodes.values().filter(|entry| is_there(entry)).count() >= MAX_ON_DEVICE {
            return Err(NotRegistered::PlatformFull {
                platform: Box::new(platform.clone()),
            });
        }
        Ok(())
    }

    /// The file first: what is relied upon has to be there after a power cut.
    fn change(
        &self,
        nodes: &mut BTreeMap<NodeId, Entry>,
        node: NodeId,
        entry: Entry,
    ) -> Result<(), NotRegistered> {
        let before = nodes.insert(node, entry);
        if let Err(error) = file::write(&self.path, nodes) {
            match before {
                Some(entry) => nodes.insert(node, entry),
                None => nodes.remove(&node),
            };
            return Err(error.into());
        }
        Ok(())
    }

    fn full(&self, limit: u64, what: &'static str) -> RegistryError {
        RegistryError::Full {
            path: self.path.clone(),
            limit,
            what,
        }
    }

    /// What is changed is changed back before anything can panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Entry>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn check(&self, node: NodeId, platform: &Platform, key: &PublicKey) -> Result<(), NotRegistered> {
        if self.retired.contains(key) {
            return Err(NotRegistered::KeyRetired { node, key: *key });
        }
        if !self.platform.admits(platform) {
            return Err(NotRegistered::PlatformChanged {
                node,
                registered: Box::new(self.platform.clone()),
                found: Box::new(platform.clone()),
            });
        }
        Ok(())
    }

    /// Notes that an admitted key is in use: the one that is not in use for longest is forgotten first. Gives whether it
    /// is admitted. The order alone is not worth writing the file.
    fn renew(&mut self, key: &PublicKey) -> bool {
        let Some(at) = self.admitted.iter().position(|admitted| admitted == key) else {
            return false;
        };
        let key = self.admitted.remove(at);
        self.admitted.push(key);
        true
    }

    fn admit(&mut self, key: PublicKey) {
        if self.renew(&key) {
            return;
        }
        self.admitted.push(key);
        if self.admitted.len() > MAX_ADMITTED {
            self.admitted.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;
