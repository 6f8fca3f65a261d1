//! Messages of the quoting service: Intel, *SGX and TDX DCAP*, `qgs_msg_lib.h`. Little-endian throughout.
//!
//! ```text
//! header    major u16 = 1 ‖ minor u16 ‖ type u32 ‖ size of the whole message u32 ‖ error u32
//! request   header ‖ report size u32 ‖ id list size u32 ‖ report ‖ id list
//! response  header ‖ selected id size u32 ‖ quote size u32 ‖ selected id ‖ quote
//! ```

use nautilus_core::VerifyError;
use nautilus_sys::tdx_guest::REPORT_LEN;

use crate::dcap::wire::{Reader, malformed, unsupported};

/// Largest response that is read: quotes are below 16 KiB, and services pad them.
pub(super) const MAX_RESPONSE: usize = 128 * 1024;

const MAJOR: u16 = 1;
/// The newest minor version. A request is the same in 0, which every service knows.
const MAX_MINOR: u16 = 1;
const GET_QUOTE_REQUEST: u32 = 0;
const GET_QUOTE_RESPONSE: u32 = 1;
const HEADER_LEN: usize = 16;
const REQUEST_LEN: usize = HEADER_LEN + 8 + REPORT_LEN;
/// Ids of attestation keys are UUIDs.
const MAX_SELECTED_ID: usize = 16;

/// A request for a quote of this `TDREPORT`, by whatever key the service has.
pub fn quote_request(report: &[u8; REPORT_LEN]) -> Vec<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both lengths are constants of about a thousand"
    )]
    let (size, report_size) = (REQUEST_LEN as u32, REPORT_LEN as u32);
    let mut request = Vec::with_capacity(REQUEST_LEN);
    request.extend(MAJOR.to_le_bytes());
    request.extend(0_u16.to_le_bytes());
    request.extend(GET_QUOTE_REQUEST.to_le_bytes());
    request.extend(size.to_le_bytes());
    // No error; the list of ids is empty.
    request.extend(0_u32.to_le_bytes());
    request.extend(report_size.to_le_bytes());
    request.extend(0_u32.to_le_bytes());
    request.extend(report);
    request
}

/// The quote in a response. Nothing about the quote itself is checked.
///
/// # Errors
/// `Malformed` names the field and its offset, `Unsupported` another version, `AttributeInvalid` the service's own
/// error.
pub fn parse_quote_response(message: &[u8]) -> Result<&[u8], VerifyError> {
    let mut reader = Reader::new(message);
    let (major, minor) = (reader.u16("major version")?, reader.u16("minor version")?);
    if major != MAJOR || minor > MAX_MINOR {
        return Err(unsupported(format!(
            "a message of version {major}.{minor}; 1.0 and 1.1 are known"
        )));
    }
    let at = reader.offset();
    let kind = reader.u32("type")?;
    if kind != GET_QUOTE_RESPONSE {
        return Err(malformed(
            format!("a message of type {kind}, not {GET_QUOTE_RESPONSE}, a quote"),
            at,
        ));
    }
    let at = reader.offset();
    let size = reader.u32("size of the message")?;
    if usize::try_from(size) != Ok(message.len()) {
        let what = format!("it says that it has {size} bytes, and has {}", message.len());
        return Err(malformed(what, at));
    }
    let error = reader.u32("error")?;
    if error != 0 {
        return Err(VerifyError::AttributeInvalid {
            what: error_words(error),
        });
    }
    let at = reader.offset();
    let id_len = usize::try_from(reader.u32("size of the selected id")?).unwrap_or(usize::MAX);
    if id_len > MAX_SELECTED_ID {
        return Err(malformed(
            format!("a selected id of {id_len} bytes, more than {MAX_SELECTED_ID}"),
            at,
        ));
    }
    let quote_at = reader.offset();
    let quote_len = usize::try_from(reader.u32("size of the quote")?).unwrap_or(usize::MAX);
    reader.take(id_len, "selected id")?;
    let quote = reader.take(quote_len, "quote")?;
    if quote.is_empty() {
        return Err(malformed("an empty quote".to_owned(), quote_at));
    }
    match message.len().saturating_sub(reader.offset()) {
        0 => Ok(quote),
        length => Err(VerifyError::TrailingBytes {
            offset: reader.offset(),
            length,
        }),
    }
}

/// `qgs_msg_error_t`, and what the service passes on from the quoting library (`quote3_error_t`).
fn error_words(error: u32) -> String {
    let words = match error {
        0x0001_2001 => "unexpected",
        0x0001_2002 => "out of memory",
        0x0001_2003 => "a parameter is invalid",
        0x0001_2004 => "it does not know the message's version",
        0x0001_2005 => "it does not know the message's type",
        0x0001_2006 => "the message's size is invalid",
        0x0001_2007 => "the error code is invalid",
        _ => "see `quote3_error_t` in Intel's DCAP, and the service's log on the host",
    };
    format!("error {error:#x}, {words}")
}

#[cfg(test)]
mod tests;
