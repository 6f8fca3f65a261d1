//! Asking the vendors' services for what is missing, gently: each document once, however many want it at the same
//! time; never faster than a service allows; and never for longer than a person would wait.

mod error;
mod flight;
mod http;
mod pace;
mod timer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{EndorsementKind, UnixMillis, Want};
use serde::Serialize;

pub use self::error::{FetchConfigError, FetchError, RequestError};
use self::flight::Flights;
use self::http::{Answer, Http, Reply};
use self::pace::{Backoff, Pace};
pub use self::timer::{SystemTimer, Timer};
use crate::document::{Document, IntelTee, PckCa, Subject};
use crate::pcs::{self, Wrong};
use crate::source::{AmdKey, Base, Bases, Need, Source, Update};
use crate::store::{Kept, Provenance, Store};

/// How often one document is asked for before giving up.
const MAX_ATTEMPTS: u32 = 6;
/// How long an answer is good for everybody who asks for the same, so that many platforms share Intel's CRLs.
const REMEMBER: Duration = Duration::from_secs(10 * 60);

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// A caching service (PCCS) to ask in place of Intel's own.
    pub pccs: Option<Base>,
    /// A mirror of AMD's service to ask in place of it.
    pub kds: Option<Base>,
    /// Certificates in PEM that a service's own certificate may chain to, in place of the public ones: for a service
    /// of your own.
    pub tls_roots: Option<Vec<u8>>,
    /// Whether to go through a proxy.
    pub proxy: Proxy,
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// The longest that one request may take from its start to the last byte of its answer.
    pub deadline: Duration,
    /// The longest to wait for a service that asks for patience, over all attempts for one document.
    pub patience: Duration,
    /// The time between two requests for chips' certificates: AMD answers about one in ten seconds to an address.
    pub vcek_interval: Duration,
    /// How old collateral and revocation lists of the store may be before they are fetched again.
    pub max_age: Duration,
}

/// Whether to go through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Straight to the service.
    Direct,
    /// As `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    FromEnvironment,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            pccs: None,
            kds: None,
            tls_roots: None,
            proxy: Proxy::Direct,
            connect_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            patience: Duration::from_secs(120),
            vcek_interval: Duration::from_secs(10),
            max_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What is missing, or too old.
    Missing,
    /// Everything, also what the store has.
    Everything,
}

/// What a fetcher is about to do, for people who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It asks for a document.
    Asking {
        /// Where.
        url: &'a str,
    },
    /// It waits first.
    Waiting {
        /// For whom.
        host: &'a str,
        /// How long.
        wait: Duration,
    },
}

/// A want and what came of it.
#[derive(Debug)]
pub struct Fetched {
    /// The want.
    pub want: Want,
    /// The evaluation that was asked for.
    pub update: Update,
    /// What came of it.
    pub result: Result<Outcome, FetchError>,
}

/// Documents that are in the store now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Outcome {
    /// They were there already.
    Stored {
        /// Which.
        documents: Vec<Kept>,
    },
    /// They came from the vendor.
    Vendor {
        /// Which.
        documents: Vec<Kept>,
    },
}

impl Outcome {
    fn all(outcomes: Vec<Self>) -> Self {
        let is_stored = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Self::Stored { .. }));
        let documents = outcomes
            .into_iter()
            .flat_map(|outcome| match outcome {
                Self::Stored { documents } | Self::Vendor { documents } => documents,
            })
            .collect();
        if is_stored {
            Self::Stored { documents }
        } else {
            Self::Vendor { documents }
        }
    }
}

type Observer = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// Fetches endorsements into a store. Threads may share one; they should, since what one is fetching the others wait
/// for.
pub struct Fetcher {
    http: Http,
    bases: Bases,
    timing: Timing,
    flights: Flights<Result<Arc<Answer>, RequestError>>,
    pace: Pace,
    timer: Arc<dyn Timer>,
    observer: Observer,
}

struct Timing {
    patience: Duration,
    vcek_interval: Duration,
    max_age: Duration,
}

