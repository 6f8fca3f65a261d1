//! Sealing with the trusted application nautilus-state.

use nautilus_core::{Protection, SealError, Sealer};
use nautilus_testkit::device::optee::{Build, FakeOptee, Fault, Storage, TrustedApplication};
use nautilus_testkit::vendor::optee::OpteeKey;

use crate::setting::{kernel, open};

/// Runs with the sealer of a device with this storage.
fn with<T: Send>(storage: &Storage, work: impl FnOnce(&dyn Sealer) -> T + Send) -> T {
    let application = TrustedApplication::start(storage.clone());
    let device = FakeOptee::new(OpteeKey::device_a()).with_state(application);
    kernel(device).run(|| {
        let platform = open().expect("the device is there");
        work(&*platform.sealer.expect("nautilus-state is installed"))
    })
}

fn sealed_on(storage: &Storage, plaintext: &[u8]) -> Vec<u8> {
    with(storage, |sealer| sealer.seal(plaintext).expect("it seals"))
}

fn opened_on(storage: &Storage, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    with(storage, |sealer| {
        sealer.unseal(sealed).map(|plaintext| plaintext.to_vec())
    })
}

fn not_ours(result: Result<Vec<u8>, SealError>) -> String {
    match result {
        Err(SealError::NotOurs { what }) => what,
        other => panic!("{other:?}"),
    }
}

