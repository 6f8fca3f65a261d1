//! Command codes, and response codes in words. *Part 2: Structures*, "TPM_CC" and "TPM_RC".

pub(super) const CC_NV_DEFINE_SPACE: u32 = 0x0000_012a;
pub(super) const CC_CREATE_PRIMARY: u32 = 0x0000_0131;
pub(super) const CC_NV_INCREMENT: u32 = 0x0000_0134;
pub(super) const CC_STARTUP: u32 = 0x0000_0144;
pub(super) const CC_ACTIVATE_CREDENTIAL: u32 = 0x0000_0147;
pub(super) const CC_NV_READ: u32 = 0x0000_014e;
pub(super) const CC_POLICY_SECRET: u32 = 0x0000_0151;
pub(super) const CC_CREATE: u32 = 0x0000_0153;
pub(super) const CC_LOAD: u32 = 0x0000_0157;
pub(super) const CC_QUOTE: u32 = 0x0000_0158;
pub(super) const CC_UNSEAL: u32 = 0x0000_015e;
pub(super) const CC_FLUSH_CONTEXT: u32 = 0x0000_0165;
pub(super) const CC_NV_READ_PUBLIC: u32 = 0x0000_0169;
pub(super) const CC_READ_PUBLIC: u32 = 0x0000_0173;
pub(super) const CC_START_AUTH_SESSION: u32 = 0x0000_0176;
pub(super) const CC_GET_CAPABILITY: u32 = 0x0000_017a;
pub(super) const CC_PCR_READ: u32 = 0x0000_017e;

pub(super) const RC_SUCCESS: u32 = 0;
pub(super) const RC_INITIALIZE: u32 = 0x100;
/// `TPM_RC_NV_DEFINED`: somebody defined the index in between.
pub(super) const RC_NV_DEFINED: u32 = 0x14c;
/// `TPM_RC_YIELDED`, `TPM_RC_TESTING`, `TPM_RC_RETRY`, `TPM_RC_NV_RATE`: the TPM will do it, and not now.
const BUSY: [u32; 4] = [0x908, 0x90a, 0x922, 0x920];

/// A layer above the TPM that answered in its place, as the kernel's resource manager does.
const LAYER: u32 = 0xffff_0000;
/// A code of format one: about a handle, a session or a parameter.
const FORMAT_ONE: u32 = 0x080;
const PARAMETER: u32 = 0x040;
/// Number of the handle or parameter that it is about.
const NUMBER: u32 = 0xf00;
const SESSION: u32 = 0x800;

/// Whether the same command is worth sending again.
pub(super) fn is_busy(code: u32) -> bool {
    BUSY.contains(&code)
}

/// Whether no object or index has the handle (`TPM_RC_HANDLE`, or `TPM_RC_VALUE` by some firmware, about handle 1).
pub(super) const fn is_no_such_handle(code: u32) -> bool {
    matches!(code, 0x18b | 0x184)
}

/// Whether a parameter is refused for what it is: not a matter of authorization or of the TPM's state.
pub(in crate::tpm) const fn is_about_a_parameter(code: u32) -> bool {
    code & LAYER == 0 && code & FORMAT_ONE != 0 && code & PARAMETER != 0
}

/// A response code for people: what it says, its number, and what to do where something can be done.
pub(super) fn describe(code: u32) -> String {
    let (layer, bare) = (code & LAYER, code & !LAYER);
    if layer != 0 {
        return format!(
            "response code {code:#x} by a layer above the TPM: {}",
            describe(bare)
        );
    }
    if bare & FORMAT_ONE == 0 {
        return format!("{} ({code:#05x})", of_the_tpm(bare));
    }
    let number = (bare & NUMBER) >> 8;
    let about = if bare & PARAMETER != 0 {
        format!("parameter {number}")
    } else if bare & SESSION != 0 {
        format!("session {}", number & 7)
    } else {
        format!("handle {number}")
    };
    format!("{about} {} ({code:#05x})", of_an_argument(bare & 0x3f))
}

