//! Frames of a peer that is attested, and means harm.

use nautilus_channel::{ChannelError, HEADER, Limits, MessageType};

use crate::fixture::{Side, Tee};
use crate::raw::{Raw, attested, greeted};
use crate::setup::Setup;

/// How a verifier takes this header and payload of an attested peer; the first frame is number 4.
fn with_header(
    message_type: MessageType,
    payload: &[u8],
    change: impl FnOnce(&mut [u8; HEADER]),
) -> Option<ChannelError> {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let mut header = raw.header(message_type, payload.len());
    change(&mut header);
    raw.write(header, payload);
    let error = raw.carry(&mut side);
    if let Some(error) = &error {
        assert!(side.payloads().is_empty());
        assert_eq!(raw.heard_fault().kind, error.kind());
    }
    error
}

fn malformed(what: &'static str) -> Option<ChannelError> {
    Some(ChannelError::FrameMalformed(what))
}

fn sequence(header: &mut [u8; HEADER], number: u64) {
    header[8..16].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn a_frame_as_it_must_be_is_taken() {
    assert_eq!(with_header(MessageType::ProofRequest, b"proof", |_| {}), None);
}

#[test]
fn a_frame_that_is_repeated_is_refused() {
    for found in [0, 1, 3] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| sequence(header, found)),
            Some(ChannelError::SequenceRepeated { expected: 4, found })
        );
    }
}

#[test]
fn a_frame_after_a_gap_is_refused() {
    for found in [5, 6, u64::MAX] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| sequence(header, found)),
            Some(ChannelError::SequenceGap { expected: 4, found })
        );
    }
}

#[test]
fn frames_in_another_order_are_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let first = raw.header(MessageType::ProofRequest, 0);
    let second = raw.header(MessageType::ProofRequest, 0);
    raw.write(second, b"");
    raw.write(first, b"");
    assert_eq!(
        raw.carry(&mut side),
        Some(ChannelError::SequenceGap {
            expected: 4,
            found: 5
        })
    );
    assert!(side.payloads().is_empty());
}

#[test]
fn the_same_frame_in_two_records_is_refused_the_second_time() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let header = raw.header(MessageType::ProofRequest, 3);
    raw.write(header, b"pay");
    raw.write(header, b"pay");
    assert_eq!(
        raw.carry(&mut side),
        Some(ChannelError::SequenceRepeated {
            expected: 5,
            found: 4
        })
    );
    assert_eq!(side.payloads(), [b"pay"]);
}

#[test]
fn a_frame_of_another_version_is_refused() {
    for found in [0, 2, 255] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| header[4] = found),
            Some(ChannelError::FrameVersion { found })
        );
    }
}

#[test]
fn a_frame_of_an_unknown_type_is_refused() {
    for found in [0, 10, 255] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| header[5] = found),
            malformed("its message type is unknown")
        );
    }
}

#[test]
fn a_flag_that_is_unknown_is_refused() {
    for bit in 2..8 {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| header[6] |= 1 << bit),
            malformed("it has a flag that is unknown")
        );
    }
}

#[test]
fn a_reserved_byte_that_is_set_is_refused() {
    for position in [7, 44, 45, 46, 47] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| header[position] = 1),
            malformed("a reserved byte is not zero")
        );
    }
}

#[test]
fn a_frame_shorter_than_its_header_is_refused() {
    for counted in [0_u32, 1, 43] {
        assert_eq!(
            with_header(MessageType::ProofRequest, b"", |header| {
                header[..4].copy_from_slice(&counted.to_le_bytes());
            }),
            malformed("it is shorter than its header")
        );
    }
}

#[test]
fn two_lengths_that_differ_without_compression_are_refused() {
    assert_eq!(
        with_header(MessageType::ProofRequest, b"proof", |header| header[40] = 4),
        malformed("it is not compressed, and its two lengths differ")
    );
}

#[test]
fn a_frame_that_claims_4_gib_is_refused_before_any_of_it_is_there() {
    let message_type = MessageType::ProofRequest;
    assert_eq!(
        with_header(message_type, b"", |header| header[..4].fill(0xff)),
        Some(ChannelError::PayloadTooLong {
            message_type,
            length: u64::from(u32::MAX) - 44,
            limit: message_type.limit(),
        })
    );
}

#[test]
fn every_type_has_its_longest_message() {
    for message_type in MessageType::ALL {
        let limit = message_type.limit();
        let length = u32::try_from(limit).unwrap() + 1;
        let error = with_header(message_type, b"", |header| {
            header[..4].copy_from_slice(&(length + 44).to_le_bytes());
            header[40..44].copy_from_slice(&length.to_le_bytes());
        });
        assert_eq!(
            error,
            Some(ChannelError::PayloadTooLong {
                message_type,
                length: u64::from(length),
                limit,
            })
        );
    }
}

#[test]
fn a_compressed_frame_of_a_type_that_must_not_be_is_refused() {
    for message_type in MessageType::ALL {
        let error = with_header(message_type, &[0; 2000], |header| header[6] |= 1);
        match message_type.may_compress() {
            true => assert!(
                matches!(error, Some(ChannelError::ExpansionInvalid { .. })),
                "{message_type}: {error:?}"
            ),
            false => assert_eq!(error, Some(ChannelError::CompressionForbidden(message_type))),
        }
    }
}

