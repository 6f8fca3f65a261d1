use std::fs;
use std::ops::Range;

use nautilus_core::EvidenceId;
use nautilus_proof::wallet::WalletSignature;
use tempfile::TempDir;

use super::format::{MAX_RECORD, RECORDS, SECTOR, slot_offset};
use super::*;
use crate::Rules;
use crate::fixture::{START, TestNode, WINDOW, appraisal, genesis, submit};

fn open(directory: &TempDir) -> Result<EmbeddedLedger, LedgerFileError> {
    EmbeddedLedger::open_or_create(directory.path().join("ledger"), genesis(), START)
}

/// A closed ledger of seven entries in six commits, with its node.
fn small() -> (TempDir, PathBuf, TestNode) {
    let directory = TempDir::new().unwrap();
    let mut ledger = open(&directory).unwrap();
    let mut node = TestNode::new(1);
    ledger.append(&[node.register()], START).unwrap();
    ledger.append(&[node.appraise(START)], START).unwrap();
    for index in 0..2 {
        let end = START.plus((index + 1) * WINDOW);
        let proof = node.proof(START.plus(index * WINDOW)).verify(end).unwrap();
        let settlement = ledger.settle(proof, end).unwrap();
        assert_eq!((settlement.sequence, settlement.amount), (index, 10_000));
        assert_eq!(settlement.account.accrued, (index + 1) * 10_000);
    }
    assert_eq!(ledger.tip().height, 6);
    drop(ledger);
    let path = directory.path().join("ledger");
    (directory, path, node)
}

/// Where each part of a file is.
fn regions(bytes: &[u8]) -> Vec<(Region, Range<usize>)> {
    let mut regions = vec![
        (Region::Header, 0..SECTOR),
        (Region::CommitSlot(0), SECTOR..2 * SECTOR),
        (Region::CommitSlot(1), 2 * SECTOR..3 * SECTOR),
    ];
    let mut start = usize::try_from(RECORDS).unwrap();
    for height in 0.. {
        if start == bytes.len() {
            break;
        }
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        let end = start + 4 + usize::try_from(length).unwrap() + 32;
        regions.push((Region::Record(height), start..end));
        start = end;
    }
    regions
}

fn corruption(error: LedgerFileError) -> (u64, Region, Fault) {
    match error {
        LedgerFileError::Corrupt {
            offset,
            region,
            fault,
            ..
        } => (offset, region, fault),
        other => panic!("not a corruption: {other}"),
    }
}

#[test]
fn what_was_appended_is_there_after_reopening_and_replays() {
    let (directory, path, node) = small();
    let ledger = open(&directory).unwrap();
    let entries: Vec<LoggedEntry> = ledger.entries().map(Result::unwrap).collect();
    assert_eq!(
        entries.iter().map(|entry| entry.height).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6]
    );
    assert_eq!(entries[0].transaction, Transaction::Genesis(genesis()));
    assert_eq!(entries[1].transaction, node.register());
    assert_eq!(entries[6].at, START.plus(2 * WINDOW));
    assert_eq!(entries[6].hash, ledger.tip().hash);
    let json = serde_json::to_value(&entries[3]).unwrap();
    assert_eq!(
        json["transaction"]["submit_proof"]["submission"]["statement"]["window"]["sequence"],
        0
    );
    assert_eq!(ledger.view().unacknowledged(), 0);
    assert_eq!(
        Ledger::node(&ledger, node.id()).unwrap().unwrap().next_sequence,
        2
    );

    let replayed = replay(&path).unwrap();
    let expected = Replay {
        genesis: genesis(),
        entries: 7,
        tip: ledger.tip(),
        at: START.plus(2 * WINDOW),
        state_digest: ledger.state().digest(),
        accounts: ledger.state().accounts().collect(),
        unacknowledged: 0,
    };
    assert_eq!(replayed, expected);
    assert_eq!(replayed.accounts[0].accrued, 20_000);
}

