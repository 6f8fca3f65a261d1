//! One line of a document.

use std::borrow::Cow;

use super::super::number::number;
use super::fault::quote;
use super::{Dialect, MAX_LABELS, TextFault};
use crate::reading::MAX_LABEL;

/// A sample, but for what its value is worth.
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    /// In the line's order, without those that are empty: an empty label is none.
    pub(super) labels: Vec<(Cow<'static, str>, String)>,
    pub(super) value: &'a str,
    /// Whether an exemplar follows the value.
    pub(super) exemplar: bool,
}

/// Reads a line that is no comment.
///
/// # Errors
/// If it is not a name, labels, a value, and in OpenMetrics an exemplar.
pub(super) fn sample(line: &str, dialect: Dialect) -> Result<Sample<'_>, TextFault> {
    let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    metric_name(name)?;
    let after_name = match dialect {
        Dialect::Prometheus => blanks(rest),
        Dialect::OpenMetrics => rest,
    };
    let (labels, rest) = match after_name.strip_prefix('{') {
        Some(inside) => labels(inside, dialect)?,
        None => (Vec::new(), rest),
    };
    let rest = match dialect {
        // Nothing need stand between labels and value.
        Dialect::Prometheus => blanks(rest),
        Dialect::OpenMetrics => rest
            .strip_prefix(' ')
            .ok_or(TextFault::Value { text: quote(rest) })?,
    };
    let (value, after) = word(rest, dialect).unwrap_or((rest, ""));
    let (after, exemplar) = match after.strip_prefix("# ") {
        Some(after) if dialect == Dialect::OpenMetrics => (exemplar(after)?, true),
        _ => (after, false),
    };
    if after.is_empty() {
        Ok(Sample {
            name,
            labels,
            value,
            exemplar,
        })
    } else if number(after, 0).is_some() {
        Err(TextFault::Timestamp)
    } else {
        Err(TextFault::AfterValue)
    }
}

/// Reads what follows the `# ` of an exemplar, which is not kept: labels, a value, and perhaps a time.
fn exemplar(text: &str) -> Result<&str, TextFault> {
    let inside = text.strip_prefix('{').ok_or(TextFault::AfterValue)?;
    let (_, rest) = labels(inside, Dialect::OpenMetrics)?;
    let mut words = rest.strip_prefix(' ').ok_or(TextFault::AfterValue)?.split(' ');
    let numbers = words.by_ref().take(2).all(|word| number(word, 0).is_some());
    if numbers && words.next().is_none() {
        Ok("")
    } else {
        Err(TextFault::AfterValue)
    }
}

type Labels = Vec<(Cow<'static, str>, String)>;

/// Reads labels after their opening brace, and gives what follows the closing one.
fn labels(mut text: &str, dialect: Dialect) -> Result<(Labels, &str), TextFault> {
    let trim = |text| match dialect {
        Dialect::Prometheus => blanks(text),
        Dialect::OpenMetrics => text,
    };
    let mut labels = Labels::new();
    let mut names: Vec<&str> = Vec::new();
    text = trim(text);
    if let Some(rest) = text.strip_prefix('}') {
        return Ok((labels, rest));
    }
    loop {
        let (name, rest) = text.split_once('=').ok_or(TextFault::Labels)?;
        let name = match dialect {
            Dialect::Prometheus => name.trim_end_matches([' ', '\t']),
            Dialect::OpenMetrics => name,
        };
        if !is_label_name(name) {
            return Err(TextFault::LabelName { text: quote(name) });
        }
        if names.contains(&name) {
            return Err(TextFault::LabelTwice { name: quote(name) });
        }
        if names.len() >= MAX_LABELS {
            return Err(TextFault::TooManyLabels);
        }
        names.push(name);
        let quoted = trim(rest).strip_prefix('"').ok_or(TextFault::Labels)?;
        let (value, rest) = value_of(name, quoted)?;
        if !value.is_empty() {
            labels.push((name.to_owned().into(), value));
        }
        let rest = trim(rest);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        text = trim(rest.strip_prefix(',').ok_or(TextFault::Labels)?);
        if dialect == Dialect::Prometheus
            && let Some(rest) = text.strip_prefix('}')
        {
            return Ok((labels, rest));
        }
    }
}

/// Reads a label's value after its opening quote, and gives what follows the closing one.
fn value_of<'a>(name: &str, quoted: &'a str) -> Result<(String, &'a str), TextFault> {
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let character = match character {
            '"' => return Ok((value, characters.as_str())),
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                _ => return Err(TextFault::Escape),
            },
            other => other,
        };
        value.push(character);
        if value.len() > MAX_LABEL {
            return Err(TextFault::LabelLong { name: quote(name) });
        }
    }
    Err(TextFault::Labels)
}

/// What kind of metadata a comment is, and what it says; none if it is only a comment.
pub(super) fn metadata(comment: &str, dialect: Dialect) -> Option<(&'static str, &str)> {
    let known: &[&'static str] = match dialect {
        Dialect::Prometheus => &["HELP", "TYPE"],
        Dialect::OpenMetrics => &["HELP", "TYPE", "UNIT"],
    };
    let comment = match dialect {
        Dialect::Prometheus => blanks(comment),
        Dialect::OpenMetrics => comment.strip_prefix(' ')?,
    };
    known.iter().find_map(|what| {
        let rest = comment.strip_prefix(what)?;
        // A comment may begin with a word that begins so.
        let said = rest.is_empty() || rest.starts_with([' ', '\t']);
        said.then(|| (*what, rest.strip_prefix([' ', '\t']).unwrap_or_default()))
    })
}

/// The first word, and what follows the blank after it; none if there is none.
pub(super) fn word(text: &str, dialect: Dialect) -> Option<(&str, &str)> {
    let text = match dialect {
        Dialect::Prometheus => blanks(text),
        Dialect::OpenMetrics => text,
    };
    let (word, rest) = match dialect {
        Dialect::Prometheus => text.split_once([' ', '\t']).unwrap_or((text, "")),
        Dialect::OpenMetrics => text.split_once(' ').unwrap_or((text, "")),
    };
    let rest = match dialect {
        Dialect::Prometheus => blanks(rest),
        Dialect::OpenMetrics => rest,
    };
    (!word.is_empty()).then_some((word, rest))
}

/// A help text without its escapes; a line feed becomes a space.
///
/// # Errors
/// If a backslash escapes nothing.
pub(super) fn unescaped_help(text: &str) -> Result<String, TextFault> {
    let mut help = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        help.push(match character {
            '\\' => match characters.next() {
                Some('n') => ' ',
                Some(escaped @ ('\\' | '"')) => escaped,
                _ => return Err(TextFault::Escape),
            },
            '\t' => ' ',
            other => other,
        });
    }
    Ok(help)
}

/// # Errors
/// If it is none.
pub(super) fn metric_name(text: &str) -> Result<(), TextFault> {
    let begins = |character: char| character.is_ascii_alphabetic() || matches!(character, '_' | ':');
    let goes_on = |character: char| begins(character) || character.is_ascii_digit();
    if text.starts_with(begins) && text.chars().all(goes_on) {
        Ok(())
    } else {
        Err(TextFault::Name { text: quote(text) })
    }
}

/// Names that begin with two underscores are Prometheus's own.
fn is_label_name(text: &str) -> bool {
    let begins = |character: char| character.is_ascii_alphabetic() || character == '_';
    let goes_on = |character: char| begins(character) || character.is_ascii_digit();
    text.starts_with(begins) && text.chars().all(goes_on) && !text.starts_with("__")
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
