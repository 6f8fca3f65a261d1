//! Frames: how messages stand in the stream that TLS protects.

use nautilus_core::UnixMillis;

use crate::compression;
use crate::error::ChannelError;
use crate::message::{Message, MessageId, MessageType};

/// Bytes of a frame before its payload.
pub const HEADER: usize = 48;
/// Bytes of the header that `length` counts.
const COUNTED: usize = 44;
const VERSION: u8 = 1;
const COMPRESSED: u8 = 1;
const ANSWER: u8 = 2;
/// Payloads up to here are received into one allocation; longer ones grow as their bytes arrive, for a length is only a
/// claim before that.
const EAGER: usize = 64 * 1024;

/// A frame as it stands in the stream, before sequence and expansion are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type of the message.
    pub message_type: MessageType,
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// Whether it is an answer.
    pub answer: bool,
    /// Its number.
    pub sequence_num: u64,
    /// Which question.
    pub message_id: MessageId,
    /// The sender's time.
    pub timestamp: UnixMillis,
    /// Bytes of the payload after expansion.
    pub raw_len: usize,
    /// The payload as it travelled.
    pub payload: Vec<u8>,
}

/// The header of a frame with a payload of `length` bytes, which expands to `raw_len`.
///
/// # Errors
/// If the lengths do not fit their fields.
pub fn encode_header(
    message_type: MessageType,
    message_id: MessageId,
    answer: bool,
    sequence_num: u64,
    timestamp: UnixMillis,
    length: usize,
    raw_len: Option<usize>,
) -> Result<[u8; HEADER], ChannelError> {
    let too_long = || ChannelError::PayloadTooLong {
        message_type,
        length: length as u64,
        limit: message_type.limit(),
    };
    let counted = length
        .checked_add(COUNTED)
        .and_then(|length| u32::try_from(length).ok());
    let counted = counted.ok_or_else(too_long)?;
    let expanded = u32::try_from(raw_len.unwrap_or(length)).map_err(|_| too_long())?;
    let compressed = if raw_len.is_some() { COMPRESSED } else { 0 };
    let flags = compressed | if answer { ANSWER } else { 0 };
    let mut header = [0; HEADER];
    let fields: [(usize, &[u8]); 6] = [
        (0, &counted.to_le_bytes()),
        (4, &[VERSION, message_type as u8, flags, 0]),
        (8, &sequence_num.to_le_bytes()),
        (16, &message_id.0),
        (32, &timestamp.0.to_le_bytes()),
        (40, &expanded.to_le_bytes()),
    ];
    for (offset, bytes) in fields {
        let end = offset.saturating_add(bytes.len());
        if let Some(field) = header.get_mut(offset..end) {
            field.copy_from_slice(bytes);
        }
    }
    Ok(header)
}

/// Takes the stream in pieces of any size, and gives frames.
#[derive(Default)]
pub struct FrameReader {
    header: Vec<u8>,
    /// A frame whose payload is still arriving, and how long that is.
    open: Option<(Frame, usize)>,
}

impl FrameReader {
    /// Takes bytes from the front of `bytes`, up to the end of one frame. Gives the frame if it is whole. `limit` says
    /// how long a payload of a type may be now, as it travels and expanded.
    ///
    /// # Errors
    /// If the bytes are no frame, as soon as its header is there: then the stream is lost.
    pub fn push(
        &mut self,
        bytes: &mut &[u8],
        limit: impl Fn(MessageType) -> usize,
    ) -> Result<Option<Frame>, ChannelError> {
        let (mut frame, length) = match self.open.take() {
            Some(open) => open,
            None => {
                let missing = HEADER.saturating_sub(self.header.len());
                self.header.extend_from_slice(take(bytes, missing));
                // Who speaks another protocol learns it from its first bytes, which may be all that it has to say.
                if let Some(found) = self.header.get(4).copied().filter(|found| *found != VERSION) {
                    return Err(ChannelError::FrameVersion { found });
                }
                let Ok(header) = <[u8; HEADER]>::try_from(self.header.as_slice()) else {
                    return Ok(None);
                };
                self.header.clear();
                read_header(&header, limit)?
            }
        };
        let missing = length.saturating_sub(frame.payload.len());
        frame.payload.extend_from_slice(take(bytes, missing));
        if frame.payload.len() < length {
            self.open = Some((frame, length));
            return Ok(None);
        }
        Ok(Some(frame))
    }

