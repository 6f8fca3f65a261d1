//! A TPM that answers anything: nothing panics, every command is one that a TPM could read, and evidence that comes of
//! it is for the report data that was asked for.
//!
//! The first byte chooses the work. Then the responses: a byte, a length of two bytes, the response. After byte 0 it is
//! as it stands; after any other it gets the header of a success.
#![no_main]

use std::sync::Arc;

use nautilus_core::{
    AttestError, Attester as _, BootId, BoundUserData, Challenge, Digest32, EventLogHead, NodeId, PublicKey,
    Purpose, ReportData, Sealer as _, TeeKind,
};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::tpm::{
    Attest, Credential, EnrolmentRequest, Evidence, MAX_RESPONSE, Public, Tpm, TpmAttester, TpmSealer,
    Transport, answer_credential,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((work, responses)) = bytes.split_first() else {
        return;
    };
    let tpm = Arc::new(Tpm::over(Box::new(Answers(responses.to_vec()))));
    match work % 6 {
        0 => {
            if let Ok(raw) = TpmAttester::new(tpm).attest(&report_data()) {
                let evidence = Evidence::parse(&raw.bytes).expect("evidence reads back");
                let attest = Attest::parse(&evidence.attest).expect("the quote is one");
                assert_eq!(attest.extra_data, report_data().sha256());
            }
        }
        1 => {
            if let Ok(sealed) = TpmSealer::new(tpm).seal(b"state") {
                assert!(sealed.windows(5).all(|window| window != b"state"));
            }
        }
        2 => {
            let sealed = [b"NAUTILUS-TPM\x01\0\x01p\0\x01s".as_slice(), &[0; 64]].concat();
            assert!(TpmSealer::new(tpm).unseal(&sealed).is_err(), "no key opens zeros");
        }
        3 => {
            let sealer = TpmSealer::new(tpm);
            let counter = sealer.counter().expect("a TPM has a counter");
            if let (Ok(before), Ok(after)) = (counter.read(), counter.advance()) {
                assert!(after > 0, "{before} {after}");
            }
        }
        4 => {
            if let Ok(request) = EnrolmentRequest::of(&tpm, None) {
                let ak = Public::parse("ak", &request.ak_public).expect("the key reads back");
                assert!(ak.check_attestation_key().is_ok());
            }
        }
        _ => {
            let credential = Credential {
                credential_blob: vec![0, 0],
                encrypted_secret: vec![0; 258],
            };
            if let Ok(secret) = answer_credential(&tpm, &credential) {
                assert!(secret.len() <= 64);
            }
        }
    }
});

struct Answers(Vec<u8>);

impl Transport for Answers {
    fn interface(&self) -> &str {
        "the fuzzer"
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        let size = u32::from_be_bytes(command[2..6].try_into().expect("a command has a header"));
        assert_eq!(size as usize, command.len());
        let [kind, high, low, ..] = *self.0.as_slice() else {
            return Err(AttestError::Vendor {
                what: "no more answers".to_owned(),
            });
        };
        let length = usize::from(u16::from_be_bytes([high, low])) % MAX_RESPONSE;
        let end = (3 + length).min(self.0.len());
        let body = self.0[3..end].to_vec();
        self.0.drain(..end);
        let mut response = body;
        if kind != 0 {
            let size = (response.len() + 10) as u32;
            let header = [&command[..2], &size.to_be_bytes(), &[0; 4]].concat();
            response = [header, response].concat();
        }
        // One that is busy is waited for, in which nothing is to be found.
        if let Some(code @ [_, _, 9, _]) = response.get_mut(6..10) {
            code[2] = 1;
        }
        Ok(response)
    }
}

fn report_data() -> ReportData {
    Challenge::from_digest(Digest32([1; 32])).bind(&BoundUserData {
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
