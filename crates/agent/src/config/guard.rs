//! Refuses what a configuration has no use for before the YAML parser sees it.
//!
//! The parser's loader recurses once a level, copies what an anchor names, and expands aliases, so a small
//! file could overflow the stack or fill the memory. After this check a text has no anchors, aliases, tags,
//! directives, second documents, multi-line quotes, values without a key or deep nesting. Where the two could read a text
//! differently the guard refuses more, never less: a quotation ends on its own line, so that no disagreement
//! about quotes outlives a line.

use super::error::ConfigError;
use super::yaml::Source;

/// Flow levels (`[`, `{`) and list dashes on one line. The configuration needs one flow level.
const MAX_NESTED: usize = 16;
/// Columns of indentation: every block level takes at least one, so this bounds block levels too.
const MAX_INDENT: usize = 128;

/// Checks the whole text, and gives what would close the flow collections that are open at its end,
/// outermost first.
///
/// # Errors
/// The first thing that is refused, with its place.
pub(super) fn check(source: &Source<'_>) -> Result<Vec<char>, ConfigError> {
    let mut guard = Guard {
        source,
        line: 0,
        flow: Vec::new(),
        begun: false,
    };
    for line in &source.lines {
        guard.line = guard.line.saturating_add(1);
        let characters: Vec<char> = line.chars().collect();
        guard.check_line(&characters)?;
    }
    Ok(guard.flow.into_iter().map(|level| level.closer).collect())
}

struct Guard<'a> {
    source: &'a Source<'a>,
    /// The current line, from 1.
    line: usize,
    /// The open flow collections.
    flow: Vec<Level>,
    /// Whether the document has begun, so that `---` would begin another.
    begun: bool,
}

/// An open flow collection.
struct Level {
    /// What closes it.
    closer: char,
    /// Whether its current entry has its `:`.
    has_colon: bool,
}

