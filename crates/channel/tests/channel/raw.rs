//! A peer that is none of ours: TLS by rustls as the test sets it up, and frames by hand, so that it may say anything.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use nautilus_channel::{
    ChannelError, Credential, CredentialKind, EXPORTER_LABEL, Frame, FrameReader, GROUP, HEADER, Hello,
    Message, MessageId, MessageType, Present, SessionKeyHolder as _, Verdict, decode_bcs, encode_bcs,
    encode_header,
};
use nautilus_core::{ChallengeTerms, Digest32, End, Purpose, Role, SessionBinding, UnixMillis};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Key, NODE, START, Side, Tee, VERIFIER, agent, verifier};
use crate::setup::{Setup, spki_of};

/// What a `handshake` message holds, as the protocol has it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Content {
    Hello(Box<Hello>),
    Verdict(Verdict),
}

/// The peer.
pub struct Raw {
    pub tls: Connection,
    pub error: Option<rustls::Error>,
    pub nonce: Digest32,
    pub key: Digest32,
    /// Number of its last frame.
    pub sent: u64,
    end: End,
    plain: Vec<u8>,
    reader: FrameReader,
}

impl Raw {
    pub fn initiator(setup: &Setup) -> Self {
        let name = ServerName::try_from("anybody.invalid").unwrap();
        let tls = ClientConnection::new(Arc::new(setup.client_config()), name).unwrap();
        Self::new(tls.into(), End::Initiator, setup)
    }

    pub fn responder(setup: &Setup) -> Self {
        let tls = ServerConnection::new(Arc::new(setup.server_config())).unwrap();
        Self::new(tls.into(), End::Responder, setup)
    }

