//! The vendor's directory, and platforms that are not as they should be.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::process::Command;

use nautilus_core::{Endorsements, RawClaims, Tcb, TcbStatus, TeeKind, TeeVerifier as _, VerifyError};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::certificates::{NEWEST_CPU_SVN, NEWEST_PCE_SVN};
use super::*;
use crate::sgx;
use crate::simulated::Platform;
use crate::simulated::tests::{Fixture, NOW};

const KEYS: [&str; 4] = [
    "vendor/root.key",
    "vendor/pck-ca.key",
    "vendor/tcb-signing.key",
    "platform/pck.key",
];
const PUBLIC: [&str; 6] = [
    "root.der",
    "collateral.json",
    "vendor/pck-ca.der",
    "vendor/tcb-signing.der",
    "platform/chain.pem",
    "platform/platform.json",
];

/// Opens everything, as the agent and the enclave together do.
fn open(dir: &Path) -> Result<(Vendor, Platform), SimulatedError> {
    Ok((Vendor::open_or_create(dir, NOW)?, Platform::load(dir)?))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn contents(dir: &Path) -> Vec<Vec<u8>> {
    KEYS.iter()
        .chain(&PUBLIC)
        .map(|name| fs::read(dir.join(name)).unwrap())
        .collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A vendor whose one platform has these security versions.
fn with_platform(cpu_svn: [u8; 16], pce_svn: u16) -> Fixture {
    let parent = tempfile::tempdir().unwrap();
    let hardware = Hardware {
        cpu_svn,
        pce_svn,
        ..Hardware::new([1; 16], [2; 16])
    };
    create(&parent.path().join("simulated"), NOW, &hardware).unwrap();
    Fixture::within(parent)
}

#[test]
fn the_second_opening_finds_the_same() {
    let fixture = Fixture::new();
    let before = contents(&fixture.dir());
    let again = Vendor::open_or_create(&fixture.dir(), NOW).unwrap();
    assert_eq!(again.root_der(), fixture.vendor.root_der());
    assert_eq!(again.endorsement(), fixture.vendor.endorsement());
    assert_eq!(read_root(&fixture.dir()).unwrap(), again.root_der());
    assert_eq!(
        Platform::load(&fixture.dir()).unwrap().mrsigner(),
        &again.mrsigner()
    );
    assert_eq!(contents(&fixture.dir()), before);
}

#[test]
fn two_vendors_share_no_key_and_no_platform() {
    let (one, other) = (Fixture::new(), Fixture::new());
    for (name, (one, other)) in KEYS
        .iter()
        .chain(&PUBLIC)
        .zip(contents(&one.dir()).iter().zip(&contents(&other.dir())))
    {
        assert_ne!(one, other, "{name}");
    }
    let device = |fixture: &Fixture| fixture.verify(&fixture.evidence()).unwrap().device.id.clone();
    assert_ne!(device(&one), device(&other));
}

#[test]
fn the_directory_is_private_and_nothing_else_is_left() {
    let fixture = Fixture::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for dir in ["", "vendor", "platform"] {
        assert_eq!(mode(&fixture.dir().join(dir)), 0o700, "{dir}");
    }
    for key in KEYS {
        assert_eq!(mode(&fixture.dir().join(key)), 0o600, "{key}");
    }
    assert_eq!(names(fixture.dir().parent().unwrap()), ["simulated"]);
    assert_eq!(
        names(&fixture.dir()),
        ["collateral.json", "platform", "root.der", "vendor"]
    );
}

#[test]
fn an_empty_directory_is_filled_and_absent_ones_are_made() {
    let parent = tempfile::tempdir().unwrap();
    let empty = parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    chmod(&empty, 0o755);
    open(&empty).unwrap();
    open(&parent.path().join("not/there/yet")).unwrap();
}

#[test]
fn what_a_dead_maker_left_is_removed_and_what_a_living_one_makes_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("simulated");
    let dead = parent.path().join(".simulated.new-0123");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("root.key"), "half a k").unwrap();
    let living = files::stage(&target).unwrap();
    living.key("root.key", b"whole").unwrap();
    assert!(!dead.exists());
    open(&target).unwrap();
    let left = names(parent.path());
    assert!(
        left.len() == 2 && left[0].starts_with(".simulated.new-"),
        "{left:?}"
    );
    let made = read_root(&target).unwrap();
    living.publish(&[]).unwrap();
    assert_eq!(names(parent.path()), ["simulated"]);
    assert_eq!(
        read_root(&target).unwrap(),
        made,
        "who comes second does not replace who came first"
    );
}

