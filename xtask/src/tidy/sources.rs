//! Every piece of evidence says where it came from.

use std::collections::BTreeSet;

use super::{Offence, tree::Tree};

const RULE: &str = "sources";
const SOURCES: &str = "vectors/SOURCES.md";

/// Directories of binary evidence that no row of `vectors/SOURCES.md` names.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let evidence: BTreeSet<&str> = tree.binaries().filter_map(evidence_dir).collect();
    let rows: Vec<BTreeSet<&str>> = tree
        .text(SOURCES)
        .unwrap_or_default()
        .lines()
        .filter_map(row)
        .collect();
    let unsourced = evidence.into_iter().filter(|dir| {
        let components: Vec<&str> = dir.split('/').collect();
        !rows
            .iter()
            .any(|row| components.iter().all(|component| row.contains(component)))
    });
    unsourced
        .map(|dir| {
            Offence::new(
                RULE,
                format!("vectors/{dir}"),
                format!("holds evidence without a row in {SOURCES}"),
            )
        })
        .collect()
}

/// The directory of a file under `vectors/`, from there.
fn evidence_dir(path: &str) -> Option<&str> {
    path.strip_prefix("vectors/")?
        .rsplit_once('/')
        .map(|(dir, _)| dir)
}

/// The names in one row of a table: a directory may be named whole in one cell or by part in several.
fn row(line: &str) -> Option<BTreeSet<&str>> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    line.starts_with('|').then(|| {
        line.split(|c: char| !is_name(c))
            .filter(|name| !name.is_empty())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_name_the_directory_in_one_cell_or_in_several() {
        let tree = Tree::from([
            ("vectors/tdx/v4-prod/quote.bin", b"x".as_slice()),
            ("vectors/sgx/v3-debug/quote.dat", &[0xff, 0xfe]),
            ("vectors/sgx/v3-debug/meta.json", b"{}"),
            (
                SOURCES,
                b"| tdx | v4-prod/quote.bin | a/repo |\n| `sgx/v3-debug` | b/repo |\n",
            ),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn evidence_without_a_row_is_an_offence() {
        let tree = Tree::from([
            ("vectors/tdx/v4-prod/quote.bin", b"x".as_slice()),
            ("vectors/tdx/v4/quote.bin", b"x"),
            (
                SOURCES,
                b"v4-prod and tdx, in prose\n| tdx | v4-prod-2/quote.bin |\n| tdx | v4 |\n",
            ),
        ]);
        let expected = format!("holds evidence without a row in {SOURCES}");
        assert_eq!(
            check(&tree),
            [Offence::new(RULE, "vectors/tdx/v4-prod", expected)]
        );
    }

    #[test]
    fn binaries_outside_of_vectors_are_not_evidence() {
        let tree = Tree::from([("web/icon.png", [0xffu8].as_slice())]);
        assert_eq!(check(&tree), []);
    }
}
