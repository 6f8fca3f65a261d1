//! The layouts of `docs/wire.md`, without the project's types.

use ed25519_dalek::{Signer as _, SigningKey};

/// When everything happens.
pub const NOW: u64 = 1_800_000_000_000;
pub const NODE: [u8; 32] = [0x17; 32];
pub const KEY_SEED: [u8; 32] = [0x33; 32];
/// Of the session key in the golden certificate.
pub const SESSION_SEED: [u8; 32] = [0x44; 32];
pub const CHANNEL: [u8; 16] = [0; 16];

pub const HANDSHAKE: u8 = 1;
pub const ATTESTATION: u8 = 2;
pub const PERFORMANCE_DATA: u8 = 3;
pub const PROOF_REQUEST: u8 = 4;
pub const PROOF_RESPONSE: u8 = 5;
pub const HEARTBEAT: u8 = 6;
pub const KEY_ROTATION: u8 = 7;
pub const TERMINATION: u8 = 8;
pub const ERROR: u8 = 9;

pub const ENCLAVE: u8 = 0;
pub const AGENT: u8 = 1;
pub const VERIFIER: u8 = 2;
pub const INITIATOR: u8 = 0;
pub const RESPONDER: u8 = 1;
/// Kinds of credentials.
pub const NOTHING: u8 = 0;
pub const KEY: u8 = 1;
pub const EVIDENCE: u8 = 2;
const SIMULATED: u8 = 7;
const RUNTIME: u8 = 1;

/// Bytes in the making.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub fn u8(self, value: u8) -> Self {
        self.raw([value])
    }

    pub fn u16(self, value: u16) -> Self {
        self.raw(value.to_le_bytes())
    }

    pub fn u32(self, value: u32) -> Self {
        self.raw(value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.raw(value.to_le_bytes())
    }

    /// Text, or a byte string of less than 128 bytes.
    pub fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let length = u8::try_from(bytes.as_ref().len()).unwrap();
        assert!(length < 128);
        self.u8(length).raw(bytes)
    }
}

/// A header. `raw_len` where the payload is compressed.
pub fn header(
    message_type: u8,
    flags: u8,
    sequence_num: u64,
    message_id: [u8; 16],
    length: usize,
    raw_len: usize,
) -> Vec<u8> {
    let header = Bytes::default()
        .u32(u32::try_from(44 + length).unwrap())
        .u8(1)
        .u8(message_type)
        .u8(flags)
        .u8(0)
        .u64(sequence_num)
        .raw(message_id)
        .u64(NOW)
        .u32(u32::try_from(raw_len).unwrap())
        .u32(0)
        .0;
    assert_eq!(header.len(), 48);
    header
}

/// A frame of the channel itself.
pub fn frame(message_type: u8, sequence_num: u64, payload: &[u8]) -> Vec<u8> {
    let header = header(
        message_type,
        0,
        sequence_num,
        CHANNEL,
        payload.len(),
        payload.len(),
    );
    Bytes::default().raw(header).raw(payload).0
}

/// The challenge that a hello sets, without a header.
pub fn challenge(verifier: [u8; 32], nonce: [u8; 32], issued_at: u64) -> Vec<u8> {
    Bytes::default()
        .raw(verifier)
        .raw(NODE)
        .u8(RUNTIME)
        .raw(nonce)
        .u64(issued_at)
        .u64(issued_at + 60_000)
        .0
}

/// A `handshake` payload with a hello.
pub fn hello(
    role: u8,
    node: Option<[u8; 32]>,
    nonce: [u8; 32],
    presents: u8,
    demands: u8,
    challenge: Option<&[u8]>,
) -> Vec<u8> {
    let option = |bytes: Option<&[u8]>| bytes.map_or(vec![0], |bytes| [&[1], bytes].concat());
    Bytes::default()
        .u8(0)
        .u16(1)
        .u8(role)
        .raw(option(node.as_ref().map(<[u8; 32]>::as_slice)))
        .raw(nonce)
        .u8(presents)
        .u8(demands)
        .raw(option(challenge))
        .0
}

