//! Messages against bytes that Google's protobuf for Python wrote from Intel's `messages.proto`.

use super::*;

const KEY: [u8; 4] = [0x5a; 4];

fn encoded(request: &Request<'_>) -> String {
    hex::encode(request.encode())
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// An answer to each call, with what it says.
fn answers() -> [(Call, Vec<u8>, Answer<'static>); 5] {
    [
        (Call::KeyIdCount, bytes("aa010408001003"), Answer::Number(3)),
        (
            Call::KeyIds,
            bytes("b20108080012045a5a5a5a"),
            Answer::Bytes(&[0x5a; 4]),
        ),
        // With two fields that nobody here wants: size and id of the public key.
        (
            Call::InitQuote,
            bytes("7a0f080012045a5a5a5a18202203070707"),
            Answer::Bytes(&[0x5a; 4]),
        ),
        (Call::QuoteSize, bytes("820105080010f823"), Answer::Number(4600)),
        // With the quoting enclave's own report.
        (
            Call::Quote,
            bytes("8a010f0800120571756f74651a04696e666f"),
            Answer::Bytes(b"quote"),
        ),
    ]
}

fn fault(bytes: &[u8], call: Call) -> (String, usize) {
    match parse_answer(bytes, call) {
        Err(VerifyError::Malformed { what, offset }) => (what, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_what_protobuf_writes() {
    assert_eq!(encoded(&Request::KeyIdCount), "aa0100");
    assert_eq!(
        encoded(&Request::KeyIds {
            count: 2,
            length: 256
        }),
        "b20103088004"
    );
    assert_eq!(
        encoded(&Request::InitQuote { key: &KEY }),
        "7a0a0a045a5a5a5a18012020"
    );
    assert_eq!(encoded(&Request::QuoteSize { key: &KEY }), "8201060a045a5a5a5a");
    let quote = Request::Quote {
        report: &[7; 3],
        key: &KEY,
        size: 4600,
    };
    assert_eq!(encoded(&quote), "8a010e0a0307070712045a5a5a5a20f823");
}

#[test]
fn answers_are_read_as_protobuf_writes_them() {
    for (call, bytes, expected) in answers() {
        assert_eq!(parse_answer(&bytes, call), Ok(Ok(expected)), "{call:?}");
    }
    let answer = bytes("8a0102081e");
    let refused = parse_answer(&answer, Call::Quote).unwrap();
    assert_eq!(refused, Err(Refusal::Error(30)));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "error 30 (AESM_SERVICE_UNAVAILABLE)"
    );
    let answer = bytes("a201020801");
    let unknown = parse_answer(&answer, Call::KeyIdCount).unwrap();
    assert_eq!(unknown, Err(Refusal::UnknownRequest));
    assert_eq!(Refusal::Error(4711).to_string(), "error 4711");
}

#[test]
fn every_cut_is_malformed_but_where_a_field_ends() {
    for (call, whole, _) in answers() {
        for length in 0..whole.len() {
            let (what, offset) = fault(&whole[..length], call);
            assert!(offset <= length, "{call:?} cut to {length}: {what} at {offset}");
        }
        // One byte of a key with nothing after it.
        let (what, _) = fault(&[whole.as_slice(), &[8]].concat(), call);
        assert_eq!(what, "field 1 needs 1 bytes, 0 are left");
    }
}

#[test]
fn the_inside_is_cut_too() {
    // The body of the answer with a quote, cut, in a frame of the right length.
    let body = bytes("0800120571756f7465");
    for length in 0..body.len() {
        let length_byte = u8::try_from(length).unwrap();
        let cut = [&[0x8a, 0x01, length_byte], &body[..length]].concat();
        match (length, parse_answer(&cut, Call::Quote)) {
            (0, Err(VerifyError::Malformed { what, offset: 0 })) => {
                assert_eq!(what, "the answer to sgx_get_quote_ex has no error code");
            }
            // Success, and no quote.
            (2, Ok(Ok(Answer::Nothing))) => {}
            (1 | 3.., Err(VerifyError::Malformed { .. })) => {}
            (_, other) => panic!("cut to {length}: {other:?}"),
        }
    }
}

#[test]
fn answers_to_something_else_are_refused_by_name() {
    for (call, whole, _) in answers() {
        for other in [
            Call::InitQuote,
            Call::QuoteSize,
            Call::Quote,
            Call::KeyIdCount,
            Call::KeyIds,
        ] {
            if other != call {
                let (what, offset) = fault(&whole, other);
                let expected = format!(
                    "field {} where the answer to {} belongs",
                    call.number(),
                    other.name()
                );
                assert_eq!((what, offset), (expected, 0));
            }
        }
        let (what, offset) = fault(&[whole.as_slice(), &whole].concat(), call);
        assert_eq!((what.as_str(), offset), ("a second answer", whole.len()));
    }
    assert_eq!(fault(b"", Call::Quote), ("it holds no answer".to_owned(), 0));
}

#[test]
fn what_is_no_protobuf_is_refused_by_name_and_place() {
    let cases: [(&str, &str, usize); 10] = [
        ("00", "field number 0 is none", 0),
        ("8080808010", "field number 536870912 is none", 0),
        ("8b01", "field 17 has wire type 3, which is none in use", 0),
        ("8c01", "field 17 has wire type 4, which is none in use", 0),
        ("8e01", "field 17 has wire type 6, which is none in use", 0),
        ("8a01ffffffffffffffffff02", "more than 64 bits", 2),
        ("8a01ffffffffffffffffffff01", "more than 64 bits", 2),
        (
            "8a01ffffffffffffffff7f08",
            "field 17 needs 9223372036854775807 bytes, 1 are left",
            11,
        ),
        ("8a0104080008 00", "comes twice", 5),
        ("8a0104 0800 1001", "has another type", 5),
    ];
    for (text, expected, at) in cases {
        let (what, offset) = fault(&bytes(&text.replace(' ', "")), Call::Quote);
        assert!(what.contains(expected), "{text}: {what}");
        assert_eq!(offset, at, "{text}: {what}");
    }
}

#[test]
fn unknown_fields_within_an_answer_are_skipped() {
    // Error code, then fields 9 (varint), 10 (64 bits), 11 (bytes), 12 (32 bits), then the quote.
    let body = bytes(
        "0800 4805 510102030405060708 5a02ffff 6501020304 12017f"
            .replace(' ', "")
            .as_str(),
    );
    let answer = [&[0x8a, 0x01, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();
    assert_eq!(parse_answer(&answer, Call::Quote), Ok(Ok(Answer::Bytes(&[0x7f]))));
}
