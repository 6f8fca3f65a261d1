//! The part of the Container Runtime Interface that is needed: `runtime.v1` of Kubernetes'
//! `cri-api/pkg/apis/runtime/v1/api.proto`. Fields that are not read are left out, and skipped when they come.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::error::RuntimeError;
use super::printable;

/// What every call is given.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// Largest answer that is taken: the limit of the kubelet's own client (`maxMsgSize` in its `remote_runtime.go`).
const MAX_ANSWER: usize = 16 << 20;

/// `PodSandboxState`.
pub(super) const SANDBOX_READY: i32 = 0;
/// `ContainerState`.
pub(super) const CONTAINER_CREATED: i32 = 0;
pub(super) const CONTAINER_RUNNING: i32 = 1;
pub(super) const CONTAINER_EXITED: i32 = 2;
/// `NamespaceMode`.
const NAMESPACE_OF_NODE: i32 = 2;

/// Speaks to the runtime behind one socket. Connects when it is used, and again when the runtime was restarted.
#[derive(Clone, Debug)]
pub(super) struct Cri {
    socket: PathBuf,
    channel: Channel,
}

impl Cri {
    /// Within a tokio runtime.
    pub(super) fn new(socket: PathBuf) -> Self {
        let path = socket.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority of a request; nothing is looked up.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        Self { socket, channel }
    }

    pub(super) async fn version(&self) -> Result<VersionResponse, RuntimeError> {
        let request = VersionRequest {
            version: "v1".to_owned(),
        };
        self.call("Version", "/runtime.v1.RuntimeService/Version", request)
            .await
    }

    pub(super) async fn sandboxes(&self) -> Result<Vec<PodSandbox>, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/ListPodSandbox";
        let answer: ListPodSandboxResponse = self.call("ListPodSandbox", path, Empty {}).await?;
        Ok(answer.items)
    }

    pub(super) async fn containers(&self) -> Result<Vec<Container>, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/ListContainers";
        let answer: ListContainersResponse = self.call("ListContainers", path, Empty {}).await?;
        Ok(answer.containers)
    }

    pub(super) async fn sandbox(&self, id: &str) -> Result<PodSandboxStatusResponse, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/PodSandboxStatus";
        self.call("PodSandboxStatus", path, StatusRequest::of(id)).await
    }

    pub(super) async fn container(&self, id: &str) -> Result<ContainerStatusResponse, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/ContainerStatus";
        self.call("ContainerStatus", path, StatusRequest::of(id)).await
    }

    pub(super) async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
        let path = "/runtime.v1.ImageService/ListImages";
        let answer: ListImagesResponse = self.call("ListImages", path, Empty {}).await?;
        Ok(answer.images)
    }

    pub(super) async fn image(&self, name: &str) -> Result<ImageStatusResponse, RuntimeError> {
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: name.to_owned(),
            }),
            verbose: true,
        };
        self.call("ImageStatus", "/runtime.v1.ImageService/ImageStatus", request)
            .await
    }

    /// containerd's own events; another runtime refuses. Without a deadline: containerd sends nothing, not even that it
    /// took the call, before there is a first event.
    pub(super) async fn events<M>(
        &self,
        filters: Vec<String>,
        largest: usize,
    ) -> Result<Streaming<M>, RuntimeError>
    where
        M: prost::Message + Default + Send + Sync + 'static,
    {
        const CALL: &str = "Subscribe";
        let path = "/containerd.services.events.v1.Events/Subscribe";
        let path = path.parse().map_err(|_| RuntimeError::Malformed {
            call: CALL,
            what: "the path of the call",
        })?;
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(largest);
        grpc.ready().await.map_err(|error| self.unreachable(&error))?;
        grpc.server_streaming(Request::new(SubscribeRequest { filters }), path, codec())
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| self.refused(CALL, &status))
    }

    /// One call that changes nothing, so that it may be made again when the connection turned out to be dead.
    async fn call<Q, A>(&self, call: &'static str, path: &'static str, request: Q) -> Result<A, RuntimeError>
    where
        Q: prost::Message + Clone + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let attempt = self.attempt(call, path, request.clone());
        match timeout(DEADLINE, attempt).await.map_err(|_| late(call))? {
            Err(RuntimeError::Unreachable { .. }) => {}
            answered => return answered,
        }
        let again = self.attempt(call, path, request);
        timeout(DEADLINE, again).await.map_err(|_| late(call))?
    }

    async fn attempt<Q, A>(
        &self,
        call: &'static str,
        path: &'static str,
        request: Q,
    ) -> Result<A, RuntimeError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = path.parse().map_err(|_| RuntimeError::Malformed {
            call,
            what: "the path of the call",
        })?;
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        grpc.ready().await.map_err(|error| self.unreachable(&error))?;
        grpc.unary(Request::new(request), path, codec())
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| self.refused(call, &status))
    }

    /// tonic tells of a connection that failed with a status of its own, which has the cause as its source.
    fn refused(&self, call: &'static str, status: &tonic::Status) -> RuntimeError {
        match std::error::Error::source(status) {
            Some(cause) if status.code() != tonic::Code::OutOfRange => self.unreachable(cause),
            _ => RuntimeError::refused(call, status),
        }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> RuntimeError {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        RuntimeError::Unreachable {
            socket: self.socket.clone(),
            message: printable(&cause.to_string(), 200),
        }
    }
}

