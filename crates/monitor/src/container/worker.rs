//! The thread that speaks to the runtime: lists pods and containers when it is asked, and hears events all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::cri::{self, Cri};
use super::error::RuntimeError;
use super::events::{Envelope, FILTER, MAX_EVENT};
use super::path::{GroupPath, is_id};
use super::pulls::{ImageFacts, Pulls, chains};
use super::{MAX_CONTAINERS, MAX_PODS, printable};
use crate::data::{ContainerStates, ImagePullMetrics};
use crate::reading::MAX_LABEL;

/// What one listing is given altogether. The first on a full node asks about each container.
const LISTING: Duration = Duration::from_secs(8);
/// How often names that are to be asked about are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a runtime that knows no events is waited for to say so.
const REFUSAL: Duration = Duration::from_millis(500);
/// Between attempts to hear events.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What there is on the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) runtime: String,
    pub(super) states: ContainerStates,
    pub(super) ready_pods: u32,
    pub(super) other_pods: u32,
    pub(super) left_out: u32,
    pub(super) pods: Vec<Pod>,
    pub(super) pulls: ImagePullMetrics,
}

/// A pod that is ready.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) sandbox: Task,
    pub(super) restarts: u32,
    pub(super) containers: Vec<Running>,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) restarts: u32,
    pub(super) task: Task,
}

/// Where a container is among processes and control groups. It stays there as long as its identifier lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) pid: u32,
    pub(super) group: Option<GroupPath>,
    pub(super) host_network: bool,
}

/// A handle to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    requests: Option<mpsc::Sender<blocking::SyncSender<Result<Inventory, RuntimeError>>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(socket: PathBuf) -> Result<Self, RuntimeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| RuntimeError::Thread(Some(error)))?;
        let (requests, asked) = mpsc::channel(1);
        let thread = thread::Builder::new()
            .name("containers".to_owned())
            .spawn(move || runtime.block_on(serve(socket, asked)))
            .map_err(|error| RuntimeError::Thread(Some(error)))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    pub(super) fn inventory(&self) -> Result<Inventory, RuntimeError> {
        let gone = || RuntimeError::Thread(None);
        let (reply, answer) = blocking::sync_channel(1);
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        // There is room: every request before has been answered.
        requests.try_send(reply).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

type Asked = mpsc::Receiver<blocking::SyncSender<Result<Inventory, RuntimeError>>>;

async fn serve(socket: PathBuf, mut asked: Asked) {
    let cri = Cri::new(socket);
    let pulls = Arc::new(Watched {
        began: Instant::now(),
        pulls: Mutex::new(Pulls::default()),
    });
    let watch = tokio::spawn(watch(cri.clone(), Arc::clone(&pulls)));
    let mut lister = Lister {
        cri,
        runtime: String::new(),
        tasks: BTreeMap::new(),
    };
    while let Some(reply) = asked.recv().await {
        let listed = timeout(LISTING, lister.list()).await;
        let listed = listed.unwrap_or(Err(RuntimeError::Late {
            call: "all calls of one listing",
            limit: LISTING,
        }));
        let listed = listed.map(|inventory| Inventory {
            pulls: pulls.lock().totals(pulls.now()),
            ..inventory
        });
        if listed.is_err() {
            // It may be another runtime by the next time.
            lister.runtime.clear();
        }
        // Who asked may have given up.
        let _ = reply.send(listed);
    }
    watch.abort();
}

struct Lister {
    cri: Cri,
    runtime: String,
    /// By identifier of the container or sandbox.
    tasks: BTreeMap<String, Task>,
}

impl Lister {
    async fn list(&mut self) -> Result<Inventory, RuntimeError> {
        if self.runtime.is_empty() {
            let version = self.cri.version().await?;
            self.runtime = printable(
                &format!("{} {}", version.runtime_name, version.runtime_version),
                MAX_LABEL,
            );
        }
        let sandboxes = self.cri.sandboxes().await?;
        let containers = self.cri.containers().await?;
        let mut inventory = Inventory {
            runtime: self.runtime.clone(),
            states: states(&containers),
            ..Inventory::default()
        };

        let (ready, others): (Vec<_>, Vec<_>) = sandboxes
            .into_iter()
            .partition(|sandbox| sandbox.state == cri::SANDBOX_READY);
        inventory.ready_pods = count(ready.len());
        inventory.other_pods = count(others.len());
        let pod_of = pods_by_sandbox(ready.iter().chain(&others));
        let restarts = restarts(&containers, &pod_of);

        let mut kept = BTreeSet::new();
        let mut running = newest_running(containers);
        let mut measured = 0_usize;
        for sandbox in newest_ready(ready) {
            if inventory.pods.len() >= MAX_PODS {
                inventory.left_out = inventory.left_out.saturating_add(1);
                continue;
            }
            let Some(task) = self.task(&sandbox.id, Kind::Sandbox).await? else {
                continue;
            };
            kept.insert(sandbox.id.clone());
            let mut pod = pod(&sandbox, task);
            for (name, container) in running.remove(&sandbox.id).unwrap_or_default() {
                if measured >= MAX_CONTAINERS {
                    inventory.left_out = inventory.left_out.saturating_add(1);
                    continue;
                }
                let Some(task) = self.task(&container.id, Kind::Container).await? else {
                    continue;
                };
                kept.insert(container.id.clone());
                measured = measured.saturating_add(1);
                let restarts = container.metadata.map_or(0, |metadata| metadata.attempt);
                pod.containers.push(Running { name, restarts, task });
            }
            let named = (pod.namespace.clone(), pod.name.clone());
            pod.restarts = restarts.get(&named).copied().unwrap_or_default();
            inventory.pods.push(pod);
        }
        self.tasks.retain(|id, _| kept.contains(id));
        Ok(inventory)
    }

    /// Where a container or sandbox is; `None` if it is not there any more.
    async fn task(&mut self, id: &str, kind: Kind) -> Result<Option<Task>, RuntimeError> {
        if let Some(task) = self.tasks.get(id) {
            return Ok(Some(task.clone()));
        }
        let asked = match kind {
            Kind::Sandbox => self.cri.sandbox(id).await.map(|answer| {
                let host = answer
                    .status
                    .as_ref()
                    .is_some_and(cri::PodSandboxStatus::is_on_host_network);
                let runs = answer
                    .status
                    .is_some_and(|status| status.state == cri::SANDBOX_READY);
                (runs, host, answer.info)
            }),
            Kind::Container => self.cri.container(id).await.map(|answer| {
                let runs = answer
                    .status
                    .is_some_and(|status| status.state == cri::CONTAINER_RUNNING);
                (runs, false, answer.info)
            }),
        };
        let (runs, host_network, info) = match asked {
            Ok(answer) => answer,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        };
        if !runs {
            return Ok(None);
        }
        let malformed = |what| RuntimeError::Malformed {
            call: kind.call(),
            what,
        };
        if !is_id(id) {
            return Err(malformed("an identifier that is none"));
        }
        let info = info
            .get("info")
            .ok_or_else(|| malformed("no `info`, which is to say where the container is"))?;
        let (pid, group) =
            place(info).ok_or_else(|| malformed("`info` is not JSON with the container's place"))?;
        let task = Task {
            id: id.to_owned(),
            pid,
            group,
            host_network,
        };
        self.tasks.insert(id.to_owned(), task.clone());
        Ok(Some(task))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Sandbox,
    Container,
}

impl Kind {
    const fn call(self) -> &'static str {
        match self {
            Self::Sandbox => "PodSandboxStatus",
            Self::Container => "ContainerStatus",
        }
    }
}

/// The process and the control group, from what a verbose status adds for people.
fn place(info: &str) -> Option<(u32, Option<GroupPath>)> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        pid: u32,
        #[serde(rename = "runtimeSpec")]
        spec: Option<Spec>,
    }
    #[derive(Deserialize)]
    struct Spec {
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    struct Linux {
        #[serde(rename = "cgroupsPath", default)]
        path: String,
    }
    let info: Info = serde_json::from_str(info).ok()?;
    let linux = info.spec.and_then(|spec| spec.linux);
    Some((
        info.pid,
        linux.and_then(|linux| GroupPath::from_spec(&linux.path)),
    ))
}

