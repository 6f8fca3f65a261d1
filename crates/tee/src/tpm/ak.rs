//! The attestation key that quotes are by.

use nautilus_core::AttestError;

use super::client::{Error, Loaded, RH_ENDORSEMENT, Tpm};
use super::public::Public;
use super::template::{self, Kind};

/// Where Azure's virtual TPM has its attestation key, and the certificate that Azure issues for it (Microsoft, *Azure
/// guest attestation*, "vTPM").
const PLATFORM_KEY: u32 = 0x8100_0003;
const PLATFORM_CERTIFICATE: u32 = 0x01c1_01d0;
/// Largest certificate that is read, as evidence has room for.
pub(super) const MAX_CERTIFICATE: usize = 8 * 1024;

/// Which key quotes are by: found out once, for it costs some commands.
#[derive(Clone, Debug)]
pub(super) enum AttestationKey {
    /// One that the platform put there, with its certificate.
    OfPlatform {
        /// The certificate in DER.
        certificate: Vec<u8>,
    },
    /// Ours, made anew from its template each time.
    Own(Kind),
}

/// An attestation key that can be used.
pub(super) struct Usable<'a> {
    pub(super) handle: u32,
    pub(super) public: Public,
    _loaded: Option<Loaded<'a>>,
}

impl AttestationKey {
    /// The platform's key if it has one with a certificate, else ours.
    pub(super) fn choose(tpm: &Tpm) -> Result<Self, AttestError> {
        if let Some(certificate) = certificate_at(tpm, PLATFORM_CERTIFICATE)?
            && let Some(public) = tpm.read_public(PLATFORM_KEY)?
            && parsed(tpm, &public).is_ok_and(|public| public.check_attestation_key().is_ok())
        {
            return Ok(Self::OfPlatform { certificate });
        }
        Ok(Self::Own(kind_of(tpm)?))
    }

    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::OfPlatform { certificate } => Some(certificate),
            Self::Own(_) => None,
        }
    }

    /// Makes it ready for use.
    pub(super) fn load<'a>(&self, tpm: &'a Tpm) -> Result<Usable<'a>, AttestError> {
        let (handle, public, loaded) = match self {
            Self::OfPlatform { .. } => {
                let public = tpm
                    .read_public(PLATFORM_KEY)?
                    .ok_or_else(|| AttestError::Missing {
                        interface: format!("key {PLATFORM_KEY:#x} of {}", tpm.interface()),
                        hint: "somebody removed the platform's attestation key: start again".to_owned(),
                    })?;
                (PLATFORM_KEY, public, None)
            }
            Self::Own(kind) => {
                let template = template::attestation_key(*kind);
                let (loaded, public) = tpm.create_primary(RH_ENDORSEMENT, &template)?;
                (loaded.handle(), public, Some(loaded))
            }
        };
        let public = parsed(tpm, &public)?;
        public
            .check_attestation_key()
            .map_err(|error| tpm.malformed("attestation key", &error))?;
        Ok(Usable {
            handle,
            public,
            _loaded: loaded,
        })
    }
}

/// P-256 if the TPM has it.
pub(super) fn kind_of(tpm: &Tpm) -> Result<Kind, Error> {
    Ok(if tpm.has_curve(template::P256)? {
        Kind::Ecc
    } else {
        Kind::Rsa
    })
}

pub(super) fn parsed(tpm: &Tpm, public: &[u8]) -> Result<Public, Error> {
    Public::parse("public area", public).map_err(|error| tpm.malformed("a key", &error))
}

/// The certificate in an index, without what may stand behind it: makers define indices larger than what is in them.
/// None if there is no such index.
pub(super) fn certificate_at(tpm: &Tpm, index: u32) -> Result<Option<Vec<u8>>, Error> {
    let Some(mut content) = tpm.nv_read(index, MAX_CERTIFICATE)? else {
        return Ok(None);
    };
    // A certificate is a SEQUENCE of more than 255 bytes and fewer than 64 KiB: its length stands in two bytes.
    let length = match content.first_chunk::<4>() {
        Some([0x30, 0x82, high, low]) => usize::from(u16::from_be_bytes([*high, *low])).checked_add(4),
        _ => None,
    };
    match length {
        Some(length) if length <= content.len() => {
            content.truncate(length);
            Ok(Some(content))
        }
        _ => Err(tpm.malformed(
            "TPM2_NV_Read",
            &format!("index {index:#x} holds no whole certificate"),
        )),
    }
}
