//! Questions that outlive their sessions: the client, and both sides of it killed at any moment.

#[cfg(test)]
#[path = "delivery/client.rs"]
mod client;
#[cfg(test)]
#[path = "delivery/kill.rs"]
mod kill;
#[cfg(test)]
#[path = "delivery/line.rs"]
mod line;
#[cfg(test)]
#[path = "delivery/log.rs"]
mod log;