/// Format zero: errors of version 2 and warnings.
fn of_the_tpm(code: u32) -> &'static str {
    match code {
        0x100 => "the TPM was not started (TPM2_Startup)",
        0x101 => {
            "the TPM is in failure mode: restart the machine, and if that does not help, replace the TPM"
        }
        0x120 => "the command is disabled: enable the hierarchy or the command in the firmware's setup",
        0x121 => "another program has the TPM for itself",
        0x124 => "the authorization is of a kind that is not allowed here",
        0x125 => "an authorization is missing",
        0x127 => "the PCR's bank or attributes do not allow it",
        0x128 => "the PCRs changed in between",
        0x12d => "the TPM's firmware is being updated: finish the update",
        0x12f => "the authorization value is unavailable",
        0x130 => "the TPM needs a restart: restart the machine",
        0x142 => "the command has a wrong size",
        0x143 => "the TPM does not have the command",
        0x146 => "the read or write is beyond the index",
        0x147 => "the index has another size",
        0x148 => "the index is locked until the next restart",
        0x149 => "the index does not allow this authorization",
        0x14a => "the index was never written",
        0x14b => "the TPM has no room for another index: remove one that is not used (tpm2_nvundefine)",
        0x14c => "the index is defined already",
        0x153 => "the TPM has not tested itself",
        0x901 => "a saved context is too old: other programs saved many since",
        0x902 => {
            "the TPM has no room for another object: use /dev/tpmrm0, whose resource manager makes room, or flush what \
             other programs left (tpm2_flushcontext -t)"
        }
        0x903 => {
            "the TPM has no room for another session: flush what other programs left (tpm2_flushcontext -l)"
        }
        0x904 => "the TPM has no memory: flush what other programs left (tpm2_flushcontext -t)",
        0x905 | 0x906 => "the TPM is out of handles: flush what other programs left (tpm2_flushcontext -t)",
        0x907 => "the locality is wrong",
        0x908 | 0x922 => "the TPM stays busy: try again",
        0x909 => "the command was cancelled",
        0x90a => "the TPM still tests itself: try again",
        0x920 => "the TPM's memory is written too often: wait and try again",
        0x921 => {
            "the TPM is in dictionary-attack lockout, after wrong passwords: wait for its recovery time, or have its \
             owner reset it (tpm2_dictionarylockout -c)"
        }
        0x923 => "the TPM's memory is unavailable: try again",
        _ => "the TPM refuses",
    }
}

/// Format one, without what it is about.
fn of_an_argument(error: u32) -> &'static str {
    match error {
        0x01 => "is of a key that cannot be used with an asymmetric algorithm",
        0x02 => "has attributes that do not fit",
        0x03 => "names a hash that the TPM does not have",
        0x04 => "has a value out of range or of nothing that exists",
        0x05 => "is of a hierarchy that is disabled: enable it in the firmware's setup",
        0x07 => "has a key size that is not supported",
        0x09 => "names a mode that is not supported",
        0x0a => "has a type that does not fit",
        0x0b => "is of nothing that exists",
        0x0c => "names a key derivation that is not supported",
        0x0d => "is out of the allowed range",
        0x0e => {
            "has an authorization value that is not the empty one: Nautilus needs the empty one, so take it off \
             (tpm2_changeauth). It counts towards the lockout"
        }
        0x12 => "names a scheme that does not fit",
        0x15 => "has a wrong size",
        0x16 => "names a symmetric cipher that is not supported",
        0x17 => "has a wrong tag",
        0x18 => "selects what is not there",
        0x1a => "is cut",
        0x1b => "has a signature that is not valid",
        0x1c => "has a key that does not fit",
        0x1d => "has a policy that is not met",
        0x1f => "fails its integrity check: it was made by another TPM or changed since",
        0x20 => "has a ticket that is not valid",
        0x21 => "sets reserved bits",
        0x22 => {
            "has an authorization value that is not the empty one: Nautilus needs the empty one, so take it off \
             (tpm2_changeauth)"
        }
        0x23 => "is expired",
        0x24 => "has a policy for another command",
        0x25 => "has a public and a private part that do not belong together",
        0x26 => "names a curve that is not supported",
        0x27 => "has a point that is not on its curve",
        _ => "is refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_in_words_with_what_they_are_about() {
        for (code, says) in [
            (0x101, "failure mode"),
            (0x921, "lockout"),
            (0x922, "stays busy"),
            (
                0x9a2,
                "session 1 has an authorization value that is not the empty one",
            ),
            (
                0x98e,
                "session 1 has an authorization value that is not the empty one",
            ),
            (0x185, "handle 1 is of a hierarchy that is disabled"),
            (0x18b, "handle 1 is of nothing that exists"),
            (0x1df, "parameter 1 fails its integrity check"),
            (0x2c4, "parameter 2 has a value"),
            (
                0x000b_0143,
                "a layer above the TPM: the TPM does not have the command",
            ),
            (0x177, "the TPM refuses"),
            (0xffff_ffff, "a layer above the TPM"),
        ] {
            let told = describe(code);
            assert!(told.contains(says), "{told}");
            assert!(told.contains(&format!("{code:#05x}")), "{told}");
        }
    }

    #[test]
    fn only_what_is_about_a_parameter_says_that_it_is_wrong() {
        assert!(is_about_a_parameter(0x1df));
        for other in [0x18b, 0x9a2, 0x902, 0x921, 0x101, 0x000b_01df] {
            assert!(!is_about_a_parameter(other), "{other:#x}");
        }
    }
}