#[test]
fn every_flipped_byte_is_detected_and_its_region_named() {
    let (_directory, path, _) = small();
    let good = fs::read(&path).unwrap();
    let regions = regions(&good);
    assert_eq!(regions.len(), 3 + 7);
    let mut checked = 0;
    for (region, range) in regions {
        for position in range.clone() {
            for mask in [1 << (position % 8), 0xff] {
                let mut bytes = good.clone();
                bytes[position] ^= mask;
                fs::write(&path, &bytes).unwrap();
                let (offset, found, fault) = corruption(EmbeddedLedger::open_read_only(&path).unwrap_err());
                assert_eq!(found, region, "byte {position}: {fault}");
                assert!(
                    range.contains(&usize::try_from(offset).unwrap()),
                    "byte {position}: {offset}"
                );
            }
            checked += 1;
        }
    }
    assert_eq!(checked, good.len());
}

#[test]
fn the_writer_and_the_replay_detect_what_the_reader_detects_and_change_nothing() {
    let (directory, path, _) = small();
    let good = fs::read(&path).unwrap();
    for (region, range) in regions(&good) {
        let mut bytes = good.clone();
        bytes[range.start + 7] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(corruption(open(&directory).unwrap_err()).1, region);
        assert_eq!(corruption(replay(&path).unwrap_err()).1, region);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_slot_of_an_older_commit_does_not_pass() {
    let (directory, path, node) = small();
    let good = fs::read(&path).unwrap();
    let slots = |bytes: &[u8]| bytes[SECTOR..3 * SECTOR].to_vec();
    let mut ledger = open(&directory).unwrap();
    for second in 1..4 {
        let record = AppraisalRecord {
            evidence: EvidenceId([second | 0x80; 32]),
            ..node.record(START.plus(second.into()))
        };
        ledger.append(&[appraisal(record)], START).unwrap();
    }
    drop(ledger);
    let newer = fs::read(&path).unwrap();
    assert_ne!(slots(&good), slots(&newer));
    for (slot, range) in [(0, SECTOR..2 * SECTOR), (1, 2 * SECTOR..3 * SECTOR)] {
        let mut spliced = newer.clone();
        spliced[range.clone()].copy_from_slice(&good[range]);
        fs::write(&path, spliced).unwrap();
        assert_eq!(
            corruption(replay(&path).unwrap_err()).2,
            Fault::SlotsDisagree,
            "slot {slot}"
        );
    }
    // The other slot's bytes.
    let mut swapped = newer.clone();
    swapped.copy_within(SECTOR..2 * SECTOR, 2 * SECTOR);
    fs::write(&path, swapped).unwrap();
    assert_eq!(
        corruption(replay(&path).unwrap_err()),
        (slot_offset(1), Region::CommitSlot(1), Fault::SlotsDisagree)
    );
}

#[test]
fn slots_must_point_to_entries() {
    let (_directory, path, _) = small();
    let good = fs::read(&path).unwrap();
    let regions = regions(&good);
    let commit =
        |slot: u8, range: Range<usize>| Commit::from_sector(slot, good[range].try_into().unwrap()).unwrap();
    let (zero, one) = (commit(0, SECTOR..2 * SECTOR), commit(1, 2 * SECTOR..3 * SECTOR));
    let (older, newest) = if zero.generation < one.generation {
        (zero, one)
    } else {
        (one, zero)
    };
    let fault_of = |changed: Commit| {
        let mut bytes = good.clone();
        let offset = usize::try_from(changed.offset()).unwrap();
        bytes[offset..offset + SECTOR].copy_from_slice(&changed.to_sector());
        fs::write(&path, bytes).unwrap();
        let (_, region, fault) = corruption(replay(&path).unwrap_err());
        (region, fault)
    };
    let (old_slot, new_slot) = (
        Region::CommitSlot(older.slot()),
        Region::CommitSlot(newest.slot()),
    );
    assert_eq!(
        fault_of(Commit {
            length: older.length - 1,
            ..older.clone()
        }),
        (old_slot, Fault::TipMismatch)
    );
    assert_eq!(
        fault_of(Commit {
            tip: newest.tip,
            ..older.clone()
        }),
        (old_slot, Fault::TipMismatch)
    );
    assert_eq!(
        fault_of(Commit {
            tip: older.tip,
            ..newest.clone()
        }),
        (new_slot, Fault::TipMismatch)
    );
    assert_eq!(
        fault_of(Commit {
            length: older.length,
            ..newest.clone()
        }),
        (old_slot, Fault::SlotsDisagree)
    );
    assert_eq!(
        fault_of(Commit {
            generation: newest.generation + 2,
            ..newest.clone()
        }),
        (old_slot, Fault::SlotsDisagree)
    );
    let (last, range) = regions.last().unwrap().clone();
    let length = u32::from_le_bytes(good[range.start..range.start + 4].try_into().unwrap());
    assert_eq!(
        fault_of(Commit {
            length: newest.length - 1,
            ..newest.clone()
        }),
        (last, Fault::LengthOutOfBounds { length })
    );
    assert_eq!(
        fault_of(Commit {
            length: newest.length + 1,
            ..newest
        }),
        (Region::Record(7), Fault::Truncated)
    );
}

#[test]
fn every_truncation_of_what_is_committed_is_detected() {
    let (_directory, path, _) = small();
    let good = fs::read(&path).unwrap();
    let regions = regions(&good);
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        let (offset, region, fault) = corruption(EmbeddedLedger::open_read_only(&path).unwrap_err());
        let (cut, range) = regions.iter().find(|(_, range)| range.contains(&length)).unwrap();
        assert_eq!((region, fault), (*cut, Fault::Truncated), "cut to {length}");
        assert_eq!(offset, u64::try_from(range.start).unwrap());
    }
}

#[test]
fn a_commit_that_was_cut_short_anywhere_loses_nothing_that_was_acknowledged() {
    let (directory, path, mut node) = small();
    let before = fs::read(&path).unwrap();
    let tip = replay(&path).unwrap().tip;
    let mut ledger = open(&directory).unwrap();
    let submission = node.settle(START.plus(2 * WINDOW));
    let proof = submission.statement.digest();
    let at = START.plus(3 * WINDOW);
    ledger
        .append(&[submit(submission), Transaction::AccrueReward { proof }], at)
        .unwrap();
    let committed = ledger.tip();
    drop(ledger);
    let after = fs::read(&path).unwrap();

    // Records are written first: any piece of them may be there, in any page, and the rest zero or not at all.
    for length in before.len()..=after.len() {
        let mut cut = after[..length].to_vec();
        cut[..before.len()].copy_from_slice(&before);
        fs::write(&path, &cut).unwrap();
        let view = EmbeddedLedger::open_read_only(&path).unwrap();
        assert_eq!(
            (view.tip(), view.unacknowledged()),
            (tip, u64::try_from(length - before.len()).unwrap())
        );
        let opened = open(&directory).unwrap();
        assert_eq!(
            (opened.tip(), opened.view().unacknowledged()),
            (tip, view.unacknowledged())
        );
        drop(opened);
        assert_eq!(
            fs::read(&path).unwrap(),
            before,
            "the tail of {length} is cut off"
        );
        cut.resize(after.len(), 0);
        fs::write(&path, &cut).unwrap();
        assert_eq!(open(&directory).unwrap().tip(), tip);
    }
    // Then the slot: it is there or not.
    fs::write(&path, &after).unwrap();
    assert_eq!(open(&directory).unwrap().tip(), committed);
}

#[test]
fn the_ledger_goes_on_after_a_tail_was_cut_off() {
    let (directory, path, node) = small();
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0xa5; 5000]);
    fs::write(&path, bytes).unwrap();
    let mut ledger = open(&directory).unwrap();
    assert_eq!(ledger.view().unacknowledged(), 5000);
    ledger.append(&[node.claim(1, 1)], START).unwrap();
    let tip = ledger.tip();
    drop(ledger);
    let replayed = replay(&path).unwrap();
    assert_eq!(
        (replayed.tip, replayed.entries, replayed.unacknowledged),
        (tip, 8, 0)
    );
}

