//! Signed attestation results (EAR), made by the program and read by a library that shares no code with it:
//! Veraison's, in `interop/ear`. What is read is what was signed, and what was not signed is refused.

#[cfg(test)]
#[path = "ear/made.rs"]
mod made;
#[cfg(test)]
#[expect(dead_code, reason = "no test here runs a node, or has the program fail")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "ear/read.rs"]
mod read;
#[cfg(test)]
#[path = "ear/reader.rs"]
mod reader;
#[cfg(test)]
#[path = "ear/refused.rs"]
mod refused;
