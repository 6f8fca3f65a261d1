//! What names one session of the attested channel: evidence that binds it is of use in no other.

use serde::{Deserialize, Serialize};

use crate::{Digest32, Kind, NodeId, SignedMessage};

/// Who takes part in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The trusted core of a node.
    Enclave,
    /// The node's daemon.
    Agent,
    /// The relying party's service.
    Verifier,
}

impl Role {
    /// The name used in JSON and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enclave => "enclave",
            Self::Agent => "agent",
            Self::Verifier => "verifier",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which end of the connection a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// It connected: the client of TLS.
    Initiator,
    /// It was connected to: the server of TLS.
    Responder,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// One session, as one of its two ends states it. It is part of what evidence binds, or is signed by a long-term key.
///
/// The exporter alone is not enough: it stops at the server's Finished and so does not cover the client's certificate
/// (RFC 8446 §7.5), which is why both keys stand here by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionBinding {
    /// [`SessionBinding::LABEL`].
    pub label: String,
    /// Who states it.
    pub role: Role,
    /// Whom it speaks to.
    pub peer_role: Role,
    /// Which end states it: what one end stated is of no use when it is sent back.
    pub end: End,
    /// The node that the session is about.
    pub node: NodeId,
    /// The exporter of this TLS connection, with both nonces as its context.
    pub exporter: Digest32,
    /// The initiator's nonce.
    pub initiator_nonce: Digest32,
    /// The responder's nonce.
    pub responder_nonce: Digest32,
    /// SHA-256 of the SubjectPublicKeyInfo of who states it.
    pub own_key: Digest32,
    /// SHA-256 of the peer's SubjectPublicKeyInfo.
    pub peer_key: Digest32,
    /// The named group of the key exchange, as TLS numbers it.
    pub group: u16,
}

impl SignedMessage for SessionBinding {
    const KIND: Kind = Kind::Session;
}

impl SessionBinding {
    /// The first field of every binding of this version.
    pub const LABEL: &'static str = "nautilus-channel/1";

    /// The first field in which `self` differs from `expected`, by its name.
    pub fn difference(&self, expected: &Self) -> Option<&'static str> {
        let differences = [
            ("label", self.label != expected.label),
            ("role", self.role != expected.role),
            ("peer_role", self.peer_role != expected.peer_role),
            ("end", self.end != expected.end),
            ("node", self.node != expected.node),
            ("group", self.group != expected.group),
            (
                "initiator_nonce",
                self.initiator_nonce != expected.initiator_nonce,
            ),
            (
                "responder_nonce",
                self.responder_nonce != expected.responder_nonce,
            ),
            ("own_key", self.own_key != expected.own_key),
            ("peer_key", self.peer_key != expected.peer_key),
            ("exporter", self.exporter != expected.exporter),
        ];
        differences
            .into_iter()
            .find_map(|(field, differs)| differs.then_some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> SessionBinding {
        SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: Role::Agent,
            peer_role: Role::Verifier,
            end: End::Initiator,
            node: NodeId([1; 32]),
            exporter: Digest32([2; 32]),
            initiator_nonce: Digest32([3; 32]),
            responder_nonce: Digest32([4; 32]),
            own_key: Digest32([5; 32]),
            peer_key: Digest32([6; 32]),
            group: 0x11ec,
        }
    }

    #[test]
    fn every_field_counts_and_is_named() {
        let expected = binding();
        assert_eq!(binding().difference(&expected), None);
        type Change = fn(&mut SessionBinding);
        let change: [(&str, Change); 11] = [
            ("label", |b| b.label.push('x')),
            ("role", |b| b.role = Role::Enclave),
            ("peer_role", |b| b.peer_role = Role::Agent),
            ("end", |b| b.end = End::Responder),
            ("node", |b| b.node.0[0] ^= 1),
            ("exporter", |b| b.exporter.0[0] ^= 1),
            ("initiator_nonce", |b| b.initiator_nonce.0[31] ^= 1),
            ("responder_nonce", |b| b.responder_nonce.0[0] ^= 1),
            ("own_key", |b| b.own_key.0[0] ^= 1),
            ("peer_key", |b| b.peer_key.0[0] ^= 1),
            ("group", |b| b.group = 0x1d),
        ];
        for (field, change) in change {
            let mut other = binding();
            change(&mut other);
            assert_eq!(other.difference(&expected), Some(field));
            assert_ne!(other.digest(), expected.digest(), "{field}");
        }
    }
}
