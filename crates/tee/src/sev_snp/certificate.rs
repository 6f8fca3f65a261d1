//! X.509 certificates and revocation lists by their parts, borrowed from the bytes received: what is hashed
//! is what came, and looking at a document costs little enough to look at every one that is offered. RFC
//! 5280, 4.1 and 5.1.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA384};
use nautilus_core::UnixMillis;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode as _, Error, Reader as _, SliceReader, Tag, TagNumber};
use x509_cert::time::Time;

use crate::memo::Window;

/// Why something is not what it should be, in words that can follow "the certificate".
pub(super) type Fault = String;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Bytes of the modulus of AMD's keys: RSA-4096 (AMD 57230).
const RSA_BYTES: usize = 512;
/// More than AMD writes into any certificate or list.
const MAX_EXTENSIONS: usize = 32;

/// What a signature covers, and the signature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// The signed part, as received.
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

/// The parts of a certificate. Names and the like are whole DER values, to be compared byte for byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub signed: Signed<'a>,
    pub serial: &'a [u8],
    pub issuer: &'a [u8],
    validity: &'a [u8],
    pub subject: &'a [u8],
    spki: &'a [u8],
    extensions: &'a [u8],
}

/// The parts of a revocation list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListParts<'a> {
    pub signed: Signed<'a>,
    pub issuer: &'a [u8],
    rest: &'a [u8],
}

/// One extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension<'a> {
    /// The content of its OBJECT IDENTIFIER.
    pub id: &'a [u8],
    pub critical: bool,
    /// What its OCTET STRING holds.
    pub value: &'a [u8],
}

/// What a revocation list says.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub this_update: UnixMillis,
    pub next_update: UnixMillis,
    /// Contents of the INTEGERs that are the serial numbers.
    pub serials: BTreeSet<Vec<u8>>,
}

impl<'a> Parts<'a> {
    /// Splits a certificate of version 3.
    pub fn parse(der: &'a [u8]) -> Result<Self, Fault> {
        Self::split(der).map_err(|error| format!("is no X.509 certificate: {error}"))
    }

    fn split(der: &'a [u8]) -> Result<Self, Error> {
        let (signed, mut tbs) = Signed::split(der)?;
        let version = any(&mut tbs)?;
        let explicit = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(0),
        };
        version.header().tag().assert_eq(explicit)?;
        if version.value() != [0x02, 0x01, 0x02] {
            return Err(Tag::Integer.value_error().into());
        }
        let serial = tagged(&mut tbs, Tag::Integer)?.value();
        signed.check_inner(tbs.tlv_bytes()?)?;
        let issuer = tbs.tlv_bytes()?;
        let validity = tbs.tlv_bytes()?;
        let subject = tbs.tlv_bytes()?;
        let spki = tbs.tlv_bytes()?;
        let mut extensions: &[u8] = &[];
        if !tbs.is_finished() {
            let wrapped = any(&mut tbs)?;
            let number = TagNumber(3);
            wrapped.header().tag().assert_eq(Tag::ContextSpecific {
                constructed: true,
                number,
            })?;
            extensions = AnyRef::from_der(wrapped.value())?.sequence_value()?;
        }
        tbs.finish()?;
        Ok(Self {
            signed,
            serial,
            issuer,
            validity,
            subject,
            spki,
            extensions,
        })
    }

    /// The extensions, each kind at most once (RFC 5280, 4.2).
    pub fn extensions(&self) -> Result<Vec<Extension<'a>>, Fault> {
        extensions(self.extensions)
    }

    /// When it is valid, both seconds included.
    pub fn window(&self) -> Result<Window, Fault> {
        let validity = || {
            let mut reader = SliceReader::new(AnyRef::from_der(self.validity)?.sequence_value()?)?;
            let (from, until) = (Time::decode(&mut reader)?, Time::decode(&mut reader)?);
            reader.finish()?;
            Ok::<_, Error>((from, until))
        };
        let (from, until) =
            validity().map_err(|error| format!("has no validity that can be read: {error}"))?;
        Ok(Window {
            from: instant(from),
            until: end_of(until),
        })
    }

    /// Its RSA key of 4,096 bits.
    pub fn rsa_key(&self) -> Result<ParsedPublicKey, Fault> {
        let read = || {
            let (algorithm, parameters, key) = self.spki()?;
            if algorithm != RSA_ENCRYPTION || !parameters.is_none_or(AnyRef::is_null) {
                return Ok(None);
            }
            let mut reader = SliceReader::new(AnyRef::from_der(key)?.sequence_value()?)?;
            let modulus = UintRef::decode(&mut reader)?;
            UintRef::decode(&mut reader)?;
            reader.finish()?;
            Ok::<_, Error>((modulus.as_bytes().len() == RSA_BYTES).then_some(key))
        };
        let key = read().map_err(|error| format!("has no key that can be read: {error}"))?;
        key.and_then(|key| ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key).ok())
            .ok_or_else(|| "does not certify an RSA key of 4096 bits".to_owned())
    }

    /// Its point on P-384, uncompressed. Whether it lies on the curve is the cryptography's to say.
    pub fn p384_point(&self) -> Result<&'a [u8], Fault> {
        let (algorithm, parameters, key) = self
            .spki()
            .map_err(|error| format!("has no key that can be read: {error}"))?;
        let curve = parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        if algorithm != EC_PUBLIC_KEY || curve != Some(SECP384R1) {
            return Err("does not certify a key on P-384".to_owned());
        }
        Ok(key)
    }

    fn spki(&self) -> Result<(ObjectIdentifier, Option<AnyRef<'a>>, &'a [u8]), Error> {
        let mut reader = SliceReader::new(AnyRef::from_der(self.spki)?.sequence_value()?)?;
        let algorithm = algorithm(reader.tlv_bytes()?)?;
        let key = bits(&mut reader)?;
        reader.finish()?;
        Ok((algorithm.0, algorithm.1, key))
    }
}

