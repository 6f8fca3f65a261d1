//! A YAML text as mappings and scalars that know where they stand.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, ScanError, YamlData};

use super::error::{ConfigError, Origin, shown};
use super::guard;

/// A node with its place.
pub(super) type Node = MarkedYaml<'static>;

/// A text with its file's name. Lines end with `\n` alone; columns are characters from 0 here and from 1
/// in an [`Origin`].
pub(super) struct Source<'a> {
    path: Arc<Path>,
    pub(super) lines: Vec<&'a str>,
}

impl Source<'_> {
    /// The place at a line from 1 and a column from 0.
    pub(super) fn origin(&self, line: usize, column: usize) -> Origin {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin::File {
            path: self.path.clone(),
            line: number(line),
            column: number(column.saturating_add(1)),
        }
    }

    fn origin_of(&self, node: &Node) -> Origin {
        self.origin(node.span.start.line(), node.span.start.col())
    }

    /// The scalar as written. The loader has parsed booleans and numbers, so that their text must be taken
    /// from the source: forty zeros are a PCR value, not the number 0.
    fn text(&self, node: &Node) -> String {
        match &node.data {
            YamlData::Value(Scalar::String(text)) => text.clone().into_owned(),
            YamlData::Value(Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::FloatingPoint(_)) => {
                let start = node.span.start;
                let line = start
                    .line()
                    .checked_sub(1)
                    .and_then(|n| self.lines.get(n))
                    .copied()
                    .unwrap_or("");
                let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
                line.chars().skip(start.col()).take_while(is_part).collect()
            }
            _ => String::new(),
        }
    }
}

/// A loaded file.
pub(super) struct Document<'a> {
    source: Source<'a>,
    /// Nothing, if the file is empty.
    root: Option<Node>,
}

/// What the core schema takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Null,
    Boolean,
    Number,
    Text,
}

/// A scalar in a file.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) kind: ScalarKind,
    pub(super) origin: Origin,
}

/// A key and its value.
pub(super) struct Entry<'a> {
    /// The key's full path, such as `daas.nautilus`.
    pub(super) path: String,
    pub(super) name: String,
    /// Where the key stands.
    pub(super) origin: Origin,
    pub(super) value: &'a Node,
}

impl<'a> Document<'a> {
    /// Reads one document. `text` has no byte order mark and no `\r`.
    ///
    /// # Errors
    /// Text that is no YAML, or that [`guard::check`] refuses.
    pub(super) fn parse(path: Arc<Path>, text: &'a str) -> Result<Self, ConfigError> {
        let source = Source {
            path,
            lines: text.split('\n').collect(),
        };
        guard::check(&source)?;
        let documents = Node::load_from_str(text).map_err(|e| syntax(&source, text, &e))?;
        let mut documents = documents.into_iter();
        let root = documents.next();
        match documents.next() {
            None => Ok(Self { source, root }),
            Some(second) => Err(ConfigError::Unsupported {
                origin: source.origin_of(&second),
                what: "several documents in one file are",
                advice: "put the second document into a file of its own in config.d",
            }),
        }
    }

