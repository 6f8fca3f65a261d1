//! Text from untrusted bytes, for people: bounded, and with nothing in it that moves a cursor or hides.

/// Longest text of one event, in characters.
const MAX_CHARACTERS: usize = 512;

/// Text with all but letters, digits, ASCII punctuation and spaces written out, and cut where it is too long.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == MAX_CHARACTERS {
            escaped.push('…');
            break;
        }
        if character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric() {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_default());
        }
    }
    escaped
}

/// What bytes say if they are text, ASCII or UTF-16, up to a NUL.
pub(super) fn read(bytes: &[u8]) -> Option<String> {
    // Any bytes are UTF-16 of some script: without ASCII in it, it is not taken for text.
    let mostly_ascii = |text: &String| text.chars().filter(char::is_ascii).count() > text.chars().count() / 2;
    ascii(bytes).or_else(|| utf16(bytes).filter(mostly_ascii))
}

fn ascii(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let readable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    // A single character before a NUL is how UTF-16 looks.
    if text.is_empty() || (text.len() == 1 && bytes.len() > 2) || !text.iter().all(readable) {
        return None;
    }
    Some(escaped(str::from_utf8(text).ok()?))
}

/// UTF-16 up to a NUL, if all of it is readable.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let text = utf16_exact(bytes)?;
    let text = text.split('\0').next().unwrap_or_default();
    let readable = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    (!text.is_empty() && text.chars().all(readable)).then(|| escaped(text))
}

/// UTF-16 as it stands, NULs and all.
pub(super) fn utf16_exact(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)))
        .collect::<Result<_, _>>()
        .ok()
}

/// Text where bytes are such, a few bytes in hex, or how many they are.
pub(super) fn summary(bytes: &[u8]) -> String {
    match read(bytes) {
        Some(text) => text,
        None => hex_summary(bytes),
    }
}

/// A few bytes in hex, or how many they are.
pub(super) fn hex_summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 16;
    match bytes.len() {
        0 => "empty".to_owned(),
        length if length <= SHOWN => hex::encode(bytes),
        length => format!("{length} bytes"),
    }
}

/// A GUID as it is written (RFC 9562, with the first three fields little-endian as UEFI has them).
pub(super) fn guid(bytes: [u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, rest @ ..] = bytes;
    let head = [a3, a2, a1, a0];
    format!(
        "{}-{}-{}-{}-{}",
        hex::encode(head),
        hex::encode([b1, b0]),
        hex::encode([c1, c0]),
        hex::encode([d0, d1]),
        hex::encode(rest)
    )
}