impl<'a> ListParts<'a> {
    /// Splits a revocation list as far as its issuer.
    pub fn parse(der: &'a [u8]) -> Result<Self, Fault> {
        Self::split(der).map_err(|error| format!("is no revocation list: {error}"))
    }

    fn split(der: &'a [u8]) -> Result<Self, Error> {
        let (signed, mut tbs) = Signed::split(der)?;
        // Version 2 is written as 1; version 1, which has no extensions, is not written.
        if Tag::peek(&tbs)? == Tag::Integer && any(&mut tbs)?.value() != [1] {
            return Err(Tag::Integer.value_error().into());
        }
        signed.check_inner(tbs.tlv_bytes()?)?;
        let issuer = tbs.tlv_bytes()?;
        let rest = tbs.read_slice(tbs.remaining_len())?;
        Ok(Self { signed, issuer, rest })
    }

    /// Reads what it says. A critical extension changes the meaning of what it stands in, so none is passed
    /// over.
    pub fn read(&self) -> Result<List, Fault> {
        let unreadable = |error: Error| format!("cannot be read: {error}");
        let mut rest = SliceReader::new(self.rest).map_err(unreadable)?;
        let this_update = Time::decode(&mut rest).map_err(unreadable)?;
        let is_time = |tag: Tag| matches!(tag, Tag::UtcTime | Tag::GeneralizedTime);
        if !Tag::peek(&rest).is_ok_and(is_time) {
            return Err("does not say when the next one comes".to_owned());
        }
        let next_update = Time::decode(&mut rest).map_err(unreadable)?;
        let mut serials = BTreeSet::new();
        if Tag::peek(&rest).is_ok_and(|tag| tag == Tag::Sequence) {
            let entries = tagged(&mut rest, Tag::Sequence).map_err(unreadable)?;
            let mut entries = SliceReader::new(entries.value()).map_err(unreadable)?;
            while !entries.is_finished() {
                serials.insert(read_entry(&mut entries)?);
            }
        }
        if !rest.is_finished() {
            let wrapped = any(&mut rest).map_err(unreadable)?;
            let explicit = Tag::ContextSpecific {
                constructed: true,
                number: TagNumber(0),
            };
            if wrapped.header().tag() != explicit {
                return Err("has something in the place of its extensions".to_owned());
            }
            let sequence = AnyRef::from_der(wrapped.value()).and_then(|any| any.sequence_value());
            no_critical(sequence.map_err(unreadable)?)?;
        }
        rest.finish().map_err(unreadable)?;
        Ok(List {
            this_update: instant(this_update),
            next_update: end_of(next_update),
            serials,
        })
    }
}

fn read_entry(entries: &mut SliceReader<'_>) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: Error| format!("has an entry that cannot be read: {error}");
    let entry = tagged(entries, Tag::Sequence).map_err(unreadable)?;
    let mut entry = SliceReader::new(entry.value()).map_err(unreadable)?;
    let serial = tagged(&mut entry, Tag::Integer).map_err(unreadable)?.value();
    Time::decode(&mut entry).map_err(unreadable)?;
    if !entry.is_finished() {
        no_critical(tagged(&mut entry, Tag::Sequence).map_err(unreadable)?.value())?;
    }
    entry.finish().map_err(unreadable)?;
    Ok(serial.to_vec())
}

fn no_critical(list: &[u8]) -> Result<(), Fault> {
    match extensions(list)?.into_iter().find(|extension| extension.critical) {
        None => Ok(()),
        Some(extension) => Err(format!(
            "has the critical extension {}, which is unknown",
            oid(extension.id)
        )),
    }
}

