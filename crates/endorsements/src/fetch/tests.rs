mod hostile;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use super::*;
use crate::fixture::{COLLATERAL, Does, NOW, Pcs, Service, crl, crl_want, tdx_want, vcek_want, vector};

const FMSPC: &str = "B0C06F000000";
const MILAN: &str = "snp/milan-v2-vcek/vek.der";
const TURIN: &str = "snp/turin-v5-vcek/vek.der";

/// A clock that only sleeping moves.
#[derive(Default)]
pub(super) struct FakeTimer {
    elapsed: Mutex<Duration>,
    slept: Mutex<Vec<u64>>,
}

impl FakeTimer {
    /// The sleeps, in seconds.
    pub(super) fn slept(&self) -> Vec<u64> {
        self.slept.lock().unwrap().clone()
    }
}

impl Timer for FakeTimer {
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration.as_secs());
        *self.elapsed.lock().unwrap() += duration;
    }

    fn jitter(&self, up_to: Duration) -> Duration {
        up_to
    }
}

/// A fetcher for a service that stands in for both vendors, with a store of its own.
struct Desk {
    fetcher: Fetcher,
    timer: Arc<FakeTimer>,
    service: Service,
    store: Store,
    directory: tempfile::TempDir,
}

impl Desk {
    fn with(answer: impl Fn(&str, usize) -> Does + Send + Sync + 'static) -> Self {
        Self::configured(FetchConfig::default(), answer)
    }

    fn configured(config: FetchConfig, answer: impl Fn(&str, usize) -> Does + Send + Sync + 'static) -> Self {
        let service = Service::start(answer);
        let config = FetchConfig {
            pccs: Some(service.base()),
            kds: Some(service.base()),
            ..config
        };
        let timer = Arc::new(FakeTimer::default());
        let directory = tempfile::tempdir().unwrap();
        Self {
            fetcher: Fetcher::new(config, Arc::clone(&timer) as Arc<dyn Timer>, |_| {}).unwrap(),
            timer,
            service,
            store: Store::new(directory.path().join("store")),
            directory,
        }
    }

    fn fetch(&self, want: &Want) -> Result<Outcome, FetchError> {
        self.fetch_as(want, Update::Standard)
    }

    fn fetch_as(&self, want: &Want, update: Update) -> Result<Outcome, FetchError> {
        self.fetcher
            .fetch_one(&self.store, want, update, Ask::Missing, NOW)
    }

