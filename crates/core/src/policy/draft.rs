//! Policies to start from: a template for a TEE, and one that pins what verified evidence has.

use super::Policy;
use crate::{
    Assurance, Claims, Measurement, RESETTABLE_PCR_PREFIX, Revocation, TcbStatus, TeeKind, Verified,
};

/// How long an appraisal by a new policy may be relied upon.
const MAX_AGE_SECONDS: u64 = 60 * 60;

/// A register as a template has it.
struct Register {
    name: &'static str,
    /// What it measures.
    what: &'static str,
    in_template: InTemplate,
}

enum InTemplate {
    /// Its value must be filled in.
    FillIn,
    /// It is left out, for its value changes as the machine runs, or from one machine to the next.
    LeaveOut,
    /// It is left out, for it belongs to another kind of evidence of this TEE.
    OtherKind,
}

const fn fill_in(name: &'static str, what: &'static str) -> Register {
    Register {
        name,
        what,
        in_template: InTemplate::FillIn,
    }
}

const fn leave_out(name: &'static str, what: &'static str) -> Register {
    Register {
        name,
        what,
        in_template: InTemplate::LeaveOut,
    }
}

const fn other_kind(name: &'static str, what: &'static str) -> Register {
    Register {
        name,
        what,
        in_template: InTemplate::OtherKind,
    }
}

/// What the evidence of each TEE has: for templates, and to say what a policy does not name.
const fn registers_of(tee: TeeKind) -> &'static [Register] {
    match tee {
        TeeKind::Sgx | TeeKind::Simulated => {
            const {
                &[
                    fill_in("mrenclave", "the enclave's code"),
                    fill_in("mrsigner", "who signed the enclave"),
                ]
            }
        }
        TeeKind::Tdx => {
            const {
                &[
                    fill_in("mrtd", "the virtual machine's firmware, as it was launched"),
                    fill_in("mrseam", "Intel's TDX module"),
                    fill_in(
                        "mrconfigid",
                        "the configuration that the host gave; zeros where it gave none",
                    ),
                    fill_in("rtmr0", "the virtual hardware and the firmware's configuration"),
                    fill_in("rtmr1", "the boot loader and the kernel"),
                    fill_in("rtmr2", "the kernel's command line and the initial file system"),
                    leave_out("rtmr3", "what the system extended as it ran"),
                ]
            }
        }
        TeeKind::Sev => {
            const {
                &[
                    fill_in("measurement", "the virtual machine's memory, as it was launched"),
                    leave_out("host_data", "what the host gave at launch"),
                ]
            }
        }
        TeeKind::TrustZone => {
            const {
                &[
                    fill_in(
                        "optee_ta_memory",
                        "OP-TEE: the trusted application's code in memory",
                    ),
                    other_kind("optee_tee_memory", "OP-TEE: its own code in memory"),
                    other_kind("rim", "Arm CCA: the realm, as it was launched"),
                ]
            }
        }
        TeeKind::Keystone => {
            const {
                &[
                    fill_in("enclave_hash", "the enclave's code"),
                    fill_in("sm_hash", "the security monitor under it"),
                ]
            }
        }
        TeeKind::Tpm => {
            const {
                &[
                    fill_in("pcr0", "the firmware's code"),
                    fill_in("pcr2", "code of plugged-in devices"),
                    fill_in("pcr4", "the boot loader, or the unified kernel image"),
                    fill_in("pcr7", "secure boot: whether it was on, and whose keys count"),
                    fill_in("pcr9", "what GRUB read: the kernel and the initial file system"),
                    leave_out("pcr10", "files that the kernel measured as it ran (IMA)"),
                ]
            }
        }
        TeeKind::Nitro => {
            const {
                &[
                    fill_in("pcr0", "the enclave image"),
                    fill_in("pcr1", "its kernel and boot file system"),
                    fill_in("pcr2", "its application"),
                    leave_out("pcr3", "the role of the parent instance"),
                    leave_out("pcr4", "the parent instance: another on every machine"),
                ]
            }
        }
    }
}

