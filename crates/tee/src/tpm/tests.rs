//! The machine's side against what a TPM in software answered once (`vectors/tpm/transcript`), and against everything
//! that it could have answered instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nautilus_core::{
    AttestError, Attester as _, BootId, BoundUserData, Challenge, Digest32, EventLogHead, NodeId, PublicKey,
    Purpose, RawEvidence, ReportData, SealError, Sealer as _, TeeKind,
};

use super::evidence::Evidence;
use super::wire::Attest;
use super::{
    Credential, EkKind, EnrolmentRequest, Public, Tpm, TpmAttester, TpmSealer, Transport, answer_credential,
};

const CREATE_PRIMARY: u32 = 0x131;
const CREATE: u32 = 0x153;
const LOAD: u32 = 0x157;
const QUOTE: u32 = 0x158;
const FLUSH: u32 = 0x165;
const START_AUTH_SESSION: u32 = 0x176;
const ACTIVATE: u32 = 0x147;

/// A command and its response.
type Exchange = (Vec<u8>, Vec<u8>);

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/tpm/transcript")
        .join(name)
}

fn transcript(name: &str) -> Vec<Exchange> {
    let text = fs::read_to_string(vector(name)).unwrap();
    let exchange = |line: &str| {
        let (command, response) = line.split_once(' ').unwrap();
        (hex::decode(command).unwrap(), hex::decode(response).unwrap())
    };
    text.lines().map(exchange).collect()
}

fn code(command: &[u8]) -> u32 {
    u32::from_be_bytes(command[6..10].try_into().unwrap())
}

/// A TPM that answers as the transcript says, to the commands of the transcript in their order. What was sent stays.
struct Script {
    exchanges: Vec<Exchange>,
    next: usize,
    exact: bool,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Transport for Script {
    fn interface(&self) -> &str {
        "the script"
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        self.sent.lock().unwrap().push(command.to_vec());
        let left = &self.exchanges[self.next..];
        // After a fault, what follows is left out, but for what tidies up.
        let found = left.iter().position(|(known, _)| code(known) == code(command));
        let Some(skipped) = found.filter(|skipped| *skipped == 0 || code(command) == FLUSH) else {
            assert!(!self.exact, "not in the transcript: {}", hex::encode(command));
            return Err(AttestError::Vendor {
                what: "the script ends".to_owned(),
            });
        };
        let (known, response) = &left[skipped];
        // These carry what is random.
        if self.exact && !matches!(code(command), CREATE | START_AUTH_SESSION) {
            assert_eq!(hex::encode(command), hex::encode(known));
        }
        if skipped == 0 {
            self.next += 1;
        }
        Ok(response.clone())
    }
}

type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

fn scripted(exchanges: Vec<Exchange>, exact: bool) -> (Arc<Tpm>, Sent) {
    let sent = Sent::default();
    let script = Script {
        exchanges,
        next: 0,
        exact,
        sent: Arc::clone(&sent),
    };
    (Arc::new(Tpm::over(Box::new(script)).without_pause()), sent)
}

fn report_data(challenge: u8) -> ReportData {
    Challenge::from_digest(Digest32([challenge; 32])).bind(&BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([1; 32]),
        tee: TeeKind::Tpm,
        boot: BootId([2; 16]),
        tee_key: PublicKey([3; 32]),
        channel_key: None,
        event_log: EventLogHead::EMPTY,
        session: None,
    })
}

/// What a piece of work came to, whichever it is.
#[derive(Debug)]
enum Outcome {
    Done,
    Attest(AttestError),
    Seal(SealError),
}

/// The pieces of work whose transcripts there are.
const WORKS: [&str; 7] = [
    "attest",
    "seal",
    "unseal",
    "counter_first",
    "counter_next",
    "request",
    "answer",
];

fn attest(tpm: Arc<Tpm>) -> Result<RawEvidence, AttestError> {
    TpmAttester::new(tpm).attest(&report_data(1))
}

