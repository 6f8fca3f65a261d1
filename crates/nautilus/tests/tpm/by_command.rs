//! A TPM's key is enrolled from the command line, and its quote verified, by the very commands of
//! `docs/tee/tpm.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, RSA_EK, nonce_of};
use crate::program::{Ran, command, finish, nautilus};

const REPORT_DATA: [u8; 64] = [0xc3; 64];

/// The fenced commands of the document that start so.
fn documented(start: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tee/tpm.md");
    let text = fs::read_to_string(path).unwrap();
    let mut fenced = text.split("```\n").skip(1).step_by(2);
    let found = fenced.find(|commands| commands.starts_with(start));
    found
        .unwrap_or_else(|| panic!("no commands start with {start}"))
        .to_owned()
}

/// Runs commands on the machine, where `nautilus` is the program under test.
fn shell(machine: &Machine, script: &str) -> Ran {
    let directory = nautilus().parent().map(Path::to_owned).unwrap();
    let others = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([directory].into_iter().chain(std::env::split_paths(&others)));
    let mut bash: Command = command(Path::new("bash"));
    bash.args(["-euo", "pipefail", "-c", script])
        .current_dir(machine.path())
        .env("PATH", path.unwrap())
        .env("TPM2TOOLS_TCTI", machine.tcti())
        .env("NONCE", nonce_of(&REPORT_DATA))
        .env("HEX", hex::encode(REPORT_DATA));
    finish(bash, b"")
}

fn run_documented(machine: &Machine, start: &str) -> Ran {
    let ran = shell(machine, &documented(start)).ends_with(0);
    machine.flush();
    ran
}

/// A machine whose keys are made by the documented commands, up to the credential.
fn started() -> Machine {
    let machine = Machine::new();
    // swtpm comes with the key that the document has made: the same one, which its seed and the template give.
    machine.run(&["tpm2_evictcontrol", "-Q", "-C", "o", "-c", RSA_EK.handle]);
    machine.extend(4, 4);
    run_documented(&machine, "tpm2_createek ");
    machine.write("maker.pem", &machine.read("ca/swtpm-localca-rootca-cert.pem"));
    machine.write("intermediates.pem", &machine.read("ca/issuercert.pem"));
    let told = run_documented(&machine, "nautilus enroll tpm start ").stdout;
    assert!(told.contains("id:00001014"), "IBM, who wrote swtpm: {told}");
    assert!(told.contains("-- revocation: "), "no list came along: {told}");
    fs::copy(
        machine.path().join("node1/credential"),
        machine.path().join("credential"),
    )
    .unwrap();
    machine
}

#[test]
fn an_enrolment_is_its_owners_alone_and_never_replaced() {
    let machine = started();
    let node = machine.path().join("node1");
    let mode = fs::metadata(&node).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let before = fs::read(node.join("enrolment.json")).unwrap();
    let again = shell(&machine, &documented("nautilus enroll tpm start ")).fails_with(2);
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::read(node.join("enrolment.json")).unwrap(), before);
    // Another enrolment has another secret.
    let other = documented("nautilus enroll tpm start ").replace("node1", "node2 --json");
    let facts = shell(&machine, &other).ends_with(0).json();
    assert_eq!(
        facts["ak_name"],
        hex::encode(machine.read("ak.name")).as_str(),
        "{facts}"
    );
    assert_eq!(facts["endorsement_key"]["tpm_model"], "swtpm", "{facts}");
    assert_eq!(facts["credential"], "node2/credential", "{facts}");
    assert_ne!(machine.read("node2/enrolment.json"), before);
    assert_ne!(machine.read("node2/credential"), machine.read("node1/credential"));
}

fn verify(machine: &Machine, report_data: &[u8], more: &[&str]) -> Ran {
    let mut program = command(&nautilus());
    program
        .args([
            "verify",
            "evidence.json",
            "--trust",
            "tpm-ak=tpm-ak.json",
            "--json",
        ])
        .args(["--report-data", &hex::encode(report_data)])
        .args(more)
        .current_dir(machine.path());
    finish(program, b"")
}

