//! The machine's side of an enrolment: what it shows of its keys, and how its TPM answers a credential. The relying
//! party's is [`super::Enrolment`].

use nautilus_core::AttestError;
use zeroize::Zeroizing;

use super::ak::{AttestationKey, certificate_at, parsed};
use super::client::{Authorization, RH_ENDORSEMENT, Tpm};
use super::credential_file::Credential;
use super::template::EkKind;

/// What a machine asks to be enrolled by. All of it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRequest {
    /// Which endorsement key.
    pub ek_kind: EkKind,
    /// Its certificate by the TPM's maker in DER, if the TPM has it: some makers publish it instead.
    pub ek_certificate: Option<Vec<u8>>,
    /// Its `TPM2B_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// `TPM2B_PUBLIC` of the attestation key that quotes are by.
    pub ak_public: Vec<u8>,
    /// The attestation key's name.
    pub ak_name: Vec<u8>,
}

impl EnrolmentRequest {
    /// Reads and makes the keys. Without `kind` it is the first endorsement key of [`EkKind::ALL`] whose certificate
    /// the TPM has.
    ///
    /// # Errors
    /// `Missing` if it has none; else what the TPM says.
    pub fn of(tpm: &Tpm, kind: Option<EkKind>) -> Result<Self, AttestError> {
        let _turn = tpm.turn();
        let (ek_kind, ek_certificate) = match kind {
            Some(kind) => (kind, certificate_at(tpm, kind.certificate_index())?),
            None => first_certified(tpm)?,
        };
        let (ek, ek_public) = tpm.create_primary(RH_ENDORSEMENT, &ek_kind.template())?;
        drop(ek);
        let ak = AttestationKey::choose(tpm)?.load(tpm)?.public;
        Ok(Self {
            ek_kind,
            ek_certificate,
            ek_public: parsed(tpm, &ek_public)?.to_tpm2b(),
            ak_public: ak.to_tpm2b(),
            ak_name: ak.name(),
        })
    }
}

/// Has the TPM open a credential (`TPM2_ActivateCredential`): it gives the secret if both keys that the credential is
/// for are in it. Which endorsement key it is for shows in its length.
///
/// # Errors
/// `Refused` if the credential is for other keys; else what the TPM says.
pub fn answer_credential(tpm: &Tpm, credential: &Credential) -> Result<Zeroizing<Vec<u8>>, AttestError> {
    // A ciphertext of 2,048 bits, or a point with two coordinates and their sizes; and the size of the whole.
    let kind = match credential.encrypted_secret.len() {
        258 => EkKind::Rsa2048,
        70 => EkKind::P256,
        102 => EkKind::P384,
        length => {
            return Err(AttestError::Unsupported {
                what: format!(
                    "a credential whose encrypted secret has {length} bytes: it is for no RSA-2048, P-256 or P-384 \
                     endorsement key"
                ),
            });
        }
    };
    let _turn = tpm.turn();
    let (ek, _) = tpm.create_primary(RH_ENDORSEMENT, &kind.template())?;
    let ak = AttestationKey::choose(tpm)?.load(tpm)?;
    let session = kind.by_policy().then(|| tpm.endorsement_session()).transpose()?;
    let by = session.as_ref().map_or(Authorization::EmptyPassword, |session| {
        Authorization::Policy(session.handle())
    });
    let secret = tpm.activate_credential(
        ak.handle,
        &ek,
        by,
        &credential.credential_blob,
        &credential.encrypted_secret,
    )?;
    Ok(secret)
}

fn first_certified(tpm: &Tpm) -> Result<(EkKind, Option<Vec<u8>>), AttestError> {
    for kind in EkKind::ALL {
        if let Some(certificate) = certificate_at(tpm, kind.certificate_index())? {
            return Ok((kind, Some(certificate)));
        }
    }
    Err(AttestError::Missing {
        interface: format!("an endorsement key certificate in {}", tpm.interface()),
        hint: "some makers publish it instead: name the key (p256, rsa2048 or p384), and get the certificate of it \
               from the maker"
            .to_owned(),
    })
}
