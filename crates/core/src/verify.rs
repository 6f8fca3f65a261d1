//! The facade over all TEEs' verifiers: it owns every check that a backend could forget.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::challenge::{BoundUserData, ChallengeTerms};
use crate::{
    Assurance, Challenge, Claims, DeviceIdentity, Endorsements, Evidence, EvidenceId, LoggedEvent,
    MAX_EVIDENCE, Measurement, Revocation, SessionBinding, Shortfall, Tcb, TeeKind, UnixMillis, UnsignedFact,
    Verified, Want,
};

/// How [`Claims::binding`] starts where the report data was not held against anything of the caller's.
pub(crate) const UNCHECKED: &str = "unchecked: ";

/// What a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The TEE whose evidence it verifies.
    pub tee: TeeKind,
    /// Name of the evidence format, for people.
    pub format: &'static str,
}

/// Verifies the evidence of one TEE. Pure: the same arguments always give the same answer.
pub trait TeeVerifier: Send + Sync {
    /// What this backend is.
    fn descriptor(&self) -> Descriptor;

    /// Whether raw bytes look like this TEE's evidence. Cheap, and no statement about their truth.
    fn recognises(&self, evidence: &[u8]) -> bool;

    /// The endorsements that this evidence needs.
    ///
    /// # Errors
    /// If the evidence cannot be parsed so far as to tell.
    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError>;

    /// Checks that genuine hardware of this kind signed the evidence, and says what it signed. Size and
    /// binding are the facade's to check.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError>;

    /// Replays the firmware's event log that came along with verified evidence: its events, if they give the
    /// registers that were signed.
    ///
    /// # Errors
    /// If the log cannot be read or gives other values, or evidence of this kind has none.
    fn replay(&self, claims: &RawClaims, event_log: &[u8]) -> Result<Vec<LoggedEvent>, VerifyError> {
        let (_, _) = (claims, event_log);
        let format = self.descriptor().format;
        Err(VerifyError::Unsupported {
            what: format!(
                "an event log beside evidence of format `{format}`, which signs no register of one"
            ),
        })
    }
}

/// What a backend read from evidence that it verified.
#[derive(Clone, Debug, PartialEq)]
pub struct RawClaims {
    /// What the caller had signed; see [`Claims::report_data`].
    pub report_data: Vec<u8>,
    /// See [`Claims::device`].
    pub device: DeviceIdentity,
    /// See [`Claims::debug`].
    pub debug: bool,
    /// See [`Claims::tcb`].
    pub tcb: Tcb,
    /// See [`Claims::measurements`].
    pub measurements: BTreeMap<String, Measurement>,
    /// See [`Claims::attributes`].
    pub attributes: BTreeMap<String, String>,
    /// See [`Claims::unsigned`].
    pub unsigned: Vec<UnsignedFact>,
    /// See [`Claims::revocation`].
    pub revocation: Revocation,
    /// See [`Claims::made_at`].
    pub made_at: Option<UnixMillis>,
    /// See [`Claims::endorsed_until`].
    pub endorsed_until: Option<UnixMillis>,
}

