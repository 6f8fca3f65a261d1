//! Endorsements: what vendors say about devices, kept on disk and fetched where it is missing.
//!
//! A stage of its own before verification, which does no I/O. [`Store`] keeps documents so that they are found
//! again as of any time; [`Fetcher`] asks the vendors' services. Everything that comes over the network is hostile:
//! it is bounded, it must parse, and it must be for what was asked. Whether its vendor signed it is verification's
//! to decide, each time it is used.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod archive;
mod document;
mod fetch;
#[cfg(test)]
mod fixture;
mod pcs;
mod source;
mod store;

pub use archive::{ArchiveError, archive};
pub use document::{AmdTcb, Document, DocumentError, IntelTee, PckCa, Product, Subject, Validity};
pub use fetch::{
    Ask, Event, FetchConfig, FetchConfigError, FetchError, Fetched, Fetcher, Outcome, Proxy, RequestError,
    SystemTimer, Timer,
};
pub use source::{Base, BaseError, Source, Update};
pub use store::{Found, Kept, Listing, Provenance, Pruned, Store, StoreError};