    pub fn new(tls: Connection, end: End, setup: &Setup) -> Self {
        Self {
            tls,
            error: None,
            nonce: Digest32([0x55; 32]),
            key: Digest32(Sha256::digest(spki_of(setup.key)).into()),
            sent: 0,
            end,
            plain: Vec::new(),
            reader: FrameReader::default(),
        }
    }

    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.error.is_none() {
            if self.tls.read_tls(&mut bytes).unwrap() == 0 {
                return;
            }
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let mut plain = vec![0; state.plaintext_bytes_to_read()];
                    self.tls.reader().read_exact(&mut plain).unwrap();
                    self.plain.extend(plain);
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// Carries bytes until nobody has any; how the honest end failed, if it did.
    pub fn carry(&mut self, side: &mut Side<'_>) -> Option<ChannelError> {
        let mut failed = None;
        loop {
            let (from_raw, from_side) = (self.output(), side.output());
            if from_raw.is_empty() && from_side.is_empty() {
                return failed;
            }
            if failed.is_none() {
                failed = side.take(&from_raw).err();
            }
            self.take(&from_side);
        }
    }

    /// The next frame of the honest end.
    pub fn heard(&mut self) -> Option<Frame> {
        let mut bytes = self.plain.as_slice();
        let frame = self.reader.push(&mut bytes, |_| usize::MAX).unwrap();
        self.plain = bytes.to_vec();
        frame
    }

    fn heard_message(&mut self, message_type: MessageType) -> Message {
        let message = self.heard().unwrap().into_message().unwrap();
        assert_eq!(message.message_type, message_type);
        message
    }

    pub fn heard_hello(&mut self) -> Hello {
        let message = self.heard_message(MessageType::Handshake);
        match decode_bcs(&message.payload).unwrap() {
            Content::Hello(hello) => *hello,
            Content::Verdict(verdict) => panic!("{verdict:?}"),
        }
    }

    pub fn heard_credential(&mut self) -> Credential {
        decode_bcs(&self.heard_message(MessageType::Attestation).payload).unwrap()
    }

    /// The name of the fault with which the honest end gave up.
    pub fn heard_fault(&mut self) -> nautilus_channel::Fault {
        decode_bcs(&self.heard_message(MessageType::Error).payload).unwrap()
    }

    /// The header of the next frame, as it must be.
    pub fn header(&mut self, message_type: MessageType, length: usize) -> [u8; HEADER] {
        self.sent += 1;
        let id = MessageId::CHANNEL;
        encode_header(message_type, id, false, self.sent, START.wall, length, None).unwrap()
    }

    pub fn write(&mut self, header: [u8; HEADER], payload: &[u8]) {
        self.plain_text(&[&header, payload].concat());
    }

    pub fn plain_text(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    pub fn frame(&mut self, message_type: MessageType, payload: &[u8]) {
        let header = self.header(message_type, payload.len());
        self.write(header, payload);
    }

    pub fn say(&mut self, content: &Content) {
        self.frame(MessageType::Handshake, &encode_bcs(content).unwrap());
    }

    pub fn say_verdict(&mut self) {
        self.say(&Content::Verdict(Verdict {
            accepted_until: UnixMillis(u64::MAX),
            note: Vec::new(),
        }));
    }

    pub fn say_credential(&mut self, credential: &Credential) {
        self.frame(MessageType::Attestation, &encode_bcs(credential).unwrap());
    }

    /// What an honest participant would say first.
    pub fn hello(&self) -> Hello {
        let key = Key::new(VERIFIER).public();
        let challenge = ChallengeTerms {
            verifier: key,
            node: NODE,
            purpose: Purpose::Runtime,
            nonce: self.nonce,
            issued_at: START.wall,
            expires_at: START.wall.plus(60_000),
        };
        let (role, presents, demands) = match self.end {
            End::Initiator => (Role::Agent, CredentialKind::Evidence, CredentialKind::Key),
            End::Responder => (Role::Verifier, CredentialKind::Key, CredentialKind::Evidence),
        };
        Hello {
            version: 1,
            role,
            node: Some(NODE),
            nonce: self.nonce,
            presents,
            demands,
            challenge: (self.end == End::Responder).then_some(challenge),
        }
    }

    pub fn say_hello(&mut self) {
        self.say(&Content::Hello(Box::new(self.hello())));
    }

    /// This session, as an honest participant in its place would state it.
    pub fn session(&self, peer: Digest32) -> SessionBinding {
        let (role, peer_role, initiator, responder) = match self.end {
            End::Initiator => (Role::Agent, Role::Verifier, self.nonce, peer),
            End::Responder => (Role::Verifier, Role::Agent, peer, self.nonce),
        };
        let context = [initiator.0, responder.0].concat();
        let certificate = self.tls.peer_certificates().unwrap().first().unwrap();
        let parsed = webpki::EndEntityCert::try_from(certificate).unwrap();
        SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role,
            peer_role,
            end: self.end,
            node: NODE,
            exporter: Digest32(
                self.tls
                    .export_keying_material([0; 32], EXPORTER_LABEL, Some(&context))
                    .unwrap(),
            ),
            initiator_nonce: initiator,
            responder_nonce: responder,
            own_key: self.key,
            peer_key: Digest32(Sha256::digest(parsed.subject_public_key_info()).into()),
            group: GROUP,
        }
    }
}

/// A peer that said its hello to a verifier, and what its evidence would have to be made for.
pub fn greeted<'a>(setup: &Setup, tee: &'a Tee) -> (Raw, Side<'a>, Present) {
    let (mut raw, mut side) = (Raw::initiator(setup), Side::responder(verifier(), tee));
    assert_eq!(raw.carry(&mut side), None);
    raw.say_hello();
    assert_eq!(raw.carry(&mut side), None);
    let hello = raw.heard_hello();
    assert!(matches!(raw.heard_credential(), Credential::Key { .. }));
    let present = Present {
        terms: hello.challenge.unwrap(),
        session: raw.session(hello.nonce),
    };
    (raw, side, present)
}

/// A peer that is attested, and malicious from here on.
pub fn attested<'a>(tee: &'a Tee, limits: nautilus_channel::Limits) -> (Raw, Side<'a>) {
    let mut config = verifier();
    config.limits = limits;
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(config, tee));
    assert_eq!(raw.carry(&mut side), None);
    raw.say_hello();
    assert_eq!(raw.carry(&mut side), None);
    let hello = raw.heard_hello();
    raw.heard_credential();
    let (terms, session) = (hello.challenge.unwrap(), raw.session(hello.nonce));
    let evidence = tee.present(&Present { terms, session });
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(evidence)));
    assert_eq!(raw.carry(&mut side), None);
    assert!(raw.heard().is_some());
    assert!(side.end.peer().is_some());
    (raw, side)
}

/// One in the place of the verifier, whose TLS with an agent is done, and the agent's hello.
pub fn called<'a>(setup: &Setup, tee: &'a Tee) -> (Raw, Side<'a>, Hello) {
    let (mut raw, mut side) = (Raw::responder(setup), Side::initiator(agent(), tee));
    assert_eq!(raw.carry(&mut side), None);
    let hello = raw.heard_hello();
    (raw, side, hello)
}
