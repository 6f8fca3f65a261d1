//! Help: complete, narrow enough for a terminal, and never changed by accident.

use std::fmt::Write;
use std::path::Path;

use crate::program::{Ran, run};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/help.txt");
/// Set to 1, the snapshot is written instead of compared.
const BLESS: &str = "NAUTILUS_BLESS";
const WIDTH: usize = 100;

/// The help of a command and of all below it.
fn collect(path: &[String], pages: &mut Vec<(String, String)>) {
    let arguments = path.iter().map(String::as_str).chain(["--help"]);
    let ran = run(arguments).ends_with(0);
    assert_eq!(ran.stderr, "", "{path:?}");
    for name in subcommands(&ran) {
        let below: Vec<_> = path.iter().cloned().chain([name]).collect();
        collect(&below, pages);
    }
    let name = ["nautilus".to_owned()]
        .iter()
        .chain(path)
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    pages.push((name, ran.stdout));
}

/// What stands under `Commands:`.
fn subcommands(ran: &Ran) -> Vec<String> {
    let lines = ran.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect(&[], &mut pages);
    pages.sort();
    pages
}

#[test]
fn every_page_of_help_is_as_it_was() {
    let mut text = String::new();
    for (name, page) in pages() {
        writeln!(text, "$ {name} --help\n{}", page.trim_end()).unwrap();
        writeln!(text, "{}", "-".repeat(WIDTH)).unwrap();
    }
    // clap leaves spaces at the end of some lines; editors and git do not.
    let text: String = text
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(Path::new(SNAPSHOT).parent().unwrap()).unwrap();
        std::fs::write(SNAPSHOT, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(SNAPSHOT)
        .unwrap_or_else(|error| panic!("{SNAPSHOT}: {error}; write it with {BLESS}=1"));
    for (number, (found, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(
            found,
            expected,
            "line {} of {SNAPSHOT}; if it is meant to change, run the test with {BLESS}=1",
            number + 1
        );
    }
    assert_eq!(text, expected, "{SNAPSHOT}; if it is meant to change: {BLESS}=1");
}

#[test]
fn help_is_narrow_and_every_page_is_there() {
    let pages = pages();
    let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "nautilus",
        "nautilus agent attest",
        "nautilus agent metrics",
        "nautilus attest",
        "nautilus config view",
        "nautilus detect",
        "nautilus enclave create",
        "nautilus enclave list",
        "nautilus enclave resume",
        "nautilus enclave rotate",
        "nautilus enclave suspend",
        "nautilus enclave terminate",
        "nautilus endorsements archive",
        "nautilus endorsements fetch",
        "nautilus endorsements import",
        "nautilus endorsements list",
        "nautilus endorsements prune",
        "nautilus enroll tpm answer",
        "nautilus enroll tpm finish",
        "nautilus enroll tpm request",
        "nautilus enroll tpm start",
        "nautilus ledger claim",
        "nautilus ledger nodes",
        "nautilus ledger proofs",
        "nautilus ledger replay",
        "nautilus ledger rewards",
        "nautilus ledger status",
        "nautilus policy check",
        "nautilus policy ear-keys",
        "nautilus policy explain",
        "nautilus policy new",
        "nautilus proof show",
        "nautilus proof verify",
        "nautilus up",
        "nautilus verify",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for (name, page) in &pages {
        for line in page.lines() {
            let width = line.chars().count();
            assert!(width <= WIDTH, "{name}: {width} columns: {line}");
        }
        assert!(page.contains("Usage: nautilus"), "{name}: {page}");
    }
}

#[test]
fn the_first_page_says_what_exit_codes_mean() {
    let page = run(["--help"]).ends_with(0).stdout.replace('\n', " ");
    for code in [
        "Exit codes: 0 accepted or done",
        "1 rejected",
        "2 wrong usage or configuration",
        "3 something outside is missing",
    ] {
        assert!(page.contains(code), "{code}: {page}");
    }
    let version = run(["--version"]).ends_with(0).stdout;
    assert_eq!(version, format!("nautilus {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_possible() {
    let bare = run::<&str>([]).ends_with(2);
    assert!(bare.stderr.contains("Usage: nautilus"), "{bare:?}");
    for (arguments, told) in [
        (&["upp"][..], "'up'"),
        (&["verify"], "<FILE>"),
        (&["verify", "x", "--policies", "y"], "'--policy'"),
        (&["verify", "x", "--at", "yesterday"], "RFC 3339"),
        (&["verify", "x", "--challenge", "12"], "64 hex digits"),
        (
            &["attest", "--type", "coffee", "-o", "x"],
            "boot, runtime, performance, workload",
        ),
        (&["attest", "--challenge", "xyz", "-o", "x"], "64 hex digits"),
        (&["attest", "--tee", "abacus", "-o", "x"], "unknown TEE `abacus`"),
        (&["agent", "attest", "--challenge", "xyz"], "64 hex digits"),
        (&["enclave", "create", "../x"], "cannot be the name of an enclave"),
        (&["enclave", "terminate"], "<NAME>"),
        (&["ledger"], "Usage: nautilus ledger"),
        (&["ledger", "proofs", "--node", "12"], "64 hex digits"),
        (&["proof", "verify"], "<FILE>"),
        (&["up", "--listen", "localhost"], "--listen"),
    ] {
        let ran = run(arguments.iter().copied()).ends_with(2);
        assert!(ran.stderr.contains(told), "{arguments:?} says {told:?}: {ran:?}");
    }
}
