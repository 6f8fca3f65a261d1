//! A machine with a TPM in software, and tpm2-tools to speak to it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nautilus_tee::tpm::{HashAlgorithm, Public, PublicKey};
use tempfile::TempDir;

/// Makes a program end with the thread that started it (`prctl(2)`, PR_SET_PDEATHSIG).
const ENDS_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "TERM", "--"];
/// How long a TPM may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An endorsement key as swtpm makes and certifies it: where it is, where its certificate is, and whether using it
/// takes a policy session (template L-1) or nothing (H-3).
pub struct Ek {
    pub handle: &'static str,
    pub certificate: &'static str,
    pub by_policy: bool,
}

pub const RSA_EK: Ek = Ek {
    handle: "0x81010001",
    certificate: "0x1c00002",
    by_policy: true,
};
pub const ECC_EK: Ek = Ek {
    handle: "0x81010016",
    certificate: "0x1c00016",
    by_policy: false,
};

/// A machine with a TPM. Everything of it is in one directory, and ends with it.
pub struct Machine {
    dir: TempDir,
    tpm: Option<Child>,
    /// Where it listens, if not at a Unix socket.
    port: Option<u16>,
}

impl Machine {
    pub fn new() -> Self {
        let mut machine = Self {
            dir: tempfile::tempdir().unwrap(),
            tpm: None,
            port: None,
        };
        let at = |name: &str| machine.dir.path().join(name).display().to_string();
        for dir in ["state", "ca"] {
            fs::create_dir(at(dir)).unwrap();
        }
        let ca = format!(
            "statedir = {0}\nsigningkey = {0}/signkey.pem\nissuercert = {0}/issuercert.pem\ncertserial = {0}/serial\n",
            at("ca")
        );
        fs::write(at("ca.conf"), ca).unwrap();
        fs::write(at("ca.options"), "--platform-manufacturer Nautilus\n").unwrap();
        let setup = format!(
            "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
            at("ca.conf"),
            at("ca.options")
        );
        fs::write(at("setup.conf"), setup).unwrap();
        let state = format!("dir://{}", at("state"));
        let setup = at("setup.conf");
        let setup_command = [
            "swtpm_setup",
            "--tpm2",
            "--tpmstate",
            &state,
            "--create-ek-cert",
            "--config",
            &setup,
            "--pcr-banks",
            "sha1,sha256,sha384",
        ];
        machine.run(&[&ENDS_WITH_PARENT[..], &setup_command].concat());
        machine.start();
        machine
    }

    /// Starts the TPM, and waits until it answers. It ends with the test, even one that is killed.
    fn start(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let (state, control) = (format!("dir={}", at("state")), at("tpm.ctrl"));
        let server = match self.port {
            None => format!("type=unixio,path={}", at("tpm")),
            Some(port) => format!("type=tcp,port={port},bindaddr=127.0.0.1"),
        };
        let control_channel = format!("type=unixio,path={control}");
        let swtpm = [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            &state,
            "--server",
            &server,
            "--ctrl",
            &control_channel,
            "--flags",
            "not-need-init,startup-clear",
        ];
        let log = File::create(at("tpm.log")).unwrap();
        let mut tpm = Command::new(ENDS_WITH_PARENT[0])
            .args(&ENDS_WITH_PARENT[1..])
            .args(swtpm)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv: {error}: it is part of util-linux"));
        let started = Instant::now();
        while !self
            .command(&["swtpm_ioctl", "--unix", &control, "-c"])
            .status
            .success()
        {
            let ended = tpm.try_wait().unwrap();
            let told = || String::from_utf8_lossy(&self.read("tpm.log")).into_owned();
            assert!(ended.is_none(), "swtpm ended: {ended:?}: {}", told());
            if started.elapsed() > PATIENCE {
                tpm.kill().unwrap();
                panic!("swtpm does not answer");
            }
        }
        self.tpm = Some(tpm);
    }

    /// Restarts the machine: its TPM has the keys and the memory that it had, empty PCRs, and listens to TCP, where
    /// tpm2-tools do not find it.
    pub fn restart_over_tcp(&mut self) {
        self.end();
        // Free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        self.port = Some(free.local_addr().unwrap().port());
        drop(free);
        self.start();
    }

    fn end(&mut self) {
        if let Some(mut tpm) = self.tpm.take() {
            let ended = tpm.kill().and_then(|()| tpm.wait());
            assert!(std::thread::panicking() || ended.is_ok(), "swtpm: {ended:?}");
        }
    }

    /// The TPM, as Nautilus names it.
    pub fn quote_provider(&self) -> String {
        match self.port {
            None => format!("unix:{}", self.dir.path().join("tpm").display()),
            Some(port) => format!("tcp:127.0.0.1:{port}"),
        }
    }

    /// Sends a command of which nothing but its success matters.
    fn send(&self, command: &[u8]) {
        let mut tpm = TcpStream::connect(("127.0.0.1", self.port.unwrap())).unwrap();
        tpm.write_all(command).unwrap();
        let mut header = [0; 10];
        tpm.read_exact(&mut header).unwrap();
        assert_eq!(header[6..], [0; 4], "{header:02x?}");
    }

    /// What [`Machine::extend`] does, over TCP (`TPM2_PCR_Extend`).
    pub fn extend_by(&self, pcr: u8, byte: u8) {
        let mut command = vec![0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, pcr];
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend([0, 0, 0, 1, 0, 0x0b]);
        command.extend([byte; 32]);
        self.send(&command);
    }

