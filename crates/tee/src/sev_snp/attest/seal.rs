//! What state is sealed with: a key that the firmware derives for this guest on this chip (AMD 56860, table
//! "MSG_KEY_REQ Message Structure").
//!
//! What is mixed into the key decides who else gets it:
//! - the **launch measurement**: other code gets another key;
//! - the **guest policy**: the same code launched so that the host may debug or migrate it gets another key;
//! - **not the TCB version**: state must outlive an update of the firmware, and a verifier's floor on the TCB, not a
//!   lost key, is what keeps old firmware out (which TCB the root itself is of, the specification leaves open);
//! - not the guest SVN, image id and family id: they are words of the ID block's signer, and the measurement says
//!   more than they do.
//!
//! The root is the VCEK, which is the chip's, and not the VMRK, which the hypervisor chooses. Where the host masks the
//! chip key, it is the VLEK: then every machine of that provider derives the same key, and `bound_to` says so.
//! A key does not count: an old copy of the state opens as the newest does.

use nautilus_core::{AttestError, Protection, Sealer};
use ring::hmac;
use zeroize::Zeroizing;

use super::device::{Device, KeyAnswer, status_words};
use crate::sealing::KeySealer;

/// `ROOT_KEY_SELECT` 0, the chip's or provider's key, with `KEY_SEL` 1 at bit 1: the VCEK.
const VCEK: u32 = 1 << 1;
/// The same with `KEY_SEL` 2: the VLEK.
const VLEK: u32 = 2 << 1;
/// Firmware older than the VLEK knows no `KEY_SEL`: zero is the VCEK then.
const BEFORE_KEY_SEL: u32 = 0;
/// `GUEST_FIELD_SELECT.GUEST_POLICY` and `.MEASUREMENT`.
const POLICY_AND_MEASUREMENT: u64 = 1 | 1 << 3;
/// Status `INVALID_PARAM`.
const INVALID_PARAM: u32 = 0x16;
/// Status `INVALID_KEY`: the key selected is masked or not installed.
const INVALID_KEY: u32 = 0x27;
/// Whoever else in this guest asks the firmware for a key like ours does not have the one that we seal with.
const LABEL: &[u8] = b"nautilus: key that SEV-SNP seals state with";

const BY_VCEK: &str = "this chip's VCEK, launch measurement, guest policy and privilege level";
const BY_VLEK: &str = "the provider's VLEK (any machine of this provider), launch measurement, guest policy and \
                       privilege level";

/// What seals for this guest.
///
/// # Errors
/// If the firmware gives no key.
pub(super) fn sealer(device: &Device) -> Result<Box<dyn Sealer>, AttestError> {
    let ask = |root| device.key(root, POLICY_AND_MEASUREMENT);
    let (answer, bound_to) = match ask(VCEK)? {
        KeyAnswer::Status(INVALID_PARAM) => (ask(BEFORE_KEY_SEL)?, BY_VCEK),
        KeyAnswer::Status(INVALID_KEY) => (ask(VLEK)?, BY_VLEK),
        answer => (answer, BY_VCEK),
    };
    let derived = match answer {
        KeyAnswer::Key(key) => key,
        KeyAnswer::Status(status) => {
            return Err(AttestError::Refused {
                interface: Device::PATH.to_owned(),
                what: format!("no key to seal state with: {}", status_words(status)),
            });
        }
    };
    let mut key = Zeroizing::new([0; 32]);
    let labelled = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, derived.as_slice()), LABEL);
    key.copy_from_slice(labelled.as_ref());
    let bound_to = bound_to.to_owned();
    Ok(Box::new(KeySealer::new(key, Protection::Tee { bound_to })))
}