impl Fetcher {
    /// A fetcher. It tells `observer` what it does.
    ///
    /// # Errors
    /// If the certificates or the proxy of the configuration cannot be used.
    pub fn new(
        config: FetchConfig,
        timer: Arc<dyn Timer>,
        observer: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, FetchConfigError> {
        Ok(Self {
            http: Http::new(&config)?,
            bases: Bases {
                pccs: config.pccs,
                kds: config.kds,
            },
            timing: Timing {
                patience: config.patience,
                vcek_interval: config.vcek_interval,
                max_age: config.max_age,
            },
            flights: Flights::default(),
            pace: Pace::default(),
            timer,
            observer: Box::new(observer),
        })
    }

    /// Fetches what is wanted into the store, one after another; each comes to its own end. Only the first `updates`
    /// counts for what has no evaluations. `now` is the machine's time.
    pub fn fetch(
        &self,
        store: &Store,
        wants: &[Want],
        updates: &[Update],
        ask: Ask,
        now: UnixMillis,
    ) -> Vec<Fetched> {
        let mut fetched = Vec::new();
        for want in wants {
            let has_evaluations = want.kind == EndorsementKind::DcapCollateral;
            let count = if has_evaluations { updates.len() } else { 1 };
            for update in updates.iter().take(count) {
                let result = self.fetch_one(store, want, *update, ask, now);
                fetched.push(Fetched {
                    want: want.clone(),
                    update: *update,
                    result,
                });
            }
        }
        fetched
    }

    /// Fetches one want into the store.
    ///
    /// # Errors
    /// If it is not published by a known service, the service does not give it, or it cannot be stored.
    pub fn fetch_one(
        &self,
        store: &Store,
        want: &Want,
        update: Update,
        ask: Ask,
        now: UnixMillis,
    ) -> Result<Outcome, FetchError> {
        let needs = Need::of(want).map_err(|foreign| FetchError::NotAVendor {
            want: want.to_string(),
            url: foreign.url,
        })?;
        let is_one_of = want.kind == EndorsementKind::Certificate;
        let mut outcomes = Vec::new();
        let mut not_found = None;
        for need in needs {
            match self.fetch_need(store, want, need, update, ask, now) {
                // The chip is of another of the products.
                Err(error @ FetchError::Request(RequestError::NotFound { .. })) if is_one_of => {
                    not_found.get_or_insert(error);
                }
                Ok(outcome) if is_one_of => return Ok(outcome),
                result => outcomes.push(result?),
            }
        }
        not_found.map_or_else(|| Ok(Outcome::all(outcomes)), Err)
    }

    fn fetch_need(
        &self,
        store: &Store,
        want: &Want,
        need: Need,
        update: Update,
        ask: Ask,
        now: UnixMillis,
    ) -> Result<Outcome, FetchError> {
        let update = match need {
            Need::Dcap { .. } => update,
            // What has no evaluations is what counts.
            _ => Update::Standard,
        };
        if ask == Ask::Missing {
            let max_age = u64::try_from(self.timing.max_age.as_millis()).unwrap_or(u64::MAX);
            let documents = store.fresh(&need, update, max_age, now)?;
            if !documents.is_empty() {
                return Ok(Outcome::Stored { documents });
            }
        }
        let not_published = || FetchError::NotPublished {
            want: want.to_string(),
        };
        let (source, fetched) = match need {
            Need::Dcap { tee, fmspc, ca } => {
                let ca = ca.ok_or_else(not_published)?;
                let collateral = self.collateral(tee, fmspc, ca, update, now)?;
                (Source::TcbInfo { tee, fmspc }, vec![collateral])
            }
            Need::Vcek { product, hwid, tcb } => {
                let expected = Subject::Vcek {
                    product: product.clone(),
                    hwid: hwid.clone(),
                    tcb,
                };
                let source = Source::Vcek { product, hwid, tcb };
                let document = self.document(&source, EndorsementKind::Certificate, &expected, now)?;
                (source, vec![document])
            }
            Need::AmdCrl { product, key } => {
                let expected = Subject::AmdCrl {
                    product: product.clone(),
                };
                let source = Source::AmdCrl { product, key };
                let document = self.document(&source, EndorsementKind::Crl, &expected, now)?;
                (source, vec![document])
            }
            Need::AmdChain { product } => {
                let key = AmdKey::Vcek;
                let source = Source::AmdChain { product, key };
                let url = source.url(&self.bases, update);
                let answer = self.request(&source, &url, now)?;
                let documents = Document::recognise(answer.body.clone()).map_err(|error| {
                    let what = error.to_string();
                    RequestError::NotUnderstood { url, what }
                })?;
                (source, documents)
            }
            Need::Vlek { .. } | Need::Unpublished { .. } => return Err(not_published()),
        };
        let from = Provenance {
            source: source.url(&self.bases, update),
            update,
            at: now,
        };
        let documents = fetched
            .iter()
            .map(|document| store.put(document, &from))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Outcome::Vendor { documents })
    }

    /// One document in DER.
    fn document(
        &self,
        source: &Source,
        kind: EndorsementKind,
        expected: &Subject,
        now: UnixMillis,
    ) -> Result<Document, RequestError> {
        let url = source.url(&self.bases, Update::Standard);
        let answer = self.request(source, &url, now)?;
        let document =
            Document::read(kind, answer.body.clone()).map_err(|error| RequestError::NotUnderstood {
                url: url.clone(),
                what: error.to_string(),
            })?;
        if document.subject() != expected {
            return Err(RequestError::WrongDocument {
                url,
                asked: expected.to_string(),
                got: document.subject().to_string(),
            });
        }
        Ok(document)
    }

