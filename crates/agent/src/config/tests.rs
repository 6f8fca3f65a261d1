mod faults;
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nautilus_core::{PublicKey, TeeKind};
use nautilus_monitor::aggregate::BackPressure;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::field::FIELDS;
use super::*;
use crate::verifier_client::VerifierAddress;

const MAIN: &str = "config.yaml";
const HEX_40: &str = "0000000000000000000000000000000000000000";
const HEX_64: &str = "a3f1000000000000000000000000000000000000000000000000000000000BEE";
const HEX_96: &str =
    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111";

/// A configuration directory with sources, built up by a test.
struct Node {
    directory: TempDir,
    sources: Sources,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sources = Sources {
            directory: directory.path().to_owned(),
            ..Sources::default()
        };
        Self { directory, sources }
    }

    fn with(text: impl AsRef<[u8]>) -> Self {
        Self::new().file(MAIN, text)
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, flag: &'static str, key: &'static str, value: &str) -> Self {
        self.sources.flags.push(FlagValue {
            flag,
            key,
            value: value.to_owned(),
        });
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn at(&self, name: &str, line: u32, column: u32) -> Origin {
        Origin::File {
            path: self.path(name).into(),
            line,
            column,
        }
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.sources)
    }

    fn row(&self, name: &str) -> (Value, Origin) {
        let row = self.load().unwrap().resolved_rows().into_iter();
        let row = row
            .filter(|row| row.key == format!("daas.nautilus.{name}"))
            .last()
            .unwrap();
        (row.value, row.origin)
    }
}

/// The block with one line in it, at line 3, key at column 5.
fn block(line: &str) -> String {
    format!("daas:\n  nautilus:\n    {line}\n")
}

/// Loads `text` as `config.yaml`; it must be refused in exactly one place, and the text of the error must
/// name that place. Gives the error and its text with the directory cut away.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, line: u32, column: u32) -> (ConfigError, String) {
    let node = Node::with(text);
    let error = node.load().expect_err("the configuration must be refused");
    assert_eq!(error.origin(), Some(&node.at(MAIN, line, column)), "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("/{MAIN}:{line}:{column}")), "{message}");
    (
        error,
        message.replace(&format!("{}/", node.directory.path().display()), ""),
    )
}

/// Four public keys.
const KEYS: [&str; 4] = [
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
    "3333333333333333333333333333333333333333333333333333333333333333",
    "4444444444444444444444444444444444444444444444444444444444444444",
];

/// Each field with four values, from the weakest source to the strongest, as written in a file and as shown.
/// They differ from the defaults.
fn four_values() -> BTreeMap<&'static str, [(String, Value); 4]> {
    let same = |values: [&str; 4]| values.map(|value| (value.to_owned(), Value::from(value)));
    let pcr = |pcr: &str| (format!("{pcr}={HEX_40}"), json!({ pcr: HEX_40 }));
    let [yes, no] = [true, false].map(|value| (value.to_string(), Value::from(value)));
    BTreeMap::from([
        ("enabled", [no.clone(), yes.clone(), no.clone(), yes.clone()]),
        ("tee_type", same(["sgx", "sev", "tpm", "simulated"])),
        ("enclave_image", same(["/a", "/b b", "/c", "d/e"])),
        (
            "attestation_url",
            same([
                "tcp://a:443",
                "unix:///run/b.sock",
                "tcp://[::1]:443",
                "vsock://2:9000",
            ]),
        ),
        ("verifier_key", same([KEYS[0], KEYS[1], KEYS[2], KEYS[3]])),
        (
            "key_provision_url",
            same(["tcp://a:1", "tcp://b:2", "tcp://c:3", "tcp://d:4"]),
        ),
        ("key_provision_key", same([KEYS[3], KEYS[2], KEYS[1], KEYS[0]])),
        ("metrics_interval", same(["1s", "1m30s", "500ms", "1h0m0s"])),
        (
            "collectors",
            same([
                "system",
                "system,network",
                "system,container,network",
                "system,custom",
            ]),
        ),
        ("containerd_address", same(["/a", "/b b", "/c", "d/e"])),
        (
            "latency_peers",
            same([
                "a=tcp://b:1",
                "gateway=auto",
                "api-server=auto,c=tcp://[::1]:2",
                "d=tcp://192.0.2.1:65535",
            ]),
        ),
        ("textfile_directory", same(["/a", "/b b", "/c", "d/e"])),
        (
            "metrics_retention",
            same(["1h0m0s", "48h0m0s", "720h0m0s", "9600h0m0s"]),
        ),
        (
            "metrics_back_pressure",
            same(["drop-oldest", "drop-newest", "wait", "drop-newest"]),
        ),
        (
            "proof_batch_size",
            ["1", "2", "10000", "4"].map(|n| (n.to_owned(), json!(n.parse::<u32>().unwrap()))),
        ),
        (
            "secure_channels",
            [no.clone(), yes.clone(), no.clone(), yes.clone()],
        ),
        ("debug_mode", [yes.clone(), no.clone(), yes, no]),
        ("quote_provider", same(["a", "b", "c", "d"])),
        (
            "pcr_policy",
            [pcr("pcr0"), pcr("pcr1"), pcr("pcr7"), pcr("pcr31")],
        ),
    ])
}

