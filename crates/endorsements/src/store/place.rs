//! Where a document lies. Every part of a path is written here from numbers, hex digits and checked names: nothing
//! that a document says can lead out of the store.

use std::path::{Path, PathBuf};

use nautilus_core::{EndorsementKind, UnixMillis};

use crate::document::{Document, Subject};
use crate::source::Need;

/// The file of a document, from the store's root.
pub(super) fn of(document: &Document) -> PathBuf {
    let digest: String = hex::encode(document.sha256()).chars().take(16).collect();
    let from = compact(document.validity().from);
    match document.subject() {
        Subject::Dcap {
            tee,
            fmspc,
            ca,
            evaluation,
        } => dcap(tee.as_str(), fmspc)
            .join(ca.as_str())
            .join(format!("evaluation-{evaluation}"))
            .join(format!("{from}-{digest}.json")),
        Subject::Vcek { product, hwid, tcb } => amd(product)
            .join("vcek")
            .join(hex::encode(hwid))
            .join(format!("{tcb}-{digest}.der")),
        Subject::Vlek { product, tcb } => amd(product).join("vlek").join(format!("{tcb}-{digest}.der")),
        Subject::AmdCrl { product } => amd(product).join("crl").join(format!("{from}-{digest}.crl")),
        Subject::Certificate { .. } => certificates().join(format!("{digest}.der")),
        Subject::Crl { .. } => crls().join(format!("{from}-{digest}.crl")),
    }
}

/// Where the documents for a need lie; `None` where none could.
pub(super) fn of_need(need: &Need) -> Option<PathBuf> {
    Some(match need {
        Need::Dcap { tee, fmspc, ca } => {
            let platform = dcap(tee.as_str(), fmspc);
            ca.map_or(platform.clone(), |ca| platform.join(ca.as_str()))
        }
        Need::Vcek { product, hwid, .. } => amd(product).join("vcek").join(hex::encode(hwid)),
        Need::Vlek { product } => amd(product).join("vlek"),
        Need::AmdCrl { product, .. } => amd(product).join("crl"),
        Need::AmdChain { .. } => certificates(),
        Need::Unpublished { kind } => match kind {
            EndorsementKind::Certificate => certificates(),
            EndorsementKind::Crl => crls(),
            EndorsementKind::DcapCollateral => return None,
        },
    })
}

/// Whether a document in that place is for the need.
pub(super) fn serves(need: &Need, subject: &Subject) -> bool {
    match (need, subject) {
        (
            Need::Dcap { tee, fmspc, ca },
            Subject::Dcap {
                tee: its_tee,
                fmspc: its_fmspc,
                ca: its_ca,
                ..
            },
        ) => (its_tee, its_fmspc) == (tee, fmspc) && ca.is_none_or(|ca| ca == *its_ca),
        (
            Need::Vcek { product, hwid, tcb },
            Subject::Vcek {
                product: its_product,
                hwid: its_hwid,
                tcb: its_tcb,
            },
        ) => (its_product, its_hwid, its_tcb) == (product, hwid, tcb),
        (Need::AmdCrl { product, .. }, Subject::AmdCrl { product: its_product }) => its_product == product,
        (
            Need::Vlek { product },
            Subject::Vlek {
                product: its_product, ..
            },
        ) => its_product == product,
        (Need::AmdChain { product }, Subject::Certificate { name }) => {
            let names = [format!("CN=SEV-{product}"), format!("CN=ARK-{product}")];
            name.split(',').any(|part| names.iter().any(|name| name == part))
        }
        (Need::Unpublished { .. }, Subject::Certificate { .. } | Subject::Crl { .. }) => true,
        _ => false,
    }
}

/// The metadata's file.
pub(super) fn metadata_of(document: &Path) -> PathBuf {
    let mut name = document.as_os_str().to_owned();
    name.push(".meta");
    name.into()
}

fn dcap(tee: &str, fmspc: &[u8; 6]) -> PathBuf {
    Path::new("intel").join(tee).join(hex::encode_upper(fmspc))
}

fn amd(product: &impl ToString) -> PathBuf {
    Path::new("amd").join(product.to_string())
}

fn certificates() -> PathBuf {
    Path::new("other").join("certificates")
}

fn crls() -> PathBuf {
    Path::new("other").join("crls")
}

/// A time without the characters that file systems and shells do not like: `20261008T000946Z`.
fn compact(time: UnixMillis) -> String {
    let whole = UnixMillis::from_secs(time.as_secs()).to_string();
    whole
        .replace(".000", "")
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect()
}
