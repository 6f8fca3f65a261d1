//! Objects: *Part 3*, "TPM2_CreatePrimary", "TPM2_Create", "TPM2_Load", "TPM2_Unseal", "TPM2_ReadPublic",
//! "TPM2_ActivateCredential", "TPM2_FlushContext".

use nautilus_core::VerifyError;
use zeroize::Zeroizing;

use super::command::{Authorization, Command, Response};
use super::{Error, Tpm, code};
use crate::tpm::wire::Reader;

/// Largest `TPMT_PUBLIC`, `TPM2B_PRIVATE`, creation data: *Part 2* bounds each by what it is made of, below.
const MAX_STRUCTURE: usize = 2048;
const MAX_DIGEST: usize = 64;
/// `TPMT_HA` of the largest digest.
const MAX_NAME: usize = 66;
/// Largest sealed data (`MAX_SYM_DATA`).
const MAX_SEALED: usize = 128;

/// An object or session in the TPM, which is taken out again when this is dropped.
pub(in crate::tpm) struct Loaded<'a> {
    tpm: &'a Tpm,
    handle: u32,
}

impl Loaded<'_> {
    pub(in crate::tpm) const fn handle(&self) -> u32 {
        self.handle
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        let command = Command::new("TPM2_FlushContext", code::CC_FLUSH_CONTEXT).u32(self.handle);
        // A policy session ends with the command that uses it, and is then not there; what cannot be flushed for
        // another reason goes when the connection to the resource manager ends.
        let _flushed = self.tpm.run(command);
    }
}

/// What `TPM2_Create` gives: an object that only its parent loads.
pub(in crate::tpm) struct Creation {
    /// `TPMT_PUBLIC`.
    pub(in crate::tpm) public: Vec<u8>,
    /// Content of the `TPM2B_PRIVATE`.
    pub(in crate::tpm) private: Vec<u8>,
}

impl Tpm {
    /// The primary key of the template, `TPMT_PUBLIC`, in a hierarchy: always the same as long as the hierarchy has
    /// its seed. Gives its `TPMT_PUBLIC`.
    pub(in crate::tpm) fn create_primary(
        &self,
        hierarchy: u32,
        template: &[u8],
    ) -> Result<(Loaded<'_>, Vec<u8>), Error> {
        const NAME: &str = "TPM2_CreatePrimary";
        let command = Command::new(NAME, code::CC_CREATE_PRIMARY)
            .giving_a_handle()
            .authorized(hierarchy, Authorization::EmptyPassword);
        let response = self.run(with_template(command, &[], template))?;
        let loaded = self.loaded(&response, NAME)?;
        let public = self.read(&response, NAME, |reader| {
            let public = reader.sized(MAX_STRUCTURE, "outPublic")?.to_vec();
            read_creation(reader)?;
            reader.sized(MAX_NAME, "name")?;
            Ok(public)
        })?;
        Ok((loaded, public))
    }

    /// An object below `parent` that holds `data`.
    pub(in crate::tpm) fn create(
        &self,
        parent: &Loaded<'_>,
        template: &[u8],
        data: &[u8],
    ) -> Result<Creation, Error> {
        const NAME: &str = "TPM2_Create";
        let command =
            Command::new(NAME, code::CC_CREATE).authorized(parent.handle(), Authorization::EmptyPassword);
        let response = self.run(with_template(command, data, template))?;
        self.read(&response, NAME, |reader| {
            let private = reader.sized(MAX_STRUCTURE, "outPrivate")?.to_vec();
            let public = reader.sized(MAX_STRUCTURE, "outPublic")?.to_vec();
            read_creation(reader)?;
            Ok(Creation { public, private })
        })
    }

    pub(in crate::tpm) fn load(
        &self,
        parent: &Loaded<'_>,
        public: &[u8],
        private: &[u8],
    ) -> Result<Loaded<'_>, Error> {
        const NAME: &str = "TPM2_Load";
        let command = Command::new(NAME, code::CC_LOAD)
            .giving_a_handle()
            .authorized(parent.handle(), Authorization::EmptyPassword)
            .sized(private)
            .sized(public);
        let response = self.run(command)?;
        let loaded = self.loaded(&response, NAME)?;
        self.read(&response, NAME, |reader| {
            reader.sized(MAX_NAME, "name").map(|_| ())
        })?;
        Ok(loaded)
    }

    pub(in crate::tpm) fn unseal(&self, object: &Loaded<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        const NAME: &str = "TPM2_Unseal";
        let command =
            Command::new(NAME, code::CC_UNSEAL).authorized(object.handle(), Authorization::EmptyPassword);
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            reader
                .sized(MAX_SEALED, "outData")
                .map(|data| Zeroizing::new(data.to_vec()))
        })
    }

    /// The `TPMT_PUBLIC` of a key that is in the TPM; none if none has the handle.
    pub(in crate::tpm) fn read_public(&self, handle: u32) -> Result<Option<Vec<u8>>, Error> {
        const NAME: &str = "TPM2_ReadPublic";
        let command = Command::new(NAME, code::CC_READ_PUBLIC).handle(handle);
        let response = match self.run(command) {
            Err(Error::Refused { code, .. }) if code::is_no_such_handle(code) => return Ok(None),
            response => response?,
        };
        self.read(&response, NAME, |reader| {
            let public = reader.sized(MAX_STRUCTURE, "outPublic")?.to_vec();
            reader.sized(MAX_NAME, "name")?;
            reader.sized(MAX_NAME, "qualifiedName")?;
            Ok(Some(public))
        })
    }

    /// The secret of a credential that is encrypted to the endorsement key `ek` for the attestation key `ak`.
    pub(in crate::tpm) fn activate_credential(
        &self,
        ak: u32,
        ek: &Loaded<'_>,
        ek_by: Authorization,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        const NAME: &str = "TPM2_ActivateCredential";
        let command = Command::new(NAME, code::CC_ACTIVATE_CREDENTIAL)
            .authorized(ak, Authorization::EmptyPassword)
            .authorized(ek.handle(), ek_by)
            .bytes(credential_blob)
            .bytes(encrypted_secret);
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            reader
                .sized(MAX_DIGEST, "certInfo")
                .map(|secret| Zeroizing::new(secret.to_vec()))
        })
    }

    /// The handle of a response, which is flushed when dropped.
    pub(super) fn loaded(&self, response: &Response, name: &'static str) -> Result<Loaded<'_>, Error> {
        let handle = response
            .handle()
            .ok_or_else(|| self.malformed(name, &"no handle"))?;
        Ok(Loaded { tpm: self, handle })
    }
}

/// `TPM2B_SENSITIVE_CREATE` with an empty password, the template, and neither outside information nor PCRs.
fn with_template(command: Command, data: &[u8], template: &[u8]) -> Command {
    let mut sensitive = Zeroizing::new(vec![0, 0]);
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    sensitive.extend_from_slice(&length.to_be_bytes());
    sensitive.extend_from_slice(data);
    command.sized(&sensitive).sized(template).sized(&[]).u32(0)
}

/// `TPM2B_CREATION_DATA`, `TPM2B_DIGEST`, `TPMT_TK_CREATION`: nothing in them is used.
fn read_creation(reader: &mut Reader<'_>) -> Result<(), VerifyError> {
    reader.sized(MAX_STRUCTURE, "creationData")?;
    reader.sized(MAX_DIGEST, "creationHash")?;
    reader.u16("creationTicket tag")?;
    reader.u32("creationTicket hierarchy")?;
    reader.sized(MAX_DIGEST, "creationTicket digest").map(|_| ())
}
