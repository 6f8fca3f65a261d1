//! Every piece of evidence under `vectors/` through the command line, held against what it is known to be. Each
//! group prints a table: `make e2e NAME=vectors` shows it.

#[cfg(test)]
#[path = "vectors/enrolled.rs"]
mod enrolled;
#[cfg(test)]
#[path = "vectors/intel.rs"]
mod intel;
#[cfg(test)]
#[path = "vectors/machines.rs"]
mod machines;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it, and this one only verifies")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "vectors/table.rs"]
mod table;
