use super::*;

fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(bytes, 100, Lengths::Definite)
}

fn fault<T: std::fmt::Debug>(result: Result<T, VerifyError>) -> (String, usize) {
    match result {
        Err(VerifyError::Malformed { what, offset }) => (what, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn integers_of_every_size() {
    for (bytes, value) in [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("190100", 256),
        ("1a00010000", 65_536),
        ("1b7fffffffffffffff", i64::MAX),
        ("20", -1),
        ("3822", -35),
        ("3b7fffffffffffffff", i64::MIN),
    ] {
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(reader(&bytes).int("n"), Ok(value));
    }
    let over = hex::decode("1b8000000000000000").unwrap();
    assert_eq!(
        fault(reader(&over).int("n")),
        ("n is out of range".to_owned(), 100)
    );
    assert_eq!(reader(&over).uint("n"), Ok(1 << 63));
}

#[test]
fn longer_forms_are_refused() {
    for bytes in [
        "1817",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "580100",
        "7801",
        "9801",
        "b801",
        "d812",
        "f81f",
    ] {
        let bytes = hex::decode(bytes).unwrap();
        let (what, offset) = fault(reader(&bytes).skip("it"));
        assert_eq!(
            (what.as_str(), offset),
            ("it does not have its shortest form", 100),
            "{bytes:x?}"
        );
    }
    for bytes in ["1c", "3d", "5e", "dc", "df", "1f", "3f", "fc", "ff"] {
        let bytes = hex::decode(bytes).unwrap();
        assert!(
            fault(reader(&bytes).skip("it")).0.contains("which is no item"),
            "{bytes:x?}"
        );
    }
}

/// A length is held against what is there before anything else happens: these would be 2⁶³ bytes or elements.
#[test]
fn announced_lengths_allocate_nothing() {
    for head in ["5b", "7b"] {
        let bytes = hex::decode(format!("{head}7fffffffffffffff00")).unwrap();
        assert!(
            fault(reader(&bytes).skip("it"))
                .0
                .contains("bytes announced, 1 left")
        );
        let bytes = hex::decode(format!("{head}ffffffffffffffff00")).unwrap();
        assert!(
            fault(reader(&bytes).skip("it"))
                .0
                .contains("bytes announced, 1 left")
        );
    }
    for head in ["9b", "bb"] {
        let bytes = hex::decode(format!("{head}ffffffffffffffff")).unwrap();
        assert_eq!(
            fault(reader(&bytes).skip("it")).0,
            "it has more than 256 elements"
        );
    }
    let bytes = hex::decode("9a00ffffff").unwrap();
    let mut elements = 0;
    let counted = reader(&bytes).array("it", usize::MAX, |reader, _| {
        elements += 1;
        reader.skip("element")
    });
    assert_eq!(
        (fault(counted), elements),
        (("element is cut short".to_owned(), 105), 1)
    );
}

#[test]
fn keys_that_come_twice_are_refused() {
    // {1: 0, 1: 0}, {"a": 0, "b": 0, "a": 0}, {"x": {2: 0, 2: 0}}
    for (bytes, what, at) in [
        ("a201000100", "m has the key 1 twice", 103),
        ("a3616100616200616100", "m has the key `a` twice", 107),
        ("a16178a202000200", "m has the key 2 twice", 106),
    ] {
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(fault(reader(&bytes).skip("m")), (what.to_owned(), at));
    }
    let mixed = hex::decode("a3010020006131f6").unwrap();
    let mut rest = reader(&mixed);
    assert_eq!(rest.skip("m"), Ok(()));
    assert_eq!(rest.end("m"), Ok(()));
    let other = hex::decode("a1410000").unwrap();
    assert_eq!(
        fault(reader(&other).skip("m")).0,
        "m has a key that is neither integer nor text"
    );
}

#[test]
fn nesting_is_bounded() {
    for unit in [&[0x81][..], &[0xa1, 0x00], &[0xc1]] {
        let nested = |levels: usize| [unit.repeat(levels), vec![0xf6]].concat();
        assert_eq!(reader(&nested(8)).skip("it"), Ok(()));
        for levels in [9, 10_000] {
            assert_eq!(
                fault(reader(&nested(levels)).skip("it")).0,
                "it is nested deeper than 8 levels"
            );
        }
    }
}

#[test]
fn indefinite_lengths_only_where_they_are_allowed() {
    // [_ 1], {_ 1: 2}
    for bytes in ["9f01ff", "bf0102ff"] {
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(fault(reader(&bytes).skip("it")).0, "it has an indefinite length");
        let mut any = Reader::new(&bytes, 0, Lengths::Any);
        assert_eq!((any.skip("it"), any.left()), (Ok(()), 0));
    }
    // (_ h'01'), (_ "a"): never.
    for bytes in ["5f4101ff", "7f6161ff"] {
        let bytes = hex::decode(bytes).unwrap();
        let mut any = Reader::new(&bytes, 0, Lengths::Any);
        assert_eq!(fault(any.skip("it")).0, "it has an indefinite length");
    }
    // Without end, with half an entry, and with more than allowed.
    for (bytes, what) in [("9f01", "it is cut short"), ("bf01ff", "which is no item")] {
        let bytes = hex::decode(bytes).unwrap();
        assert!(
            fault(Reader::new(&bytes, 0, Lengths::Any).skip("it"))
                .0
                .contains(what),
            "{bytes:x?}"
        );
    }
    let many = [vec![0x9f], vec![0; 257], vec![0xff]].concat();
    assert_eq!(
        fault(Reader::new(&many, 0, Lengths::Any).skip("it")).0,
        "it has more than 256 elements"
    );
}

#[test]
fn strings_are_bounded_and_text_is_text() {
    let bytes = [0x43, 1, 2, 3];
    assert_eq!(reader(&bytes).bytes("b", 3), Ok(&[1, 2, 3][..]));
    assert_eq!(
        fault(reader(&bytes).bytes("b", 2)).0,
        "b has 3 bytes, more than 2"
    );
    assert_eq!(fault(reader(&bytes).text("t", 3)).0, "t is not a text");
    assert_eq!(fault(reader(&[0x61, 0xff]).text("t", 3)).0, "t is not UTF-8");
    assert_eq!(
        fault(reader(&[]).text("t", 3)),
        ("t is cut short".to_owned(), 100)
    );
    assert_eq!(
        fault(reader(&[0x01, 0x02]).end("it")),
        ("2 bytes follow it".to_owned(), 100)
    );
}

/// What this reader is for: the common one takes a map with two equal keys without a word.
#[test]
fn ciborium_does_not_see_keys_that_come_twice() {
    let twice = hex::decode("a201000101").unwrap();
    let read: ciborium::Value = ciborium::from_reader(twice.as_slice()).unwrap();
    assert_eq!(read.as_map().map(Vec::len), Some(2));
    let (what, offset) = fault(reader(&twice).skip("m"));
    assert_eq!((what.as_str(), offset), ("m has the key 1 twice", 103));
}
