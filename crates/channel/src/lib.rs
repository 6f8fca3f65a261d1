//! The attested channel: how every byte goes between enclave, agent and verifier.
//!
//! TLS 1.3 with a post-quantum group under keys that live as long as the session, then evidence that binds this very
//! session, then typed messages in strict sequence. [`Endpoint`] is all of it without I/O: bytes and time go in, bytes
//! and events come out. Drivers stand beside it: [`blocking`] over any stream, and with the feature `tokio`
//! `connection`, `client` and `server`. Every byte is specified in `docs/wire.md`.
//!
//! Everything that arrives is hostile until the peer's appraisal has passed, and bounded afterwards.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod backoff;
pub mod blocking;
mod bytes;
#[cfg(feature = "tokio")]
mod client;
mod compression;
mod config;
#[cfg(feature = "tokio")]
mod connection;
mod credential;
mod endpoint;
mod error;
mod frame;
mod limits;
mod message;
mod peer;
#[cfg(feature = "tokio")]
mod queue;
#[cfg(feature = "tokio")]
mod server;
mod sessions;
mod tls;
#[cfg(feature = "tokio")]
mod transport;

pub use backoff::Backoff;
#[cfg(feature = "tokio")]
pub use client::{Again, Client, ClientError, ClientEvent, ClientState, Dial, Line, SessionState};
pub use config::{Config, Demand, Presentation, SessionKeyHolder};
#[cfg(feature = "tokio")]
pub use connection::{
    Appraiser, AskError, Channel, Incoming, Parties, Presenter, TaskClock, Working, open, open_watched,
};
pub use credential::{Credential, CredentialKind, Hello, Judgement, PresentedEvidence, Verdict};
pub use endpoint::{Appraise, Endpoint, Event, Present};
pub use error::{ChannelError, Fault};
pub use frame::{Frame, FrameReader, HEADER, encode_header};
pub use limits::{Limits, Now};
pub use message::{
    Message, MessageId, MessageType, Payload, PayloadError, Reason, Termination, decode_bcs, encode_bcs,
};
pub use peer::{Attested, Identified, KernelPeer, Kin, Peer, Standing, Unidentified};
#[cfg(feature = "tokio")]
pub use queue::{ENQUEUE, LANE, QUEUE, Queue, WORKERS};
#[cfg(feature = "tokio")]
pub use server::{Counters, Handler, Server, SessionStatus, Status};
pub use sessions::{
    Cut, HANDSHAKES, HELLO_GRACE, HandshakeTicket, IDLE, Opened, SESSIONS, SessionId, SessionInfo,
    SessionPlace, Sessions,
};
pub use tls::{ALPN, EXPORTER_LABEL, GROUP, TlsKeys};
#[cfg(feature = "tokio")]
pub use transport::{Address, AddressError, Listener, Origin, Stream, pair};