const CHILD_DIR: &str = "NAUTILUS_TEST_SIMULATED_DIR";

#[test]
fn processes_that_create_at_once_end_with_one_vendor() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("simulated");
    let spawn = |_| {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "simulated::vendor::tests::creates_where_told",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_DIR, &dir)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..6).map(spawn).collect();
    let roots: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines()
                .find_map(|line| line.strip_prefix("root "))
                .unwrap()
                .to_owned()
        })
        .collect();
    let (vendor, _) = open(&dir).unwrap();
    assert_eq!(roots, vec![hex::encode(vendor.root_der()); 6]);
    assert_eq!(names(parent.path()), ["simulated"]);
}

#[test]
#[ignore = "the body of the processes of processes_that_create_at_once_end_with_one_vendor"]
fn creates_where_told() {
    let dir = PathBuf::from(std::env::var_os(CHILD_DIR).unwrap());
    let (vendor, _) = open(&dir).unwrap();
    println!("\nroot {}", hex::encode(vendor.root_der()));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let fixture = Fixture::new();
    for key in KEYS {
        let path = fixture.dir().join(key);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            chmod(&path, mode);
            let refused = open(&fixture.dir()).err().unwrap();
            let SimulatedError::Permissions {
                path: named,
                mode: found,
                allowed: 0o600,
            } = &refused
            else {
                panic!("{refused:?}")
            };
            assert_eq!((named, *found & 0o777), (&path, mode));
            assert!(
                refused
                    .to_string()
                    .contains(&format!("run `chmod 600 {}`", path.display())),
                "{refused}"
            );
        }
        chmod(&path, 0o400);
        open(&fixture.dir()).unwrap();
    }
    for dir in ["", "vendor", "platform"] {
        let path = fixture.dir().join(dir);
        chmod(&path, 0o770);
        let refused = open(&fixture.dir()).err().unwrap();
        assert!(
            matches!(&refused, SimulatedError::Permissions { allowed: 0o700, .. }),
            "{dir}: {refused:?}"
        );
        chmod(&path, 0o700);
    }
    open(&fixture.dir()).unwrap();
}

#[test]
fn missing_files_are_named() {
    for name in KEYS.iter().chain(&PUBLIC) {
        let fixture = Fixture::new();
        let path = fixture.dir().join(name);
        fs::remove_file(&path).unwrap();
        let refused = open(&fixture.dir()).err().unwrap();
        assert!(
            matches!(&refused, SimulatedError::Missing { path: named } if *named == path),
            "{name}: {refused:?}"
        );
        assert!(!path.exists(), "{name} was made anew");
    }
    let nowhere = tempfile::tempdir().unwrap().path().join("simulated");
    let missing = |result: Option<SimulatedError>| matches!(result, Some(SimulatedError::Missing { .. }));
    assert!(missing(Vendor::open(&nowhere, NOW).err()));
    assert!(missing(read_root(&nowhere).err()));
    assert!(missing(Platform::load(&nowhere).err()));
    assert!(!nowhere.exists());
}

