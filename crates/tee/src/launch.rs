//! What is known of an image before it is launched: the measurements that genuine hardware will report of it.
//!
//! Each TEE has its rules in its own folder: [`crate::sgx::launch`], [`crate::sev_snp::launch`],
//! [`crate::tdx::launch`], [`crate::trustzone::optee::launch`], [`crate::keystone::launch`]. Here is what they share,
//! and [`expected`] for images that say by themselves what they are.
//!
//! Pure: bytes in, values out. Images are untrusted. A value says which image would give it, not that the image is any
//! good; and where an image is signed, a signature that verifies says that its maker's key made it.

use std::collections::BTreeMap;

use nautilus_core::{Measurement, TeeKind, VerifyError};
use serde::Serialize;

use crate::{sgx, trustzone};

pub(crate) mod bytes;
pub(crate) mod elf;
pub(crate) mod ovmf;

/// Largest file of an image that is read, in bytes: an enclave in SGXS, an initial RAM disk.
pub const MAX_IMAGE: usize = 1024 * 1024 * 1024;

/// What a TEE will say of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expected {
    /// The TEE.
    pub tee: TeeKind,
    /// What the image is, for people.
    pub image: &'static str,
    /// Measurements, by the names of [`nautilus_core::Claims::measurements`].
    pub measurements: BTreeMap<String, Measurement>,
    /// Attributes, by the names of [`nautilus_core::Claims::attributes`].
    pub attributes: BTreeMap<String, String>,
    /// What else the image says of itself, which no evidence repeats.
    pub facts: BTreeMap<&'static str, String>,
}

impl Expected {
    /// An answer with nothing in it.
    pub const fn new(tee: TeeKind, image: &'static str) -> Self {
        Self {
            tee,
            image,
            measurements: BTreeMap::new(),
            attributes: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// The same with a measurement.
    #[must_use]
    pub fn measured(mut self, name: &str, value: &[u8]) -> Self {
        self.measurements
            .insert(name.to_owned(), Measurement(value.to_vec()));
        self
    }
}

/// Why there is no measurement of an image, by what is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Larger than such an image can be.
    #[error("{image} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// What was read.
        image: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// The bytes break the format.
    #[error("malformed {image}: {what} at byte {offset}")]
    Malformed {
        /// What was read.
        image: &'static str,
        /// What is wrong.
        what: String,
        /// Where, from the start of the file.
        offset: usize,
    },
    /// The format is known, and this one cannot be measured.
    #[error("{image} cannot be measured: {what}")]
    Unsupported {
        /// What was read.
        image: &'static str,
        /// Why, and what to do where there is something.
        what: String,
    },
    /// The image is not what its signer signed.
    #[error("{image} is not what was signed: {what}")]
    DigestMismatch {
        /// What was read.
        image: &'static str,
        /// Which digest, and both its values.
        what: String,
    },
    /// The signature is not the key's.
    #[error("invalid signature: {what}")]
    SignatureInvalid {
        /// Over what, by which key.
        what: String,
    },
    /// The key is none, or too weak.
    #[error("unusable key: {what}")]
    Key {
        /// What is wrong with it, and what would serve.
        what: String,
    },
    /// What was asked for does not go together.
    #[error("{what}")]
    Configuration {
        /// What, and what would.
        what: String,
    },
    /// An event log that cannot be replayed.
    #[error("no registers from the event log")]
    EventLog(#[source] VerifyError),
    /// The file is of no kind that says by itself what it is.
    #[error(
        "the file is no SGX enclave (SIGSTRUCT or SGXS) and no OP-TEE trusted application: other images need their \
         launch parameters, say which TEE it is for"
    )]
    NotRecognised,
}

/// A kind of image that is recognised by its content, and needs no launch parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// The signature structure of an SGX enclave: Gramine's `.sig` file.
    Sigstruct,
    /// An SGX enclave as a stream of measured instructions.
    Sgxs,
    /// A signed OP-TEE trusted application.
    OpteeTa,
}

