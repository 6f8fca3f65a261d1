//! What verifying evidence costs: every format cold (a new verifier) and warm (the same verifier again), on one
//! thread and on two, beside `dcap-qvl` with two backends, the `sev` crate, and bare signature verifications.
//!
//! `make bench NAME=verify`. Figures are microseconds of CPU time of one thread, the least of 15 batches: other
//! work on the machine moves them little.

mod clock;
mod peers;

use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dcap_qvl::configs::RingConfig;
use nautilus_core::{Binding, Evidence, VerifierSet};

use clock::{micros, micros_after};
use nautilus_benches::{Case, Peer, all};
use peers::{AwsLcRs, Floor, Sev, dcap};

/// Aims of the project.
const DCAP_WARM_MICROS: f64 = 120.0;
const DCAP_WARM_TIMES: f64 = 4.0;
const SNP_WARM_FLOORS: f64 = 1.15;
const SNP_WARM_TIMES: f64 = 10.0;
const TWO_THREADS: f64 = 1.8;

/// Not asked for here: the binding costs the comparison of 64 bytes.
const UNBOUND: Binding<'static> = Binding::Unchecked {
    because: "a benchmark asks nobody",
};

fn main() -> Result<()> {
    // `cargo bench` passes `--bench`.
    let floors = Floors::measure()?;
    println!(
        "floor: one P-256 verification {:.1} us, one P-384 verification {:.1} us",
        floors.p256, floors.p384
    );
    println!(
        "\n{:<26} {:>9} {:>9} {:>9} {:>12} {:>12} {:>10}",
        "us of CPU, one thread", "cold", "warm", "floor", "dcap-qvl", "dcap-qvl", "sev"
    );
    println!(
        "{:<26} {:>9} {:>9} {:>9} {:>12} {:>12} {:>10}",
        "", "", "", "(warm)", "(ring)", "(aws-lc-rs)", "8.0.0"
    );
    let mut aims = Aims::default();
    for case in all()? {
        let figures = Figures::measure(&case, &floors).with_context(|| case.name.clone())?;
        figures.print(&case);
        aims.judge(&case, &figures, &floors);
    }
    println!();
    for name in ["tdx-v4-azure-uptodate", "genoa-v5-vcek"] {
        aims.two_threads(name)?;
    }
    println!();
    aims.print();
    Ok(())
}

struct Floors {
    p256: f64,
    p384: f64,
}

impl Floors {
    fn measure() -> Result<Self> {
        let (p256, p384) = (Floor::p256()?, Floor::p384()?);
        p256.verify()?;
        p384.verify()?;
        Ok(Self {
            p256: micros(|| p256.verify().expect("it verified before")),
            p384: micros(|| p384.verify().expect("it verified before")),
        })
    }
}

struct Figures {
    cold: f64,
    warm: f64,
    floor: Option<f64>,
    dcap_ring: Option<f64>,
    dcap_aws: Option<f64>,
    sev: Option<f64>,
}

impl Figures {
    fn measure(case: &Case, floors: &Floors) -> Result<Self> {
        let verify = |set: &VerifierSet| set.verify(&case.evidence, UNBOUND, &case.endorsements, case.now);
        let shared = case.verifiers()?;
        verify(&shared).context("it does not verify")?;
        let cold = micros_after(
            || case.verifiers().expect("it could be made before"),
            |set| drop(verify(&set).expect("it verified before")),
        );
        let warm = micros(|| drop(verify(&shared).expect("it verified before")));
        let floor = case
            .warm_verifications
            .map(|(p256, p384)| f64::from(p256) * floors.p256 + f64::from(p384) * floors.p384);
        let mut figures = Self {
            cold,
            warm,
            floor,
            dcap_ring: None,
            dcap_aws: None,
            sev: None,
        };
        match &case.peer {
            Peer::None => {}
            Peer::Dcap(collateral) => {
                let (quote, now) = (&case.evidence.bytes, case.now.as_secs());
                dcap::<RingConfig>(quote, collateral, now)?;
                figures.dcap_ring = Some(micros(|| {
                    dcap::<RingConfig>(quote, collateral, now).expect("it verified before");
                }));
                dcap::<AwsLcRs>(quote, collateral, now)?;
                figures.dcap_aws = Some(micros(|| {
                    dcap::<AwsLcRs>(quote, collateral, now).expect("it verified before");
                }));
            }
            Peer::Sev { product, vek } => {
                let peer = Sev::new(product, vek)?;
                peer.verify(&case.evidence.bytes)?;
                figures.sev = Some(micros(|| {
                    peer.verify(&case.evidence.bytes).expect("it verified before");
                }));
            }
        }
        Ok(figures)
    }

