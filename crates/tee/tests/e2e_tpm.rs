//! A whole TPM, in software: its maker's certificate authority, its endorsement keys, attestation keys that are
//! enrolled by credential activation, quotes by them, and what is refused. tpm2-tools speaks to the TPM; everything
//! of the verifier's side is Nautilus's own.

#![cfg(feature = "verify")]

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use nautilus_core::{
        AnchorRole, Binding, Claims, Endorsement, EndorsementKind, Endorsements, Evidence as CoreEvidence,
        TeeKind, TrustAnchor, TrustAnchors, UnixMillis, Verified, VerifierSet, VerifyError,
    };
    use nautilus_tee::tpm::{Enrolment, Evidence, HashAlgorithm, PcrValues, Public, Randomness, Verifier};
    use sha2::{Digest as _, Sha256};
    use tempfile::TempDir;

    /// Report data, of which a TPM signs the SHA-256.
    const REPORT_DATA: [u8; 64] = [0x5a; 64];

    /// An endorsement key as swtpm makes and certifies it: where it is, where its certificate is, and whether using it
    /// takes a policy session (template L-1) or nothing (H-3).
    struct Ek {
        handle: &'static str,
        certificate: &'static str,
        by_policy: bool,
    }

    const RSA_EK: Ek = Ek {
        handle: "0x81010001",
        certificate: "0x1c00002",
        by_policy: true,
    };
    const ECC_EK: Ek = Ek {
        handle: "0x81010016",
        certificate: "0x1c00016",
        by_policy: false,
    };

    /// A machine with a TPM. Everything of it is in one directory, and ends with it.
    struct Machine {
        dir: TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self {
                dir: tempfile::tempdir().unwrap(),
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
            machine.run(&[
                "swtpm_setup",
                "--tpm2",
                "--tpmstate",
                &state,
                "--create-ek-cert",
                "--config",
                &setup,
                "--pcr-banks",
                "sha1,sha256,sha384",
            ]);
            let state = format!("dir={}", at("state"));
            let (server, control) = (
                format!("type=unixio,path={}", at("tpm")),
                format!("type=unixio,path={}", at("tpm.ctrl")),
            );
            machine.run(&[
                "swtpm",
                "socket",
                "--tpm2",
                "--daemon",
                "--tpmstate",
                &state,
                "--server",
                &server,
                "--ctrl",
                &control,
                "--flags",
                "not-need-init,startup-clear",
            ]);
            machine
        }

        fn run(&self, command: &[&str]) -> Vec<u8> {
            let output = self.command(command);
            assert!(
                output.status.success(),
                "{}: {}",
                command.join(" "),
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            );
            output.stdout
        }

        fn command(&self, command: &[&str]) -> std::process::Output {
            let tcti = format!("swtpm:path={}", self.dir.path().join("tpm").display());
            Command::new(command[0])
                .args(&command[1..])
                .current_dir(self.dir.path())
                .env("TPM2TOOLS_TCTI", tcti)
                .output()
                .unwrap_or_else(|error| panic!("{}: {error}: run `scripts/setup.sh test`", command[0]))
        }

        fn read(&self, name: &str) -> Vec<u8> {
            fs::read(self.dir.path().join(name)).unwrap()
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.dir.path().join(name), bytes).unwrap();
        }

        /// Nothing manages the TPM's memory here, which has room for three keys.
        fn flush(&self) {
            self.run(&["tpm2_flushcontext", "--transient-object"]);
        }

        /// What the maker's root is to a relying party.
        fn root(&self) -> TrustAnchor {
            TrustAnchor {
                role: AnchorRole::TpmRoot,
                bytes: self.read("ca/swtpm-localca-rootca-cert.pem"),
                origin: "the maker".to_owned(),
            }
        }

        fn intermediates(&self) -> Endorsements {
            let der = pem::parse(self.read("ca/issuercert.pem"))
                .unwrap()
                .into_contents();
            Endorsements(vec![Endorsement {
                kind: EndorsementKind::Certificate,
                bytes: der,
                origin: "the maker".to_owned(),
            }])
        }

        fn create_ak(&self, name: &str, algorithm: &str, scheme: &str) -> Vec<u8> {
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
        fn activate(&self, ek: &Ek, ak: &str, credential: &[u8]) -> Result<Vec<u8>, String> {
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

        /// Enrols the key, and gives the trust anchor that this leaves behind.
        fn enrol(&self, ek: &Ek, ak: &str) -> TrustAnchor {
            let verifier = Verifier::new(&TrustAnchors(vec![self.root()])).unwrap();
            let (certificate, public) = self.endorsement_key(ek);
            let key = verifier
                .endorsement_key(&certificate, &public, &self.intermediates(), now())
                .unwrap();
            assert_eq!(
                key.describe()["tpm_manufacturer"],
                "id:00001014",
                "IBM, who wrote swtpm"
            );
            let mut randomness = Randomness {
                secret: [0; 32],
                seed: [0; 64],
            };
            aws_lc_rs::rand::fill(&mut randomness.secret).unwrap();
            aws_lc_rs::rand::fill(&mut randomness.seed).unwrap();
            let ak_public = self.read(&format!("{ak}.pub"));
            let (enrolment, credential) = Enrolment::start(key, &ak_public, &randomness).unwrap();
            let secret = self.activate(ek, ak, &credential.to_tpm2_tools()).unwrap();
            assert_eq!(secret, randomness.secret, "the TPM gives our secret back");
            TrustAnchor {
                role: AnchorRole::TpmAttestationKey,
                bytes: enrolment.confirm(&secret).unwrap().to_anchor().into_bytes(),
                origin: "the enrolment".to_owned(),
            }
        }

        fn endorsement_key(&self, ek: &Ek) -> (Vec<u8>, Vec<u8>) {
            self.run(&["tpm2_nvread", ek.certificate, "-o", "ek.der"]);
            self.run(&["tpm2_readpublic", "-c", ek.handle, "-o", "ek.pub"]);
            (self.read("ek.der"), self.read("ek.pub"))
        }

        /// The evidence that `docs/tee/tpm.md` tells how to make.
        fn quote(&self, ak: &str, bank: HashAlgorithm, pcrs: &[u8], report_data: &[u8]) -> Evidence {
            let list: Vec<String> = pcrs.iter().map(u8::to_string).collect();
            self.quote_of(ak, &format!("{}:{}", bank.name(), list.join(",")), report_data);
            Evidence {
                attest: self.read("quote.msg"),
                signature: self.read("quote.sig"),
                ak_public: self.read(&format!("{ak}.pub")),
                ak_certificate: None,
                ek_certificate: None,
                pcrs: self.values(bank, pcrs),
            }
        }

        fn quote_of(&self, ak: &str, selection: &str, report_data: &[u8]) {
            let (context, nonce) = (format!("{ak}.ctx"), hex::encode(Sha256::digest(report_data)));
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

        fn values(&self, bank: HashAlgorithm, pcrs: &[u8]) -> PcrValues {
            let list: Vec<String> = pcrs.iter().map(u8::to_string).collect();
            self.run(&[
                "tpm2_pcrread",
                &format!("{}:{}", bank.name(), list.join(",")),
                "-o",
                "values",
            ]);
            let values = self.read("values");
            let values = values.chunks_exact(bank.digest_len()).map(<[u8]>::to_vec);
            PcrValues {
                bank,
                values: pcrs.iter().copied().zip(values).collect(),
            }
        }

        fn extend(&self, pcr: u8, byte: u8) {
            let digest = hex::encode([byte; 32]);
            self.run(&["tpm2_pcrextend", &format!("{pcr}:sha256={digest}")]);
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let control = self.dir.path().join("tpm.ctrl").display().to_string();
            let ended = self.command(&["swtpm_ioctl", "--unix", &control, "-s"]);
            assert!(
                std::thread::panicking() || ended.status.success(),
                "swtpm could not be ended"
            );
        }
    }

    fn now() -> UnixMillis {
        UnixMillis::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    fn production(anchors: &[TrustAnchor]) -> VerifierSet {
        nautilus_tee::production(&TrustAnchors(anchors.to_vec())).unwrap()
    }

    fn verify(
        set: &VerifierSet,
        evidence: &Evidence,
        report_data: &[u8],
    ) -> Result<Verified<Claims>, VerifyError> {
        let bytes = evidence.to_json().into_bytes();
        assert_eq!(set.recognise(&bytes), Some(TeeKind::Tpm));
        let evidence = CoreEvidence {
            tee: TeeKind::Tpm,
            bytes,
            user_data: None,
            event_log: None,
        };
        set.verify(
            &evidence,
            Binding::ReportData(report_data),
            &Endorsements::default(),
            now(),
        )
    }

    const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

    #[test]
    fn keys_of_every_kind_are_enrolled_and_their_quotes_verify() {
        let machine = Machine::new();
        machine.extend(7, 7);
        let cases = [
            ("rsassa", "rsa", "rsassa", RSA_EK, "rsassa-sha256"),
            ("rsapss", "rsa", "rsapss", ECC_EK, "rsapss-sha256"),
            ("ecdsa", "ecc", "ecdsa", ECC_EK, "ecdsa-sha256"),
        ];
        for (name, algorithm, scheme, ek, signature) in cases {
            machine.create_ak(name, algorithm, scheme);
            let anchor = machine.enrol(&ek, name);
            let evidence = machine.quote(name, SHA256, &[0, 7, 9], &REPORT_DATA);
            let claims = verify(&production(&[anchor]), &evidence, &REPORT_DATA).unwrap();
            assert_eq!(claims.device.scheme, "tpm-ek", "{name}");
            assert_eq!(claims.attributes["quote_signature"], signature);
            assert_eq!(claims.attributes["tpm_model"], "swtpm");
            assert_eq!(claims.report_data.0, Sha256::digest(REPORT_DATA).as_slice());
            let once = Sha256::digest([[0; 32], [7; 32]].concat());
            assert_eq!(claims.measurements["pcr7"].0, once.as_slice(), "{name}");
            assert_eq!(claims.measurements["pcr9"].0, [0; 32], "{name}");
            assert_eq!(claims.measurements.len(), 3);
        }
    }

    #[test]
    fn a_quote_of_the_bank_of_sha384_verifies() {
        let machine = Machine::new();
        machine.create_ak("ak", "ecc", "ecdsa");
        let set = production(&[machine.enrol(&RSA_EK, "ak")]);
        let evidence = machine.quote("ak", HashAlgorithm::Sha384, &[0, 1], &REPORT_DATA);
        let claims = verify(&set, &evidence, &REPORT_DATA).unwrap();
        assert_eq!(claims.attributes["pcr_bank"], "sha384");
        assert_eq!(claims.measurements["pcr1"].0, [0; 48]);
    }

    #[test]
    fn quotes_that_prove_nothing_are_refused() {
        let machine = Machine::new();
        machine.create_ak("ak", "rsa", "rsassa");
        machine.create_ak("other", "rsa", "rsassa");
        let set = production(&[machine.enrol(&RSA_EK, "ak")]);
        let genuine = machine.quote("ak", SHA256, &[0, 7], &REPORT_DATA);
        verify(&set, &genuine, &REPORT_DATA).unwrap();

        let error = verify(&set, &genuine, &[0x5b; 64]).unwrap_err();
        assert!(
            matches!(error, VerifyError::ReportDataMismatch { .. }),
            "another challenge: {error}"
        );

        let by_other = machine.quote("other", SHA256, &[0, 7], &REPORT_DATA);
        let error = verify(&set, &by_other, &REPORT_DATA).unwrap_err();
        assert!(
            matches!(error, VerifyError::KeyNotEnrolled { .. }),
            "another key: {error}"
        );
        let mut swapped = by_other;
        swapped.ak_public.clone_from(&genuine.ak_public);
        let error = verify(&set, &swapped, &REPORT_DATA).unwrap_err();
        assert!(
            matches!(error, VerifyError::SignatureInvalid { .. }),
            "another key's signature: {error}"
        );

        machine.extend(7, 1);
        let mut extended = genuine.clone();
        extended.pcrs = machine.values(SHA256, &[0, 7]);
        assert_ne!(extended.pcrs, genuine.pcrs);
        let error = verify(&set, &extended, &REPORT_DATA).unwrap_err();
        assert!(
            matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
            "values from after the quote: {error}"
        );
        let again = machine.quote("ak", SHA256, &[0, 7], &REPORT_DATA);
        assert_eq!(
            verify(&set, &again, &REPORT_DATA).unwrap().measurements["pcr7"].0,
            again.pcrs.values[&7]
        );
    }

    #[test]
    fn selections_that_prove_nothing_are_refused() {
        let machine = Machine::new();
        machine.create_ak("ak", "ecc", "ecdsa");
        let set = production(&[machine.enrol(&ECC_EK, "ak")]);
        machine.extend(16, 1);
        let mut debug = machine.quote("ak", SHA256, &[16], &REPORT_DATA);
        let error = verify(&set, &debug, &REPORT_DATA).unwrap_err();
        assert!(
            matches!(&error, VerifyError::SelectionMismatch { expected, found }
                if found == "sha256:16" && expected.contains("any but 16 and 23")),
            "{error}"
        );
        let value = debug.pcrs.values.remove(&16).unwrap();
        debug.pcrs.values.insert(0, value);
        let error = verify(&set, &debug, &REPORT_DATA).unwrap_err();
        assert!(
            matches!(&error, VerifyError::SelectionMismatch { expected, found }
                if found == "sha256:16" && expected.starts_with("sha256:0,")),
            "PCR 16 as PCR 0: {error}"
        );
        let both = machine.quote("ak", SHA256, &[0, 16], &REPORT_DATA);
        let claims = verify(&set, &both, &REPORT_DATA).unwrap();
        assert_eq!(
            claims.measurements.keys().collect::<Vec<_>>(),
            ["pcr0"],
            "PCR 16 measures nothing"
        );

        let mut evidence = machine.quote("ak", SHA256, &[0, 7], &REPORT_DATA);
        for (selection, says) in [
            ("sha1:0,7", "PCR bank sha1"),
            ("sha1:0,7+sha256:0,7", "one PCR bank"),
        ] {
            machine.quote_of("ak", selection, &REPORT_DATA);
            evidence.attest = machine.read("quote.msg");
            evidence.signature = machine.read("quote.sig");
            let error = verify(&set, &evidence, &REPORT_DATA).unwrap_err();
            assert!(error.to_string().contains(says), "{selection}: {error}");
        }
    }

    #[test]
    fn a_key_of_another_tpm_is_not_enrolled() {
        let (machine, other) = (Machine::new(), Machine::new());
        machine.create_ak("ak", "ecc", "ecdsa");
        let foreign = other.create_ak("ak", "ecc", "ecdsa");
        let verifier = Verifier::new(&TrustAnchors(vec![machine.root()])).unwrap();
        for ek in [RSA_EK, ECC_EK] {
            let (certificate, public) = machine.endorsement_key(&ek);
            let intermediates = machine.intermediates();
            let key = verifier
                .endorsement_key(&certificate, &public, &intermediates, now())
                .unwrap();
            let randomness = Randomness {
                secret: [1; 32],
                seed: [2; 64],
            };
            let (_, credential) = Enrolment::start(key, &foreign, &randomness).unwrap();
            let credential = credential.to_tpm2_tools();
            // The machine has the endorsement key and not the attestation key; the other machine the reverse.
            let refusal = machine.activate(&ek, "ak", &credential).unwrap_err();
            assert!(refusal.contains("ActivateCredential"), "{refusal}");
            let refusal = other.activate(&ek, "ak", &credential).unwrap_err();
            assert!(refusal.contains("ActivateCredential"), "{refusal}");
            // And nobody's root vouches for the other machine's endorsement key.
            let (certificate, public) = other.endorsement_key(&ek);
            let error = verifier
                .endorsement_key(&certificate, &public, &other.intermediates(), now())
                .unwrap_err();
            assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error}");
        }
    }
}
