//! What a Nitro Security Module answers to a request for a document.
//!
//! CBOR of the enumeration `Response` of AWS's `aws-nitro-enclaves-nsm-api` (`src/api/mod.rs`), as serde writes it:
//! `{"Attestation": {"document": bytes}}` or `{"Error": "InvalidArgument"}`.

use nautilus_core::VerifyError;
use nautilus_sys::nsm::RESPONSE_MAX;

use crate::cose::cbor::{Label, Lengths, Reader, malformed, shown};

/// What the module answered. The document in it was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// An attestation document.
    Document(&'a [u8]),
    /// Nothing, for this reason: the name of an `ErrorCode`.
    Refused(&'a str),
}

/// Longest name of an error: the known ones have up to 16 bytes.
const MAX_ERROR: usize = 64;

/// Reads a response.
///
/// # Errors
/// `Malformed`, if it is not one of the two, and nothing else.
pub fn parse_response(bytes: &[u8]) -> Result<Response<'_>, VerifyError> {
    let mut reader = Reader::new(bytes, 0, Lengths::Any);
    let mut response = None;
    reader.map("response", 1, |reader, label| {
        let offset = reader.offset();
        response = Some(match label {
            Label::Text("Attestation") => Response::Document(read_attestation(reader)?),
            Label::Text("Error") => {
                let code = reader.text("`Error`", MAX_ERROR)?;
                if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    let what = format!("`Error` is `{}`, which names no error", shown(code));
                    return Err(malformed(what, offset));
                }
                Response::Refused(code)
            }
            other => {
                let what = format!("response is {other}, neither `Attestation` nor `Error`");
                return Err(malformed(what, offset));
            }
        });
        Ok(())
    })?;
    reader.end("response")?;
    response.ok_or_else(|| malformed("response is empty".to_owned(), 0))
}

fn read_attestation<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], VerifyError> {
    let at = reader.offset();
    let mut document = None;
    reader.map("`Attestation`", 1, |reader, label| match label {
        Label::Text("document") => {
            document = Some(reader.bytes("`document`", RESPONSE_MAX)?);
            Ok(())
        }
        other => Err(malformed(
            format!("`Attestation` has the key {other}, which is none of it"),
            reader.offset(),
        )),
    })?;
    match document {
        Some([]) => Err(malformed("`document` is empty".to_owned(), at)),
        Some(document) => Ok(document),
        None => Err(malformed("`Attestation` lacks `document`".to_owned(), at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"Attestation": {"document": h'010203'}}`.
    const DOCUMENT: &[u8] = b"\xa1\x6bAttestation\xa1\x68document\x43\x01\x02\x03";
    /// `{"Error": "InvalidArgument"}`.
    const ERROR: &[u8] = b"\xa1\x65Error\x6fInvalidArgument";

    #[test]
    fn a_document_and_an_error_are_told_apart() {
        assert_eq!(parse_response(DOCUMENT).unwrap(), Response::Document(&[1, 2, 3]));
        assert_eq!(
            parse_response(ERROR).unwrap(),
            Response::Refused("InvalidArgument")
        );
    }

    #[test]
    fn every_cut_is_malformed_and_so_is_a_byte_too_many() {
        for whole in [DOCUMENT, ERROR] {
            for length in 0..whole.len() {
                let cut = parse_response(&whole[..length]);
                assert!(
                    matches!(cut, Err(VerifyError::Malformed { .. })),
                    "cut to {length}: {cut:?}"
                );
            }
            let what = match parse_response(&[whole, &[0]].concat()) {
                Err(VerifyError::Malformed { what, offset }) if offset == whole.len() => what,
                other => panic!("{other:?}"),
            };
            assert_eq!(what, "1 bytes follow response");
        }
    }

    #[test]
    fn what_no_module_answers_is_refused_by_name() {
        let cases: [(&[u8], &str); 9] = [
            (b"\xa0", "response is empty"),
            (b"\x43\x01\x02\x03", "response is not a map"),
            (b"\xa1\x69GetRandom\xa0", "neither `Attestation` nor `Error`"),
            (b"\xa1\x6bAttestation\xa0", "lacks `document`"),
            (b"\xa1\x6bAttestation\xa1\x68document\x40", "`document` is empty"),
            (b"\xa1\x6bAttestation\xa1\x68document\xf6", "is not a byte string"),
            (b"\xa1\x6bAttestation\xa1\x65other\x41\x00", "which is none of it"),
            (b"\xa1\x65Error\x62\x1b[", "which names no error"),
            (b"\xa2\x65Error\x61a\x65Error\x61a", "more than 1 elements"),
        ];
        for (bytes, expected) in cases {
            match parse_response(bytes) {
                Err(VerifyError::Malformed { what, .. }) => assert!(what.contains(expected), "{what}"),
                other => panic!("{other:?}, not {expected}"),
            }
        }
    }
}
