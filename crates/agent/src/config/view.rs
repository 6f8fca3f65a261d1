//! The configuration as people and programs read it back: each value with its origin, or a file again.

use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::Config;
use super::error::{Origin, Warning};
use super::field::{BLOCK, FIELDS};

/// A value with its key and origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResolvedValue {
    /// The key's full path, such as `daas.nautilus.metrics_interval`.
    pub key: String,
    /// The value in the form that a file holds.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// All values with their origins, and what looked odd on the way. `Display` is the table that
/// `nautilus config view --resolved` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// All values, in the specification's order.
    pub values: Vec<ResolvedValue>,
    /// As of [`Config::warnings`].
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Each value and where it came from, in the specification's order.
    #[must_use]
    pub fn resolved_rows(&self) -> Vec<ResolvedValue> {
        let row = |field: &super::field::Field| {
            let (value, origin) = (field.show)(self);
            ResolvedValue {
                key: format!("{BLOCK}.{}", field.name),
                value,
                origin: origin.clone(),
            }
        };
        FIELDS.iter().map(row).collect()
    }

    /// The rows together with the warnings, to print or to serialise.
    #[must_use]
    pub fn resolved(&self) -> Resolved {
        Resolved {
            values: self.resolved_rows(),
            warnings: self.warnings().to_vec(),
        }
    }

    /// The configuration as a file that gives the same values, in the specification's shape.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::from("daas:\n  nautilus:\n");
        // Writing to a String cannot fail.
        for field in &FIELDS {
            let (value, _) = (field.show)(self);
            match value {
                Value::Object(entries) if !entries.is_empty() => {
                    let _ = writeln!(text, "    {}:", field.name);
                    // Sorted by number, as the policy is, and not by name.
                    for (pcr, digest) in self.pcr_policy() {
                        let _ = writeln!(text, "      pcr{pcr}: \"{}\"", hex::encode(digest));
                    }
                }
                // JSON's notation of a string, a number, a boolean and an empty mapping is YAML's too.
                value => {
                    let _ = writeln!(text, "    {}: {value}", field.name);
                }
            }
        }
        text
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<(String, String, String)> = Vec::new();
        for ResolvedValue { key, value, origin } in &self.values {
            match value {
                Value::Object(entries) if !entries.is_empty() => {
                    let mut entries: Vec<_> = entries.iter().collect();
                    entries.sort_by_key(|(name, _)| (name.len(), name.as_str()));
                    let row = |(name, value): (&String, &Value)| {
                        (format!("{key}.{name}"), value.to_string(), origin.to_string())
                    };
                    rows.extend(entries.into_iter().map(row));
                }
                value => rows.push((key.clone(), value.to_string(), origin.to_string())),
            }
        }
        let width = |column: fn(&(String, String, String)) -> &String| {
            rows.iter()
                .map(|row| column(row).chars().count())
                .max()
                .unwrap_or(0)
        };
        let (keys, values) = (width(|row| &row.0), width(|row| &row.1));
        for (key, value, origin) in &rows {
            writeln!(f, "{key:keys$}  {value:values$}  {origin}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