impl<'a> Signed<'a> {
    /// The three parts of a signed document, and a reader of what is signed.
    fn split(der: &'a [u8]) -> Result<(Self, SliceReader<'a>), Error> {
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
    fn check_inner(&self, algorithm: &[u8]) -> Result<(), Error> {
        if algorithm == self.algorithm {
            Ok(())
        } else {
            Err(Tag::ObjectIdentifier.value_error().into())
        }
    }

    /// Checks that `issuer` signed it, with RSASSA-PSS, SHA-384 and a salt of 48 bytes (AMD 57230).
    pub fn check_signed_by(&self, issuer: &ParsedPublicKey) -> Result<(), Fault> {
        match is_pss_sha384(self.algorithm) {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                return Err("is not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes".to_owned());
            }
        }
        issuer
            .verify_sig(self.tbs, self.signature)
            .map_err(|_| "has a signature that does not verify".to_owned())
    }
}

/// Whether an AlgorithmIdentifier is that of RSASSA-PSS with the parameters that AMD uses. The trailer field
/// has one value only; some of AMD's certificates write it although it is the default (RFC 4055, 3.1).
fn is_pss_sha384(identifier: &[u8]) -> Result<bool, Error> {
    let (RSASSA_PSS, Some(parameters)) = algorithm(identifier)? else {
        return Ok(false);
    };
    let mut reader = SliceReader::new(parameters.sequence_value()?)?;
    let mut field = |number: u32| -> Result<Option<&[u8]>, Error> {
        let tag = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(number),
        };
        if reader.is_finished() || Tag::peek(&reader)? != tag {
            return Ok(None);
        }
        any(&mut reader).map(|any| Some(any.value()))
    };
    let (hash, mask, salt, trailer) = (field(0)?, field(1)?, field(2)?, field(3)?);
    reader.finish()?;
    let (Some(hash), Some(mask), Some(salt)) = (hash, mask, salt) else {
        return Ok(false);
    };
    let is_sha384 = |identifier: &[u8]| -> Result<bool, Error> {
        let (id, parameters) = algorithm(identifier)?;
        Ok(id == SHA384 && parameters.is_none_or(AnyRef::is_null))
    };
    let (MGF1, Some(mask_hash)) = algorithm(mask)? else {
        return Ok(false);
    };
    let trailer_is_1 = trailer.is_none_or(|trailer| trailer == [0x02, 0x01, 0x01]);
    Ok(is_sha384(hash)? && is_sha384(&mask_hash.to_der()?)? && salt == [0x02, 0x01, 48] && trailer_is_1)
}

fn algorithm(der: &[u8]) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), Error> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.sequence_value()?)?;
    let id = ObjectIdentifier::decode(&mut reader)?;
    let parameters = if reader.is_finished() {
        None
    } else {
        Some(any(&mut reader)?)
    };
    reader.finish()?;
    Ok((id, parameters))
}

fn extensions(sequence: &[u8]) -> Result<Vec<Extension<'_>>, Fault> {
    let unreadable = |error: Error| format!("has an extension that cannot be read: {error}");
    let mut reader = SliceReader::new(sequence).map_err(unreadable)?;
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !reader.is_finished() {
        let extension = read_extension(&mut reader).map_err(unreadable)?;
        if found.iter().any(|other| other.id == extension.id) {
            return Err(format!("has the extension {} twice", oid(extension.id)));
        }
        if found.len() == MAX_EXTENSIONS {
            return Err(format!("has more than {MAX_EXTENSIONS} extensions"));
        }
        found.push(extension);
    }
    Ok(found)
}

fn read_extension<'a>(reader: &mut SliceReader<'a>) -> Result<Extension<'a>, Error> {
    let mut reader = SliceReader::new(tagged(reader, Tag::Sequence)?.value())?;
    let id = tagged(&mut reader, Tag::ObjectIdentifier)?.value();
    // DER does not write the default, false (X.690, 11.5).
    let critical = Tag::peek(&reader)? == Tag::Boolean;
    if critical && !bool::decode(&mut reader)? {
        return Err(Tag::Boolean.value_error().into());
    }
    let value = tagged(&mut reader, Tag::OctetString)?.value();
    reader.finish()?;
    Ok(Extension { id, critical, value })
}

/// An object identifier in its usual form, for messages.
pub(super) fn oid(content: &[u8]) -> String {
    ObjectIdentifier::from_bytes(content).map_or_else(|_| hex::encode(content), |id| id.to_string())
}

fn any<'a>(reader: &mut SliceReader<'a>) -> Result<AnyRef<'a>, Error> {
    AnyRef::decode(reader)
}

fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<AnyRef<'a>, Error> {
    let value = any(reader)?;
    value.header().tag().assert_eq(tag)?;
    Ok(value)
}

/// A BIT STRING of whole bytes.
fn bits<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], Error> {
    match tagged(reader, Tag::BitString)?.value().split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Tag::BitString.value_error().into()),
    }
}

trait SequenceValue<'a> {
    fn sequence_value(self) -> Result<&'a [u8], Error>;
}

impl<'a> SequenceValue<'a> for AnyRef<'a> {
    fn sequence_value(self) -> Result<&'a [u8], Error> {
        self.header().tag().assert_eq(Tag::Sequence)?;
        Ok(self.value())
    }
}

fn instant(time: Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
}

/// The last millisecond of a second.
fn end_of(time: Time) -> UnixMillis {
    instant(time).plus(999)
}
