//! The table of certificates that the host hands out with a report. The host's word: nothing here is signed as a
//! whole, and a verifier checks each document.
//!
//! Layout: AMD 56421, *Guest-Hypervisor Communication Block Standardization*, section "SNP Extended Guest Request":
//! entries of `GUID ‖ offset u32 ‖ length u32`, little-endian, up to one of zeros; offsets are from the start of the
//! table. A GUID's bytes stand in the order of its text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, VerifyError};

use crate::dcap::wire::{Reader, malformed};

/// Entries that are looked at. AMD knows five, and hosts may add their own.
const MAX_ENTRIES: usize = 32;
/// What stands before the base64 of a certificate, where a host was given PEM: the standard says neither.
const PEM_HEAD: &[u8] = b"-----BEGIN ";

/// Documents with a GUID of AMD's.
const KNOWN: [(&str, EndorsementKind, [u8; 16]); 5] = [
    (
        "VCEK",
        EndorsementKind::Certificate,
        guid(0x63da_758d_e664_4564_adc5_f4b9_3be8_accd),
    ),
    (
        "VLEK",
        EndorsementKind::Certificate,
        guid(0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1),
    ),
    (
        "ASK",
        EndorsementKind::Certificate,
        guid(0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782),
    ),
    (
        "ARK",
        EndorsementKind::Certificate,
        guid(0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae),
    ),
    (
        "CRL",
        EndorsementKind::Crl,
        guid(0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea),
    ),
];

/// The documents in a table, those of unknown kinds left out. Of what is in them only the frame is looked at, so that
/// half a document is not taken for one; documents in PEM are given in DER. No bytes, or a table of zeros, is how a host says that it has none.
///
/// # Errors
/// `Malformed` names the entry and its offset: a table without an end, a document outside of it or within its entries,
/// one that is there twice, one that is no DER.
pub fn parse_certificates(table: &[u8]) -> Result<Endorsements, VerifyError> {
    let mut found = [None; KNOWN.len()];
    let mut reader = Reader::new(table);
    if table.is_empty() {
        return Ok(Endorsements::default());
    }
    for index in 0.. {
        let at = reader.offset();
        let id: [u8; 16] = reader.array("GUID of an entry")?;
        let offset = reader.u32("offset of an entry")?;
        let length = reader.u32("length of an entry")?;
        if id == [0; 16] && offset == 0 && length == 0 {
            break;
        }
        if index == MAX_ENTRIES {
            return Err(malformed(format!("more than {MAX_ENTRIES} entries"), at));
        }
        let known = KNOWN.iter().zip(&mut found);
        let Some(((name, ..), place)) = known.into_iter().find(|((_, _, guid), _)| *guid == id) else {
            continue;
        };
        if place.replace((at, offset, length)).is_some() {
            return Err(malformed(format!("a second {name}"), at));
        }
    }
    let entries_end = reader.offset();
    let mut endorsements = Vec::new();
    for ((name, kind, _), place) in KNOWN.iter().zip(found) {
        let Some((at, offset, length)) = place else {
            continue;
        };
        let outside = || {
            malformed(
                format!(
                    "{name} at {offset} with {length} bytes lies outside of the {} bytes after the entries",
                    table.len().saturating_sub(entries_end)
                ),
                at,
            )
        };
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let length = usize::try_from(length).map_err(|_| outside())?;
        let end = start.checked_add(length).ok_or_else(outside)?;
        let document = table
            .get(start..end)
            .filter(|_| start >= entries_end)
            .ok_or_else(outside)?;
        let bytes = if document.starts_with(PEM_HEAD) {
            from_pem(document).ok_or_else(|| malformed(format!("{name} in PEM cannot be read"), start))?
        } else {
            document.to_vec()
        };
        if !is_one_sequence(&bytes) {
            return Err(malformed(format!("{name} is no document in DER"), start));
        }
        endorsements.push(Endorsement {
            kind: *kind,
            bytes,
            origin: format!("{name} of the host's certificate table"),
        });
    }
    Ok(Endorsements(endorsements))
}

/// The one document of a PEM text (RFC 7468), with nothing but white space and zeros after it.
fn from_pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0').trim();
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let body = rest.strip_suffix(&format!("-----END {label}-----"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}

/// Whether bytes are one SEQUENCE, as certificates and lists are, and nothing else (X.690, 8.1.3).
fn is_one_sequence(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    let (content, length) = match der {
        [SEQUENCE, length @ 0..=0x7f, content @ ..] => (content, u32::from(*length)),
        [SEQUENCE, 0x81, length, content @ ..] => (content, u32::from(*length)),
        [SEQUENCE, 0x82, high, low, content @ ..] => (content, u32::from_be_bytes([0, 0, *high, *low])),
        [SEQUENCE, 0x83, high, middle, low, content @ ..] => {
            (content, u32::from_be_bytes([0, *high, *middle, *low]))
        }
        _ => return false,
    };
    u32::try_from(content.len()) == Ok(length)
}

/// The bytes of a GUID in the order of its text.
const fn guid(text: u128) -> [u8; 16] {
    text.to_be_bytes()
}

#[cfg(test)]
mod tests;
