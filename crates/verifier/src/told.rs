//! An error as one line of text.

use std::error::Error;

/// The error and all its causes, joined by colons: for events, which have no chain of their own.
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::KeyError;

    #[test]
    fn every_cause_is_told() {
        let error = KeyError::Io {
            path: "key".into(),
            source: io::Error::other("disk is gone"),
        };
        assert_eq!(
            told(&error),
            "cannot read or write verifier key key: disk is gone"
        );
    }
}