fn perform(work: &str, tpm: Arc<Tpm>) -> Outcome {
    let sealed = || fs::read(vector("sealed.bin")).unwrap();
    let attested = |result: Result<(), AttestError>| result.map_or_else(Outcome::Attest, |()| Outcome::Done);
    let kept = |result: Result<(), SealError>| result.map_or_else(Outcome::Seal, |()| Outcome::Done);
    match work {
        "attest" => attested(attest(tpm).map(|raw| {
            // Whatever else was changed, it is evidence for what was asked.
            let evidence = Evidence::parse(&raw.bytes).unwrap();
            let quote = Attest::parse(&evidence.attest).unwrap();
            assert_eq!(quote.extra_data, report_data(1).sha256());
        })),
        "seal" => kept(TpmSealer::new(tpm).seal(b"state of a node").map(drop)),
        "unseal" => kept(TpmSealer::new(tpm).unseal(&sealed()).map(|state| {
            assert_eq!(*state, b"state of a node");
        })),
        "counter_first" | "counter_next" => kept(TpmSealer::new(tpm).counter().unwrap().advance().map(drop)),
        "request" => attested(EnrolmentRequest::of(&tpm, None).map(drop)),
        "answer" => {
            let credential =
                Credential::from_tpm2_tools(&fs::read(vector("credential.bin")).unwrap()).unwrap();
            attested(answer_credential(&tpm, &credential).map(drop))
        }
        _ => panic!("no work is called {work}"),
    }
}

#[test]
fn every_command_is_as_a_tpm_took_it_and_what_was_loaded_is_flushed() {
    for work in WORKS {
        let exchanges = transcript(&format!("{work}.txt"));
        let (tpm, sent) = scripted(exchanges.clone(), true);
        let outcome = perform(work, tpm);
        assert!(matches!(outcome, Outcome::Done), "{work}: {outcome:?}");
        assert_eq!(sent.lock().unwrap().len(), exchanges.len(), "{work}");
        let (mut loaded, mut flushed) = (Vec::new(), Vec::new());
        for (command, response) in &exchanges {
            match code(command) {
                CREATE_PRIMARY | LOAD | START_AUTH_SESSION => loaded.push(response[10..14].to_vec()),
                FLUSH => flushed.push(command[10..14].to_vec()),
                _ => {}
            }
        }
        loaded.sort();
        flushed.sort();
        assert_eq!(loaded, flushed, "{work}");
    }
}

#[test]
fn what_the_transcripts_come_to_is_whole() {
    let (tpm, _) = scripted(transcript("attest.txt"), true);
    let evidence = Evidence::parse(&attest(tpm).unwrap().bytes).unwrap();
    let quoted: BTreeSet<u8> = evidence.pcrs.values.keys().copied().collect();
    assert_eq!(
        quoted,
        BTreeSet::from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14])
    );
    let ak = Public::parse("ak", &evidence.ak_public).unwrap();
    ak.check_attestation_key().unwrap();
    assert_eq!(evidence.ak_certificate, None);

    let (tpm, _) = scripted(transcript("request.txt"), true);
    let request = EnrolmentRequest::of(&tpm, None).unwrap();
    assert_eq!(request.ek_kind, EkKind::Rsa2048);
    assert_eq!(request.ak_public, evidence.ak_public);
    assert_eq!(request.ak_name, ak.name());
    let ek = Public::parse("ek", &request.ek_public).unwrap();
    ek.check_endorsement_key().unwrap();
    let der = request.ek_certificate.unwrap();
    assert_eq!(usize::from(der[2]) * 256 + usize::from(der[3]) + 4, der.len());

    let credential = Credential::from_tpm2_tools(&fs::read(vector("credential.bin")).unwrap()).unwrap();
    let (tpm, _) = scripted(transcript("answer.txt"), true);
    assert_eq!(*answer_credential(&tpm, &credential).unwrap(), [0x11; 32]);
}

/// The same transcript with another response to its exchange of that number.
fn with_response(exchanges: &[Exchange], number: usize, response: Vec<u8>) -> Vec<Exchange> {
    let mut exchanges = exchanges.to_vec();
    exchanges[number].1 = response;
    exchanges
}

/// The response as if it were meant to be that long.
fn resized(response: &[u8], length: usize) -> Vec<u8> {
    let mut response = response.to_vec();
    response.resize(length, 0);
    let size = u32::try_from(length).unwrap();
    if length >= 6 {
        response[2..6].copy_from_slice(&size.to_be_bytes());
    }
    response
}

#[track_caller]
fn assert_malformed(outcome: &Outcome, context: &str) {
    match outcome {
        Outcome::Attest(AttestError::Malformed { interface, .. }) => assert_eq!(interface, "the script"),
        Outcome::Seal(SealError::Tee { what, .. }) => {
            assert!(
                what.contains("the script gave a malformed answer"),
                "{context}: {what}"
            );
        }
        other => panic!("{context}: {other:?}"),
    }
}

