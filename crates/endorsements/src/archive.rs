//! Evidence put away for later: with the endorsements of its time in the same file.

use nautilus_core::{Endorsements, EvidenceFile, EvidenceFileError, MAX_EVIDENCE_FILE};

/// Why evidence cannot be put away with its endorsements.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file would be refused when it is read again.
    #[error("evidence with these endorsements is no evidence file")]
    Unreadable(#[source] EvidenceFileError),
    /// The file would be too large to be read again.
    #[error("evidence with these endorsements has {size} bytes, more than the {MAX_EVIDENCE_FILE} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
}

/// The evidence file with these endorsements in place of those that it brought along, as text. Reading it back gives
/// the same evidence and the same endorsements.
///
/// # Errors
/// If what comes out could not be read again.
pub fn archive(file: EvidenceFile, endorsements: Endorsements) -> Result<String, ArchiveError> {
    let mut kept = Endorsements::default();
    for endorsement in endorsements.0 {
        let is_there = |other: &nautilus_core::Endorsement| {
            other.kind == endorsement.kind && other.bytes == endorsement.bytes
        };
        if !kept.0.iter().any(is_there) {
            kept.0.push(endorsement);
        }
    }
    let text = EvidenceFile {
        endorsements: kept,
        ..file
    }
    .to_json();
    if text.len() > MAX_EVIDENCE_FILE {
        return Err(ArchiveError::TooLarge { size: text.len() });
    }
    EvidenceFile::from_json(text.as_bytes()).map_err(ArchiveError::Unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use nautilus_core::{Challenge, Digest32, Endorsement, EndorsementKind, Evidence, TeeKind, UnixMillis};

    use super::*;
    use crate::fixture::{COLLATERAL, vector};

    fn file() -> EvidenceFile {
        EvidenceFile {
            evidence: Evidence {
                tee: TeeKind::Tdx,
                bytes: vector("tdx/tdx-v5-td15ex/quote.bin"),
                user_data: Some(vec![1]),
                event_log: None,
            },
            challenge: Challenge::from_digest(Digest32([7; 32])),
            endorsements: Endorsements(vec![endorsement(b"{}".to_vec())]),
            created_at: UnixMillis(1_700_000_000_123),
        }
    }

    fn endorsement(bytes: Vec<u8>) -> Endorsement {
        Endorsement {
            kind: EndorsementKind::DcapCollateral,
            bytes,
            origin: "the store".to_owned(),
        }
    }

    #[test]
    fn what_is_archived_reads_back_with_each_endorsement_once() {
        let with = vec![endorsement(vector(COLLATERAL)), endorsement(vector(COLLATERAL))];
        let text = archive(file(), Endorsements(with)).unwrap();
        let read = EvidenceFile::from_json(text.as_bytes()).unwrap();
        assert_eq!(
            (&read.evidence, read.challenge),
            (&file().evidence, file().challenge)
        );
        let bytes: Vec<_> = read.endorsements.0.into_iter().map(|one| one.bytes).collect();
        assert_eq!(bytes, [vector(COLLATERAL)]);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let large = Endorsements((0..4).map(|first| endorsement(vec![first; 1_000_000])).collect());
        assert!(
            matches!(archive(file(), large), Err(ArchiveError::TooLarge { size }) if size > MAX_EVIDENCE_FILE)
        );
        let many = Endorsements((0..33).map(|first| endorsement(vec![first])).collect());
        assert!(matches!(
            archive(file(), many),
            Err(ArchiveError::Unreadable(EvidenceFileError::TooManyEndorsements {
                count: 33
            }))
        ));
    }
}
