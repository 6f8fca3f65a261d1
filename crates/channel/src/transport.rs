//! Stub, taken over.
use tokio::io::{AsyncRead, AsyncWrite};
/// A byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}