    /// Whether the stream stands between two frames.
    pub fn is_between(&self) -> bool {
        self.header.is_empty() && self.open.is_none()
    }
}

impl Frame {
    /// The message, expanded.
    ///
    /// # Errors
    /// If it does not expand to what it says.
    pub fn into_message(self) -> Result<Message, ChannelError> {
        let payload = match self.compressed {
            true => compression::expand(&self.payload, self.raw_len)?,
            false => self.payload,
        };
        Ok(Message {
            message_type: self.message_type,
            message_id: self.message_id,
            answer: self.answer,
            sequence_num: self.sequence_num,
            timestamp: self.timestamp,
            compressed: self.compressed,
            payload,
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

/// A frame without its payload, and how long that is.
fn read_header(
    header: &[u8; HEADER],
    limit: impl Fn(MessageType) -> usize,
) -> Result<(Frame, usize), ChannelError> {
    let [
        l0,
        l1,
        l2,
        l3,
        _,
        message_type,
        flags,
        zero,
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        id @ ..,
    ] = header;
    let [
        i0,
        i1,
        i2,
        i3,
        i4,
        i5,
        i6,
        i7,
        i8,
        i9,
        i10,
        i11,
        i12,
        i13,
        i14,
        i15,
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        r0,
        r1,
        r2,
        r3,
        z0,
        z1,
        z2,
        z3,
    ] = id;
    let counted = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
    let raw_len = u32::from_le_bytes([*r0, *r1, *r2, *r3]);
    let malformed = |what| Err(ChannelError::FrameMalformed(what));
    let Some(message_type) = MessageType::from_byte(*message_type) else {
        return malformed("its message type is unknown");
    };
    if *flags & !(COMPRESSED | ANSWER) != 0 {
        return malformed("it has a flag that is unknown");
    }
    if [*zero, *z0, *z1, *z2, *z3] != [0; 5] {
        return malformed("a reserved byte is not zero");
    }
    let Some(length) = (counted as usize).checked_sub(COUNTED) else {
        return malformed("it is shorter than its header");
    };
    let raw_len = raw_len as usize;
    let limit = limit(message_type);
    if let Some(length) = [length, raw_len].into_iter().find(|length| *length > limit) {
        return Err(ChannelError::PayloadTooLong {
            message_type,
            length: length as u64,
            limit,
        });
    }
    let compressed = *flags & COMPRESSED != 0;
    if compressed && !message_type.may_compress() {
        return Err(ChannelError::CompressionForbidden(message_type));
    }
    if compressed && raw_len <= compression::THRESHOLD {
        return malformed("it is compressed and too short for that");
    }
    if compressed && raw_len > compression::most(length) {
        return Err(ChannelError::ExpansionInvalid {
            expected: raw_len,
            what: "that is too much for its length".to_owned(),
        });
    }
    if !compressed && raw_len != length {
        return malformed("it is not compressed, and its two lengths differ");
    }
    let frame = Frame {
        message_type,
        compressed,
        answer: *flags & ANSWER != 0,
        sequence_num: u64::from_le_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]),
        message_id: MessageId([
            *i0, *i1, *i2, *i3, *i4, *i5, *i6, *i7, *i8, *i9, *i10, *i11, *i12, *i13, *i14, *i15,
        ]),
        timestamp: UnixMillis(u64::from_le_bytes([*t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7])),
        raw_len,
        payload: Vec::with_capacity(length.min(EAGER)),
    };
    Ok((frame, length))
}

#[cfg(test)]
mod tests;
