use std::process::{Command, Stdio};

use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_core::{
    BootId, BoundUserData, Digest32, EventLogHead, Purpose, SignedMessage as _, VerifyError,
};
use nautilus_tee::certificate::read;

use super::*;

/// 2027-01-15T08:00:00Z
const FROM: UnixMillis = UnixMillis(1_800_000_000_000);
const UNTIL: UnixMillis = UnixMillis(1_800_086_400_000);
const NODE: NodeId = NodeId([0xab; 32]);
const EVIDENCE: &[u8] = &[0x5a; 5000];

fn key() -> SigningKey {
    SigningKey::from_bytes(&[0x22; 32])
}

fn tee_key() -> PublicKey {
    PublicKey(key().verifying_key().to_bytes())
}

fn user_data() -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Runtime,
        node: NODE,
        tee: TeeKind::Sev,
        boot: BootId([3; 16]),
        tee_key: tee_key(),
        channel_key: Some(PublicKey([4; 32])),
        event_log: EventLogHead::EMPTY,
        session: None,
    }
}

/// The certificate of `user_data` for `tee_key` and `node`, signed by [`key`].
fn certificate_of(user_data: &BoundUserData, tee_key: PublicKey, node: NodeId, tee: TeeKind) -> Vec<u8> {
    let to_be_signed = ToBeSigned::new(&Contents {
        node,
        tee,
        tee_key,
        serial: [0xff; 16],
        not_before: FROM,
        not_after: UNTIL,
        evidence: EVIDENCE,
        challenge: Challenge::from_digest(Digest32([9; 32])),
        user_data: &user_data.to_bytes(),
    })
    .unwrap();
    let signature = Signature(key().sign(to_be_signed.as_der()).to_bytes());
    to_be_signed.signed(&signature)
}

fn certificate() -> Vec<u8> {
    certificate_of(&user_data(), tee_key(), NODE, TeeKind::Sev)
}

#[test]
fn what_was_put_in_is_read_back() {
    let read = read(&certificate(), FROM).unwrap();
    assert_eq!((read.node, read.tee_key), (NODE, tee_key()));
    assert_eq!(read.evidence.bytes, EVIDENCE);
    assert_eq!(read.evidence.tee, TeeKind::Sev);
    assert_eq!(read.evidence.user_data, Some(user_data().to_bytes()));
    assert_eq!(read.user_data, user_data());
    assert_eq!(read.challenge, Challenge::from_digest(Digest32([9; 32])));
    assert_eq!(read.not_before, FROM);
}

#[test]
fn it_is_valid_in_its_time_alone() {
    for now in [FROM, UNTIL] {
        assert!(read(&certificate(), now).is_ok(), "{now}");
    }
    for now in [UnixMillis(FROM.0 - 1), UNTIL.plus(1000)] {
        let Err(VerifyError::Untrusted { what }) = read(&certificate(), now) else {
            panic!("taken at {now}")
        };
        assert!(what.contains("valid from"), "{what}");
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let whole = certificate();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(
            matches!(
                read(&changed, FROM),
                Err(VerifyError::SignatureInvalid { .. } | VerifyError::Malformed { .. })
            ),
            "byte {at}"
        );
    }
}

#[test]
fn cut_longer_and_too_long_ones_are_refused() {
    let whole = certificate();
    for length in 0..whole.len() {
        assert!(
            matches!(read(&whole[..length], FROM), Err(VerifyError::Malformed { .. })),
            "cut to {length}"
        );
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(matches!(read(&longer, FROM), Err(VerifyError::Malformed { .. })));
    let huge = vec![0; nautilus_tee::certificate::MAX_LEN + 1];
    assert!(matches!(read(&huge, FROM), Err(VerifyError::TooLarge { .. })));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let other_key = PublicKey(SigningKey::from_bytes(&[0x23; 32]).verifying_key().to_bytes());
    let not_its_own = certificate_of(&user_data(), other_key, NODE, TeeKind::Sev);
    assert!(matches!(
        read(&not_its_own, FROM),
        Err(VerifyError::SignatureInvalid { .. })
    ));
    let for_another_key = BoundUserData {
        tee_key: other_key,
        ..user_data()
    };
    let another_node = NodeId([0xac; 32]);
    for (certificate, part) in [
        (
            certificate_of(&for_another_key, tee_key(), NODE, TeeKind::Sev),
            "for key",
        ),
        (
            certificate_of(&user_data(), tee_key(), another_node, TeeKind::Sev),
            "for node",
        ),
        (
            certificate_of(&user_data(), tee_key(), NODE, TeeKind::Tdx),
            "for TEE",
        ),
    ] {
        let Err(VerifyError::Untrusted { what }) = read(&certificate, FROM) else {
            panic!("taken in spite of its {part}")
        };
        assert!(what.contains(part), "{what}");
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn openssl_reads_it_and_finds_the_evidence() {
    let text = openssl(&["x509", "-inform", "DER", "-noout", "-text"], &certificate());
    let node = NODE.to_string();
    for expected in [
        "Version: 3 (0x2)",
        "Signature Algorithm: ED25519",
        "Not Before: Jan 15 08:00:00 2027 GMT",
        "Not After : Jan 16 08:00:00 2027 GMT",
        &format!("Subject: CN = {node}"),
        &format!("Issuer: CN = {node}"),
        "Serial Number:\n            7f:ff:",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature",
        "1.3.6.1.5.5.7.1.35",
        "2.23.133.5.4.9",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let pem = openssl(&["x509", "-inform", "DER"], &certificate());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certificate.pem");
    std::fs::write(&path, pem).unwrap();
    let path = path.to_str().unwrap();
    let verified = openssl(
        &[
            "verify",
            "-attime",
            "1800000001",
            "-check_ss_sig",
            "-trusted",
            path,
            path,
        ],
        &[],
    );
    assert!(verified.contains(": OK"), "{verified}");
}

#[test]
fn times_are_written_as_they_must_be() {
    let utc = time(UnixMillis(2_524_607_999_999)).unwrap();
    assert_eq!(utc, [&[UTC_TIME, 13], b"491231235959Z".as_slice()].concat());
    let generalized = time(UnixMillis(2_524_608_000_000)).unwrap();
    assert_eq!(
        generalized,
        [&[GENERALIZED_TIME, 15], b"20500101000000Z".as_slice()].concat()
    );
    assert_eq!(time(UnixMillis(u64::MAX)), None);
}

#[test]
fn cbor_is_in_its_shortest_form() {
    // RFC 8949, appendix A.
    for (value, expected) in [
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (1000, "1903e8"),
        (65_536, "1a00010000"),
        (1_000_000_000_000, "1b000000e8d4a51000"),
    ] {
        assert_eq!(hex::encode(cbor::number(value)), expected);
    }
    assert_eq!(hex::encode(cbor::text("IETF")), "6449455446");
    assert_eq!(
        hex::encode(record("a/b", &[1, 2], Some(IS_EVIDENCE))),
        "8363612f6242010204"
    );
}
