//! As much of ELF as measuring takes: program headers and symbols of little-endian files of 32 and 64 bits (*System V
//! Application Binary Interface*, chapters 4 and 5).

use super::LaunchError;
use super::bytes::{Bytes, length};

const MAX_SEGMENTS: usize = 256;
const MAX_SECTIONS: usize = 4096;
const MAX_SYMBOLS: usize = 1024 * 1024;
const MAX_DYNAMIC: usize = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const SHT_SYMTAB: u32 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// An ELF file whose header was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elf<'a> {
    bytes: Bytes<'a>,
    wide: bool,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) offset: usize,
    pub(crate) address: u64,
    pub(crate) file_size: usize,
    pub(crate) memory_size: usize,
    pub(crate) executable: bool,
    pub(crate) writable: bool,
}

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: Bytes<'a>) -> Result<Self, LaunchError> {
        let [magic @ .., class, endian, _] = bytes.array::<7>(0, "ELF header")?;
        if magic != *b"\x7fELF" {
            return Err(bytes.malformed(0, "it is no ELF file".to_owned()));
        }
        let wide = match class {
            1 => false,
            2 => true,
            other => return Err(bytes.malformed(4, format!("ELF class {other} is none"))),
        };
        if endian != 1 {
            return Err(bytes.unsupported("it is not little-endian"));
        }
        Ok(Self { bytes, wide })
    }

    /// A number that has 8 bytes in files of 64 bits, 4 in those of 32.
    fn word(&self, at: usize, what: &str) -> Result<u64, LaunchError> {
        if self.wide {
            self.bytes.u64(at, what)
        } else {
            self.bytes.u32(at, what).map(u64::from)
        }
    }

    const fn pick(&self, narrow: usize, wide: usize) -> usize {
        if self.wide { wide } else { narrow }
    }

    /// Where entries of a table stand: its place, the length of an entry, and their number, each at an offset of the
    /// header.
    fn table(
        &self,
        place: usize,
        entry: usize,
        needs: usize,
        most: usize,
        what: &str,
    ) -> Result<Vec<usize>, LaunchError> {
        let start = length(self.word(place, what)?);
        let size = usize::from(self.bytes.u16(entry, what)?);
        let count = usize::from(self.bytes.u16(entry.saturating_add(2), what)?);
        if count > most || (count > 0 && size < needs) {
            let told = format!("{what}: {count} entries of {size} bytes");
            return Err(self.bytes.malformed(entry, told));
        }
        self.bytes.slice(start, size.saturating_mul(count), what)?;
        Ok((0..count)
            .map(|index| start.saturating_add(index.saturating_mul(size)))
            .collect())
    }

    fn program_headers(&self) -> Result<Vec<usize>, LaunchError> {
        self.table(
            self.pick(28, 32),
            self.pick(42, 54),
            self.pick(32, 56),
            MAX_SEGMENTS,
            "program headers",
        )
    }

    fn segment(&self, at: usize) -> Result<(u32, Segment), LaunchError> {
        let kind = self.bytes.u32(at, "type of a segment")?;
        let flags = self
            .bytes
            .u32(at.saturating_add(self.pick(24, 4)), "flags of a segment")?;
        let number = |narrow, wide, what: &str| self.word(at.saturating_add(self.pick(narrow, wide)), what);
        let segment = Segment {
            offset: length(number(4, 8, "place of a segment")?),
            address: number(8, 16, "address of a segment")?,
            file_size: length(number(16, 32, "size of a segment in the file")?),
            memory_size: length(number(20, 40, "size of a segment in memory")?),
            executable: flags & PF_X != 0,
            writable: flags & PF_W != 0,
        };
        if segment.file_size > segment.memory_size {
            let what = "a segment is larger in the file than in memory".to_owned();
            return Err(self.bytes.malformed(at, what));
        }
        self.bytes.slice(segment.offset, segment.file_size, "a segment")?;
        Ok((kind, segment))
    }

    /// What is loaded.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, LaunchError> {
        let mut loaded = Vec::new();
        for at in self.program_headers()? {
            let (kind, segment) = self.segment(at)?;
            if kind == PT_LOAD {
                loaded.push(segment);
            }
        }
        Ok(loaded)
    }

    /// Whether the dynamic section names a library.
    pub(crate) fn needs_libraries(&self) -> Result<bool, LaunchError> {
        for at in self.program_headers()? {
            if self.bytes.u32(at, "type of a segment")? != PT_DYNAMIC {
                continue;
            }
            let (_, dynamic) = self.segment(at)?;
            let size = self.pick(8, 16);
            let count = dynamic.file_size.checked_div(size).unwrap_or(0);
            for index in 0..count.min(MAX_DYNAMIC) {
                let entry = dynamic.offset.saturating_add(index.saturating_mul(size));
                match self.word(entry, "dynamic section")? {
                    DT_NULL => break,
                    DT_NEEDED => return Ok(true),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    /// Values of symbols, in the order of their names.
    pub(crate) fn symbols(&self, names: &[&str]) -> Result<Vec<u64>, LaunchError> {
        let sections = self.table(
            self.pick(32, 40),
            self.pick(46, 58),
            self.pick(40, 64),
            MAX_SECTIONS,
            "section headers",
        )?;
        let mut values: Vec<Option<u64>> = vec![None; names.len()];
        for section in &sections {
            if self.bytes.u32(section.saturating_add(4), "type of a section")? == SHT_SYMTAB {
                self.read_symbols(&sections, *section, names, &mut values)?;
            }
        }
        names
            .iter()
            .zip(values)
            .map(|(name, value)| {
                value.ok_or_else(|| {
                    self.bytes.unsupported(format!(
                        "it has no symbol `{name}`: give the file with its symbols"
                    ))
                })
            })
            .collect()
    }

    fn place_of(&self, section: usize, what: &str) -> Result<&'a [u8], LaunchError> {
        let offset = length(self.word(section.saturating_add(self.pick(16, 24)), what)?);
        let size = length(self.word(section.saturating_add(self.pick(20, 32)), what)?);
        self.bytes.slice(offset, size, what)
    }

    fn read_symbols(
        &self,
        sections: &[usize],
        table: usize,
        names: &[&str],
        values: &mut [Option<u64>],
    ) -> Result<(), LaunchError> {
        let link = length(
            self.bytes
                .u32(table.saturating_add(self.pick(24, 40)), "strings of the symbols")?,
        );
        let strings = sections.get(link).ok_or_else(|| {
            self.bytes
                .malformed(table, "strings of the symbols in no section".to_owned())
        })?;
        let strings = self.place_of(*strings, "strings of the symbols")?;
        let symbols = self.place_of(table, "symbols")?;
        let size = self.pick(16, 24);
        if symbols.len().checked_div(size).unwrap_or(0) > MAX_SYMBOLS {
            let what = format!("more than the {MAX_SYMBOLS} symbols allowed");
            return Err(self.bytes.malformed(table, what));
        }
        for symbol in symbols.chunks_exact(size) {
            let symbol = Bytes::new("symbol", symbol);
            let name_at = length(symbol.u32(0, "name of a symbol")?);
            let rest = strings.get(name_at..).unwrap_or_default();
            let found = names.iter().zip(values.iter_mut()).find(|(name, _)| {
                rest.strip_prefix(name.as_bytes())
                    .is_some_and(|after| after.first() == Some(&0))
            });
            let Some((name, slot)) = found else {
                continue;
            };
            let value = if self.wide {
                symbol.u64(8, "value of a symbol")?
            } else {
                u64::from(symbol.u32(4, "value of a symbol")?)
            };
            if slot.replace(value).is_some_and(|other| other != value) {
                let what = format!("symbol `{name}` has two values");
                return Err(self.bytes.malformed(table, what));
            }
        }
        Ok(())
    }

    /// What the file has for addresses from `start` to before `end`.
    pub(crate) fn memory(&self, segments: &[Segment], start: u64, end: u64) -> Result<&'a [u8], LaunchError> {
        let missing = || {
            self.bytes.unsupported(format!(
                "its memory from {start:#x} to {end:#x} is not in the file"
            ))
        };
        let size = length(end.checked_sub(start).ok_or_else(missing)?);
        for segment in segments {
            let Some(within) = start.checked_sub(segment.address).map(length) else {
                continue;
            };
            if within.saturating_add(size) <= segment.file_size {
                let offset = segment.offset.saturating_add(within);
                return self.bytes.slice(offset, size, "memory");
            }
        }
        Err(missing())
    }
}