/// The names of the registers that evidence of `tee` has and that stay as they were at launch.
pub(super) fn registers(tee: TeeKind) -> impl Iterator<Item = &'static str> {
    registers_of(tee)
        .iter()
        .filter(|register| matches!(register.in_template, InTemplate::FillIn))
        .map(|register| register.name)
}

/// A strict policy for evidence of `tee`, with comments. What only its reader knows stands as
/// [`Policy::FILL_IN`], and the text is no policy before it is replaced.
pub fn policy_template(tee: TeeKind) -> String {
    let fill_in = Policy::FILL_IN;
    let mut text = format!(
        "# A policy for evidence of `{tee}`. Replace every {fill_in}, then run `nautilus policy check` on this file.\n\
         # `nautilus verify --show EVIDENCE` prints what a machine has. `docs/policy.md` explains every rule.\n"
    );
    let intel = matches!(tee, TeeKind::Sgx | TeeKind::Tdx);
    let platform = if intel {
        format!(
            "# Intel's verdict on the platform.\n\
             tcb_status: {{ one_of: [UpToDate] }}\n\
             # No advisory may apply. Allow one by its name: [INTEL-SA-00615].\n\
             advisories: {{ one_of: [] }}\n\
             # The lowest number of Intel's TCB evaluation data that counts; without it a node brings the oldest.\n\
             tcb_evaluation: {{ at_least: {fill_in} }}\n"
        )
    } else if tee == TeeKind::Simulated {
        "tcb_status: { one_of: [UpToDate] }\n\
         advisories: { one_of: [] }\n\
         tcb_evaluation: { ignore: { because: the simulated vendor has one evaluation } }\n"
            .to_owned()
    } else {
        format!(
            "# The vendor publishes no levels to hold the platform against. Where its evidence has version numbers,\n\
             # set a floor for them under `attributes`, with at_least.\n\
             tcb_status: {{ ignore: {{ because: \"{NO_LEVELS}\" }} }}\n\
             advisories: {{ one_of: [] }}\n\
             tcb_evaluation: {{ ignore: {{ because: \"{NO_LEVELS}\" }} }}\n"
        )
    };
    push_head(&mut text, tee.as_str(), tee, tee.assurance(), &platform, "");
    let as_pcrs = tee == TeeKind::Tpm;
    text.push_str(if as_pcrs {
        "\n# PCRs of the SHA-256 bank. The quote must have signed every one of them.\npcr_policy:\n"
    } else {
        "\n# Registers. Evidence that lacks one of these is rejected.\nmeasurements:\n"
    });
    for Register {
        name,
        what,
        in_template,
    } in registers_of(tee)
    {
        let value = if as_pcrs {
            format!("\"{fill_in}\"")
        } else {
            format!("{{ one_of: [\"{fill_in}\"] }}")
        };
        text.push_str(&match in_template {
            InTemplate::FillIn => format!("  {name}: {value} # {what}\n"),
            InTemplate::LeaveOut => {
                format!("  # {name}: {value} # not the same everywhere and always: {what}\n")
            }
            InTemplate::OtherKind => format!("  # {name}: {value} # {what}\n"),
        });
    }
    if matches!(tee, TeeKind::Sgx | TeeKind::Simulated) {
        text.push_str(&format!(
            "\nattributes:\n  isvprodid: {{ one_of: [\"{fill_in}\"] }} # the signer's product\n  \
             isvsvn: {{ at_least: \"{fill_in}\" }} # the lowest version of it that counts\n"
        ));
    }
    push_age(&mut text);
    text
}

const NO_LEVELS: &str = "the vendor publishes no TCB levels";

