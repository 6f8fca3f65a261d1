//! The verifier's end of the attested channel: nodes' sessions are judged, and their questions answered.

use std::future::Future;
use std::sync::Arc;

use nautilus_channel::{
    Appraise, Appraiser, Attested, Channel, Config, Demand, Fault, Handler, Judgement, Listener, Message,
    MessageType, Parties, Payload as _, Presentation, Server, Working,
};
use nautilus_core::{NodeId, Role, UnixMillis};

use crate::answers::{Answers, Outcome};
use crate::service::{Refusal, Verifier};
use crate::wall_clock::now;

/// Most bytes of what a decline says: it may repeat what was asked.
const MAX_DETAIL: usize = 16 * 1024;

/// Serves the verifier at `listener` until `stop`, and ends in order.
pub async fn serve(verifier: Arc<Verifier>, listener: Listener, stop: impl Future<Output = ()>) {
    server(verifier, listener).run(stop).await;
}

/// A server for the verifier at `listener`: [`Server::run`] serves, [`Server::status`] tells of it. Only within a tokio
/// runtime.
pub fn server(verifier: Arc<Verifier>, listener: Listener) -> Arc<Server> {
    let parties = Parties {
        presenter: None,
        appraiser: Some(Arc::clone(&verifier) as Arc<dyn Appraiser>),
    };
    let holder = Arc::clone(&verifier);
    let config = move |_: &_| {
        Config::new(
            Role::Verifier,
            Role::Agent,
            None,
            Presentation::Key(holder.session_key()),
            Demand::Evidence {
                verifier: Some(holder.public_key()),
                child: None,
            },
        )
    };
    let desk = Desk {
        verifier,
        answers: Arc::default(),
    };
    Server::new(listener, config, parties, Arc::new(desk))
}

impl Appraiser for Verifier {
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        match self.introduce(appraise, now) {
            Ok((appraisal, note)) => Judgement::Appraised {
                appraisal: Box::new(appraisal),
                note,
            },
            Err(Refusal::Evidence(error)) => Judgement::Invalid(error),
            Err(refusal) => {
                let Fault { kind, detail, .. } = fault(self, &refusal);
                Judgement::NotRegistered { kind, detail }
            }
        }
    }
}

/// Answers what comes through channels.
struct Desk {
    verifier: Arc<Verifier>,
    answers: Arc<Answers>,
}

impl Handler for Desk {
    fn handle(
        &self,
        channel: &Channel<Attested>,
        message: Message,
    ) -> Working<'_, Result<(MessageType, Vec<u8>), Fault>> {
        let node = channel.node();
        let verifier = Arc::clone(&self.verifier);
        let work = move |message: &Message| answer(&verifier, node, message, now());
        Box::pin(async move { self.answers.once(node, message, work).await })
    }
}

fn answer(verifier: &Verifier, node: NodeId, message: &Message, now: UnixMillis) -> Outcome {
    let done = verifier
        .answer_message(node, message.message_type, &message.payload, now)
        .and_then(|answer| {
            let content = answer
                .encode()
                .map_err(|error| Refusal::Internal(error.to_string()))?;
            Ok((answer.message_type(), content))
        });
    match done {
        Ok(answer) => Outcome::Final(Ok(answer)),
        Err(refusal) if refusal.may_pass() => Outcome::Passing(fault(verifier, &refusal)),
        Err(refusal) => Outcome::Final(Err(fault(verifier, &refusal))),
    }
}

fn fault(verifier: &Verifier, refusal: &Refusal) -> Fault {
    verifier.report(refusal);
    let mut error = refusal.to_api();
    if error.detail.len() > MAX_DETAIL {
        error
            .detail
            .truncate(error.detail.floor_char_boundary(MAX_DETAIL));
        error.detail.push_str(" … (cut)");
    }
    error.into()
}
