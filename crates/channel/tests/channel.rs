//! The attested channel without I/O: what opens it, and what does not.

#[cfg(test)]
#[path = "channel/blocking.rs"]
mod blocking;
#[cfg(test)]
#[path = "channel/connection.rs"]
mod connection;
#[cfg(test)]
#[path = "channel/downgrade.rs"]
mod downgrade;
#[cfg(test)]
#[path = "channel/early.rs"]
mod early;
#[cfg(test)]
#[path = "channel/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "channel/fixture.rs"]
mod fixture;
#[cfg(test)]
#[path = "channel/frames.rs"]
mod frames;
#[cfg(test)]
#[path = "channel/handshake.rs"]
mod handshake;
#[cfg(test)]
#[path = "channel/hello.rs"]
mod hello;
#[cfg(test)]
#[path = "channel/interop.rs"]
mod interop;
#[cfg(test)]
#[path = "channel/middle.rs"]
mod middle;
#[cfg(test)]
#[path = "channel/raw.rs"]
mod raw;
#[cfg(test)]
#[path = "channel/session.rs"]
mod session;
#[cfg(test)]
#[path = "channel/setup.rs"]
mod setup;
#[cfg(test)]
#[path = "channel/time.rs"]
mod time;
#[cfg(test)]
#[path = "channel/wire.rs"]
mod wire;
