//! Mistakes, where each is said to be, and what each error says to write.

use super::*;

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let cases = [
        (
            block("metric_interval: 30s"),
            3,
            5,
            "unknown key `metric_interval` at config.yaml:3:5: did you mean `metrics_interval`?",
        ),
        (
            block("teeType: sgx"),
            3,
            5,
            "unknown key `teeType` at config.yaml:3:5: did you mean `tee_type`?",
        ),
        (
            "dass:\n  nautilus:\n".to_owned(),
            1,
            1,
            "unknown key `dass` at config.yaml:1:1: did you mean `daas`?",
        ),
        (
            "daas:\n  nautlius: {}\n".to_owned(),
            2,
            3,
            "unknown key `daas.nautlius` at config.yaml:2:3: did you mean `nautilus`?",
        ),
        (
            "daas:\n  wallet: 5\n".to_owned(),
            2,
            3,
            "unknown key `daas.wallet` at config.yaml:2:3: only `nautilus` is known here, remove it",
        ),
        (
            "enabled: true\n".to_owned(),
            1,
            1,
            "unknown key `enabled` at config.yaml:1:1: write it below `daas:`, `nautilus:`",
        ),
        (
            "nautilus:\n  enabled: true\n".to_owned(),
            1,
            1,
            "unknown key `nautilus` at config.yaml:1:1: write it below `daas:`",
        ),
        (
            block("pcr_policy: {pcr32: a}"),
            3,
            18,
            "unknown key `pcr_policy.pcr32` at config.yaml:3:18: write a name from pcr0 to pcr31",
        ),
        (
            block("pcr_policy: {pcr07: a}"),
            3,
            18,
            "unknown key `pcr_policy.pcr07` at config.yaml:3:18: write a name from pcr0 to pcr31",
        ),
        (
            block("pcr_policy: {PCR7: a}"),
            3,
            18,
            "unknown key `pcr_policy.PCR7` at config.yaml:3:18: write a name from pcr0 to pcr31",
        ),
    ];
    for (text, line, column, expected) in cases {
        let (error, message) = refused(&text, line, column);
        assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error:?}");
        assert_eq!(message, expected);
    }
    let (error, message) = refused(block("frobnicate: 1"), 3, 5);
    assert!(
        matches!(&error, ConfigError::UnknownKey { nearest: None, key, .. } if key == "daas.nautilus.frobnicate")
    );
    assert!(message.contains("write one of enabled, tee_type,"), "{message}");
}

