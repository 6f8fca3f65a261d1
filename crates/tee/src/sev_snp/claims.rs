//! What a verified report says, as measurements and attributes. Numbers are decimal, so that a policy can ask
//! for at least so much; bit fields are given whole in hex, and each known bit by name as `true` or `false`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_core::{DeviceIdentity, Measurement, VerifyError};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::hcl::Hcl;
use super::product::{Product, TcbVersion};
use super::vek::Vek;
use super::wire::{Firmware, Report};

/// `POLICY` (AMD 56860, table "Guest Policy").
const POLICY: [(u32, &str); 9] = [
    (16, "smt_allowed"),
    (18, "migrate_ma_allowed"),
    (19, "debug_allowed"),
    (20, "single_socket_required"),
    (21, "cxl_allowed"),
    (22, "mem_aes_256_xts_required"),
    (23, "rapl_disabled"),
    (24, "ciphertext_hiding_required"),
    (25, "page_swap_disabled"),
];
/// `PLATFORM_INFO` (AMD 56860, table "PLATFORM_INFO Field"). Bit 6 has no name there and is set on real
/// machines.
const PLATFORM: [(u32, &str); 7] = [
    (0, "smt_enabled"),
    (1, "tsme_enabled"),
    (2, "ecc_enabled"),
    (3, "rapl_disabled"),
    (4, "ciphertext_hiding_enabled"),
    (5, "alias_check_complete"),
    (7, "tio_enabled"),
];
/// More than the paravisor writes about its virtual machine.
const MAX_VM_ENTRIES: usize = 32;
/// Longest value among those that is shown.
const MAX_VM_VALUE: usize = 256;

type Attributes = BTreeMap<String, String>;

/// The chip that signed; of a VLEK, the cloud provider whose it is, in hex.
pub(super) fn device(report: &Report, vek: &Vek<'_>) -> DeviceIdentity {
    let family = Some(vek.product.to_string());
    match vek.csp {
        Some(csp) => DeviceIdentity {
            scheme: "amd-csp",
            id: hex::encode(csp),
            family,
        },
        None => DeviceIdentity {
            scheme: "amd-chip-id",
            id: hex::encode(report.hwid(vek.product).unwrap_or_default()),
            family,
        },
    }
}

pub(super) fn measurements(report: &Report) -> BTreeMap<String, Measurement> {
    let fields: [(&str, &[u8]); 8] = [
        ("measurement", &report.measurement),
        ("host_data", &report.host_data),
        ("id_key_digest", &report.id_key_digest),
        ("author_key_digest", &report.author_key_digest),
        ("report_id", &report.report_id),
        ("report_id_ma", &report.report_id_ma),
        ("family_id", &report.family_id),
        ("image_id", &report.image_id),
    ];
    let named = |(name, bytes): (&str, &[u8])| (name.to_owned(), Measurement(bytes.to_vec()));
    fields.into_iter().map(named).collect()
}

pub(super) fn attributes(report: &Report, vek: &Vek<'_>) -> Attributes {
    let mut attributes = Attributes::new();
    let mut set = |name: &str, value: String| {
        attributes.insert(name.to_owned(), value);
    };
    set("report_version", report.version.to_string());
    set("guest_svn", report.guest_svn.to_string());
    set("vmpl", report.vmpl.to_string());
    set("product", vek.product.to_string());
    set("product_name", vek.product_name.to_owned());
    set("signing_key", report.signing_key.as_str().to_lowercase());
    set("author_key_en", report.author_key_en.to_string());
    set("mask_chip_key", report.mask_chip_key.to_string());
    set("chip_id", hex::encode(report.chip_id));
    if let Some(csp) = vek.csp {
        set("csp_id", csp.to_owned());
    }
    if let Some(cpu) = report.cpuid {
        set("cpuid_family", cpu.family.to_string());
        set("cpuid_model", cpu.model.to_string());
        set("cpuid_stepping", cpu.stepping.to_string());
    }
    if let Some(vectors) = report.mitigations {
        set("launch_mit_vector", format!("{:#018x}", vectors.launch));
        set("current_mit_vector", format!("{:#018x}", vectors.current));
    }
    set("policy", format!("{:#018x}", report.policy));
    let [abi_minor, abi_major, ..] = report.policy.to_le_bytes();
    set("policy_abi_major", abi_major.to_string());
    set("policy_abi_minor", abi_minor.to_string());
    set("platform_info", format!("{:#018x}", report.platform_info));
    bits(&mut set, "policy", report.policy, &POLICY);
    bits(&mut set, "platform", report.platform_info, &PLATFORM);
    for (name, tcb) in tcbs(report) {
        describe_tcb(&mut set, name, tcb, vek.product);
    }
    describe_firmware(&mut set, "current", report.current);
    describe_firmware(&mut set, "committed", report.committed);
    attributes
}

