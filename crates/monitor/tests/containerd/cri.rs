//! The other half of the Container Runtime Interface: what makes pods and containers and pulls images.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

/// Blocks on each call.
pub struct Cri {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
}

/// A pod with one container.
#[derive(Clone, Debug)]
pub struct Pod {
    pub sandbox: String,
    pub container: String,
}

/// What a pod is to be.
pub struct PodPlan<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    /// The control group above its containers'.
    pub group: String,
    /// What its container runs, in busybox's shell.
    pub script: &'a str,
    /// Of one CPU; none is no limit.
    pub cpu_percent: Option<i64>,
    pub host_network: bool,
    /// How often the container was started before.
    pub attempt: u32,
}

impl Cri {
    pub fn new(socket: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let entered = runtime.enter();
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        drop(entered);
        Self { runtime, channel }
    }

    pub fn version(&self) -> Result<(), Status> {
        self.call::<_, Empty>("RuntimeService/Version", Empty {})
            .map(drop)
    }

    /// Makes and starts a pod with its container.
    pub fn run(&self, plan: &PodPlan<'_>) -> Pod {
        let config = sandbox_config(plan);
        let request = RunPodSandbox {
            config: Some(config.clone()),
        };
        let sandbox: Id = self
            .call("RuntimeService/RunPodSandbox", request)
            .expect("run a sandbox");
        let container = self.start(&sandbox.id, &config, plan);
        Pod {
            sandbox: sandbox.id,
            container,
        }
    }

    /// Makes and starts another container in a pod.
    pub fn run_container(&self, pod: &Pod, plan: &PodPlan<'_>) -> String {
        self.start(&pod.sandbox, &sandbox_config(plan), plan)
    }

    pub fn stop_container(&self, id: &str) {
        self.call::<_, Empty>("RuntimeService/StopContainer", Id { id: id.to_owned() })
            .expect("stop a container");
    }

    /// Ends a pod and removes it.
    pub fn remove(&self, sandbox: &str) -> Result<(), Status> {
        let id = Id {
            id: sandbox.to_owned(),
        };
        self.call::<_, Empty>("RuntimeService/StopPodSandbox", id.clone())?;
        self.call::<_, Empty>("RuntimeService/RemovePodSandbox", id)
            .map(drop)
    }

    /// Removes all pods, as far as the runtime lets it.
    pub fn remove_all(&self) {
        let Ok(list) = self.call::<_, ListPodSandbox>("RuntimeService/ListPodSandbox", Empty {}) else {
            return;
        };
        for sandbox in list.items {
            if let Err(error) = self.remove(&sandbox.id) {
                eprintln!("a pod is not removed: {error}");
            }
        }
    }

    /// The first process of a container.
    pub fn container_pid(&self, id: &str) -> u32 {
        self.pid("RuntimeService/ContainerStatus", id)
    }

    /// The first process of a sandbox.
    pub fn sandbox_pid(&self, id: &str) -> u32 {
        self.pid("RuntimeService/PodSandboxStatus", id)
    }

    pub fn pull(&self, image: &str) -> Result<(), Status> {
        let request = Image { image: spec(image) };
        self.call::<_, Empty>("ImageService/PullImage", request).map(drop)
    }

    pub fn remove_image(&self, image: &str) {
        let request = Image { image: spec(image) };
        self.call::<_, Empty>("ImageService/RemoveImage", request)
            .expect("remove an image");
    }

    /// The size that the runtime reports of an image, if it has it.
    pub fn image_size(&self, image: &str) -> Option<u64> {
        let request = Image { image: spec(image) };
        let status: ImageStatus = self
            .call("ImageService/ImageStatus", request)
            .expect("ask about an image");
        status.image.map(|image| image.size)
    }

    fn start(&self, sandbox: &str, config: &SandboxConfig, plan: &PodPlan<'_>) -> String {
        let quota = plan.cpu_percent.map(|percent| Resources {
            period: 100_000,
            quota: percent * 1000,
        });
        let request = CreateContainer {
            sandbox: sandbox.to_owned(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata {
                    name: "main".to_owned(),
                    attempt: plan.attempt,
                }),
                image: spec(super::machine::IMAGE),
                command: ["/bin/busybox", "sh", "-c", plan.script]
                    .map(str::to_owned)
                    .into(),
                linux: Some(LinuxContainer { resources: quota }),
            }),
            sandbox_config: Some(config.clone()),
        };
        let container: Id = self
            .call("RuntimeService/CreateContainer", request)
            .expect("create a container");
        self.call::<_, Empty>("RuntimeService/StartContainer", container.clone())
            .expect("start a container");
        container.id
    }

    fn pid(&self, method: &'static str, id: &str) -> u32 {
        let request = VerboseStatus {
            id: id.to_owned(),
            verbose: true,
        };
        let status: Info = self.call(method, request).expect("ask for a status");
        let info: serde_json::Value = serde_json::from_str(&status.info["info"]).unwrap();
        u32::try_from(info["pid"].as_u64().unwrap()).unwrap()
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = format!("/runtime.v1.{method}").parse().unwrap();
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let call = async {
            grpc.ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = tonic_prost::ProstCodec::default();
            grpc.unary(tonic::Request::new(request), path, codec).await
        };
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), call).await });
        answered
            .map_err(|_| Status::deadline_exceeded(method.to_owned()))?
            .map(tonic::Response::into_inner)
    }
}

fn sandbox_config(plan: &PodPlan<'_>) -> SandboxConfig {
    SandboxConfig {
        metadata: Some(SandboxMetadata {
            name: plan.name.to_owned(),
            uid: plan.uid.to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        // Only a network of its own has a name of its own.
        hostname: if plan.host_network {
            String::new()
        } else {
            plan.name.to_owned()
        },
        linux: Some(LinuxSandbox {
            group: plan.group.clone(),
            security: Some(SandboxSecurity {
                namespaces: Some(Namespaces {
                    network: if plan.host_network { 2 } else { 0 },
                    process: 1,
                }),
            }),
        }),
    }
}

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec {
        image: image.to_owned(),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VerboseStatus {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(btree_map = "string, string", tag = "2")]
    info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandbox {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Id>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<SandboxMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(uint32, tag = "4")]
    attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxSandbox {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, optional, tag = "2")]
    security: Option<SandboxSecurity>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SandboxSecurity {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    process: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    sandbox: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxContainer {
    #[prost(message, optional, tag = "1")]
    resources: Option<Resources>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resources {
    #[prost(int64, tag = "1")]
    period: i64,
    #[prost(int64, tag = "2")]
    quota: i64,
}

/// `PullImageRequest`, `RemoveImageRequest` and `ImageStatusRequest`, whose first field is the image.
#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageStatus {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSize>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSize {
    #[prost(uint64, tag = "4")]
    size: u64,
}