#[test]
fn duplicate_keys_are_refused_with_both_places() {
    let cases = [
        (
            block("enabled: true\n    debug_mode: true\n    enabled: true"),
            "daas.nautilus.enabled",
            (5, 5),
            (3, 5),
        ),
        (
            block("\"enabled\": true\n    'enabled': true"),
            "daas.nautilus.enabled",
            (4, 5),
            (3, 5),
        ),
        (
            "daas:\n  nautilus: {}\ndaas:\n".to_owned(),
            "daas",
            (3, 1),
            (1, 1),
        ),
        (
            "daas: {nautilus: {enabled: true, enabled: false}}".to_owned(),
            "daas.nautilus.enabled",
            (1, 34),
            (1, 19),
        ),
        // The inner `daas` is closed where the second outer one stands.
        ("{daas: {daas: 1}, daas: 2}".to_owned(), "daas", (1, 19), (1, 2)),
        (
            "daas: {nautilus: {},\n  nautilus: {}}".to_owned(),
            "daas.nautilus",
            (2, 3),
            (1, 8),
        ),
        (
            block(&format!(
                "pcr_policy:\n      pcr0: {HEX_40}\n      pcr0: {HEX_40}"
            )),
            "daas.nautilus.pcr_policy.pcr0",
            (5, 7),
            (4, 7),
        ),
    ];
    for (text, expected, second, (line, column)) in cases {
        match refused(&text, second.0, second.1) {
            (
                ConfigError::DuplicateKey {
                    key,
                    first:
                        Some(Origin::File {
                            line: l, column: c, ..
                        }),
                    ..
                },
                message,
            ) => {
                assert_eq!((key.as_str(), l, c), (expected, line, column), "{text}");
                assert!(message.ends_with("keep one of the two"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wrong_values_say_what_to_write() {
    let cases = [
        (
            "metrics_interval: 30",
            23,
            "BadDuration",
            "`metrics_interval` is `30` at config.yaml:3:23, expected a duration with a unit: write \"30s\"",
        ),
        (
            "metrics_interval: 1d",
            23,
            "BadDuration",
            "`metrics_interval` is `1d` at config.yaml:3:23, expected a duration with a unit: write \"30s\"",
        ),
        (
            "metrics_interval: \"\"",
            23,
            "BadDuration",
            "`metrics_interval` is empty at config.yaml:3:23, expected a duration with a unit: write \"30s\"",
        ),
        (
            "metrics_interval: 0",
            23,
            "BadValue",
            "`metrics_interval` is `0` at config.yaml:3:23, expected a duration of 100ms to 1h: write \"100ms\"",
        ),
        (
            "metrics_interval: 99ms",
            23,
            "BadValue",
            "`metrics_interval` is `99ms` at config.yaml:3:23, expected a duration of 100ms to 1h: write \"100ms\"",
        ),
        (
            "metrics_interval: 61m",
            23,
            "BadValue",
            "`metrics_interval` is `61m` at config.yaml:3:23, expected a duration of 100ms to 1h: write \"1h\"",
        ),
        (
            "metrics_interval: [30s]",
            23,
            "WrongType",
            "`metrics_interval` is a list at config.yaml:3:23, expected a single value: write the value on the key's line",
        ),
        (
            "enabled: yes",
            14,
            "WrongType",
            "`enabled` is `yes` at config.yaml:3:14, expected true or false: write true",
        ),
        (
            "enabled: 'off'",
            14,
            "WrongType",
            "`enabled` is `off` at config.yaml:3:14, expected true or false: write false",
        ),
        (
            "enabled: 1",
            14,
            "WrongType",
            "`enabled` is `1` at config.yaml:3:14, expected true or false: write true",
        ),
        (
            "enabled: maybe",
            14,
            "WrongType",
            "`enabled` is `maybe` at config.yaml:3:14, expected true or false: write true or false",
        ),
        (
            "enabled: \"true\"",
            14,
            "WrongType",
            "`enabled` is `true` at config.yaml:3:14, expected true or false without quotes: write true",
        ),
        (
            "proof_batch_size: \"5\"",
            23,
            "WrongType",
            "`proof_batch_size` is `5` at config.yaml:3:23, expected an integer without quotes: write 5",
        ),
        (
            "proof_batch_size: many",
            23,
            "WrongType",
            "`proof_batch_size` is `many` at config.yaml:3:23, expected an integer of 1 to 10000: write 100",
        ),
        (
            "proof_batch_size: 0",
            23,
            "BadValue",
            "`proof_batch_size` is `0` at config.yaml:3:23, expected an integer of 1 to 10000: write 1",
        ),
        (
            "proof_batch_size: 10001",
            23,
            "BadValue",
            "`proof_batch_size` is `10001` at config.yaml:3:23, expected an integer of 1 to 10000: write 10000",
        ),
        (
            "proof_batch_size: 99999999999999999999",
            23,
            "BadValue",
            "`proof_batch_size` is `99999999999999999999` at config.yaml:3:23, expected an integer of 1 to 10000: write 10000",
        ),
        (
            "proof_batch_size: -5",
            23,
            "BadValue",
            "`proof_batch_size` is `-5` at config.yaml:3:23, expected an integer of 1 to 10000: write 100",
        ),
        (
            "proof_batch_size: 1e2",
            23,
            "BadValue",
            "`proof_batch_size` is `1e2` at config.yaml:3:23, expected an integer of 1 to 10000: write 100",
        ),
        (
            "proof_batch_size: 0x10",
            23,
            "BadValue",
            "`proof_batch_size` is `0x10` at config.yaml:3:23, expected an integer of 1 to 10000: write 100",
        ),
        (
            "tee_type: SGX",
            15,
            "BadValue",
            "`tee_type` is `SGX` at config.yaml:3:15, expected the name of a TEE: write \"sgx\"",
        ),
        (
            "tee_type: sev-snp",
            15,
            "BadValue",
            "`tee_type` is `sev-snp` at config.yaml:3:15, expected the name of a TEE: write \"sev\"",
        ),
        (
            "tee_type: auto",
            15,
            "BadValue",
            "`tee_type` is `auto` at config.yaml:3:15, expected the name of a TEE: write \"\"",
        ),
        (
            "tee_type: mainframe",
            15,
            "BadValue",
            "`tee_type` is `mainframe` at config.yaml:3:15, expected the name of a TEE: write sgx, sev, trustzone, keystone, tdx, tpm, nitro or simulated, or nothing to detect it",
        ),
        (
            "attestation_url: example.org",
            22,
            "BadValue",
            "`attestation_url` is `example.org` at config.yaml:3:22, expected an address such as https://attestation.example.org or tcp://127.0.0.1:8471: begin it with https://, tcp://, unix:// or vsock://",
        ),
        (
            "attestation_url: \"a\\nb\"",
            22,
            "BadValue",
            "`attestation_url` is `a\\nb` at config.yaml:3:22, expected text on one line: remove line breaks and control characters",
        ),
        (
            "key_provision_url: https://me:secret@x/",
            24,
            "BadValue",
            "`key_provision_url` is an address with credentials at config.yaml:3:24, expected an address such as https://attestation.example.org or tcp://127.0.0.1:8471: remove the name and password before the `@`",
        ),
        (
            "attestation_url: tcp://example.org",
            22,
            "BadValue",
            "`attestation_url` is `tcp://example.org` at config.yaml:3:22, expected an address such as https://attestation.example.org or tcp://127.0.0.1:8471: address `tcp://example.org` needs a port: HOST:PORT or CID:PORT",
        ),
        (
            "verifier_key: abc",
            19,
            "BadValue",
            "`verifier_key` is `abc` at config.yaml:3:19, expected 64 hexadecimal digits (an Ed25519 public key): write the key that the verifier shows when it starts",
        ),
        (
            "pcr_policy: abc",
            17,
            "WrongType",
            "`pcr_policy` is `abc` at config.yaml:3:17, expected a mapping of keys to values: write its keys on the lines below it, indented by two spaces",
        ),
        (
            "pcr_policy: {pcr0: {a: b}}",
            24,
            "WrongType",
            "`pcr_policy.pcr0` is a mapping at config.yaml:3:24, expected a single value: write the value on the key's line",
        ),
    ];
    for (line, column, kind, expected) in cases {
        let (error, message) = refused(block(line), 3, column);
        assert_eq!(message, expected);
        assert!(format!("{error:?}").starts_with(kind), "{error:?}");
        let key = line.split(':').next().unwrap();
        assert!(
            error
                .key()
                .is_some_and(|k| k.starts_with(&format!("daas.nautilus.{key}"))),
            "{error:?}"
        );
    }
    let null = Node::with(block("tee_type:")).load().unwrap_err();
    assert!(
        matches!(
            null,
            ConfigError::WrongType {
                expected: "a value",
                ..
            }
        ),
        "{null:?}"
    );
    assert!(
        null.to_string()
            .ends_with("write a value after the colon, or remove the line"),
        "{null}"
    );
    for (text, column) in [("- daas", 1), ("daas", 1), ("42", 1)] {
        let (error, message) = refused(text, 1, column);
        assert!(
            matches!(error, ConfigError::WrongType { .. })
                && message.ends_with("begin the file with `daas:`")
        );
    }
}

#[test]
fn addresses_are_read_by_what_uses_them() {
    let good = [
        ("https://a", "tcp://a:443"),
        ("tcp://a.b-c_d:1", "tcp://a.b-c_d:1"),
        ("https://1.2.3.4/", "tcp://1.2.3.4:443"),
        ("https://[fe80::1]", "tcp://[fe80::1]:443"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("vsock://2:65536", "vsock://2:65536"),
    ];
    for (url, read) in good {
        let config = Node::new().env("NAUTILUS_ATTESTATION_URL", url).load().unwrap();
        assert_eq!(config.attestation_url().unwrap().to_string(), read);
    }
    let bad = [
        "https://",
        "https:///x",
        "https://:80",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:+1",
        "https://a b",
        "https://[::1",
        "https://[zz]",
        "https://[::1]x",
        "ftp://a",
        "a",
        "https:/a",
        "https://user@a",
        "https://a\\b",
        "unix://run/x",
        "http://a",
        "https://a/x",
        "tcp://a",
        "tcp://a:0",
        "https://a:80:80",
    ];
    for url in bad {
        let error = Node::new()
            .env("NAUTILUS_ATTESTATION_URL", url)
            .load()
            .expect_err(url);
        assert!(matches!(error, ConfigError::BadValue { .. }), "{url}: {error:?}");
        assert_eq!(
            error.origin(),
            Some(&Origin::Env {
                name: "NAUTILUS_ATTESTATION_URL"
            })
        );
    }
}

#[test]
fn errors_name_the_variable_or_the_flag() {
    let env = |name, value| Node::new().env(name, value).load().unwrap_err().to_string();
    assert_eq!(
        env("NAUTILUS_METRICS_INTERVAL", "30"),
        "`metrics_interval` is `30` in NAUTILUS_METRICS_INTERVAL, expected a duration with a unit: write \
         NAUTILUS_METRICS_INTERVAL=30s"
    );
    assert_eq!(
        env("NAUTILUS_ENABLED", "1"),
        "`enabled` is `1` in NAUTILUS_ENABLED, expected true or false: write NAUTILUS_ENABLED=true"
    );
    assert_eq!(
        env("NAUTILUS_PCR_POLICY", "pcr0"),
        "`pcr_policy` is `pcr0` in NAUTILUS_PCR_POLICY, expected pcr0=HEX,pcr1=HEX: join the name and the digest \
         with `=`, and the pairs with `,`"
    );
    let twice = Node::new()
        .env("NAUTILUS_PCR_POLICY", &format!("pcr0={HEX_40}, pcr0={HEX_40}"))
        .load()
        .unwrap_err();
    assert!(matches!(twice, ConfigError::DuplicateKey { .. }), "{twice:?}");

    let node = Node::new().flag("--batch", "proof_batch_size", "0");
    let error = node.load().unwrap_err();
    assert!(
        matches!(
            &error,
            ConfigError::BadValue {
                origin: Origin::Flag { name: "--batch" },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().ends_with("write --batch 1"), "{error}");
    let error = Node::new().flag("--x", "no_such_field", "").load().unwrap_err();
    assert!(
        matches!(
            &error,
            ConfigError::UnknownKey {
                origin: Origin::Flag { name: "--x" },
                ..
            }
        ),
        "{error:?}"
    );

    // A fault shows although a stronger source has a right value.
    let hidden = Node::with(block("enabled: perhaps"))
        .flag("--enabled", "enabled", "true")
        .load()
        .unwrap_err();
    assert!(matches!(hidden, ConfigError::WrongType { .. }), "{hidden:?}");
}
