//! A verifier that has verified before says of every quote what one says that has not: the same claims, or the same
//! error.

use nautilus_core::{Endorsements, RawClaims, TeeKind, TeeVerifier, UnixMillis, VerifyError};
use nautilus_tee::dcap::wire::{Extent, SignatureData};
use nautilus_tee::{sgx, tdx};

use super::corpus::{self, Vector, endorsements, verifier};

type Answer = Result<RawClaims, VerifyError>;

/// Quotes with their collateral, which a verifier saw before.
struct Warm {
    sgx: Box<dyn TeeVerifier>,
    tdx: Box<dyn TeeVerifier>,
}

impl Warm {
    /// Has verified every quote of the corpus with all its collateral at all its times.
    fn new() -> Self {
        let warm = Self {
            sgx: verifier(TeeKind::Sgx),
            tdx: verifier(TeeKind::Tdx),
        };
        for vector in corpus::all() {
            for label in &vector.labels {
                // Whatever it says: it is what other tests are about.
                drop(warm.verify(&vector, &vector.quote, &vector.collateral(label), label.now));
            }
        }
        warm
    }

    fn verify(&self, vector: &Vector, quote: &[u8], endorsements: &Endorsements, now: UnixMillis) -> Answer {
        let verifier = if vector.tee == TeeKind::Sgx {
            &self.sgx
        } else {
            &self.tdx
        };
        verifier.verify(quote, endorsements, now)
    }

    /// The answer, which is that of a new verifier.
    fn agreed(&self, vector: &Vector, quote: &[u8], endorsements: &Endorsements, now: UnixMillis) -> Answer {
        let cold = verifier(vector.tee).verify(quote, endorsements, now);
        let warm = self.verify(vector, quote, endorsements, now);
        assert_eq!(warm, cold, "{} at {now}", vector.name);
        cold
    }
}

/// All of a vector's collateral at once.
fn all_collateral(vector: &Vector) -> Endorsements {
    let documents: Vec<_> = vector
        .labels
        .iter()
        .map(|label| (label.collateral.as_str(), vector.file(&label.collateral)))
        .collect();
    endorsements(&documents)
}

/// Before, within, and after, at the edges and around them.
fn times(now: UnixMillis, until: Option<UnixMillis>) -> Vec<UnixMillis> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let mut times = vec![
        now,
        now.plus(999),
        now.plus(1000),
        now.plus(DAY),
        now.plus(400 * DAY),
        now,
    ];
    times.push(UnixMillis(now.0.saturating_sub(400 * DAY)));
    if let Some(end) = until {
        let before = |millis: u64| UnixMillis(end.0.saturating_sub(millis));
        times.extend([
            before(1000),
            before(1),
            end,
            end.plus(999),
            end.plus(1000),
            before(DAY),
        ]);
    }
    times
}

