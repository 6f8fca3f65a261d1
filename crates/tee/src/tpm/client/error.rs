//! Why a command gave nothing.

use std::error::Error as _;

use nautilus_core::{AttestError, SealError};

use super::code;

/// Why a command gave nothing.
#[derive(Debug)]
pub(in crate::tpm) enum Error {
    /// The way to the TPM, or an answer that is none.
    Link(AttestError),
    /// The TPM answered with a response code.
    Refused {
        /// The TPM.
        interface: String,
        /// The command.
        command: &'static str,
        /// The `TPM_RC`.
        code: u32,
    },
}

impl Error {
    /// The response code, if the TPM refused.
    pub(in crate::tpm) const fn code(&self) -> Option<u32> {
        match self {
            Self::Link(_) => None,
            Self::Refused { code, .. } => Some(*code),
        }
    }

    /// As an error of sealing.
    pub(in crate::tpm) fn while_sealing(self, action: &'static str) -> SealError {
        let error = AttestError::from(self);
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            what.push_str(": ");
            what.push_str(&error.to_string());
            source = error.source();
        }
        SealError::Tee { action, what }
    }
}

impl From<AttestError> for Error {
    fn from(error: AttestError) -> Self {
        Self::Link(error)
    }
}

impl From<Error> for AttestError {
    fn from(error: Error) -> Self {
        match error {
            Error::Link(error) => error,
            Error::Refused {
                interface,
                command,
                code,
            } => Self::Refused {
                interface,
                what: format!("{command}: {}", code::describe(code)),
            },
        }
    }
}