    /// The entries of the file's outermost mapping.
    ///
    /// # Errors
    /// As of [`entries`](Self::entries).
    pub(super) fn top(&self) -> Result<Vec<Entry<'_>>, ConfigError> {
        self.root
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |root| self.entries("", root))
    }

    /// The entries of the mapping at `path`, each key once. Nothing at all, as when every line below a key
    /// is commented out, is an empty mapping.
    ///
    /// # Errors
    /// A node that is no mapping, a key that is no scalar, a merge key, a key that stands twice.
    pub(super) fn entries<'n>(&self, path: &str, node: &'n Node) -> Result<Vec<Entry<'n>>, ConfigError> {
        let mapping = match &node.data {
            YamlData::Value(Scalar::Null) | YamlData::BadValue => return Ok(Vec::new()),
            YamlData::Mapping(mapping) => mapping,
            _ if path.is_empty() => {
                return Err(self.wrong_type(path, node, "a mapping", "begin the file with `daas:`"));
            }
            _ => {
                let advice = "write its keys on the lines below it, indented by two spaces";
                return Err(self.wrong_type(path, node, "a mapping of keys to values", advice));
            }
        };
        let mut entries: Vec<Entry<'n>> = Vec::new();
        let mut seen: HashMap<String, Origin> = HashMap::new();
        for (key, value) in mapping {
            let origin = self.source.origin_of(key);
            if !matches!(key.data, YamlData::Value(_)) {
                return Err(self.wrong_type(path, key, "a name as the key", "write `key: value`"));
            }
            let name = self.source.text(key);
            if name == "<<" {
                let advice = "write the values themselves";
                return Err(ConfigError::Unsupported {
                    origin,
                    what: "merge keys are",
                    advice,
                });
            }
            let path = join(path, &name);
            if let Some(first) = seen.insert(name.clone(), origin.clone()) {
                return Err(ConfigError::DuplicateKey {
                    key: path,
                    origin,
                    first: Some(first),
                });
            }
            entries.push(Entry {
                path,
                name,
                origin,
                value,
            });
        }
        Ok(entries)
    }

    /// The scalar at `path`.
    ///
    /// # Errors
    /// A node that is a list or a mapping.
    pub(super) fn scalar(&self, path: &str, node: &Node) -> Result<Found, ConfigError> {
        let kind = match &node.data {
            YamlData::Value(Scalar::Null) => ScalarKind::Null,
            YamlData::Value(Scalar::Boolean(_)) => ScalarKind::Boolean,
            YamlData::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) => ScalarKind::Number,
            YamlData::Value(Scalar::String(_)) => ScalarKind::Text,
            _ => {
                return Err(self.wrong_type(
                    path,
                    node,
                    "a single value",
                    "write the value on the key's line",
                ));
            }
        };
        Ok(Found {
            text: self.source.text(node),
            kind,
            origin: self.source.origin_of(node),
        })
    }

    fn wrong_type(&self, path: &str, node: &Node, expected: &'static str, advice: &str) -> ConfigError {
        let found = match &node.data {
            YamlData::Sequence(_) => "a list".to_owned(),
            YamlData::Mapping(_) => "a mapping".to_owned(),
            _ => shown(&self.source.text(node)),
        };
        let key = if path.is_empty() {
            "the file".to_owned()
        } else {
            path.to_owned()
        };
        let origin = self.source.origin_of(node);
        ConfigError::WrongType {
            key,
            origin,
            found,
            expected,
            advice: advice.to_owned(),
        }
    }
}

fn syntax(source: &Source<'_>, text: &str, error: &ScanError) -> ConfigError {
    let marker = error.marker();
    let origin = source.origin(marker.line(), marker.col());
    let detail = error.info().to_owned();
    // The loader says it in no other way than with this text; a test holds it.
    if detail == "duplicated key in mapping" {
        return duplicate(source, text, marker.index(), origin);
    }
    let advice = if detail.contains("mapping values") {
        "put a value that holds `: ` in quotes, and indent the keys of one mapping alike"
    } else {
        "check the quotes, the colons and the indentation around here"
    };
    ConfigError::Syntax {
        origin,
        detail,
        advice,
    }
}

/// Finds which mapping the duplicate key `index` characters into the text belongs to: the one that another
/// key in its place would end.
fn duplicate(source: &Source<'_>, text: &str, index: usize, origin: Origin) -> ConfigError {
    let (before, after) = text
        .char_indices()
        .nth(index)
        .map_or((text, ""), |(at, _)| text.split_at(at));
    let name = key_text(after);
    let head = Source {
        path: source.path.clone(),
        lines: before.split('\n').collect(),
    };
    // Both have been through the guard and the loader once, up to here, so neither fails.
    let closers = guard::check(&head).unwrap_or_default();
    let probe: String = before
        .chars()
        .chain("(duplicate): 0".chars())
        .chain(closers.into_iter().rev())
        .collect();
    let documents = Node::load_from_str(&probe).unwrap_or_default();
    let mut path = String::new();
    let mut node = documents.first();
    while let Some(YamlData::Mapping(mapping)) = node.map(|node| &node.data) {
        let Some((last, value)) = mapping.back() else {
            break;
        };
        if last.span.start.index() == index {
            let first = mapping
                .keys()
                .find(|key| source.text(key) == name)
                .map(|key| source.origin_of(key));
            return ConfigError::DuplicateKey {
                key: join(&path, &name),
                origin,
                first,
            };
        }
        path = join(&path, &source.text(last));
        node = Some(value);
    }
    ConfigError::DuplicateKey {
        key: name,
        origin,
        first: None,
    }
}

/// The key that a text begins with.
fn key_text(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    match line.chars().next() {
        Some(quote @ ('"' | '\'')) => line.split(quote).nth(1).unwrap_or("").to_owned(),
        _ => line.split(':').next().unwrap_or("").trim().to_owned(),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
