use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use nautilus_core::{AnchorRole, TrustAnchor};
use sha3::{Digest as _, Sha3_512};

use super::*;

/// A key pair as the boot ROM makes one of a seed.
struct Pair(ExpandedSecretKey);

impl Pair {
    fn of(seed: [u8; 32]) -> Self {
        Self(ExpandedSecretKey::from_bytes(&Sha3_512::digest(seed).into()))
    }

    fn public(&self) -> [u8; 32] {
        VerifyingKey::from(&self.0).to_bytes()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        raw_sign::<Sha3_512>(&self.0, message, &VerifyingKey::from(&self.0)).to_bytes()
    }
}

/// Keystone's published test key.
fn published() -> Pair {
    let keys: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../vectors/keystone/keys.json")).unwrap();
    let secret = hex::decode(keys["test_device"]["secret_expanded_64"].as_str().unwrap()).unwrap();
    Pair(ExpandedSecretKey::from_slice(&secret).unwrap())
}

/// The security monitor's key as the reference boot ROM derives it for a device whose secret starts with 0x48.
fn recoverable(sm_hash: [u8; 64]) -> Pair {
    let digest: [u8; 64] = Sha3_512::digest([0x48, sm_hash[0]]).into();
    Pair::of(*digest.first_chunk().unwrap())
}

const SM_HASH: [u8; 64] = [0x5a; 64];

/// What a machine with these keys reports.
fn report(device: &Pair, monitor: &Pair) -> Vec<u8> {
    let data = b"report data";
    let mut signed = vec![0x77; 64];
    signed.extend(11_u64.to_le_bytes());
    signed.extend(data);
    let by_monitor = monitor.sign(&signed);
    let vouched = [SM_HASH.as_slice(), &monitor.public()].concat();
    let by_device = device.sign(&vouched);
    signed.resize(1096, 0);
    [
        signed.as_slice(),
        &by_monitor,
        &vouched,
        &by_device,
        &device.public(),
    ]
    .concat()
}

fn trusting(devices: &[&Pair]) -> Verifier {
    let anchors = devices.iter().map(|device| TrustAnchor {
        role: AnchorRole::KeystoneDevice,
        bytes: hex::encode(device.public()).into_bytes(),
        origin: "a test".to_owned(),
    });
    Verifier::new(&TrustAnchors(anchors.collect())).unwrap()
}

fn claims(verifier: &Verifier, report: &[u8]) -> Result<RawClaims, VerifyError> {
    verifier.verify(report, &Endorsements::default(), UnixMillis(0))
}

#[test]
fn a_machine_with_keys_of_its_own_is_no_debug_device() {
    let (device, monitor) = (Pair::of([1; 32]), Pair::of([2; 32]));
    let claims = claims(&trusting(&[&device]), &report(&device, &monitor)).unwrap();
    assert!(!claims.debug);
    assert_eq!(claims.attributes["device_key"], "enrolled");
    assert_eq!(claims.attributes["sm_key"], "no known weakness");
    assert_eq!(claims.attributes.get("debug_because"), None);
    assert_eq!(claims.report_data, b"report data");
    assert_eq!(claims.unsigned, []);
    assert_eq!(claims.measurements["sm_hash"], Measurement(SM_HASH.to_vec()));
}

#[test]
fn either_key_that_anybody_has_makes_a_debug_device() {
    let device = Pair::of([1; 32]);
    for (device, monitor, because) in [
        (
            &published(),
            &Pair::of([2; 32]),
            ["device's key: Keystone's test key", ""],
        ),
        (&device, &recoverable(SM_HASH), ["security monitor's key", ""]),
        (
            &published(),
            &recoverable(SM_HASH),
            ["device's key", "security monitor's key"],
        ),
    ] {
        let claims = claims(&trusting(&[device]), &report(device, monitor)).unwrap();
        assert!(claims.debug, "{because:?}");
        let reason = &claims.attributes["debug_because"];
        assert!(because.iter().all(|because| reason.contains(because)), "{reason}");
    }
}

#[test]
fn what_is_remembered_of_one_device_does_not_speak_for_another() {
    let (one, other, monitor) = (Pair::of([1; 32]), Pair::of([3; 32]), recoverable(SM_HASH));
    let verifier = trusting(&[&one, &other]);
    let genuine = report(&one, &monitor);
    let first = claims(&verifier, &genuine).unwrap();
    assert_eq!(claims(&verifier, &genuine).unwrap(), first, "remembered");
    let mut stolen = genuine.clone();
    stolen[1320..].copy_from_slice(&other.public());
    assert_eq!(
        claims(&verifier, &stolen).unwrap_err(),
        VerifyError::SignatureInvalid {
            what: "over the security monitor's hash and key, by the device's key".to_owned()
        }
    );
    let mut forged = genuine;
    forged[72] ^= 1;
    assert_eq!(
        claims(&verifier, &forged).unwrap_err(),
        VerifyError::SignatureInvalid {
            what: "over the enclave's hash and data, by the security monitor's key".to_owned()
        }
    );
}

#[test]
fn a_monitor_without_a_sound_key_is_refused_even_if_the_device_signed_it() {
    let (device, monitor) = (Pair::of([1; 32]), Pair::of([2; 32]));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let no_point = (2..=u8::MAX)
        .map(|first| {
            let mut bytes = [0; 32];
            bytes[0] = first;
            bytes
        })
        .find(|bytes| VerifyingKey::from_bytes(bytes).is_err())
        .unwrap();
    for (key, why) in [
        ([0; 32], "security monitor's key is all zero"),
        (neutral, "security monitor's key is a point of small order"),
        (no_point, "security monitor's key is no point of the curve"),
    ] {
        let mut report = report(&device, &monitor);
        report[1224..1256].copy_from_slice(&key);
        let by_device = device.sign(&report[1160..1256]);
        report[1256..1320].copy_from_slice(&by_device);
        let refused = claims(&trusting(&[&device]), &report).unwrap_err();
        assert!(
            matches!(
                &refused,
                VerifyError::WeakKey { what } | VerifyError::SignatureInvalid { what } if what.starts_with(why)
            ),
            "{refused:?}"
        );
    }
}
