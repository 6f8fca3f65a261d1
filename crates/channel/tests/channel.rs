//! The attested channel without I/O: what opens it, and what does not.

#[path = "channel/fixture.rs"]
mod fixture;
#[path = "channel/handshake.rs"]
mod handshake;
