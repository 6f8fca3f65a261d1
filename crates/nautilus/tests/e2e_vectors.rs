//! Every piece of evidence under `vectors/` through the command line, held against what it is known to be. Each
//! group prints a table: `make e2e NAME=vectors` shows it.

#[cfg(test)]
#[path = "vectors/intel.rs"]
mod intel;
#[cfg(test)]
#[path = "vectors/machines.rs"]
mod machines;
#[cfg(test)]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "vectors/table.rs"]
mod table;
