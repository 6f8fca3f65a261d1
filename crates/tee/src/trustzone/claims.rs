//! Claims that PSA and CCA tokens have in common: RFC 9783 §4, and draft-ffm-rats-cca-token-00 §4 after it.

use std::collections::BTreeMap;

use nautilus_core::{Measurement, VerifyError};

use crate::cose::cbor::{Label, Reader, malformed};

/// Most claims of a token, known and unknown.
pub(super) const MAX_CLAIMS: usize = 64;
/// Most measured components; reference platforms have sixteen.
const MAX_COMPONENTS: usize = 64;
/// Longest text of a claim.
const MAX_TEXT: usize = 1024;

/// What was measured at boot (RFC 9783 §4.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    kind: Option<String>,
    value: Vec<u8>,
    version: Option<String>,
    signer_id: Vec<u8>,
    description: Option<String>,
}

/// The security state of a device (RFC 9783 §4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It says that it does not know.
    Unknown,
    /// On the production line.
    AssemblyAndTest,
    /// The root of trust is being provisioned.
    RotProvisioning,
    /// In the field, with nothing open.
    Secured,
    /// Debugging is on for what is not the root of trust.
    NonRotDebug,
    /// The root of trust can be debugged.
    RecoverableRotDebug,
    /// Out of service.
    Decommissioned,
}

impl Lifecycle {
    /// From the claim. The low byte is the implementation's own.
    pub fn read(reader: &mut Reader<'_>) -> Result<(Self, u16), VerifyError> {
        let offset = reader.offset();
        let value = reader.uint("lifecycle")?;
        let state = match value >> 8 {
            0x00 => Self::Unknown,
            0x10 => Self::AssemblyAndTest,
            0x20 => Self::RotProvisioning,
            0x30 => Self::Secured,
            0x40 => Self::NonRotDebug,
            0x50 => Self::RecoverableRotDebug,
            0x60 => Self::Decommissioned,
            _ => return Err(malformed(format!("lifecycle {value:#06x} is no state"), offset)),
        };
        let value = u16::try_from(value).unwrap_or(u16::MAX);
        Ok((state, value))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AssemblyAndTest => "assembly and test",
            Self::RotProvisioning => "root of trust provisioning",
            Self::Secured => "secured",
            Self::NonRotDebug => "non-root-of-trust debug",
            Self::RecoverableRotDebug => "recoverable root of trust debug",
            Self::Decommissioned => "decommissioned",
        }
    }
}

/// A byte string whose length is one of `lengths`.
pub(super) fn sized(reader: &mut Reader<'_>, what: &str, lengths: &[usize]) -> Result<Vec<u8>, VerifyError> {
    let offset = reader.offset();
    let bytes = reader.bytes(what, usize::MAX)?;
    if lengths.contains(&bytes.len()) {
        return Ok(bytes.to_vec());
    }
    let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
    Err(malformed(
        format!("{what} has {} bytes, not {}", bytes.len(), lengths.join(" or ")),
        offset,
    ))
}

/// The lengths of SHA-256, SHA-384 and SHA-512.
pub(super) const HASHES: [usize; 3] = [32, 48, 64];

/// A byte string of one length.
pub(super) fn exactly<const N: usize>(reader: &mut Reader<'_>, what: &str) -> Result<[u8; N], VerifyError> {
    let offset = reader.offset();
    let bytes = reader.bytes(what, usize::MAX)?;
    bytes
        .try_into()
        .map_err(|_| malformed(format!("{what} has {} bytes, not {N}", bytes.len()), offset))
}

/// An instance ID: an EAT UEID of type RAND (RFC 9711 §4.2.1).
pub(super) fn instance_id(reader: &mut Reader<'_>) -> Result<[u8; 33], VerifyError> {
    let offset = reader.offset();
    let id = exactly::<33>(reader, "instance ID")?;
    match id.first() {
        Some(1) => Ok(id),
        _ => Err(malformed(
            "instance ID is not a UEID of type RAND: it does not start with 01".to_owned(),
            offset,
        )),
    }
}

/// A text for people: not empty, without control characters.
pub(super) fn text(reader: &mut Reader<'_>, what: &str) -> Result<String, VerifyError> {
    let offset = reader.offset();
    let text = reader.text(what, MAX_TEXT)?;
    if text.is_empty() {
        return Err(malformed(format!("{what} is empty"), offset));
    }
    if text.chars().any(char::is_control) {
        return Err(malformed(format!("{what} holds control characters"), offset));
    }
    Ok(text.to_owned())
}

/// A list of measured components, which has one at least.
pub(super) fn components(reader: &mut Reader<'_>) -> Result<Vec<Component>, VerifyError> {
    let offset = reader.offset();
    let mut components = Vec::new();
    reader.array("software components", MAX_COMPONENTS, |reader, index| {
        components.push(component(reader, &format!("software component {index}"))?);
        Ok(())
    })?;
    if components.is_empty() {
        return Err(malformed(
            "software components are an empty list".to_owned(),
            offset,
        ));
    }
    Ok(components)
}

fn component(reader: &mut Reader<'_>, what: &str) -> Result<Component, VerifyError> {
    let offset = reader.offset();
    let (mut kind, mut value, mut version, mut signer_id, mut description) = (None, None, None, None, None);
    reader.map(what, MAX_CLAIMS, |reader, label| {
        match label {
            Label::Int(1) => kind = Some(text(reader, &format!("measurement type of {what}"))?),
            Label::Int(2) => value = Some(sized(reader, &format!("measurement value of {what}"), &HASHES)?),
            Label::Int(4) => version = Some(text(reader, &format!("version of {what}"))?),
            Label::Int(5) => signer_id = Some(sized(reader, &format!("signer ID of {what}"), &HASHES)?),
            Label::Int(6) => {
                description = Some(text(reader, &format!("measurement description of {what}"))?);
            }
            _ => reader.skip(what)?,
        }
        Ok(())
    })?;
    let lacks = |name: &str| malformed(format!("{what} lacks its {name}"), offset);
    Ok(Component {
        kind,
        value: value.ok_or_else(|| lacks("measurement value"))?,
        version,
        signer_id: signer_id.ok_or_else(|| lacks("signer ID"))?,
        description,
    })
}

/// Components as measurements `sw_TYPE` (`sw_INDEX` where a component has no type), and what else they say as
/// attributes.
pub(super) fn describe(
    components: &[Component],
    measurements: &mut BTreeMap<String, Measurement>,
    attributes: &mut BTreeMap<String, String>,
) {
    for (index, component) in components.iter().enumerate() {
        let kind = component
            .kind
            .as_deref()
            .map(plain)
            .filter(|kind| !kind.is_empty());
        let mut name = match kind {
            Some(kind) => format!("sw_{kind}"),
            None => format!("sw_{index}"),
        };
        // Types need not be unique.
        while measurements.contains_key(&name) {
            name = format!("{name}_{index}");
        }
        let mut say = |what: &str, value: Option<&str>| {
            if let Some(value) = value {
                attributes.insert(format!("{name}_{what}"), value.to_owned());
            }
        };
        say("type", component.kind.as_deref());
        say("version", component.version.as_deref());
        say("description", component.description.as_deref());
        say("signer_id", Some(&hex::encode(&component.signer_id)));
        measurements.insert(name, Measurement(component.value.clone()));
    }
}

/// A name as measurements have them: lower-case letters, digits and underscores.
fn plain(name: &str) -> String {
    name.chars()
        .map(|char| match char.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => plain,
            _ => '_',
        })
        .take(64)
        .collect()
}
