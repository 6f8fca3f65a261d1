//! Whether a stranger can fill the memory of a verifier: a million distinct certificate chains that no vendor
//! signed, against verifiers that remember what they verified.
//!
//! `make bench NAME=memo` takes some minutes; `NAUTILUS_BENCH_CHAINS` sets another number of chains.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use nautilus_core::{Binding, EndorsementKind, Endorsements, Evidence};

use nautilus_benches::{Case, all};

const DEFAULT_CHAINS: usize = 1_000_000;
/// More than this is no longer what an allocator keeps.
const MAX_GROWTH_MIB: f64 = 8.0;
const UNBOUND: Binding<'static> = Binding::Unchecked {
    because: "a benchmark asks nobody",
};

fn main() -> Result<()> {
    let chains = match std::env::var("NAUTILUS_BENCH_CHAINS") {
        Ok(text) => text.parse().context("NAUTILUS_BENCH_CHAINS is no number")?,
        Err(_) => DEFAULT_CHAINS,
    };
    for name in ["sgx-v3-prod", "genoa-v5-vcek"] {
        let case = all()?
            .into_iter()
            .find(|case| case.name == name)
            .context("no such case")?;
        let growth = growth(&case, chains).context(case.name.clone())?;
        let verdict = if growth <= MAX_GROWTH_MIB { "ok" } else { "short" };
        println!(
            "aim {name} growth under {chains} hostile chains, MiB: {growth:.2} want <= {MAX_GROWTH_MIB}: {verdict}"
        );
    }
    Ok(())
}

/// By how many MiB the resident memory grows.
fn growth(case: &Case, chains: usize) -> Result<f64> {
    let set = case.verifiers()?;
    let verify = |evidence: &Evidence, endorsements: &Endorsements| {
        set.verify(evidence, UNBOUND, endorsements, case.now)
    };
    verify(&case.evidence, &case.endorsements).context("the genuine one does not verify")?;
    let accepted = AtomicUsize::new(0);
    let feed = &|numbers: std::ops::Range<usize>| {
        for number in numbers {
            let (evidence, endorsements) = forged(case, number);
            if verify(&evidence, &endorsements).is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            if number % 100_000 == 0 {
                eprintln!("{}: {number} of {chains}", case.name);
            }
        }
    };
    feed(0..1000);
    let before = resident_mib()?;
    thread::scope(|scope| {
        let half = chains.div_ceil(2);
        scope.spawn(move || feed(0..half));
        scope.spawn(move || feed(half..chains));
    });
    let grown = resident_mib()? - before;
    ensure!(accepted.into_inner() == 0, "a forged chain was accepted");
    verify(&case.evidence, &case.endorsements).context("the genuine one no longer verifies")?;
    Ok(grown)
}

/// The case with another certificate: the number stands where the leaf's signature was.
fn forged(case: &Case, number: usize) -> (Evidence, Endorsements) {
    let (mut evidence, mut endorsements) = (case.evidence.clone(), case.endorsements.clone());
    let mark = number.to_be_bytes();
    match endorsements.0.first_mut() {
        Some(endorsement) if endorsement.kind == EndorsementKind::Certificate => {
            let at = endorsement.bytes.len() - mark.len();
            endorsement.bytes[at..].copy_from_slice(&mark);
        }
        _ => evidence.bytes = with_leaf_signature(&evidence.bytes, &mark),
    }
    (evidence, endorsements)
}

/// A quote whose first PEM certificate ends in other bytes.
fn with_leaf_signature(quote: &[u8], mark: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    const END: &[u8] = b"-----END CERTIFICATE-----\n";
    let find = |what: &[u8], from: usize| {
        quote[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at)
    };
    let start = find(BEGIN, 0).expect("a quote carries a chain");
    let end = find(END, start).expect("its leaf ends") + END.len();
    let mut leaf = pem::parse(&quote[start..end]).expect("it is PEM").into_contents();
    let at = leaf.len() - mark.len();
    leaf[at..].copy_from_slice(mark);
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = pem::encode_config(&pem::Pem::new("CERTIFICATE", leaf), config);
    // As long as before, so that no length in the quote changes.
    assert_eq!(text.len(), end - start, "another length of PEM");
    [&quote[..start], text.as_bytes(), &quote[end..]].concat()
}

fn resident_mib() -> Result<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64 / (1024.0 * 1024.0))
}
