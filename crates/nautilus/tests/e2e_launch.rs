//! `nautilus measure sev` beside sev-snp-measure, the tool that others use, over a matrix of guests; and over the
//! firmware that Debian ships.

#[cfg(test)]
#[path = "launch/matrix.rs"]
mod matrix;
#[cfg(test)]
#[expect(dead_code, reason = "no node runs here")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "launch/reference.rs"]
mod reference;
