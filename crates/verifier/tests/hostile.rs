//! What a verifier refuses: every case by the name of its error, and with nothing recorded on the ledger.

#[cfg(test)]
#[path = "network/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "network/http.rs"]
mod http;
#[cfg(test)]
#[path = "network/proofs.rs"]
mod proofs;
#[cfg(test)]
#[path = "network/secrets.rs"]
mod secrets;
#[cfg(test)]
#[path = "network/served.rs"]
mod served;
#[cfg(test)]
#[path = "network/sessions.rs"]
mod sessions;
#[cfg(test)]
#[path = "network/world.rs"]
mod world;