    /// Asserts that the fetch fails, that nothing is stored, and gives the error.
    #[track_caller]
    fn fails(&self, want: &Want) -> RequestError {
        let error = match self.fetch(want) {
            Err(FetchError::Request(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(self.store.list().unwrap().kept.is_empty(), "{error}: and stored");
        assert!(
            !self.directory.path().join("store").exists(),
            "{error}: and created a store"
        );
        error
    }
}

#[track_caller]
fn from_vendor(result: Result<Outcome, FetchError>) -> Vec<Kept> {
    match result {
        Ok(Outcome::Vendor { documents }) => documents,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn from_store(result: Result<Outcome, FetchError>) -> Vec<Kept> {
    match result {
        Ok(Outcome::Stored { documents }) => documents,
        other => panic!("{other:?}"),
    }
}

#[test]
fn collateral_is_put_together_without_a_byte_changed() {
    let pcs = Pcs::with(COLLATERAL);
    let desk = Desk::with(move |path, _| pcs.answer(path));
    let kept = from_vendor(desk.fetch(&tdx_want(FMSPC)));
    assert_eq!(
        kept[0].path.parent().unwrap(),
        Path::new("intel/tdx/B0C06F000000/platform/evaluation-20")
    );
    let stored: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.store.root().join(&kept[0].path)).unwrap()).unwrap();
    let original: serde_json::Value = serde_json::from_slice(&vector(COLLATERAL)).unwrap();
    assert_eq!(stored, original);
    let mut asked = desk.service.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
            "/sgx/certification/v4/rootcacrl",
            "/tdx/certification/v4/qe/identity?update=standard",
            "/tdx/certification/v4/tcb?fmspc=B0C06F000000&update=standard",
        ]
    );
}

#[test]
fn what_the_store_has_is_not_asked_for_until_it_is_a_day_old() {
    let pcs = Pcs::with(COLLATERAL);
    let desk = Desk::with(move |path, _| pcs.answer(path));
    let want = tdx_want(FMSPC);
    from_vendor(desk.fetch(&want));
    let again = |now| {
        desk.fetcher
            .fetch_one(&desk.store, &want, Update::Standard, Ask::Missing, now)
    };
    let day = 24 * 60 * 60 * 1000;
    from_store(again(NOW));
    from_store(again(NOW.plus(day)));
    assert_eq!(desk.service.asked().len(), 4);
    let later = from_vendor(again(NOW.plus(day + 1)));
    assert_eq!(later[0].fetched_at, NOW.plus(day + 1));
    from_store(again(NOW.plus(day + 1)));
    from_vendor(
        desk.fetcher
            .fetch_one(&desk.store, &want, Update::Standard, Ask::Everything, NOW),
    );
    assert_eq!(desk.store.list().unwrap().kept.len(), 1);
}

#[test]
fn the_evaluation_to_come_lies_beside_the_one_that_counts() {
    let pcs = Pcs::with_early(
        COLLATERAL,
        "\"tcbEvaluationDataNumber\":20",
        "\"tcbEvaluationDataNumber\":21",
    );
    let desk = Desk::with(move |path, _| pcs.answer(path));
    let want = tdx_want(FMSPC);
    let updates = [Update::Standard, Update::Early];
    let fetched = desk.fetcher.fetch(
        &desk.store,
        std::slice::from_ref(&want),
        &updates,
        Ask::Missing,
        NOW,
    );
    let paths: Vec<_> = fetched
        .into_iter()
        .map(|fetched| from_vendor(fetched.result)[0].path.display().to_string())
        .collect();
    assert!(
        paths[0].contains("/evaluation-20/") && paths[1].contains("/evaluation-21/"),
        "{paths:?}"
    );
    // The revocation lists have no evaluations, and are asked for once.
    assert_eq!(desk.service.asked().len(), 6, "{:?}", desk.service.asked());
    let wants = [want];
    assert_eq!(
        desk.store
            .endorsements_for(&wants, NOW)
            .unwrap()
            .endorsements
            .0
            .len(),
        2
    );
    let standard = desk
        .store
        .standard_endorsements_for(&wants, NOW)
        .unwrap()
        .endorsements
        .0;
    assert_eq!(standard.len(), 1);
    assert!(
        standard[0].origin.contains("/evaluation-20/"),
        "{}",
        standard[0].origin
    );
    from_store(desk.fetch_as(&wants[0], Update::Early));
}

#[test]
fn the_same_document_in_both_evaluations_counts() {
    let pcs = Pcs::with(COLLATERAL);
    let desk = Desk::with(move |path, _| pcs.answer(path));
    let want = tdx_want(FMSPC);
    for update in [Update::Early, Update::Standard] {
        let kept = from_vendor(desk.fetch_as(&want, update));
        assert_eq!(
            (kept[0].standard, kept[0].early),
            (update == Update::Standard, true)
        );
    }
    from_store(desk.fetch_as(&want, Update::Early));
    let found = desk.store.standard_endorsements_for(&[want], NOW).unwrap();
    assert_eq!(found.endorsements.0.len(), 1);
}

#[test]
fn a_chips_certificate_is_fetched_once_and_for_good() {
    for path in [MILAN, TURIN] {
        let desk = Desk::with(move |_, _| Does::ok(&vector(path)));
        let want = vcek_want(path);
        let kept = from_vendor(desk.fetch(&want));
        assert_eq!(
            std::fs::read(desk.store.root().join(&kept[0].path)).unwrap(),
            vector(path)
        );
        let years = NOW.plus(2 * 365 * 24 * 60 * 60 * 1000);
        from_store(
            desk.fetcher
                .fetch_one(&desk.store, &want, Update::Standard, Ask::Missing, years),
        );
        let asked = want.urls[0].replace("https://kdsintf.amd.com", "");
        assert_eq!(desk.service.asked(), [asked]);
    }
}

#[test]
fn a_revocation_list_of_amds_is_fetched() {
    let list = crl("ARK-Milan");
    let desk = Desk::with(move |_, _| Does::ok(&list));
    let kept = from_vendor(desk.fetch(&crl_want("Milan")));
    assert!(kept[0].path.starts_with("amd/Milan/crl"), "{kept:?}");
    assert_eq!(desk.service.asked(), ["/vcek/v1/Milan/crl"]);
    from_store(desk.fetch(&crl_want("Milan")));
}

#[test]
fn a_chip_that_could_be_of_two_products_is_asked_for_as_both() {
    let mut want = vcek_want("snp/genoa-v5-vcek/vek.der");
    let genoa = want.urls.remove(0);
    let chain = |product| format!("https://kdsintf.amd.com/vcek/v1/{product}/cert_chain");
    want.urls = vec![
        genoa.replace("/Genoa/", "/Milan/"),
        chain("Milan"),
        genoa,
        chain("Genoa"),
    ];
    let desk = Desk::with(|path, _| match path.contains("/Genoa/") {
        true => Does::ok(&vector("snp/genoa-v5-vcek/vek.der")),
        false => Does::status("404 Not Found"),
    });
    let kept = from_vendor(desk.fetch(&want));
    assert_eq!(kept.len(), 1);
    assert_eq!(
        desk.service.asked().len(),
        2,
        "and for no chain: {:?}",
        desk.service.asked()
    );
    assert_eq!(
        desk.store
            .endorsements_for(&[want.clone()], NOW)
            .unwrap()
            .endorsements
            .0
            .len(),
        1
    );

    let desk = Desk::with(|_, _| Does::status("404 Not Found"));
    assert!(matches!(desk.fails(&want), RequestError::NotFound { .. }));
    assert_eq!(desk.service.asked().len(), 2);
}

#[test]
fn the_revocation_lists_of_all_products_in_question_are_fetched() {
    let mut want = crl_want("Milan");
    want.urls.extend(crl_want("Genoa").urls);
    let lists = ["Milan", "Genoa"].map(|product| crl(&format!("ARK-{product}")));
    let desk = Desk::with(move |path, _| Does::ok(&lists[usize::from(path.contains("Genoa"))]));
    assert_eq!(from_vendor(desk.fetch(&want)).len(), 2);
    assert_eq!(from_store(desk.fetch(&want)).len(), 2);
    assert_eq!(
        desk.store
            .endorsements_for(&[want], NOW)
            .unwrap()
            .endorsements
            .0
            .len(),
        2
    );
}

#[test]
fn a_vlek_is_published_nowhere_and_found_once_imported() {
    let path = "snp/milan-v3-vlek-vmpl1/vek.der";
    let want = Want {
        kind: EndorsementKind::Certificate,
        subject: "VLEK".to_owned(),
        urls: vec!["https://kdsintf.amd.com/vlek/v1/Milan/cert_chain".to_owned()],
    };
    let desk = Desk::with(|_, _| Does::ok(&vector("snp/roots/milan_ask_ark_asvk.pem")));
    let result = desk.fetch(&want);
    assert!(
        matches!(result, Err(FetchError::NotPublished { .. })),
        "{result:?}"
    );
    assert_eq!(desk.service.asked(), [""; 0]);
    let from = Provenance {
        source: "import".to_owned(),
        update: Update::Standard,
        at: NOW,
    };
    for document in Document::recognise(vector(path)).unwrap() {
        desk.store.put(&document, &from).unwrap();
    }
    let in_its_year = UnixMillis::from_secs(1_740_000_000);
    let found = desk.store.endorsements_for(&[want], in_its_year).unwrap();
    assert_eq!(found.endorsements.0[0].bytes, vector(path));
}

#[test]
fn amds_chain_is_fetched() {
    let want = Want {
        kind: EndorsementKind::Certificate,
        subject: "ASK".to_owned(),
        urls: vec!["https://kdsintf.amd.com/vcek/v1/Milan/cert_chain".to_owned()],
    };
    let desk = Desk::with(|_, _| Does::ok(&vector("snp/roots/milan_ask_ark_asvk.pem")));
    assert_eq!(from_vendor(desk.fetch(&want)).len(), 3);
    let found = desk.store.endorsements_for(&[want], NOW).unwrap();
    assert_eq!(found.endorsements.0.len(), 2, "without the one for VLEKs");
}

#[test]
fn a_hundred_threads_ask_once() {
    let desk = Desk::with(|_, _| Does::ok(&vector(MILAN)));
    let want = vcek_want(MILAN);
    let together = Barrier::new(100);
    let met = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                together.wait();
                let outcome = desk.fetch(&want).unwrap();
                let (Outcome::Vendor { documents } | Outcome::Stored { documents }) = outcome;
                met.fetch_add(documents.len(), Ordering::SeqCst);
            });
        }
    });
    assert_eq!(met.load(Ordering::SeqCst), 100);
    assert_eq!(desk.service.asked().len(), 1);
    assert_eq!(desk.store.list().unwrap().kept.len(), 1);
}

