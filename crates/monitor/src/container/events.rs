//! containerd's events that tell of images: `containerd.services.events.v1.Events/Subscribe`
//! (`api/services/events/v1/events.proto`, `api/events/image.proto`, `api/events/snapshot.proto`).

use prost::Message as _;

/// Namespace of the images that pods are made of.
const NAMESPACE: &str = "k8s.io";
/// Longest name of an image or key of a snapshot that is taken. containerd's names of images are shorter.
const MAX_NAME: usize = 1024;

/// What is asked for. A topic is a regular expression, which containerd wants quoted.
pub(super) const FILTER: &str =
    r#"namespace==k8s.io,topic~="^/(images/(create|update|delete)|snapshot/(prepare|remove))$""#;
/// Largest event that is taken. An image's labels are the largest part.
pub(super) const MAX_EVENT: usize = 1 << 20;

/// An event that bears on pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageEvent {
    /// A name of an image was made, or points at something else now, or has other labels.
    Named {
        /// The name: a reference, a reference with a digest, or the image's identifier.
        name: String,
    },
    /// A name of an image is not there any more.
    Removed {
        /// The name.
        name: String,
    },
    /// A layer begins to be extracted.
    Extracting {
        /// The snapshot's key, which is the extraction's own.
        key: String,
        /// What the layer and all below it are, once extracted: the OCI image specification's ChainID.
        chain: String,
        /// The ChainID of the layer below; empty for the lowest.
        parent: String,
    },
    /// An extraction was given up.
    Abandoned {
        /// The snapshot's key.
        key: String,
    },
}

impl ImageEvent {
    /// Reads one event of the stream. `None` if it bears on nothing here, or is malformed: containerd's other events
    /// and other namespaces' come from the same socket.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Envelope::decode(bytes).ok().and_then(|envelope| envelope.event())
    }
}

/// An event with what is around it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

/// `google.protobuf.Any`. containerd's type URL has no slash before it, so the topic tells what the value is.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `ImageCreate`, `ImageUpdate`, `ImageDelete`, and `SnapshotRemove`, whose first field is the key.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SnapshotPrepare {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    parent: String,
}

impl Envelope {
    pub(super) fn event(self) -> Option<ImageEvent> {
        let value = self.event.filter(|_| self.namespace == NAMESPACE)?.value;
        match self.topic.as_str() {
            "/images/create" | "/images/update" => Some(ImageEvent::Named { name: name(&value)? }),
            "/images/delete" => Some(ImageEvent::Removed { name: name(&value)? }),
            "/snapshot/prepare" => {
                let SnapshotPrepare { key, parent } = SnapshotPrepare::decode(&*value).ok()?;
                if key.len() > MAX_NAME || parent.len() > MAX_NAME {
                    return None;
                }
                // `extract-NANOSECONDS-RANDOM CHAINID`: what other keys name is no layer of a pull.
                let (_, chain) = key
                    .split_once(' ')
                    .filter(|_| key.starts_with("extract-"))
                    .filter(|(_, chain)| chain.starts_with("sha256:"))?;
                let chain = chain.to_owned();
                Some(ImageEvent::Extracting { key, chain, parent })
            }
            "/snapshot/remove" => {
                let key = name(&value).filter(|key| key.starts_with("extract-"))?;
                Some(ImageEvent::Abandoned { key })
            }
            _ => None,
        }
    }
}

fn name(value: &[u8]) -> Option<String> {
    let Named { name } = Named::decode(value).ok()?;
    (!name.is_empty() && name.len() <= MAX_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    fn envelope(namespace: &str, topic: &str, value: &[u8]) -> Vec<u8> {
        let any = [field(1, b"containerd.events.X"), field(2, value)].concat();
        [
            field(1, &[1 << 3, 5]),
            field(2, namespace.as_bytes()),
            field(3, topic.as_bytes()),
            field(4, &any),
        ]
        .concat()
    }

    #[test]
    fn events_are_read_by_their_topic() {
        let of = |topic, value: &[u8]| ImageEvent::decode(&envelope("k8s.io", topic, value));
        let name = || "a/b:1".to_owned();
        assert_eq!(
            of("/images/create", &field(1, b"a/b:1")),
            Some(ImageEvent::Named { name: name() })
        );
        assert_eq!(
            of("/images/update", &field(1, b"a/b:1")),
            Some(ImageEvent::Named { name: name() })
        );
        assert_eq!(
            of("/images/delete", &field(1, b"a/b:1")),
            Some(ImageEvent::Removed { name: name() })
        );
        let key = "extract-862211490-D__R sha256:59";
        let prepare = [
            field(1, key.as_bytes()),
            field(2, b"sha256:58"),
            field(5, b"overlayfs"),
        ]
        .concat();
        assert_eq!(
            of("/snapshot/prepare", &prepare),
            Some(ImageEvent::Extracting {
                key: key.to_owned(),
                chain: "sha256:59".to_owned(),
                parent: "sha256:58".to_owned(),
            })
        );
        assert_eq!(
            of("/snapshot/remove", &field(1, key.as_bytes())),
            Some(ImageEvent::Abandoned { key: key.to_owned() })
        );
    }

    #[test]
    fn what_bears_on_nothing_is_none() {
        let of = |namespace, topic, value: &[u8]| ImageEvent::decode(&envelope(namespace, topic, value));
        assert_eq!(of("moby", "/images/create", &field(1, b"x")), None);
        assert_eq!(of("k8s.io", "/tasks/start", &field(1, b"x")), None);
        assert_eq!(of("k8s.io", "/images/create", b""), None);
        assert_eq!(of("k8s.io", "/images/create", b"\x0a\xff"), None);
        // A container's own layer, and an extraction of nothing.
        assert_eq!(of("k8s.io", "/snapshot/prepare", &field(1, b"0123abcd")), None);
        assert_eq!(
            of("k8s.io", "/snapshot/prepare", &field(1, b"extract-1-a x")),
            None
        );
        assert_eq!(of("k8s.io", "/snapshot/remove", &field(1, b"0123abcd")), None);
        assert_eq!(ImageEvent::decode(b"\xff"), None);
        assert_eq!(ImageEvent::decode(b""), None);
    }
}
