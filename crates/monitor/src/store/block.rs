//! Blocks: the sealed columns of one hour side by side, cut into pieces that fill a page of the database each.
//!
//! Every column is sealed by itself and can be opened alone. A row of the database for each would leave a twelfth of
//! every page empty and carry a key of 17 bytes each; so the columns of an hour stand in one run of bytes, behind an
//! index of series and lengths, and the run is cut every [`PIECE`] bytes. The index is sealed as a column is, with the
//! block's own key, whose epoch and salt stand before it.

use redb::ReadableTable;

use super::column_place;
use super::error::{StoreError, StoreFault};
use super::file::Failure;
use super::key::{BlockOpener, BlockSealer, INDEX, SALT_BYTES, Seals, Unopened, epoch_of, hour_start};
use super::wire::{Malformed, Reader, put_varint};

/// A page of 4096 bytes without the database's 8 bytes for a leaf with one value, and the key's 11.
pub(super) const PIECE: usize = 4096 - 8 - 11;
/// Most columns of one block.
const MAX_ENTRIES: usize = 100_000;
/// Longest sealed column.
const MAX_SEALED: usize = 1 << 24;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockKey {
    /// 0 samples, 2 hours; [`Resolution::code`](super::Resolution::code).
    pub(super) resolution: u8,
    /// First hour since the epoch.
    pub(super) hour: u32,
    /// Blocks of the same hour in the order in which they were sealed.
    pub(super) part: u16,
}

impl BlockKey {
    pub(super) const LENGTH: usize = 7;

    pub(super) fn bytes(self) -> [u8; Self::LENGTH] {
        let [a, b, c, d] = self.hour.to_be_bytes();
        let [e, f] = self.part.to_be_bytes();
        [self.resolution, a, b, c, d, e, f]
    }

    pub(super) fn of(bytes: [u8; Self::LENGTH]) -> Self {
        let [resolution, a, b, c, d, e, f] = bytes;
        Self {
            resolution,
            hour: u32::from_be_bytes([a, b, c, d]),
            part: u16::from_be_bytes([e, f]),
        }
    }

    pub(super) fn piece(self, piece: u32) -> [u8; 11] {
        let [a, b, c, d, e, f, g] = self.bytes();
        let [h, i, j, k] = piece.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k]
    }

    fn missing(self, what: &'static str) -> StoreFault {
        StoreFault::Missing {
            what,
            hour: hour_start(self.hour),
        }
    }

    fn unopened(self, fault: Unopened) -> StoreFault {
        fault.of("the index of a block", hour_start(self.hour))
    }
}

/// The bytes of a new block. Columns come in ascending order of their series.
pub(super) fn assemble(
    mut sealer: BlockSealer,
    columns: impl Iterator<Item = (u32, Vec<u8>)>,
) -> Result<Vec<u8>, StoreError> {
    let mut sealed = Vec::new();
    for (series, plain) in columns {
        sealed.push((series, sealer.seal(series, plain)?));
    }
    let index = sealer.finish(encode_index(&sealed))?;
    let mut bytes = u32::try_from(index.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(&index);
    sealed
        .iter()
        .for_each(|(_, sealed)| bytes.extend_from_slice(sealed));
    Ok(bytes)
}

/// Series with their sealed columns, ascending, as an index.
pub(super) fn encode_index(columns: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut index = Vec::new();
    put_varint(&mut index, columns.len() as u64);
    let mut before = 0_u32;
    for (series, sealed) in columns {
        put_varint(&mut index, series.saturating_sub(before).into());
        put_varint(&mut index, sealed.len() as u64);
        before = *series;
    }
    index
}

/// An opened block: which columns it has and where, and what opens them.
pub(super) struct Index {
    columns: Columns,
    opener: BlockOpener,
}

impl Index {
    pub(super) fn series(&self) -> impl Iterator<Item = u32> + '_ {
        self.columns.entries.iter().map(|(series, ..)| *series)
    }

    pub(super) fn has(&self, series: u32) -> bool {
        self.columns.find(series).is_some()
    }

    /// The epoch of the key that the block is sealed under.
    pub(super) const fn epoch(&self) -> u32 {
        self.opener.epoch()
    }

    /// Opens a column.
    pub(super) fn open(&self, series: u32, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        self.opener.open(series, sealed)
    }
}

/// Which columns a block has, and where.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// Ascending by series: series, offset behind the index, length.
    entries: Vec<(u32, usize, usize)>,
    /// What comes before the first column.
    start: usize,
}

impl Columns {
    #[cfg(test)]
    pub(super) fn end(&self) -> usize {
        let last = self.entries.last();
        self.start
            .saturating_add(last.map_or(0, |(_, offset, length)| offset.saturating_add(*length)))
    }

    pub(super) fn find(&self, series: u32) -> Option<(usize, usize)> {
        let at = self
            .entries
            .binary_search_by_key(&series, |(series, ..)| *series)
            .ok()?;
        let (_, offset, length) = self.entries.get(at)?;
        Some((self.start.saturating_add(*offset), *length))
    }
}

/// Reads an opened index of a block whose columns begin at `start`.
pub(super) fn decode_index(bytes: &[u8], start: usize) -> Result<Columns, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(MAX_ENTRIES)?;
    let mut entries = Vec::with_capacity(count.min(bytes.len()));
    let mut series = 0_u32;
    let mut offset = 0_usize;
    for number in 0..count {
        let step = u32::try_from(reader.varint()?).map_err(|_| Malformed("a series' number is too large"))?;
        if step == 0 && number > 0 {
            return Err(Malformed("a series is named twice"));
        }
        series = series
            .checked_add(step)
            .ok_or(Malformed("a series' number is too large"))?;
        let length = reader.count(MAX_SEALED)?;
        entries.push((series, offset, length));
        offset = offset.saturating_add(length);
    }
    reader.end()?;
    Ok(Columns { entries, start })
}