#[test]
fn every_cut_and_every_longer_response_is_malformed() {
    for work in WORKS {
        let exchanges = transcript(&format!("{work}.txt"));
        for (number, (command, response)) in exchanges.iter().enumerate() {
            // What it says does not matter. That nothing is there is told by a code, in ten bytes.
            if code(command) == FLUSH {
                continue;
            }
            for length in (0..response.len()).chain([response.len() + 1, 4096]) {
                let mut raw = response.clone();
                raw.resize(length, 0);
                let context = format!("{work}, exchange {number}, {length} of {} bytes", response.len());
                let (tpm, _) = scripted(with_response(&exchanges, number, raw), false);
                assert_malformed(&perform(work, tpm), &context);
                let (tpm, _) = scripted(
                    with_response(&exchanges, number, resized(response, length)),
                    false,
                );
                assert_malformed(&perform(work, tpm), &context);
            }
        }
    }
}

#[test]
fn a_key_whose_response_is_cut_within_a_whole_frame_is_flushed() {
    let exchanges = transcript("attest.txt");
    let number = exchanges
        .iter()
        .position(|(command, _)| code(command) == CREATE_PRIMARY)
        .unwrap();
    let response = &exchanges[number].1;
    // Header and handle; the size of the parameters; the parameters; one session with neither nonce nor HMAC.
    let (parameters, session) = response[18..].split_at(response.len() - 18 - 5);
    assert_eq!(session, [0, 0, 1, 0, 0]);
    for length in 0..parameters.len() {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let cut = [&response[..14], &size, &parameters[..length], session].concat();
        let cut = resized(&cut, cut.len());
        let (tpm, sent) = scripted(with_response(&exchanges, number, cut), false);
        let error = attest(tpm).unwrap_err();
        assert!(
            matches!(&error, AttestError::Malformed { what, .. } if what.contains("TPM2_CreatePrimary")),
            "{length}: {error}"
        );
        let sent = sent.lock().unwrap();
        let last = sent.last().unwrap();
        assert_eq!((code(last), &last[10..]), (FLUSH, &response[10..14]), "{length}");
    }
}

