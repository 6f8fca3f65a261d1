use std::fs;
use std::thread;

use super::*;
use crate::fixture::{COLLATERAL, NOW, OLDER, OTHER, collateral, crl, crl_want, tdx_want, vcek_want, vector};

const MILAN: &str = "snp/milan-v2-vcek/vek.der";

fn from(at: UnixMillis) -> Provenance {
    Provenance {
        source: "https://example".to_owned(),
        update: Update::Standard,
        at,
    }
}

fn filled() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("a/store"));
    for path in [COLLATERAL, OLDER, OTHER] {
        store.put(&collateral(path), &from(NOW)).unwrap();
    }
    let list = Document::read(EndorsementKind::Crl, crl("ARK-Milan")).unwrap();
    for document in Document::recognise(vector(MILAN)).unwrap().iter().chain([&list]) {
        store.put(document, &from(NOW)).unwrap();
    }
    (directory, store)
}

fn origins(found: &Found) -> Vec<&str> {
    found
        .endorsements
        .0
        .iter()
        .map(|endorsement| endorsement.origin.as_str())
        .collect()
}

#[test]
fn the_layout_is_for_people() {
    let (_directory, store) = filled();
    let kept = store.list().unwrap().kept;
    let parents: Vec<_> = kept
        .iter()
        .map(|kept| kept.path.parent().unwrap().display().to_string())
        .collect();
    assert_eq!(parents[0], "amd/Milan/crl");
    assert!(parents[1].starts_with("amd/Milan/vcek/"), "{parents:?}");
    assert_eq!(
        parents[2..],
        [
            "intel/tdx/90C06F000000/platform/evaluation-18",
            "intel/tdx/B0C06F000000/platform/evaluation-20",
            "intel/tdx/B0C06F000000/platform/evaluation-20",
        ]
    );
    let name = kept[4].path.file_name().unwrap().to_string_lossy();
    assert!(
        name.starts_with("20261008T002826Z-") && name.ends_with(".json"),
        "{name}"
    );
}

#[test]
fn what_is_wanted_is_found_as_of_its_time() {
    let (_directory, store) = filled();
    let wants = [tdx_want("B0C06F000000")];
    let at = |time| store.endorsements_for(&wants, time).unwrap();
    let now = at(NOW);
    assert_eq!(now.endorsements.0.len(), 1);
    assert_eq!(now.endorsements.0[0].bytes, vector(COLLATERAL));
    let summer = at(UnixMillis::from_secs(1_786_621_538));
    assert_eq!(summer.endorsements.0[0].bytes, vector(OLDER));
    assert_eq!(at(UnixMillis::from_secs(1_700_000_000)).endorsements.0, []);
    assert_eq!(at(NOW.plus(10 * 365 * 86_400_000)).endorsements.0, []);
}

#[test]
fn nothing_is_found_that_is_for_another() {
    let (_directory, store) = filled();
    let found = |want: Want| store.endorsements_for(&[want], NOW).unwrap().endorsements.0.len();
    assert_eq!(found(tdx_want("50806F000000")), 0);
    assert_eq!(found(vcek_want(MILAN)), 1);
    assert_eq!(found(vcek_want("snp/turin-v5-vcek/vek.der")), 0);
    assert_eq!(found(crl_want("Milan")), 1);
    assert_eq!(found(crl_want("Genoa")), 0);
    let mut other_tcb = vcek_want(MILAN);
    other_tcb.urls[0] = other_tcb.urls[0].replace("ucodeSPL=115", "ucodeSPL=116");
    assert_eq!(found(other_tcb), 0);
    let mut sgx = tdx_want("B0C06F000000");
    sgx.urls[0] = sgx.urls[0].replace("/tdx/", "/sgx/");
    assert_eq!(found(sgx), 0);
}

#[test]
fn what_nobody_publishes_is_found_by_its_kind() {
    let (_directory, store) = filled();
    for document in Document::recognise(vector("snp/roots/milan_ask_ark_asvk.pem")).unwrap() {
        store.put(&document, &from(NOW)).unwrap();
    }
    let want = |kind| Want {
        kind,
        subject: "an intermediate".to_owned(),
        urls: Vec::new(),
    };
    let found = |kind| {
        store
            .endorsements_for(&[want(kind)], NOW)
            .unwrap()
            .endorsements
            .0
            .len()
    };
    assert_eq!(found(EndorsementKind::Certificate), 3);
    assert_eq!(found(EndorsementKind::Crl), 0);
    assert_eq!(found(EndorsementKind::DcapCollateral), 0);
}

#[test]
fn the_same_twice_is_one_and_known_to_have_come_again() {
    let (_directory, store) = filled();
    let before = store.list().unwrap().kept;
    let again = store.put(&collateral(COLLATERAL), &from(NOW.plus(5))).unwrap();
    assert_eq!(again.fetched_at, NOW.plus(5));
    let older = store.put(&collateral(COLLATERAL), &from(NOW)).unwrap();
    assert_eq!(older.fetched_at, NOW.plus(5));
    assert_eq!(store.list().unwrap().kept.len(), before.len());
}