#[test]
fn a_group_is_taken_whole_or_not_at_all() {
    let (directory, path, mut node) = small();
    let mut ledger = open(&directory).unwrap();
    let (tip, digest, bytes) = (ledger.tip(), ledger.state().digest(), fs::read(&path).unwrap());
    let submission = node.settle(START.plus(2 * WINDOW));
    let proof = Digest32([9; 32]);
    let at = START.plus(3 * WINDOW);
    let error = ledger
        .append(&[submit(submission), Transaction::AccrueReward { proof }], at)
        .unwrap_err();
    assert!(
        matches!(&error, SubmitError::Refused(refused) if *refused == LedgerError::NothingToReward { proof }),
        "{error}"
    );
    assert_eq!((ledger.tip(), ledger.state().digest()), (tip, digest));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(ledger.append(&[], at).unwrap(), []);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn the_same_proof_settles_once_through_the_seam() {
    let (directory, _, mut node) = small();
    let mut ledger = open(&directory).unwrap();
    let at = START.plus(3 * WINDOW);
    let proof = node.proof(START.plus(2 * WINDOW)).verify(at).unwrap();
    let settlement = ledger.settle(proof.clone(), at).unwrap();
    assert_eq!(settlement.account, ledger.state().account(node.id()).unwrap());
    let error = ledger.settle(proof, at).unwrap_err();
    assert!(
        matches!(
            error,
            SubmitError::Refused(LedgerError::AlreadySettled { sequence: 2 })
        ),
        "{error}"
    );
    let mut stranger = TestNode::new(5);
    let proof = stranger.proof(START).verify(at).unwrap();
    let error = ledger.settle(proof, at).unwrap_err();
    assert!(
        matches!(error, SubmitError::Refused(LedgerError::NodeUnknown { .. })),
        "{error}"
    );
    assert_eq!(Ledger::node(&ledger, stranger.id()).unwrap(), None);
    let registration = stranger.registration();
    ledger
        .register(registration.clone(), stranger.wallet_sign(&registration), at)
        .unwrap();
    let record = stranger.record(at);
    ledger
        .record_appraisal(
            record.clone(),
            crate::fixture::sign(&crate::fixture::verifier(), &record),
            at,
        )
        .unwrap();
    assert_eq!(
        Ledger::node(&ledger, stranger.id()).unwrap().unwrap().appraisal,
        Some(record)
    );
}

#[test]
fn the_clock_may_go_back_and_the_ledger_does_not() {
    let (directory, _, _) = small();
    let mut ledger = open(&directory).unwrap();
    ledger
        .append(&[TestNode::new(2).register()], UnixMillis(1))
        .unwrap();
    let last = ledger.entries().last().unwrap().unwrap();
    assert_eq!((last.height, last.at), (7, START.plus(2 * WINDOW)));
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let (directory, path, node) = small();
    let mut ledger = open(&directory).unwrap();
    let error = open(&directory).unwrap_err();
    assert!(
        matches!(&error, LedgerFileError::InUse { path: named } if *named == path),
        "{error}"
    );
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
    let view = EmbeddedLedger::open_read_only(&path).unwrap();
    assert_eq!(view.tip(), ledger.tip());
    ledger.append(&[node.claim(1, 1)], START).unwrap();
    assert_eq!(view.entries().map(Result::unwrap).count(), 7);
    assert_eq!(EmbeddedLedger::open_read_only(&path).unwrap().tip(), ledger.tip());
    let entries = ledger.entries();
    drop(ledger);
    open(&directory).unwrap();
    assert_eq!(entries.map(Result::unwrap).count(), 8);
}

#[test]
fn readers_see_whole_commits_while_a_writer_writes() {
    let (directory, path, node) = small();
    let mut ledger = open(&directory).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut last, mut looks) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) || looks < 20 {
                let view = EmbeddedLedger::open_read_only(&path).unwrap();
                assert!(view.tip().height >= last);
                last = view.tip().height;
                let entries: Vec<_> = view.entries().map(Result::unwrap).collect();
                assert_eq!(entries.last().unwrap().hash, view.tip().hash);
                assert_eq!(last % 2, 0, "groups of two after height 6");
                assert_eq!(replay(&path).unwrap().entries % 2, 1);
                looks += 1;
            }
        });
        for nonce in 0..60 {
            ledger
                .append(&[node.claim(1, 2 * nonce), node.claim(1, 2 * nonce + 1)], START)
                .unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(
        EmbeddedLedger::open_read_only(&path).unwrap().tip().height,
        6 + 120
    );
}

