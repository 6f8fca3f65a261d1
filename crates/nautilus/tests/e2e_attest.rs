//! `nautilus attest` and then `nautilus verify`, for every TEE: the programs as they ship, under a kernel whose
//! devices are fake and sign as a vendor's do. What they give is accepted; each of their faults is refused, and by
//! name.

#[cfg(test)]
#[path = "attest/fake_machine.rs"]
mod fake_machine;
#[cfg(test)]
#[path = "attest/first_run.rs"]
mod first_run;
#[cfg(test)]
#[path = "attest/never.rs"]
mod never;
#[cfg(test)]
#[path = "support/program.rs"]
#[expect(dead_code, reason = "no node runs here")]
mod program;
#[cfg(test)]
#[path = "attest/relying_party.rs"]
mod relying_party;
#[cfg(test)]
#[path = "attest/simulated.rs"]
mod simulated;
#[cfg(test)]
#[path = "attest/table.rs"]
mod table;
