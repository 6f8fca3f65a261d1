//! A verifier and a node as processes of their own, and the attested channel between them.

#[cfg(test)]
#[path = "channel/foreign.rs"]
mod foreign;
#[cfg(test)]
#[path = "channel/kills.rs"]
mod kills;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/node.rs"]
mod node;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "channel/refused.rs"]
mod refused;
#[cfg(test)]
#[path = "channel/story.rs"]
mod story;
#[cfg(test)]
#[path = "channel/world.rs"]
mod world;
