//! The node page: one page of plain files, the node's events as Server-Sent Events, and what was measured.
//!
//! The page is read-only and needs no login, so that it is served to this machine by default; what it shows, a
//! relying party gets from the verifier and does not take from here. Two things keep other sites' scripts out:
//! a request must name the node by an address or as `localhost`, which a site that rebinds its own name to this
//! address cannot, and events are not given to a request that a browser says comes from another site.

mod assets;
mod guard;
pub mod metrics;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;

pub use self::guard::guarded;
pub use self::metrics::Board;
use crate::hub::{Delivery, EventHub, Totals};

/// How often a silent stream says that it lives: below the idle time-outs of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a browser waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);

/// The page at `/`, its files under `/assets/`, the events at `/api/events`, and what was measured at `/metrics` and
/// under `/api/metrics/`. To be served behind [`guarded`].
pub fn router(hub: Arc<EventHub>, board: Arc<Board>) -> Router {
    let pages = assets::ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(async |headers| asset.respond(&headers)))
    });
    pages
        .route("/api/events", get(events))
        .with_state(hub)
        .merge(metrics::router(board))
}

async fn events(State(hub): State<Arc<EventHub>>) -> Response {
    let deliveries = match hub.subscribe() {
        Ok(deliveries) => deliveries,
        Err(full) => {
            let retry = [(header::RETRY_AFTER, "10")];
            return (StatusCode::SERVICE_UNAVAILABLE, retry, format!("{full}\n")).into_response();
        }
    };
    // An immediate first line, so that a browser knows at once that it is connected.
    let hello = futures_util::stream::iter([sse::Event::default().retry(RETRY)]);
    let stream = hello.chain(deliveries.map(to_sse)).map(Ok::<_, Infallible>);
    Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

/// What stands between history and live events: the counts of the whole run.
fn live(totals: Totals) -> String {
    let Totals {
        samples,
        proofs,
        settled,
    } = totals;
    format!(r#"{{"totals":{{"samples":{samples},"proofs":{proofs},"settled":{settled}}}}}"#)
}

fn to_sse(delivery: Delivery) -> sse::Event {
    match delivery {
        Delivery::Event(message) => sse::Event::default()
            .id(message.id.to_string())
            .data(message.json),
        Delivery::Live(totals) => sse::Event::default().event("live").data(live(totals)),
    }
}

#[cfg(test)]
mod tests;
