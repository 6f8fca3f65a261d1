//! A table of cases: what each should come to, and what the program made of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::run;

/// One run of `nautilus verify --json`.
pub struct Case {
    pub name: String,
    pub arguments: Vec<String>,
    pub expected: Expected,
}

/// What a case should come to.
pub enum Expected {
    /// The vendor's hardware signed it, and this is what it says of itself.
    Genuine { debug: bool, status: Option<String> },
    /// It is refused for one of these reasons, by the error's `kind`.
    Refused(Vec<&'static str>),
    /// It is genuine, and this rule of the policy rejects it.
    ByPolicy(&'static str),
    /// It is genuine, and the policy accepts it.
    Accepted,
}

impl Expected {
    pub fn genuine() -> Self {
        Self::Genuine {
            debug: false,
            status: None,
        }
    }

    fn is_met(&self, found: &Found) -> bool {
        match self {
            Self::Genuine { debug, status } => {
                found.verdict == "genuine" && found.debug == Some(*debug) && found.status == *status
            }
            Self::Refused(kinds) => {
                found.verdict == "rejected"
                    && found.error.as_deref().is_some_and(|kind| kinds.contains(&kind))
            }
            Self::ByPolicy(rule) => {
                found.verdict == "rejected"
                    && found.error.is_none()
                    && found.failed.iter().any(|failed| failed == rule)
            }
            Self::Accepted => found.verdict == "accepted" && found.failed.is_empty(),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genuine { debug, status } => write_genuine(f, *debug, status.as_deref()),
            Self::Refused(kinds) => write!(f, "refused: {}", kinds.join(" or ")),
            Self::ByPolicy(rule) => write!(f, "rejected by policy: {rule}"),
            Self::Accepted => f.write_str("accepted"),
        }
    }
}

fn write_genuine(f: &mut fmt::Formatter<'_>, debug: bool, status: Option<&str>) -> fmt::Result {
    f.write_str("genuine")?;
    status.map_or(Ok(()), |status| write!(f, " {status}"))?;
    if debug { f.write_str(" debug") } else { Ok(()) }
}

/// What the program said.
struct Found {
    verdict: String,
    debug: Option<bool>,
    status: Option<String>,
    error: Option<String>,
    failed: Vec<String>,
}

impl Found {
    fn of(report: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let failed = report["findings"].as_array().into_iter().flatten();
        Self {
            verdict: text(&report["verdict"]).unwrap_or_default(),
            debug: report["claims"]["debug"].as_bool(),
            status: text(&report["tcb"]["status"]),
            error: text(&report["error"]["kind"]),
            failed: failed
                .filter(|finding| finding["passed"] == false)
                .filter_map(|finding| text(&finding["rule"]))
                .collect(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.error, self.verdict.as_str()) {
            (Some(kind), _) => write!(f, "refused: {kind}"),
            (None, "genuine") => write_genuine(f, self.debug.unwrap_or_default(), self.status.as_deref()),
            (None, "rejected") => write!(f, "rejected by policy: {}", self.failed.join(", ")),
            (None, other) => f.write_str(other),
        }
    }
}

/// Runs all cases, prints the table, and fails if one is not what it should be.
pub fn hold(title: &str, cases: &[Case]) {
    let mut mismatches = Vec::new();
    println!("\n{title}: {} cases", cases.len());
    for case in cases {
        let mut arguments = vec!["verify".to_owned(), "--json".to_owned()];
        arguments.extend(case.arguments.iter().cloned());
        let ran = run(arguments);
        let found = Found::of(&ran.json());
        let met = case.expected.is_met(&found);
        let mark = if met { "ok      " } else { "MISMATCH" };
        let line = format!(
            "{mark} {:<44} {:<44} {found}",
            case.name,
            case.expected.to_string()
        );
        println!("{line}");
        if !met {
            mismatches.push(format!("{line}\n{}", ran.stdout));
        }
    }
    assert!(!cases.is_empty(), "{title}: no cases");
    assert!(mismatches.is_empty(), "{title}:\n{}", mismatches.join("\n"));
}

/// The corpus.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

/// The folders of one TEE's corpus, in order.
pub fn folders(tee: &str) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(vectors().join(tee))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a `.jsonl` file.
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Arguments from things that print.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        vec![$($argument.to_string()),*]
    };
}
