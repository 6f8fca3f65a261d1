//! What a collection costs: CPU time of our system and network collectors, beside Debian's node_exporter with the
//! collectors of the same files, scraped in the same run.
//!
//! `make bench NAME=collect` takes half a minute. `scripts/tools.sh` unpacks the program where it is not there: below
//! `target/tools`, or the folder that NAUTILUS_TOOLS names. Both take turns, so that noise hits both alike.

mod exporter;

use std::hint::black_box;

use anyhow::{Result, ensure};
use nautilus_monitor::network::{NetworkCollector, Peers};
use nautilus_monitor::{Collector as _, SystemCollector, readings};
use rustix::time::{ClockId, clock_gettime};

use exporter::Exporter;

/// Aim of the project: of node_exporter's CPU time for the same families.
const AIM: f64 = 0.33;
/// Odd, so that the median is a round.
const ROUNDS: usize = 11;
/// Enough of each in a round for the kernel's 10 ms of the exporter's CPU time not to matter.
const COLLECTIONS: u32 = 300;
const SCRAPES: u32 = 150;

fn main() -> Result<()> {
    let exporter = Exporter::start()?;
    let mut ours = Ours::new()?;
    let mut scraper = exporter.connect()?;
    // What the first times set up is no cost of the later ones.
    let series = ours.collect()?;
    let bytes = scraper.scrape()?;
    println!("ours: {series} series; node_exporter: {bytes} bytes of text");
    let (mut our_costs, mut their_costs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = process_seconds();
        for _ in 0..COLLECTIONS {
            black_box(ours.collect()?);
        }
        let our_cost = (process_seconds() - before) / f64::from(COLLECTIONS);
        let before = exporter.cpu_seconds()?;
        for _ in 0..SCRAPES {
            black_box(scraper.scrape()?);
        }
        let their_cost = (exporter.cpu_seconds()? - before) / f64::from(SCRAPES);
        ensure!(their_cost > 0.0, "node_exporter took no CPU time");
        our_costs.push(our_cost);
        their_costs.push(their_cost);
        ratios.push(our_cost / their_cost);
    }
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "CPU time, microseconds", "least", "median", "most"
    );
    row("ours: measured, named and sorted", &mut our_costs, 1e6);
    row(
        "node_exporter: scraped over HTTP, kept alive",
        &mut their_costs,
        1e6,
    );
    let ratio = row("ours against node_exporter", &mut ratios, 1.0);
    let verdict = if ratio <= AIM { "ok" } else { "short" };
    println!("aim collect CPU against node_exporter: {ratio:.3} want <= {AIM}: {verdict}");
    Ok(())
}

/// Both collectors, as the agent runs them.
struct Ours {
    system: SystemCollector,
    network: NetworkCollector,
}

impl Ours {
    fn new() -> Result<Self> {
        Ok(Self {
            system: SystemCollector::new("/")?,
            network: NetworkCollector::new("/", Peers::default(), None)?,
        })
    }

    /// Measures, and gives the readings as they are committed to: how many there are.
    fn collect(&mut self) -> Result<usize> {
        let mut points = Vec::new();
        self.system.collect()?.points(&mut points);
        self.network.collect()?.points(&mut points);
        let (readings, left_out) = readings(&points);
        ensure!(left_out == 0, "{left_out} readings were left out");
        Ok(black_box(readings).0.len())
    }
}

/// CPU time of this process, in seconds.
fn process_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Prints a row and gives the median.
fn row(name: &str, values: &mut [f64], scale: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let [least, median, most] = [0, values.len() / 2, values.len() - 1].map(|at| values[at] * scale);
    let places = if scale == 1.0 { 3 } else { 0 };
    println!("{name:<44} {least:>9.places$} {median:>9.places$} {most:>9.places$}");
    median
}
