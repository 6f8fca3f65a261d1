//! A reader of CBOR (RFC 8949) for hostile bytes.
//!
//! It borrows everything and allocates nothing on the word of a length: a string's length is held against the bytes
//! that are there, and elements are read one by one up to a limit of the caller's. Every item has its shortest form
//! (RFC 8949 §4.2.1), strings have a definite length, and no map has a key twice (§5.6), so that one meaning has
//! one encoding, but for the order of a map's keys.

use std::collections::BTreeSet;

use nautilus_core::VerifyError;

/// Deepest nesting of arrays, maps and tags that is read. The deepest format here has four levels.
const MAX_DEPTH: usize = 8;
/// Most elements of a container that nobody asked for.
const MAX_SKIPPED: usize = 256;

/// Whether arrays and maps may have an indefinite length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// They may not.
    Definite,
    /// They may.
    Any,
}

/// A map's key. No format here uses another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label<'a> {
    /// An integer.
    Int(i64),
    /// A text.
    Text(&'a str),
}

/// A place in CBOR bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` starts in the evidence, so that faults name a place in what the caller has.
    base: usize,
    depth: usize,
    lengths: Lengths,
}

/// An item's first bytes.
#[derive(Clone, Copy, Debug)]
struct Head {
    major: u8,
    /// The argument; none for an indefinite length.
    argument: Option<u64>,
    /// Where the item starts in the evidence.
    offset: usize,
}