/// What the report data is held against.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// A challenge that the caller issued: it must be current and answered, with the user data bound.
    Issued(&'a ChallengeTerms),
    /// A challenge that the caller issued for a session of the attested channel: as `Issued`, and the user data binds
    /// that very session, as its peer has to state it. All the others refuse evidence that opens a session.
    Session {
        /// The challenge.
        terms: &'a ChallengeTerms,
        /// The session.
        session: &'a SessionBinding,
    },
    /// A challenge whose terms the caller keeps elsewhere: it must be answered, with the user data bound.
    Challenge(Challenge),
    /// A challenge that came with the evidence: it must be answered, with the user data bound, but nobody here
    /// asked for it, so that it says nothing about freshness.
    Claimed(Challenge),
    /// The exact bytes, or where they are 64 and the TEE signs only 32, their SHA-256.
    ReportData(&'a [u8]),
    /// Nothing. The reason shows in the claims.
    Unchecked {
        /// Why that is right here.
        because: &'static str,
    },
}

/// Why evidence was not verified, by who is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerifyError {
    /// Nothing to verify.
    #[error("evidence is empty")]
    Empty,
    /// Larger than evidence can be.
    #[error("evidence is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// No verifier knows the bytes.
    #[error("evidence has the format of no TEE that this verifier knows")]
    NotRecognised,
    /// The set has no verifier for this TEE.
    #[error("evidence of TEE `{tee}` is not accepted here{}", simulated_hint(*tee))]
    NotAccepted {
        /// The TEE in question.
        tee: TeeKind,
    },
    /// The bytes break the format.
    #[error("malformed evidence: {what} at byte {offset}")]
    Malformed {
        /// What is wrong.
        what: String,
        /// Where, from the start of the evidence.
        offset: usize,
    },
    /// Bytes that belong to nothing.
    #[error("{length} bytes that belong to nothing follow the evidence at byte {offset}")]
    TrailingBytes {
        /// Where they start.
        offset: usize,
        /// How many there are.
        length: usize,
    },
    /// A known format that is not supported.
    #[error("unsupported evidence: {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// Endorsements are needed that did not come along.
    #[error("endorsements are missing: {}", list(wants))]
    EndorsementsMissing {
        /// Which.
        wants: Vec<Want>,
    },
    /// An endorsement that its vendor would not have made, or that is not for this evidence.
    #[error("endorsement from {origin} does not serve: {what}")]
    EndorsementInvalid {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// An endorsement outside of its time.
    #[error("endorsement from {origin} is not current: {what}")]
    EndorsementNotCurrent {
        /// Where it came from.
        origin: String,
        /// Which part, and when it was.
        what: String,
    },
    /// A certificate chain that does not end in the vendor's root, or is revoked or expired.
    #[error("certificate chain is not trusted: {what}")]
    Untrusted {
        /// Which, and why.
        what: String,
    },
    /// A key that the relying party does not vouch for, where no vendor does.
    #[error("key is not enrolled: {what}")]
    KeyNotEnrolled {
        /// Which, and what to do.
        what: String,
    },
    /// A key that anybody could have, or could find out.
    #[error("key is too weak: {what}")]
    WeakKey {
        /// Which, and why.
        what: String,
    },
    /// A signature over other registers than it should be.
    #[error("quote selects {found}, not {expected}")]
    SelectionMismatch {
        /// The registers that should be signed.
        expected: String,
        /// Those that are.
        found: String,
    },
    /// An event log that does not give the signed register.
    #[error("event log gives {register} the value {replayed}, the signed one is {signed}")]
    EventLogMismatch {
        /// The register.
        register: String,
        /// What the replay gives.
        replayed: String,
        /// What the TEE signed.
        signed: String,
    },
    /// A signature that does not verify.
    #[error("signature is invalid: {what}")]
    SignatureInvalid {
        /// Over what.
        what: String,
    },
    /// The quoting enclave, module or firmware is not the vendor's.
    #[error("vendor component is not genuine: {what}")]
    ComponentInvalid {
        /// Which, and why.
        what: String,
    },
    /// The platform meets no TCB level at all.
    #[error("platform meets no TCB level: {}", shortfall_list(shortfalls))]
    NoTcbLevel {
        /// What is missing to the lowest level.
        shortfalls: Vec<Shortfall>,
    },
    /// The platform's keys are revoked.
    #[error("platform's TCB level is revoked")]
    TcbRevoked,
    /// An attribute with which nothing the TEE says holds.
    #[error("attribute is not acceptable: {what}")]
    AttributeInvalid {
        /// Which, and why.
        what: String,
    },
    /// The evidence answers another challenge: it is a replay, or it is somebody else's.
    #[error("evidence answers challenge {found}, not {expected}")]
    ChallengeMismatch {
        /// The challenge it should answer.
        expected: String,
        /// What it carries.
        found: String,
    },
    /// The challenge is too old.
    #[error("challenge expired at {expired_at}")]
    ChallengeExpired {
        /// When.
        expired_at: UnixMillis,
    },
    /// The user data that came along is not what the evidence binds.
    #[error("user data does not have the digest that the evidence binds")]
    UserDataMismatch,
    /// The user data is bound, but is not in its canonical form or not for this challenge.
    #[error("user data is not acceptable: {what}")]
    UserDataInvalid {
        /// Why.
        what: String,
    },
    /// The evidence was made for another session of the attested channel, or for none.
    #[error("evidence is not of this session: {}", session_difference(field))]
    SessionMismatch {
        /// The first field of the session's binding that differs; `session` where the evidence binds none.
        field: String,
    },
    /// The evidence opens a session of the attested channel, and was handed in for something else.
    #[error("evidence was made to open a session of the attested channel, and serves for nothing else")]
    SessionUnexpected,
    /// The report data is not the expected.
    #[error("report data is {found}, not {expected}")]
    ReportDataMismatch {
        /// The bytes asked for, in hex.
        expected: String,
        /// The bytes signed, in hex.
        found: String,
    },
}

impl VerifyError {
    /// Whether something outside is missing, rather than the evidence being bad.
    pub const fn is_missing_input(&self) -> bool {
        matches!(self, Self::EndorsementsMissing { .. })
    }
}

fn session_difference(field: &str) -> String {
    match field {
        "session" => "it binds no session".to_owned(),
        "exporter" | "own_key" | "peer_key" => {
            format!("`{field}` is another's: it was relayed from another connection")
        }
        field => format!("`{field}` is another's"),
    }
}

fn simulated_hint(tee: TeeKind) -> &'static str {
    match tee {
        TeeKind::Simulated => ": it proves nothing about hardware",
        _ => "",
    }
}

