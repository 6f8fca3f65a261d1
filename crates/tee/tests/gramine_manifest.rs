//! The manifest with which `nautilus-enclave` runs under Gramine: what the host may decide, and what not.

#[cfg(test)]
mod manifest {
    use std::path::Path;

    use toml_edit::{DocumentMut, Item, Value};

    const EXPRESSIONS: [(&str, &str); 5] = [
        ("{{ gramine.libos }}", "/usr/lib/gramine/libsysdb.so"),
        ("{{ gramine.runtimedir() }}", "/usr/lib/gramine/runtime/glibc"),
        ("{{ arch_libdir }}", "/lib/x86_64-linux-gnu"),
        ("{{ enclave }}", "/usr/bin/nautilus-enclave"),
        ("{{ state_dir }}", "/var/lib/nautilus"),
    ];

    /// The template as `gramine-manifest` renders it: it holds expressions alone, each of which is replaced.
    fn rendered() -> DocumentMut {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../deploy/gramine/nautilus-enclave.manifest.template");
        let mut text = std::fs::read_to_string(path).unwrap();
        for (expression, value) in EXPRESSIONS {
            assert!(text.contains(expression), "{expression} is not used");
            text = text.replace(expression, value);
        }
        for left in ["{{", "}}", "{%", "{#"] {
            assert!(
                !text.contains(left),
                "a template that is more than known expressions"
            );
        }
        text.parse().unwrap()
    }

    fn texts(item: &Item) -> Vec<&str> {
        item.as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_str().unwrap())
            .collect()
    }

    fn uri(mount: &Value) -> &str {
        mount.as_inline_table().unwrap()["uri"].as_str().unwrap()
    }

    /// Names of all keys, however deep.
    fn keys(item: &Item, into: &mut Vec<String>) {
        if let Some(table) = item.as_table_like() {
            for (key, item) in table.iter() {
                into.push(key.to_owned());
                keys(item, into);
            }
        }
    }

    #[test]
    fn it_is_a_production_enclave_that_makes_quotes_by_dcap() {
        let manifest = rendered();
        assert_eq!(manifest["sgx"]["debug"].as_bool(), Some(false));
        assert_eq!(manifest["sgx"]["remote_attestation"].as_str(), Some("dcap"));
        assert_eq!(manifest["loader"]["log_level"].as_str(), Some("error"));
    }

    #[test]
    fn the_host_decides_neither_arguments_nor_environment_nor_keys() {
        let manifest = rendered();
        let mut all = Vec::new();
        keys(manifest.as_item(), &mut all);
        for key in &all {
            assert!(!key.starts_with("insecure__"), "{key}");
            assert_ne!(key, "passthrough");
            assert_ne!(key, "file_check_policy");
        }
        assert_eq!(
            texts(&manifest["loader"]["argv"]),
            [
                "nautilus-enclave",
                "--connect",
                "tcp://127.0.0.1:8472",
                "--tee",
                "sgx",
                "--state",
                "/state/enclave.sealed"
            ]
        );
    }

    #[test]
    fn every_mounted_file_is_measured_but_the_sealed_state() {
        let manifest = rendered();
        let trusted = texts(&manifest["sgx"]["trusted_files"]);
        assert_eq!(
            texts(&manifest["sgx"]["allowed_files"]),
            ["file:/var/lib/nautilus/"]
        );
        let mounts = manifest["fs"]["mounts"].as_array().unwrap();
        for mount in mounts {
            let (uri, directory) = (uri(mount), format!("{}/", uri(mount)));
            let measured = trusted
                .iter()
                .any(|file| [uri, directory.as_str()].contains(file));
            assert_eq!(measured, uri != "file:/var/lib/nautilus", "{uri}");
        }
        let entrypoint = manifest["libos"]["entrypoint"].as_str().unwrap();
        assert!(
            mounts
                .iter()
                .any(|mount| { mount.as_inline_table().unwrap()["path"].as_str() == Some(entrypoint) })
        );
    }
}
