use super::*;

const ID: MessageId = MessageId([9; 16]);
const AT: UnixMillis = UnixMillis(1_800_000_000_000);

fn header(message_type: MessageType, length: usize, raw_len: Option<usize>) -> [u8; HEADER] {
    encode_header(message_type, ID, true, 0x0102_0304_0506_0708, AT, length, raw_len).unwrap()
}

fn framed(message_type: MessageType, payload: &[u8]) -> Vec<u8> {
    [header(message_type, payload.len(), None).as_slice(), payload].concat()
}

fn read(bytes: &[u8]) -> Result<Option<Frame>, ChannelError> {
    FrameReader::default().push(&mut &*bytes, MessageType::limit)
}

#[test]
fn every_field_has_its_place() {
    let header = header(MessageType::ProofRequest, 0x0a0b0c, Some(0x0d0e0f));
    let mut expected = Vec::new();
    expected.extend((0x0a0b0c_u32 + 44).to_le_bytes());
    expected.extend([1, 4, 3, 0]);
    expected.extend([8, 7, 6, 5, 4, 3, 2, 1]);
    expected.extend([9; 16]);
    expected.extend(AT.0.to_le_bytes());
    expected.extend([0x0f, 0x0e, 0x0d, 0]);
    expected.extend([0; 4]);
    assert_eq!(header.as_slice(), expected);
}

#[test]
fn a_frame_of_every_type_comes_back_as_it_was() {
    for message_type in MessageType::ALL {
        let frame = read(&framed(message_type, b"payload")).unwrap().unwrap();
        let expected = Frame {
            message_type,
            compressed: false,
            answer: true,
            sequence_num: 0x0102_0304_0506_0708,
            message_id: ID,
            timestamp: AT,
            raw_len: 7,
            payload: b"payload".to_vec(),
        };
        assert_eq!(frame, expected);
        let message = frame.into_message().unwrap();
        assert_eq!(message.payload, b"payload");
        assert_eq!(
            (message.message_id, message.sequence_num),
            (ID, 0x0102_0304_0506_0708)
        );
    }
}

#[test]
fn a_stream_gives_the_same_frames_however_it_is_cut() {
    let payloads: [&[u8]; 4] = [b"", b"x", &[7; 100], b""];
    let stream: Vec<u8> = payloads
        .iter()
        .flat_map(|payload| framed(MessageType::Attestation, payload))
        .collect();
    for piece in 1..=stream.len() {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for mut bytes in stream.chunks(piece) {
            while !bytes.is_empty() {
                frames.extend(reader.push(&mut bytes, MessageType::limit).unwrap());
            }
        }
        assert!(reader.is_between());
        let read: Vec<_> = frames.iter().map(|frame| frame.payload.as_slice()).collect();
        assert_eq!(read, payloads, "in pieces of {piece}");
    }
}

#[test]
fn a_frame_that_is_cut_anywhere_is_none_yet() {
    let whole = framed(MessageType::Attestation, b"payload");
    for length in 1..whole.len() {
        let mut reader = FrameReader::default();
        let mut bytes = &whole[..length];
        assert_eq!(reader.push(&mut bytes, MessageType::limit), Ok(None));
        assert!(bytes.is_empty() && !reader.is_between(), "{length}");
    }
}

#[test]
fn every_bit_of_a_header_counts() {
    let good = framed(MessageType::Attestation, b"payload");
    let frame = read(&good).unwrap().unwrap();
    for bit in 0..HEADER * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // It is refused, is longer than what is there, or says something else.
        if let Ok(Some(found)) = read(&changed) {
            assert_ne!(found, frame, "bit {bit}");
        }
    }
}

#[test]
fn another_version_is_refused_with_the_byte_that_says_it() {
    let mut reader = FrameReader::default();
    assert_eq!(reader.push(&mut b"GET ".as_slice(), MessageType::limit), Ok(None));
    let refused = reader.push(&mut b"/".as_slice(), MessageType::limit);
    assert_eq!(refused, Err(ChannelError::FrameVersion { found: b'/' }));
}

#[test]
fn nothing_is_allocated_from_a_length_that_is_only_claimed() {
    let limit = MessageType::ProofRequest.limit();
    let mut reader = FrameReader::default();
    let claim = header(MessageType::ProofRequest, limit, None);
    assert_eq!(reader.push(&mut claim.as_slice(), MessageType::limit), Ok(None));
    let (frame, length) = reader.open.as_ref().unwrap();
    assert_eq!(*length, limit);
    assert!(frame.payload.capacity() <= EAGER, "{}", frame.payload.capacity());
    // What arrives is all that it grows with.
    reader
        .push(&mut vec![0; 200_000].as_slice(), MessageType::limit)
        .unwrap();
    let (frame, _) = reader.open.as_ref().unwrap();
    assert!(
        frame.payload.capacity() <= 2 * 200_000,
        "{}",
        frame.payload.capacity()
    );
}

#[test]
fn the_limit_is_that_of_the_moment_for_both_lengths() {
    let none_of = |message_type| move |found| if found == message_type { 0 } else { usize::MAX };
    let too_long = |length| {
        Err(ChannelError::PayloadTooLong {
            message_type: MessageType::ProofRequest,
            length,
            limit: 0,
        })
    };
    for (length, raw_len, named) in [(1, None, 1), (0, Some(5000), 5000), (7, Some(5000), 7)] {
        let header = header(MessageType::ProofRequest, length, raw_len);
        let limit = none_of(MessageType::ProofRequest);
        let refused = FrameReader::default().push(&mut header.as_slice(), limit);
        assert_eq!(refused, too_long(named));
    }
}

#[test]
fn a_header_that_no_reader_could_hold_is_not_made() {
    let message_type = MessageType::ProofRequest;
    let too_long = |length: usize| {
        Err(ChannelError::PayloadTooLong {
            message_type,
            length: length as u64,
            limit: message_type.limit(),
        })
    };
    let make = |length, raw_len| encode_header(message_type, ID, false, 1, AT, length, raw_len);
    for length in [u32::MAX as usize - 43, usize::MAX] {
        assert_eq!(make(length, None), too_long(length));
    }
    assert_eq!(make(7, Some(u32::MAX as usize + 1)), too_long(7));
}

#[cfg(not(feature = "compression"))]
#[test]
fn an_end_without_compression_takes_nothing_compressed() {
    let header = header(MessageType::ProofRequest, 4, Some(2000));
    let frame = read(&[header.as_slice(), b"zstd"].concat()).unwrap().unwrap();
    assert_eq!(
        frame.into_message(),
        Err(ChannelError::ExpansionInvalid {
            expected: 2000,
            what: "this end expands nothing".to_owned()
        })
    );
}
