//! Tasks that end with whoever started them.

use tokio::task::JoinHandle;

/// A task that ends with its handle.
pub(crate) struct AbortOnDrop<T>(Option<JoinHandle<T>>);

impl<T> AbortOnDrop<T> {
    /// Of a task that was just started.
    pub(crate) const fn new(task: JoinHandle<T>) -> Self {
        Self(Some(task))
    }

    /// Waits until it has ended, in whatever way.
    pub(crate) async fn finished(&mut self) {
        if let Some(task) = &mut self.0 {
            // Aborted or not: it has ended.
            let _result = task.await;
        }
        self.0 = None;
    }

    /// Lets it go on by itself.
    pub(crate) fn release(mut self) {
        self.0 = None;
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