#[test]
fn a_message_too_short_to_be_compressed_is_refused() {
    assert_eq!(
        with_header(MessageType::PerformanceData, &[0; 1024], |header| header[6] |= 1),
        malformed("it is compressed and too short for that")
    );
}

#[cfg(feature = "compression")]
mod bombs {
    use super::*;

    /// 1 GiB of zeros in a few bytes, made without having them.
    fn bomb() -> Vec<u8> {
        use std::io::Write as _;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..1024 {
            encoder.write_all(&zeros).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn claiming(bomb: &[u8], raw_len: u32) -> Option<ChannelError> {
        with_header(MessageType::PerformanceData, bomb, |header| {
            header[6] |= 1;
            header[40..44].copy_from_slice(&raw_len.to_le_bytes());
        })
    }

    #[test]
    fn a_decompression_bomb_is_refused_whatever_it_claims() {
        let bomb = bomb();
        assert!(bomb.len() < 128 * 1024, "{}", bomb.len());
        let message_type = MessageType::PerformanceData;
        let limit = message_type.limit();
        for raw_len in [1025, 100_000, limit] {
            match claiming(&bomb, u32::try_from(raw_len).unwrap()) {
                Some(ChannelError::ExpansionInvalid { expected, .. }) => assert_eq!(expected, raw_len),
                other => panic!("{raw_len}: {other:?}"),
            }
        }
        for raw_len in [u32::try_from(limit).unwrap() + 1, 1 << 30, u32::MAX] {
            assert_eq!(
                claiming(&bomb, raw_len),
                Some(ChannelError::PayloadTooLong {
                    message_type,
                    length: u64::from(raw_len),
                    limit,
                })
            );
        }
    }

    #[test]
    fn what_expands_to_less_than_it_says_is_refused() {
        let compressed = zstd::bulk::compress(&[7; 5000], 1).unwrap();
        assert_eq!(claiming(&compressed, 5000), None);
        assert_eq!(
            claiming(&compressed, 5001),
            Some(ChannelError::ExpansionInvalid {
                expected: 5001,
                what: "it has 5000 bytes".to_owned()
            })
        );
    }

    #[test]
    fn what_is_long_and_may_be_compressed_is() {
        let tee = Tee::new();
        let (mut agent, mut verifier) = crate::fixture::open(&tee);
        let id = nautilus_channel::MessageId([9; 16]);
        let payload = vec![7; 100_000];
        for message_type in [MessageType::PerformanceData, MessageType::Attestation] {
            agent
                .end
                .send(message_type, id, false, &payload, agent.now)
                .unwrap();
            let sent = agent.output();
            assert_eq!(sent.len() < 1000, message_type.may_compress());
            verifier.take(&sent).unwrap();
        }
        let compressed: Vec<_> = verifier
            .events
            .iter()
            .filter_map(|event| match event {
                nautilus_channel::Event::Message(message) => {
                    Some((message.compressed, message.payload.len()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(compressed, [(true, 100_000), (false, 100_000)]);
    }
}

#[test]
fn a_message_longer_than_its_type_may_be_is_not_sent() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = crate::fixture::open(&tee);
    let message_type = MessageType::KeyRotation;
    let payload = vec![0; message_type.limit() + 1];
    let id = nautilus_channel::MessageId([9; 16]);
    assert_eq!(
        agent.end.send(message_type, id, false, &payload, agent.now),
        Err(ChannelError::PayloadTooLong {
            message_type,
            length: payload.len() as u64,
            limit: message_type.limit()
        })
    );
    // The channel goes on.
    agent.say(b"next");
    assert_eq!(crate::fixture::run(&mut agent, &mut verifier), (None, None));
    assert_eq!(verifier.payloads(), [b"next"]);
}

#[test]
fn a_handshake_message_in_an_open_channel_is_refused() {
    assert_eq!(
        with_header(MessageType::Handshake, b"again", |_| {}),
        Some(ChannelError::PayloadInvalid {
            message_type: MessageType::Handshake,
            what: "the handshake is over".to_owned()
        })
    );
}

#[test]
fn content_that_is_not_of_its_type_is_refused() {
    for message_type in [MessageType::Error, MessageType::Termination] {
        let error = with_header(message_type, b"\xff\xff\xff\xff\xff", |_| {});
        assert!(
            matches!(&error, Some(ChannelError::PayloadInvalid { message_type: found, .. }) if *found == message_type),
            "{error:?}"
        );
    }
    let tee = Tee::new();
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    raw.frame(MessageType::Handshake, b"\x07");
    let error = raw.carry(&mut side);
    assert!(
        matches!(
            error,
            Some(ChannelError::PayloadInvalid {
                message_type: MessageType::Handshake,
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn bytes_after_the_content_are_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = (
        Raw::initiator(&Setup::right()),
        Side::responder(crate::fixture::verifier(), &tee),
    );
    assert_eq!(raw.carry(&mut side), None);
    let hello = crate::raw::Content::Hello(Box::new(raw.hello()));
    let mut payload = nautilus_channel::encode_bcs(&hello).unwrap();
    payload.push(0);
    raw.frame(MessageType::Handshake, &payload);
    match raw.carry(&mut side) {
        Some(ChannelError::PayloadInvalid { message_type, what }) => {
            assert_eq!(message_type, MessageType::Handshake);
            assert!(what.contains("remaining"), "{what}");
        }
        other => panic!("{other:?}"),
    }
}
