//! Work that ends when the node is to stop.

use tokio::sync::watch;

/// What `work` gives, or nothing once `stop` was asked for.
pub(super) async fn until_stop<T>(
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = asked(stop) => None,
        done = work => Some(done),
    }
}

/// Waits until `stop` is asked for; that nobody is left to ask is the same.
pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    let _asked = stop.wait_for(|stop| *stop).await;
}