    fn print(&self, case: &Case) {
        let cell = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.1}"));
        println!(
            "{:<26} {:>9.1} {:>9.1} {:>9} {:>12} {:>12} {:>10}",
            case.name,
            self.cold,
            self.warm,
            cell(self.floor),
            cell(self.dcap_ring),
            cell(self.dcap_aws),
            cell(self.sev)
        );
    }
}

#[derive(Default)]
struct Aims(Vec<String>);

impl Aims {
    fn judge(&mut self, case: &Case, figures: &Figures, floors: &Floors) {
        let name = &case.name;
        if let (Some(ring), Some(aws)) = (figures.dcap_ring, figures.dcap_aws) {
            let best = ring.min(aws);
            self.at_most(format!("{name} warm, us"), figures.warm, DCAP_WARM_MICROS);
            self.at_least(
                format!("{name} warm, times as fast as dcap-qvl"),
                best / figures.warm,
                DCAP_WARM_TIMES,
            );
            self.at_most(
                format!("{name} cold, part of dcap-qvl's"),
                figures.cold / best,
                1.0,
            );
        }
        if let Some(sev) = figures.sev {
            self.at_most(
                format!("{name} warm, in P-384 verifications"),
                figures.warm / floors.p384,
                SNP_WARM_FLOORS,
            );
            self.at_least(
                format!("{name} warm, times as fast as sev"),
                sev / figures.warm,
                SNP_WARM_TIMES,
            );
            self.at_most(format!("{name} cold, part of sev's"), figures.cold / sev, 1.0);
        }
    }

    /// Wall time of a batch on one thread and on two, through the batch API.
    fn two_threads(&mut self, name: &str) -> Result<()> {
        const BATCH: usize = 4000;
        let Some(case) = all()?.into_iter().find(|case| case.name == name) else {
            bail!("no case is named {name}");
        };
        let set = case.verifiers()?;
        let batch: Vec<(Evidence, Binding<'_>)> = vec![(case.evidence.clone(), UNBOUND); BATCH];
        let seconds = |threads: usize| -> Result<f64> {
            let threads = NonZeroUsize::new(threads).context("no threads")?;
            let mut best = f64::INFINITY;
            for _ in 0..7 {
                let started = Instant::now();
                let results = set.verify_many(&batch, &case.endorsements, case.now, threads);
                best = best.min(started.elapsed().as_secs_f64());
                if let Some(error) = results.into_iter().find_map(Result::err) {
                    return Err(error.into());
                }
            }
            Ok(best)
        };
        let (one, two) = (seconds(1)?, seconds(2)?);
        println!(
            "{name}: {:.0} verifications a second on one thread, {:.0} on two (verify_many, warm, wall time)",
            BATCH as f64 / one,
            BATCH as f64 / two
        );
        self.at_least(
            format!("{name} two threads, times as fast as one"),
            one / two,
            TWO_THREADS,
        );
        Ok(())
    }

    fn at_most(&mut self, what: String, value: f64, want: f64) {
        let verdict = if value <= want { "ok" } else { "short" };
        self.0
            .push(format!("aim {what}: {value:.2} want <= {want}: {verdict}"));
    }

    fn at_least(&mut self, what: String, value: f64, want: f64) {
        let verdict = if value >= want { "ok" } else { "short" };
        self.0
            .push(format!("aim {what}: {value:.2} want >= {want}: {verdict}"));
    }

    fn print(&self) {
        for line in &self.0 {
            println!("{line}");
        }
    }
}
