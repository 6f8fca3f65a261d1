//! As much of DER (X.690) as a certificate needs.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of an explicitly tagged field.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Tag, length in its shortest form (X.690 §10.1), contents.
pub(super) fn encode(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(contents.len().saturating_add(10));
    encoded.push(tag);
    let length = contents.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let significant = length.iter().skip(zeros);
    match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => encoded.push(short),
        _ => {
            // At most eight bytes of length.
            let width = u8::try_from(significant.len()).unwrap_or(8);
            encoded.push(0x80 | width);
            encoded.extend(significant);
        }
    }
    encoded.extend_from_slice(contents);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_in_their_shortest_form() {
        for (length, head) in [
            (0, vec![0x04, 0x00]),
            (0x7f, vec![0x04, 0x7f]),
            (0x80, vec![0x04, 0x81, 0x80]),
            (0xff, vec![0x04, 0x81, 0xff]),
            (0x100, vec![0x04, 0x82, 0x01, 0x00]),
            (0x1_0000, vec![0x04, 0x83, 0x01, 0x00, 0x00]),
        ] {
            let encoded = encode(OCTET_STRING, &vec![7; length]);
            assert_eq!(encoded[..head.len()], head, "{length}");
            assert_eq!(encoded.len(), head.len() + length, "{length}");
        }
    }
}
