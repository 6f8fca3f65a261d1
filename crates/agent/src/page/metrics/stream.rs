//! Answers that are sent while they are written, in bounded memory: who writes waits for who reads.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::error::ApiError;
use super::history::HistoryError;

/// What is sent at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait to be sent; what an answer takes is this and the one that is being filled.
const QUEUE: usize = 2;
/// How long a client may take nothing, before its seat goes to another.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

type Written = Result<Bytes, HistoryError>;

/// What the client is sent. An answer without its `End` was cut off, and the client must notice.
enum Piece {
    Bytes(Bytes),
    Failed(HistoryError),
    End,
}

/// The answer that `work` writes in a thread of its own, which holds `seat` as long as it writes. An error before the
/// first chunk is full becomes an error's answer; a later one breaks the connection.
pub(super) async fn written(
    seat: OwnedSemaphorePermit,
    content_type: &'static str,
    work: impl FnOnce(&mut dyn Write) -> Result<(), HistoryError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (sender, mut chunks) = mpsc::channel::<Written>(QUEUE);
    let worker = spawn_blocking(move || {
        let mut out = Chunks {
            buffer: Vec::with_capacity(CHUNK),
            sender,
        };
        let result = work(&mut out).and_then(|()| Ok(out.flush()?));
        if let Err(error) = result {
            // The error is that nobody is there any more.
            let _ = out.sender.blocking_send(Err(error));
        }
        drop(seat);
    });
    let first = match chunks.recv().await {
        Some(Ok(chunk)) => chunk,
        Some(Err(error)) => return Err(error.into()),
        None => {
            worker.await.map_err(|_| ApiError::Broken)?;
            return Ok(headed(content_type, Body::empty()));
        }
    };
    let (client, pieces) = mpsc::channel(1);
    tokio::spawn(pump(first, chunks, worker, client));
    let body = stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(pieces))),
            Some(Piece::End) => None,
            Some(Piece::Failed(error)) => Some((Err(io::Error::other(error)), None)),
            None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
        }
    });
    Ok(headed(content_type, Body::from_stream(body)))
}

fn headed(content_type: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// Hands on what is written, and gives a client up that takes nothing: dropping `chunks` ends the writer.
async fn pump(
    first: Bytes,
    mut chunks: mpsc::Receiver<Written>,
    worker: JoinHandle<()>,
    client: mpsc::Sender<Piece>,
) {
    let mut next = Some(Ok(first));
    while let Some(chunk) = next {
        let piece = match chunk {
            Ok(bytes) => Piece::Bytes(bytes),
            Err(error) => Piece::Failed(error),
        };
        if !matches!(timeout(PATIENCE, client.send(piece)).await, Ok(Ok(()))) {
            return;
        }
        next = chunks.recv().await;
    }
    // A writer that panicked has not said that it is done.
    if worker.await.is_ok() {
        let _gone = timeout(PATIENCE, client.send(Piece::End)).await;
    }
}

/// Collects what is written into chunks, and waits until there is room for them.
struct Chunks {
    buffer: Vec<u8>,
    sender: mpsc::Sender<Written>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK.saturating_sub(self.buffer.len()).min(bytes.len());
        let (taken, _) = bytes.split_at(room);
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(full.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
