//! `nautilus verify`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nautilus_core::{
    AnchorRole, Appraisal, AppraisalVerdict, Binding, Challenge, Claims, Digest32, EndorsementKind,
    Endorsements, Evidence, EvidenceFile, Finding, MAX_EVIDENCE, MAX_EVIDENCE_FILE, Policy, ReferenceValue,
    Revocation, Tcb, TeeKind, UnixMillis, UnknownTee, Verified, VerifierSet, VerifyError,
};
use nautilus_endorsements::{Ask, Update};
use nautilus_tee::endorsement;
use nautilus_tee::simulated::SimulatedError;
use nautilus_verifier::now;
use serde::{Deserialize, Serialize};

use crate::cli::Global;
use crate::command::endorsements::{Services, StoreDirectory};
use crate::command::policy::{add_unused, write_ear};
use crate::failure::{Failure, MISSING, REJECTED, printable};
use crate::input::{read_bounded, read_endorsements, read_trust_anchors};
use crate::output::{self, Text};

/// Verify evidence: raw quotes of any known TEE, recognised by content, or an evidence file.
///
/// Without --policy it says only what is true: `genuine` means that hardware of this kind signed the evidence,
/// whatever state that hardware is in. With --policy it also says whether the policy accepts it.
#[derive(Args)]
pub struct Verify {
    /// Evidence to verify; `-` for standard input
    file: PathBuf,
    /// The TEE whose format the evidence has, where its content does not tell
    #[arg(long, value_name = "NAME")]
    tee: Option<TeeKind>,
    /// The firmware's event log (TCG or CCEL): it must give the registers that the evidence signs. Shown by --show
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// The vendor's endorsements: DCAP collateral (JSON), certificates and CRLs (PEM or DER), or an AMD certificate
    /// table. A file, or a directory whose .json, .pem, .crt, .cer, .der and .crl files are looked into; may be given
    /// several times. Those that an evidence file carries count only where these have none for it
    #[arg(long, value_name = "PATH")]
    endorsements: Vec<PathBuf>,
    /// Fetch from Intel and AMD what is missing, into the store of endorsements. Without this, verify asks nobody
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    services: Services,
    #[command(flatten)]
    store: StoreDirectory,
    /// Policy to appraise the evidence by
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Write the appraisal as a signed EAR (a JWT) to this file. Its key is the verifier's in the data directory,
    /// made if it is not there: `nautilus policy ear-keys` gives the public half
    #[arg(long, value_name = "FILE", requires = "policy")]
    ear: Option<PathBuf>,
    /// Verify as of this time [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixMillis>,
    /// What the evidence must have signed for its caller: report data, nonce or challenge. Where it is 64 bytes
    /// and the TEE's format takes 32, their SHA-256 counts
    #[arg(long, value_name = "HEX", value_parser = parse_report_data)]
    report_data: Option<ReportDataArgument>,
    /// The challenge that the evidence must answer: what you asked for, not what its file says
    #[arg(long, value_name = "HEX", conflicts_with = "report_data")]
    challenge: Option<Digest32>,
    /// Show every claim
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    trust: Trust,
}

/// Most that any TEE signs for its caller: Keystone's data, and Nitro's fields.
const MAX_REPORT_DATA: usize = 1024;

/// Whom to believe.
#[derive(Args)]
pub struct Trust {
    /// A key or root certificate that you vouch for where no vendor does: ROLE=PATH, or a directory with a folder
    /// for each role; may be given several times. Roles: tpm-root, tpm-ak, optee-key, psa-key, cca-key,
    /// keystone-device
    #[arg(long, value_name = "ROLE=PATH|DIR")]
    pub trust: Vec<String>,
    /// Also accept evidence of the simulated TEE whose root lies in the data directory. It proves nothing
    #[arg(long)]
    pub dangerous_allow_simulated: bool,
    /// Believe this root certificate (PEM or DER) in the place of the vendor's: TEE=FILE, for sgx, tdx, sev or
    /// nitro; once for each. Real evidence of that TEE is then refused, and what is accepted is rated simulated:
    /// whoever holds the root's key can sign anything. The simulated TEE need not be in the data directory then
    #[arg(long, value_name = "TEE=FILE", value_parser = parse_vendor_root, requires = "dangerous_allow_simulated")]
    pub dangerous_vendor_root: Vec<VendorRoot>,
}

