//! Extensions of certificates, of revocation lists and of their entries (RFC 5280, 4.2 and 5.2).

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Error, Reader as _, SliceReader, Tag};
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::Fault;
use super::document::tagged;

/// More than any vendor writes into a certificate or list.
const MAX_EXTENSIONS: usize = 32;

/// One extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// The content of its OBJECT IDENTIFIER.
    pub id: &'a [u8],
    pub critical: bool,
    /// What its OCTET STRING holds.
    pub value: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Its value, where it is that extension.
    pub fn decode<T: Decode<'a, Error = Error>>(&self) -> Result<T, Fault> {
        T::from_der(self.value).map_err(|error| {
            format!(
                "has extension {} with a value that cannot be read: {error}",
                oid(self.id)
            )
        })
    }
}

/// Each kind at most once (RFC 5280, 4.2).
pub(super) fn extensions(sequence: &[u8]) -> Result<Vec<Extension<'_>>, Fault> {
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

/// A critical extension changes the meaning of what it stands in: the first that is not among `understood`.
pub(super) fn unknown_critical<'a>(
    extensions: &[Extension<'a>],
    understood: &[ObjectIdentifier],
) -> Option<Extension<'a>> {
    let known = |id: &[u8]| understood.iter().any(|known| known.as_bytes() == id);
    let mut unknown = extensions
        .iter()
        .filter(|extension| extension.critical && !known(extension.id));
    unknown.next().copied()
}

/// An object identifier in its usual form, for messages.
pub(crate) fn oid(content: &[u8]) -> String {
    ObjectIdentifier::from_bytes(content).map_or_else(|_| hex::encode(content), |id| id.to_string())
}

/// The addresses in a list of distribution points.
pub(super) fn distribution_points(points: CrlDistributionPoints) -> Vec<String> {
    points
        .0
        .into_iter()
        .flat_map(|point| addresses(point.distribution_point))
        .collect()
}

/// The addresses of one distribution point.
pub(super) fn addresses(name: Option<DistributionPointName>) -> Vec<String> {
    let Some(DistributionPointName::FullName(names)) = name else {
        return Vec::new();
    };
    let address = |name| match name {
        GeneralName::UniformResourceIdentifier(address) => Some(address.as_str().to_owned()),
        _ => None,
    };
    names.into_iter().filter_map(address).collect()
}
