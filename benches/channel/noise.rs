//! `snow`, Noise XX, and the AEAD alone: what encryption costs without any protocol.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use snow::params::NoiseParams;
use snow::{Builder, Keypair, TransportState};

/// What a Noise message may have, and its tag.
const MESSAGE: usize = 65_535;
const TAG: usize = 16;

pub const CHACHA: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
pub const AES: &str = "Noise_XX_25519_AESGCM_BLAKE2s";

/// A pattern, and both ends' long-term keys.
pub struct Ends {
    params: NoiseParams,
    initiator: Keypair,
    responder: Keypair,
}

impl Ends {
    pub fn new(pattern: &str) -> Result<Self> {
        let params: NoiseParams = pattern.parse()?;
        let builder = Builder::new(params.clone());
        Ok(Self {
            initiator: builder.generate_keypair()?,
            responder: builder.generate_keypair()?,
            params,
        })
    }
}

/// A Noise session, both ends.
pub struct Noise {
    initiator: TransportState,
    responder: TransportState,
    wire: Vec<u8>,
    arrived: Vec<u8>,
}

impl Noise {
    /// Opens it: the three messages of XX, each with nothing in it.
    pub fn open(ends: &Ends) -> Result<Self> {
        let mut initiator = Builder::new(ends.params.clone())
            .local_private_key(&ends.initiator.private)?
            .build_initiator()?;
        let mut responder = Builder::new(ends.params.clone())
            .local_private_key(&ends.responder.private)?
            .build_responder()?;
        let (mut wire, mut payload) = (vec![0; 256], vec![0; 256]);
        for turn in 0..3 {
            let (from, to) = match turn {
                1 => (&mut responder, &mut initiator),
                _ => (&mut initiator, &mut responder),
            };
            let length = from.write_message(&[], &mut wire)?;
            to.read_message(&wire[..length], &mut payload)?;
        }
        Ok(Self {
            initiator: initiator.into_transport_mode()?,
            responder: responder.into_transport_mode()?,
            wire: vec![0; MESSAGE],
            arrived: Vec::new(),
        })
    }

    /// Sends so many bytes there in messages as long as they may be, and gives what arrived: always in the same buffer.
    pub fn carry(&mut self, payload: &[u8]) -> Result<&[u8]> {
        self.arrived.resize(payload.len(), 0);
        for (sent, arrived) in payload
            .chunks(MESSAGE - TAG)
            .zip(self.arrived.chunks_mut(MESSAGE - TAG))
        {
            let length = self.initiator.write_message(sent, &mut self.wire)?;
            let read = self.responder.read_message(&self.wire[..length], arrived)?;
            ensure!(read == sent.len(), "{read} bytes arrived");
        }
        Ok(&self.arrived)
    }
}

/// AES-256-GCM of aws-lc-rs, in place: sealed and opened in one piece.
pub struct Aead {
    key: LessSafeKey,
    count: u64,
    buffer: Vec<u8>,
}

impl Aead {
    pub fn new(payload: &[u8]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &[0x5a; 32])
            .ok()
            .context("AES-256-GCM")?;
        Ok(Self {
            key: LessSafeKey::new(key),
            count: 0,
            buffer: payload.to_vec(),
        })
    }

    /// Seals and opens the payload once.
    pub fn carry(&mut self) -> Result<&[u8]> {
        self.count += 1;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.count.to_be_bytes());
        let own = || Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(own(), Aad::empty(), &mut self.buffer)
            .ok()
            .context("it does not seal")?;
        let length = self
            .key
            .open_in_place(own(), Aad::empty(), &mut self.buffer)
            .ok()
            .context("it does not open")?
            .len();
        self.buffer.truncate(length);
        Ok(&self.buffer)
    }
}
