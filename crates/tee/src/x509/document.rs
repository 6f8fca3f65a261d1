//! What certificates and revocation lists have in common (RFC 5280, 4.1.1 and 5.1.1).

use nautilus_core::UnixMillis;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Error, Reader as _, SliceReader, Tag};
use x509_cert::time::Time;

/// What a signature covers, and the signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The signed part, as received.
    pub tbs: &'a [u8],
    /// The `AlgorithmIdentifier`, in DER.
    pub algorithm: &'a [u8],
    pub signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// The three parts of a signed document, and a reader of what is signed.
    pub(super) fn split(der: &'a [u8]) -> Result<(Self, SliceReader<'a>), Error> {
        let mut parts = SliceReader::new(AnyRef::from_der(der)?.sequence_value()?)?;
        let tbs = parts.tlv_bytes()?;
        let algorithm = parts.tlv_bytes()?;
        let signature = bits(&mut parts)?;
        parts.finish()?;
        let signed = Self {
            tbs,
            algorithm,
            signature,
        };
        Ok((
            signed,
            SliceReader::new(AnyRef::from_der(tbs)?.sequence_value()?)?,
        ))
    }

    /// The algorithm is named twice, and has to be the same (RFC 5280, 4.1.1.2 and 5.1.1.2).
    pub(super) fn check_inner(&self, algorithm: &[u8]) -> Result<(), Error> {
        if algorithm == self.algorithm {
            Ok(())
        } else {
            Err(Tag::ObjectIdentifier.value_error().into())
        }
    }
}

pub(super) fn any<'a>(reader: &mut SliceReader<'a>) -> Result<AnyRef<'a>, Error> {
    AnyRef::decode(reader)
}

pub(super) fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<AnyRef<'a>, Error> {
    let value = any(reader)?;
    value.header().tag().assert_eq(tag)?;
    Ok(value)
}

/// A BIT STRING of whole bytes.
pub(super) fn bits<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], Error> {
    match tagged(reader, Tag::BitString)?.value().split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Tag::BitString.value_error().into()),
    }
}

pub(super) trait SequenceValue<'a> {
    fn sequence_value(self) -> Result<&'a [u8], Error>;
}

impl<'a> SequenceValue<'a> for AnyRef<'a> {
    fn sequence_value(self) -> Result<&'a [u8], Error> {
        self.header().tag().assert_eq(Tag::Sequence)?;
        Ok(self.value())
    }
}

pub(super) fn instant(time: Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
}

/// The last millisecond of a second: times end with it (RFC 5280, 4.1.2.5).
pub(super) fn end_of(time: Time) -> UnixMillis {
    instant(time).plus(999)
}
