//! The command line: what it makes of good and bad input, what it prints, and with which code it ends.

#[cfg(test)]
#[path = "cli/bad_input.rs"]
mod bad_input;
#[cfg(test)]
#[path = "cli/config.rs"]
mod config;
#[cfg(test)]
#[path = "cli/endorsements.rs"]
mod endorsements;
#[cfg(test)]
#[path = "cli/enroll.rs"]
mod enroll;
#[cfg(test)]
#[path = "cli/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "cli/help.rs"]
mod help;
#[cfg(test)]
#[path = "cli/ledger.rs"]
mod ledger;
#[cfg(test)]
#[path = "cli/measure.rs"]
mod measure;
#[cfg(test)]
#[path = "cli/metrics.rs"]
mod metrics;
#[cfg(test)]
#[path = "cli/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "cli/vendor_root.rs"]
mod vendor_root;
#[cfg(test)]
#[path = "cli/wallet.rs"]
mod wallet;
