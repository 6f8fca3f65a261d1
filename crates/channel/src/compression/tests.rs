use super::*;

fn invalid(expanded: Result<Vec<u8>, ChannelError>, expected: usize) -> String {
    match expanded {
        Err(ChannelError::ExpansionInvalid {
            expected: found,
            what,
        }) => {
            assert_eq!(found, expected);
            what
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_compressed_expands_to_itself() {
    for length in [1, THRESHOLD, THRESHOLD + 1, 100_000, FREE] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 100) as u8).collect();
        match compress(&payload) {
            Some(compressed) => {
                assert!(compressed.len() < payload.len());
                assert_eq!(expand(&compressed, length), Ok(payload));
            }
            None => assert!(length <= 100, "{length} bytes did not get shorter"),
        }
    }
}

#[test]
fn what_would_get_too_short_is_not_compressed() {
    assert!(compress(&vec![7; FREE]).is_some());
    assert_eq!(compress(&vec![7; 2 * FREE]), None);
    assert_eq!(most(0), FREE);
    assert_eq!(most(usize::MAX), usize::MAX);
}

#[test]
fn what_does_not_get_shorter_is_not_compressed() {
    let mut noise = vec![0; 10_000];
    getrandom::fill(&mut noise).unwrap();
    assert_eq!(compress(&noise), None);
    assert_eq!(compress(&[]), None);
}

#[test]
fn what_expands_to_another_length_is_refused() {
    let compressed = compress(&[7; 5000]).unwrap();
    assert_eq!(invalid(expand(&compressed, 5001), 5001), "it has 5000 bytes");
    for less in [0, 1, 4999] {
        invalid(expand(&compressed, less), less);
    }
}

#[test]
fn every_cut_and_everything_that_follows_is_refused() {
    let compressed = compress(&[7; 5000]).unwrap();
    for length in 0..compressed.len() {
        invalid(expand(&compressed[..length], 5000), 5000);
    }
    // The third is a frame that decoders skip (RFC 8878 §3.1.2), the last one that expands to nothing.
    let skipped = b"\x50\x2a\x4d\x18\x02\x00\x00\x00no".as_slice();
    let nothing = zstd::bulk::compress(&[], 1).unwrap();
    for more in [b"x".as_slice(), &compressed, skipped, &nothing] {
        let what = invalid(expand(&[compressed.as_slice(), more].concat(), 5000), 5000);
        assert_eq!(what, "bytes follow it");
    }
    let what = invalid(expand(&[skipped, &compressed].concat(), 5000), 5000);
    assert_eq!(what, "bytes follow it");
}

#[test]
fn two_messages_share_nothing() {
    let (one, other) = (vec![1; 3000], [vec![1; 3000], vec![2; 10]].concat());
    let alone = compress(&other).unwrap();
    compress(&one).unwrap();
    assert_eq!(compress(&other).unwrap(), alone);
}
