use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nautilus_core::{BootId, PublicKey};
use nautilus_proof::Registration;
use nautilus_proof::message::node_id;

use super::*;

/// What the TypeScript SDK made: `vectors/sui/README.md` says how.
const SDK: &str = include_str!("../../../../vectors/sui/wallets.json");

#[derive(serde::Deserialize)]
struct SdkWallet {
    suiprivkey: String,
    keystore: String,
    address: SuiAddress,
}

fn wallets() -> Vec<SdkWallet> {
    serde_json::from_str(SDK).unwrap()
}

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, contents: &[u8]) -> PathBuf {
        let path = self.directory.path().join("keys");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn keystore_of(wallets: &[SdkWallet]) -> Vec<u8> {
    let entries: Vec<_> = wallets.iter().map(|wallet| &wallet.keystore).collect();
    serde_json::to_vec_pretty(&entries).unwrap()
}

#[test]
fn what_sui_writes_is_read_in_every_scheme() {
    let fixture = Fixture::new();
    for theirs in wallets() {
        let path = fixture.file(format!("{}\n", theirs.suiprivkey).as_bytes());
        let wallet = Wallet::read(&path, None).unwrap();
        assert_eq!(wallet.address(), theirs.address);
        assert_eq!(*wallet.to_suiprivkey().unwrap(), theirs.suiprivkey);
        let message = Registration {
            node: node_id(wallet.address(), BootId([1; 16])),
            wallet: wallet.address(),
            label: BootId([1; 16]),
            verifier: PublicKey([2; 32]),
        };
        assert!(wallet.sign(&message).is_of(theirs.address, &message));
    }
}

#[test]
fn of_a_keystore_the_address_says_which() {
    let (fixture, theirs) = (Fixture::new(), wallets());
    let path = fixture.file(&keystore_of(&theirs));
    let all: Vec<_> = theirs.iter().map(|wallet| wallet.address).collect();
    for address in &all {
        assert_eq!(Wallet::read(&path, Some(*address)).unwrap().address(), *address);
    }
    let Err(WalletError::Ambiguous { addresses, .. }) = Wallet::read(&path, None) else {
        panic!("one of three was chosen")
    };
    assert_eq!(addresses, all);
    let other = SuiAddress([1; 32]);
    let Err(WalletError::NotThere { address, .. }) = Wallet::read(&path, Some(other)) else {
        panic!("a wallet was found that is not there")
    };
    assert_eq!(address, other);
    let one = fixture.file(&keystore_of(&theirs[1..2]));
    assert_eq!(Wallet::read(&one, None).unwrap().address(), all[1]);
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    let fixture = Fixture::new();
    let secret = wallets().remove(0).suiprivkey;
    let broken = secret.replace("suiprivkey1", "suiprivkey2");
    let cases: [(&[u8], &str); 7] = [
        (b"", "no suiprivkey"),
        (broken.as_bytes(), "no suiprivkey"),
        (b"[]", "empty"),
        (b"[1]", "no JSON list"),
        (b"[\"AAAA\"]", "entry 0"),
        (b"[", "no JSON list"),
        (&[b'x'; 300_000], "larger"),
    ];
    for (contents, expected) in cases {
        let path = fixture.file(contents);
        let Err(error @ WalletError::Invalid { .. }) = Wallet::read(&path, None) else {
            panic!("{expected}: a wallet was read")
        };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains(&secret[11..]), "{error}");
    }
    // Not text.
    let path = fixture.file(&[0xff; 8]);
    assert!(matches!(
        Wallet::read(&path, None),
        Err(WalletError::Io { action: "read", .. })
    ));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.file(wallets()[0].suiprivkey.as_bytes());
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(
            Wallet::read(&path, None),
            Err(WalletError::Exposed { .. })
        ));
    }
}
