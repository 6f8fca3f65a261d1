//! What one verifier remembers of quotes that it verified, so that the next one of the same platform costs one
//! signature.
//!
//! Three kinds of fact, each found by content alone: a collateral document, the certificates of a platform, and the
//! judgement on a platform under a document. A judgement is found by *everything* that `dcap-qvl` was given but the
//! fields of the report that it passes on without looking at them, and the quote's own signature. So a later quote
//! that finds one is a quote for which `dcap-qvl` would do the same again, except for that one signature.

use std::fmt;
use std::sync::Arc;

use nautilus_core::{Tcb, UnixMillis};

use super::chain::Platform;
use super::collateral::Document;
use super::examination::Proven;
use super::verify::Subject;
use super::wire::Certification;
use crate::memo::{Key, Memo, Window};

/// Collateral of as many families and evaluations as a fleet has, with room for renewals.
const MAX_DOCUMENTS: usize = 64;
/// A document takes about five times its size: its bytes, its parts, and its levels.
const DOCUMENT_FACTOR: usize = 5;
const MAX_DOCUMENT_BYTES: usize = 32 * 1024 * 1024;
const MAX_PLATFORMS: usize = 4096;
const MAX_PLATFORM_BYTES: usize = 32 * 1024 * 1024;
/// A few for each platform: TDX modules and attributes of trust domains differ, and documents are renewed.
const MAX_JUDGEMENTS: usize = 16 * 1024;

/// How far apart the samples of a document lie. Signatures in it are runs of 128 hex digits or more, and no signed
/// part changes without its signature, so two signed documents nearly always differ in some sample.
const SAMPLE_STRIDE: usize = 96;
const SAMPLE_LEN: usize = 8;

/// What holds whenever it is asked for: content that was verified once, to be judged anew.
const ALWAYS: Window = Window {
    from: UnixMillis(0),
    until: UnixMillis(u64::MAX),
};

/// A verifier's memory: of one root, as the verifier is.
pub(crate) struct Memory {
    documents: Memo<Arc<Document>>,
    platforms: Memo<Arc<Platform>>,
    judgements: Memo<Judgement>,
}

/// What came of a platform under a document.
#[derive(Clone)]
pub(super) enum Judgement {
    /// It meets a level.
    Meets(Arc<Proven>),
    /// It is below every level, or revoked.
    Falls(Arc<Tcb>),
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            documents: Memo::weighing(MAX_DOCUMENTS, MAX_DOCUMENT_BYTES, |document| {
                document.bytes().len().saturating_mul(DOCUMENT_FACTOR)
            }),
            platforms: Memo::weighing(MAX_PLATFORMS, MAX_PLATFORM_BYTES, |platform| platform.size()),
            judgements: Memo::new(MAX_JUDGEMENTS),
        }
    }

    /// The document that has these bytes.
    pub(super) fn document(&self, bytes: &[u8], now: UnixMillis) -> Option<Arc<Document>> {
        let known = self.documents.recall(sampled(bytes), now)?;
        (known.bytes() == bytes).then_some(known)
    }

    /// The document must have been verified up to the root.
    pub(super) fn remember_document(&self, document: &Arc<Document>) {
        self.documents
            .remember(sampled(document.bytes()), Arc::clone(document), ALWAYS);
    }

    pub(super) fn platform(&self, chain: Key, now: UnixMillis) -> Option<Arc<Platform>> {
        self.platforms.recall(chain, now)
    }

    /// The certificates must have been verified up to the root.
    pub(super) fn remember_platform(&self, chain: Key, platform: &Arc<Platform>) {
        self.platforms.remember(chain, Arc::clone(platform), ALWAYS);
    }

    pub(super) fn judgement(&self, key: Key, now: UnixMillis) -> Option<Judgement> {
        self.judgements.recall(key, now)
    }

    /// The judgement must be on evidence that was verified up to the root, and hold within all of `window`.
    pub(super) fn remember_judgement(&self, key: Key, judgement: Judgement, window: Window) {
        self.judgements.remember(key, judgement, window);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("documents", &self.documents)
            .field("platforms", &self.platforms)
            .field("judgements", &self.judgements)
            .finish()
    }
}

/// What a platform's certificates are found by.
pub(super) fn chain_key(certification: &Certification) -> Key {
    Key::of(&[&certification.kind.to_le_bytes(), &certification.data])
}

/// What a judgement is found by, but for the document: all of the quote that is judged.
pub(super) fn evidence_key(subject: &Subject<'_>, chain: &Key) -> Key {
    let mut parts: Vec<&[u8]> = vec![chain.as_bytes(), subject.certified()];
    parts.extend(&subject.judged);
    Key::of(&parts)
}

/// What a judgement is found by.
pub(super) fn judgement_key(evidence: &Key, document: &Document) -> Key {
    Key::of(&[document.digest().as_bytes(), evidence.as_bytes()])
}

/// While nothing starts or stops being valid: from the last of `instants`, in seconds, to the next.
pub(super) fn undisturbed(instants: &[u64], now: UnixMillis) -> Window {
    let now = now.as_secs();
    let (mut from, mut until) = (0, u64::MAX);
    for instant in instants {
        // What is valid until a second may count that second in, as certificates do, or not, as CRLs do.
        for change in [*instant, instant.saturating_add(1)] {
            if change <= now {
                from = from.max(change);
            } else {
                until = until.min(change.saturating_sub(1));
            }
        }
    }
    Window {
        from: UnixMillis::from_secs(from),
        until: UnixMillis::from_secs(until).plus(999),
    }
}

/// Fast, and only where to look: whoever finds a document so compares all of it.
fn sampled(bytes: &[u8]) -> Key {
    let mut samples = Vec::new();
    for block in bytes.chunks(SAMPLE_STRIDE) {
        samples.extend_from_slice(block.get(..SAMPLE_LEN).unwrap_or(block));
    }
    Key::of(&[&bytes.len().to_le_bytes(), &samples])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_something_changes() {
        let at = |now: u64| {
            let window = undisturbed(&[100, 200, 300], UnixMillis::from_secs(now));
            assert!(window.contains(UnixMillis::from_secs(now)));
            (window.from.0, window.until.0)
        };
        assert_eq!(at(50), (0, 99_999));
        assert_eq!(at(100), (100_000, 100_999));
        assert_eq!(at(101), (101_000, 199_999));
        assert_eq!(at(150), (101_000, 199_999));
        assert_eq!(at(200), (200_000, 200_999));
        assert_eq!(at(301), (301_000, u64::MAX));
        assert_eq!(at(1_000_000), (301_000, u64::MAX));
    }

    #[test]
    fn samples_meet_every_signature() {
        let document = vec![b'a'; 10_000];
        for at in 0..document.len() - 128 {
            let mut other = document.clone();
            other[at..at + 128].fill(b'b');
            assert!(sampled(&other) != sampled(&document), "{at}");
        }
        let mut longer = document.clone();
        longer.push(b'a');
        assert!(sampled(&longer) != sampled(&document));
        assert!(sampled(&[]) != sampled(&[0]));
    }
}