/// A `handshake` payload with a verdict.
pub fn verdict(accepted_until: u64, note: &[u8]) -> Vec<u8> {
    Bytes::default().u8(1).u64(accepted_until).string(note).0
}

pub fn key_credential(key: [u8; 32], signature: &[u8]) -> Vec<u8> {
    assert_eq!(signature.len(), 64);
    Bytes::default().u8(KEY).raw(key).raw(signature).0
}

pub fn evidence_credential(user_data: &[u8]) -> Vec<u8> {
    Bytes::default()
        .u8(EVIDENCE)
        .u8(SIMULATED)
        .string(b"raw evidence")
        .string(user_data)
        // There is an event log.
        .u8(1)
        .string(b"log")
        // Two documents: a certificate and a revocation list.
        .u8(2)
        .u8(1)
        .string(b"certificate")
        .u8(2)
        .string(b"list")
        .string(b"registration")
        .0
}

pub fn fault(kind: &str, detail: &str, note: &[u8]) -> Vec<u8> {
    Bytes::default().string(kind).string(detail).string(note).0
}

pub fn termination(reason: u8, detail: &str) -> Vec<u8> {
    Bytes::default().u8(reason).string(detail).0
}

/// What names a session, in the words of who states it.
pub struct Session {
    pub role: u8,
    pub peer_role: u8,
    pub end: u8,
    pub exporter: [u8; 32],
    pub nonces: [[u8; 32]; 2],
    pub own_key: [u8; 32],
    pub peer_key: [u8; 32],
}

impl Session {
    /// The canonical message, kind 17.
    pub fn message(&self) -> Vec<u8> {
        Bytes::default()
            .raw(b"NAUTILUS\x01\x11")
            .string("nautilus-channel/1")
            .u8(self.role)
            .u8(self.peer_role)
            .u8(self.end)
            .raw(NODE)
            .raw(self.exporter)
            .raw(self.nonces[0])
            .raw(self.nonces[1])
            .raw(self.own_key)
            .raw(self.peer_key)
            .raw([0xec, 0x11])
            .0
    }
}

pub fn public(seed: [u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(&seed).verifying_key().to_bytes()
}

pub fn sign(seed: [u8; 32], message: &[u8]) -> Vec<u8> {
    SigningKey::from_bytes(&seed).sign(message).to_bytes().to_vec()
}

/// SubjectPublicKeyInfo of an Ed25519 key.
pub fn spki(key: [u8; 32]) -> Vec<u8> {
    let prefix = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    Bytes::default().raw(prefix).raw(key).0
}

/// The certificate of a session key, up to its signature.
pub fn to_be_signed(key: [u8; 32]) -> Vec<u8> {
    let name = Bytes::default()
        .raw([
            0x30, 0x1b, 0x31, 0x19, 0x30, 0x17, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x10,
        ])
        .raw("nautilus-channel")
        .0;
    Bytes::default()
        .raw([0x30, 0x81, 0x97, 0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x01])
        .raw([0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70])
        .raw(&name)
        .raw([0x30, 0x20, 0x17, 0x0d])
        .raw("700101000000Z")
        .raw([0x18, 0x0f])
        .raw("99991231235959Z")
        .raw(&name)
        .raw(spki(key))
        .0
}

pub fn certificate(seed: [u8; 32]) -> Vec<u8> {
    let to_be_signed = to_be_signed(public(seed));
    let certificate = Bytes::default()
        .raw([0x30, 0x81, 0xe4])
        .raw(&to_be_signed)
        .raw([0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70])
        .raw([0x03, 0x41, 0x00])
        .raw(sign(seed, &to_be_signed))
        .0;
    assert_eq!(certificate.len(), 231);
    certificate
}

/// A Zstandard frame that expands to `count` times `byte`: one block that is a run (RFC 8878, section 3.1.1).
pub fn run(byte: u8, count: u16) -> Vec<u8> {
    let block = (u32::from(count) << 3) | 0b011;
    Bytes::default()
        .u32(0xfd2f_b528)
        // One segment, and two bytes of length, which count from 256.
        .u8(0b0110_0000)
        .u16(count - 256)
        // The last block, a run, its length; then its byte.
        .raw(&block.to_le_bytes()[..3])
        .u8(byte)
        .0
}
