//! Compression of messages, one by one: no context is shared between two.

use crate::error::ChannelError;

/// Payloads up to this many bytes are never compressed (specification §5.A).
pub(crate) const THRESHOLD: usize = 1024;
/// Bytes to which any payload may expand; a longer one to [`MAX_RATIO`] times its length on top of that. Metrics and proofs
/// are mostly hashes and signatures, and stay far below; a peer could else have a few bytes fill the memory of who expands
/// them.
const FREE: usize = 256 * 1024;
const MAX_RATIO: usize = 100;

/// Most bytes to which `length` bytes may expand.
pub(crate) const fn most(length: usize) -> usize {
    length.saturating_mul(MAX_RATIO).saturating_add(FREE)
}

/// The payload compressed, where that makes it shorter, and not shorter than it may be.
#[cfg(feature = "compression")]
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    /// Fastest: metrics in JSON shrink to a fifth all the same.
    const LEVEL: i32 = 1;
    let compressed = zstd::bulk::compress(payload, LEVEL).ok()?;
    let is_bomb = payload.len() > most(compressed.len());
    (compressed.len() < payload.len() && !is_bomb).then_some(compressed)
}

/// This end compresses nothing.
#[cfg(not(feature = "compression"))]
pub(crate) fn compress(_payload: &[u8]) -> Option<Vec<u8>> {
    None
}

/// Expands to exactly `raw_len` bytes, which was held against the bound of the message's type before.
#[cfg(feature = "compression")]
pub(crate) fn expand(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, ChannelError> {
    let invalid = |what: String| ChannelError::ExpansionInvalid {
        expected: raw_len,
        what,
    };
    // Frames that are skipped, or are one after the other, are bytes that belong to nothing.
    let frame = zstd::zstd_safe::find_frame_compressed_size(payload)
        .map_err(|code| invalid(zstd::zstd_safe::get_error_name(code).to_owned()))?;
    if frame != payload.len() {
        return Err(invalid("bytes follow it".to_owned()));
    }
    let expanded = zstd::bulk::decompress(payload, raw_len).map_err(|error| invalid(error.to_string()))?;
    if expanded.len() != raw_len {
        return Err(invalid(format!("it has {} bytes", expanded.len())));
    }
    Ok(expanded)
}

/// This end takes nothing compressed.
#[cfg(not(feature = "compression"))]
pub(crate) fn expand(_payload: &[u8], raw_len: usize) -> Result<Vec<u8>, ChannelError> {
    Err(ChannelError::ExpansionInvalid {
        expected: raw_len,
        what: "this end expands nothing".to_owned(),
    })
}

#[cfg(test)]
#[cfg(feature = "compression")]
mod tests;
