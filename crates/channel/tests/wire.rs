//! Every byte of the channel, as `docs/wire.md` says it: the golden frames of `vectors/channel/frames.json`, put together
//! by hand, and an initiator that was written from that page alone.

#[cfg(test)]
#[path = "wire/by_hand.rs"]
mod by_hand;
#[cfg(test)]
#[path = "wire/frames.rs"]
mod frames;
#[cfg(test)]
#[path = "wire/stranger.rs"]
mod stranger;
