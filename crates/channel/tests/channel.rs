//! The attested channel without I/O: what opens it, and what does not.

#[cfg(test)]
#[path = "channel/connection.rs"]
mod connection;
#[cfg(test)]
#[path = "channel/fixture.rs"]
mod fixture;
#[cfg(test)]
#[path = "channel/handshake.rs"]
mod handshake;