fn states(containers: &[cri::Container]) -> ContainerStates {
    let mut states = ContainerStates::default();
    for container in containers {
        let slot = match container.state {
            cri::CONTAINER_CREATED => &mut states.created,
            cri::CONTAINER_RUNNING => &mut states.running,
            cri::CONTAINER_EXITED => &mut states.exited,
            _ => &mut states.unknown,
        };
        *slot = slot.saturating_add(1);
    }
    states
}

type PodName = (String, String);

fn pod_name(sandbox: &cri::PodSandbox) -> PodName {
    let metadata = sandbox.metadata.as_ref();
    metadata.map_or_else(PodName::default, |metadata| {
        (
            printable(&metadata.namespace, MAX_LABEL),
            printable(&metadata.name, MAX_LABEL),
        )
    })
}

fn pods_by_sandbox<'a>(sandboxes: impl Iterator<Item = &'a cri::PodSandbox>) -> BTreeMap<String, PodName> {
    sandboxes
        .map(|sandbox| (sandbox.id.clone(), pod_name(sandbox)))
        .collect()
}

/// Restarts of each pod's containers: of each name, the highest attempt. The kubelet puts its count of restarts there,
/// and goes on counting when the pod gets another sandbox.
fn restarts(containers: &[cri::Container], pod_of: &BTreeMap<String, PodName>) -> BTreeMap<PodName, u32> {
    let mut highest: BTreeMap<(&PodName, &str), u32> = BTreeMap::new();
    for container in containers {
        let (Some(pod), Some(metadata)) = (pod_of.get(&container.pod_sandbox_id), &container.metadata) else {
            continue;
        };
        let attempt = highest.entry((pod, &metadata.name)).or_default();
        *attempt = metadata.attempt.max(*attempt);
    }
    let mut sums: BTreeMap<PodName, u32> = BTreeMap::new();
    for ((pod, _), attempt) in highest {
        let sum = sums.entry(pod.clone()).or_default();
        *sum = sum.saturating_add(attempt);
    }
    sums
}

