//! Every kind of signed message is specified.

use super::{Offence, tree::Tree};

const RULE: &str = "wire";
const CODE: &str = "crates/core/src/message.rs";
const SPECIFICATION: &str = "docs/wire.md";

/// Variants of `Kind` that the specification does not name.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let kinds = tree.text(CODE).map(kinds).unwrap_or_default();
    if kinds.is_empty() {
        return vec![Offence::new(
            RULE,
            CODE,
            "`pub enum Kind` with the kinds of signed message is not here",
        )];
    }
    let Some(specification) = tree.text(SPECIFICATION) else {
        return vec![Offence::new(
            RULE,
            SPECIFICATION,
            "the specification of the signed messages is missing",
        )];
    };
    let words: Vec<&str> = specification
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let unspecified = kinds.into_iter().filter(|kind| !words.contains(kind));
    unspecified
        .map(|kind| {
            Offence::new(
                RULE,
                SPECIFICATION,
                format!("`Kind::{kind}` of {CODE} is not specified"),
            )
        })
        .collect()
}

/// The variants of `pub enum Kind`, one a line as rustfmt writes them.
fn kinds(source: &str) -> Vec<&str> {
    let body = source
        .lines()
        .skip_while(|line| *line != "pub enum Kind {")
        .skip(1);
    let variants = body.map(str::trim).take_while(|line| *line != "}");
    variants
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] =
        b"pub enum Kind {\n    /// Terms.\n    Challenge = 1,\n    Window = 2,\n}\nfn f() {}\n";

    #[test]
    fn specified_kinds_pass() {
        let tree = Tree::from([
            (CODE, SOURCE),
            (SPECIFICATION, b"| 1 | `Challenge` |\n| 2 | Window |\n"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn a_kind_is_specified_by_its_whole_name() {
        let tree = Tree::from([(CODE, SOURCE), (SPECIFICATION, b"Challenge, WindowLog\n")]);
        let expected = format!("`Kind::Window` of {CODE} is not specified");
        assert_eq!(check(&tree), [Offence::new(RULE, SPECIFICATION, expected)]);
    }

    #[test]
    fn a_lost_enum_or_specification_is_an_offence() {
        let lost = |tree: Tree| {
            check(&tree)
                .into_iter()
                .map(|offence| offence.at)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lost(Tree::from([
                (CODE, b"enum Other {}\n".as_slice()),
                (SPECIFICATION, b"")
            ])),
            [CODE]
        );
        assert_eq!(lost(Tree::from([(CODE, SOURCE)])), [SPECIFICATION]);
    }
}
