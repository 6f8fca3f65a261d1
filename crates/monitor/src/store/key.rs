//! Keys of the store, and sealing with them.

use std::collections::BTreeMap;
use std::fmt;

use nautilus_core::UnixMillis;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{StoreError, StoreFault};
use super::wire::{Reader, put_varint};

/// Version of the layout: part of what is authenticated with each value.
pub(super) const LAYOUT: u32 = 2;

/// Which key: the first 8 bytes of SHA-256(`"nautilus storage key id"` ‖ key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A secret of 32 bytes. The copy here is wiped when it is dropped.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// A key from the enclave.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its name, which tells nothing of the key.
    pub fn id(&self) -> KeyId {
        let mut input = Zeroizing::new(b"nautilus storage key id".to_vec());
        input.extend_from_slice(self.0.as_slice());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &input).as_ref()) {
            *to = *from;
        }
        KeyId(id)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreKey").field(&self.id()).finish()
    }
}

/// The key that seals, and those of earlier epochs that only open.
#[derive(Clone, Debug)]
pub struct StoreKeys {
    current: u32,
    all: BTreeMap<u32, StoreKey>,
}

impl StoreKeys {
    /// The current key with its epoch, and older ones with theirs.
    pub fn new(current: (u32, StoreKey), older: impl IntoIterator<Item = (u32, StoreKey)>) -> Self {
        let (epoch, key) = current;
        let mut all: BTreeMap<u32, StoreKey> = older.into_iter().collect();
        all.insert(epoch, key);
        Self { current: epoch, all }
    }

    /// The epoch that seals.
    pub const fn current(&self) -> u32 {
        self.current
    }

    /// All epochs with their keys' names.
    pub fn ids(&self) -> BTreeMap<u32, KeyId> {
        self.all.iter().map(|(epoch, key)| (*epoch, key.id())).collect()
    }
}

/// Where a sealed value belongs. All of it is authenticated with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) table: u8,
    pub(super) resolution: u8,
    pub(super) series: u32,
    pub(super) hour: u32,
    pub(super) part: u16,
    pub(super) row: u64,
}

impl Place {
    fn authenticated(self, epoch: u32) -> Vec<u8> {
        let mut bytes = b"nautilus metrics store".to_vec();
        bytes.extend_from_slice(&LAYOUT.to_be_bytes());
        bytes.extend_from_slice(&[self.table, self.resolution]);
        bytes.extend_from_slice(&self.series.to_be_bytes());
        bytes.extend_from_slice(&self.hour.to_be_bytes());
        bytes.extend_from_slice(&self.part.to_be_bytes());
        bytes.extend_from_slice(&self.row.to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes
    }

    /// First instant of the hour.
    pub(super) const fn at(self) -> UnixMillis {
        hour_start(self.hour)
    }
}

/// First instant of an hour since the epoch.
pub(super) const fn hour_start(hour: u32) -> UnixMillis {
    // An u32 of hours fits.
    UnixMillis((hour as u64).saturating_mul(super::HOUR_MILLIS))
}

/// Why a value did not open, without a name for it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    Altered,
    UnknownEpoch(u32),
}

impl Unopened {
    pub(super) fn of(self, series: impl Into<String>, hour: UnixMillis) -> StoreFault {
        let series = series.into();
        match self {
            Self::Altered => StoreFault::Sealed { series, hour },
            Self::UnknownEpoch(epoch) => StoreFault::UnknownEpoch { series, hour, epoch },
        }
    }
}

/// Seals and opens rows, one by one, and gives blocks their keys.
///
/// A row is `epoch varint ‖ nonce 12 ‖ AES-256-GCM(ciphertext ‖ tag 16)`. Its nonce is random: a node that appends
/// every 30 seconds seals 3 million rows a year, and 2^32 with one key would be safe (NIST SP 800-38D §8.3).
pub(super) struct Seals {
    current: u32,
    keys: BTreeMap<u32, EpochKey>,
    random: SystemRandom,
}

/// What an epoch's key is used for: the key of its rows, and the secret that the keys of blocks are derived from.
struct EpochKey {
    rows: LessSafeKey,
    secret: StoreKey,
}

