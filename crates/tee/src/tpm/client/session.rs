//! Policy sessions, as the use of an endorsement key needs one: *Part 3*, "TPM2_StartAuthSession",
//! "TPM2_PolicySecret"; TCG, *EK Credential Profile*, "EK Policy".

use ring::rand::{SecureRandom as _, SystemRandom};

use nautilus_core::AttestError;

use super::command::{Authorization, Command};
use super::keys::Loaded;
use super::{Error, Tpm, code};
use crate::tpm::wire::{ALG_NULL, HashAlgorithm};

pub(in crate::tpm) const RH_OWNER: u32 = 0x4000_0001;
pub(in crate::tpm) const RH_NULL: u32 = 0x4000_0007;
pub(in crate::tpm) const RH_ENDORSEMENT: u32 = 0x4000_000b;
/// `TPM_SE_POLICY`.
const SE_POLICY: u8 = 1;
/// Largest timeout of a policy, and largest digest.
const MAX_TIMEOUT: usize = 8;
const MAX_DIGEST: usize = 64;

impl Tpm {
    /// A session that has met the policy of endorsement keys: the endorsement hierarchy's password, which is empty.
    /// It is flushed when dropped, should no command have ended it.
    pub(in crate::tpm) fn endorsement_session(&self) -> Result<Loaded<'_>, Error> {
        const NAME: &str = "TPM2_PolicySecret";
        let session = self.policy_session()?;
        let command = Command::new(NAME, code::CC_POLICY_SECRET)
            .authorized(RH_ENDORSEMENT, Authorization::EmptyPassword)
            .handle(session.handle())
            // No nonce, no hash of parameters, no reference, no expiry.
            .sized(&[])
            .sized(&[])
            .sized(&[])
            .u32(0);
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            reader.sized(MAX_TIMEOUT, "timeout")?;
            reader.u16("policyTicket tag")?;
            reader.u32("policyTicket hierarchy")?;
            reader.sized(MAX_DIGEST, "policyTicket digest").map(|_| ())
        })?;
        Ok(session)
    }

    fn policy_session(&self) -> Result<Loaded<'_>, Error> {
        const NAME: &str = "TPM2_StartAuthSession";
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| {
            Error::Link(AttestError::Vendor {
                what: "the system gives no randomness".to_owned(),
            })
        })?;
        let command = Command::new(NAME, code::CC_START_AUTH_SESSION)
            .giving_a_handle()
            .handle(RH_NULL)
            .handle(RH_NULL)
            .sized(&nonce)
            .sized(&[])
            .u8(SE_POLICY)
            .u16(ALG_NULL)
            .u16(HashAlgorithm::Sha256.id().0);
        let response = self.run(command)?;
        let session = self.loaded(&response, NAME)?;
        self.read(&response, NAME, |reader| {
            reader.sized(MAX_DIGEST, "nonceTPM").map(|_| ())
        })?;
        Ok(session)
    }
}
