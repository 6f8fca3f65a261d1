//! What travels with evidence: the documents that the platform handed out, and those of the simulated vendor.

use std::path::{Path, PathBuf};

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, TeeKind};

/// The simulated platform's endorsements cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read endorsements {}", path.display())]
pub struct EndorsementsError {
    /// Their path.
    pub path: PathBuf,
    /// Why not.
    pub source: std::io::Error,
}

/// What the platform handed out; with it, where that is the simulated one, what its vendor publishes beside it in the
/// directory `simulated`.
///
/// # Errors
/// If that cannot be read.
pub(crate) fn with_simulated(
    brought: Vec<(EndorsementKind, Vec<u8>)>,
    tee: TeeKind,
    simulated: Option<&Path>,
) -> Result<Endorsements, EndorsementsError> {
    let mut all: Vec<_> = brought
        .into_iter()
        .map(|(kind, bytes)| Endorsement {
            kind,
            bytes,
            origin: "the attester".to_owned(),
        })
        .collect();
    if let (TeeKind::Simulated, Some(directory)) = (tee, simulated) {
        let path = directory.join("collateral.json");
        let bytes = std::fs::read(&path).map_err(|source| EndorsementsError {
            path: path.clone(),
            source,
        })?;
        all.push(Endorsement {
            kind: EndorsementKind::DcapCollateral,
            bytes,
            origin: path.display().to_string(),
        });
    }
    Ok(Endorsements(all))
}