/// Every TCB version of a report, by the name of its field.
pub(super) fn tcbs(report: &Report) -> [(&'static str, TcbVersion); 4] {
    [
        ("current_tcb", report.current_tcb),
        ("reported_tcb", report.reported_tcb),
        ("committed_tcb", report.committed_tcb),
        ("launch_tcb", report.launch_tcb),
    ]
}

fn bits(set: &mut impl FnMut(&str, String), field: &str, value: u64, names: &[(u32, &str)]) {
    for (bit, name) in names {
        let is_set = value.checked_shr(*bit).is_some_and(|shifted| shifted & 1 == 1);
        set(&format!("{field}_{name}"), is_set.to_string());
    }
}

fn describe_tcb(set: &mut impl FnMut(&str, String), field: &str, tcb: TcbVersion, product: Product) {
    set(field, tcb.to_string());
    for (part, version) in tcb.named(product) {
        set(&format!("{field}_{part}"), version.to_string());
    }
}

fn describe_firmware(set: &mut impl FnMut(&str, String), field: &str, firmware: Firmware) {
    set(&format!("{field}_version"), firmware.to_string());
    set(&format!("{field}_abi_major"), firmware.major.to_string());
    set(&format!("{field}_abi_minor"), firmware.minor.to_string());
    set(&format!("{field}_build"), firmware.build.to_string());
}

/// Of the JSON that Azure's paravisor writes, what is shown.
#[derive(Deserialize)]
struct RuntimeData {
    keys: Vec<Jwk>,
    #[serde(rename = "vm-configuration", default)]
    vm_configuration: Entries,
    #[serde(rename = "user-data", default)]
    user_data: Option<String>,
}

/// The members of an object, each at most once.
#[derive(Default)]
struct Entries(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if entries.len() == MAX_VM_ENTRIES {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_VM_ENTRIES} members"
                )));
            }
            // As attributes they have to differ too.
            if entries.insert(snake_case(&name), value).is_some() {
                return Err(A::Error::custom(format_args!("member `{name}` twice")));
            }
        }
        Ok(Entries(entries))
    }
}

/// An RSA key (RFC 7517; RFC 7518, 6.3.1).
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    e: String,
    n: String,
}

/// Adds what the runtime data says, which the report binds. It is the paravisor's word: it is worth what the
/// launch measurement is.
///
/// # Errors If it is not what the paravisor writes.
pub(super) fn describe_hcl(attributes: &mut Attributes, hcl: &Hcl) -> Result<(), VerifyError> {
    let start = hcl.end.saturating_sub(hcl.runtime_data.len());
    let malformed = |what: String| VerifyError::Malformed {
        what: format!("HCL runtime data {what}"),
        offset: start,
    };
    let data: RuntimeData = serde_json::from_slice(&hcl.runtime_data)
        .map_err(|error| malformed(format!("is not what it should be: {error}")))?;
    let mut set = |name: &str, value: String| {
        attributes.insert(format!("hcl_{name}"), value);
    };
    set("runtime_data_hash", hcl.hash.as_str().to_owned());
    set("runtime_data", hex::encode(hcl.hash.digest(&hcl.runtime_data)));
    for (kid, name) in [("HCLAkPub", "ak_pub"), ("HCLEkPub", "ek_pub")] {
        let mut keys = data.keys.iter().filter(|key| key.kid == kid);
        match (keys.next(), keys.next()) {
            (None, _) => {}
            (Some(key), None) => set(
                name,
                key.thumbprint()
                    .ok_or_else(|| malformed(format!("has a key {kid} that is no RSA key")))?,
            ),
            (Some(_), Some(_)) => return Err(malformed(format!("has the key {kid} twice"))),
        }
    }
    if let Some(user_data) = data.user_data {
        let bytes = hex::decode(&user_data)
            .ok()
            .filter(|bytes| bytes.len() == 64)
            .ok_or_else(|| malformed("has user data that are not 64 bytes in hex".to_owned()))?;
        set("user_data", hex::encode(bytes));
    }
    for (name, value) in &data.vm_configuration.0 {
        let value = match value {
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(value) if value.len() <= MAX_VM_VALUE => value.clone(),
            _ => continue,
        };
        set(&format!("vm_{name}"), value);
    }
    Ok(())
}

impl Jwk {
    /// SHA-256 of its members in canonical form, in hex (RFC 7638, 3).
    fn thumbprint(&self) -> Option<String> {
        let canonical = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
        };
        if self.kty != "RSA" {
            return None;
        }
        let (e, n) = (canonical(&self.e)?, canonical(&self.n)?);
        let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        Some(hex::encode(Sha256::digest(members)))
    }
}

/// `secure-boot` and `vmUniqueId` as attributes are written, without the `vm` that is there already. Anything
/// else than letters and digits separates.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars().take(64) {
        match letter {
            'A'..='Z' => {
                if !snake.is_empty() && !snake.ends_with('_') {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' => snake.push(letter),
            _ => snake.push('_'),
        }
    }
    match snake.strip_prefix("vm_") {
        Some(rest) => rest.to_owned(),
        None => snake,
    }
}
