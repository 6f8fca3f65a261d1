//! One request: bounded in time and size, to where it was addressed and nowhere else.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::Endorsements;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::error::{FetchConfigError, RequestError};
use super::{FetchConfig, Proxy};
use crate::document::shown;
use crate::pcs;

/// Largest header section that is read: a chain of two certificates, percent-encoded, is below 4 KiB.
const MAX_HEADERS: usize = 32 * 1024;

/// Where the client looks for a proxy.
const PROXY_VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// The client.
pub(super) struct Http {
    agent: ureq::Agent,
    deadline: Duration,
}

/// What a service said.
#[derive(Debug)]
pub(super) enum Reply {
    /// A document.
    Answer(Answer),
    /// Come back later.
    Later {
        /// When, in the service's words.
        retry_after: Option<String>,
    },
}

/// A document with the headers that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// The header that has one of the names. There must be exactly one.
    pub(super) fn header(&self, url: &str, names: &[&'static str]) -> Result<&str, RequestError> {
        let mut found = self.headers.iter().filter(|(name, _)| names.contains(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            (first, _) => {
                let (count, name) = (
                    if first.is_none() { "no" } else { "more than one" },
                    names.join(" or "),
                );
                Err(RequestError::NotUnderstood {
                    url: url.to_owned(),
                    what: format!("it has {count} header {name}"),
                })
            }
        }
    }
}

impl Http {
    pub(super) fn new(config: &FetchConfig) -> Result<Self, FetchConfigError> {
        let proxy = match config.proxy {
            Proxy::Direct => None,
            Proxy::FromEnvironment => proxy_of_environment()?,
        };
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &config.tls_roots {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(read_roots(roots)?)));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADERS)
            .timeout_connect(Some(config.connect_timeout))
            .timeout_global(Some(config.deadline))
            .user_agent("nautilus")
            .accept("*/*")
            .proxy(proxy)
            .tls_config(tls.build())
            .build()
            .into();
        Ok(Self {
            agent,
            deadline: config.deadline,
        })
    }

    pub(super) fn request(&self, url: &str) -> Result<Reply, RequestError> {
        let response = self
            .agent
            .get(url)
            .call()
            .map_err(|error| self.fault(url, error))?;
        let status = response.status().as_u16();
        let text = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        match status {
            200 => self.read(url, response).map(Reply::Answer),
            429 | 502 | 503 | 504 => Ok(Reply::Later {
                retry_after: text("retry-after"),
            }),
            404 => Err(RequestError::NotFound { url: url.to_owned() }),
            300..400 => Err(RequestError::Redirected {
                url: url.to_owned(),
                to: text("location").map_or("nowhere".to_owned(), |to| shown(&to)),
            }),
            _ => Err(RequestError::Refused {
                url: url.to_owned(),
                status,
            }),
        }
    }

    fn read(&self, url: &str, response: Response<ureq::Body>) -> Result<Answer, RequestError> {
        const LIMIT: usize = Endorsements::MAX_SIZE;
        let too_large = || RequestError::TooLarge {
            url: url.to_owned(),
            limit: LIMIT,
        };
        let most = u64::try_from(LIMIT).unwrap_or(u64::MAX);
        let (head, body) = response.into_parts();
        let announced = body.content_length();
        if announced.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let mut reader = body
            .into_with_config()
            .limit(u64::MAX)
            .reader()
            .take(most.saturating_add(1));
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| self.fault(url, ureq::Error::from(error)))?;
        if bytes.len() > LIMIT {
            return Err(too_large());
        }
        if announced.is_some_and(|length| u64::try_from(bytes.len()) != Ok(length)) {
            return Err(RequestError::Unreachable {
                url: url.to_owned(),
                why: format!("the connection ended after {} bytes", bytes.len()),
            });
        }
        Ok(Answer {
            headers: chains(url, &head.headers)?,
            body: bytes,
        })
    }

    fn fault(&self, url: &str, error: ureq::Error) -> RequestError {
        let url = url.to_owned();
        match error {
            ureq::Error::Timeout(_) => RequestError::TimedOut {
                url,
                deadline: self.deadline,
            },
            ureq::Error::LargeResponseHeader(_, limit) => RequestError::TooLarge { url, limit },
            error => RequestError::Unreachable {
                url,
                why: shown_whole(&error.to_string()),
            },
        }
    }
}

/// A proxy that is set and cannot be used is a fault: going without would tell the service who asks.
fn proxy_of_environment() -> Result<Option<ureq::Proxy>, FetchConfigError> {
    let proxy = ureq::Proxy::try_from_env();
    let set = PROXY_VARIABLES
        .iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    match (proxy, set) {
        (None, Some(name)) => Err(FetchConfigError::Proxy {
            what: format!("{name} is no address of one"),
        }),
        (proxy, _) => Ok(proxy),
    }
}

/// Host and port of an address.
pub(super) fn host_of(url: &str) -> String {
    url.parse::<Uri>()
        .ok()
        .and_then(|uri| uri.authority().map(ToString::to_string))
        .unwrap_or_default()
}

fn chains(url: &str, headers: &HeaderMap) -> Result<Vec<(&'static str, String)>, RequestError> {
    let names = pcs::TCB_INFO_CHAIN
        .iter()
        .chain(&pcs::QE_IDENTITY_CHAIN)
        .chain(&pcs::PCK_CRL_CHAIN);
    let mut found = Vec::new();
    for name in names {
        for value in headers.get_all(*name) {
            let value = value.to_str().map_err(|_| RequestError::NotUnderstood {
                url: url.to_owned(),
                what: format!("header {name} is not text"),
            })?;
            found.push((*name, value.to_owned()));
        }
    }
    Ok(found)
}

fn read_roots(pem: &[u8]) -> Result<Vec<Certificate<'static>>, FetchConfigError> {
    let unreadable = |what: String| FetchConfigError::TlsRoots { what };
    let blocks = pem::parse_many(pem).map_err(|error| unreadable(error.to_string()))?;
    let roots: Vec<_> = blocks
        .iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| Certificate::from_der(block.contents()).to_owned())
        .collect();
    if roots.is_empty() {
        return Err(unreadable("there is no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

/// Text of a library's error, on one line.
fn shown_whole(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_default).collect()
}
