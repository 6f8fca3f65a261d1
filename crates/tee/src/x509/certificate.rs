//! A certificate by its parts (RFC 5280, 4.1), and whether it may issue others (RFC 5280, 4.2.1.3 and 4.2.1.9).

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Error, Reader as _, SliceReader, Tag, TagNumber};
use x509_cert::ext::pkix::{BasicConstraints, CrlDistributionPoints, KeyUsage};
use x509_cert::time::Time;

use super::document::{SequenceValue as _, Signed, any, end_of, instant, tagged};
use super::extension::{self, Extension, distribution_points};
use super::public_key::{KeyFault, PublicKey};
use super::{Fault, extension::extensions};
use crate::memo::Window;

/// The parts of a certificate. Names and the like are whole DER values, to be compared byte for byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate<'a> {
    pub signed: Signed<'a>,
    /// The content of the serial number's INTEGER.
    pub serial: &'a [u8],
    pub issuer: &'a [u8],
    validity: &'a [u8],
    pub subject: &'a [u8],
    /// The certified key's `SubjectPublicKeyInfo`.
    pub spki: &'a [u8],
    extensions: &'a [u8],
}

/// Why a certificate must not have issued another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityFault {
    /// Its basic constraints do not say that it is an authority's, or it has none.
    NotAuthority,
    /// More authorities stand below it than it allows.
    TooDeep,
    /// Its key usage does not say that it signs certificates.
    NotForCertificates,
    /// It does not read.
    Unreadable(Fault),
}

/// Whether an authority must have a key usage. RFC 5280, 4.2.1.3 asks for one; roots of TPM makers have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUsageRule {
    Required,
    WherePresent,
}

impl<'a> Certificate<'a> {
    pub const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
    pub const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    const DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

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

    /// The extensions, each kind at most once.
    pub fn extensions(&self) -> Result<Vec<Extension<'a>>, Fault> {
        extensions(self.extensions)
    }

    /// The value of one extension, where it has it.
    pub fn extension<T: Decode<'a, Error = Error>>(&self, id: ObjectIdentifier) -> Result<Option<T>, Fault> {
        let all = self.extensions()?;
        let found = all.iter().find(|extension| extension.id == id.as_bytes());
        found.map(Extension::decode).transpose()
    }

    /// The first critical extension that is not among `understood`.
    pub fn unknown_critical(&self, understood: &[ObjectIdentifier]) -> Result<Option<Extension<'a>>, Fault> {
        Ok(extension::unknown_critical(&self.extensions()?, understood))
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

    /// The certified key.
    pub fn key(&self) -> Result<PublicKey<'a>, KeyFault> {
        PublicKey::read(self.spki)
    }

    /// Whether it says that it is an authority's.
    pub fn is_authority(&self) -> Result<bool, Fault> {
        let constraints = self.extension::<BasicConstraints>(Self::BASIC_CONSTRAINTS)?;
        Ok(constraints.is_some_and(|constraints| constraints.ca))
    }

    pub fn key_usage(&self) -> Result<Option<KeyUsage>, Fault> {
        self.extension(Self::KEY_USAGE)
    }

    /// That it may have issued a certificate with `below` further authorities between it and the leaf.
    pub fn check_authority(&self, below: usize, rule: KeyUsageRule) -> Result<(), AuthorityFault> {
        let unreadable = AuthorityFault::Unreadable;
        let constraints = self
            .extension::<BasicConstraints>(Self::BASIC_CONSTRAINTS)
            .map_err(unreadable)?
            .filter(|constraints| constraints.ca)
            .ok_or(AuthorityFault::NotAuthority)?;
        if constraints
            .path_len_constraint
            .is_some_and(|most| usize::from(most) < below)
        {
            return Err(AuthorityFault::TooDeep);
        }
        match (self.key_usage().map_err(unreadable)?, rule) {
            (Some(usage), _) if usage.key_cert_sign() => Ok(()),
            (None, KeyUsageRule::WherePresent) => Ok(()),
            _ => Err(AuthorityFault::NotForCertificates),
        }
    }

    /// Where it says that its issuer publishes a revocation list; nothing where that does not read.
    pub fn list_addresses(&self) -> Vec<String> {
        let points = self.extension::<CrlDistributionPoints>(Self::DISTRIBUTION_POINTS);
        points.ok().flatten().map(distribution_points).unwrap_or_default()
    }

    /// The serial number without the zero that makes an INTEGER positive, as people write it.
    pub fn serial_number(&self) -> &'a [u8] {
        match self.serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        }
    }
}