/// What a sealed row has more than the plain one, in bytes, while the epoch is below 128.
#[cfg(test)]
const ROW_SEAL_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;
/// What a sealed column has more than the plain one.
#[cfg(test)]
const TAG_BYTES: usize = 16;
/// Of the salt that a block's key is derived with.
pub(super) const SALT_BYTES: usize = 16;
/// The number of a block's index, as if it were a column. No series has it.
pub(super) const INDEX: u32 = u32::MAX;

/// A key of its own for some use: HKDF-SHA256 (RFC 5869).
fn derived(secret: &StoreKey, salt: &[u8], info: &[&[u8]]) -> Result<LessSafeKey, ring::error::Unspecified> {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret.0.as_slice());
    let key = UnboundKey::from(extracted.expand(info, &AES_256_GCM)?);
    Ok(LessSafeKey::new(key))
}

impl Seals {
    pub(super) fn new(keys: &StoreKeys) -> Result<Self, StoreError> {
        let opened = keys.all.iter().map(|(epoch, key)| {
            let rows = derived(key, &[], &[b"nautilus metrics store rows"]);
            let key = EpochKey {
                rows: rows.map_err(|_| StoreError::Randomness)?,
                secret: key.clone(),
            };
            Ok((*epoch, key))
        });
        Ok(Self {
            current: keys.current,
            keys: opened.collect::<Result<_, StoreError>>()?,
            random: SystemRandom::new(),
        })
    }

    pub(super) const fn current(&self) -> u32 {
        self.current
    }

    pub(super) fn seal(&self, place: Place, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = self.keys.get(&self.current).ok_or(StoreError::Randomness)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| StoreError::Randomness)?;
        let mut sealed = Vec::new();
        put_varint(&mut sealed, self.current.into());
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut seal_with(
            &key.rows,
            nonce,
            place,
            self.current,
            plain.to_vec(),
        )?);
        Ok(sealed)
    }

    pub(super) fn open(&self, place: Place, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (epoch, rest) = epoch_of(sealed).ok_or(Unopened::Altered)?;
        let key = self.keys.get(&epoch).ok_or(Unopened::UnknownEpoch(epoch))?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unopened::Altered)?;
        open_with(&key.rows, *nonce, place, epoch, body)
    }

    /// What seals a new block under the current key. Each call draws another salt.
    pub(super) fn new_block(&self, place: Place) -> Result<BlockSealer, StoreError> {
        let key = self.keys.get(&self.current).ok_or(StoreError::Randomness)?;
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt).map_err(|_| StoreError::Randomness)?;
        Ok(BlockSealer {
            opener: key
                .block(place, self.current, &salt)
                .map_err(|_| StoreError::Randomness)?,
            salt,
            next: 0,
        })
    }

    /// What opens a block: of its epoch, and with the salt that stands in it.
    pub(super) fn block(
        &self,
        place: Place,
        epoch: u32,
        salt: &[u8; SALT_BYTES],
    ) -> Result<BlockOpener, Unopened> {
        let key = self.keys.get(&epoch).ok_or(Unopened::UnknownEpoch(epoch))?;
        key.block(place, epoch, salt).map_err(|_| Unopened::Altered)
    }
}

impl EpochKey {
    fn block(
        &self,
        place: Place,
        epoch: u32,
        salt: &[u8; SALT_BYTES],
    ) -> Result<BlockOpener, ring::error::Unspecified> {
        let place = Place {
            series: INDEX,
            ..place
        };
        let info = [&b"nautilus metrics store block"[..], &place.authenticated(epoch)];
        Ok(BlockOpener {
            epoch,
            place,
            key: derived(&self.secret, salt, &info)?,
        })
    }
}

