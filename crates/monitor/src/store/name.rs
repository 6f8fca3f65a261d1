//! Names of series and their numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nautilus_proof::MAX_SERIES_NAME;

use super::hour::FIRST_SERIES;
use super::tick::text;
use super::wire::{Malformed, Reader, put_bytes, put_varint};

/// Most names in a row of the table.
pub(super) const MAX_ROW_NAMES: u32 = 100_000;
/// Longest row before it is compressed.
const MAX_ROW: usize = 128 << 20;

/// All series that the store knows.
#[derive(Clone, Debug)]
pub(super) struct Names {
    by_name: HashMap<Arc<str>, u32>,
    by_number: BTreeMap<u32, Arc<str>>,
    /// Which row of the table each is in; rows are named after their first series.
    rows: BTreeMap<u32, Vec<u32>>,
    next: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            by_number: BTreeMap::new(),
            rows: BTreeMap::new(),
            next: FIRST_SERIES,
        }
    }
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.by_number.get(&number)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Arc<str>)> + '_ {
        self.by_number.iter().map(|(number, name)| (*number, name))
    }

    /// Numbers below are not given again.
    pub(super) fn reserve(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    /// Gives new series their numbers, which make one row; none if there are none.
    pub(super) fn add(&mut self, names: &[&str]) -> Option<u32> {
        let row = self.next;
        for name in names {
            let number = self.next;
            self.next = number.saturating_add(1);
            self.insert(row, number, Arc::from(*name));
        }
        (!names.is_empty()).then_some(row)
    }

    fn insert(&mut self, row: u32, number: u32, name: Arc<str>) {
        self.by_name.insert(name.clone(), number);
        self.by_number.insert(number, name);
        self.rows.entry(row).or_default().push(number);
    }

    /// Forgets series. Gives the rows that are to be written again, or deleted if they are empty.
    pub(super) fn remove(&mut self, gone: &[u32]) -> Vec<u32> {
        let mut touched = Vec::new();
        for number in gone {
            if let Some(name) = self.by_number.remove(number) {
                self.by_name.remove(&name);
            }
        }
        self.rows.retain(|row, numbers| {
            let before = numbers.len();
            numbers.retain(|number| gone.binary_search(number).is_err());
            if numbers.len() != before {
                touched.push(*row);
            }
            !numbers.is_empty()
        });
        touched
    }

    /// A row as it is sealed; none if it is empty.
    pub(super) fn encode(&self, row: u32) -> Option<Vec<u8>> {
        let numbers = self.rows.get(&row)?;
        let mut out = Vec::new();
        put_varint(&mut out, numbers.len() as u64);
        for number in numbers {
            put_varint(&mut out, number.saturating_sub(row).into());
            put_bytes(&mut out, self.name(*number)?.as_bytes());
        }
        let mut packed = Vec::new();
        put_varint(&mut packed, out.len() as u64);
        packed.append(&mut zstd::bulk::compress(&out, 9).ok()?);
        Some(packed)
    }

    /// Takes in a row.
    pub(super) fn decode(&mut self, row: u32, bytes: &[u8]) -> Result<(), Malformed> {
        let mut packed = Reader::new(bytes);
        let length = packed.count(MAX_ROW)?;
        let plain =
            zstd::bulk::decompress(packed.rest(), length).map_err(|_| Malformed("it does not decompress"))?;
        let mut reader = Reader::new(&plain);
        for _ in 0..reader.count(MAX_ROW_NAMES as usize)? {
            let step = u32::try_from(reader.varint()?).ok();
            let number = step.and_then(|step| row.checked_add(step));
            let number = number.ok_or(Malformed("a series' number is too large"))?;
            let name = text(reader.bytes(MAX_SERIES_NAME)?)?;
            self.reserve(number.saturating_add(1));
            self.insert(row, number, Arc::from(name));
        }
        reader.end()
    }
}