fn codec<Q, A>() -> ProstCodec<Q, A>
where
    Q: prost::Message + Send + 'static,
    A: prost::Message + Default + Send + 'static,
{
    ProstCodec::default()
}

fn late(call: &'static str) -> RuntimeError {
    RuntimeError::Late {
        call,
        limit: DEADLINE,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(int32, tag = "6")]
    pub(super) state: i32,
    #[prost(int64, tag = "7")]
    pub(super) created_at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
}

/// `ContainerStatusRequest` and `PodSandboxStatusRequest`, which have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

impl StatusRequest {
    fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            verbose: true,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatus {
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<PodSandboxStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatus {
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    #[prost(message, optional, tag = "6")]
    linux: Option<LinuxPodSandboxStatus>,
}

impl PodSandboxStatus {
    /// Whether the pod is on the host's network.
    pub(super) fn is_on_host_network(&self) -> bool {
        let namespaces = self.linux.as_ref().and_then(|linux| linux.namespaces.as_ref());
        namespaces
            .and_then(|namespaces| namespaces.options.as_ref())
            .is_some_and(|options| options.network == NAMESPACE_OF_NODE)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxPodSandboxStatus {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Namespace {
    #[prost(message, optional, tag = "2")]
    options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    images: Vec<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(uint64, tag = "4")]
    pub(super) size: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// A field of `api.proto`, as its number and wire type have it: written by hand, not by prost.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn a_list_of_sandboxes_is_read_by_its_numbers() {
        let metadata = [
            field(1, b"web"),
            field(2, b"uid-1"),
            field(3, b"default"),
            vec![4 << 3, 7],
        ]
        .concat();
        let sandbox = [
            field(1, b"abc"),
            field(2, &metadata),
            vec![3 << 3, 1],
            vec![4 << 3, 42],
            // labels, which are skipped
            field(5, &[field(1, b"k"), field(2, b"v")].concat()),
        ]
        .concat();
        let answer = ListPodSandboxResponse::decode(&*field(1, &sandbox)).unwrap();
        let expected = PodSandbox {
            id: "abc".to_owned(),
            metadata: Some(PodSandboxMetadata {
                name: "web".to_owned(),
                uid: "uid-1".to_owned(),
                namespace: "default".to_owned(),
            }),
            state: 1,
            created_at: 42,
        };
        assert_eq!(answer.items, [expected]);
    }

    #[test]
    fn a_list_of_containers_is_read_by_its_numbers() {
        let container = [
            field(1, b"c"),
            field(2, b"s"),
            field(3, &[field(1, b"app"), vec![2 << 3, 3]].concat()),
            field(4, &field(1, b"image")),
            vec![6 << 3, 1],
            vec![7 << 3, 42],
        ]
        .concat();
        let answer = ListContainersResponse::decode(&*field(1, &container)).unwrap();
        let expected = Container {
            id: "c".to_owned(),
            pod_sandbox_id: "s".to_owned(),
            metadata: Some(ContainerMetadata {
                name: "app".to_owned(),
                attempt: 3,
            }),
            state: CONTAINER_RUNNING,
            created_at: 42,
        };
        assert_eq!(answer.containers, [expected]);
    }

    #[test]
    fn statuses_are_read_by_their_numbers() {
        let info = field(2, &[field(1, b"info"), field(2, b"{}")].concat());
        let options = field(2, &[vec![1 << 3, 2], vec![2 << 3, 1]].concat());
        let status = [vec![3 << 3, 0], field(6, &field(1, &options))].concat();
        let answer = PodSandboxStatusResponse::decode(&*[field(1, &status), info.clone()].concat()).unwrap();
        assert!(answer.status.unwrap().is_on_host_network());
        assert_eq!(answer.info["info"], "{}");
        let answer =
            ContainerStatusResponse::decode(&*[field(1, &[3 << 3, 2]), info.clone()].concat()).unwrap();
        assert_eq!(answer.status.unwrap().state, CONTAINER_EXITED);
        let image = [field(1, b"sha256:1"), field(2, b"tag"), vec![4 << 3, 99]].concat();
        let answer = ImageStatusResponse::decode(&*[field(1, &image), info].concat()).unwrap();
        assert_eq!(answer.image.unwrap().size, 99);
    }

    #[test]
    fn requests_have_the_bytes_of_the_interface() {
        assert_eq!(StatusRequest::of("ab").encode_to_vec(), b"\x0a\x02ab\x10\x01");
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: "x".to_owned(),
            }),
            verbose: true,
        };
        assert_eq!(request.encode_to_vec(), b"\x0a\x03\x0a\x01x\x10\x01");
        let request = SubscribeRequest {
            filters: vec!["a".to_owned()],
        };
        assert_eq!(request.encode_to_vec(), b"\x0a\x01a");
        assert!(Empty {}.encode_to_vec().is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("containerd.sock");
        let error = Cri::new(socket.clone()).version().await.unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Unreachable { socket: named, .. } if *named == socket),
            "{error:?}"
        );
        assert!(error.to_string().contains("No such file or directory"), "{error}");
    }
}