#[test]
fn damaged_files_are_named() {
    for name in KEYS.iter().chain(&PUBLIC) {
        let fixture = Fixture::new();
        let path = fixture.dir().join(name);
        let whole = fs::read(&path).unwrap();
        let half = whole[..whole.len() / 2].to_vec();
        for damage in [half, Vec::new(), vec![b'x'; 2 * 1024 * 1024], b"{}".to_vec()] {
            fs::write(&path, &damage).unwrap();
            let refused = open(&fixture.dir()).err().unwrap();
            assert!(
                matches!(&refused, SimulatedError::Damaged { path: named, .. } if *named == path),
                "{name} with {} bytes: {refused:?}",
                damage.len()
            );
        }
        fs::remove_file(&path).unwrap();
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        let refused = open(&fixture.dir()).err().unwrap();
        assert!(
            matches!(&refused, SimulatedError::Damaged { path: named, .. } if *named == path),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn another_vendors_files_do_not_fit() {
    let other = Fixture::new();
    for name in KEYS.iter().chain(&PUBLIC) {
        let fixture = Fixture::new();
        fs::copy(other.dir().join(name), fixture.dir().join(name)).unwrap();
        match (*name, open(&fixture.dir())) {
            // What it endorses is the verifier's to judge.
            ("collateral.json", Ok((vendor, _))) => {
                let endorsements = Endorsements(vec![vendor.endorsement()]);
                let refused = fixture
                    .verify_at(&fixture.evidence(), &endorsements, NOW)
                    .unwrap_err();
                assert!(matches!(refused, VerifyError::Untrusted { .. }), "{refused:?}");
            }
            (_, Err(SimulatedError::Damaged { .. })) => {}
            (_, result) => panic!("{name}: {:?}", result.err()),
        }
    }
}

#[test]
fn collateral_is_renewed_before_it_ends_and_nothing_else_changes() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    let before = fixture.vendor.endorsement();
    let at = |now| Vendor::open(&fixture.dir(), now).unwrap().endorsement();
    assert_eq!(at(NOW.plus(23 * DAY - 1)), before);
    let mut last = before;
    for day in [23, 60, 400, 3000] {
        let now = NOW.plus(day * DAY);
        let renewed = at(now);
        assert_ne!(renewed, last, "day {day}");
        assert_eq!(at(now), renewed, "day {day}: once is enough");
        let claims = fixture
            .verify_at(&evidence, &Endorsements(vec![renewed.clone()]), now)
            .unwrap();
        assert_eq!(claims.endorsed_until, Some(now.plus(30 * DAY)));
        last = renewed;
    }
    assert_eq!(read_root(&fixture.dir()).unwrap(), fixture.vendor.root_der());
    assert_eq!(
        names(&fixture.dir()),
        ["collateral.json", "platform", "root.der", "vendor"]
    );
    // A clock that was set back finds collateral from its future.
    let renewed = at(NOW);
    fixture
        .verify_at(&evidence, &Endorsements(vec![renewed]), NOW)
        .unwrap();
}

#[test]
fn the_collateral_of_two_renewals_has_growing_crl_numbers() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    let number = |day: u64| {
        let now = NOW.plus(day * DAY);
        let endorsement = Vendor::open(&fixture.dir(), now).unwrap().endorsement();
        let claims = fixture
            .verify_at(&evidence, &Endorsements(vec![endorsement]), now)
            .unwrap();
        claims.attributes["pck_crl_number"].parse::<u32>().unwrap()
    };
    assert!(number(0) < number(23));
}

#[test]
fn certificates_end_after_ten_years_and_clocks_must_be_right() {
    let fixture = Fixture::new();
    let end = NOW.plus(3650 * DAY);
    Vendor::open(&fixture.dir(), UnixMillis(end.0 - 1)).unwrap();
    for now in [end, UnixMillis(NOW.0 - DAY)] {
        let refused = Vendor::open(&fixture.dir(), now).unwrap_err();
        assert!(
            matches!(&refused, SimulatedError::NotValid { until, .. } if *until == end),
            "{refused:?}"
        );
    }
    let parent = tempfile::tempdir().unwrap();
    for now in [UnixMillis(253_402_300_799_000), UnixMillis(u64::MAX)] {
        let refused = Vendor::open_or_create(&parent.path().join("simulated"), now).unwrap_err();
        assert!(matches!(refused, SimulatedError::Clock { .. }), "{refused:?}");
        assert_eq!(names(parent.path()), [""; 0], "nothing half-made is left");
    }
    Vendor::open_or_create(&parent.path().join("simulated"), UnixMillis(0)).unwrap();
}

#[test]
fn a_path_without_a_name_or_through_a_file_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "x").unwrap();
    for path in ["file", "file/simulated", "absent/.."] {
        let refused = Vendor::open_or_create(&parent.path().join(path), NOW).unwrap_err();
        assert!(
            matches!(refused, SimulatedError::Io { .. }),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn a_platform_below_the_newest_level_is_out_of_date_and_says_of_what() {
    let mut cpu_svn = NEWEST_CPU_SVN;
    cpu_svn[7] = 4;
    let fixture = with_platform(cpu_svn, NEWEST_PCE_SVN - 1);
    let tcb = fixture.verify(&fixture.evidence()).unwrap().tcb.clone();
    assert_eq!(tcb.status, Some(TcbStatus::OutOfDate));
    assert_eq!(tcb.advisories, ["SIMULATED-SA-00001"]);
    assert_eq!(tcb.date.as_deref(), Some("2025-01-15T00:00:00Z"));
    let short: Vec<_> = tcb
        .shortfalls
        .iter()
        .map(|short| {
            (
                &*short.component,
                short.have,
                short.needs,
                short.level,
                &*short.since,
            )
        })
        .collect();
    let since = "2026-01-14T00:00:00Z";
    assert_eq!(
        short,
        [
            (
                "SGX TCB component 8 (OS/VMM: SEAMLDR ACM)",
                4,
                5,
                TcbStatus::UpToDate,
                since
            ),
            ("PCE SVN", 12, 13, TcbStatus::UpToDate, since),
        ]
    );
}

#[test]
fn a_platform_below_every_level_is_refused() {
    let mut cpu_svn = NEWEST_CPU_SVN;
    cpu_svn[0] = 5;
    let fixture = with_platform(cpu_svn, NEWEST_PCE_SVN);
    let refused = fixture.verify(&fixture.evidence()).unwrap_err();
    let VerifyError::NoTcbLevel { shortfalls } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(shortfalls.len(), 1);
    assert_eq!(
        shortfalls[0].component,
        "SGX TCB component 1 (BIOS: Early Microcode Update)"
    );
    assert_eq!((shortfalls[0].have, shortfalls[0].needs), (5, 6));
}

#[test]
fn a_revoked_platform_is_refused() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    let signers = Signers::read(&fixture.dir(), fixture.vendor.root_der()).unwrap();
    let chain = fs::read(fixture.dir().join("platform/chain.pem")).unwrap();
    let leaf = Certificate::from_der(pem::parse_many(chain).unwrap()[0].contents()).unwrap();
    let serial = leaf.tbs_certificate().serial_number().as_bytes().to_vec();
    let endorse = |revoked: &[Vec<u8>]| {
        let collateral = signers
            .issue(fixture.vendor.root_der(), collateral_term(NOW), CURRENT, revoked)
            .unwrap();
        Endorsements(vec![Endorsement {
            bytes: to_json(&collateral).unwrap(),
            ..fixture.vendor.endorsement()
        }])
    };
    let refused = fixture
        .verify_at(&evidence, &endorse(std::slice::from_ref(&serial)), NOW)
        .unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Untrusted { what } if what.contains("CertRevoked")),
        "{refused:?}"
    );
    let mut another = serial;
    another[3] ^= 1;
    fixture.verify_at(&evidence, &endorse(&[another]), NOW).unwrap();
}

