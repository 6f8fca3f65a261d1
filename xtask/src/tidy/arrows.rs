//! Which crate may see which. The table is the architecture: a crate or an edge that is not in it is an
//! offence, and so is a row without a crate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Offence;

const RULE: &str = "arrows";

/// Each crate with the workspace crates that it may depend on, outside of tests.
///
/// `nautilus-tee` is seen by what touches devices or composes the whole, so that nothing else can tell
/// one TEE from another. `nautilus-testkit` is nobody's dependency but tests'.
const ALLOWED: &[(&str, &[&str])] = &[
    ("nautilus-core", &[]),
    ("nautilus-sys", &[]),
    ("nautilus-tee", &["nautilus-core", "nautilus-sys"]),
    ("nautilus-channel", &["nautilus-core"]),
    ("nautilus-endorsements", &["nautilus-core"]),
    ("nautilus-proof", &["nautilus-core"]),
    ("nautilus-monitor", &["nautilus-core", "nautilus-proof"]),
    ("nautilus-ledger", &["nautilus-core", "nautilus-proof"]),
    (
        "nautilus-enclave",
        &[
            "nautilus-core",
            "nautilus-channel",
            "nautilus-proof",
            "nautilus-sys",
            "nautilus-tee",
        ],
    ),
    (
        "nautilus-verifier",
        &[
            "nautilus-core",
            "nautilus-channel",
            "nautilus-endorsements",
            "nautilus-proof",
            "nautilus-ledger",
        ],
    ),
    (
        "nautilus-agent",
        &[
            "nautilus-core",
            "nautilus-channel",
            "nautilus-proof",
            "nautilus-monitor",
            "nautilus-enclave",
            "nautilus-verifier",
        ],
    ),
    (
        "nautilus",
        &[
            "nautilus-core",
            "nautilus-channel",
            "nautilus-tee",
            "nautilus-endorsements",
            "nautilus-proof",
            "nautilus-monitor",
            "nautilus-ledger",
            "nautilus-enclave",
            "nautilus-verifier",
            "nautilus-agent",
        ],
    ),
    ("nautilus-testkit", &["nautilus-core"]),
    ("xtask", &[]),
];

/// A workspace crate and the workspace crates that it depends on outside of tests.
#[derive(Debug)]
pub struct Crate {
    name: String,
    sees: Vec<String>,
}

/// Asks cargo for the workspace's crates. No network: only the manifests are read.
pub fn workspace_crates(root: &Path) -> Result<Vec<Crate>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    crates_of(&serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?)
}

/// Holds the workspace's edges against the table.
pub fn check(crates: &[Crate]) -> Vec<Offence> {
    let unlisted = crates.iter().flat_map(|each| {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == each.name) else {
            let detail =
                "not in the table of arrows (xtask/src/tidy/arrows.rs): add a row that says what it may see";
            return vec![Offence::new(RULE, &each.name, detail)];
        };
        let forbidden = each.sees.iter().filter(|seen| !allowed.contains(&seen.as_str()));
        forbidden
            .map(|seen| Offence::new(RULE, &each.name, format!("may not depend on {seen}")))
            .collect()
    });
    let stale = ALLOWED
        .iter()
        .filter(|(name, _)| !crates.iter().any(|each| each.name == *name));
    let stale =
        stale.map(|(name, _)| Offence::new(RULE, *name, "in the table of arrows, not in the workspace"));
    unlisted.chain(stale).collect()
}

fn crates_of(metadata: &Value) -> Result<Vec<Crate>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    packages
        .iter()
        .map(|package| {
            let name = package["name"]
                .as_str()
                .context("a package has no name")?
                .to_owned();
            let dependencies = package["dependencies"]
                .as_array()
                .context("a package has no dependencies")?;
            // A path dependency is one on the workspace; a development dependency is a test's business.
            let sees = dependencies
                .iter()
                .filter(|dependency| dependency["path"].is_string() && dependency["kind"] != "dev")
                .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
                .collect();
            Ok(Crate { name, sees })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The workspace exactly as the table allows it.
    fn allowed() -> Vec<Crate> {
        let owned = |sees: &[&str]| sees.iter().map(|&name| name.to_owned()).collect();
        ALLOWED
            .iter()
            .map(|(name, sees)| Crate {
                name: (*name).to_owned(),
                sees: owned(sees),
            })
            .collect()
    }

    #[test]
    fn the_table_allows_itself() {
        assert_eq!(check(&allowed()), []);
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Every crate but the testkit sees only crates above its row.
        for (row, (name, sees)) in ALLOWED.iter().enumerate() {
            for seen in *sees {
                let at = ALLOWED.iter().position(|(name, _)| name == seen);
                assert!(at.is_some_and(|at| at < row), "{name} → {seen}");
            }
        }
    }

    #[test]
    fn an_agent_that_sees_tee_is_an_offence() {
        let mut crates = allowed();
        crates
            .iter_mut()
            .find(|each| each.name == "nautilus-agent")
            .unwrap()
            .sees
            .push("nautilus-tee".into());
        assert_eq!(
            check(&crates),
            [Offence::new(
                RULE,
                "nautilus-agent",
                "may not depend on nautilus-tee"
            )]
        );
    }

    #[test]
    fn the_testkit_is_nobodys_normal_dependency() {
        assert!(!ALLOWED.iter().any(|(_, sees)| sees.contains(&"nautilus-testkit")));
    }

    #[test]
    fn an_unlisted_crate_and_a_row_without_a_crate_are_offences() {
        let mut crates = allowed();
        let xtask = crates.iter_mut().find(|each| each.name == "xtask").unwrap();
        xtask.name = "newcomer".into();
        let offences = check(&crates);
        assert_eq!(
            offences.iter().map(|found| found.at.as_str()).collect::<Vec<_>>(),
            ["newcomer", "xtask"]
        );
    }

    #[test]
    fn development_and_registry_dependencies_are_no_arrows() {
        let metadata = json!({"packages": [{"name": "nautilus-core", "dependencies": [
            {"name": "serde", "kind": null},
            {"name": "nautilus-testkit", "kind": "dev", "path": "/x/testkit"},
            {"name": "nautilus-tee", "kind": "build", "path": "/x/tee"},
        ]}]});
        let crates = crates_of(&metadata).unwrap();
        assert_eq!(crates[0].sees, ["nautilus-tee"]);
    }
}
