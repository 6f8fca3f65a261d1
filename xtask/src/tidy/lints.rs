//! Every crate takes the workspace's lints, and these forbid `unsafe`.

use super::{Offence, tree::Tree};

const RULE: &str = "lints";
/// Workspaces of their own, in which nothing ships: libFuzzer's entry point is `unsafe` by nature, and the peers that
/// are measured or asked would weigh on everybody.
const OWN_WORKSPACES: [&str; 3] = ["benches/Cargo.toml", "fuzz/Cargo.toml", "interop/ear/Cargo.toml"];

/// The two that may have `unsafe`, each with a reason at every block: what asks the kernel for more than safe Rust can
/// say, and the fake kernel.
const WITH_UNSAFE: [&str; 2] = ["crates/sys/Cargo.toml", "crates/testkit/Cargo.toml"];

/// Manifests that do not inherit the workspace's lints.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.texts(&["toml"]) {
        if path == "Cargo.toml" && !has(text, "[workspace.lints.rust]", "unsafe_code = \"forbid\"") {
            offences.push(Offence::new(
                RULE,
                path,
                "[workspace.lints.rust] must say unsafe_code = \"forbid\"",
            ));
        }
        if WITH_UNSAFE.contains(&path) {
            if !has(text, "[lints.clippy]", "undocumented_unsafe_blocks = \"deny\"") {
                offences.push(Offence::new(
                    RULE,
                    path,
                    "must deny undocumented_unsafe_blocks under [lints.clippy]",
                ));
            }
            continue;
        }
        if path.ends_with("/Cargo.toml")
            && !OWN_WORKSPACES.contains(&path)
            && !has(text, "[lints]", "workspace = true")
        {
            offences.push(Offence::new(
                RULE,
                path,
                "must say `workspace = true` under [lints]",
            ));
        }
    }
    offences
}

/// Whether `line` stands in the table that `header` opens.
fn has(manifest: &str, header: &str, line: &str) -> bool {
    let table = manifest
        .lines()
        .map(str::trim)
        .skip_while(|found| *found != header)
        .skip(1);
    table
        .take_while(|found| !found.starts_with('['))
        .any(|found| found == line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_the_workspaces_lints_is_an_offence() {
        let tree = Tree::from([
            (
                "Cargo.toml",
                b"[workspace.lints.rust]\nunsafe_code = \"forbid\"\n".as_slice(),
            ),
            (
                "crates/good/Cargo.toml",
                b"[package]\n\n[lints]\nworkspace = true\n",
            ),
            (
                "crates/elsewhere/Cargo.toml",
                b"[lints]\n[dependencies]\nworkspace = true\n",
            ),
            ("crates/none/Cargo.toml", b"[package]\nedition = \"2024\"\n"),
            ("fuzz/Cargo.toml", b"[package]\n"),
            ("deny.toml", b"[licenses]\n"),
        ]);
        let found = check(&tree)
            .into_iter()
            .map(|offence| offence.at)
            .collect::<Vec<_>>();
        assert_eq!(found, ["crates/elsewhere/Cargo.toml", "crates/none/Cargo.toml"]);
    }

    #[test]
    fn a_workspace_that_only_denies_unsafe_is_an_offence() {
        let tree = Tree::from([(
            "Cargo.toml",
            b"[workspace.lints.rust]\nunsafe_code = \"deny\"\n".as_slice(),
        )]);
        assert_eq!(check(&tree).len(), 1);
    }
}
