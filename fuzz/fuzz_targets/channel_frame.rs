//! The stream of a channel's peer: however it is cut into pieces it gives the same frames and ends the same way, a frame
//! has one header, and what is expanded has the length that it says.
#![no_main]

use nautilus_channel::{ChannelError, Frame, FrameReader, HEADER, MessageType, encode_header};
use nautilus_fuzz::fuzz_target;

/// What a type may have here: expanding allocates up to it, whatever the input's size.
fn limit(message_type: MessageType) -> usize {
    message_type.limit().min(48 * 1024)
}

fn read(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<ChannelError>, bool) {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    for mut bytes in stream.chunks(piece) {
        while !bytes.is_empty() {
            match reader.push(&mut bytes, limit) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => assert!(bytes.is_empty(), "bytes were left without a frame"),
                Err(error) => return (frames, Some(error), false),
            }
        }
    }
    let between = reader.is_between();
    (frames, None, between)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, stream)) = bytes.split_first() else {
        return;
    };
    let whole = read(stream, stream.len().max(1));
    assert_eq!(read(stream, usize::from(piece) + 1), whole, "in pieces");
    let (frames, error, between) = whole;

    let mut taken = 0;
    for frame in frames {
        let raw_len = frame.compressed.then_some(frame.raw_len);
        let header = encode_header(
            frame.message_type,
            frame.message_id,
            frame.answer,
            frame.sequence_num,
            frame.timestamp,
            frame.payload.len(),
            raw_len,
        );
        let header = header.expect("it was read, and has no encoding");
        assert_eq!(stream.get(taken..taken + HEADER), Some(header.as_slice()));
        taken += HEADER + frame.payload.len();
        let (raw_len, compressed, message_type) = (frame.raw_len, frame.compressed, frame.message_type);
        match frame.into_message() {
            Ok(message) => {
                assert_eq!(message.payload.len(), raw_len);
                assert!(message.payload.len() <= limit(message_type));
            }
            Err(ChannelError::ExpansionInvalid { .. }) => assert!(compressed),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(between, error.is_none() && taken == stream.len());
});