/// Seals the columns of one new block, and at last its index.
///
/// No nonce is used twice with one key. The key is derived from the epoch's key, from 16 random bytes that
/// [`Seals::new_block`] draws for each new sealer, and from the block's place: a block that is written again, under the
/// same key or another, has a new sealer and so another key. Within a block the nonce is the column's number;
/// [`Self::seal`] refuses one that is not above all before, and [`Self::finish`] uses the number that no column can
/// have, once, because it takes the sealer. Nothing else seals with this key: the sealer is not `Clone`, and a
/// [`BlockOpener`] only opens. What is left is that two blocks of one place draw the same salt: for 2^32 blocks of one
/// epoch less likely than 2^-64.
pub(super) struct BlockSealer {
    opener: BlockOpener,
    salt: [u8; SALT_BYTES],
    /// The least number that was not sealed yet.
    next: u32,
}

impl BlockSealer {
    /// `ciphertext ‖ tag 16` of a column. Columns come in ascending order.
    pub(super) fn seal(&mut self, series: u32, plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if series < self.next || series == INDEX {
            return Err(StoreError::ColumnOrder { series });
        }
        self.next = series.saturating_add(1);
        self.numbered(series, plain)
    }

    /// The index as it stands in the block: `epoch varint ‖ salt 16 ‖ ciphertext ‖ tag 16`.
    pub(super) fn finish(self, index: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        put_varint(&mut out, self.opener.epoch.into());
        out.extend_from_slice(&self.salt);
        out.append(&mut self.numbered(INDEX, index)?);
        Ok(out)
    }

    fn numbered(&self, series: u32, plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let BlockOpener { epoch, place, key } = &self.opener;
        let place = Place { series, ..*place };
        seal_with(key, column_nonce(place), place, *epoch, plain)
    }
}

/// Opens the columns of one block.
pub(super) struct BlockOpener {
    epoch: u32,
    place: Place,
    key: LessSafeKey,
}

impl BlockOpener {
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn open(&self, series: u32, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let place = Place { series, ..self.place };
        open_with(&self.key, column_nonce(place), place, self.epoch, sealed)
    }
}

/// Unique within a block: `series u32 ‖ part u16 ‖ zeros`.
fn column_nonce(place: Place) -> [u8; NONCE_LEN] {
    let [a, b, c, d] = place.series.to_be_bytes();
    let [e, f] = place.part.to_be_bytes();
    [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0]
}

fn seal_with(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    place: Place,
    epoch: u32,
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    let (nonce, aad) = (
        Nonce::assume_unique_for_key(nonce),
        Aad::from(place.authenticated(epoch)),
    );
    key.seal_in_place_append_tag(nonce, aad, &mut plain)
        .map_err(|_| StoreError::Randomness)?;
    Ok(plain)
}

fn open_with(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    place: Place,
    epoch: u32,
    sealed: &[u8],
) -> Result<Vec<u8>, Unopened> {
    let (nonce, aad) = (
        Nonce::assume_unique_for_key(nonce),
        Aad::from(place.authenticated(epoch)),
    );
    let mut body = sealed.to_vec();
    let length = key
        .open_in_place(nonce, aad, &mut body)
        .map_err(|_| Unopened::Altered)?
        .len();
    body.truncate(length);
    Ok(body)
}

