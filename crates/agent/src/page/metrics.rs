//! What was measured, over HTTP: for Prometheus, for the page, and for whoever wants it as a file.
//!
//! Everything that a request names is hostile and bounded (`question`); at most [`MAX_AT_ONCE`] requests read the
//! history at once, each in a thread of its own; answers are sent as they are written (`stream`).
//! `docs/metrics-api.md` is the contract.

mod answer;
mod board;
mod error;
#[cfg(test)]
mod fake_history;
mod history;
mod question;
mod stream;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use nautilus_monitor::openmetrics::Format;
use tokio::task::spawn_blocking;

pub use self::board::{Board, MAX_AT_ONCE};
use self::error::ApiError;
pub use self::history::{
    Answer, ExportFormat, Fault, GapSpan, History, HistoryError, Points, Question, Resolution, Rollup,
    Series, SeriesData, SeriesFacts, SpanReason,
};
use self::question::{Keys, MAX_POINTS, MAX_SERIES};

const JSON: &str = "application/json";

/// `/metrics` and the routes under `/api/metrics/`. To be served behind [`guarded`](super::guarded).
pub fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .route("/api/metrics/now", get(now))
        .route("/api/metrics/series", get(series))
        .route("/api/metrics/query", get(query))
        .route("/api/metrics/export", get(export))
        .route("/api/metrics/verify", get(verify))
        .with_state(board)
}

/// Queries are not looked at: a scraper may be configured to add some.
async fn exposition(State(board): State<Arc<Board>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let produce = board.exposition().ok_or(ApiError::Starting)?;
    let seat = board.scrape_seat()?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    let exposed = spawn_blocking(move || {
        let _seat = seat;
        produce(format)
    });
    let exposed = exposed.await.map_err(|_| ApiError::Broken)?;
    let text = exposed.map_err(|_| ApiError::Broken)?.text;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

async fn now(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Keys::parse(query.as_deref(), &[])?;
    let newest = board.newest().ok_or(ApiError::Starting)?;
    Ok((uncached(), Json(&*newest)).into_response())
}

async fn series(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Keys::parse(query.as_deref(), &[])?;
    let (history, seat) = board.history()?;
    stream::written(seat, JSON, move |out| {
        answer::write_facts(&history.series()?, out)
    })
    .await
}

async fn query(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let keys = Keys::parse(query.as_deref(), &["series", "from", "to", "resolution"])?;
    let question = Question {
        selector: keys.selector()?,
        range: keys.range()?,
        resolution: keys.resolution()?,
        max_series: MAX_SERIES,
        max_points: MAX_POINTS,
    };
    let (history, seat) = board.history()?;
    stream::written(seat, JSON, move |out| {
        let mut answer = history.query(&question)?;
        answer.bound(question.max_series, question.max_points);
        answer::write(&answer, out)
    })
    .await
}

async fn verify(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let range = Keys::parse(query.as_deref(), &["from", "to"])?.range()?;
    let (history, seat) = board.history()?;
    stream::written(seat, JSON, move |out| {
        let report = history.verify(range)?;
        serde_json::to_writer(out, &report).map_err(|error| HistoryError::Io(error.into()))
    })
    .await
}

async fn export(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let keys = Keys::parse(query.as_deref(), &["series", "from", "to", "format"])?;
    let question = Question {
        selector: keys.selector()?,
        range: keys.range()?,
        resolution: Some(Resolution::Raw),
        max_series: usize::MAX,
        max_points: usize::MAX,
    };
    let format = keys.format()?;
    let (history, seat) = board.history()?;
    let (content_type, disposition) = match format {
        ExportFormat::Csv => (
            "text/csv; charset=utf-8",
            "attachment; filename=\"nautilus-metrics.csv\"",
        ),
        ExportFormat::JsonLines => (
            "application/x-ndjson",
            "attachment; filename=\"nautilus-metrics.jsonl\"",
        ),
    };
    let file = stream::written(seat, content_type, move |out| {
        history.export(&question, format, out)
    });
    Ok(([(header::CONTENT_DISPOSITION, disposition)], file.await?).into_response())
}

const fn uncached() -> [(header::HeaderName, &'static str); 1] {
    [(header::CACHE_CONTROL, "no-store")]
}

#[cfg(test)]
mod tests;
