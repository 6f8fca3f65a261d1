//! `nautilus up` from boot to reward, how it ends, and what is left when it is killed.

#[cfg(test)]
#[path = "up/asked.rs"]
mod asked;
#[cfg(test)]
#[path = "up/attest.rs"]
mod attest;
#[cfg(test)]
#[path = "up/crash.rs"]
mod crash;
#[cfg(test)]
#[path = "up/enclaves.rs"]
mod enclaves;
#[cfg(test)]
#[path = "up/history.rs"]
mod history;
#[cfg(test)]
#[path = "up/kills.rs"]
mod kills;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/node.rs"]
mod node;
#[cfg(test)]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "up/provision.rs"]
mod provision;
#[cfg(test)]
#[path = "up/rotation.rs"]
mod rotation;
#[cfg(test)]
#[path = "up/stop.rs"]
mod stop;
#[cfg(test)]
#[path = "up/story.rs"]
mod story;