fn policy(machine: &Machine) -> PathBuf {
    shell(
        machine,
        "nautilus policy new --from evidence.json --trust tpm-ak=tpm-ak.json -o policy.yaml",
    )
    .ends_with(0);
    machine.path().join("policy.yaml")
}

#[test]
fn a_key_is_enrolled_and_its_quote_accepted_by_the_documented_commands() {
    let machine = started();
    run_documented(&machine, "tpm2_startauthsession ");
    let told = run_documented(&machine, "nautilus enroll tpm finish ").stdout;
    let name = hex::encode(machine.read("ak.name"));
    assert!(told.contains(&name), "{told}");
    assert!(told.contains("--trust tpm-ak=tpm-ak.json"), "{told}");
    assert!(!machine.path().join("node1").exists(), "an enrolment serves once");

    run_documented(&machine, "tpm2_quote ");
    let shown = run_documented(&machine, "nautilus verify ").stdout;
    assert!(shown.contains("verdict    genuine"), "{shown}");
    let policy = policy(&machine);
    let policy = ["--policy", policy.to_str().unwrap()];
    let report = verify(&machine, &REPORT_DATA, &policy).ends_with(0).json();
    assert_eq!(report["verdict"], "accepted", "{report}");
    let claims = &report["claims"];
    assert_eq!(claims["device"]["scheme"], "tpm-ek", "{report}");
    assert_eq!(claims["attributes"]["ak_name"], name.as_str());
    assert_eq!(claims["attributes"]["tpm_model"], "swtpm");
    assert_eq!(claims["report_data"], nonce_of(&REPORT_DATA).as_str());

    let other = verify(&machine, &[0x3c; 64], &policy).ends_with(1).json();
    assert_eq!(other["verdict"], "rejected", "{other}");
    assert_eq!(other["error"]["kind"], "report_data_mismatch", "{other}");

    // What boots next is not what the policy pins.
    machine.extend(4, 5);
    run_documented(&machine, "tpm2_quote ");
    let next = verify(&machine, &REPORT_DATA, &policy).ends_with(1).json();
    let failed: Vec<&Value> = next["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["passed"] == false)
        .collect();
    assert_eq!(failed.len(), 1, "{next}");
    assert_eq!(failed[0]["rule"], "pcr_policy.pcr4", "{next}");
}

#[test]
fn help_shows_the_documented_commands() {
    let ran = help();
    for start in [
        "nautilus enroll tpm request ",
        "nautilus enroll tpm start ",
        "nautilus enroll tpm answer ",
        "nautilus enroll tpm finish ",
    ] {
        for line in documented(start).lines() {
            let line = line.trim();
            assert!(
                ran.stdout.lines().any(|found| found.trim() == line),
                "{line}: {ran:?}"
            );
        }
    }
}

fn help() -> Ran {
    let mut program = command(&nautilus());
    program.args(["enroll", "tpm", "--help"]);
    finish(program, b"").ends_with(0)
}

#[test]
fn a_key_that_is_not_in_the_tpm_is_not_enrolled() {
    let (machine, other) = (started(), Machine::new());
    // The other machine's key, in the TPM whose endorsement key it is not under.
    let foreign = other.create_ak("ak", "ecc", "ecdsa");
    machine.write("foreign.pub", &foreign);
    let start = documented("nautilus enroll tpm start ")
        .replace("--ak ak.pub", "--ak foreign.pub")
        .replace("node1", "node2");
    shell(&machine, &start).ends_with(0);
    fs::copy(
        machine.path().join("node2/credential"),
        machine.path().join("credential"),
    )
    .unwrap();
    let refused = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &documented("tpm2_startauthsession ")])
        .current_dir(machine.path())
        .env("TPM2TOOLS_TCTI", machine.tcti())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("ActivateCredential"),
        "{told}"
    );

    // A guess enrols nothing, and the enrolment still waits.
    machine.write("guess", &[0; 32]);
    let guess = "nautilus enroll tpm finish node2 --secret guess -o tpm-ak.json";
    let told = shell(&machine, guess).fails_with(1);
    assert!(told.contains("not the credential's secret"), "{told}");
    assert!(!machine.path().join("tpm-ak.json").exists());
    assert!(machine.path().join("node2/enrolment.json").is_file());
}

