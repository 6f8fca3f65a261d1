//! A server under peers of all kinds: those that come in order, too many of them, and those that never speak.

#[cfg(test)]
#[path = "channel/fixture.rs"]
#[expect(dead_code, reason = "the channels without I/O use the rest")]
mod fixture;
#[cfg(test)]
#[path = "server/half_open.rs"]
mod half_open;
#[cfg(test)]
#[path = "server/places.rs"]
mod places;
#[cfg(test)]
#[path = "server/setup.rs"]
mod setup;
#[cfg(test)]
#[path = "server/work.rs"]
mod work;