impl Guard<'_> {
    fn check_line(&mut self, line: &[char]) -> Result<(), ConfigError> {
        if let Some(at) = line.iter().position(|c| is_unprintable(*c)) {
            return Err(self.syntax(at, "a character that no text file holds", "remove it"));
        }
        let indent = line.iter().take_while(|c| **c == ' ').count();
        match line.get(indent) {
            None | Some('#') => return Ok(()),
            Some('\t') if self.flow.is_empty() && line.iter().any(|c| !is_blank(*c)) => {
                return Err(self.syntax(indent, "a tab in the indentation", "indent with spaces"));
            }
            _ => {}
        }
        if indent > MAX_INDENT && self.flow.is_empty() {
            return Err(ConfigError::TooDeep {
                origin: self.source.origin(self.line, indent),
            });
        }
        let start = if indent == 0 {
            self.document_marker(line)?
        } else {
            indent
        };
        self.begun = true;
        self.check_tokens(line, start)
    }

    /// Refuses directives and a second document, and gives the column after a first `---`.
    fn document_marker(&mut self, line: &[char]) -> Result<usize, ConfigError> {
        let is_marker = |mark: [char; 3]| line.starts_with(&mark) && line.get(3).is_none_or(|c| is_blank(*c));
        if line.first() == Some(&'%') {
            return Err(self.unsupported(0, "YAML directives are", "remove the line"));
        }
        let begins = is_marker(['-', '-', '-']);
        if is_marker(['.', '.', '.']) || (begins && self.begun) {
            let advice = "put the second document into a file of its own in config.d";
            return Err(self.unsupported(0, "several documents in one file are", advice));
        }
        Ok(if begins { 3 } else { 0 })
    }

    fn check_tokens(&mut self, line: &[char], start: usize) -> Result<(), ConfigError> {
        let mut at = start;
        let mut dashes: usize = 0;
        // Whether a possible key stands before, and whether the line's block entry has its `:`. Every `:`
        // without a key, and every second one, would be a level more to the parser.
        let (mut follows_key, mut has_colon) = (false, false);
        while let Some(&character) = line.get(at) {
            let before_blank = line.get(at.saturating_add(1)).is_none_or(|c| is_blank(*c));
            match character {
                '#' if at
                    .checked_sub(1)
                    .and_then(|i| line.get(i))
                    .is_none_or(|c| is_blank(*c)) =>
                {
                    break;
                }
                ' ' | '\t' => {}
                ':' => {
                    let entry = self
                        .flow
                        .last_mut()
                        .map_or(&mut has_colon, |level| &mut level.has_colon);
                    let is_second = std::mem::replace(entry, true);
                    if is_second || !std::mem::replace(&mut follows_key, false) {
                        let detail = if is_second {
                            "a second colon"
                        } else {
                            "a colon with no key before it"
                        };
                        let advice = "write `key: value` on one line, and quote a value that holds a colon";
                        return Err(self.syntax(at, detail, advice));
                    }
                }
                ',' => {
                    follows_key = false;
                    if let Some(level) = self.flow.last_mut() {
                        level.has_colon = false;
                    }
                }
                '[' | '{' => {
                    self.bound(self.flow.len(), at)?;
                    let closer = if character == '[' { ']' } else { '}' };
                    self.flow.push(Level {
                        closer,
                        has_colon: false,
                    });
                    follows_key = false;
                }
                ']' | '}' => {
                    self.flow.pop();
                    follows_key = true;
                }
                '-' if before_blank => {
                    self.bound(dashes, at)?;
                    dashes = dashes.saturating_add(1);
                    follows_key = false;
                }
                '?' if before_blank => {
                    return Err(self.unsupported(at, "`?` keys are", "write `key: value`"));
                }
                '&' => {
                    return Err(self.unsupported(at, "anchors are", "write the value itself, or quote it"));
                }
                '*' => {
                    return Err(self.unsupported(at, "aliases are", "write the value itself, or quote it"));
                }
                '!' => return Err(self.unsupported(at, "tags are", "remove the tag, or quote the value")),
                '|' | '>' if self.flow.is_empty() => {
                    let advice = "write the value in quotes on the key's line";
                    return Err(self.unsupported(at, "block texts are", advice));
                }
                '"' | '\'' => {
                    at = self.end_of_quotation(line, at)?;
                    follows_key = true;
                }
                _ => {
                    at = self.end_of_plain(line, at);
                    follows_key = true;
                }
            }
            at = at.saturating_add(1);
        }
        Ok(())
    }

    fn bound(&self, depth: usize, at: usize) -> Result<(), ConfigError> {
        if depth >= MAX_NESTED {
            return Err(ConfigError::TooDeep {
                origin: self.source.origin(self.line, at),
            });
        }
        Ok(())
    }

    /// The place of the quotation's last character.
    fn end_of_quotation(&self, line: &[char], open: usize) -> Result<usize, ConfigError> {
        let quote = line.get(open).copied().unwrap_or('"');
        let mut at = open.saturating_add(1);
        while let Some(&character) = line.get(at) {
            let doubled = line.get(at.saturating_add(1)) == Some(&quote);
            match character {
                '\\' if quote == '"' => at = at.saturating_add(1),
                '\'' if quote == '\'' && doubled => at = at.saturating_add(1),
                _ if character == quote => return Ok(at),
                _ => {}
            }
            at = at.saturating_add(1);
        }
        Err(self.syntax(
            open,
            "a quotation that does not end on its line",
            "close the quotes on the line",
        ))
    }

    /// The place of the plain value's last character, or of a later one before the next token.
    fn end_of_plain(&self, line: &[char], start: usize) -> usize {
        let mut last = start;
        let rest = line.iter().enumerate().skip(start.saturating_add(1));
        for (at, &character) in rest {
            let previous = line.get(last).copied().unwrap_or(' ');
            let ends_key = character == ':'
                && line
                    .get(at.saturating_add(1))
                    .is_none_or(|next| is_blank(*next) || (!self.flow.is_empty() && is_flow(*next)));
            if ends_key
                || (character == '#' && is_blank(previous))
                || (!self.flow.is_empty() && is_flow(character))
            {
                break;
            }
            last = at;
        }
        last
    }

    fn syntax(&self, at: usize, detail: &str, advice: &'static str) -> ConfigError {
        let origin = self.source.origin(self.line, at);
        ConfigError::Syntax {
            origin,
            detail: detail.to_owned(),
            advice,
        }
    }

    fn unsupported(&self, at: usize, what: &'static str, advice: &'static str) -> ConfigError {
        ConfigError::Unsupported {
            origin: self.source.origin(self.line, at),
            what,
            advice,
        }
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_flow(character: char) -> bool {
    matches!(character, ',' | '[' | ']' | '{' | '}')
}

/// What YAML 1.2 §5.1 calls unprintable, and the byte order mark inside a text.
fn is_unprintable(character: char) -> bool {
    (character.is_control() && !matches!(character, '\t' | '\u{85}'))
        || matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