/// Major types (RFC 8949 §3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const NULL: u8 = 0xf6;
const BREAK: u8 = 0xff;

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which start at `base` in the evidence.
    pub const fn new(bytes: &'a [u8], base: usize, lengths: Lengths) -> Self {
        Self {
            bytes,
            at: 0,
            base,
            depth: 0,
            lengths,
        }
    }

    /// Where the next item starts in the evidence.
    pub const fn offset(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The tag that comes next, if one does.
    pub fn tag(&mut self) -> Result<Option<u64>, VerifyError> {
        if self.peek().is_none_or(|byte| byte >> 5 != TAG) {
            return Ok(None);
        }
        Ok(self.head("tag")?.argument)
    }

    /// An integer that fits 64 bits with its sign.
    pub fn int(&mut self, what: &str) -> Result<i64, VerifyError> {
        let head = self.head(what)?;
        let fits = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        let value = match head.major {
            UNSIGNED => fits(head.argument),
            // -1 - n, which is the complement of n.
            NEGATIVE => fits(head.argument).map(|n| !n),
            _ => return Err(malformed(format!("{what} is not an integer"), head.offset)),
        };
        value.ok_or_else(|| malformed(format!("{what} is out of range"), head.offset))
    }

    /// An unsigned integer.
    pub fn uint(&mut self, what: &str) -> Result<u64, VerifyError> {
        let head = self.head(what)?;
        match (head.major, head.argument) {
            (UNSIGNED, Some(value)) => Ok(value),
            _ => Err(malformed(
                format!("{what} is not an unsigned integer"),
                head.offset,
            )),
        }
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, what: &str, max: usize) -> Result<&'a [u8], VerifyError> {
        self.string(BYTES, "a byte string", what, max)
    }

    /// A text of at most `max` bytes.
    pub fn text(&mut self, what: &str, max: usize) -> Result<&'a str, VerifyError> {
        let offset = self.offset();
        let bytes = self.string(TEXT, "a text", what, max)?;
        std::str::from_utf8(bytes).map_err(|_| malformed(format!("{what} is not UTF-8"), offset))
    }

    /// Whether null comes next, which is then read.
    pub fn null(&mut self) -> bool {
        let null = self.peek() == Some(NULL);
        if null {
            self.at = self.at.saturating_add(1);
        }
        null
    }

    /// An array of at most `max` elements, each read by `element`, which gets its index. Gives their number.
    pub fn array(
        &mut self,
        what: &str,
        max: usize,
        mut element: impl FnMut(&mut Self, usize) -> Result<(), VerifyError>,
    ) -> Result<usize, VerifyError> {
        self.container(ARRAY, "an array", what, max, |reader, index| {
            element(reader, index)
        })
    }

    /// A map of at most `max` entries, each value read by `value`, which gets its key.
    pub fn map(
        &mut self,
        what: &str,
        max: usize,
        mut value: impl FnMut(&mut Self, Label<'a>) -> Result<(), VerifyError>,
    ) -> Result<usize, VerifyError> {
        let mut seen = BTreeSet::new();
        self.container(MAP, "a map", what, max, |reader, _| {
            let offset = reader.offset();
            let label = reader.label(what)?;
            if !seen.insert(label) {
                return Err(malformed(format!("{what} has the key {label} twice"), offset));
            }
            value(reader, label)
        })
    }

    /// Reads over one item of any kind.
    pub fn skip(&mut self, what: &str) -> Result<(), VerifyError> {
        let mut ahead = self.clone();
        let head = ahead.head(what)?;
        match head.major {
            BYTES => self.bytes(what, usize::MAX).map(drop),
            TEXT => self.text(what, usize::MAX).map(drop),
            ARRAY => self
                .array(what, MAX_SKIPPED, |reader, _| reader.skip(what))
                .map(drop),
            MAP => self
                .map(what, MAX_SKIPPED, |reader, _| reader.skip(what))
                .map(drop),
            TAG => {
                self.at = ahead.at;
                self.deeper(what, head.offset, |reader| reader.skip(what))
            }
            _ => {
                self.at = ahead.at;
                Ok(())
            }
        }
    }

    /// That nothing is left.
    pub fn end(&self, what: &str) -> Result<(), VerifyError> {
        match self.left() {
            0 => Ok(()),
            length => Err(malformed(format!("{length} bytes follow {what}"), self.offset())),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn label(&mut self, what: &str) -> Result<Label<'a>, VerifyError> {
        let offset = self.offset();
        match self.peek().map(|byte| byte >> 5) {
            Some(UNSIGNED | NEGATIVE) => self.int(what).map(Label::Int),
            Some(TEXT) => self.text(what, usize::MAX).map(Label::Text),
            Some(_) => Err(malformed(
                format!("{what} has a key that is neither integer nor text"),
                offset,
            )),
            None => Err(self.cut_short(what)),
        }
    }

    fn string(&mut self, major: u8, kind: &str, what: &str, max: usize) -> Result<&'a [u8], VerifyError> {
        let head = self.head(what)?;
        if head.major != major {
            return Err(malformed(format!("{what} is not {kind}"), head.offset));
        }
        let Some(length) = head.argument else {
            return Err(malformed(format!("{what} has an indefinite length"), head.offset));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.left() {
            return Err(malformed(
                format!(
                    "{what} is cut short: {length} bytes announced, {} left",
                    self.left()
                ),
                head.offset,
            ));
        }
        if length > max {
            return Err(malformed(
                format!("{what} has {length} bytes, more than {max}"),
                head.offset,
            ));
        }
        self.take(length).ok_or_else(|| self.cut_short(what))
    }

    fn container(
        &mut self,
        major: u8,
        kind: &str,
        what: &str,
        max: usize,
        mut element: impl FnMut(&mut Self, usize) -> Result<(), VerifyError>,
    ) -> Result<usize, VerifyError> {
        let head = self.head(what)?;
        if head.major != major {
            return Err(malformed(format!("{what} is not {kind}"), head.offset));
        }
        let announced = match head.argument {
            Some(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            None if self.lengths == Lengths::Any => None,
            None => {
                let what = format!("{what} has an indefinite length");
                return Err(malformed(what, head.offset));
            }
        };
        let too_many = || malformed(format!("{what} has more than {max} elements"), head.offset);
        if announced.is_some_and(|count| count > max) {
            return Err(too_many());
        }
        self.deeper(what, head.offset, |reader| {
            let mut count = 0_usize;
            loop {
                match announced {
                    Some(announced) if count == announced => return Ok(count),
                    None if reader.peek() == Some(BREAK) => {
                        reader.at = reader.at.saturating_add(1);
                        return Ok(count);
                    }
                    _ if count == max => return Err(too_many()),
                    _ => element(reader, count)?,
                }
                count = count.saturating_add(1);
            }
        })
    }

    fn deeper<T>(
        &mut self,
        what: &str,
        offset: usize,
        read: impl FnOnce(&mut Self) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        if self.depth == MAX_DEPTH {
            return Err(malformed(
                format!("{what} is nested deeper than {MAX_DEPTH} levels"),
                offset,
            ));
        }
        self.depth = self.depth.saturating_add(1);
        let result = read(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    fn head(&mut self, what: &str) -> Result<Head, VerifyError> {
        let offset = self.offset();
        let first = self
            .take(1)
            .and_then(|byte| byte.first().copied())
            .ok_or_else(|| self.cut_short(what))?;
        let (major, short) = (first >> 5, first & 0x1f);
        // Bytes of the argument, and the least value that needs them (RFC 8949 §3).
        let (length, least): (usize, u64) = match short {
            0..=23 => {
                return Ok(Head {
                    major,
                    argument: Some(short.into()),
                    offset,
                });
            }
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP) => {
                return Ok(Head {
                    major,
                    argument: None,
                    offset,
                });
            }
            _ => {
                return Err(malformed(
                    format!("{what} starts with {first:#04x}, which is no item"),
                    offset,
                ));
            }
        };
        let argument = self.take(length).ok_or_else(|| self.cut_short(what))?;
        let value = argument
            .iter()
            .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        // Of the simple values those below 32 have no second byte, and the longer ones are floating point.
        let least = match (major, length) {
            (SIMPLE, 1) => 32,
            (SIMPLE, _) => 0,
            _ => least,
        };
        if value < least {
            let what = format!("{what} does not have its shortest form");
            return Err(malformed(what, offset));
        }
        Ok(Head {
            major,
            argument: Some(value),
            offset,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn cut_short(&self, what: &str) -> VerifyError {
        malformed(format!("{what} is cut short"), self.offset())
    }
}

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(label) => write!(f, "{label}"),
            Self::Text(label) => write!(f, "`{}`", shown(label)),
        }
    }
}

/// A text of the evidence as a message may show it.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

pub(crate) const fn malformed(what: String, offset: usize) -> VerifyError {
    VerifyError::Malformed { what, offset }
}

#[cfg(test)]
mod tests;