/// Collateral of a fixture's vendor under other evaluations, all current.
struct Outlook {
    fixture: Fixture,
    signers: Signers,
}

impl Outlook {
    fn new(cpu_svn: [u8; 16]) -> Self {
        let fixture = with_platform(cpu_svn, NEWEST_PCE_SVN);
        let signers = Signers::read(&fixture.dir(), fixture.vendor.root_der()).unwrap();
        Self { fixture, signers }
    }

    /// An evaluation that asks for this version of the first component.
    fn document(&self, number: u32, needs: u8, revoked: &[Vec<u8>]) -> Endorsement {
        let mut cpu_svn = NEWEST_CPU_SVN;
        cpu_svn[0] = needs;
        let evaluation = Evaluation {
            number,
            cpu_svn,
            ..CURRENT
        };
        let root = self.fixture.vendor.root_der();
        let collateral = self
            .signers
            .issue(root, collateral_term(NOW), evaluation, revoked);
        Endorsement {
            bytes: to_json(&collateral.unwrap()).unwrap(),
            origin: format!("evaluation {number}"),
            ..self.fixture.vendor.endorsement()
        }
    }

    /// The answer to all documents together: by a verifier that knows nothing, and twice by one that does.
    fn verify(&self, documents: &[&Endorsement]) -> Result<RawClaims, VerifyError> {
        let endorsements = Endorsements(documents.iter().copied().cloned().collect());
        let evidence = self.fixture.evidence().bytes;
        let verify = |verifier: &sgx::Verifier| verifier.verify(&evidence, &endorsements, NOW);
        let cold = verify(&self.verifier());
        let warm = self.verifier();
        assert_eq!(verify(&warm), cold);
        assert_eq!(verify(&warm), cold);
        cold
    }

