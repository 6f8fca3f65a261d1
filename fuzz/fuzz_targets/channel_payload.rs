//! What the ends of a channel say to each other: content has exactly one encoding.
#![no_main]

use nautilus_channel::{Credential, Fault, Hello, Termination, Verdict, decode_bcs, encode_bcs};
use nautilus_fuzz::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn one_encoding<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(content) = decode_bcs::<T>(bytes) else {
        return;
    };
    assert_eq!(encode_bcs(&content).as_deref(), Ok(bytes));
    let longer = [bytes, &[0]].concat();
    assert!(decode_bcs::<T>(&longer).is_err(), "a byte too many");
}

fuzz_target!(|bytes: &[u8]| {
    one_encoding::<Hello>(bytes);
    one_encoding::<Credential>(bytes);
    one_encoding::<Verdict>(bytes);
    one_encoding::<Fault>(bytes);
    one_encoding::<Termination>(bytes);
});