#[test]
fn a_damaged_file_is_named_and_the_others_serve() {
    type Damage = (&'static str, fn(&Path), &'static str);
    let damages: [Damage; 6] = [
        (
            "one byte",
            |file| {
                let text = fs::read_to_string(file)
                    .unwrap()
                    .replace("\"pck_crl\"", " \"pck_crl\"");
                fs::write(file, text).unwrap();
            },
            "its SHA-256 is",
        ),
        (
            "cut",
            |file| fs::write(file, b"{").unwrap(),
            "not a DCAP collateral",
        ),
        (
            "empty",
            |file| fs::write(file, b"").unwrap(),
            "not a DCAP collateral",
        ),
        (
            "too large",
            |file| fs::write(file, vec![b' '; 1_048_577]).unwrap(),
            "more than the 1048576 bytes",
        ),
        (
            "no .meta",
            |file| fs::remove_file(place::metadata_of(file)).unwrap(),
            "no .meta",
        ),
        (
            "broken .meta",
            |file| fs::write(place::metadata_of(file), b"{}").unwrap(),
            "its .meta: missing field",
        ),
    ];
    for (name, damage, told) in damages {
        let (_directory, store) = filled();
        let path = store.put(&collateral(COLLATERAL), &from(NOW)).unwrap().path;
        let file = store.root().join(&path);
        damage(&file);
        let wants = [tdx_want("B0C06F000000"), vcek_want(MILAN)];
        let found = store.endorsements_for(&wants, NOW).unwrap();
        assert_eq!(found.endorsements.0.len(), 1, "{name}: {:?}", origins(&found));
        let [StoreError::Damaged { path: named, what }] = &found.damaged[..] else {
            panic!("{name}: {:?}", found.damaged);
        };
        assert_eq!(*named, file, "{name}");
        assert!(what.contains(told), "{name}: {what}");
        let listing = store.list().unwrap();
        assert_eq!((listing.kept.len(), listing.damaged.len()), (4, 1), "{name}");
        // Fetching it again heals it.
        store.put(&collateral(COLLATERAL), &from(NOW)).unwrap();
        assert_eq!(store.list().unwrap().kept.len(), 5, "{name}");
    }
}

#[test]
fn a_file_in_anothers_place_is_damaged() {
    let (_directory, store) = filled();
    let kept = store.list().unwrap().kept;
    let (from, to) = (store.root().join(&kept[4].path), store.root().join(&kept[2].path));
    fs::copy(&from, &to).unwrap();
    fs::copy(place::metadata_of(&from), place::metadata_of(&to)).unwrap();
    let damaged = store.list().unwrap().damaged;
    assert!(
        matches!(&damaged[..], [StoreError::Damaged { what, .. }] if what.contains("it belongs to intel/tdx/B0C06F000000")),
        "{damaged:?}"
    );
}

#[test]
fn links_are_not_followed() {
    let (directory, store) = filled();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("x.json"), b"{}").unwrap();
    std::os::unix::fs::symlink(&outside, store.root().join("intel/link")).unwrap();
    std::os::unix::fs::symlink(outside.join("x.json"), store.root().join("intel/x.json")).unwrap();
    let listing = store.list().unwrap();
    assert_eq!((listing.kept.len(), listing.damaged.len()), (5, 0));
}

#[test]
fn prune_removes_what_stopped_holding_and_nothing_else() {
    let (_directory, store) = filled();
    let leftover = store.root().join("intel/tdx/.new-1-1");
    fs::write(&leftover, b"half").unwrap();
    let orphan = store.root().join("intel/tdx/gone.json.meta");
    fs::write(&orphan, b"{}").unwrap();
    // Autumn 2026: what the summer had has ended; the files were written today, which is later or earlier.
    let pruned = store.prune(UnixMillis::from_secs(1_791_000_000)).unwrap();
    let removed: Vec<_> = pruned.removed.iter().map(|kept| kept.subject.as_str()).collect();
    assert_eq!(
        removed,
        [
            "TDX platform 90C06F000000 (platform CA), evaluation 18",
            "TDX platform B0C06F000000 (platform CA), evaluation 20",
        ]
    );
    assert_eq!(store.list().unwrap().kept.len(), 3);
    let pruned = store.prune(UnixMillis::from_secs(4_000_000_000)).unwrap();
    assert_eq!(pruned.removed.len(), 3);
    assert!(!leftover.exists() && !orphan.exists());
    assert_eq!(store.list().unwrap().kept, []);
    assert_eq!(store.prune(UnixMillis(0)).unwrap().removed, []);
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("none"));
    assert_eq!(store.list().unwrap().kept, []);
    assert_eq!(
        store
            .endorsements_for(&[tdx_want("B0C06F000000")], NOW)
            .unwrap()
            .endorsements
            .0,
        []
    );
    assert!(!store.root().exists());
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::new(&file)
        .put(&collateral(COLLATERAL), &from(NOW))
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { doing: "create", path, .. } if path.starts_with(&file)),
        "{error}"
    );
}

#[test]
fn a_place_that_is_full_takes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let place = directory.path().join(place::of(&collateral(COLLATERAL)));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    for number in 0..2 * MAX_ISSUES {
        fs::write(place.with_file_name(format!("{number}.meta")), b"").unwrap();
    }
    let error = store.put(&collateral(COLLATERAL), &from(NOW)).unwrap_err();
    assert!(
        matches!(error, StoreError::TooMany { limit: 1024, .. }),
        "{error}"
    );
}

#[test]
fn many_writers_and_readers_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let store = &store;
            scope.spawn(move || {
                for path in [COLLATERAL, OLDER, OTHER] {
                    store.put(&collateral(path), &from(NOW.plus(number))).unwrap();
                    let listing = store.list().unwrap();
                    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().kept.len(), 3);
    let names: Vec<_> = disk::documents_under(directory.path()).unwrap();
    assert_eq!(names.len(), 3, "{names:?}");
}