    fn verifier(&self) -> sgx::Verifier {
        sgx::Verifier::with_root(self.fixture.vendor.root_der().to_vec(), TeeKind::Simulated)
    }

    /// The serial number of the platform's certificate.
    fn serial(&self) -> Vec<u8> {
        let chain = fs::read(self.fixture.dir().join("platform/chain.pem")).unwrap();
        let leaf = Certificate::from_der(pem::parse_many(chain).unwrap()[0].contents()).unwrap();
        leaf.tbs_certificate().serial_number().as_bytes().to_vec()
    }
}

/// Evaluation, status, and what is short: component, had and needed.
type Told<'a> = (Option<u32>, Option<TcbStatus>, Vec<(&'a str, u16, u16)>);

fn told(tcb: &Tcb) -> Told<'_> {
    let shortfalls = tcb.shortfalls.iter();
    let short = shortfalls.map(|short| (&*short.component, short.have, short.needs));
    (tcb.evaluation, tcb.status, short.collect())
}

/// What is said of documents that were not used.
fn notes(claims: &RawClaims) -> Vec<&str> {
    let facts = claims.unsigned.iter();
    facts
        .filter(|fact| fact.what == "collateral of another evaluation was not used")
        .map(|fact| &*fact.detail)
        .collect()
}

const MICROCODE: &str = "SGX TCB component 1 (BIOS: Early Microcode Update)";

#[test]
fn the_newest_evaluation_decides_and_the_others_are_told_with_their_shortfalls() {
    let outlook = Outlook::new(NEWEST_CPU_SVN);
    let (old, now, early) = (
        outlook.document(1, 7, &[]),
        outlook.document(2, 7, &[]),
        outlook.document(3, 8, &[]),
    );
    // Without the early one it is up to date; with it, it is not, whatever the order.
    let claims = outlook.verify(&[&now, &old]).unwrap();
    assert_eq!(told(&claims.tcb), (Some(2), Some(TcbStatus::UpToDate), vec![]));
    for documents in [[&now, &early, &old], [&old, &now, &early]] {
        let claims = outlook.verify(&documents).unwrap();
        let short = vec![(MICROCODE, 7, 8)];
        assert_eq!(told(&claims.tcb), (Some(3), Some(TcbStatus::OutOfDate), short));
        assert_eq!(claims.tcb.advisories, ["SIMULATED-SA-00001"]);
        let others: Vec<_> = claims.tcb.other_evaluations.iter().map(told).collect();
        let fine = |number| (Some(number), Some(TcbStatus::UpToDate), vec![]);
        assert_eq!(others, [fine(2), fine(1)]);
        assert!(claims.tcb.other_evaluations[0].advisories.is_empty());
        assert_eq!(notes(&claims), [""; 0]);
    }
}

