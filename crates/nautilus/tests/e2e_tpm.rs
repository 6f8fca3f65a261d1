//! A whole TPM, in software: its maker's certificate authority, its endorsement keys, attestation keys that are
//! enrolled by credential activation, quotes by them, and what is refused. Everything of the verifier's side is
//! Nautilus's own; the machine's side is tpm2-tools' in some tests and Nautilus's in others.

#[cfg(test)]
#[path = "tpm/attester.rs"]
mod attester;
#[cfg(test)]
#[path = "tpm/by_command.rs"]
mod by_command;
#[cfg(test)]
#[path = "tpm/by_library.rs"]
mod by_library;
#[cfg(test)]
#[path = "tpm/device.rs"]
mod device;
#[cfg(test)]
#[path = "tpm/machine.rs"]
mod machine;
#[cfg(test)]
#[expect(dead_code, reason = "no node runs here")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "tpm/proxy.rs"]
mod proxy;
