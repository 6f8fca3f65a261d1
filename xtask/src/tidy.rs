//! The tidy checks. Each is a function of the repository's files (and cargo's metadata), so that each
//! is tested on a tree of a few lines.

mod arrows;
mod layout;
mod links;
mod lints;
mod sources;
mod tree;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use self::tree::Tree;

/// One breach of a rule, by the rule's name, so that a person can find the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    /// The file or crate at fault.
    at: String,
    /// The rule's name: `arrows`, `file-length` …
    rule: &'static str,
    /// What is wrong, and what to do about it.
    detail: String,
}

impl Offence {
    fn new(rule: &'static str, at: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            rule,
            detail: detail.into(),
        }
    }
}

/// Runs every check on this repository and prints what they found. Only offences fail; warnings are
/// listed.
pub fn run() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the repository's root")?;
    let tree = Tree::read(root)?;
    let crates = arrows::workspace_crates(root)?;

    let mut offences = [
        arrows::check(&crates),
        layout::check_length(&tree),
        layout::check_names(&tree),
        lints::check(&tree),
        links::check(&tree),
        wire::check(&tree),
        sources::check(&tree),
    ]
    .concat();
    offences.sort();

    for warning in layout::long_files(&tree) {
        println!("warning[{}]: {}: {}", warning.rule, warning.at, warning.detail);
    }
    for offence in &offences {
        println!("error[{}]: {}: {}", offence.rule, offence.at, offence.detail);
    }
    println!(
        "tidy: {} files, {} crates, {} offences",
        tree.len(),
        crates.len(),
        offences.len()
    );
    Ok(if offences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
