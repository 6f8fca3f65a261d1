//! Text of others, made fit to be shown.

/// At most `limit` bytes of `text`, with a `?` for what a terminal or a page would take for more than a character.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let character = if is_harmless(character) { character } else { '?' };
        if shown.len().saturating_add(character.len_utf8()) > limit {
            break;
        }
        shown.push(character);
    }
    shown
}

/// No control character, and none that changes the direction of text or is not seen (Unicode's Cf and its line and
/// paragraph separators, as far as fonts honour them).
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_shows_nothing_hidden() {
        assert_eq!(printable("aäb", 3), "aä");
        assert_eq!(printable("aäb", 2), "a");
        assert_eq!(printable("a\n\u{1b}[31m\u{202e}b", 64), "a??[31m?b");
    }
}
