//! Why an endorsement was not fetched, by who is at fault.

use std::time::Duration;

use crate::store::StoreError;

/// Why a want was not met.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No service that is known publishes it.
    #[error(
        "{want} is published by no service that is known: `nautilus endorsements import` takes it from a file"
    )]
    NotPublished {
        /// What is wanted.
        want: String,
    },
    /// Evidence names an address that is not its vendor's.
    #[error("{want} is wanted from {url}, which is no vendor's service: nothing was asked")]
    NotAVendor {
        /// What is wanted.
        want: String,
        /// The address, written so that it can be shown.
        url: String,
    },
    /// The service did not give it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It came and could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Its name for programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotPublished { .. } => "not_published",
            Self::NotAVendor { .. } => "not_a_vendor",
            Self::Request(error) => error.kind(),
            Self::Store(_) => "store",
        }
    }
}

/// Why a service did not give a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There was no answer.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        why: String,
    },
    /// The answer did not come, or not whole, in time.
    #[error("no whole answer from {url} within {} s: try again, or name a mirror", deadline.as_secs())]
    TimedOut {
        /// What was asked.
        url: String,
        /// The time that it had.
        deadline: Duration,
    },
    /// The service wants to be asked later.
    #[error("{host} takes no more requests at the moment: try again in {} s, or name a mirror", wait.as_secs().max(1))]
    RateLimited {
        /// Who.
        host: String,
        /// How long it wants.
        wait: Duration,
    },
    /// The service has no such document.
    #[error("{url} has no such document: the platform or its TCB is not known there")]
    NotFound {
        /// What was asked.
        url: String,
    },
    /// The service sent elsewhere.
    #[error("{url} redirects to {to}, which is not followed: name that service if you trust it")]
    Redirected {
        /// What was asked.
        url: String,
        /// Where it sent, written so that it can be shown.
        to: String,
    },
    /// The service refused.
    #[error("{url} answered with HTTP status {status}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is too large.
    #[error("answer of {url} has more than the {limit} bytes allowed")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The most that is read.
        limit: usize,
    },
    /// The answer is no such document.
    #[error("answer of {url} is not the document: {what}")]
    NotUnderstood {
        /// What was asked.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// The answer is another document than was asked for.
    #[error("answer of {url} is for {got}, not for {asked}")]
    WrongDocument {
        /// What was asked, as an address.
        url: String,
        /// What it should be for.
        asked: String,
        /// What it is for.
        got: String,
    },
}

impl RequestError {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotFound { .. } => "not_found",
            Self::Redirected { .. } => "redirected",
            Self::Refused { .. } => "refused",
            Self::TooLarge { .. } => "too_large",
            Self::NotUnderstood { .. } => "not_understood",
            Self::WrongDocument { .. } => "wrong_document",
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchConfigError {
    /// The certificates to trust are none.
    #[error("certificates to trust a service by cannot be read: {what}")]
    TlsRoots {
        /// Why.
        what: String,
    },
    /// The environment's proxy is none.
    #[error("proxy of the environment cannot be used: {what}")]
    Proxy {
        /// Why.
        what: String,
    },
}
