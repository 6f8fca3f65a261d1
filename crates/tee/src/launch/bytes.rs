//! Bytes of an image, read at any place: formats of images point back and forth.

use super::LaunchError;

/// A whole file, and what to call it in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    image: &'static str,
    bytes: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) const fn new(image: &'static str, bytes: &'a [u8]) -> Self {
        Self { image, bytes }
    }

    /// The same, unless there are more than `limit`.
    pub(crate) const fn bounded(
        image: &'static str,
        bytes: &'a [u8],
        limit: usize,
    ) -> Result<Self, LaunchError> {
        if bytes.len() > limit {
            return Err(LaunchError::TooLarge { image, limit });
        }
        Ok(Self { image, bytes })
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn all(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn slice(&self, offset: usize, length: usize, what: &str) -> Result<&'a [u8], LaunchError> {
        offset
            .checked_add(length)
            .and_then(|end| self.bytes.get(offset..end))
            .ok_or_else(|| {
                let left = self.bytes.len().saturating_sub(offset);
                self.malformed(offset, format!("{what} needs {length} bytes, {left} are there"))
            })
    }

    pub(crate) fn array<const N: usize>(&self, offset: usize, what: &str) -> Result<[u8; N], LaunchError> {
        let slice = self.slice(offset, N, what)?;
        // Cannot fail: the slice has N bytes.
        slice
            .try_into()
            .map_err(|_| self.malformed(offset, what.to_owned()))
    }

    pub(crate) fn u16(&self, offset: usize, what: &str) -> Result<u16, LaunchError> {
        self.array(offset, what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, offset: usize, what: &str) -> Result<u32, LaunchError> {
        self.array(offset, what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, offset: usize, what: &str) -> Result<u64, LaunchError> {
        self.array(offset, what).map(u64::from_le_bytes)
    }

    pub(crate) const fn malformed(&self, offset: usize, what: String) -> LaunchError {
        LaunchError::Malformed {
            image: self.image,
            what,
            offset,
        }
    }

    pub(crate) fn unsupported(&self, what: impl Into<String>) -> LaunchError {
        LaunchError::Unsupported {
            image: self.image,
            what: what.into(),
        }
    }
}

/// A number of a file as a length: on a platform where it does not fit, nothing that long can be there either.
pub(crate) fn length(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}
