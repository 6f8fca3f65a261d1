//! Compression of messages, one by one: no context is shared between two.

use crate::error::ChannelError;

/// Payloads up to this many bytes are never compressed (specification §5.A).
pub(crate) const THRESHOLD: usize = 1024;

/// The payload compressed, where that makes it shorter.
#[cfg(feature = "compression")]
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    /// Fastest: metrics in JSON shrink to a fifth all the same.
    const LEVEL: i32 = 1;
    let compressed = zstd::bulk::compress(payload, LEVEL).ok()?;
    (compressed.len() < payload.len()).then_some(compressed)
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