#[test]
fn what_is_not_there_is_not_asked_for_again_at_once() {
    let desk = Desk::with(|_, _| Does::status("404 Not Found"));
    let want = vcek_want(MILAN);
    for _ in 0..3 {
        assert!(matches!(desk.fails(&want), RequestError::NotFound { .. }));
    }
    assert_eq!(desk.service.asked().len(), 1);
    desk.timer.sleep(REMEMBER);
    assert!(matches!(desk.fails(&want), RequestError::NotFound { .. }));
    assert_eq!(desk.service.asked().len(), 2);
}

#[test]
fn a_service_that_asks_for_patience_gets_it() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let desk = Desk::with(move |_, count| match count {
            0 => Does::answers(status, &[("Retry-After", "7")], b""),
            1 => Does::status(status),
            _ => Does::ok(&vector(MILAN)),
        });
        from_vendor(desk.fetch(&vcek_want(MILAN)));
        assert_eq!(desk.service.asked().len(), 3);
        // Seven and up to one more; then two, but a chip's certificate is asked for every ten seconds at most.
        assert_eq!(desk.timer.slept(), [10, 10]);
    }
    let desk = Desk::with(|path, count| match count {
        0 if path.contains("/tcb?") => Does::answers("429 Too Many Requests", &[("Retry-After", "7")], b""),
        1 if path.contains("/tcb?") => Does::status("429 Too Many Requests"),
        _ => Pcs::with(COLLATERAL).answer(path),
    });
    from_vendor(desk.fetch(&tdx_want(FMSPC)));
    assert_eq!(desk.timer.slept(), [8, 2]);
}

