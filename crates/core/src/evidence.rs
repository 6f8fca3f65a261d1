//! Evidence as it travels: raw bytes of a TEE, and the file that carries all that is needed to check them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Challenge, Endorsement, EndorsementKind, Endorsements, TeeKind, UnixMillis};

/// Largest raw evidence: TDX quotes are below 16 KiB, Nitro documents below 16 KiB, event logs that come
/// along below 64 KiB each.
pub const MAX_EVIDENCE: usize = 256 * 1024;
/// Largest evidence file: evidence and endorsements in base64.
pub const MAX_EVIDENCE_FILE: usize = 4 * 1024 * 1024;

const FORMAT: &str = "nautilus-evidence/1";
const MAX_ENDORSEMENTS: usize = 32;

/// Evidence of one TEE, as its attester made it. Untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The TEE whose format the bytes are said to have.
    pub tee: TeeKind,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Canonical bytes of [`crate::BoundUserData`], where they came along.
    pub user_data: Option<Vec<u8>>,
    /// The firmware's event log (TCG or CCEL), where it came along.
    pub event_log: Option<Vec<u8>>,
}

/// An evidence file: evidence with its challenge, what it binds, and the endorsements of its time, so that
/// it can be appraised again years later. Untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct EvidenceFile {
    /// The evidence.
    pub evidence: Evidence,
    /// The challenge that it answers.
    pub challenge: Challenge,
    /// Endorsements that came along.
    pub endorsements: Endorsements,
    /// When its maker says that it was made. Nothing relies on it.
    pub created_at: UnixMillis,
}

/// Why bytes are no evidence file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceFileError {
    /// Too large to be read.
    #[error("evidence file has {size} bytes, more than the {MAX_EVIDENCE_FILE} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not JSON, or not of the right shape.
    #[error("not an evidence file: {0}")]
    Json(serde_json::Error),
    /// JSON of another format.
    #[error("evidence file has format `{found}`, expected `{FORMAT}`")]
    Format {
        /// What it says.
        found: String,
    },
    /// A field that is no base64.
    #[error("field `{field}` of the evidence file is not base64")]
    Base64 {
        /// Its name.
        field: &'static str,
    },
    /// More than may come along.
    #[error("evidence file has {count} endorsements, more than the {MAX_ENDORSEMENTS} allowed")]
    TooManyEndorsements {
        /// How many.
        count: usize,
    },
}

impl EvidenceFile {
    /// Reads a file's bytes. Nothing in the result has been verified.
    ///
    /// # Errors
    /// Names what is not as it should be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EvidenceFileError> {
        if bytes.len() > MAX_EVIDENCE_FILE {
            return Err(EvidenceFileError::TooLarge { size: bytes.len() });
        }
        let file: Json = serde_json::from_slice(bytes).map_err(EvidenceFileError::Json)?;
        file.try_into()
    }

    /// The file's JSON text.
    pub fn to_json(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "a struct of strings and fixed arrays always encodes"
        )]
        serde_json::to_string_pretty(self).expect("evidence files encode")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: String,
    tee_type: TeeKind,
    created_at: UnixMillis,
    challenge: Challenge,
    user_data: String,
    evidence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_log: Option<String>,
    endorsements: Vec<JsonEndorsement>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEndorsement {
    kind: EndorsementKind,
    data: String,
}

impl From<EvidenceFile> for Json {
    fn from(file: EvidenceFile) -> Self {
        let endorsements = file
            .endorsements
            .0
            .iter()
            .map(|one| JsonEndorsement {
                kind: one.kind,
                data: STANDARD.encode(&one.bytes),
            })
            .collect();
        Self {
            format: FORMAT.to_owned(),
            tee_type: file.evidence.tee,
            created_at: file.created_at,
            challenge: file.challenge,
            user_data: STANDARD.encode(file.evidence.user_data.as_deref().unwrap_or_default()),
            evidence: STANDARD.encode(&file.evidence.bytes),
            event_log: file.evidence.event_log.map(|log| STANDARD.encode(log)),
            endorsements,
        }
    }
}

impl TryFrom<Json> for EvidenceFile {
    type Error = EvidenceFileError;

    fn try_from(file: Json) -> Result<Self, EvidenceFileError> {
        if file.format != FORMAT {
            return Err(EvidenceFileError::Format {
                found: file.format.chars().take(64).collect(),
            });
        }
        if file.endorsements.len() > MAX_ENDORSEMENTS {
            return Err(EvidenceFileError::TooManyEndorsements {
                count: file.endorsements.len(),
            });
        }
        let decode = |text: &str, field| {
            STANDARD
                .decode(text)
                .map_err(|_| EvidenceFileError::Base64 { field })
        };
        let user_data = decode(&file.user_data, "user_data")?;
        let endorsements = file
            .endorsements
            .iter()
            .map(|one| {
                let bytes = decode(&one.data, "endorsements.data")?;
                Ok(Endorsement {
                    kind: one.kind,
                    bytes,
                    origin: "the evidence file".to_owned(),
                })
            })
            .collect::<Result<_, EvidenceFileError>>()?;
        Ok(Self {
            evidence: Evidence {
                tee: file.tee_type,
                bytes: decode(&file.evidence, "evidence")?,
                user_data: Some(user_data),
                event_log: file.event_log.map(|log| decode(&log, "event_log")).transpose()?,
            },
            challenge: file.challenge,
            endorsements: Endorsements(endorsements),
            created_at: file.created_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest32;

    fn file() -> EvidenceFile {
        EvidenceFile {
            evidence: Evidence {
                tee: TeeKind::Sgx,
                bytes: vec![1, 2, 3],
                user_data: Some(vec![4, 5]),
                event_log: Some(vec![6]),
            },
            challenge: Challenge::from_digest(Digest32([7; 32])),
            endorsements: Endorsements(vec![Endorsement {
                kind: EndorsementKind::DcapCollateral,
                bytes: b"{}".to_vec(),
                origin: "the evidence file".to_owned(),
            }]),
            created_at: UnixMillis(1_700_000_000_123),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(
            EvidenceFile::from_json(file().to_json().as_bytes()).unwrap(),
            file()
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = file().to_json();
        for length in 0..text.len() {
            let result = EvidenceFile::from_json(&text.as_bytes()[..length]);
            assert!(
                matches!(result, Err(EvidenceFileError::Json(_))),
                "truncated to {length}: {result:?}"
            );
        }
    }

    #[test]
    fn hostile_files_are_refused_by_name() {
        let text = file().to_json();
        let refused = |text: String| EvidenceFile::from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(
            EvidenceFile::from_json(&vec![0; 16 * 1024 * 1024]),
            Err(EvidenceFileError::TooLarge { size: 16_777_216 })
        ));
        assert!(matches!(
            refused(text.replace("evidence/1", "evidence/2")),
            EvidenceFileError::Format { .. }
        ));
        assert!(matches!(
            refused(text.replace("AQID", "A*ID")),
            EvidenceFileError::Base64 { field: "evidence" }
        ));
        assert!(matches!(
            refused(text.replace("\"challenge\"", "\"chalenge\"")),
            EvidenceFileError::Json(_)
        ));
        assert!(matches!(refused(format!("{text}x")), EvidenceFileError::Json(_)));
        assert!(matches!(refused("[".repeat(100_000)), EvidenceFileError::Json(_)));
        let mut many = file();
        many.endorsements.0 = vec![many.endorsements.0[0].clone(); MAX_ENDORSEMENTS + 1];
        assert!(matches!(
            refused(many.to_json()),
            EvidenceFileError::TooManyEndorsements { count: 33 }
        ));
    }
}
