//! Quotes of SGX and TDX with bytes changed: a verifier that has verified before says of each what one says that has
//! not.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, TeeVerifier, UnixMillis};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::{sgx, tdx};

/// A genuine quote with its collateral, and a verifier that knows both.
struct Seed {
    quote: &'static [u8],
    collateral: &'static [u8],
    now: UnixMillis,
    new: fn() -> Box<dyn TeeVerifier>,
    warm: Box<dyn TeeVerifier>,
}

impl Seed {
    fn new(
        quote: &'static [u8],
        collateral: &'static [u8],
        now: u64,
        new: fn() -> Box<dyn TeeVerifier>,
    ) -> Self {
        let seed = Self {
            quote,
            collateral,
            now: UnixMillis::from_secs(now),
            new,
            warm: new(),
        };
        let genuine = seed.warm.verify(quote, &endorse(collateral.to_vec()), seed.now);
        assert!(genuine.is_ok(), "the seed does not verify: {genuine:?}");
        seed
    }
}

static SEEDS: LazyLock<[Seed; 3]> = LazyLock::new(|| {
    [
        Seed::new(
            include_bytes!("../../vectors/sgx/sgx-v3-prod/quote.bin"),
            include_bytes!("../../vectors/sgx/sgx-v3-prod/collateral-0.json"),
            1_750_334_171,
            || Box::new(sgx::Verifier::intel()),
        ),
        Seed::new(
            include_bytes!("../../vectors/tdx/tdx-v4-td10/quote.bin"),
            include_bytes!("../../vectors/tdx/tdx-v4-td10/collateral-0.json"),
            1_791_422_906,
            || Box::new(tdx::Verifier::intel()),
        ),
        Seed::new(
            include_bytes!("../../vectors/tdx/tdx-v5-td15/quote.bin"),
            include_bytes!("../../vectors/tdx/tdx-v5-td15/collateral-0.json"),
            1_773_704_045,
            || Box::new(tdx::Verifier::intel()),
        ),
    ]
});

fn endorse(bytes: Vec<u8>) -> Endorsements {
    Endorsements(vec![Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes,
        origin: "the seed".to_owned(),
    }])
}

// The input says which seed, in whose quote or collateral, and how far from its time; then four bytes for every
// change: where, in three, and what is XORed there.
fuzz_target!(|input: &[u8]| {
    let Some(([seed, part, shift @ ..], changes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let Some(seed) = SEEDS.get(usize::from(*seed) % SEEDS.len()) else {
        return;
    };
    let (mut quote, mut collateral) = (seed.quote.to_vec(), seed.collateral.to_vec());
    let changed = if part & 1 == 0 {
        &mut quote
    } else {
        &mut collateral
    };
    for change in changes.chunks_exact(4).take(16) {
        let [a, b, c, bits] = *change else { continue };
        let at = usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap_or_default() % changed.len();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= bits;
        }
    }
    // Within 260 days of it, either way.
    let shift = u64::from(u16::from_le_bytes(*shift)) * 344_000;
    let now = UnixMillis(if part & 2 == 0 {
        seed.now.0
    } else if part & 4 == 0 {
        seed.now.0.saturating_add(shift)
    } else {
        seed.now.0.saturating_sub(shift)
    });
    let endorsements = endorse(collateral);
    let cold = (seed.new)().verify(&quote, &endorsements, now);
    for _ in 0..2 {
        let warm = seed.warm.verify(&quote, &endorsements, now);
        assert_eq!(warm, cold, "the memory changed the answer");
    }
});