/// The epoch of a sealed value, and what comes after it.
pub(super) fn epoch_of(sealed: &[u8]) -> Option<(u32, &[u8])> {
    let mut reader = Reader::new(sealed);
    let epoch = u32::try_from(reader.varint().ok()?).ok()?;
    Some((epoch, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        table: 1,
        resolution: 0,
        series: 7,
        hour: 400_000,
        part: 0,
        row: 0,
    };

    fn seals(epoch: u32, byte: u8) -> Seals {
        Seals::new(&StoreKeys::new((epoch, StoreKey::new([byte; 32])), [])).unwrap()
    }

    #[test]
    fn a_value_opens_only_in_its_place_with_its_key() {
        let seals = seals(3, 1);
        let sealed = seals.seal(PLACE, b"values").unwrap();
        assert_eq!(sealed.len(), 6 + ROW_SEAL_BYTES);
        assert_eq!(seals.open(PLACE, &sealed).unwrap(), b"values");
        let moved = [
            Place { table: 2, ..PLACE },
            Place {
                resolution: 1,
                ..PLACE
            },
            Place { series: 8, ..PLACE },
            Place { hour: 1, ..PLACE },
            Place { part: 1, ..PLACE },
            Place { row: 1, ..PLACE },
        ];
        for place in moved {
            assert_eq!(seals.open(place, &sealed), Err(Unopened::Altered), "{place:?}");
        }
        for at in 1..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seals.open(PLACE, &altered), Err(Unopened::Altered), "{at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(seals.open(PLACE, &sealed[..length]), Err(Unopened::Altered));
        }
        assert_eq!(self::seals(3, 2).open(PLACE, &sealed), Err(Unopened::Altered));
        assert_eq!(
            self::seals(4, 1).open(PLACE, &sealed),
            Err(Unopened::UnknownEpoch(3))
        );
    }

    #[test]
    fn a_column_opens_only_in_its_block_and_place() {
        let seals = seals(3, 1);
        let mut sealer = seals.new_block(PLACE).unwrap();
        let salt = sealer.salt;
        let sealed = sealer.seal(7, b"values".to_vec()).unwrap();
        assert_eq!(sealed.len(), 6 + TAG_BYTES);
        let open = |place, epoch, salt, series, sealed: &[u8]| {
            self::seals(epoch, 1)
                .block(place, epoch, salt)
                .unwrap()
                .open(series, sealed)
        };
        assert_eq!(open(PLACE, 3, &salt, 7, &sealed).unwrap(), b"values");
        assert_eq!(open(PLACE, 3, &salt, 8, &sealed), Err(Unopened::Altered));
        assert_eq!(open(PLACE, 4, &salt, 7, &sealed), Err(Unopened::Altered));
        let mut other = salt;
        other[15] ^= 1;
        assert_eq!(open(PLACE, 3, &other, 7, &sealed), Err(Unopened::Altered));
        let moved = [
            Place { table: 2, ..PLACE },
            Place {
                resolution: 1,
                ..PLACE
            },
            Place { hour: 1, ..PLACE },
            Place { part: 1, ..PLACE },
        ];
        for place in moved {
            assert_eq!(
                open(place, 3, &salt, 7, &sealed),
                Err(Unopened::Altered),
                "{place:?}"
            );
        }
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(open(PLACE, 3, &salt, 7, &altered), Err(Unopened::Altered), "{at}");
            assert_eq!(open(PLACE, 3, &salt, 7, &sealed[..at]), Err(Unopened::Altered));
        }
        let unknown = seals.block(PLACE, 2, &salt).err();
        assert_eq!(unknown, Some(Unopened::UnknownEpoch(2)));
    }

    /// A nonce is a column's number: a sealer takes each once, and another one has another key.
    #[test]
    fn no_nonce_is_used_twice() {
        let seals = seals(3, 1);
        let mut sealer = seals.new_block(PLACE).unwrap();
        sealer.seal(0, Vec::new()).unwrap();
        let first = sealer.seal(7, vec![0; 64]).unwrap();
        for series in [0, 6, 7, INDEX] {
            let refused = sealer.seal(series, Vec::new());
            assert!(
                matches!(refused, Err(StoreError::ColumnOrder { series: of }) if of == series),
                "{series}"
            );
        }
        let mut again = seals.new_block(PLACE).unwrap();
        assert_ne!(again.salt, sealer.salt);
        assert_ne!(again.seal(7, vec![0; 64]).unwrap(), first);
        // The same bytes in another column of the same block are other bytes.
        assert_ne!(sealer.seal(8, vec![0; 64]).unwrap(), first);
        let index = sealer.finish(vec![0; 64]).unwrap();
        assert_ne!(index[1 + SALT_BYTES..], first[..]);
    }

    #[test]
    fn a_key_shows_its_name_and_not_itself() {
        let key = StoreKey::new([0xab; 32]);
        let shown = format!("{key:?}");
        assert!(!shown.contains("abab"), "{shown}");
        assert_eq!(shown, format!("StoreKey({})", key.id()));
        assert_ne!(key.id(), StoreKey::new([0xac; 32]).id());
    }
}