impl ImageKind {
    /// What starts like one of these.
    pub fn of(image: &[u8]) -> Option<Self> {
        if sgx::launch::Sigstruct::recognises(image) {
            Some(Self::Sigstruct)
        } else if sgx::launch::recognises_sgxs(image) {
            Some(Self::Sgxs)
        } else if trustzone::optee::launch::recognises(image) {
            Some(Self::OpteeTa)
        } else {
            None
        }
    }

    /// The TEE that launches it.
    pub const fn tee(self) -> TeeKind {
        match self {
            Self::Sigstruct | Self::Sgxs => TeeKind::Sgx,
            Self::OpteeTa => TeeKind::TrustZone,
        }
    }
}

/// What `tee` will say of an image that is recognised by its content. A SIGSTRUCT's own signature is verified. A
/// trusted application is held against its signed digest, but whose signature that is takes a key: see
/// [`trustzone::optee::launch::TrustedApplication::verify`].
///
/// # Errors
/// [`LaunchError::NotRecognised`]; [`LaunchError::Configuration`] if the image is for another TEE; what is wrong with
/// the image.
pub fn expected(tee: TeeKind, image: &[u8]) -> Result<Expected, LaunchError> {
    let kind = ImageKind::of(image).ok_or(LaunchError::NotRecognised)?;
    // The simulated TEE's evidence has SGX's format.
    let fits = kind.tee() == tee || (tee == TeeKind::Simulated && kind.tee() == TeeKind::Sgx);
    if !fits {
        return Err(LaunchError::Configuration {
            what: format!("the image is for {}, not for {tee}", kind.tee()),
        });
    }
    let mut expected = match kind {
        ImageKind::Sigstruct => {
            let sigstruct = sgx::launch::Sigstruct::parse(image)?;
            sigstruct.verify()?;
            sigstruct.expected()
        }
        ImageKind::Sgxs => {
            Expected::new(TeeKind::Sgx, "SGXS enclave").measured("mrenclave", &sgx::launch::sgxs(image)?)
        }
        ImageKind::OpteeTa => {
            let application = trustzone::optee::launch::TrustedApplication::parse(image)?;
            application.check_digest()?;
            application.expected()
        }
    };
    expected.tee = tee;
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(path: &str) -> Vec<u8> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
        std::fs::read(root.join(path)).unwrap()
    }

    #[test]
    fn an_image_is_known_by_its_content() {
        let signed = expected(
            TeeKind::Sgx,
            &vector("sgx/launch/fortanix-sgxs-tools/test_enclave.sig"),
        )
        .unwrap();
        let built = expected(
            TeeKind::Sgx,
            &vector("sgx/launch/fortanix-sgxs-tools/test_enclave.sgxs"),
        )
        .unwrap();
        assert_eq!(signed.measurements["mrenclave"], built.measurements["mrenclave"]);
        assert_eq!(signed.attributes["isvprodid"], "65535");
        assert!(!built.measurements.contains_key("mrsigner"));
        let application =
            expected(TeeKind::TrustZone, &vector("optee/launch/made/bootstrap-pss.ta")).unwrap();
        assert!(application.measurements.contains_key("optee_ta_header"));
    }

    #[test]
    fn an_image_of_another_tee_is_refused() {
        let image = vector("sgx/launch/fortanix-sgxs-tools/test_enclave.sig");
        let error = expected(TeeKind::TrustZone, &image).unwrap_err();
        let what = "the image is for sgx, not for trustzone".to_owned();
        assert_eq!(error, LaunchError::Configuration { what });
        assert_eq!(
            expected(TeeKind::Sgx, b"\x7fELF").unwrap_err(),
            LaunchError::NotRecognised
        );
        assert_eq!(
            expected(TeeKind::Sgx, b"").unwrap_err(),
            LaunchError::NotRecognised
        );
    }
}
