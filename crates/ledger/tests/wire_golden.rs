//! The golden bytes of every message in `vectors/wire/messages.json`: what the code makes equals the file, and
//! what `docs/wire.md` says, followed by hand, equals the file too.

#[cfg(test)]
#[path = "wire_golden/by_hand.rs"]
mod by_hand;
#[cfg(test)]
#[path = "wire_golden/examples.rs"]
mod examples;
#[cfg(test)]
#[path = "wire_golden/file.rs"]
mod file;