#[test]
fn a_service_that_has_enough_for_ever_is_left_alone() {
    let desk = Desk::with(|_, _| Does::status("429 Too Many Requests"));
    let error = desk.fails(&tdx_want(FMSPC));
    let RequestError::RateLimited { host, wait } = &error else {
        panic!("{error}")
    };
    assert_eq!(format!("http://{host}"), desk.service.base().to_string());
    assert_eq!(*wait, Duration::from_secs(30));
    assert_eq!(desk.service.asked().len(), MAX_ATTEMPTS as usize);
    assert_eq!(desk.timer.slept(), [1, 2, 4, 8, 16]);
    assert!(error.to_string().contains("try again in 30 s"), "{error}");
}

#[test]
fn nobody_waits_longer_than_a_person_would() {
    let desk = Desk::with(|_, _| Does::answers("429 Too Many Requests", &[("Retry-After", "3600")], b""));
    let error = desk.fails(&tdx_want(FMSPC));
    assert!(
        matches!(error, RequestError::RateLimited { wait, .. } if wait == Duration::from_secs(3601)),
        "{error}"
    );
    assert_eq!(desk.timer.slept(), [0; 0]);
    // Who asks next is told without a request.
    assert!(matches!(
        desk.fails(&vcek_want(MILAN)),
        RequestError::RateLimited { .. }
    ));
    assert_eq!(desk.service.asked().len(), 1);
}

