use std::fs;

use nautilus_core::Digest32;

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

fn platform(id: Option<&str>) -> Platform {
    Platform {
        tee: TeeKind::Sev,
        device: id.map(|id| Device {
            scheme: "amd-chip-id".to_owned(),
            id: id.to_owned(),
        }),
    }
}

fn registry() -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(&directory.path().join("verifier/registry.json")).unwrap();
    (directory, registry)
}

#[test]
fn what_is_registered_is_there_after_a_restart_and_readable() {
    let (_directory, registry) = registry();
    registry
        .admit(node(1), &platform(Some("ab12")), &key(1), NOW)
        .unwrap();
    registry.retire(node(1), key(1)).unwrap();
    registry.admit(node(2), &platform(None), &key(2), NOW).unwrap();
    let again = Registry::open(&registry.path).unwrap();
    assert_eq!(again.entries(), registry.entries());
    assert_eq!(again.entries().len(), 2);
    let text = fs::read_to_string(&registry.path).unwrap();
    let node = Digest32([1; 32]).to_string();
    for word in [node.as_str(), "sev", "amd-chip-id", "ab12", "first_seen"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn a_platform_is_pinned_and_a_name_does_not_go_missing() {
    let (_directory, registry) = registry();
    let (named, other, unnamed) = (platform(Some("ab12")), platform(Some("ab13")), platform(None));
    registry.admit(node(1), &unnamed, &key(1), NOW).unwrap();
    registry.admit(node(1), &unnamed, &key(1), NOW).unwrap();
    registry.check(node(1), &named, &key(1)).unwrap();
    assert_eq!(
        registry.entry(node(1)).unwrap().platform,
        unnamed,
        "a check changes nothing"
    );
    registry.admit(node(1), &named, &key(1), NOW.plus(9)).unwrap();
    let entry = registry.entry(node(1)).unwrap();
    assert_eq!((entry.platform, entry.first_seen), (named.clone(), NOW));
    let of_another_tee = Platform {
        tee: TeeKind::Tdx,
        ..named.clone()
    };
    for found in [&other, &unnamed, &of_another_tee] {
        for refused in [
            registry.check(node(1), found, &key(1)),
            registry.admit(node(1), found, &key(1), NOW),
        ] {
            assert!(
                matches!(&refused, Err(NotRegistered::PlatformChanged { registered, found: named_as, .. })
                    if **registered == named && **named_as == *found),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_retired_key_stays_retired_and_only_that_nodes() {
    let (_directory, registry) = registry();
    let here = platform(Some("ab12"));
    assert!(matches!(
        registry.retire(node(1), key(1)),
        Err(NotRegistered::Unknown { .. })
    ));
    registry.admit(node(1), &here, &key(1), NOW).unwrap();
    registry.admit(node(2), &here, &key(1), NOW).unwrap();
    for _ in 0..2 {
        registry.retire(node(1), key(1)).unwrap();
    }
    let entry = registry.entry(node(1)).unwrap();
    assert_eq!((entry.admitted, entry.retired), (vec![], vec![key(1)]));
    assert!(matches!(
        registry.admit(node(1), &here, &key(1), NOW),
        Err(NotRegistered::KeyRetired { .. })
    ));
    registry.check(node(1), &here, &key(2)).unwrap();
    registry.check(node(2), &here, &key(1)).unwrap();
}

#[test]
fn only_an_admitted_key_retires_and_an_invented_one_leaves_no_trace() {
    let (_directory, registry) = registry();
    registry
        .admit(node(1), &platform(Some("ab12")), &key(1), NOW)
        .unwrap();
    let before = fs::read(&registry.path).unwrap();
    let refused = registry.retire(node(1), key(2));
    assert!(
        matches!(&refused, Err(NotRegistered::KeyNotAdmitted { node: of, key: which })
            if *of == node(1) && *which == key(2)),
        "{refused:?}"
    );
    assert_eq!(fs::read(&registry.path).unwrap(), before);
    registry.retire(node(1), key(1)).unwrap();
}

#[test]
fn the_key_that_is_out_of_use_longest_is_forgotten_first() {
    let (_directory, registry) = registry();
    let here = platform(Some("ab12"));
    let most = u8::try_from(MAX_ADMITTED).unwrap();
    for number in 1..=most {
        registry.admit(node(1), &here, &key(number), NOW).unwrap();
    }
    registry.admit(node(1), &here, &key(1), NOW).unwrap();
    registry.admit(node(1), &here, &key(most + 1), NOW).unwrap();
    let again = Registry::open(&registry.path).unwrap();
    let expected: Vec<_> = (3..=most).chain([1, most + 1]).map(key).collect();
    assert_eq!(again.entry(node(1)).unwrap().admitted, expected);
    assert!(matches!(
        again.retire(node(1), key(2)),
        Err(NotRegistered::KeyNotAdmitted { .. })
    ));
    again.retire(node(1), key(1)).unwrap();
}

#[test]
fn one_device_has_a_bounded_number_of_nodes() {
    let (_directory, registry) = registry();
    let (here, elsewhere, unnamed) = (platform(Some("ab12")), platform(Some("ab13")), platform(None));
    let next = u8::try_from(MAX_ON_DEVICE).unwrap();
    for number in 0..next {
        registry.admit(node(number), &here, &key(number), NOW).unwrap();
    }
    registry.admit(node(next), &unnamed, &key(1), NOW).unwrap();
    for newcomer in [next, next + 1] {
        for refused in [
            registry.check(node(newcomer), &here, &key(1)),
            registry.admit(node(newcomer), &here, &key(1), NOW),
        ] {
            assert!(
                matches!(&refused, Err(NotRegistered::PlatformFull { platform }) if **platform == here),
                "{refused:?}"
            );
        }
    }
    // Who is there stays, and elsewhere there is room.
    registry.admit(node(0), &here, &key(99), NOW).unwrap();
    registry.admit(node(next), &elsewhere, &key(1), NOW).unwrap();
    for number in next + 1..3 * next {
        registry.admit(node(number), &unnamed, &key(1), NOW).unwrap();
    }
}

#[test]
fn a_full_registry_takes_no_other_node() {
    let (_directory, registry) = registry();
    let here = platform(None);
    registry.admit(node(1), &here, &key(1), NOW).unwrap();
    let entry = registry.entry(node(1)).unwrap();
    for number in 1..MAX_NODES as u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        registry.lock().insert(NodeId(id), entry.clone());
    }
    for refused in [
        registry.check(node(2), &here, &key(2)),
        registry.admit(node(2), &here, &key(2), NOW),
    ] {
        assert!(
            matches!(
                &refused,
                Err(NotRegistered::Unavailable(RegistryError::Full {
                    limit: 10_000,
                    what: "nodes",
                    ..
                }))
            ),
            "{refused:?}"
        );
    }
    registry.check(node(1), &here, &key(2)).unwrap();
}

#[test]
fn a_change_that_cannot_be_kept_is_none() {
    let (directory, registry) = registry();
    let here = platform(Some("ab12"));
    registry.admit(node(1), &here, &key(1), NOW).unwrap();
    let before = registry.entries();
    // Where the new file would be written, there is a directory.
    fs::create_dir(directory.path().join("verifier/registry.json.new")).unwrap();
    for refused in [
        registry.admit(node(2), &here, &key(2), NOW),
        registry.retire(node(1), key(1)),
    ] {
        assert!(
            matches!(
                &refused,
                Err(NotRegistered::Unavailable(RegistryError::Io { path, .. })) if *path == registry.path
            ),
            "{refused:?}"
        );
    }
    assert_eq!(registry.entries(), before);
    assert_eq!(Registry::open(&registry.path).unwrap().entries(), before);
}

#[test]
fn retired_keys_and_the_file_are_bounded() {
    let (_directory, registry) = registry();
    registry.admit(node(1), &platform(None), &key(2), NOW).unwrap();
    let mut entry = registry.entry(node(1)).unwrap();
    entry.retired = vec![key(9); MAX_RETIRED];
    registry.lock().insert(node(1), entry);
    assert!(matches!(
        registry.retire(node(1), key(2)),
        Err(NotRegistered::Unavailable(RegistryError::Full {
            limit: 1_000,
            ..
        }))
    ));
    let file = fs::File::options().write(true).open(&registry.path).unwrap();
    file.set_len(file::MAX_FILE + 1).unwrap();
    let error = Registry::open(&registry.path).map(|_| ()).unwrap_err();
    assert!(
        matches!(error, RegistryError::Full { what: "bytes", .. }),
        "{error}"
    );
}
