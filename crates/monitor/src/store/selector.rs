//! Which series a question is about.

use std::fmt;
use std::str::FromStr;

use nautilus_proof::MAX_SERIES_NAME;

/// Series by name: `family`, `family*`, or either with labels that must be equal, as in
/// `nautilus_container_cpu_usage_seconds{pod="a"}`. A family matches its series whatever their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    family: String,
    prefix: bool,
    labels: Vec<(String, String)>,
}

/// Text that selects no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` does not select series ({what}): write a name, `prefix*`, or either with `{{label=\"value\"}}`"
)]
pub struct SelectorError {
    /// The text, cut at 128 characters.
    pub text: String,
    /// The fault.
    pub what: &'static str,
}

impl Selector {
    /// All series.
    pub const fn all() -> Self {
        Self {
            family: String::new(),
            prefix: true,
            labels: Vec::new(),
        }
    }

    /// The labels in a series' full name, with their values unescaped; none if it is no such name.
    pub fn labels_of(series: &str) -> Option<Vec<(String, String)>> {
        parse_labels(split(series).1).ok()
    }

    /// Whether a series, by its full name, is meant.
    pub fn matches(&self, series: &str) -> bool {
        let (family, labels) = split(series);
        let named = if self.prefix {
            family.starts_with(&self.family)
        } else {
            family == self.family
        };
        if !named || self.labels.is_empty() {
            return named;
        }
        let Ok(labels) = parse_labels(labels) else {
            return false;
        };
        self.labels.iter().all(|wanted| labels.contains(wanted))
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let refused = |what| SelectorError {
            text: text.chars().take(128).collect(),
            what,
        };
        if text.len() > MAX_SERIES_NAME {
            return Err(refused("it is too long"));
        }
        let (family, labels) = split(text.trim());
        let (family, prefix) = match family.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (family, false),
        };
        let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
        if !family.chars().all(is_name) || (family.is_empty() && !prefix) {
            return Err(refused("its name is not one of a metric"));
        }
        Ok(Self {
            family: family.to_owned(),
            prefix,
            labels: parse_labels(labels).map_err(refused)?,
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        if self.prefix {
            f.write_str("*")?;
        }
        for (number, (label, value)) in self.labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write!(f, "{before}{label}=\"{value}\"")?;
        }
        if self.labels.is_empty() {
            Ok(())
        } else {
            f.write_str("}")
        }
    }
}

/// A series' family and its labels with their braces.
pub(super) fn split(series: &str) -> (&str, &str) {
    series.find('{').map_or((series, ""), |at| series.split_at(at))
}

fn parse_labels(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let Some(inner) = text.strip_prefix('{') else {
        return if text.is_empty() {
            Ok(Vec::new())
        } else {
            Err("its labels have no brace")
        };
    };
    let mut labels = Vec::new();
    let mut rest = inner;
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"").ok_or("a label has no value in quotes")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().ok_or("a label's value does not end")? {
                (at, '"') => break at,
                (_, '\\') => match characters.next().ok_or("a label's value does not end")?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((label.trim().to_owned(), value));
        let after = after
            .get(end..)
            .and_then(|after| after.strip_prefix('"'))
            .unwrap_or_default();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if rest.is_empty() {
            return Err("its labels have no closing brace");
        }
    }
    if rest == "}" {
        Ok(labels)
    } else {
        Err("there is text after its labels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = "nautilus_pod_x{namespace=\"a\\\"b\",pod=\"c\"}";

    #[test]
    fn names_prefixes_and_labels_select() {
        let matches = |selector: &str| selector.parse::<Selector>().unwrap().matches(SERIES);
        assert!(matches("nautilus_pod_x"));
        assert!(matches("nautilus_*"));
        assert!(matches("*"));
        assert!(matches("nautilus_pod_x{pod=\"c\"}"));
        assert!(matches("*{pod=\"c\", namespace=\"a\\\"b\"}"));
        assert!(!matches("nautilus_pod"));
        assert!(!matches("nautilus_pod_x{pod=\"d\"}"));
        assert!(!matches("nautilus_pod_x{node=\"c\"}"));
        assert!(Selector::all().matches(SERIES));
    }

    #[test]
    fn what_is_shown_selects_the_same() {
        for text in ["a", "a*", "*", "a{b=\"c\",d=\"e\\\"f\\\\\"}"] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let what = |text: &str| text.parse::<Selector>().unwrap_err().what;
        assert_eq!(what(""), "its name is not one of a metric");
        assert_eq!(what("a b"), "its name is not one of a metric");
        assert_eq!(what("a{b=c}"), "a label has no value in quotes");
        assert_eq!(what("a{b=\"c"), "a label's value does not end");
        assert_eq!(what("a{b=\"c\""), "its labels have no closing brace");
        assert_eq!(what("a{b=\"c\"}x"), "there is text after its labels");
        assert_eq!(what(&"a".repeat(MAX_SERIES_NAME + 1)), "it is too long");
    }
}
