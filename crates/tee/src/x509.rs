//! X.509 certificates and revocation lists (RFC 5280), for every format that has them.
//!
//! Everything is read once, by its parts, borrowed from the bytes received: what is hashed is what came, names are
//! compared byte for byte, and looking at a document costs little enough to look at every one that is offered. Which
//! chain is looked for, and what a fault is called, is each format's own.
//!
//! - `document`: what certificates and lists have in common: the signed part, its algorithm, its signature.
//! - `algorithm`: which signature that is, and its verification.
//! - `certificate`: a certificate's parts, and whether it may issue others.
//! - `extension`: extensions, each kind at most once.
//! - `list`: revocation lists.
//! - `public_key`: `SubjectPublicKeyInfo`.

mod algorithm;
mod certificate;
mod document;
mod extension;
mod list;
mod public_key;

pub(crate) use algorithm::{Digest, Scheme};
pub(crate) use certificate::{AuthorityFault, Certificate, KeyUsageRule};
pub(crate) use document::Signed;
pub(crate) use extension::{Extension, oid};
pub(crate) use list::{List, ListParts, PARTIAL_LIST};
pub(crate) use public_key::{KeyFault, PublicKey};

/// Why something is not what it should be, in words that can follow "the certificate".
pub(crate) type Fault = String;

#[cfg(test)]
mod tests;