#[test]
fn chips_certificates_keep_to_amds_pace() {
    let desk = Desk::with(|path, _| {
        let paths = [MILAN, TURIN, "snp/genoa-v5-vcek/vek.der"];
        let product = ["/Milan/", "/Turin/", "/Genoa/"]
            .iter()
            .position(|product| path.contains(product));
        Does::ok(&vector(paths[product.unwrap()]))
    });
    for path in [MILAN, TURIN, "snp/genoa-v5-vcek/vek.der"] {
        from_vendor(desk.fetch(&vcek_want(path)));
    }
    assert_eq!(desk.timer.slept(), [10, 10]);
}

#[test]
fn waiting_people_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let service = Service::start(|_, count| match count {
        0 => Does::answers("429 Too Many Requests", &[("Retry-After", "20")], b""),
        _ => Does::ok(&vector(MILAN)),
    });
    let config = FetchConfig {
        kds: Some(service.base()),
        ..FetchConfig::default()
    };
    let fetcher = Fetcher::new(config, Arc::new(FakeTimer::default()), move |event| {
        heard.lock().unwrap().push(match event {
            Event::Asking { .. } => "asking".to_owned(),
            Event::Waiting { wait, .. } => format!("waiting {} s", wait.as_secs()),
        });
    })
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    from_vendor(fetcher.fetch_one(
        &Store::new(directory.path()),
        &vcek_want(MILAN),
        Update::Standard,
        Ask::Missing,
        NOW,
    ));
    assert_eq!(*told.lock().unwrap(), ["asking", "waiting 21 s", "asking"]);
}

#[test]
fn certificates_to_trust_a_service_by_must_be_some() {
    for roots in [
        &b""[..],
        b"not pem",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ] {
        let config = FetchConfig {
            tls_roots: Some(roots.to_vec()),
            ..FetchConfig::default()
        };
        let result = Fetcher::new(config, Arc::new(FakeTimer::default()), |_| {});
        assert!(matches!(result, Err(FetchConfigError::TlsRoots { .. })));
    }
}

/// A service of one's own over TLS, with its certificate in PEM, that answers one connection after another.
fn over_tls() -> (Base, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::Stream::new(&mut connection, &mut socket);
            // A client that does not trust the certificate leaves here.
            if std::io::Read::read(&mut stream, &mut [0; 4096]).is_ok() {
                let Does::Sends(bytes) = Does::ok(&vector(MILAN)) else {
                    unreachable!()
                };
                let _ = std::io::Write::write_all(&mut stream, &bytes);
            }
            connection.send_close_notify();
            let _ = connection.write_tls(&mut socket);
        }
    });
    (format!("https://localhost:{port}").parse().unwrap(), cert.pem())
}

#[test]
fn a_service_of_ones_own_is_trusted_by_its_certificate_and_not_without() {
    let (base, certificate) = over_tls();
    let fetch = |tls_roots: Option<&str>| {
        let config = FetchConfig {
            kds: Some(base.clone()),
            tls_roots: tls_roots.map(|roots| roots.as_bytes().to_vec()),
            ..FetchConfig::default()
        };
        let fetcher = Fetcher::new(config, Arc::new(FakeTimer::default()), |_| {}).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        fetcher.fetch_one(&store, &vcek_want(MILAN), Update::Standard, Ask::Missing, NOW)
    };
    let public = fetch(None);
    assert!(
        matches!(&public, Err(FetchError::Request(RequestError::Unreachable { why, .. })) if why.contains("certificate")),
        "{public:?}"
    );
    let another = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .unwrap()
        .cert
        .pem();
    let other = fetch(Some(&another));
    assert!(
        matches!(&other, Err(FetchError::Request(RequestError::Unreachable { why, .. })) if why.contains("certificate")),
        "{other:?}"
    );
    from_vendor(fetch(Some(&certificate)));
}