/// A policy that accepts what `claims` have, and as little else as can be said: registers are pinned, versions are
/// floors. What changes from one run or machine to the next is in comments, and so are the other attributes.
pub fn pinned_policy(name: &str, claims: &Verified<Claims>) -> String {
    let tee = claims.tee;
    let mut text = format!(
        "# A policy that pins what evidence of a `{tee}` had. See that the machine was as it should be before you\n\
         # rely on it. `docs/policy.md` explains every rule.\n"
    );
    push_head(
        &mut text,
        name,
        tee,
        claims.assurance,
        &platform_of(claims),
        match claims.revocation {
            Revocation::Unchecked { .. } => " # the lists did not come along with that evidence",
            _ => "",
        },
    );
    let (pcrs, others): (Vec<_>, Vec<_>) = claims.measurements.iter().partition(|(name, _)| {
        let name = name.strip_prefix(RESETTABLE_PCR_PREFIX).unwrap_or(name);
        tee == TeeKind::Tpm && name.starts_with("pcr")
    });
    push_pinned(&mut text, tee, "measurements", &others, |value| {
        format!("{{ one_of: [\"{value}\"] }}")
    });
    push_pinned(&mut text, tee, "pcr_policy", &pcrs, |value| {
        format!("\"{value}\"")
    });
    push_attributes(&mut text, claims);
    push_age(&mut text);
    text
}

fn platform_of(claims: &Claims) -> String {
    let status = match claims.tcb.status {
        Some(TcbStatus::UpToDate) => "tcb_status: { one_of: [UpToDate] }\n".to_owned(),
        Some(status) => format!(
            "# The platform is not up to date. Once it is, write: {{ one_of: [UpToDate] }}\n\
             tcb_status: {{ at_least: {status} }}\n"
        ),
        None => format!("tcb_status: {{ ignore: {{ because: \"{NO_LEVELS}\" }} }}\n"),
    };
    let advisories: Vec<_> = claims.tcb.advisories.iter().map(|name| quoted(name)).collect();
    let evaluation = match claims.tcb.evaluation {
        Some(number) => format!("{{ at_least: {number} }}"),
        None => format!("{{ ignore: {{ because: \"{NO_LEVELS}\" }} }}"),
    };
    format!(
        "{status}advisories: {{ one_of: [{}] }}\ntcb_evaluation: {evaluation}\n",
        advisories.join(", ")
    )
}

fn push_head(
    text: &mut String,
    name: &str,
    tee: TeeKind,
    assurance: Assurance,
    platform: &str,
    about_revocation: &str,
) {
    let name = quoted(name);
    text.push_str(&format!(
        "name: {name}\n\
         tee: {{ one_of: [{tee}] }}\n\
         assurance: {{ at_least: {assurance} }}\n\
         debug: {{ one_of: [false] }}\n\n\
         {platform}\
         # Evidence is rejected where a revocation list exists and did not come along.\n\
         revocation: required{about_revocation}\n"
    ));
}

fn push_age(text: &mut String) {
    text.push_str(&format!(
        "\n# Evidence that says when it was made may be no older than an appraisal lasts.\n\
         evidence_age: max_age\n\
         max_age_seconds: {MAX_AGE_SECONDS}\n"
    ));
}

fn push_pinned(
    text: &mut String,
    tee: TeeKind,
    map: &str,
    values: &[(&String, &Measurement)],
    written: impl Fn(&Measurement) -> String,
) {
    if values.is_empty() {
        return;
    }
    text.push_str(&format!("\n{map}:\n"));
    for (name, value) in values {
        let known = registers_of(tee)
            .iter()
            .find(|register| register.name == name.as_str());
        let value = written(value);
        if let Some(name) = name.strip_prefix(RESETTABLE_PCR_PREFIX) {
            let key = key(name);
            text.push_str(&format!(
                "  # {key}: {value} # any program can reset it: see resettable_pcrs\n"
            ));
            continue;
        }
        let key = key(name);
        text.push_str(&match known {
            Some(Register {
                what,
                in_template: InTemplate::LeaveOut,
                ..
            }) => format!("  # {key}: {value} # not the same everywhere and always: {what}\n"),
            Some(Register { what, .. }) => format!("  {key}: {value} # {what}\n"),
            None => format!("  {key}: {value}\n"),
        });
    }
}