#[test]
fn a_ledger_keeps_its_genesis() {
    let (directory, path, _) = small();
    let others = [
        Genesis {
            verifier: nautilus_core::PublicKey([1; 32]),
            ..genesis()
        },
        Genesis {
            rules: Rules {
                reward_per_second: 1,
                ..Rules::default()
            },
            ..genesis()
        },
    ];
    for other in others {
        let error = EmbeddedLedger::open_or_create(&path, other, START).unwrap_err();
        assert!(matches!(error, LedgerFileError::OtherGenesis { .. }), "{error}");
    }
    open(&directory).unwrap();
}

#[test]
fn faults_of_the_file_system_name_the_path() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("absent").join("ledger");
    let create = EmbeddedLedger::open_or_create(&path, genesis(), START).map(drop);
    let open = EmbeddedLedger::open_read_only(&path).map(drop);
    for (result, expected) in [
        (create, "create"),
        (open, "open"),
        (replay(&path).map(drop), "open"),
    ] {
        match result.unwrap_err() {
            LedgerFileError::Io {
                path: named,
                doing,
                source,
            } => {
                assert_eq!(
                    (named.as_path(), doing, source.kind()),
                    (path.as_path(), expected, std::io::ErrorKind::NotFound)
                );
            }
            other => panic!("{other}"),
        }
    }
    let other = directory.path().join("other");
    fs::write(&other, vec![b'x'; 4096]).unwrap();
    let error = EmbeddedLedger::open_or_create(&other, genesis(), START).unwrap_err();
    assert_eq!(corruption(error), (0, Region::Header, Fault::NotALedger));
}

