//! Revocation lists (RFC 5280, 5).

use std::collections::BTreeMap;

use nautilus_core::UnixMillis;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode as _, Error, Reader as _, SliceReader, Tag, TagNumber};
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::time::Time;

use super::Fault;
use super::document::{SequenceValue as _, Signed, any, end_of, instant, tagged};
use super::extension::{Extension, addresses, extensions, oid, unknown_critical};
use crate::memo::Window;

/// `issuingDistributionPoint`: the list may cover a part of the certificates only (RFC 5280, 5.2.5).
pub(crate) const PARTIAL_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// The parts of a revocation list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListParts<'a> {
    pub signed: Signed<'a>,
    /// The issuer's name in DER, to be compared byte for byte.
    pub issuer: &'a [u8],
    rest: &'a [u8],
}

/// What a revocation list says.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub this_update: UnixMillis,
    /// The last millisecond before the next one is due.
    pub next_update: Option<UnixMillis>,
    /// When a certificate was revoked, by the contents of the INTEGERs that are the serial numbers.
    pub revoked: BTreeMap<Vec<u8>, UnixMillis>,
    /// Which part it covers, where it says so.
    scope: Option<Vec<u8>>,
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
    /// over but those in `understood`.
    pub fn read(&self, understood: &[ObjectIdentifier]) -> Result<List, Fault> {
        let unreadable = |error: Error| format!("cannot be read: {error}");
        let mut rest = SliceReader::new(self.rest).map_err(unreadable)?;
        let this_update = Time::decode(&mut rest).map_err(unreadable)?;
        let is_time = |tag: Tag| matches!(tag, Tag::UtcTime | Tag::GeneralizedTime);
        let next_update = Tag::peek(&rest)
            .is_ok_and(is_time)
            .then(|| Time::decode(&mut rest))
            .transpose()
            .map_err(unreadable)?;
        let mut revoked = BTreeMap::new();
        if Tag::peek(&rest).is_ok_and(|tag| tag == Tag::Sequence) {
            let entries = tagged(&mut rest, Tag::Sequence).map_err(unreadable)?;
            let mut entries = SliceReader::new(entries.value()).map_err(unreadable)?;
            while !entries.is_finished() {
                let (serial, since) = read_entry(&mut entries)?;
                revoked.insert(serial, since);
            }
        }
        let mut scope = None;
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
            let extensions = extensions(sequence.map_err(unreadable)?)?;
            no_unknown(&extensions, understood)?;
            let is_scope = |extension: &&Extension<'_>| extension.id == PARTIAL_LIST.as_bytes();
            scope = extensions
                .iter()
                .find(is_scope)
                .map(|extension| extension.value.to_vec());
        }
        rest.finish().map_err(unreadable)?;
        Ok(List {
            this_update: instant(this_update),
            next_update: next_update.map(end_of),
            revoked,
            scope,
        })
    }
}

impl List {
    /// When it is current, if it says until when.
    pub fn window(&self) -> Option<Window> {
        self.next_update.map(|until| Window {
            from: self.this_update,
            until,
        })
    }

    /// Whether it speaks of every authority that its issuer certified and of every reason (RFC 5280, 5.2.5), at one
    /// of these addresses.
    pub fn covers_authorities_at(&self, expected: &[String]) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        IssuingDistributionPoint::from_der(scope).is_ok_and(|point| {
            let partial = point.only_contains_user_certs
                || point.only_contains_attribute_certs
                || point.indirect_crl
                || point.only_some_reasons.is_some();
            let elsewhere = point.distribution_point.is_some()
                && !addresses(point.distribution_point)
                    .iter()
                    .any(|address| expected.contains(address));
            !partial && !elsewhere
        })
    }
}

fn read_entry(entries: &mut SliceReader<'_>) -> Result<(Vec<u8>, UnixMillis), Fault> {
    let unreadable = |error: Error| format!("has an entry that cannot be read: {error}");
    let entry = tagged(entries, Tag::Sequence).map_err(unreadable)?;
    let mut entry = SliceReader::new(entry.value()).map_err(unreadable)?;
    let serial = tagged(&mut entry, Tag::Integer).map_err(unreadable)?.value();
    let since = Time::decode(&mut entry).map_err(unreadable)?;
    if !entry.is_finished() {
        let list = tagged(&mut entry, Tag::Sequence).map_err(unreadable)?;
        no_unknown(&extensions(list.value())?, &[])?;
    }
    entry.finish().map_err(unreadable)?;
    Ok((serial.to_vec(), instant(since)))
}

fn no_unknown(extensions: &[Extension<'_>], understood: &[ObjectIdentifier]) -> Result<(), Fault> {
    match unknown_critical(extensions, understood) {
        None => Ok(()),
        Some(extension) => Err(format!(
            "has the critical extension {}, which is unknown",
            oid(extension.id)
        )),
    }
}
