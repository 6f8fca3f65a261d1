//! Edge calls from shared memory that anybody may write to: nothing panics, and an argument is where the call says.
#![no_main]

use nautilus_fuzz::fuzz_target;
use nautilus_tee::keystone::{EDGE_CALL_LEN, EdgeCall, EdgeFault};

fn field(shared: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(shared[at..at + 8].try_into().expect("eight bytes"))
}

fuzz_target!(|shared: &[u8]| {
    let parsed = EdgeCall::parse(shared);
    if shared.len() < EDGE_CALL_LEN {
        assert_eq!(parsed, Err(EdgeFault::TooShort { length: shared.len() }));
        return;
    }
    let (offset, length) = (field(shared, 8), field(shared, 16));
    let end = u128::from(offset) + u128::from(length);
    let inside = offset >= EDGE_CALL_LEN as u64 && end <= shared.len() as u128;
    match parsed {
        Ok(call) => {
            assert_eq!(call.id, field(shared, 0));
            assert!(length == 0 || inside, "{offset} and {length} of {}", shared.len());
            let expected = if length == 0 {
                &[]
            } else {
                &shared[offset as usize..end as usize]
            };
            assert_eq!(call.argument, expected);
        }
        Err(_) => assert!(length != 0 && !inside),
    }
});