/// Pieces of blocks.
pub(super) trait Pieces: ReadableTable<&'static [u8; 11], &'static [u8]> {}
impl<T: ReadableTable<&'static [u8; 11], &'static [u8]>> Pieces for T {}

/// Reads the bytes from `start` to `end` of a block.
fn read_bytes(
    table: &impl Pieces,
    key: BlockKey,
    start: usize,
    end: usize,
    what: &'static str,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(end.saturating_sub(start));
    let mut at = start;
    while at < end {
        let piece = u32::try_from(at.checked_div(PIECE).unwrap_or(0)).map_err(|_| key.missing(what))?;
        let within = at.checked_rem(PIECE).unwrap_or(0);
        let value = table.get(&key.piece(piece))?.ok_or_else(|| key.missing(what))?;
        let to = within.saturating_add(end.saturating_sub(at)).min(PIECE);
        let slice = value.value().get(within..to).ok_or_else(|| key.missing(what))?;
        bytes.extend_from_slice(slice);
        at = at.saturating_add(slice.len());
    }
    Ok(bytes)
}

/// Reads and opens the index of a block.
pub(super) fn read_index(table: &impl Pieces, seals: &Seals, key: BlockKey) -> Result<Index, Failure> {
    let what = "the index";
    let length = read_bytes(table, key, 0, 4, what)?;
    let length = <[u8; 4]>::try_from(length.as_slice()).map_or(0, u32::from_be_bytes) as usize;
    if length > MAX_ENTRIES.saturating_mul(10) {
        return Err(key.missing(what).into());
    }
    let start = length.saturating_add(4);
    let bytes = read_bytes(table, key, 4, start, what)?;
    Ok(open_index(&bytes, seals, key, start)?)
}

fn open_index(bytes: &[u8], seals: &Seals, key: BlockKey, start: usize) -> Result<Index, StoreFault> {
    let altered = || key.unopened(Unopened::Altered);
    let (epoch, rest) = epoch_of(bytes).ok_or_else(altered)?;
    let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(altered)?;
    let opener = seals.block(column_place(key, INDEX), epoch, salt);
    let opener = opener.map_err(|fault| key.unopened(fault))?;
    let plain = opener.open(INDEX, sealed).map_err(|fault| key.unopened(fault))?;
    let columns = decode_index(&plain, start).map_err(|Malformed(what)| StoreFault::Malformed {
        series: "the index of a block".to_owned(),
        hour: hour_start(key.hour),
        what,
    })?;
    Ok(Index { columns, opener })
}

/// The sealed column of a series; none if the block has none of it.
pub(super) fn read_column(
    table: &impl Pieces,
    key: BlockKey,
    index: &Index,
    series: u32,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some((offset, length)) = index.columns.find(series) else {
        return Ok(None);
    };
    read_bytes(table, key, offset, offset.saturating_add(length), "a column").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_leads_to_each_column() {
        let columns = [
            (0, vec![1; 40]),
            (7, vec![2; 300]),
            (8, vec![]),
            (70_000, vec![3; 5]),
        ];
        let seals = Seals::new(&super::super::fixture::keys()).unwrap();
        let key = BlockKey {
            resolution: 0,
            hour: 7,
            part: 1,
        };
        let sealer = seals.new_block(column_place(key, INDEX)).unwrap();
        let bytes = assemble(sealer, columns.iter().cloned()).unwrap();
        let start = 4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        let index = open_index(&bytes[4..start], &seals, key, start).unwrap();
        assert_eq!(index.columns.end(), bytes.len());
        assert!(index.series().eq(columns.iter().map(|(series, _)| *series)));
        for (series, plain) in &columns {
            let (offset, length) = index.columns.find(*series).unwrap();
            let opened = index.open(*series, &bytes[offset..offset + length]).unwrap();
            assert_eq!(opened, *plain);
        }
        assert!(!index.has(9));
        let other = BlockKey { part: 2, ..key };
        let hour = hour_start(7);
        let series = "the index of a block".to_owned();
        let refused = open_index(&bytes[4..start], &seals, other, start).err();
        assert_eq!(refused, Some(StoreFault::Sealed { series, hour }));
    }

    #[test]
    fn an_altered_index_is_an_error_or_another_index() {
        assert_eq!(
            decode_index(&[2, 7, 1, 0, 1], 4).unwrap_err(),
            Malformed("a series is named twice")
        );
        assert_eq!(
            decode_index(&[1, 7], 4).unwrap_err(),
            Malformed("it is cut short")
        );
        assert_eq!(
            decode_index(&[0, 7], 4).unwrap_err(),
            Malformed("there are bytes after its end")
        );
    }

    #[test]
    fn keys_sort_as_blocks_do() {
        let key = |resolution, hour, part| BlockKey {
            resolution,
            hour,
            part,
        };
        let keys = [key(0, 1, 0), key(0, 1, 1), key(0, 256, 0), key(1, 0, 0)];
        assert!(keys.is_sorted());
        assert!(keys.map(BlockKey::bytes).is_sorted());
        assert!(keys.map(|key| key.piece(3)).is_sorted());
        assert_eq!(BlockKey::of(keys[2].bytes()), keys[2]);
    }
}
