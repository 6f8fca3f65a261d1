//! The kernel's TPM: a command is one write, its response one read (Linux, *TPM Resource Manager*,
//! `drivers/char/tpm/tpm-dev-common.c`). The driver has its own limit on how long a command takes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use nautilus_core::AttestError;

use super::command::HEADER;
use super::{MAX_RESPONSE, Transport};

/// A TPM behind `/dev/tpmrm0`, or another node.
pub(super) struct Device {
    path: String,
    file: Option<File>,
}

impl Device {
    pub(super) fn open(path: &str) -> Result<Self, AttestError> {
        let mut device = Self {
            path: path.to_owned(),
            file: None,
        };
        device.file = Some(device.opened()?);
        Ok(device)
    }

    fn opened(&self) -> Result<File, AttestError> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.path);
        opened.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AttestError::Missing {
                interface: self.path.clone(),
                hint:
                    "switch the TPM 2.0 on in the firmware's setup and load its driver (modprobe tpm_crb or \
                       tpm_tis), or name another by quote_provider; `nautilus detect` says what there is"
                        .to_owned(),
            },
            io::ErrorKind::PermissionDenied => AttestError::Missing {
                interface: format!("permission to use {}", self.path),
                hint: "run as a user of the group tss, or as root".to_owned(),
            },
            io::ErrorKind::ResourceBusy => AttestError::Refused {
                interface: self.path.clone(),
                what: "another program holds it: use /dev/tpmrm0, which programs share".to_owned(),
            },
            _ => self.failed("open", source),
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AttestError {
        AttestError::Io {
            action,
            interface: self.path.clone(),
            source,
        }
    }
}

impl Transport for Device {
    fn interface(&self) -> &str {
        &self.path
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.opened()?,
        };
        let sent = file
            .write(command)
            .map_err(|source| self.failed("send a command to", source))?;
        if sent != command.len() {
            return Err(AttestError::Malformed {
                interface: self.path.clone(),
                what: format!("it took {sent} of {} bytes of a command", command.len()),
            });
        }
        let mut response = vec![0; MAX_RESPONSE];
        let length = file
            .read(&mut response)
            .map_err(|source| self.failed("read the answer of", source))?;
        if length < HEADER {
            return Err(AttestError::Malformed {
                interface: self.path.clone(),
                what: format!("its answer has {length} bytes, {HEADER} at least"),
            });
        }
        response.truncate(length);
        // Only a node that did its part is used again: a new one starts from nothing.
        self.file = Some(file);
        Ok(response)
    }
}
