//! Links in Markdown lead somewhere.

use super::{Offence, tree::Tree};

/// Relative links whose file is not in the repository.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.texts(&["md"]) {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for target in targets(text) {
            if !resolve(dir, &target).is_some_and(|file| tree.holds(&file)) {
                offences.push(Offence::new("links", path, format!("`{target}` leads nowhere")));
            }
        }
    }
    offences
}

/// The targets of links to files: `](target)` and `[label]: target`, outside of code.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let inline = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        targets.extend(inline.map(str::to_owned));
        if prose.starts_with('[')
            && let Some((_, target)) = prose.split_once("]: ")
        {
            targets.push(target.to_owned());
        }
    }
    // A title may follow the target, and a fragment may end it.
    let bare = targets
        .iter()
        .filter_map(|target| target.split_whitespace().next());
    let bare = bare.map(|target| target.trim_start_matches('<').trim_end_matches('>'));
    bare.filter(|target| !is_elsewhere(target))
        .map(|target| target.split_once('#').map_or(target, |(file, _)| file).to_owned())
        .filter(|target| !target.is_empty())
        .collect()
}

/// Whether a link has a scheme, such as `https:` or `mailto:`.
fn is_elsewhere(target: &str) -> bool {
    target
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The path from the root that `target` means in `dir`, or `None` when it leaves the repository.
fn resolve(dir: &str, target: &str) -> Option<String> {
    let (base, relative) = target
        .strip_prefix('/')
        .map_or((dir, target), |absolute| ("", absolute));
    let mut path: Vec<&str> = base
        .split('/')
        .filter(|component| !component.is_empty())
        .collect();
    for component in relative.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                path.pop()?;
            }
            name => path.push(name),
        }
    }
    Some(path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_resolve_pass() {
        let text = b"[a](wire.md#kinds) [b](../README.md \"title\") [c](/docs/tee/) [d](#here)\n\
            [e](https://example.org/x.md) <mailto:a@b.c>\n\
            `[code](gone.md)`\n```\n[code](gone.md)\n```\n[label]: tee/sgx.md\n";
        let tree = Tree::from([
            ("docs/a.md", text.as_slice()),
            ("docs/wire.md", b""),
            ("docs/tee/sgx.md", b""),
            ("README.md", b""),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn links_to_nothing_or_out_of_the_repository_are_offences() {
        let text = b"see [a](gone.md), [b](../../etc/passwd)\n[label]: gone/too.md\n";
        let tree = Tree::from([("docs/a.md", text.as_slice())]);
        let found = check(&tree)
            .into_iter()
            .map(|offence| offence.detail)
            .collect::<Vec<_>>();
        let expected =
            ["gone.md", "../../etc/passwd", "gone/too.md"].map(|it| format!("`{it}` leads nowhere"));
        assert_eq!(found, expected);
    }
}
