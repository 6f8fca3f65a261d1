//! The TEE that a process runs in: what it attests and seals with.

use std::path::PathBuf;
use std::time::Duration;

use nautilus_core::{AttestError, Attester, Sealer, TeeKind};

use crate::deadline::WithDeadline;
use crate::{keystone, nitro, sev_snp, sgx, simulated, tdx, tpm, trustzone};

/// A device that has not answered by then never will: quotes of real hardware take seconds at worst.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// What the TEE offers to the code that runs in it.
pub struct Platform {
    /// Makes evidence.
    pub attester: Box<dyn Attester>,
    /// Keeps secrets; none where the TEE has nothing to keep them with, and they last only as long as the process.
    pub sealer: Option<Box<dyn Sealer>>,
}

/// What a platform needs to know beside its kind. Each TEE takes what is its own.
#[derive(Clone, Debug, Default)]
pub struct PlatformOptions {
    /// SHA-256 of the program, which the simulated TEE reports as its measurement.
    pub program: [u8; 32],
    /// Where the simulated platform's keys are.
    pub simulated: Option<PathBuf>,
    /// Which of several ways to get a quote to use (specification §1.A `quote_provider`); none for the first that is
    /// there. A TEE that does not know the name refuses it.
    pub quote_provider: Option<String>,
}

/// What shows that the TEE of this kind is there: one of these paths exists. None for the simulated one, which is where
/// its keys are.
pub const fn devices(tee: TeeKind) -> &'static [&'static str] {
    match tee {
        TeeKind::Sgx => &["/dev/attestation/quote", "/dev/sgx_enclave", "/dev/isgx"],
        TeeKind::Tdx => &["/dev/tdx_guest"],
        TeeKind::Sev => &["/dev/sev-guest"],
        TeeKind::TrustZone => &["/dev/tee0"],
        TeeKind::Keystone => &["/dev/keystone_enclave"],
        TeeKind::Tpm => &["/dev/tpmrm0", "/dev/tpm0"],
        TeeKind::Nitro => &["/dev/nsm"],
        TeeKind::Simulated => &[],
    }
}

impl Platform {
    /// Opens the TEE of this kind. The list: one line for every TEE.
    ///
    /// # Errors
    /// If it is not there, or an option is not for it.
    pub fn open(tee: TeeKind, options: &PlatformOptions) -> Result<Self, AttestError> {
        let platform = match tee {
            TeeKind::Sgx => sgx::platform(options),
            TeeKind::Tdx => tdx::platform(options),
            TeeKind::Sev => sev_snp::platform(options),
            TeeKind::TrustZone => trustzone::platform(options),
            TeeKind::Keystone => keystone::platform(options),
            TeeKind::Tpm => tpm::platform(options),
            TeeKind::Nitro => nitro::platform(options),
            TeeKind::Simulated => simulated::platform(options),
        }?;
        Ok(Self {
            attester: Box::new(WithDeadline::new(platform.attester, ANSWER_DEADLINE)),
            ..platform
        })
    }
}
