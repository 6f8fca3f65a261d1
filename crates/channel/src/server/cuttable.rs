//! A connection that can be cut, whatever its driver waits for: who does not listen cannot be told that it is over.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Stream;

/// The connection.
pub(super) struct Cuttable {
    inner: Box<dyn Stream>,
    cutter: Cutter,
}

/// Cuts it.
#[derive(Clone, Default)]
pub(super) struct Cutter {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cutter {
    /// From now on, the connection fails.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        let wakers = [state.reader.take(), state.writer.take()];
        // A waker may run what it wakes.
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, who: impl FnOnce(&mut State) -> &mut Option<Waker>, waker: &Waker) -> io::Result<()> {
        let mut state = self.lock();
        if state.cut {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it was cut at this end",
            ));
        }
        let slot = who(&mut state);
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
        Ok(())
    }
}

impl Cuttable {
    pub(super) fn new(inner: Box<dyn Stream>) -> (Self, Cutter) {
        let cutter = Cutter::default();
        let stream = Self {
            inner,
            cutter: cutter.clone(),
        };
        (stream, cutter)
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cutter.check(|state| &mut state.reader, context.waker())?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cutter.check(|state| &mut state.writer, context.waker())?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cutter.check(|state| &mut state.writer, context.waker())?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cutter.check(|state| &mut state.writer, context.waker())?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