/// Product and version are rules; the rest is for the reader to choose from.
fn push_attributes(text: &mut String, claims: &Claims) {
    if claims.attributes.is_empty() {
        return;
    }
    let rule = |name: &str, value: &str| match name {
        "isvprodid" => Some(format!("{{ one_of: [{}] }}", quoted(value))),
        "isvsvn" => Some(format!("{{ at_least: {} }}", quoted(value))),
        _ if is_floor(claims.tee, name) && value.parse::<u64>().is_ok() => {
            Some(format!("{{ at_least: {} }}", quoted(value)))
        }
        _ => None,
    };
    text.push_str("\n# Remove the # of what must stay as it was.\nattributes:\n");
    let mut any = false;
    let mut comments = String::new();
    for (name, value) in &claims.attributes {
        let key = key(name);
        match rule(name, value) {
            Some(rule) => {
                any = true;
                text.push_str(&format!("  {key}: {rule}\n"));
            }
            None => comments.push_str(&format!("  # {key}: {{ one_of: [{}] }}\n", quoted(value))),
        }
    }
    if !any {
        // A key without a value is no map.
        text.truncate(text.trim_end().len());
        text.push_str(" {}\n");
    }
    text.push_str(&comments);
}

/// Whether an attribute is a version of the platform, where its vendor publishes no levels: its floor is the TCB
/// that the machine had. Only the reported one is bound to the key that signed.
fn is_floor(tee: TeeKind, name: &str) -> bool {
    tee == TeeKind::Sev && name.starts_with("reported_tcb_")
}

/// Text as YAML has it: JSON's form of a string is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name before a colon, quoted where it is not plainly one.
fn key(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_');
    if plain { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicyError;

    #[test]
    fn a_template_is_no_policy_before_it_is_filled_in() {
        for tee in TeeKind::ALL {
            let template = policy_template(tee);
            let first = template
                .lines()
                .position(|line| !line.starts_with('#') && line.contains(Policy::FILL_IN))
                .unwrap();
            match Policy::from_yaml(&template) {
                Err(PolicyError::NotFilledIn { line, text }) => {
                    assert_eq!(line, first + 1, "{tee}");
                    assert!(text.contains(Policy::FILL_IN), "{tee}: {text}");
                }
                other => panic!("{tee}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_filled_in_template_pins_the_code_of_its_tee() {
        for tee in TeeKind::ALL {
            let template = policy_template(tee)
                .replace(&format!("at_least: {}", Policy::FILL_IN), "at_least: 17")
                .replace(&format!("at_least: \"{}\"", Policy::FILL_IN), "at_least: \"2\"")
                .replace(Policy::FILL_IN, &"11".repeat(32));
            let policy =
                Policy::from_yaml(&template).unwrap_or_else(|error| panic!("{tee}: {error}\n{template}"));
            let notes = policy.explain(Some(tee));
            let code = notes.iter().find(|note| note.rule == "code").unwrap();
            assert!(code.text.starts_with("pinned by"), "{tee}: {}", code.text);
            let warnings = policy.warnings();
            assert!(
                warnings.iter().all(|warning| warning.rule != "code"),
                "{tee}: {warnings:?}"
            );
        }
    }

    #[test]
    fn names_that_yaml_would_read_otherwise_are_quoted() {
        for (name, written) in [
            ("mrenclave", "mrenclave"),
            ("7", "\"7\""),
            ("", "\"\""),
            ("a: b # c", "\"a: b # c\""),
            ("two\nlines", "\"two\\nlines\""),
            ("tcb.svn", "\"tcb.svn\""),
        ] {
            assert_eq!(key(name), written);
        }
    }
}