    /// The four parts of DCAP collateral as one document.
    fn collateral(
        &self,
        tee: IntelTee,
        fmspc: [u8; 6],
        ca: PckCa,
        update: Update,
        now: UnixMillis,
    ) -> Result<Document, RequestError> {
        let ask = |source: &Source| {
            let url = source.url(&self.bases, update);
            self.request(source, &url, now).map(|answer| (url, answer))
        };
        let (tcb_url, answer) = ask(&Source::TcbInfo { tee, fmspc })?;
        let chain = answer.header(&tcb_url, &pcs::TCB_INFO_CHAIN)?;
        let signed_tcb = pcs::read_tcb_info(&answer.body, chain, tee, &fmspc).map_err(told(&tcb_url))?;
        let (url, answer) = ask(&Source::QeIdentity { tee })?;
        let chain = answer.header(&url, &pcs::QE_IDENTITY_CHAIN)?;
        let signed_qe = pcs::read_qe_identity(&answer.body, chain, tee).map_err(told(&url))?;
        let (url, answer) = ask(&Source::PckCrl { ca })?;
        let chain = answer.header(&url, &pcs::PCK_CRL_CHAIN)?;
        let pck_crl = pcs::read_pck_crl(&answer.body, chain, ca).map_err(told(&url))?;
        let (url, answer) = ask(&Source::RootCaCrl)?;
        let root_crl = pcs::read_root_crl(&answer.body).map_err(told(&url))?;
        let not_understood = |what: String| RequestError::NotUnderstood {
            url: tcb_url.clone(),
            what,
        };
        let bytes = pcs::assemble(signed_tcb, signed_qe, &pck_crl, &root_crl)
            .map_err(|error| not_understood(error.to_string()))?;
        Document::read(EndorsementKind::DcapCollateral, bytes)
            .map_err(|error| not_understood(format!("with the other parts: {error}")))
    }

    /// The answer to a request that everybody who wants the same shares.
    fn request(&self, source: &Source, url: &str, now: UnixMillis) -> Result<Arc<Answer>, RequestError> {
        let clock = || self.timer.elapsed();
        let share = |result: &Result<Arc<Answer>, RequestError>| match result {
            Ok(_) | Err(RequestError::NotFound { .. }) => Some(REMEMBER),
            Err(_) => None,
        };
        self.flights
            .join(url, clock, share, || self.ask(source, url, now).map(Arc::new))
            .unwrap_or_else(|| {
                Err(RequestError::Unreachable {
                    url: url.to_owned(),
                    why: "another thread that was asking for it has failed".to_owned(),
                })
            })
    }

    fn ask(&self, source: &Source, url: &str, now: UnixMillis) -> Result<Answer, RequestError> {
        let host = http::host_of(url);
        let (lane, interval) = match source {
            Source::Vcek { .. } => (format!("{host} vcek"), self.timing.vcek_interval),
            _ => (host.clone(), Duration::ZERO),
        };
        let started = self.timer.elapsed();
        let mut backoff = Backoff::default();
        for _ in 0..MAX_ATTEMPTS {
            let latest = started.saturating_add(self.timing.patience);
            let limited = |wait| RequestError::RateLimited {
                host: host.clone(),
                wait,
            };
            self.pace
                .wait(&lane, &host, interval, latest, &*self.timer, |wait| {
                    (self.observer)(Event::Waiting { host: &host, wait });
                })
                .map_err(limited)?;
            (self.observer)(Event::Asking { url });
            match self.http.request(url)? {
                Reply::Answer(answer) => return Ok(answer),
                Reply::Later { retry_after } => {
                    let passed = self.timer.elapsed().saturating_sub(started);
                    let at = now.plus(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
                    let pause = backoff.pause(retry_after.as_deref(), at, &*self.timer);
                    self.pace.hold(&host, self.timer.elapsed().saturating_add(pause));
                }
            }
        }
        let wait = self.pace.held(&host).saturating_sub(self.timer.elapsed());
        Err(RequestError::RateLimited { host, wait })
    }
}

fn told(url: &str) -> impl Fn(Wrong) -> RequestError + '_ {
    move |wrong| match wrong {
        Wrong::Form(what) => RequestError::NotUnderstood {
            url: url.to_owned(),
            what,
        },
        Wrong::Subject { asked, got } => RequestError::WrongDocument {
            url: url.to_owned(),
            asked,
            got,
        },
    }
}
