use super::*;
use crate::launch::LaunchError;

fn vector(name: &str) -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/sgx/launch");
    std::fs::read(root.join(name)).unwrap()
}

fn sig() -> Vec<u8> {
    vector("fortanix-sgxs-tools/test_enclave.sig")
}

#[test]
fn a_real_sigstruct_says_what_its_enclave_measures() {
    let sigstruct = Sigstruct::parse(&sig()).unwrap();
    sigstruct.verify().unwrap();
    assert_eq!(
        hex::encode(sigstruct.mrenclave),
        "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc"
    );
    assert_eq!(sigstruct.date, 2016_1214);
    assert_eq!((sigstruct.isv_prod_id, sigstruct.isv_svn), (0xffff, 0));
    assert_eq!((sigstruct.flags, sigstruct.xfrm), (4, 3));
    assert!(sigstruct.allows_debug());
    let enclave = vector("fortanix-sgxs-tools/test_enclave.sgxs");
    assert_eq!(sgxs(&enclave).unwrap(), sigstruct.mrenclave);
    let expected = sigstruct.expected();
    assert_eq!(expected.facts["made on"], "2016-12-14");
    assert_eq!(expected.facts["attributes asked for"], "MODE64BIT");
}

#[test]
fn another_tool_s_sigstruct_verifies_too() {
    let sigstruct = Sigstruct::parse(&vector("fortanix-sgxs-tools/sig1.sigstruct.bin")).unwrap();
    sigstruct.verify().unwrap();
}

/// Every byte is under the signature, is held to a constant, or is of the key or the signature themselves; only the
/// numbers that help the processor are neither.
#[test]
fn no_bit_of_a_sigstruct_can_be_changed() {
    let good = sig();
    for place in 0..1040 {
        for flip in [1_u8, 0x80] {
            let mut bad = good.clone();
            bad[place] ^= flip;
            let outcome = Sigstruct::parse(&bad).and_then(|sigstruct| sigstruct.verify());
            assert!(
                matches!(
                    outcome,
                    Err(LaunchError::Malformed { .. } | LaunchError::SignatureInvalid { .. })
                ),
                "byte {place}: {outcome:?}"
            );
        }
    }
}

#[test]
fn what_is_no_sigstruct_is_refused_by_field_and_offset() {
    let change = |place: usize, value: u8| {
        let mut bad = sig();
        bad[place] = value;
        Sigstruct::parse(&bad).unwrap_err().to_string()
    };
    assert_eq!(
        change(4, 0xe2),
        "malformed SIGSTRUCT: HEADER is 06000000e20000000000010000000000, not 06000000e10000000000010000000000 at byte 0"
    );
    assert_eq!(
        change(512, 1),
        "malformed SIGSTRUCT: EXPONENT is 01000000, not 03000000 at byte 512"
    );
    assert_eq!(
        change(127, 1),
        "malformed SIGSTRUCT: a reserved byte that is not zero at byte 127"
    );
    assert_eq!(
        change(20, 0x1f),
        "malformed SIGSTRUCT: DATE 2016121f is not in decimal digits at byte 20"
    );
    assert_eq!(
        change(511, 0x7f),
        "malformed SIGSTRUCT: MODULUS is no odd number of 3,072 bits at byte 128"
    );
    assert!(change(17, 0x55).contains("VENDOR is 0x00005500"));
    let mut long = sig();
    long.push(0);
    assert!(matches!(
        Sigstruct::parse(&long),
        Err(LaunchError::TooLarge { limit: 1808, .. })
    ));
    assert!(!Sigstruct::recognises(&long));
    for length in [0, 1, 1807] {
        let error = Sigstruct::parse(&sig()[..length]).unwrap_err().to_string();
        assert!(error.contains("structure needs 1808 bytes"), "{error}");
    }
}

#[test]
fn pages_are_measured_as_the_processor_does() {
    // The stream of the real enclave, by instructions instead of by its file.
    let file = vector("fortanix-sgxs-tools/test_enclave.sgxs");
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let mut enclave =
        MrEnclave::create(u32::from_le_bytes(file[8..12].try_into().unwrap()), number(12)).unwrap();
    let mut at = 64;
    while at < file.len() {
        if file[at..].starts_with(b"EADD") {
            enclave.add(number(at + 8), number(at + 16)).unwrap();
            at += 64;
        } else {
            let chunk: Chunk = file[at + 64..at + 320].try_into().unwrap();
            enclave.extend(number(at + 8), &chunk).unwrap();
            at += 320;
        }
    }
    assert_eq!(
        hex::encode(enclave.finish()),
        "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc"
    );
}

#[test]
fn a_stream_that_is_not_canonical_has_no_measurement() {
    let good = vector("fortanix-sgxs-tools/test_enclave.sgxs");
    let fault = |bytes: &[u8]| sgxs(bytes).unwrap_err().to_string();
    let change = |place: usize, value: u8| {
        let mut bad = good.clone();
        bad[place] = value;
        fault(&bad)
    };
    assert_eq!(
        change(0, b'X'),
        "malformed SGXS enclave: it does not start with ECREATE at byte 0"
    );
    assert!(change(8, 0).contains("a frame have a page"));
    assert!(change(12, 1).contains("power of two"));
    assert!(change(63, 1).contains("reserved byte that is not zero at byte 63"));
    assert!(change(64, b'X').contains("a record `XADD\\x00\\x00\\x00\\x00` that is none at byte 64"));
    assert!(change(72, 1).contains("no page of an enclave"));
    assert!(change(127, 1).contains("reserved byte that is not zero at byte 127"));
    for cut in [1, 63, 65, 100, 130, 300, good.len() - 1] {
        let error = fault(&good[..cut]);
        assert!(error.contains(" bytes, "), "{cut}: {error}");
    }
    // The first page's first chunk again.
    let mut twice = good[..128 + 320].to_vec();
    twice.extend_from_slice(&good[128..128 + 320]);
    assert!(
        fault(&twice).contains("EEXTEND at 0x0 twice"),
        "{}",
        fault(&twice)
    );
    let mut again = good[..128].to_vec();
    again.extend_from_slice(&good[64..128]);
    assert!(fault(&again).contains("ascending order"));
    let mut early = good[..64].to_vec();
    early.extend_from_slice(&good[128..448]);
    assert!(fault(&early).contains("no part of the page that was added last"));
    let mut open = good;
    open[..8].copy_from_slice(b"UNSIZED\0");
    assert!(matches!(sgxs(&open), Err(LaunchError::Unsupported { .. })));
}

#[test]
fn what_is_not_measured_changes_nothing() {
    let stream = |tag: &[u8; 8], contents: u8| {
        let mut bytes = vec![0; 64 + 64 + 320];
        bytes[..8].copy_from_slice(b"ECREATE\0");
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        bytes[12..20].copy_from_slice(&8192_u64.to_le_bytes());
        bytes[64..68].copy_from_slice(b"EADD");
        bytes[80..88].copy_from_slice(&0x203_u64.to_le_bytes());
        bytes[128..136].copy_from_slice(tag);
        bytes[192..].fill(contents);
        sgxs(&bytes).unwrap()
    };
    assert_eq!(stream(b"UNMEASRD", 1), stream(b"UNMEASRD", 2));
    assert_ne!(stream(b"EEXTEND\0", 1), stream(b"EEXTEND\0", 2));
    assert_ne!(stream(b"EEXTEND\0", 1), stream(b"UNMEASRD", 1));
}
