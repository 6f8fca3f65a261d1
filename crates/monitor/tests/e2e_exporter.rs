//! Our collectors beside Debian's node_exporter, in the same seconds: what only grows must lie between two scrapes of
//! it, what goes up and down must be near them.
//!
//! `scripts/tools.sh` unpacks the program where it is not there: below `target/tools`, or the folder that NAUTILUS_TOOLS
//! names.

#[cfg(test)]
#[path = "exporter/program.rs"]
mod program;
#[cfg(test)]
#[path = "exporter/suite.rs"]
mod suite;
