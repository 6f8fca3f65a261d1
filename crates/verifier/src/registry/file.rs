//! The registry's file: JSON, for its owner to read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nautilus_core::NodeId;
use serde::{Deserialize, Serialize};

use super::{Entry, MAX_ADMITTED, MAX_NODES, MAX_RETIRED, RegistryError};
use crate::private_file;

/// The first field of every registry of this version.
const FORMAT: &str = "nautilus-registry/1";
/// Most bytes of the file.
pub(super) const MAX_FILE: u64 = 32 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: String,
    nodes: BTreeMap<NodeId, Entry>,
}

#[derive(Serialize)]
struct ContentOf<'a> {
    format: &'static str,
    nodes: &'a BTreeMap<NodeId, Entry>,
}

/// What the file holds; nothing, where there is none.
pub(super) fn read(path: &Path) -> Result<BTreeMap<NodeId, Entry>, RegistryError> {
    let io_error = |source| RegistryError::Io {
        path: path.to_owned(),
        source,
    };
    let invalid = |what: String| RegistryError::Invalid {
        path: path.to_owned(),
        what,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io_error(error)),
    };
    if private_file::is_exposed(path).map_err(io_error)? {
        return Err(RegistryError::Exposed {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large(path));
    }
    let content: Content = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if content.format != FORMAT {
        return Err(invalid(format!("its format is not `{FORMAT}`")));
    }
    if content.nodes.len() > MAX_NODES {
        return Err(invalid(format!("it has more than {MAX_NODES} nodes")));
    }
    for (node, entry) in &content.nodes {
        for (keys, limit, what) in [
            (&entry.admitted, MAX_ADMITTED, "admitted"),
            (&entry.retired, MAX_RETIRED, "retired"),
        ] {
            if keys.len() > limit {
                return Err(invalid(format!("node {node} has more than {limit} {what} keys")));
            }
        }
    }
    Ok(content.nodes)
}

/// Writes all of it, or nothing.
pub(super) fn write(path: &Path, nodes: &BTreeMap<NodeId, Entry>) -> Result<(), RegistryError> {
    let io_error = |source| RegistryError::Io {
        path: path.to_owned(),
        source,
    };
    let content = ContentOf {
        format: FORMAT,
        nodes,
    };
    let mut bytes = serde_json::to_vec_pretty(&content).map_err(|error| io_error(error.into()))?;
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large(path));
    }
    if let Some(directory) = path.parent() {
        private_file::create_directory(directory).map_err(io_error)?;
    }
    private_file::write(path, &bytes).map_err(io_error)
}

fn too_large(path: &Path) -> RegistryError {
    RegistryError::Full {
        path: path.to_owned(),
        limit: MAX_FILE,
        what: "bytes",
    }
}
