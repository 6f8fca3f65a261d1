use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nautilus_core::{Counter, Protection, PublicKey, SealError, Sealer};

use super::*;
use crate::protocol::Rollback;

/// A platform: what it seals only it opens, and where it has a counter, that never goes back.
#[derive(Clone)]
struct Platform {
    key: u8,
    counter: Option<Arc<AtomicU64>>,
    /// How often it can still count before it fails.
    counts_left: Arc<AtomicU64>,
}

impl Platform {
    fn with_counter() -> Self {
        Self {
            counter: Some(Arc::new(AtomicU64::new(40))),
            ..Self::without_counter(1)
        }
    }

    fn without_counter(key: u8) -> Self {
        Self {
            key,
            counter: None,
            counts_left: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    fn store(&self, path: &std::path::Path) -> Result<Store, StateError> {
        Store::open(path, Box::new(self.clone()))
    }
}

impl Sealer for Platform {
    fn protection(&self) -> Protection {
        Protection::Tee {
            bound_to: "a test".to_owned(),
        }
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok([&[self.key], plaintext].concat())
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match sealed.split_first() {
            Some((key, plaintext)) if *key == self.key => Ok(Zeroizing::new(plaintext.to_vec())),
            _ => Err(SealError::NotOurs {
                what: "another key".to_owned(),
            }),
        }
    }

    fn counter(&self) -> Option<&dyn Counter> {
        self.counter.as_ref().map(|_| self as &dyn Counter)
    }
}

impl Counter for Platform {
    fn read(&self) -> Result<u64, SealError> {
        Ok(self.counter.as_ref().unwrap().load(Ordering::SeqCst))
    }

    fn advance(&self) -> Result<u64, SealError> {
        let left = self.counts_left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(SealError::Tee {
                action: "count",
                what: "it was killed".to_owned(),
            });
        }
        self.counts_left.store(left - 1, Ordering::SeqCst);
        Ok(self.counter.as_ref().unwrap().fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn outlives_restore(&self) -> bool {
        true
    }
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    (directory, path)
}

fn state(generation: u64) -> State {
    let mut state = State::new().unwrap();
    state.generation = generation;
    state.node = Some(NodeId([7; 32]));
    state.keys_made_at = Some(UnixMillis(9));
    state.retired = vec![RetiredKey {
        tee_key: PublicKey([3; 32]),
        retired_at: UnixMillis(4),
    }];
    state
}

/// Writes a state that is made of the newest.
fn write(store: &Store, generation: u64) -> Result<(), StateError> {
    let mut state = state(generation);
    store.begin(&mut state)?;
    store.write(&mut state)
}

#[test]
fn what_was_written_is_read_by_the_next() {
    for platform in [Platform::with_counter(), Platform::without_counter(1)] {
        let (_directory, path) = directory();
        let mut written = state(3);
        {
            let store = platform.store(&path).unwrap();
            assert!(store.read().unwrap().is_none());
            store.begin(&mut written).unwrap();
            store.write(&mut written).unwrap();
        }
        let read = platform.store(&path).unwrap().read().unwrap().unwrap();
        assert!(read == written);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// A state of the first version, as a program of before wrote it: field by field, without today's types.
fn first_version(state: &State) -> Vec<u8> {
    #[derive(Serialize)]
    struct Written<'a>(
        (u32, u64, u64, Option<[u8; 32]>),
        ([u8; 32], &'a [u8], [u8; 32], Option<u64>),
        Vec<([u8; 32], u64)>,
        Vec<(&'a str, &'a [u8])>,
    );
    let retired = state.retired.iter();
    let secrets = state.secrets.iter();
    let written = Written(
        (1, state.counter, state.generation, state.node.map(|node| node.0)),
        (
            state.signing,
            &state.p256,
            state.channel,
            state.keys_made_at.map(|at| at.0),
        ),
        retired.map(|key| (key.tee_key.0, key.retired_at.0)).collect(),
        secrets
            .map(|secret| (secret.name.as_str(), secret.value.as_slice()))
            .collect(),
    );
    bcs::to_bytes(&written).unwrap()
}

#[test]
fn a_state_of_the_first_version_is_read_and_gets_a_storage_root_for_good() {
    let (_directory, path) = directory();
    let platform = Platform::without_counter(1);
    let mut before = state(3);
    before = before
        .with_secret(Secret {
            name: "disk".to_owned(),
            value: b"secret".to_vec(),
        })
        .unwrap();
    let old = first_version(&before);
    fs::write(&path, [&[1], old.as_slice()].concat()).unwrap();
    let store = platform.store(&path).unwrap();
    let mut read = store.read().unwrap().unwrap();
    assert!(read.storage_root != [0; 32]);
    // Nothing keeps the root before it is written.
    assert!(store.read().unwrap().unwrap().storage_root != read.storage_root);
    before.storage_root = read.storage_root;
    assert!(read == before, "and everything else is as it was");
    store.write(&mut read).unwrap();
    let again = store.read().unwrap().unwrap();
    assert!(again == read);
    assert!(again.to_bytes().unwrap().starts_with(&[2, 0, 0, 0]));

    // The first version with the second's field is neither, nor the second without it.
    let mut longer = old.clone();
    longer.extend([0; 32]);
    assert!(State::from_bytes(&longer).is_err_and(|what| what.contains("remaining")));
    let mut shorter = old;
    shorter[0] = 2;
    assert!(State::from_bytes(&shorter).is_err());
}

#[test]
fn another_platform_does_not_open_it_and_leaves_it_alone() {
    let (_directory, path) = directory();
    write(&Platform::without_counter(1).store(&path).unwrap(), 1).unwrap();
    let before = fs::read(&path).unwrap();
    let other = Platform::without_counter(2).store(&path).unwrap();
    assert!(matches!(other.read(), Err(StateError::NotOurs { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_old_copy_is_refused_where_there_is_a_counter_and_undetected_where_there_is_none() {
    let (_directory, path) = directory();
    let platform = Platform::with_counter();
    let store = platform.store(&path).unwrap();
    assert_eq!(store.rollback(), Rollback::Refused);
    write(&store, 1).unwrap();
    let old = fs::read(&path).unwrap();
    write(&store, 2).unwrap();
    assert_eq!(store.read().unwrap().unwrap().generation, 2);
    fs::write(&path, &old).unwrap();
    let refused = store.read().err().unwrap();
    assert!(
        matches!(
            refused,
            StateError::OldCopy {
                found: 41,
                counter: 42,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("is an old copy"), "{refused}");

    let (_directory, path) = directory();
    let store = Platform::without_counter(1).store(&path).unwrap();
    assert_eq!(store.rollback(), Rollback::Undetected);
    write(&store, 1).unwrap();
    let old = fs::read(&path).unwrap();
    write(&store, 2).unwrap();
    fs::write(&path, &old).unwrap();
    assert_eq!(store.read().unwrap().unwrap().generation, 1);
}

#[test]
fn a_writer_killed_before_it_counts_is_completed_and_leaves_no_way_back() {
    let (_directory, path) = directory();
    let platform = Platform::with_counter();
    let store = platform.store(&path).unwrap();
    write(&store, 1).unwrap();
    let old = fs::read(&path).unwrap();
    platform.counts_left.store(0, Ordering::SeqCst);
    assert!(matches!(
        write(&store, 2),
        Err(StateError::Seal(SealError::Tee { .. }))
    ));
    platform.counts_left.store(9, Ordering::SeqCst);
    // Nothing else gets the number that this one has.
    assert!(matches!(write(&store, 3), Err(StateError::Uncertain { .. })));
    drop(store);
    let store = platform.store(&path).unwrap();
    assert_eq!(store.read().unwrap().unwrap().generation, 2);
    assert_eq!(platform.read().unwrap(), 42, "the count was made up for");
    fs::write(&path, &old).unwrap();
    assert!(matches!(store.read(), Err(StateError::OldCopy { .. })));
}

#[test]
fn an_enclave_whose_state_was_copied_and_went_on_elsewhere_cannot_make_its_own_the_newest() {
    let (_directory, path) = directory();
    let platform = Platform::with_counter();
    let here = platform.store(&path).unwrap();
    write(&here, 1).unwrap();
    let mut mine = here.read().unwrap().unwrap();
    let (_elsewhere, copy) = directory();
    fs::copy(&path, &copy).unwrap();
    let there = platform.store(&copy).unwrap();
    let mut theirs = there.read().unwrap().unwrap();
    there.write(&mut theirs).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        here.write(&mut mine),
        Err(StateError::OldCopy {
            found: 41,
            counter: 42,
            ..
        })
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
    there.write(&mut theirs).unwrap();
}

#[test]
fn a_counter_that_was_reset_is_refused_by_name() {
    let (_directory, path) = directory();
    let platform = Platform::with_counter();
    let store = platform.store(&path).unwrap();
    write(&store, 1).unwrap();
    for now in [0, 39] {
        platform.counter.as_ref().unwrap().store(now, Ordering::SeqCst);
        let refused = store.read().err().unwrap();
        assert!(
            matches!(refused, StateError::CounterReset { found: 41, counter, .. } if counter == now),
            "{refused}"
        );
    }
    platform
        .counter
        .as_ref()
        .unwrap()
        .store(u64::MAX, Ordering::SeqCst);
    assert!(matches!(write(&store, 1), Err(StateError::Exhausted { .. })));
}

#[test]
fn two_enclaves_do_not_share_a_state() {
    let (_directory, path) = directory();
    let platform = Platform::without_counter(1);
    let first = platform.store(&path).unwrap();
    assert!(matches!(platform.store(&path), Err(StateError::InUse { .. })));
    drop(first);
    assert!(platform.store(&path).is_ok());
}

#[test]
fn what_is_no_state_is_refused_by_name_and_never_replaced() {
    let (_directory, path) = directory();
    let store = Platform::without_counter(1).store(&path).unwrap();
    let mut whole = state(1);
    store.write(&mut whole).unwrap();
    let sealed = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        match store.read() {
            Err(StateError::Damaged { what: found, .. }) => assert!(found.contains(what), "{found}"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{what}: it was taken"),
        }
        assert_eq!(fs::read(&path).unwrap(), bytes);
    };
    for length in 1..sealed.len() {
        fs::write(&path, &sealed[..length]).unwrap();
        assert!(
            matches!(store.read(), Err(StateError::Damaged { .. })),
            "{length}"
        );
    }
    damaged(&[sealed.as_slice(), &[0]].concat(), "remaining");
    damaged(&[1, 0, 0, 0, 0], "layout");
    damaged(&[1, 3, 0, 0, 0], "layout");
    damaged(&vec![1; 256 * 1024 + 1], "more than");
    whole.retired = vec![whole.retired[0]; MAX_RETIRED + 1];
    damaged(
        &[&[1], whole.to_bytes().unwrap().as_slice()].concat(),
        "more than",
    );
    fs::write(&path, []).unwrap();
    assert!(matches!(store.read(), Err(StateError::NotOurs { .. })));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(store.read(), Err(StateError::Damaged { .. })));
}

#[test]
fn a_link_is_not_followed() {
    let (directory, path) = directory();
    let target = directory.path().join("target");
    fs::write(&target, "another's").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let store = Platform::without_counter(1).store(&path).unwrap();
    assert!(matches!(store.read(), Err(StateError::Io { action: "read", .. })));
    write(&store, 1).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"another's");
    assert_eq!(store.read().unwrap().unwrap().generation, 1);
}

#[test]
fn secrets_are_in_the_order_of_their_names_and_bounded() {
    let mut state = State::new().unwrap();
    for name in ["b", "a", "c", "a"] {
        state = state
            .with_secret(Secret {
                name: name.to_owned(),
                value: name.as_bytes().to_vec(),
            })
            .unwrap();
    }
    let names: Vec<_> = state.secrets.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(State::from_bytes(&state.to_bytes().unwrap()).unwrap() == state);
    state.secrets.swap(0, 1);
    assert!(State::from_bytes(&state.to_bytes().unwrap()).is_err_and(|what| what.contains("more than")));
}

#[test]
fn retired_keys_are_bounded_newest_first() {
    let mut state = State::new().unwrap();
    for number in 0..=u8::try_from(MAX_RETIRED).unwrap() {
        let retired = RetiredKey {
            tee_key: PublicKey([number; 32]),
            retired_at: UnixMillis(number.into()),
        };
        let next = state.rotated(retired).unwrap();
        assert!(next.signing != state.signing && next.channel != state.channel && next.p256 != state.p256);
        assert!(next.storage_root == state.storage_root, "the store goes on");
        state = next;
    }
    assert_eq!(state.retired.len(), MAX_RETIRED);
    assert_eq!(state.retired[0].tee_key, PublicKey([64; 32]));
    assert_eq!(state.retired[MAX_RETIRED - 1].tee_key, PublicKey([1; 32]));
}