#[test]
fn every_quote_under_every_collateral_at_every_time_gets_the_same_answer() {
    let warm = Warm::new();
    let (mut accepted, mut refused) = (0, 0);
    for vector in corpus::all() {
        let all = all_collateral(&vector);
        for label in &vector.labels {
            let alone = vector.collateral(label);
            let until = vector
                .verify_first(&vector.quote)
                .ok()
                .and_then(|claims| claims.endorsed_until);
            for now in times(label.now, until) {
                for collateral in [&alone, &all] {
                    match warm.agreed(&vector, &vector.quote, collateral, now) {
                        Ok(_) => accepted += 1,
                        Err(_) => refused += 1,
                    }
                }
            }
        }
    }
    assert!(
        accepted > 200 && refused > 200,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn a_quote_under_the_collateral_of_another_gets_the_same_answer() {
    let warm = Warm::new();
    let vectors = corpus::all();
    for vector in &vectors {
        for other in &vectors {
            for label in other.labels.iter().take(1) {
                drop(warm.agreed(vector, &vector.quote, &other.collateral(label), label.now));
            }
        }
    }
}

#[test]
fn every_flip_of_an_sgx_quote_gets_the_same_answer() {
    every_flip_gets_the_same_answer("sgx-v3-prod");
}

#[test]
fn every_flip_of_a_tdx_quote_of_version_4_gets_the_same_answer() {
    every_flip_gets_the_same_answer("tdx-v4-td10");
}

#[test]
fn every_flip_of_a_tdx_quote_of_version_5_gets_the_same_answer() {
    every_flip_gets_the_same_answer("tdx-v5-td15");
}

/// Of the certificates' text every 31st byte is tried, of everything before it every byte.
const STRIDE: usize = 31;

fn every_flip_gets_the_same_answer(name: &str) {
    let vector = Vector::load(name);
    let label = &vector.labels[0];
    let collateral = vector.collateral(label);
    let warm = verifier(vector.tee);
    let genuine = warm.verify(&vector.quote, &collateral, label.now).unwrap();
    let (signature, extent) = parts(&vector);
    let text = (signature.certification.offset..extent.length).step_by(STRIDE);
    let mut quote = vector.quote.clone();
    for offset in (0..signature.certification.offset).chain(text) {
        let bit = 1 << (offset % 8);
        quote[offset] ^= bit;
        let answer = warm.verify(&quote, &collateral, label.now);
        let cold = verifier(vector.tee).verify(&quote, &collateral, label.now);
        assert_eq!(answer, cold, "{name}: byte {offset}");
        assert!(
            answer.is_err() || offset >= signature.certification.offset,
            "{name}: byte {offset}: {answer:?}"
        );
        quote[offset] ^= bit;
    }
    assert_eq!(warm.verify(&quote, &collateral, label.now), Ok(genuine));
}

#[test]
fn a_changed_document_gets_the_same_answer() {
    for name in ["sgx-v3-prod", "tdx-v5-td15ex"] {
        let vector = Vector::load(name);
        let label = &vector.labels[0];
        let warm = verifier(vector.tee);
        let document = vector.file(&label.collateral);
        warm.verify(&vector.quote, &vector.collateral(label), label.now)
            .unwrap();
        for offset in (0..document.len()).step_by(61) {
            let mut changed = document.clone();
            changed[offset] ^= 1;
            let changed = endorsements(&[("changed", changed)]);
            let cold = vector.verify(&vector.quote, &changed, label.now);
            for _time in 0..2 {
                let answer = warm.verify(&vector.quote, &changed, label.now);
                assert_eq!(answer, cold, "{name}: byte {offset}");
            }
        }
        warm.verify(&vector.quote, &vector.collateral(label), label.now)
            .unwrap();
    }
}

/// One verifier, asked as of two days.
#[test]
fn a_quote_is_up_to_date_as_of_one_day_and_out_of_date_as_of_another() {
    let vector = Vector::load("tdx-v4-td10");
    let all = all_collateral(&vector);
    let verifier = verifier(vector.tee);
    let [later, _, then, _] = &vector.labels[..] else {
        panic!("{} labels", vector.labels.len())
    };
    for _cold_then_warm in 0..2 {
        let now = verifier.verify(&vector.quote, &all, later.now).unwrap().tcb;
        assert_eq!(
            (now.status.unwrap().to_string(), now.evaluation),
            ("OutOfDate".to_owned(), Some(20))
        );
        let module = now
            .shortfalls
            .iter()
            .find(|short| short.component == "TDX module TDX_01 ISVSVN")
            .unwrap();
        assert_eq!((module.have, module.needs), (6, 11));
        let before = verifier.verify(&vector.quote, &all, then.now).unwrap().tcb;
        assert_eq!(
            (before.status.unwrap().to_string(), before.evaluation),
            ("UpToDate".to_owned(), Some(18))
        );
        assert_eq!(before.shortfalls, []);
    }
}

#[test]
fn clones_and_threads_share_a_verifier() {
    let vector = Vector::load("tdx-v5-td15");
    let label = &vector.labels[0];
    let collateral = vector.collateral(label);
    let verifier = tdx::Verifier::intel();
    let expected = verifier.verify(&vector.quote, &collateral, label.now).unwrap();
    std::thread::scope(|scope| {
        for _thread in 0..4 {
            let verifier = verifier.clone();
            let (vector, collateral, expected) = (&vector, &collateral, &expected);
            scope.spawn(move || {
                for _round in 0..20 {
                    let claims = verifier.verify(&vector.quote, collateral, label.now).unwrap();
                    assert_eq!(claims, *expected);
                }
            });
        }
    });
}

fn parts(vector: &Vector) -> (SignatureData, Extent) {
    match vector.tee {
        TeeKind::Sgx => {
            let quote = sgx::parse_quote(&vector.quote).unwrap();
            (quote.signature, quote.extent)
        }
        _ => {
            let quote = tdx::parse_quote(&vector.quote).unwrap();
            (quote.signature, quote.extent)
        }
    }
}
