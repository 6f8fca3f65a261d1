//! The enclave as a process: what it keeps, what it survives, what it can reach.

#[cfg(test)]
#[path = "process/agent.rs"]
mod agent;
#[cfg(test)]
#[path = "process/channel.rs"]
mod channel;
#[cfg(test)]
#[path = "process/kills.rs"]
mod kills;
#[cfg(test)]
#[path = "process/sandbox.rs"]
mod sandbox;
#[cfg(test)]
#[path = "process/state.rs"]
mod state;