/// A root certificate that takes a vendor's place.
#[derive(Clone)]
pub struct VendorRoot {
    tee: TeeKind,
    file: PathBuf,
}

fn parse_vendor_root(text: &str) -> Result<VendorRoot, String> {
    let (tee, file) = text.split_once('=').ok_or("expected TEE=FILE")?;
    let tee = tee.parse().map_err(|error: UnknownTee| error.to_string())?;
    let file = PathBuf::from(file);
    Ok(VendorRoot { tee, file })
}

#[derive(Clone)]
struct ReportDataArgument(Vec<u8>);

fn parse_report_data(text: &str) -> Result<ReportDataArgument, String> {
    match hex::decode(text) {
        Ok(bytes) if (1..=MAX_REPORT_DATA).contains(&bytes.len()) => Ok(ReportDataArgument(bytes)),
        _ => Err(format!("expected the hex digits of 1 to {MAX_REPORT_DATA} bytes")),
    }
}

impl Trust {
    /// The verifiers that decide.
    pub fn verifier_set(&self, global: &Global) -> Result<VerifierSet, Failure> {
        let anchors = read_trust_anchors(&self.trust)?;
        if !self.dangerous_allow_simulated {
            return nautilus_tee::production(&anchors).map_err(Failure::usage);
        }
        let directory = simulated_directory(&global.data_dir()?);
        let set = match nautilus_tee::simulated::read_root(&directory) {
            Ok(root) => nautilus_tee::simulated::verifier_set(root, &anchors).map_err(Failure::usage)?,
            // Then what is to be accepted comes from those whose roots are given.
            Err(SimulatedError::Missing { .. }) if !self.dangerous_vendor_root.is_empty() => {
                nautilus_tee::production(&anchors).map_err(Failure::usage)?
            }
            Err(error) => {
                return Err(Failure::missing(error)
                    .context("the data directory holds no simulated TEE: run `nautilus up` first"));
            }
        };
        self.dangerous_vendor_root
            .iter()
            .enumerate()
            .try_fold(set, |set, (index, root)| {
                let before = self.dangerous_vendor_root.iter().take(index);
                if before.into_iter().any(|before| before.tee == root.tee) {
                    let twice = anyhow::anyhow!("--dangerous-vendor-root names `{}` twice", root.tee);
                    return Err(Failure::usage(twice));
                }
                root.stand_in(set)
            })
    }
}

impl VendorRoot {
    /// The same set with this root's verifier in the vendor's place.
    fn stand_in(&self, set: VerifierSet) -> Result<VerifierSet, Failure> {
        let (tee, origin) = (self.tee, self.file.display().to_string());
        let refused = |why: String| {
            Failure::usage(anyhow::anyhow!("{why}"))
                .context(format!("--dangerous-vendor-root {tee}={origin} is not usable"))
        };
        let bytes = read_bounded(&self.file, Endorsements::MAX_SIZE)?;
        let documents = endorsement::read(&bytes, &origin).map_err(|error| refused(error.to_string()))?;
        let root = match documents.as_slice() {
            [one] if one.kind == EndorsementKind::Certificate => one.bytes.clone(),
            _ => return Err(refused(format!("expected one certificate in {origin}"))),
        };
        let verifier = nautilus_tee::stand_in(tee, root).ok_or_else(|| {
            refused(match tee {
                TeeKind::Sgx | TeeKind::Tdx | TeeKind::Sev | TeeKind::Nitro => {
                    format!("{origin} is no root certificate of the kind that {tee} has")
                }
                _ => format!("{tee} has no vendor's root: use --trust ROLE=PATH"),
            })
        })?;
        set.dangerous_with_stand_in(verifier).map_err(Failure::usage)
    }
}

/// Where the simulated vendor and platform live.
pub fn simulated_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("simulated")
}