/// What the TEE did not do, and why.
fn refused<T: std::fmt::Debug>(result: Result<T, SealError>) -> (&'static str, String) {
    match result {
        Err(SealError::Tee { action, what }) => (action, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_the_trusted_application_there_is_no_sealer() {
    let device = FakeOptee::new(OpteeKey::device_a());
    let sealer = kernel(device).run(|| open().expect("the device is there").sealer.is_some());
    assert!(!sealer);
}

#[test]
fn what_was_sealed_opens_on_the_same_device_after_a_restart() {
    let storage = Storage::default();
    for plaintext in [&b"state"[..], b"", &[7; 16 * 1024]] {
        let sealed = sealed_on(&storage, plaintext);
        assert_eq!(sealed.len(), plaintext.len() + 44);
        assert_ne!(sealed, sealed_on(&storage, plaintext), "a nonce came twice");
        assert_eq!(opened_on(&storage, &sealed).expect("it opens"), plaintext);
    }
    // `TEE_STORAGE_PRIVATE`.
    assert_eq!(storage.storages_used(), [1]);
}

#[test]
fn more_than_a_state_is_refused_before_it_is_sent() {
    let result = with(&Storage::default(), |sealer| sealer.seal(&[0; 16 * 1024 + 1]));
    assert_eq!(
        refused(result),
        (
            "seal",
            "16385 bytes, where at most 16384 are sealed at once".to_owned()
        )
    );
}

#[test]
fn another_device_opens_nothing() {
    let ours = Storage::default();
    let sealed = sealed_on(&ours, b"state");
    let empty = Storage::default();
    assert_eq!(
        not_ours(opened_on(&empty, &sealed)),
        "nautilus-state has no key: nothing was sealed here, or its storage was emptied"
    );
    let other = Storage::default();
    let _its_own = sealed_on(&other, b"state");
    assert_eq!(
        not_ours(opened_on(&other, &sealed)),
        "its authentication tag is for another key"
    );
}

#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    let storage = Storage::default();
    let sealed = sealed_on(&storage, b"state");
    with(&storage, |sealer| {
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let what = not_ours(sealer.unseal(&changed).map(|plaintext| plaintext.to_vec()));
            let expected = match at {
                0..16 => "it does not start as state sealed by nautilus-state does",
                _ => "its authentication tag is for another key",
            };
            assert_eq!(what, expected, "byte {at}");
            let what = not_ours(sealer.unseal(&sealed[..at]).map(|plaintext| plaintext.to_vec()));
            let expected = match at {
                0..44 => "it is too short",
                _ => "its authentication tag is for another key",
            };
            assert_eq!(what, expected, "cut to {at}");
        }
        let too_long = [sealed.as_slice(), &[0; 16 * 1024]].concat();
        let what = not_ours(sealer.unseal(&too_long).map(|plaintext| plaintext.to_vec()));
        assert_eq!(what, "it is too long");
    });
}

#[test]
fn the_counter_grows_by_one_and_outlives_a_restart() {
    let storage = Storage::default();
    let values = with(&storage, |sealer| {
        let counter = sealer.counter().expect("it has a counter");
        [
            counter.read(),
            counter.advance(),
            counter.advance(),
            counter.read(),
        ]
        .map(|value| value.expect("it counts"))
    });
    assert_eq!(values, [0, 1, 2, 2]);
    let after = with(&storage, |sealer| {
        sealer.counter().expect("it has a counter").advance()
    });
    assert_eq!(after.expect("it counts"), 3);
}

/// What the enclave does with a counter: state holds the value that it was sealed at, and an older one is refused.
#[test]
fn an_old_copy_of_sealed_state_is_behind_the_counter() {
    let storage = Storage::default();
    let seal = |sealer: &dyn Sealer| {
        let value = sealer.counter().expect("it has a counter").advance();
        let value = value.expect("it counts");
        sealer.seal(&value.to_le_bytes()).expect("it seals")
    };
    let is_newest = |sealer: &dyn Sealer, sealed: &[u8]| {
        let value = sealer.unseal(sealed).expect("it opens");
        let counter = sealer.counter().expect("it has a counter").read();
        value.as_slice() == counter.expect("it counts").to_le_bytes()
    };
    with(&storage, |sealer| {
        let old = seal(sealer);
        assert!(is_newest(sealer, &old));
        let new = seal(sealer);
        assert!(!is_newest(sealer, &old), "the old copy passes");
        assert!(is_newest(sealer, &new));
    });
}

/// Key and counter are one object: resetting the one loses the other.
#[test]
fn emptied_storage_resets_the_counter_and_loses_the_key() {
    let storage = Storage::default();
    let sealed = sealed_on(&storage, b"state");
    with(&storage, |sealer| {
        assert_eq!(sealer.counter().unwrap().advance().expect("it counts"), 1);
    });
    storage.empty();
    with(&storage, |sealer| {
        assert_eq!(sealer.counter().unwrap().read().expect("it counts"), 0);
        let what = not_ours(sealer.unseal(&sealed).map(|plaintext| plaintext.to_vec()));
        assert_eq!(what, "its authentication tag is for another key");
    });
}

/// What documentation says that storage without RPMB does not prevent.
#[test]
fn a_copy_of_the_whole_storage_takes_the_counter_back() {
    let storage = Storage::default();
    let advance = |sealer: &dyn Sealer| sealer.counter().unwrap().advance().expect("it counts");
    assert_eq!(with(&storage, advance), 1);
    let copy = storage.copied();
    assert_eq!(with(&storage, advance), 2);
    storage.restore(&copy);
    assert_eq!(with(&storage, advance), 2, "documentation says otherwise");
}

#[test]
fn the_end_of_the_counter_is_not_its_beginning() {
    let storage = Storage::default();
    let _made = sealed_on(&storage, b"state");
    let mut last = [0xff; 40];
    storage.overwrite(&last);
    let result = with(&storage, |sealer| sealer.counter().unwrap().advance());
    let (action, what) = refused(result);
    assert_eq!(action, "advance its counter");
    assert!(what.contains("0xffff300f"), "{what}");
    last[0] = 0xfe;
    storage.overwrite(&last);
    let result = with(&storage, |sealer| sealer.counter().unwrap().advance());
    assert_eq!(result.expect("there is one more"), u64::MAX);
}

#[test]
fn a_record_of_another_length_is_corrupt() {
    let storage = Storage::default();
    let sealed = sealed_on(&storage, b"state");
    storage.overwrite(&[0; 39]);
    for (action, what) in [
        with(&storage, |sealer| refused(sealer.seal(b"state"))),
        with(&storage, |sealer| {
            refused(sealer.unseal(&sealed).map(|plaintext| plaintext.to_vec()))
        }),
        with(&storage, |sealer| refused(sealer.counter().unwrap().read())),
    ] {
        assert!(what.contains("corrupt"), "{action}: {what}");
        assert!(what.contains("0xf0100001"), "{action}: {what}");
    }
}

#[test]
fn protection_says_where_the_key_is() {
    let bound_to = |build, expected: &str| {
        let storage = Storage::default();
        let application = TrustedApplication::start_built(storage.clone(), build);
        let device = FakeOptee::new(OpteeKey::device_a()).with_state(application);
        let protection = kernel(device).run(|| {
            let sealer = open().expect("the device is there").sealer;
            let sealer = sealer.expect("nautilus-state is installed");
            sealer.seal(b"state").expect("it seals");
            sealer.protection()
        });
        let Protection::Tee { bound_to } = protection else {
            panic!("{protection:?}")
        };
        assert_eq!(bound_to, expected);
        storage.storages_used()
    };
    let used = bound_to(
        Build::Default,
        "a key of the trusted application nautilus-state in OP-TEE's secure storage, on this device",
    );
    assert_eq!(used, [1]);
    let used = bound_to(
        Build::Rpmb,
        "a key of the trusted application nautilus-state in OP-TEE's secure storage on RPMB, on this device",
    );
    assert_eq!(used, [0x8000_0100]);
}

/// Faults of the attestation service are not the sealer's.
#[test]
fn sealing_does_not_need_the_attestation_key() {
    let application = TrustedApplication::start(Storage::default());
    let device = FakeOptee::new(OpteeKey::device_a())
        .with_fault(Fault::Error(0xf010_0001))
        .with_state(application);
    let sealed = kernel(device).run(|| {
        let sealer = open().expect("the device is there").sealer;
        sealer.expect("nautilus-state is installed").seal(b"state")
    });
    assert_eq!(sealed.expect("it seals").len(), 5 + 44);
}
