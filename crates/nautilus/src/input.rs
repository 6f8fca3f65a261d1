//! Reading what the user names: bounded, from a file or standard input.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nautilus_core::{AnchorRole, Endorsements, TrustAnchor, TrustAnchors};
use nautilus_tee::endorsement;
use zeroize::Zeroizing;

use crate::failure::{Failure, printable};

/// Most files that are read from one directory.
const MAX_DIRECTORY: usize = 1024;
/// Most bytes of endorsements that are read in all.
const MAX_ENDORSEMENTS: usize = 64 * 1024 * 1024;

/// Reads at most `limit` bytes and one more, so that the caller can tell what is too large. `-` is
/// standard input.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

/// Reads a secret of at most `limit` bytes, which is wiped from the program's memory in the end.
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room enough that nothing is moved, which would leave a copy behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1).saturating_mul(2)));
    read_into(path, limit, &mut secret)?;
    if secret.len() > limit {
        let told = anyhow::anyhow!("{} has more than the {limit} bytes allowed", path.display());
        return Err(Failure::rejected(told));
    }
    Ok(secret)
}

fn read_into(path: &Path, limit: usize, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let limit = u64::try_from(limit)?.saturating_add(1);
    let result = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(bytes)
    } else {
        File::open(path).and_then(|file| {
            if file.metadata()?.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            file.take(limit).read_to_end(bytes)
        })
    };
    result.map_err(|error| Failure::missing(error).context(format!("cannot read {}", path.display())))?;
    Ok(())
}

/// Reads endorsements: files, which must hold some, or directories, of whose files those are taken that do. The user
/// is told of the others.
pub fn read_endorsements(paths: &[PathBuf]) -> Result<Endorsements, Failure> {
    let mut endorsements = Vec::new();
    let mut total = 0_usize;
    for path in paths {
        let named = !path.is_dir();
        for file in files_in(path, may_hold_endorsements)? {
            let bytes = read_bounded(&file, Endorsements::MAX_SIZE)?;
            total = total.saturating_add(bytes.len());
            if total > MAX_ENDORSEMENTS {
                return Err(Failure::usage(anyhow::anyhow!(
                    "endorsements have more than {MAX_ENDORSEMENTS} bytes in total, {} included: name fewer",
                    file.display()
                )));
            }
            match endorsement::read(&bytes, &file.display().to_string()) {
                Ok(read) => endorsements.extend(read),
                Err(error) if named => return Err(Failure::rejected(error)),
                Err(error) => eprintln!("nautilus: not used: {}", printable(&error.to_string())),
            }
        }
    }
    Ok(Endorsements(endorsements))
}

/// Whether a file of a directory is looked into, by its name's ending.
fn may_hold_endorsements(file: &Path) -> bool {
    const ENDINGS: [&str; 6] = ["json", "pem", "crt", "cer", "der", "crl"];
    file.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Reads what the user vouches for: `ROLE=PATH`, or directories with a folder for each role.
pub fn read_trust_anchors(arguments: &[String]) -> Result<TrustAnchors, Failure> {
    let mut anchors = Vec::new();
    for argument in arguments {
        let named = argument
            .split_once('=')
            .and_then(|(role, path)| Some((role.parse::<AnchorRole>().ok()?, PathBuf::from(path))));
        let folders = match named {
            Some(named) => vec![named],
            None => role_folders(Path::new(argument))?,
        };
        for (role, path) in folders {
            for file in files_in(&path, |_| true)? {
                let bytes = read_bounded(&file, TrustAnchors::MAX_SIZE)?;
                let origin = file.display().to_string();
                let anchor = TrustAnchor { role, bytes, origin };
                if anchor.bytes.len() > TrustAnchors::MAX_SIZE {
                    let limit = TrustAnchors::MAX_SIZE;
                    return Err(Failure::usage(
                        anchor.refused(format!("more than the {limit} bytes allowed")),
                    ));
                }
                anchors.push(anchor);
            }
        }
    }
    Ok(TrustAnchors(anchors))
}

fn role_folders(directory: &Path) -> Result<Vec<(AnchorRole, PathBuf)>, Failure> {
    let roles = AnchorRole::ALL.map(AnchorRole::as_str).join(", ");
    if !directory.is_dir() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--trust {}: expected ROLE=PATH, or a directory with folders named by role; roles are {roles}",
            directory.display()
        )));
    }
    let folders: Vec<_> = AnchorRole::ALL
        .into_iter()
        .map(|role| (role, directory.join(role.as_str())))
        .filter(|(_, folder)| folder.is_dir())
        .collect();
    if folders.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--trust {}: the directory has no folder named by a role: {roles}",
            directory.display()
        )));
    }
    Ok(folders)
}

fn files_in(path: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable =
        |error: io::Error| Failure::missing(error).context(format!("cannot read {}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if wanted(&file) {
            files.push(file);
        }
        if files.len() > MAX_DIRECTORY {
            return Err(Failure::usage(anyhow::anyhow!(
                "{} holds more than {MAX_DIRECTORY} files: name the ones to use",
                path.display()
            )));
        }
    }
    files.sort();
    Ok(files)
}