/// What `verify` prints as JSON.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    tee: Option<TeeKind>,
    tcb: Option<&'a Tcb>,
    claims: Option<&'a Claims>,
    findings: Vec<Finding>,
    /// The policy's values, and which of them took part.
    reference_values: &'a [ReferenceValue],
    error: Option<ErrorReport<'a>>,
    verified_at: UnixMillis,
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    detail: String,
    #[serde(flatten)]
    error: &'a VerifyError,
}

/// Evidence with what came along.
pub struct Input {
    /// The evidence.
    pub evidence: Evidence,
    /// The challenge that its file names.
    pub challenge: Option<Challenge>,
    /// Endorsements from its file.
    pub endorsements: Endorsements,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let set = self.trust.verifier_set(global)?;
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let mut own = read_endorsements(&self.endorsements)?;
        let at = self.at.unwrap_or_else(now);
        let event_log = self
            .event_log
            .as_deref()
            .map(|path| read_bounded(path, MAX_EVIDENCE))
            .transpose()?;
        let bytes = read_bounded(&self.file, MAX_EVIDENCE_FILE)?;
        let mut input = match read_evidence(bytes, &set, self.tee)? {
            Ok(input) => input,
            Err((tee, error)) => return report_error(global, tee, &error, at),
        };
        // The caller's own log goes before one that came along.
        input.evidence.event_log = event_log.or(input.evidence.event_log);
        own.0.extend(self.stored(global, &set, &input.evidence, at)?.0);
        let (evidence, brought) = (&input.evidence, &input.endorsements);
        match verify_with(&set, evidence, self.binding(&input), &own, brought, at) {
            Ok(claims) => self.report_genuine(global, claims, policy.as_ref(), at),
            Err(error) => report_error(global, Some(evidence.tee), &error, at),
        }
    }

    /// What the store has for this evidence, after what is missing was fetched if that was asked for. What cannot be
    /// fetched is told; whether verification can do without it, verification says.
    fn stored(
        &self,
        global: &Global,
        set: &VerifierSet,
        evidence: &Evidence,
        at: UnixMillis,
    ) -> Result<Endorsements, Failure> {
        // Evidence that cannot say what it needs is for verification to refuse.
        let Ok(wants) = set.wants(evidence) else {
            return Ok(Endorsements::default());
        };
        let store = self.store.open(global)?;
        if self.fetch {
            let fetched =
                self.services
                    .fetcher()?
                    .fetch(&store, &wants, &[Update::Standard], Ask::Missing, now());
            for (want, error) in fetched
                .iter()
                .filter_map(|one| Some((&one.want, one.result.as_ref().err()?)))
            {
                tell(&format!("not fetched: {want}: {error}"));
            }
        }
        let found = store.standard_endorsements_for(&wants, at)?;
        for damaged in &found.damaged {
            tell(&damaged.to_string());
        }
        Ok(found.endorsements)
    }

    fn binding(&self, input: &Input) -> Binding<'_> {
        if let Some(challenge) = self.challenge {
            return Binding::Challenge(Challenge::from_digest(challenge));
        }
        match (&self.report_data, input.challenge) {
            (Some(bytes), _) => Binding::ReportData(&bytes.0),
            (None, Some(challenge)) => Binding::Claimed(challenge),
            (None, None) => Binding::Unchecked {
                because: "neither --challenge nor --report-data was given",
            },
        }
    }

    fn report_genuine(
        &self,
        global: &Global,
        claims: Verified<Claims>,
        policy: Option<&Policy>,
        at: UnixMillis,
    ) -> Result<ExitCode, Failure> {
        let mut findings = truths(&claims);
        let appraisal = policy.map(|policy| policy.appraise(claims.clone(), at));
        findings.extend(appraisal.iter().flat_map(Appraisal::findings).cloned());
        let verdict = match appraisal.as_ref().map(Appraisal::verdict) {
            None => "genuine",
            Some(AppraisalVerdict::Accepted) => "accepted",
            Some(AppraisalVerdict::Rejected) => "rejected",
        };
        let report = Report {
            verdict,
            tee: Some(claims.tee),
            tcb: Some(&claims.tcb),
            claims: Some(&claims),
            findings,
            reference_values: appraisal
                .as_ref()
                .map(Appraisal::reference_values)
                .unwrap_or_default(),
            error: None,
            verified_at: at,
        };
        if let (Some(path), Some(appraisal)) = (&self.ear, &appraisal) {
            write_ear(global, appraisal, path)?;
        }
        if global.json {
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            rendered(&report, self.show).print()?;
        }
        Ok(if verdict == "rejected" {
            ExitCode::from(REJECTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Verifies with the relying party's own endorsements. Those that the evidence brought along are added only where the
/// relying party's do not suffice: the attester must not choose between them.
pub fn verify_with(
    set: &VerifierSet,
    evidence: &Evidence,
    binding: Binding<'_>,
    own: &Endorsements,
    brought: &Endorsements,
    at: UnixMillis,
) -> Result<Verified<Claims>, VerifyError> {
    match set.verify(evidence, binding, own, at) {
        Err(VerifyError::EndorsementsMissing { .. }) if !brought.0.is_empty() => {
            let all = own.0.iter().chain(&brought.0).cloned().collect();
            set.verify(evidence, binding, &Endorsements(all), at)
        }
        // Lists can only take away.
        Ok(claims) if matches!(claims.revocation, Revocation::Unchecked { .. }) => {
            let lists: Vec<_> = brought.of_kind(EndorsementKind::Crl).collect();
            if lists.is_empty() {
                return Ok(claims);
            }
            let all = own.0.iter().chain(lists).cloned().collect();
            set.verify(evidence, binding, &Endorsements(all), at)
        }
        result => result,
    }
}

fn tell(what: &str) {
    eprintln!("nautilus: {}", printable(what));
}

/// Reads a policy file.
pub fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = read_bounded(path, Policy::MAX_SIZE)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(anyhow::anyhow!("policy {} is not UTF-8", path.display())))?;
    Policy::from_yaml(&text)
        .map_err(|error| Failure::usage(error).context(format!("policy {} is not usable", path.display())))
}

/// Tells an evidence file from a TEE's own evidence, which may be JSON too, by content. `tee` says what the
/// evidence is of, where the caller knows. What is neither is bad evidence, not a failure.
pub fn read_evidence(
    bytes: Vec<u8>,
    set: &VerifierSet,
    tee: Option<TeeKind>,
) -> Result<Result<Input, (Option<TeeKind>, VerifyError)>, Failure> {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    if is_json && is_evidence_file(&bytes) {
        let input = match read_evidence_file(&bytes) {
            Ok(input) => input,
            Err(error) => return Ok(Err((None, error))),
        };
        if let Some(asked) = tee.filter(|asked| *asked != input.evidence.tee) {
            return Err(Failure::usage(anyhow::anyhow!(
                "the evidence file is of TEE `{}`, not `{asked}` as --tee says",
                input.evidence.tee
            )));
        }
        return Ok(Ok(input));
    }
    if bytes.is_empty() {
        return Ok(Err((None, VerifyError::Empty)));
    }
    if bytes.len() > MAX_EVIDENCE {
        return Ok(Err((None, VerifyError::TooLarge { limit: MAX_EVIDENCE })));
    }
    Ok(match tee.or_else(|| set.recognise(&bytes)) {
        Some(tee) => Ok(Input {
            evidence: Evidence {
                tee,
                bytes,
                user_data: None,
                event_log: None,
            },
            challenge: None,
            endorsements: Endorsements::default(),
        }),
        // What looks like a broken evidence file is called that.
        None if is_json => read_evidence_file(&bytes).map_err(|error| (None, error)),
        None => Err((None, VerifyError::NotRecognised)),
    })
}

/// Whether JSON says that it is an evidence file, of any version.
fn is_evidence_file(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    serde_json::from_slice::<Format>(bytes).is_ok_and(|found| found.format.starts_with("nautilus-evidence/"))
}

fn read_evidence_file(bytes: &[u8]) -> Result<Input, VerifyError> {
    let file = EvidenceFile::from_json(bytes).map_err(|error| VerifyError::Malformed {
        what: error.to_string(),
        offset: 0,
    })?;
    Ok(Input {
        evidence: file.evidence,
        challenge: Some(file.challenge),
        endorsements: file.endorsements,
    })
}

/// What is true of genuine evidence, as findings beside a policy's.
fn truths(claims: &Claims) -> Vec<Finding> {
    let family = claims.device.family.as_ref();
    let family = family.map_or_else(String::new, |family| format!(", family {family}"));
    let mut facts = vec![Finding::new(
        "genuine",
        true,
        format!("signed by a {} device{family}", claims.tee),
    )];
    facts.push(match claims.unchecked_binding() {
        Some(why) => Finding::unchecked("report data", why),
        None => Finding::new("report data", true, claims.binding.clone()),
    });
    facts.push(match &claims.revocation {
        Revocation::Checked { until: Some(until) } => Finding::new(
            "revocation",
            true,
            format!("the vendor's lists do not name it; current until {until}"),
        ),
        Revocation::Checked { until: None } => {
            Finding::new("revocation", true, "the vendor's lists do not name it")
        }
        Revocation::Unchecked { because } => Finding::unchecked("revocation", because.clone()),
        Revocation::NotApplicable { because } => Finding::unchecked("revocation", *because),
    });
    if !claims.event_log.is_empty() {
        let count = claims.event_log.len();
        let what = format!("{count} events give the registers that are signed");
        facts.push(Finding::new("event log", true, what));
    }
    facts.extend(claims.unsigned.iter().map(|unsigned| {
        Finding::new(
            "unsigned bytes",
            true,
            format!("{}: {}", unsigned.what, unsigned.detail),
        )
    }));
    facts
}

fn report_error(
    global: &Global,
    tee: Option<TeeKind>,
    error: &VerifyError,
    at: UnixMillis,
) -> Result<ExitCode, Failure> {
    let report = Report {
        verdict: "rejected",
        tee,
        tcb: None,
        claims: None,
        findings: vec![Finding::new("genuine", false, error.to_string())],
        reference_values: &[],
        error: Some(ErrorReport {
            detail: error.to_string(),
            error,
        }),
        verified_at: at,
    };
    if global.json {
        output::line(serde_json::to_string_pretty(&report)?)?;
    } else {
        let mut text = rendered(&report, false);
        let advice = advice(tee, error);
        if !advice.is_empty() {
            text.line("");
        }
        advice.iter().for_each(|line| text.line(printable(line)));
        text.print()?;
    }
    Ok(ExitCode::from(if error.is_missing_input() {
        MISSING
    } else {
        REJECTED
    }))
}

/// What a person can do about it, where there is something.
fn advice(tee: Option<TeeKind>, error: &VerifyError) -> Vec<String> {
    let mut lines = Vec::new();
    match error {
        VerifyError::EndorsementsMissing { wants } => {
            lines.push("Get these and name them with --endorsements:".to_owned());
            lines.extend(wants.iter().flat_map(|want| &want.urls).map(|url| format!("  {url}")));
        }
        VerifyError::KeyNotEnrolled { .. } => {
            lines.push(
                "No vendor vouches for such keys. If you do, having taken the key from the device itself, add:"
                    .to_owned(),
            );
            lines.extend(roles_of(tee).iter().map(|role| format!("  --trust {role}=PATH")));
        }
        VerifyError::NotRecognised => lines.push(match tee {
            None => "If you know whose evidence it is, say so with --tee NAME.".to_owned(),
            // A signature alone does not tell what it is over: such evidence travels in a container.
            Some(tee) => format!(
                "Which forms of its evidence are read, and how to put its parts together: docs/tee/{tee}.md"
            ),
        }),
        VerifyError::NotAccepted { tee: TeeKind::Simulated } => lines.push(
            "To try it all the same, add --dangerous-allow-simulated, and --data-dir DIR of the node that made it."
                .to_owned(),
        ),
        _ => {}
    }
    lines
}

/// What can be vouched for where a TEE's own vendor does not.
fn roles_of(tee: Option<TeeKind>) -> &'static [AnchorRole] {
    match tee {
        Some(TeeKind::Tpm) => &[AnchorRole::TpmAttestationKey, AnchorRole::TpmRoot],
        Some(TeeKind::TrustZone) => &[AnchorRole::OpteeKey, AnchorRole::PsaKey, AnchorRole::CcaKey],
        Some(TeeKind::Keystone) => &[AnchorRole::KeystoneDevice],
        _ => &AnchorRole::ALL,
    }
}

fn rendered(report: &Report<'_>, show: bool) -> Text {
    let mut text = Text::default();
    text.line(format_args!("verdict    {}", report.verdict));
    if let Some(tee) = report.tee {
        text.line(format_args!("tee        {tee}"));
    }
    if let Some(claims) = report.claims {
        text.line(format_args!("assurance  {}", claims.assurance));
        let debug = if claims.debug {
            "yes: nothing this TEE says can be relied upon"
        } else {
            "no"
        };
        text.line(format_args!("debug      {debug}"));
        if let Some(made_at) = claims.made_at {
            text.line(format_args!("made at    {made_at} (as the TEE says)"));
        }
    }
    if let Some(tcb) = report.tcb {
        tcb_lines(tcb).iter().for_each(|line| text.line(printable(line)));
    }
    text.line("findings");
    add_findings(&mut text, &report.findings);
    add_unused(&mut text, report.reference_values);
    if let Some(claims) = report.claims.filter(|_| show) {
        text.line("measurements");
        for (name, value) in &claims.measurements {
            text.line(format_args!("  {name:<16} {value}"));
        }
        text.line("attributes");
        for (name, value) in &claims.attributes {
            text.line(format_args!("  {name:<20} {}", printable(value)));
        }
        text.line(format_args!("report data\n  {}", claims.report_data));
        text.line(format_args!(
            "device\n  {} {}",
            claims.device.scheme, claims.device.id
        ));
        if !claims.event_log.is_empty() {
            text.line("event log");
        }
        for event in &claims.event_log {
            let digest: String = event.digest.to_string().chars().take(SHOWN_DIGEST).collect();
            let (register, kind) = (printable(&event.register), printable(&event.event));
            let detail = printable(&event.detail);
            text.line(format_args!("  {register:<5} {kind} {digest}… {detail}"));
        }
    }
    text
}

/// Digits of an event's digest that are shown to people. JSON has all of them.
const SHOWN_DIGEST: usize = 16;

/// Findings, a line each: `ok`, `FAIL`, or `--` where nothing was checked.
pub fn add_findings(text: &mut Text, findings: &[Finding]) {
    for finding in findings {
        let (rule, detail) = (printable(&finding.rule), printable(&finding.detail));
        text.line(format_args!("  {} {rule}: {detail}", finding.mark()));
    }
}

/// The vendor's verdict on the platform, why, and what it was or is going to be.
fn tcb_lines(tcb: &Tcb) -> Vec<String> {
    let mut lines = vec![match (tcb.status, &tcb.date) {
        (Some(status), Some(date)) => format!("tcb        {status} (level of {date})"),
        (Some(status), None) => format!("tcb        {status}"),
        (None, _) => "tcb        no verdict: the vendor publishes no levels".to_owned(),
    }];
    if !tcb.advisories.is_empty() {
        lines.push(format!("advisories {}", tcb.advisories.join(", ")));
    }
    lines.extend(shortfall_lines(tcb));
    for other in &tcb.other_evaluations {
        let status = other
            .status
            .map_or("meets no level".to_owned(), |status| status.to_string());
        let evaluation = other
            .evaluation
            .map_or("another number".to_owned(), |number| number.to_string());
        let date = other
            .date
            .as_deref()
            .map_or(String::new(), |date| format!(" (level of {date})"));
        lines.push(format!("  under evaluation {evaluation}: {status}{date}"));
        lines.extend(shortfall_lines(other));
    }
    lines
}

fn shortfall_lines(tcb: &Tcb) -> impl Iterator<Item = String> {
    tcb.shortfalls.iter().map(|short| {
        format!(
            "  short    {} is {}, level {} of {} needs {}",
            short.component, short.have, short.level, short.since, short.needs
        )
    })
}

#[cfg(test)]
mod tests;