fn list(wants: &[Want]) -> String {
    wants
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn shortfall_list(shortfalls: &[Shortfall]) -> String {
    let line = |s: &Shortfall| format!("{} is {}, lowest level needs {}", s.component, s.have, s.needs);
    shortfalls.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// A set of verifiers that decides what counts as evidence.
pub struct VerifierSet {
    verifiers: Vec<Box<dyn TeeVerifier>>,
    /// The kinds whose verifier stands in for the vendor's, under another root.
    stand_ins: Vec<TeeKind>,
}

/// A verifier that does not belong into a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierSetError {
    /// A production set was given a simulated TEE's verifier.
    #[error("a production verifier set takes no simulated TEE")]
    SimulatedInProduction,
    /// Something else was passed off as the simulated one.
    #[error("`{0}` is not the simulated TEE's verifier")]
    NotSimulated(TeeKind),
    /// A stand-in for a vendor that the set does not know.
    #[error("no other vendor can stand in for `{0}`")]
    NothingToStandInFor(TeeKind),
}

impl VerifierSet {
    /// Verifiers of real hardware only.
    ///
    /// # Errors
    /// If one of them is of the simulated TEE.
    pub fn production(verifiers: Vec<Box<dyn TeeVerifier>>) -> Result<Self, VerifierSetError> {
        if verifiers
            .iter()
            .any(|verifier| verifier.descriptor().tee == TeeKind::Simulated)
        {
            return Err(VerifierSetError::SimulatedInProduction);
        }
        Ok(Self {
            verifiers,
            stand_ins: Vec::new(),
        })
    }

    /// Verifiers of real hardware, and one of a simulated TEE that proves nothing. For development.
    ///
    /// # Errors
    /// If a verifier stands in the wrong place.
    pub fn dangerous_with_simulated(
        verifiers: Vec<Box<dyn TeeVerifier>>,
        simulated: Box<dyn TeeVerifier>,
    ) -> Result<Self, VerifierSetError> {
        let tee = simulated.descriptor().tee;
        if tee != TeeKind::Simulated {
            return Err(VerifierSetError::NotSimulated(tee));
        }
        let mut set = Self::production(verifiers)?;
        set.verifiers.insert(0, simulated);
        Ok(set)
    }

    /// The same set with `verifier` in the place of the vendor's for its TEE: it knows another root, whose keys
    /// anybody may hold. What it verifies is rated simulated, and the vendor's own evidence is refused. For
    /// development.
    ///
    /// # Errors
    /// If the set has no verifier for that TEE, or it is the simulated one.
    pub fn dangerous_with_stand_in(
        mut self,
        verifier: Box<dyn TeeVerifier>,
    ) -> Result<Self, VerifierSetError> {
        let tee = verifier.descriptor().tee;
        let place = self
            .verifiers
            .iter_mut()
            .find(|vendors| vendors.descriptor().tee == tee && tee != TeeKind::Simulated)
            .ok_or(VerifierSetError::NothingToStandInFor(tee))?;
        *place = verifier;
        self.stand_ins.push(tee);
        Ok(self)
    }

    /// The TEE whose format raw bytes have, judged by content. Earlier verifiers win.
    pub fn recognise(&self, evidence: &[u8]) -> Option<TeeKind> {
        self.verifiers
            .iter()
            .map(|v| (v, v.descriptor().tee))
            .find(|(v, _)| v.recognises(evidence))
            .map(|(_, tee)| tee)
    }

    /// The endorsements that `evidence` needs.
    ///
    /// # Errors
    /// If it cannot be parsed so far, or its TEE is not accepted.
    pub fn wants(&self, evidence: &Evidence) -> Result<Vec<Want>, VerifyError> {
        check_size(&evidence.bytes)?;
        self.verifier(evidence.tee)?.wants(&evidence.bytes)
    }

    /// Verifies evidence: its size, its signatures and endorsements at `now`, and what it binds.
    ///
    /// # Errors
    /// The first thing that is not as it must be; there are no partial results.
    pub fn verify(
        &self,
        evidence: &Evidence,
        binding: Binding<'_>,
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Verified<Claims>, VerifyError> {
        check_size(&evidence.bytes)?;
        let verifier = self.verifier(evidence.tee)?;
        let raw = verifier.verify(&evidence.bytes, endorsements, now)?;
        let (binding, user_data) = check_binding(evidence, binding, &raw.report_data, now)?;
        let event_log = match &evidence.event_log {
            Some(log) => {
                check_size(log)?;
                verifier.replay(&raw, log)?
            }
            None => Vec::new(),
        };
        let debug_or_simulated =
            raw.debug || evidence.tee == TeeKind::Simulated || self.stand_ins.contains(&evidence.tee);
        Ok(Verified::seal(Claims {
            tee: evidence.tee,
            assurance: if debug_or_simulated {
                Assurance::Simulated
            } else {
                evidence.tee.assurance()
            },
            evidence_id: EvidenceId::of(evidence.tee, &raw.report_data),
            report_data: Measurement(raw.report_data),
            binding,
            user_data,
            device: raw.device,
            debug: raw.debug,
            tcb: raw.tcb,
            measurements: raw.measurements,
            attributes: raw.attributes,
            unsigned: raw.unsigned,
            revocation: raw.revocation,
            made_at: raw.made_at,
            event_log,
            endorsed_until: raw.endorsed_until,
        }))
    }

    /// Verifies a batch on `threads` threads. Results stand in the order of the batch.
    pub fn verify_many(
        &self,
        batch: &[(Evidence, Binding<'_>)],
        endorsements: &Endorsements,
        now: UnixMillis,
        threads: NonZeroUsize,
    ) -> Vec<Result<Verified<Claims>, VerifyError>> {
        let verify = |part: &[(Evidence, Binding<'_>)]| -> Vec<_> {
            part.iter()
                .map(|(evidence, binding)| self.verify(evidence, *binding, endorsements, now))
                .collect()
        };
        if threads.get() == 1 || batch.len() < 2 {
            return verify(batch);
        }
        let verify = &verify;
        std::thread::scope(|scope| {
            let workers: Vec<_> = batch
                .chunks(batch.len().div_ceil(threads.get()))
                .map(|part| (part, scope.spawn(move || verify(part))))
                .collect();
            // A worker that died verified nothing: its part is done again here, where a panic is the caller's.
            workers
                .into_iter()
                .flat_map(|(part, worker)| worker.join().unwrap_or_else(|_| verify(part)))
                .collect()
        })
    }

    fn verifier(&self, tee: TeeKind) -> Result<&dyn TeeVerifier, VerifyError> {
        self.verifiers
            .iter()
            .map(Box::as_ref)
            .find(|verifier| verifier.descriptor().tee == tee)
            .ok_or(VerifyError::NotAccepted { tee })
    }
}

fn check_size(evidence: &[u8]) -> Result<(), VerifyError> {
    match evidence.len() {
        0 => Err(VerifyError::Empty),
        size if size > MAX_EVIDENCE => Err(VerifyError::TooLarge { limit: MAX_EVIDENCE }),
        _ => Ok(()),
    }
}

/// Holds the signed report data against what the caller expects. Gives what was checked, for people, and
/// the user data where it is bound.
fn check_binding(
    evidence: &Evidence,
    binding: Binding<'_>,
    report_data: &[u8],
    now: UnixMillis,
) -> Result<(String, Option<BoundUserData>), VerifyError> {
    match binding {
        Binding::Issued(terms) => {
            let user_data = check_issued(evidence, terms, report_data, now)?;
            let binding = format!("issued challenge {}", terms.challenge().digest());
            Ok((binding, Some(without_session(user_data)?)))
        }
        Binding::Session { terms, session } => {
            let user_data = check_issued(evidence, terms, report_data, now)?;
            let field = match &user_data.session {
                None => Some("session"),
                Some(stated) => stated.difference(session),
            };
            if let Some(field) = field {
                return Err(VerifyError::SessionMismatch {
                    field: field.to_owned(),
                });
            }
            let binding = format!("session that challenge {} opens", terms.challenge().digest());
            Ok((binding, Some(user_data)))
        }
        Binding::Challenge(challenge) => {
            let user_data = without_session(check_challenge(evidence, challenge, report_data)?)?;
            Ok((format!("challenge {}", challenge.digest()), Some(user_data)))
        }
        Binding::Claimed(challenge) => {
            let user_data = check_challenge(evidence, challenge, report_data)?;
            let digest = challenge.digest();
            let binding =
                format!("{UNCHECKED}it answers challenge {digest}, which came with the evidence itself");
            Ok((binding, Some(user_data)))
        }
        Binding::ReportData(expected) if carries(report_data, expected) => {
            Ok(("report data".to_owned(), None))
        }
        Binding::ReportData(expected) => Err(VerifyError::ReportDataMismatch {
            expected: hex::encode(expected),
            found: hex::encode(report_data),
        }),
        Binding::Unchecked { because } => Ok((format!("{UNCHECKED}{because}"), None)),
    }
}

/// What evidence binds that answers a challenge of the caller's own.
fn check_issued(
    evidence: &Evidence,
    terms: &ChallengeTerms,
    report_data: &[u8],
    now: UnixMillis,
) -> Result<BoundUserData, VerifyError> {
    if now >= terms.expires_at {
        return Err(VerifyError::ChallengeExpired {
            expired_at: terms.expires_at,
        });
    }
    let user_data = check_challenge(evidence, terms.challenge(), report_data)?;
    let invalid = |what: String| Err(VerifyError::UserDataInvalid { what });
    if user_data.node != terms.node {
        return invalid(format!(
            "it names node {}, the challenge is for {}",
            user_data.node, terms.node
        ));
    }
    if user_data.purpose != terms.purpose {
        let (found, wanted) = (user_data.purpose.as_str(), terms.purpose.as_str());
        return invalid(format!("its purpose is {found}, the challenge is for {wanted}"));
    }
    Ok(user_data)
}

/// Evidence that opens a session speaks for that session's keys; elsewhere it would lend them its authority.
fn without_session(user_data: BoundUserData) -> Result<BoundUserData, VerifyError> {
    match user_data.session {
        None => Ok(user_data),
        Some(_) => Err(VerifyError::SessionUnexpected),
    }
}

/// Whether what the TEE signed stands for `expected`: the bytes themselves, or where they are 64 and the TEE's
/// format takes 32, their SHA-256.
fn carries(signed: &[u8], expected: &[u8]) -> bool {
    signed == expected || (expected.len() == 64 && signed == Sha256::digest(expected).as_slice())
}

fn check_challenge(
    evidence: &Evidence,
    challenge: Challenge,
    report_data: &[u8],
) -> Result<BoundUserData, VerifyError> {
    let user_data = evidence.user_data.as_deref().unwrap_or_default();
    let expected = challenge.bind_bytes(user_data);
    if !carries(report_data, expected.as_bytes()) {
        let (expected_challenge, _) = expected.as_bytes().split_at(32);
        let challenge_answered = report_data.len() == 64 && report_data.starts_with(expected_challenge);
        return Err(if challenge_answered {
            VerifyError::UserDataMismatch
        } else {
            VerifyError::ChallengeMismatch {
                expected: hex::encode(expected_challenge),
                found: hex::encode(report_data.get(..32).unwrap_or(report_data)),
            }
        });
    }
    let invalid = |what: &str| VerifyError::UserDataInvalid {
        what: what.to_owned(),
    };
    let parsed =
        BoundUserData::from_canonical(user_data).ok_or_else(|| invalid("it is not in canonical form"))?;
    if parsed.tee != evidence.tee {
        return Err(invalid(&format!(
            "it names TEE `{}`, the evidence is of `{}`",
            parsed.tee, evidence.tee
        )));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