#[test]
fn creation_leaves_one_file_and_an_existing_one_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ledger");
    drop(open(&directory).unwrap());
    let bytes = fs::read(&path).unwrap();
    create::create(
        &path,
        &Genesis {
            verifier: nautilus_core::PublicKey([1; 32]),
            ..genesis()
        },
        START,
    )
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// Writes a file of these entries after the genesis, with right lengths, hashes, links and slots.
fn forge(path: &Path, change: impl Fn(&mut Entry)) {
    let good = fs::read(path).unwrap();
    let (mut records, mut previous) = (Vec::new(), Digest32([0; 32]));
    let (mut commit, mut before) = (Commit::EMPTY, Commit::EMPTY);
    for (_, range) in regions(&good).into_iter().skip(3) {
        let mut entry = Entry::from_canonical(&good[range.start + 4..range.end - 32]).unwrap();
        entry.previous = previous;
        change(&mut entry);
        let start = records.len();
        previous = entry.write_record(&mut records).unwrap();
        before = commit;
        commit = before.next(records.len() - start, previous).unwrap();
    }
    let mut bytes = good[..SECTOR].to_vec();
    let (zero, one) = if commit.slot() == 0 {
        (commit, before)
    } else {
        (before, commit)
    };
    bytes.extend_from_slice(&zero.to_sector());
    bytes.extend_from_slice(&one.to_sector());
    bytes.extend_from_slice(&records);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_replay_finds_what_was_forged_with_all_hashes_recomputed() {
    let fault = |change: fn(&mut Entry)| {
        let (_directory, path, _) = small();
        let start = |height: u64| {
            let bytes = fs::read(&path).unwrap();
            let regions = regions(&bytes);
            let (_, range) = regions
                .iter()
                .find(|(region, _)| *region == Region::Record(height))
                .unwrap();
            u64::try_from(range.start).unwrap()
        };
        forge(&path, change);
        let opened = EmbeddedLedger::open_read_only(&path).map(drop);
        let (offset, region, fault) = corruption(replay(&path).unwrap_err());
        let Region::Record(height) = region else {
            panic!("{region}")
        };
        assert_eq!(offset, start(height));
        (height, fault, opened.map_err(|error| corruption(error).2))
    };
    let digest = Fault::StateDigestMismatch;
    let (_directory, path, _) = small();
    forge(&path, |_| {});
    replay(&path).unwrap();

    // A digest of another state, in the middle and at the tip.
    let forged = |entry: &mut Entry| entry.state.0[0] ^= u8::from(entry.height == 3);
    assert_eq!(fault(forged), (3, digest.clone(), Ok(())));
    let forged = |entry: &mut Entry| entry.state.0[0] ^= u8::from(entry.height == 6);
    assert_eq!(fault(forged), (6, digest.clone(), Err(digest)));
    // A reward twice.
    let forged = |entry: &mut Entry| {
        if entry.height == 6 {
            entry.transaction = Transaction::AccrueReward {
                proof: Digest32([1; 32]),
            };
        }
    };
    let broken = Fault::RuleBroken(LedgerError::NothingToReward {
        proof: Digest32([1; 32]),
    });
    assert_eq!(fault(forged), (6, broken.clone(), Err(broken)));
    // A signature that nobody made.
    let forged = |entry: &mut Entry| {
        if let Transaction::RegisterNode {
            signature: WalletSignature { signature, .. },
            ..
        } = &mut entry.transaction
        {
            signature.0[0] ^= 1;
        }
    };
    let wallet = TestNode::new(1).wallet();
    let broken = Fault::RuleBroken(LedgerError::WalletSignatureInvalid { wallet });
    assert_eq!(fault(forged), (1, broken, Ok(())));
    let forged = |entry: &mut Entry| {
        if let Transaction::SubmitProof { submission } = &mut entry.transaction {
            submission.tee_signature.0[0] ^= u8::from(entry.height == 5);
        }
    };
    assert_eq!(
        fault(forged),
        (5, Fault::RuleBroken(LedgerError::TeeSignatureInvalid), Ok(()))
    );
    // Entries out of line.
    let chain = Fault::ChainBroken;
    let forged = |entry: &mut Entry| entry.height += u64::from(entry.height == 2);
    assert_eq!(fault(forged), (2, chain.clone(), Err(chain.clone())));
    let forged = |entry: &mut Entry| entry.previous.0[0] ^= u8::from(entry.height == 4);
    assert_eq!(fault(forged), (4, chain.clone(), Err(chain.clone())));
    let forged = |entry: &mut Entry| {
        entry.at = if entry.height == 4 {
            UnixMillis(0)
        } else {
            entry.at
        }
    };
    assert_eq!(fault(forged), (4, chain.clone(), Err(chain)));
}

#[test]
fn an_entry_has_one_encoding_and_a_bound() {
    let transaction = TestNode::new(1).register();
    let zero = Digest32([0; 32]);
    let entry = Entry {
        height: 1,
        at: START,
        previous: zero,
        transaction,
        state: zero,
    };
    let bytes = entry.to_bytes();
    assert_eq!(Entry::from_canonical(&bytes), Some(entry.clone()));
    for length in 0..bytes.len() {
        assert_eq!(Entry::from_canonical(&bytes[..length]), None, "cut to {length}");
    }
    assert_eq!(Entry::from_canonical(&[bytes.clone(), vec![0]].concat()), None);
    for position in 0..10 {
        let mut other = bytes.clone();
        other[position] ^= 1;
        assert_eq!(Entry::from_canonical(&other), None, "header byte {position}");
    }
    let mut node = TestNode::new(1);
    let mut submission = node.settle(START);
    submission.merkle_proof = vec![zero; MAX_RECORD / 32];
    let large = Entry {
        transaction: submit(submission),
        ..entry
    };
    let size = large.to_bytes().len();
    assert!(size > MAX_RECORD);
    assert_eq!(large.write_record(&mut Vec::new()), Err(size));
}

#[test]
fn a_ledger_that_could_not_make_an_entry_durable_takes_no_more() {
    let (directory, _, node) = small();
    let mut ledger = open(&directory).unwrap();
    ledger.health = Health::Unsure;
    let error = ledger.append(&[node.claim(1, 1)], START).unwrap_err();
    assert!(error.to_string().contains("open it again"), "{error}");
    drop(ledger);
    open(&directory)
        .unwrap()
        .append(&[node.claim(1, 1)], START)
        .unwrap();
}

#[test]
fn a_failed_write_leaves_the_ledger_as_it_was() {
    let (directory, path, node) = small();
    let mut ledger = open(&directory).unwrap();
    let (tip, digest) = (ledger.tip(), ledger.state().digest());
    // A file that cannot be written stands in for a full disk.
    let writable = std::mem::replace(&mut ledger.view.file, Arc::new(File::open(&path).unwrap()));
    let error = ledger.append(&[node.claim(1, 1)], START).unwrap_err();
    assert!(matches!(error, SubmitError::Unavailable(_)), "{error}");
    assert_eq!(
        (ledger.tip(), ledger.state().digest(), ledger.health),
        (tip, digest, Health::Sound)
    );
    ledger.view.file = writable;
    ledger.append(&[node.claim(1, 1)], START).unwrap();
    assert_eq!(replay(&path).unwrap().entries, 8);
}