/// A field's line in a file, from the value's text form.
fn file_line(field: &str, value: &str) -> String {
    match value.split_once('=').filter(|_| field == "pcr_policy") {
        Some((pcr, digest)) => format!("{field}: {{{pcr}: \"{digest}\"}}"),
        None if matches!(
            field,
            "enabled" | "secure_channels" | "debug_mode" | "proof_batch_size"
        ) =>
        {
            format!("{field}: {value}")
        }
        None => format!("{field}: \"{value}\""),
    }
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn a_verifier_is_known_by_its_key() {
    let node = Node::with(block(
        "attestation_url: tcp://a:1\n    key_provision_url: tcp://b:2",
    ));
    let own = VerifierAddress {
        address: tcp("b", 2),
        key: PublicKey([0x77; 32]),
    };
    let config = node.load().unwrap();
    let error = config.verifier().unwrap_err();
    assert!(
        matches!(&error, ConfigError::KeyMissing { url: "attestation_url", key: "verifier_key", origin } if *origin == node.at(MAIN, 3, 5)),
        "{error:?}"
    );
    assert_eq!(
        error
            .to_string()
            .replace(&format!("{}/", node.directory.path().display()), ""),
        "`attestation_url` is set at config.yaml:3:5, and `verifier_key` is not: set verifier_key to the public key that \
         the verifier there shows when it starts, so that nobody else can pass for it"
    );
    // A broker that is the node's verifier is known already; another is not.
    assert_eq!(config.key_broker(&own).unwrap(), Some(own.clone()));
    let other = VerifierAddress {
        address: tcp("a", 1),
        ..own.clone()
    };
    let error = config.key_broker(&other).unwrap_err();
    assert!(
        matches!(
            &error,
            ConfigError::KeyMissing {
                key: "key_provision_key",
                ..
            }
        ),
        "{error:?}"
    );

    let node = node
        .env("NAUTILUS_VERIFIER_KEY", KEYS[0])
        .env("NAUTILUS_KEY_PROVISION_KEY", KEYS[1]);
    let config = node.load().unwrap();
    let verifier = config.verifier().unwrap().unwrap();
    assert_eq!(
        (verifier.address, verifier.key),
        (tcp("a", 1), PublicKey([0x11; 32]))
    );
    let broker = config.key_broker(&own).unwrap().unwrap();
    assert_eq!((broker.address, broker.key), (tcp("b", 2), PublicKey([0x22; 32])));
    let none = Node::new().load().unwrap();
    assert_eq!(
        (none.verifier().unwrap(), none.key_broker(&own).unwrap()),
        (None, None)
    );
}

#[test]
fn what_is_measured_is_named_and_bounded() {
    for (line, told) in [
        ("collectors: \"system,netwrok\"", "did you mean `network`?"),
        ("collectors: \"network\"", "add `system`"),
        ("collectors: \"system,system\"", "write `system` once"),
        ("latency_peers: \"tcp://a:1\"", "has no name"),
        ("latency_peers: \"verifier=tcp://a:1\"", "verifier"),
        ("metrics_retention: 59m", "a duration of 1h to 9600h"),
        ("metrics_back_pressure: drop", "drop-oldest, drop-newest or wait"),
    ] {
        let error = Node::with(block(line)).load().unwrap_err();
        assert!(
            matches!(&error, ConfigError::BadValue { .. }),
            "{line}: {error:?}"
        );
        let message = error.to_string();
        assert!(message.contains(told), "{line}: {message}");
    }
}

#[test]
fn defaults_are_the_specifications() {
    let config = Node::new().load().unwrap();
    assert!(config.enabled());
    assert_eq!(config.tee_type(), None);
    assert_eq!(config.enclave_image(), None);
    assert_eq!(config.attestation_url(), None);
    assert_eq!(config.key_provision_url(), None);
    assert_eq!(config.metrics_interval(), Duration::from_secs(30));
    assert_eq!(config.collectors().len(), 5);
    assert_eq!(config.containerd_address(), None);
    assert!(config.latency_peers().as_slice().is_empty());
    assert_eq!(config.textfile_directory(), None);
    assert_eq!(config.metrics_retention(), Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.metrics_back_pressure(), BackPressure::DropOldest);
    assert_eq!(config.proof_batch_size(), 100);
    assert!(config.secure_channels());
    assert!(!config.debug_mode());
    assert_eq!(config.quote_provider(), None);
    assert!(config.pcr_policy().is_empty());
    assert!(config.warnings().is_empty());
    assert!(
        config
            .resolved_rows()
            .iter()
            .all(|row| row.origin == Origin::Default)
    );
    assert_eq!(config, Config::default());
}

#[test]
fn each_field_follows_the_precedence() {
    let values = four_values();
    assert_eq!(values.len(), FIELDS.len());
    for field in &FIELDS {
        let [in_main, in_drop_in, in_env, in_flag] = &values[field.name];
        let mut node = Node::with(block(&file_line(field.name, &in_main.0)));
        assert_eq!(
            node.row(field.name),
            (in_main.1.clone(), node.at(MAIN, 3, 5)),
            "{}",
            field.name
        );

        // A later drop-in wins over an earlier one, whichever was written first.
        node = node.file(
            "config.d/20-b.yaml",
            format!("# later\n{}", block(&file_line(field.name, &in_drop_in.0))),
        );
        node = node.file("config.d/10-a.yaml", block(&file_line(field.name, &in_main.0)));
        assert_eq!(
            node.row(field.name),
            (in_drop_in.1.clone(), node.at("config.d/20-b.yaml", 4, 5))
        );

        node = node.env(field.env, &in_env.0);
        assert_eq!(
            node.row(field.name),
            (in_env.1.clone(), Origin::Env { name: field.env })
        );

        node = node.flag("--the-flag", field.name, &in_flag.0);
        assert_eq!(
            node.row(field.name),
            (in_flag.1.clone(), Origin::Flag { name: "--the-flag" })
        );

        // The other fields are untouched.
        let rows = node.load().unwrap().resolved_rows();
        let others = rows
            .iter()
            .filter(|row| row.key != format!("daas.nautilus.{}", field.name));
        assert_eq!(
            others.filter(|row| row.origin == Origin::Default).count(),
            FIELDS.len() - 1
        );
    }
}

#[test]
fn typed_accessors_give_what_was_written() {
    let text = format!(
        "daas:\n  nautilus:\n    enabled: false\n    tee_type: keystone\n    enclave_image: /opt/R & D/e.signed\n    \
         attestation_url: https://a.example:8443/\n    key_provision_url: 'tcp://10.0.0.1:7'\n    \
         metrics_interval: 1.5s\n    proof_batch_size: 7\n    secure_channels: FALSE\n    debug_mode: True\n    \
         quote_provider: it's # a comment\n    pcr_policy:\n      pcr0: {HEX_40}\n      pcr16: {HEX_64}\n      \
         \"pcr31\": {HEX_96}\n"
    );
    let config = Node::with(text).load().unwrap();
    assert!(!config.enabled());
    assert_eq!(config.tee_type(), Some(TeeKind::Keystone));
    assert_eq!(config.enclave_image(), Some(Path::new("/opt/R & D/e.signed")));
    assert_eq!(config.attestation_url(), Some(&tcp("a.example", 8443)));
    assert_eq!(config.key_provision_url(), Some(&tcp("10.0.0.1", 7)));
    assert_eq!(config.metrics_interval(), Duration::from_millis(1_500));
    assert_eq!(config.proof_batch_size(), 7);
    assert!(!config.secure_channels());
    assert!(config.debug_mode());
    assert_eq!(config.quote_provider(), Some("it's"));
    // Unquoted digits are a digest and not a number.
    let expected =
        [(0, HEX_40), (16, HEX_64), (31, HEX_96)].map(|(pcr, digest)| (pcr, hex::decode(digest).unwrap()));
    assert_eq!(config.pcr_policy(), &BTreeMap::from(expected));
}

#[test]
fn the_specifications_sample_loads_once_its_placeholders_are_digests() {
    let sample = |pcr0: &str, pcr1: &str| {
        format!(
            "daas:\n  nautilus:\n    enabled: true\n    tee_type: \"sgx\"  # sgx, sev, trustzone, keystone\n    \
             enclave_image: \"/opt/nautilus/k3s-enclave.signed\"\n    \
             attestation_url: \"https://attestation.nautilus.network\"\n    metrics_interval: \"30s\"\n    \
             proof_batch_size: 100\n    secure_channels: true\n    pcr_policy:\n      pcr0: \"{pcr0}\"\n      \
             pcr1: \"{pcr1}\"\n"
        )
    };
    let (error, message) = refused(sample("expected_pcr0_value", "expected_pcr1_value"), 11, 13);
    assert!(matches!(&error, ConfigError::BadValue { key, .. } if key == "daas.nautilus.pcr_policy.pcr0"));
    assert_eq!(
        message,
        "`pcr_policy.pcr0` is `expected_pcr0_value` at config.yaml:11:13, expected 40, 64 or 96 hexadecimal digits \
         (SHA-1, SHA-256 or SHA-384): write the digest that pcr_policy.pcr0 must have (a TPM's is in \
         /sys/class/tpm/tpm0/pcr-sha256/0), or remove it"
    );

    let node = Node::with(sample(HEX_64, HEX_96));
    let config = node.load().unwrap();
    assert_eq!(config.tee_type(), Some(TeeKind::Sgx));
    assert_eq!(
        config.attestation_url(),
        Some(&tcp("attestation.nautilus.network", 443))
    );
    assert_eq!(config.pcr_policy().len(), 2);
    let origins: Vec<String> = config
        .resolved_rows()
        .iter()
        .map(|row| row.origin.to_string())
        .collect();
    let place = |line: u32| node.at(MAIN, line, 5).to_string();
    let expected = [3, 4, 5, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 8, 9, 0, 0, 10]
        .map(|n| if n == 0 { "default".to_owned() } else { place(n) });
    assert_eq!(origins, expected);
}

#[test]
fn a_named_file_stands_in_place_of_the_directory() {
    let mut node = Node::with(block("proof_batch_size: 1"))
        .file("config.d/x.yaml", block("proof_batch_size: 2"))
        .file("mine.yaml", block("debug_mode: true"));
    node.sources.file = Some(node.path("mine.yaml"));
    let config = node.load().unwrap();
    assert_eq!((config.proof_batch_size(), config.debug_mode()), (100, true));
}

#[test]
fn a_drop_in_replaces_the_whole_pcr_policy() {
    let node = Node::with(block(&format!("pcr_policy: {{pcr0: {HEX_40}, pcr1: {HEX_40}}}"))).file(
        "config.d/x.yaml",
        block(&format!("pcr_policy: {{pcr2: {HEX_64}}}")),
    );
    assert_eq!(
        node.load()
            .unwrap()
            .pcr_policy()
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn empty_files_and_blocks_change_nothing() {
    let empty = [
        "",
        "\n\n",
        "# only a comment",
        "---\n",
        "daas:",
        "daas:\n  # x\n",
        "daas:\n  nautilus:\n    # x: 1\n",
        "{}",
    ];
    for text in empty.into_iter().chain([
        "daas: {nautilus: {}}",
        "daas: {nautilus: {pcr_policy: }}",
        "---\ndaas:\n",
    ]) {
        assert_eq!(
            Node::with(text).load().unwrap().metrics_interval(),
            Duration::from_secs(30),
            "{text:?}"
        );
    }
}

#[test]
fn only_yaml_files_are_read_and_the_others_are_warned_of() {
    let node = Node::new()
        .file("config.d/a.yml", "nonsense")
        .file("config.d/a.yaml~", "nonsense")
        .file("config.d/.hidden.yaml", "nonsense")
        .file("config.d/..data/a.yaml", "nonsense")
        .env("NAUTILUS_METRIC_INTERVAL", "5s")
        .env("NAUTILUS_FROBNICATE", "1")
        .env("NAUTILUS_DATA_DIR", "/x")
        .env("PATH", "/bin");
    let config = node.load().unwrap();
    let unknown = |name: &str, nearest| Warning::UnknownVariable {
        name: name.to_owned(),
        nearest,
    };
    let expected = [
        Warning::IgnoredFile {
            path: node.path("config.d/a.yml"),
        },
        unknown("NAUTILUS_METRIC_INTERVAL", Some("NAUTILUS_METRICS_INTERVAL")),
        unknown("NAUTILUS_FROBNICATE", None),
    ];
    assert_eq!(config.warnings(), expected);
    assert!(config.resolved().to_string().ends_with(
        "warning: nothing reads the environment variable NAUTILUS_METRIC_INTERVAL: did you mean \
         NAUTILUS_METRICS_INTERVAL?\nwarning: nothing reads the environment variable NAUTILUS_FROBNICATE\n"
    ));
}

#[test]
fn empty_variables_mean_nothing_where_nothing_has_a_meaning() {
    let names = [
        "TEE_TYPE",
        "ENCLAVE_IMAGE",
        "ATTESTATION_URL",
        "KEY_PROVISION_URL",
        "QUOTE_PROVIDER",
        "PCR_POLICY",
    ];
    let node = names.iter().fold(Node::new(), |node, name| {
        node.env(&format!("NAUTILUS_{name}"), "")
    });
    let config = node.load().unwrap();
    assert_eq!(
        (
            config.tee_type(),
            config.enclave_image(),
            config.pcr_policy().len()
        ),
        (None, None, 0)
    );
    let error = Node::new().env("NAUTILUS_ENABLED", "").load().unwrap_err();
    assert!(
        matches!(&error, ConfigError::BadValue { found, .. } if found == "empty"),
        "{error:?}"
    );
}

#[test]
fn line_breaks_and_byte_order_mark_do_not_move_places() {
    for (break_, mark) in [
        ("\n", ""),
        ("\r\n", ""),
        ("\r", ""),
        ("\n", "\u{feff}"),
        ("\r\n", "\u{feff}"),
    ] {
        let text = block("enclave_image: \"/é€😀\"  # é\n    debug_mode: true\n    tee_typ: sgx")
            .replace('\n', break_);
        refused(format!("{mark}{text}"), 5, 5);
        let text = text.replace("tee_typ:", "tee_type:");
        let node = Node::with(format!("{mark}{text}"));
        assert_eq!(node.row("tee_type"), (json!("sgx"), node.at(MAIN, 5, 5)));
        assert_eq!(node.row("enclave_image"), (json!("/é€😀"), node.at(MAIN, 3, 5)));
    }
    // Columns are characters.
    refused("daas: {nautilus: {enclave_image: 'é€😀', x: 1}}", 1, 41);
}

#[test]
fn the_tee_must_be_the_detected_one() {
    use TeeKind::{Sgx, Simulated, Tpm};
    let config = |value: &str| Node::new().env("NAUTILUS_TEE_TYPE", value).load().unwrap();
    let accepted = [
        ("", Some(Tpm), false, Tpm),
        ("", Some(Tpm), true, Tpm),
        ("", None, true, Simulated),
        ("", Some(Simulated), true, Simulated),
        ("tpm", Some(Tpm), false, Tpm),
        ("simulated", Some(Tpm), true, Simulated),
        ("simulated", None, true, Simulated),
    ];
    for (value, detected, allow, expected) in accepted {
        assert_eq!(
            config(value).check_tee(detected, allow).unwrap(),
            expected,
            "{value} {detected:?} {allow}"
        );
    }
    for detected in [None, Some(Simulated)] {
        assert!(matches!(
            config("").check_tee(detected, false),
            Err(ConfigError::NoTee)
        ));
    }
    assert!(
        ConfigError::NoTee
            .to_string()
            .starts_with("no TEE was detected: run `nautilus detect`")
    );
    let refused = config("simulated").check_tee(Some(Tpm), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the TEE type is simulated in NAUTILUS_TEE_TYPE, which is not allowed here: write NAUTILUS_TEE_TYPE=tpm or \
         unset it"
    );
    assert!(matches!(refused, ConfigError::SimulatedRefused { .. }));

    let node = Node::with(block("enabled: true\n    tee_type: \"sgx\""));
    for allow in [false, true] {
        let error = node.load().unwrap().check_tee(Some(Tpm), allow).unwrap_err();
        assert_eq!(error.origin(), Some(&node.at(MAIN, 4, 5)));
        assert!(matches!(
            error,
            ConfigError::TeeTypeMismatch {
                configured: Sgx,
                detected: Some(Tpm),
                ..
            }
        ));
        assert_eq!(
            error.to_string(),
            format!(
                "configured TEE type sgx at {}:4:5 doesn't match detected tpm: write tee_type: \"tpm\" or remove the \
                 line",
                node.path(MAIN).display()
            )
        );
        let error = node.load().unwrap().check_tee(None, allow).unwrap_err();
        assert!(matches!(
            error,
            ConfigError::TeeTypeMismatch {
                configured: Sgx,
                detected: None,
                ..
            }
        ));
    }
    let flag = Node::new()
        .flag("--tee", "tee_type", "sgx")
        .load()
        .unwrap()
        .check_tee(Some(Tpm), false)
        .unwrap_err();
    assert!(
        flag.to_string()
            .ends_with("write --tee tpm or leave the flag out"),
        "{flag}"
    );
}

#[test]
fn the_view_shows_each_value_and_its_origin() {
    let node = Node::new()
        .file(
            "config.d/10-x.yaml",
            block(&format!(
                "tee_type: sgx\n    pcr_policy: {{pcr10: {HEX_40}, pcr2: {HEX_40}}}"
            )),
        )
        .env("NAUTILUS_ENABLED", "false")
        .flag("--interval", "metrics_interval", "90s");
    let file = node.path("config.d/10-x.yaml");
    let view = node.load().unwrap().resolved();
    let long = format!("\"{HEX_40}\"");
    let expected = [
        ("enabled", "false", "NAUTILUS_ENABLED".to_owned()),
        ("tee_type", "\"sgx\"", format!("{}:3:5", file.display())),
        ("enclave_image", "\"\"", "default".to_owned()),
        ("attestation_url", "\"\"", "default".to_owned()),
        ("verifier_key", "\"\"", "default".to_owned()),
        ("key_provision_url", "\"\"", "default".to_owned()),
        ("key_provision_key", "\"\"", "default".to_owned()),
        ("metrics_interval", "\"1m30s\"", "--interval".to_owned()),
        (
            "collectors",
            "\"system,container,network,security,custom\"",
            "default".to_owned(),
        ),
        ("containerd_address", "\"\"", "default".to_owned()),
        ("latency_peers", "\"\"", "default".to_owned()),
        ("textfile_directory", "\"\"", "default".to_owned()),
        ("metrics_retention", "\"720h0m0s\"", "default".to_owned()),
        ("metrics_back_pressure", "\"drop-oldest\"", "default".to_owned()),
        ("proof_batch_size", "100", "default".to_owned()),
        ("secure_channels", "true", "default".to_owned()),
        ("debug_mode", "false", "default".to_owned()),
        ("quote_provider", "\"\"", "default".to_owned()),
        ("pcr_policy.pcr2", &long, format!("{}:4:5", file.display())),
        ("pcr_policy.pcr10", &long, format!("{}:4:5", file.display())),
    ];
    let expected: String = expected
        .iter()
        .map(|(key, value, origin)| format!("daas.nautilus.{key:21}  {value:42}  {origin}\n"))
        .collect();
    assert_eq!(view.to_string(), expected);

    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["warnings"], json!([]));
    assert_eq!(json["values"].as_array().map(Vec::len), Some(19));
    assert_eq!(
        json["values"][1],
        json!({"key": "daas.nautilus.tee_type", "value": "sgx",
               "origin": {"kind": "file", "path": file.to_str(), "line": 3, "column": 5}})
    );
    assert_eq!(
        json["values"][0]["origin"],
        json!({"kind": "env", "name": "NAUTILUS_ENABLED"})
    );
    assert_eq!(
        json["values"][7]["origin"],
        json!({"kind": "flag", "name": "--interval"})
    );
    assert_eq!(json["values"][2]["origin"], json!({"kind": "default"}));
}

#[test]
fn the_written_file_reads_back_the_same() {
    let values = |config: &Config| {
        config
            .resolved_rows()
            .into_iter()
            .map(|row| row.value)
            .collect::<Vec<_>>()
    };
    let default = Config::default();
    assert_eq!(
        values(&Node::with(default.to_yaml()).load().unwrap()),
        values(&default)
    );
    assert!(
        default
            .to_yaml()
            .starts_with("daas:\n  nautilus:\n    enabled: true\n    tee_type: \"\"\n")
    );

    for source in 0..4 {
        let node = four_values()
            .into_iter()
            .fold(Node::new(), |node, (field, values)| {
                let env = FIELDS.iter().find(|known| known.name == field).unwrap().env;
                node.env(env, &values[source].0)
            });
        let config = node.load().unwrap();
        assert_eq!(
            values(&Node::with(config.to_yaml()).load().unwrap()),
            values(&config),
            "{}",
            config.to_yaml()
        );
    }
    let odd = "a\\b \"c\" 'd' # e: [f] {g} &h é😀 \u{2028}";
    let config = Node::new().env("NAUTILUS_QUOTE_PROVIDER", odd).load().unwrap();
    assert_eq!(
        Node::with(config.to_yaml()).load().unwrap().quote_provider(),
        Some(odd)
    );
}