#[test]
fn no_changed_byte_does_harm() {
    for work in WORKS {
        let exchanges = transcript(&format!("{work}.txt"));
        for (number, (command, response)) in exchanges.iter().enumerate() {
            if code(command) == FLUSH {
                continue;
            }
            for at in 0..response.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut changed = response.clone();
                    changed[at] ^= change;
                    let (tpm, _) = scripted(with_response(&exchanges, number, changed), false);
                    let outcome = perform(work, tpm);
                    let context = format!("{work}, exchange {number}, byte {at}: {outcome:?}");
                    match at {
                        // The tag may say that the sessions are parameters; the size is wrong in any case.
                        0..6 => assert!(!matches!(outcome, Outcome::Done), "{context}"),
                        6..10 => assert!(
                            matches!(&outcome, Outcome::Attest(_) | Outcome::Seal(_)) || response.len() == 10,
                            "{context}"
                        ),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn other_report_data_in_the_quote_is_named() {
    let exchanges = transcript("attest.txt");
    let quote = exchanges
        .iter()
        .position(|(command, _)| code(command) == QUOTE)
        .unwrap();
    let expected = report_data(1).sha256();
    let response = &exchanges[quote].1;
    let at = response
        .windows(32)
        .position(|window| window == expected)
        .unwrap();
    for byte in at..at + 32 {
        let mut changed = response.clone();
        changed[byte] ^= 1;
        let (tpm, sent) = scripted(with_response(&exchanges, quote, changed), false);
        let error = attest(tpm).unwrap_err();
        assert!(
            matches!(&error, AttestError::WrongReportData { expected, found, .. }
                if expected != found && *expected == hex::encode(report_data(1).sha256())),
            "{error}"
        );
        assert_eq!(code(sent.lock().unwrap().last().unwrap()), FLUSH);
    }
}

/// A whole response with nothing but a code.
fn refusal(code: u32) -> Vec<u8> {
    [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

#[test]
fn a_refusal_is_told_with_its_command_and_the_key_is_flushed() {
    for (work, command, rc, says) in [
        ("attest", QUOTE, 0x101, "failure mode"),
        ("attest", CREATE_PRIMARY, 0x9a2, "tpm2_changeauth"),
        ("attest", CREATE_PRIMARY, 0x921, "lockout"),
        ("attest", CREATE_PRIMARY, 0x185, "hierarchy that is disabled"),
        ("answer", ACTIVATE, 0x2df, "parameter 2 fails its integrity check"),
        ("unseal", CREATE_PRIMARY, 0x902, "/dev/tpmrm0"),
    ] {
        let exchanges = transcript(&format!("{work}.txt"));
        let number = exchanges
            .iter()
            .position(|(known, _)| code(known) == command)
            .unwrap();
        let loaded = exchanges[..number]
            .iter()
            .filter(|(known, _)| matches!(code(known), CREATE_PRIMARY | LOAD | START_AUTH_SESSION))
            .count();
        let (tpm, sent) = scripted(with_response(&exchanges, number, refusal(rc)), false);
        let told = match perform(work, tpm) {
            Outcome::Attest(AttestError::Refused { what, .. }) => what,
            Outcome::Seal(SealError::Tee { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert!(told.contains(says) && told.contains("TPM2_"), "{told}");
        let sent = sent.lock().unwrap();
        let flushed = sent.iter().filter(|sent| code(sent) == FLUSH).count();
        assert_eq!(flushed, loaded, "{work}: {rc:#x}");
    }
}

#[test]
fn a_sealed_object_that_the_tpm_does_not_take_is_not_ours_and_a_tpm_in_trouble_is_in_trouble() {
    let exchanges = transcript("unseal.txt");
    let load = exchanges
        .iter()
        .position(|(known, _)| code(known) == LOAD)
        .unwrap();
    let unsealed = |rc| {
        let (tpm, _) = scripted(with_response(&exchanges, load, refusal(rc)), false);
        TpmSealer::new(tpm)
            .unseal(&fs::read(vector("sealed.bin")).unwrap())
            .unwrap_err()
    };
    let error = unsealed(0x1df);
    assert!(
        matches!(&error, SealError::NotOurs { what } if what.contains("another TPM")),
        "{error}"
    );
    for rc in [0x101, 0x902, 0x921, 0x98e] {
        let error = unsealed(rc);
        assert!(
            matches!(&error, SealError::Tee { what, .. } if what.contains("TPM2_Load")),
            "{error}"
        );
    }
}

/// Answers that it is busy so many times before each answer.
struct Busy(Script, usize, usize);

impl Transport for Busy {
    fn interface(&self) -> &str {
        "the busy one"
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        let Self(script, times, left) = self;
        if *left > 0 {
            *left -= 1;
            // Retry, yielded, testing, and too many writes.
            return Ok(refusal([0x922, 0x908, 0x90a, 0x920][*left % 4]));
        }
        *left = *times;
        script.exchange(command)
    }
}

#[test]
fn a_busy_tpm_is_asked_again_but_not_for_ever() {
    let busy = |times| {
        let script = Script {
            exchanges: transcript("attest.txt"),
            next: 0,
            exact: true,
            sent: Sent::default(),
        };
        Arc::new(Tpm::over(Box::new(Busy(script, times, times))).without_pause())
    };
    attest(busy(49)).unwrap();
    let error = attest(busy(50)).unwrap_err();
    assert!(
        matches!(&error, AttestError::Refused { interface, what }
            if interface == "the busy one" && what.contains("TPM2_GetCapability")),
        "{error}"
    );
}

#[test]
fn a_tpm_without_the_bank_says_where_to_switch_it_on() {
    let mut exchanges = transcript("attest.txt");
    // The PCRs of its banks: SHA-1's alone.
    exchanges[0].1 = hex::decode("80010000001d000000000000000005000000010004").unwrap();
    exchanges[0].1.extend([3, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    exchanges[0].1 = resized(&exchanges[0].1, 25);
    let (tpm, _) = scripted(exchanges, false);
    let error = attest(tpm).unwrap_err();
    assert!(
        matches!(&error, AttestError::Unsupported { what } if what.contains("no active PCR bank sha256")),
        "{error}"
    );
}

#[test]
fn pcrs_that_change_all_the_time_make_a_stale_quote() {
    let mut exchanges = transcript("attest.txt");
    let quote = exchanges
        .iter()
        .position(|(command, _)| code(command) == QUOTE)
        .unwrap();
    // Another value of PCR 0, each time it is read; the quotes' clocks differ.
    let mut round: Vec<Exchange> = exchanges.drain(quote..quote + 3).collect();
    round[1].1.last_mut().map(|byte| *byte ^= 1).unwrap();
    let clock = round[0]
        .1
        .windows(2)
        .position(|window| window == [0xff, b'T'])
        .unwrap();
    assert!(clock > 0);
    for number in (0..5).rev() {
        let mut again = round.clone();
        let extra = again[0]
            .1
            .windows(32)
            .position(|window| window == report_data(1).sha256())
            .unwrap();
        // The clock stands behind the report data.
        again[0].1[extra + 32 + 4] = number;
        exchanges.splice(quote..quote, again);
    }
    let (tpm, _) = scripted(exchanges, true);
    let error = attest(tpm).unwrap_err();
    assert!(
        matches!(&error, AttestError::Stale { what, .. } if what.contains("extends them all the time")),
        "{error}"
    );
}
