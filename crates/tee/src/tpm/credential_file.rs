//! A credential as it travels between the relying party and the machine.

use nautilus_core::VerifyError;

use super::wire::Reader;

/// What the file of `tpm2_makecredential` starts with: a magic number, and version 1.
const TPM2_TOOLS_HEADER: [u8; 8] = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
/// Largest `TPM2B_ID_OBJECT`: a digest, its size, and a secret of a digest's length with its size.
const MAX_ID_OBJECT: usize = 2 * (2 + 64);
/// Largest `TPM2B_ENCRYPTED_SECRET`: an RSA ciphertext of 4,096 bits.
const MAX_ENCRYPTED_SECRET: usize = 512;

/// A secret that only one TPM can read, and only if it holds the attestation key: the input of
/// `TPM2_ActivateCredential`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `TPM2B_ID_OBJECT`.
    pub credential_blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
}

impl Credential {
    /// Most bytes of its file.
    pub const MAX_LEN: usize = TPM2_TOOLS_HEADER.len() + 2 + MAX_ID_OBJECT + 2 + MAX_ENCRYPTED_SECRET;

    /// The file that `tpm2_activatecredential -i` reads.
    pub fn to_tpm2_tools(&self) -> Vec<u8> {
        [
            &TPM2_TOOLS_HEADER,
            self.credential_blob.as_slice(),
            &self.encrypted_secret,
        ]
        .concat()
    }

    /// Reads what [`Credential::to_tpm2_tools`] or `tpm2_makecredential` wrote.
    ///
    /// # Errors
    /// `Malformed` names the field and its offset in `bytes`.
    pub fn from_tpm2_tools(bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut reader = Reader::new("credential", bytes);
        if reader.take(TPM2_TOOLS_HEADER.len(), "header")? != TPM2_TOOLS_HEADER {
            return Err(reader.fault_at(0, "it does not start with badcc0de and version 1"));
        }
        let mut part = |most, what| {
            let content = reader.sized(most, what)?;
            let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
            Ok([&length.to_be_bytes(), content].concat())
        };
        let credential = Self {
            credential_blob: part(MAX_ID_OBJECT, "credentialBlob")?,
            encrypted_secret: part(MAX_ENCRYPTED_SECRET, "secret")?,
        };
        reader.finish()?;
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_reads_back_and_no_cut_or_longer_one_does() {
        let credential = Credential {
            credential_blob: [&[0, 68][..], &[1; 68]].concat(),
            encrypted_secret: [&[1, 0][..], &[2; 256]].concat(),
        };
        let file = credential.to_tpm2_tools();
        assert!(file.len() <= Credential::MAX_LEN);
        assert_eq!(Credential::from_tpm2_tools(&file).unwrap(), credential);
        for length in 0..file.len() {
            let error = Credential::from_tpm2_tools(&file[..length]).unwrap_err();
            assert!(
                matches!(error, VerifyError::Malformed { .. }),
                "{length}: {error}"
            );
        }
        let error = Credential::from_tpm2_tools(&[file.as_slice(), b"\n"].concat()).unwrap_err();
        assert!(error.to_string().contains("belong to nothing"), "{error}");
        let error = Credential::from_tpm2_tools(&[0; 340]).unwrap_err();
        assert!(error.to_string().contains("badcc0de"), "{error}");
    }
}
