use super::*;

/// Numbers without pattern, the same in every run.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn coded(values: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_column(&mut bytes, values);
    // What follows must be left alone.
    bytes.push(0x5a);
    let mut reader = Reader::new(&bytes);
    assert_eq!(take_column(&mut reader, values.len()).unwrap(), values);
    assert_eq!(reader.rest(), [0x5a]);
    bytes.pop();
    bytes
}

#[test]
fn every_kind_of_column_comes_back() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for length in [1_usize, 2, 3, 4, 7, 120, 239, 240, 257, 1000] {
        let mut counter = 0_i64;
        let kinds: [&mut dyn FnMut(u64) -> i64; 9] = [
            &mut |_| 7,
            &mut |_| i64::MIN,
            &mut |noise| (noise % 2).cast_signed(),
            &mut |noise| i64::from(noise % 40 == 0),
            &mut |noise| noise.cast_signed(),
            &mut |noise| if noise % 2 == 0 { i64::MIN } else { i64::MAX },
            &mut |noise| (noise % 1_000).cast_signed() * 4096,
            &mut |noise| {
                counter += (noise % 70_000).cast_signed();
                counter
            },
            &mut |noise| 1_700_000_000_000 + 15_000 * (noise % 3).cast_signed(),
        ];
        for kind in kinds {
            let values: Vec<i64> = (0..length).map(|_| kind(random(&mut seed))).collect();
            coded(&values);
        }
        let steady: Vec<i64> = (0..i64::try_from(length).unwrap())
            .map(|at| 1_000 + 15_000 * at)
            .collect();
        assert!(coded(&steady).len() <= 16, "{length}");
    }
    assert!(coded(&[]).is_empty());
}

#[test]
fn what_pco_leaves_out_is_what_it_writes() {
    let header = FileCompressor::default().write_header(Vec::new()).unwrap();
    assert_eq!(header, PCO_HEADER);
}

#[test]
fn presence_comes_back() {
    let mut seed = 0x1234_5678_9abc_def1;
    for count in [1_usize, 2, 64, 240, 4096] {
        for share in [0, 1, 2, 3, 50] {
            let present: Vec<u32> = (0..u32::try_from(count).unwrap())
                .filter(|_| share > 0 && random(&mut seed) % share != 1)
                .collect();
            let mut bytes = Vec::new();
            put_presence(&mut bytes, &present, count);
            let mut reader = Reader::new(&bytes);
            assert_eq!(take_presence(&mut reader, count).unwrap(), present);
            reader.end().unwrap();
        }
    }
}

#[test]
fn cut_and_altered_columns_are_errors_or_other_numbers() {
    let mut seed = 77;
    let values: Vec<i64> = (0..240)
        .map(|_| (random(&mut seed) % 5_000).cast_signed())
        .collect();
    let bytes = coded(&values);
    for length in 0..bytes.len() {
        take_column(&mut Reader::new(&bytes[..length]), 240).unwrap_err();
    }
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        // Integrity is the seal's; here nothing may panic or take memory.
        if let Ok(decoded) = take_column(&mut Reader::new(&altered), 240) {
            assert_eq!(decoded.len(), 240);
        }
    }
    assert_eq!(
        take_column(&mut Reader::new(&bytes), MAX_COLUMN + 1),
        Err(Malformed("a column is too long"))
    );
}