    /// `TPM2_Clear` by the lockout authorization, over TCP.
    pub fn clear(&self) {
        let mut command = vec![0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x26, 0x40, 0, 0, 0x0a];
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        self.send(&command);
    }

    pub fn run(&self, command: &[&str]) -> Vec<u8> {
        let output = self.command(command);
        assert!(
            output.status.success(),
            "{}: {}",
            command.join(" "),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
        );
        output.stdout
    }

    pub fn command(&self, command: &[&str]) -> Output {
        Command::new(command[0])
            .args(&command[1..])
            .current_dir(self.dir.path())
            .env("TPM2TOOLS_TCTI", self.tcti())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}: run `scripts/setup.sh test`", command[0]))
    }

    /// Where tpm2-tools finds the TPM.
    pub fn tcti(&self) -> String {
        format!("swtpm:path={}", self.dir.path().join("tpm").display())
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// Nothing manages the TPM's memory here, which has room for three keys.
    pub fn flush(&self) {
        self.run(&["tpm2_flushcontext", "--transient-object"]);
    }

    pub fn create_ak(&self, name: &str, algorithm: &str, scheme: &str) -> Vec<u8> {
        let (context, public) = (format!("{name}.ctx"), format!("{name}.pub"));
        self.run(&[
            "tpm2_createak",
            "-C",
            RSA_EK.handle,
            "-c",
            &context,
            "-G",
            algorithm,
            "-g",
            "sha256",
            "-s",
            scheme,
            "-u",
            &public,
            "-n",
            &format!("{name}.name"),
        ]);
        self.flush();
        let ak = self.read(&public);
        let known = Public::parse("ak", &ak).unwrap();
        assert_eq!(known.name(), self.read(&format!("{name}.name")));
        ak
    }

    /// What the TPM gives back for the credential, or what it says instead.
    pub fn activate(&self, ek: &Ek, ak: &str, credential: &[u8]) -> Result<Vec<u8>, String> {
        self.write("credential", credential);
        let context = format!("{ak}.ctx");
        let mut command = vec![
            "tpm2_activatecredential",
            "-c",
            &context,
            "-C",
            ek.handle,
            "-i",
            "credential",
            "-o",
            "secret",
        ];
        if ek.by_policy {
            self.run(&["tpm2_startauthsession", "--policy-session", "-S", "session"]);
            self.run(&["tpm2_policysecret", "-S", "session", "-c", "e"]);
            command.extend(["-P", "session:session"]);
        }
        let output = self.command(&command);
        if ek.by_policy {
            self.run(&["tpm2_flushcontext", "session"]);
        }
        self.flush();
        match output.status.success() {
            true => Ok(self.read("secret")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub fn endorsement_key(&self, ek: &Ek) -> (Vec<u8>, Vec<u8>) {
        self.run(&["tpm2_nvread", ek.certificate, "-o", "ek.der"]);
        self.run(&["tpm2_readpublic", "-c", ek.handle, "-o", "ek.pub"]);
        (self.read("ek.der"), self.read("ek.pub"))
    }

    pub fn quote_of(&self, ak: &str, selection: &str, report_data: &[u8]) {
        let (context, nonce) = (format!("{ak}.ctx"), nonce_of(report_data));
        let key = Public::parse("ak", &self.read(&format!("{ak}.pub"))).unwrap();
        let scheme = key.scheme.unwrap().0.to_string();
        self.run(&[
            "tpm2_quote",
            "-c",
            &context,
            "-l",
            selection,
            "-q",
            &nonce,
            "-m",
            "quote.msg",
            "-s",
            "quote.sig",
            "-g",
            "sha256",
            "--scheme",
            &scheme,
        ]);
        self.flush();
    }

    /// Defines an index of the TPM's memory that anybody reads, with a file's content.
    pub fn define(&self, index: &str, file: &str) {
        let size = self.read(file).len().to_string();
        let attributes = "authread|authwrite|ownerread|ownerwrite";
        self.run(&["tpm2_nvdefine", "-Q", index, "-s", &size, "-a", attributes]);
        self.run(&["tpm2_nvwrite", "-Q", index, "-i", file]);
    }

    /// Has the maker certify the TPM's endorsement key on P-256, as it does of chips, and not of swtpm.
    pub fn certify_p256(&self, key: &Public) {
        let PublicKey::Ecc { x, y, .. } = &key.key else {
            panic!("{key:?}")
        };
        let (x, y) = (hex::encode(x), hex::encode(y));
        self.run(&[
            "swtpm_cert",
            "--tpm2",
            "--type",
            "ek",
            "--ecc-x",
            &x,
            "--ecc-y",
            &y,
            "--ecc-curveid",
            "secp256r1",
            "--issuercert",
            "ca/issuercert.pem",
            "--signkey",
            "ca/signkey.pem",
            "--serial",
            "256",
            "--days",
            "365",
            "--tpm-manufacturer",
            "id:00001014",
            "--tpm-model",
            "swtpm",
            "--tpm-version",
            "id:20191023",
            "--tpm-spec-family",
            "2.0",
            "--tpm-spec-revision",
            "164",
            "--tpm-spec-level",
            "0",
            "--out-cert",
            "p256.der",
        ]);
        self.define("0x1c0000a", "p256.der");
    }

    pub fn extend(&self, pcr: u8, byte: u8) {
        let digest = hex::encode([byte; 32]);
        self.run(&["tpm2_pcrextend", &format!("{pcr}:sha256={digest}")]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a TPM signs of report data, in hex.
pub fn nonce_of(report_data: &[u8]) -> String {
    hex::encode(HashAlgorithm::Sha256.digest([report_data]))
}
