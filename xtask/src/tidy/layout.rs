//! How long a file may be, and what it may be called.

use super::{Offence, tree::Tree};

/// A longer file does not pass.
const MAX_LINES: usize = 1_500;
/// A longer Rust file is listed, so that somebody looks for its seam.
const SEAM_LINES: usize = 800;
/// Names that say nothing of what is inside, so that everything ends up inside.
const VAGUE: [&str; 4] = ["utils", "common", "helpers", "misc"];

/// Files too long to read in one sitting.
pub fn check_length(tree: &Tree) -> Vec<Offence> {
    let lengths = tree
        .texts(&["rs", "js", "css", "html"])
        .map(|(path, text)| (path, text.lines().count()));
    let too_long = lengths.filter(|(_, lines)| *lines > MAX_LINES);
    too_long
        .map(|(path, lines)| {
            Offence::new(
                "file-length",
                path,
                format!("{lines} lines; at most {MAX_LINES}: split it at its seam"),
            )
        })
        .collect()
}

/// Rust files that pass, yet are long enough to look for a seam.
pub fn long_files(tree: &Tree) -> Vec<Offence> {
    let lengths = tree
        .texts(&["rs"])
        .map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, lines)| (SEAM_LINES + 1..=MAX_LINES).contains(lines));
    long.map(|(path, lines)| Offence::new("file-length", path, format!("{lines} lines: look for the seam")))
        .collect()
}

/// `mod.rs`, and modules with a name that says nothing.
pub fn check_names(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.texts(&["rs"]) {
        if path == "mod.rs" || path.ends_with("/mod.rs") {
            offences.push(Offence::new(
                "file-name",
                path,
                "write `foo.rs` beside `foo/`, not `foo/mod.rs`",
            ));
        }
        let components = path.strip_suffix(".rs").unwrap_or(path).split('/');
        let modules = text.lines().filter_map(inline_module);
        for name in components.chain(modules).filter(|name| VAGUE.contains(name)) {
            offences.push(Offence::new(
                "file-name",
                path,
                format!("`{name}` says nothing: name what it does"),
            ));
        }
    }
    offences
}

/// The name in `mod name {`, with whatever visibility. `mod name;` has a file, which is checked itself.
fn inline_module(line: &str) -> Option<&str> {
    let before_brace = line.trim().strip_suffix('{')?.trim_end();
    let (before, name) = before_brace.rsplit_once(' ')?;
    (before == "mod" || before.ends_with(" mod")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        b"//\n".repeat(count)
    }

    #[test]
    fn length_fails_above_the_limit_and_warns_above_the_seam() {
        let tree = Tree::from([
            ("src/fits.rs", lines(SEAM_LINES).as_slice()),
            ("src/long.rs", &lines(SEAM_LINES + 1)),
            ("src/longest.rs", &lines(MAX_LINES)),
            ("src/over.rs", &lines(MAX_LINES + 1)),
            ("web/page.css", &lines(MAX_LINES + 1)),
            ("web/page.js", &lines(SEAM_LINES + 1)),
            ("vectors/evidence.json", &lines(MAX_LINES + 1)),
        ]);
        let at = |offences: Vec<Offence>| offences.into_iter().map(|found| found.at).collect::<Vec<_>>();
        assert_eq!(at(check_length(&tree)), ["src/over.rs", "web/page.css"]);
        assert_eq!(at(long_files(&tree)), ["src/long.rs", "src/longest.rs"]);
    }

    #[test]
    fn vague_names_and_mod_rs_are_offences_wherever_they_stand() {
        let tree = Tree::from([
            ("src/a/mod.rs", b"".as_slice()),
            ("src/utils.rs", b""),
            ("tests/common/server.rs", b""),
            ("src/b.rs", b"pub(crate) mod helpers {\n}\n"),
            ("src/c.rs", b"mod misc;\nmod good {\n}\n// a common case {\n"),
        ]);
        let found = check_names(&tree)
            .into_iter()
            .map(|offence| offence.at)
            .collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                "src/a/mod.rs",
                "src/b.rs",
                "src/utils.rs",
                "tests/common/server.rs"
            ]
        );
    }
}
