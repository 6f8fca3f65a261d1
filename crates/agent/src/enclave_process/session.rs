//! The sessions of the attested channel between an agent and one enclave, one after the other on its connection.

use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::{
    Appraiser, AskError, Channel, ChannelError, Config, Demand, Endpoint, KernelPeer, Limits, MessageId,
    MessageType, Parties, Peer, Presentation, Reason, Stream, TaskClock, open,
};
use nautilus_core::{NodeId, Role};
use nautilus_enclave::{EnclaveFault, Reply, Request};
use tokio::time::Instant;

use super::EnclaveError;

/// What every session with one enclave is opened with.
pub(super) struct Terms {
    pub(super) node: NodeId,
    pub(super) appraiser: Arc<dyn Appraiser>,
    pub(super) limits: Limits,
    /// The enclave's process, where the kernel says that it is at the other end.
    pub(super) child: Option<KernelPeer>,
}

/// A session, and when it has to be followed by another.
pub(super) struct Session {
    pub(super) channel: Channel<Peer>,
    pub(super) renew_at: Instant,
}

impl Terms {
    /// Has the enclave prove what it is.
    pub(super) async fn open(&self, stream: Box<dyn Stream>) -> Result<Session, EnclaveError> {
        let clock = TaskClock::start();
        let demand = Demand::Evidence {
            verifier: None,
            child: self.child,
        };
        let mut config = Config::new(
            Role::Agent,
            Role::Enclave,
            Some(self.node),
            Presentation::Nothing,
            demand,
        );
        config.limits = self.limits;
        let parties = Parties {
            presenter: None,
            appraiser: Some(Arc::clone(&self.appraiser)),
        };
        let endpoint = Endpoint::responder(config, clock.now()).map_err(EnclaveError::Handshake)?;
        // The enclave asks nothing: what it would ask is dropped with the other half.
        let (channel, _) = open(stream, endpoint, clock, parties).await.map_err(refused)?;
        let life = Duration::from_millis(channel.expires_at().since(clock.now().wall));
        Ok(Session {
            channel,
            renew_at: Instant::now() + life / 6 * 5,
        })
    }
}

impl Session {
    /// Asks, and waits for the answer.
    pub(super) async fn request(&self, request: &Request, patience: Duration) -> Result<Reply, EnclaveError> {
        let id = MessageId::random()
            .map_err(|error| EnclaveError::Channel(ChannelError::Io(format!("no randomness: {error}"))))?;
        match self.channel.request(id, request, patience).await {
            Ok(reply) => Ok(reply),
            Err(AskError::Declined(fault)) => Err(match EnclaveFault::of_fault(&fault) {
                Ok(fault) => fault.into(),
                Err(error) => EnclaveError::Channel(ChannelError::PayloadInvalid {
                    message_type: MessageType::Error,
                    what: format!("{error}: {} ({})", fault.detail, fault.kind),
                }),
            }),
            Err(AskError::Channel(error)) => Err(EnclaveError::Channel(error)),
            Err(other) => Err(EnclaveError::Channel(ChannelError::Io(other.to_string()))),
        }
    }

    /// Ends the session, so that another follows on its connection. Nothing may be asked meanwhile.
    pub(super) async fn release(&self) -> Result<Box<dyn Stream>, EnclaveError> {
        self.channel
            .release(Reason::Renew)
            .await
            .map_err(EnclaveError::Channel)
    }
}

/// An enclave whose TEE makes no evidence refuses, whether it is asked for evidence or opens its channel with some.
fn refused(error: ChannelError) -> EnclaveError {
    let no_evidence = ChannelError::NotPresented(String::new());
    match &error {
        ChannelError::Refused(fault) if fault.kind == no_evidence.kind() => {
            let why = fault.detail.strip_prefix(&no_evidence.to_string());
            EnclaveFault::Attest(why.unwrap_or(&fault.detail).to_owned()).into()
        }
        _ => EnclaveError::Handshake(error),
    }
}

#[cfg(test)]
mod tests {
    use nautilus_channel::Fault;

    use super::*;

    #[test]
    fn a_tee_that_makes_no_evidence_is_named_as_when_it_is_asked_for_some() {
        let told = |error: &ChannelError| {
            refused(ChannelError::Refused(Fault {
                kind: error.kind().to_owned(),
                detail: error.to_string(),
                note: Vec::new(),
            }))
        };
        let none = told(&ChannelError::NotPresented("EIO: the host failed".to_owned()));
        assert!(
            matches!(&none, EnclaveError::Refused(EnclaveFault::Attest(why)) if why == "EIO: the host failed"),
            "{none}"
        );
        assert!(!none.may_pass());
        let other = told(&ChannelError::HelloInvalid("it is about another node".to_owned()));
        assert!(
            matches!(&other, EnclaveError::Handshake(ChannelError::Refused(_))),
            "{other}"
        );
        let died = refused(ChannelError::Truncated);
        assert!(
            matches!(&died, EnclaveError::Handshake(ChannelError::Truncated)),
            "{died}"
        );
        assert!(died.may_pass());
    }
}