/// Of each pod the newest sandbox, in a fixed order: which pods are left out must not change with every listing.
fn newest_ready(mut ready: Vec<cri::PodSandbox>) -> Vec<cri::PodSandbox> {
    ready.sort_by_cached_key(|sandbox| {
        let (namespace, name) = pod_name(sandbox);
        (namespace, name, std::cmp::Reverse(sandbox.created_at))
    });
    ready.dedup_by_key(|sandbox| pod_name(sandbox));
    ready
}

/// By sandbox and name, the newest container of each that runs.
fn newest_running(containers: Vec<cri::Container>) -> BTreeMap<String, BTreeMap<String, cri::Container>> {
    let mut by_sandbox: BTreeMap<String, BTreeMap<String, cri::Container>> = BTreeMap::new();
    for container in containers {
        if container.state != cri::CONTAINER_RUNNING {
            continue;
        }
        let name = container.metadata.as_ref().map(|metadata| metadata.name.as_str());
        let name = printable(name.unwrap_or_default(), MAX_LABEL);
        let of_sandbox = by_sandbox.entry(container.pod_sandbox_id.clone()).or_default();
        match of_sandbox.get(&name) {
            Some(kept) if kept.created_at >= container.created_at => {}
            _ => {
                of_sandbox.insert(name, container);
            }
        }
    }
    by_sandbox
}

fn pod(sandbox: &cri::PodSandbox, task: Task) -> Pod {
    let (namespace, name) = pod_name(sandbox);
    let uid = sandbox.metadata.as_ref().map(|metadata| metadata.uid.clone());
    Pod {
        namespace,
        name,
        uid: uid.unwrap_or_default(),
        sandbox: task,
        restarts: 0,
        containers: Vec::new(),
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Pulls, with the clock that they are timed by.
struct Watched {
    began: Instant,
    pulls: Mutex<Pulls>,
}

impl Watched {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Pulls> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears events as long as the thread lives, and begins again when the runtime ends the stream.
async fn watch(cri: Cri, watched: Arc<Watched>) {
    let [shortest, longest] = BACKOFF;
    let mut pause = shortest;
    loop {
        // Why it ended shows in that nothing is watched; a runtime that is not there fails the listing too.
        let ended = hear(&cri, &watched).await;
        if watched.lock().interrupted() || ended.is_ok() {
            pause = shortest;
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// Hears events until the stream ends.
async fn hear(cri: &Cri, watched: &Watched) -> Result<(), RuntimeError> {
    let images = cri.images().await?;
    let images = images
        .into_iter()
        .map(|image| (printable(&image.id, MAX_LABEL), image.size));
    watched.lock().list(images);
    let mut opening = pin!(cri.events::<Envelope>(vec![FILTER.to_owned()], MAX_EVENT));
    // A runtime that refuses says so at once; one that does not is heard.
    let mut stream = match timeout(REFUSAL, &mut opening).await {
        Ok(opened) => Some(opened?),
        Err(_) => None,
    };
    watched.lock().watching();
    loop {
        while let Some(name) = { watched.lock().due(watched.now()).map(str::to_owned) } {
            let facts = facts(cri, &name).await?;
            watched.lock().answer(&name, facts, watched.now());
        }
        let pending = watched.lock().is_pending();
        // Names become due one by one; looking once in a while is simpler than the earliest of them.
        let patience = if pending { LOOK } else { Duration::MAX };
        let Some(opened) = &mut stream else {
            if let Ok(opened) = timeout(patience, &mut opening).await {
                stream = Some(opened?);
            }
            continue;
        };
        match timeout(patience, opened.message()).await {
            Err(_) => {}
            Ok(Ok(Some(envelope))) => {
                if let Some(event) = envelope.event() {
                    watched.lock().event(event, watched.now());
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return Err(RuntimeError::refused("Subscribe", &status)),
        }
    }
}

async fn facts(cri: &Cri, name: &str) -> Result<Option<ImageFacts>, RuntimeError> {
    let answer = match cri.image(name).await {
        Ok(answer) => answer,
        // A name that the runtime refuses must not end the stream each time.
        Err(RuntimeError::Refused { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let chains = answer
        .info
        .get("info")
        .map(|info| chains(info))
        .unwrap_or_default();
    Ok(answer.image.map(|image| ImageFacts {
        id: printable(&image.id, MAX_LABEL),
        size: image.size,
        chains,
    }))
}

#[cfg(test)]
mod tests;