/// Names the TPM of the test, where the document means the machine's own.
fn at_our_tpm(machine: &Machine, start: &str) -> String {
    format!(
        "{} --quote-provider {}",
        documented(start).trim_end(),
        machine.quote_provider()
    )
}

#[test]
fn both_sides_of_an_enrolment_are_nautilus_by_the_documented_commands() {
    for (kind, fact) in [
        ("", "by endorsement key rsa2048"),
        (" --ek p384", "by endorsement key p384"),
    ] {
        let machine = Machine::new();
        let request = at_our_tpm(&machine, "nautilus enroll tpm request ") + kind;
        let told = shell(&machine, &request).ends_with(0).stdout;
        assert!(told.contains(fact), "{told}");
        let again = shell(&machine, &request).fails_with(2);
        assert!(again.contains("is there already"), "{again}");

        machine.write("maker.pem", &machine.read("ca/swtpm-localca-rootca-cert.pem"));
        machine.write("intermediates.pem", &machine.read("ca/issuercert.pem"));
        shell(&machine, "cp request/* .").ends_with(0);
        run_documented(&machine, "nautilus enroll tpm start ");
        shell(&machine, "cp node1/credential .").ends_with(0);

        let answer = at_our_tpm(&machine, "nautilus enroll tpm answer ");
        shell(&machine, &answer).ends_with(0);
        let mode = fs::metadata(machine.path().join("secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = shell(&machine, &answer).fails_with(2);
        assert!(again.contains("is there already"), "{again}");

        let told = run_documented(&machine, "nautilus enroll tpm finish ").stdout;
        let facts = shell(
            &machine,
            &format!("{} --json", request.replace("-o request", "-o again")),
        )
        .ends_with(0)
        .json();
        let name = facts["ak_name"].as_str().unwrap();
        assert!(told.contains(name), "the key is the same each time: {told}");
    }
}

#[test]
fn a_credential_for_another_machine_is_not_opened() {
    let (machine, other) = (Machine::new(), Machine::new());
    for (of, name) in [(&machine, "own"), (&other, "other")] {
        let request = format!(
            "nautilus enroll tpm request -o {name} --quote-provider {}",
            of.quote_provider()
        );
        shell(&machine, &request).ends_with(0);
    }
    machine.write("maker.pem", &machine.read("ca/swtpm-localca-rootca-cert.pem"));
    machine.write("intermediates.pem", &machine.read("ca/issuercert.pem"));
    // This machine's endorsement key, and the other's attestation key.
    let start = documented("nautilus enroll tpm start ")
        .replace("ek.crt", "own/ek.crt")
        .replace("ek.pub", "own/ek.pub")
        .replace("ak.pub", "other/ak.pub");
    shell(&machine, &start).ends_with(0);
    shell(&machine, "cp node1/credential .").ends_with(0);
    for of in [&machine, &other] {
        let answer = at_our_tpm(of, "nautilus enroll tpm answer ");
        let told = shell(&machine, &answer).fails_with(1);
        assert!(told.contains("was it made for this machine's keys"), "{told}");
        assert!(told.contains("TPM2_ActivateCredential"), "{told}");
        assert!(!machine.path().join("secret").exists());
    }
    machine.write("credential", b"no credential");
    let told = shell(&machine, &at_our_tpm(&machine, "nautilus enroll tpm answer ")).fails_with(1);
    assert!(told.contains("credential is no credential"), "{told}");
}
