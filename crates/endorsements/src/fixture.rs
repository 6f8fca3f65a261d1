//! Real documents, and services on this machine that answer, stall and lie.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nautilus_core::{EndorsementKind, UnixMillis, Want};
use serde_json::Value;

use crate::document::Document;
use crate::source::Base;

/// A platform whose collateral is real: FMSPC B0C06F000000.
pub(crate) const COLLATERAL: &str = "tdx/tdx-v5-td15ex/collateral-0.json";
/// The same platform two months before.
pub(crate) const OLDER: &str = "tdx/tdx-v5-td15ex/collateral-1.json";
/// Another platform: FMSPC 90C06F000000.
pub(crate) const OTHER: &str = "tdx/tdx-v5-td15/collateral-0.json";
/// A time at which [`COLLATERAL`] holds.
pub(crate) const NOW: UnixMillis = UnixMillis::from_secs(1_791_422_906);

pub(crate) fn vector(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn collateral(path: &str) -> Document {
    Document::read(EndorsementKind::DcapCollateral, vector(path)).unwrap()
}

/// What verification asks for that platform.
pub(crate) fn tdx_want(fmspc: &str) -> Want {
    let pcs = "https://api.trustedservices.intel.com";
    Want {
        kind: EndorsementKind::DcapCollateral,
        subject: format!("TDX platform {fmspc} (platform CA)"),
        urls: vec![
            format!("{pcs}/tdx/certification/v4/tcb?fmspc={fmspc}"),
            format!("{pcs}/tdx/certification/v4/qe/identity"),
            format!("{pcs}/sgx/certification/v4/pckcrl?ca=platform&encoding=der"),
            "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der".to_owned(),
        ],
    }
}

/// A real VCEK's chip and TCB, as KDS is asked for them.
pub(crate) fn vcek_want(path: &str) -> Want {
    let document = Document::read(EndorsementKind::Certificate, vector(path)).unwrap();
    let crate::document::Subject::Vcek { product, hwid, tcb } = document.subject().clone() else {
        panic!("{path} is no VCEK");
    };
    let fmc = tcb.fmc.map(|fmc| format!("fmcSPL={fmc:02}&")).unwrap_or_default();
    Want {
        kind: EndorsementKind::Certificate,
        subject: document.subject().to_string(),
        urls: vec![format!(
            "https://kdsintf.amd.com/vcek/v1/{product}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
            hex::encode(hwid),
            tcb.boot_loader,
            tcb.tee,
            tcb.snp,
            tcb.microcode,
        )],
    }
}

pub(crate) fn crl_want(product: &str) -> Want {
    Want {
        kind: EndorsementKind::Crl,
        subject: format!("ARK-{product}"),
        urls: vec![format!("https://kdsintf.amd.com/vcek/v1/{product}/crl")],
    }
}

/// A revocation list of an issuer, in DER.
pub(crate) fn crl(issuer: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, issuer);
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name = name;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let issuer = rcgen::Issuer::new(ca, key);
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 9, 1),
        next_update: rcgen::date_time_ymd(2027, 3, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

/// What a fake service does with a request.
#[derive(Clone)]
pub(crate) enum Does {
    /// Sends these bytes and closes.
    Sends(Vec<u8>),
    /// Sends these bytes, then one more from time to time until the client leaves.
    Drips(Vec<u8>),
    /// Sends these bytes, then zeros until the client leaves.
    Floods(Vec<u8>),
    /// Panics, which closes the connection.
    Hangs,
}

impl Does {
    pub(crate) fn answers(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        Self::Sends([head.as_bytes(), b"\r\n", body].concat())
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self::answers("200 OK", &[], body)
    }

    pub(crate) fn status(status: &str) -> Self {
        Self::answers(status, &[], b"")
    }
}

/// A service on a free port of this machine, with what it was asked.
pub(crate) struct Service {
    base: Base,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Does what `answer` says for each path and query; `count` is how often the same was asked before.
    pub(crate) fn start(answer: impl Fn(&str, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let log = Arc::clone(&asked);
        // It ends with the test's process: nothing waits for a listener without connections.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { base, asked }
    }

    pub(crate) fn base(&self) -> Base {
        self.base.clone()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str, usize) -> Does, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        request += &line;
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let count = {
        let mut log = log.lock().unwrap();
        log.push(path.clone());
        log.iter().filter(|asked| **asked == path).count() - 1
    };
    // A client that leaves early is the client's business.
    match answer(&path, count) {
        Does::Sends(bytes) => drop(stream.write_all(&bytes)),
        Does::Floods(bytes) => {
            let mut result = stream.write_all(&bytes);
            while result.is_ok() {
                result = stream.write_all(&[b'0'; 64 * 1024]);
            }
        }
        Does::Drips(bytes) => {
            let mut result = stream.write_all(&bytes);
            // The next byte goes out when nothing was heard of the client for this long.
            stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            while result.is_ok() {
                if matches!(stream.read(&mut [0]), Ok(0)) {
                    return;
                }
                result = stream.write_all(b"x");
            }
        }
        Does::Hangs => {
            // Nothing is read until the client has left.
            let _ = stream.read(&mut [0; 1]);
        }
    }
}

/// Intel's service with real documents in its answers.
pub(crate) struct Pcs {
    standard: BTreeMap<String, String>,
    early: BTreeMap<String, String>,
}

impl Pcs {
    pub(crate) fn with(path: &str) -> Self {
        let value: Value = serde_json::from_slice(&vector(path)).unwrap();
        let fields = |value: &Value| {
            let fields = value.as_object().unwrap().iter();
            fields
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        Self {
            standard: fields(&value),
            early: fields(&value),
        }
    }

    /// With TCB Info of the next evaluation where `update=early` is asked. Intel did not sign it.
    pub(crate) fn with_early(path: &str, from: &str, to: &str) -> Self {
        let mut pcs = Self::with(path);
        let tcb_info = pcs.early.get_mut("tcb_info").unwrap();
        assert!(tcb_info.contains(from));
        *tcb_info = tcb_info.replace(from, to);
        pcs
    }

    /// What it answers.
    pub(crate) fn answer(&self, path: &str) -> Does {
        let fields = if path.contains("update=early") {
            &self.early
        } else {
            &self.standard
        };
        let field = |name: &str| fields[name].as_str();
        let signed = |name: &str, inner: &str, header: &str| {
            let body = format!(
                "{{\"{name}\":{},\"signature\":\"{}\"}}",
                field(inner),
                field(&format!("{inner}_signature"))
            );
            let chain = encoded(field(&format!("{inner}_issuer_chain")));
            Does::answers("200 OK", &[(header, &chain)], body.as_bytes())
        };
        if path.contains("/tcb?") {
            signed("tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain")
        } else if path.contains("/qe/identity") {
            signed(
                "enclaveIdentity",
                "qe_identity",
                "SGX-Enclave-Identity-Issuer-Chain",
            )
        } else if path.contains("/pckcrl") {
            let chain = encoded(field("pck_crl_issuer_chain"));
            let crl = hex::decode(field("pck_crl")).unwrap();
            Does::answers("200 OK", &[("SGX-PCK-CRL-Issuer-Chain", &chain)], &crl)
        } else if path.contains("/rootcacrl") {
            // As a caching service does: in hex.
            Does::ok(field("root_ca_crl").as_bytes())
        } else {
            Does::status("404 Not Found")
        }
    }
}

/// As Intel encodes headers.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