#[test]
fn a_platform_below_every_level_of_another_evaluation_is_told_what_it_lacks_there() {
    let mut cpu_svn = NEWEST_CPU_SVN;
    cpu_svn[7] = 2;
    let outlook = Outlook::new(cpu_svn);
    // The lowest level of every evaluation asks for 3: only one that asks for less can be met.
    let lenient = |number| {
        let mut evaluation = Evaluation { number, ..CURRENT };
        evaluation.cpu_svn[7] = 2;
        let root = outlook.fixture.vendor.root_der();
        let issued = outlook.signers.issue(root, collateral_term(NOW), evaluation, &[]);
        Endorsement {
            bytes: to_json(&issued.unwrap()).unwrap(),
            ..outlook.fixture.vendor.endorsement()
        }
    };
    let strict = outlook.document(1, 7, &[]);
    let claims = outlook.verify(&[&strict, &lenient(2)]).unwrap();
    assert_eq!(claims.tcb.status, Some(TcbStatus::UpToDate));
    let others: Vec<_> = claims.tcb.other_evaluations.iter().map(told).collect();
    let short = vec![("SGX TCB component 8 (OS/VMM: SEAMLDR ACM)", 2, 3)];
    assert_eq!(others, [(Some(1), None, short)]);
    // The newest decides, also where the platform meets none of its levels.
    let refused = outlook.verify(&[&outlook.document(3, 7, &[]), &lenient(2)]);
    assert!(
        matches!(refused, Err(VerifyError::NoTcbLevel { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_forged_document_of_another_evaluation_is_reported_and_a_newer_one_refuses() {
    let outlook = Outlook::new(NEWEST_CPU_SVN);
    let forge = |genuine: &Endorsement, number: u32| {
        let text = String::from_utf8(genuine.bytes.clone()).unwrap();
        let from = "tcbEvaluationDataNumber\\\":2";
        assert!(text.contains(from), "{text}");
        let forged = text.replace(from, &format!("tcbEvaluationDataNumber\\\":{number}"));
        Endorsement {
            bytes: forged.into_bytes(),
            origin: "forged".to_owned(),
            ..genuine.clone()
        }
    };
    let genuine = outlook.document(2, 7, &[]);
    let claims = outlook.verify(&[&forge(&genuine, 1), &genuine]).unwrap();
    assert_eq!(claims.tcb.status, Some(TcbStatus::UpToDate));
    assert!(claims.tcb.other_evaluations.is_empty());
    let notes = notes(&claims);
    assert_eq!(notes.len(), 1, "{:?}", claims.unsigned);
    assert!(
        notes[0].starts_with("forged: ") && notes[0].contains("Signature is invalid for tcb_info"),
        "{notes:?}"
    );
    let refused = outlook.verify(&[&forge(&genuine, 3), &genuine]).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::EndorsementInvalid { origin, .. } if origin == "forged"),
        "{refused:?}"
    );
}

#[test]
fn a_certificate_that_any_current_document_takes_back_is_taken_back() {
    let outlook = Outlook::new(NEWEST_CPU_SVN);
    let revoked = [outlook.serial()];
    let (fine, revoking) = (outlook.document(2, 7, &[]), outlook.document(1, 7, &revoked));
    outlook.verify(&[&fine]).unwrap();
    let refused = outlook.verify(&[&fine, &revoking]).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Untrusted { what } if what.contains("CertRevoked")),
        "{refused:?}"
    );
}

/// A verifier that has verified a platform learns of its revocation from the next document.
#[test]
fn what_is_remembered_ends_with_a_newer_crl() {
    let outlook = Outlook::new(NEWEST_CPU_SVN);
    let evidence = outlook.fixture.evidence().bytes;
    let before = outlook.document(1, 7, &[]);
    let verifier = outlook.verifier();
    let verify = |documents: &[&Endorsement], now| {
        let endorsements = Endorsements(documents.iter().copied().cloned().collect());
        verifier.verify(&evidence, &endorsements, now)
    };
    verify(&[&before], NOW).unwrap();
    verify(&[&before], NOW).unwrap();
    // A minute later, and so with a higher CRL number.
    let later = NOW.plus(60_000);
    let root = outlook.fixture.vendor.root_der();
    let revoked = [outlook.serial()];
    let issued = outlook
        .signers
        .issue(root, collateral_term(later), CURRENT, &revoked);
    let after = Endorsement {
        bytes: to_json(&issued.unwrap()).unwrap(),
        ..before.clone()
    };
    for documents in [[&before, &after], [&after, &before]] {
        let refused = verify(&documents, later).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::Untrusted { what } if what.contains("CertRevoked")),
            "{refused:?}"
        );
    }
    verify(&[&before], later).unwrap();
}
