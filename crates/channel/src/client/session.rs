//! One session of a client, and who watches over it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nautilus_core::UnixMillis;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::{Again, Client, ClientEvent, Line, SessionState, Shared};
use crate::backoff::Backoff;
use crate::connection::{Channel, TaskClock, open as handshake};
use crate::endpoint::Endpoint;
use crate::error::ChannelError;
use crate::limits::Limits;
use crate::message::Reason;
use crate::peer::Standing;
use crate::queue::Queue;

/// How long a new session may take while the old one lasts.
pub(super) const RENEWAL: Duration = Limits::DEFAULT.hello.saturating_add(Limits::DEFAULT.evidence);
/// How long a session that has a successor may take to end.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// Connects, and does the handshake.
pub(super) async fn open<P: Standing>(
    line: &Line,
    clock: TaskClock,
    deadline: Instant,
) -> Result<Channel<P>, ChannelError> {
    let config = (line.config)();
    let left = deadline.saturating_duration_since(Instant::now());
    let stream = line.dial.dial(left.min(config.limits.hello)).await?;
    let endpoint = Endpoint::initiator(config, clock.now())?;
    let (channel, questions) = handshake(stream, endpoint, clock, line.parties.clone()).await?;
    // Who asks here answers nothing.
    drop(questions);
    Ok(channel)
}

/// A client, for who must not keep it.
pub(super) struct WatchedClient<P: Standing> {
    queue: Weak<Queue<()>>,
    shared: Weak<Shared<P>>,
}

impl<P: Standing> WatchedClient<P> {
    pub(super) fn of(client: &Client<P>) -> Self {
        Self {
            queue: Arc::downgrade(&client.queue),
            shared: Arc::downgrade(&client.shared),
        }
    }

    /// Tells of a session that ended while nobody asked: a job at work tells of it itself.
    fn lost(&self, why: ChannelError, told: &AtomicBool) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        if !shared.lock().at_work && !told.swap(true, Ordering::Relaxed) {
            shared.tell_lost(why);
        }
    }

    /// Has another session opened, in turn with what is asked.
    async fn renew(&self) -> Result<(), ChannelError> {
        let (Some(queue), Some(shared)) = (self.queue.upgrade(), self.shared.upgrade()) else {
            return Ok(());
        };
        let (done, renewed) = oneshot::channel();
        let client = self.clone();
        let work = async move {
            let _received = done.send(shared.renew(&client).await);
        };
        queue.enqueue((), work).await?;
        drop(queue);
        renewed.await.unwrap_or(Err(ChannelError::Closed))
    }

    fn tell(&self, event: ClientEvent) {
        if let Some(shared) = self.shared.upgrade() {
            shared.tell(event);
        }
    }
}

impl<P: Standing> Clone for WatchedClient<P> {
    fn clone(&self) -> Self {
        Self {
            queue: Weak::clone(&self.queue),
            shared: Weak::clone(&self.shared),
        }
    }
}

/// A session that is open, or was.
pub(super) struct Open<P: Standing> {
    channel: Channel<P>,
    since: UnixMillis,
    /// Whether its end was told of.
    told: Arc<AtomicBool>,
    watch: AbortHandle,
}

impl<P: Standing> Open<P> {
    /// Watches over it: tells if it breaks, and sees to its successor.
    pub(super) fn watched(channel: Channel<P>, client: WatchedClient<P>, clock: TaskClock) -> Self {
        let since = clock.now().wall;
        let told = Arc::new(AtomicBool::new(false));
        let (watched, tells) = (channel.clone(), Arc::clone(&told));
        let life = Duration::from_millis(channel.expires_at().since(since));
        let watch = tokio::spawn(async move {
            tokio::select! {
                why = watched.ended() => client.lost(why, &tells),
                () = renewal(&client, life) => {}
            }
        });
        Self {
            channel,
            since,
            told,
            watch: watch.abort_handle(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.channel.failure().is_none()
    }

    pub(super) fn channel(&self) -> Channel<P> {
        self.channel.clone()
    }

    pub(super) fn state(&self) -> SessionState {
        SessionState {
            since: self.since,
            channel_id: self.channel.channel_id(),
            expires_at: self.channel.expires_at(),
            round_trip: self.channel.round_trip(),
        }
    }

    /// Why it ended, if it has, and nobody told.
    pub(super) fn untold_failure(&self) -> Option<ChannelError> {
        let why = self.channel.failure()?;
        (!self.told.swap(true, Ordering::Relaxed)).then_some(why)
    }

    /// Ends it in order.
    pub(super) async fn terminate(self, reason: Reason) {
        self.watch.abort();
        self.channel.terminate(reason, "").await;
    }
}

impl<P: Standing> Drop for Open<P> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Opens a successor when five sixths of a session's life are over, and keeps trying. Does not end: the successor ends
/// it, or the session's own end.
async fn renewal<P: Standing>(client: &WatchedClient<P>, life: Duration) {
    sleep(life.saturating_mul(5).checked_div(6).unwrap_or(life)).await;
    let mut backoff = Backoff::new();
    while let Err(why) = client.renew().await {
        let pause = backoff.pause();
        let again = Again::After(pause);
        client.tell(ClientEvent::Broken { why, again });
        sleep(pause).await;
    }
    std::future::pending::<()>().await;
}
