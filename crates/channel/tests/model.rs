//! The channel as a state machine: every reachable state checked, with and without an attacker, and its runs repeated by
//! the implementation. What is modelled, and what is assumed, stands in `docs/channel-model.md`.

#[cfg(test)]
#[path = "model/admission.rs"]
mod admission;
#[cfg(test)]
#[path = "model/agreement.rs"]
mod agreement;
#[cfg(test)]
#[path = "model/attacker.rs"]
mod attacker;
#[cfg(test)]
#[path = "channel/fixture.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the channel, which use more of it"
)]
mod fixture;
#[cfg(test)]
#[path = "model/frames.rs"]
mod frames;
#[cfg(test)]
#[path = "model/lifecycle.rs"]
mod lifecycle;
#[cfg(test)]
#[path = "model/puppet.rs"]
mod puppet;
#[cfg(test)]
#[path = "model/terms.rs"]
mod terms;
#[cfg(test)]
#[path = "model/traces.rs"]
mod traces;
