//! Answers that stall, lie, and never end.

use super::*;
use crate::fixture::{OTHER, collateral, encoded};

/// The configuration of a client that does not wait long; these tests do wait this long.
fn impatient() -> FetchConfig {
    FetchConfig {
        deadline: Duration::from_millis(300),
        ..FetchConfig::default()
    }
}

#[test]
fn a_service_that_stalls_is_left() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let half = b"HTTP/1.1 200 OK\r\nContent-".to_vec();
    for does in [Does::Hangs, Does::Drips(half), Does::Drips(head)] {
        let desk = Desk::configured(impatient(), move |_, _| does.clone());
        let error = desk.fails(&vcek_want(MILAN));
        assert!(
            matches!(error, RequestError::TimedOut { deadline, .. } if deadline == Duration::from_millis(300)),
            "{error}"
        );
    }
}

#[test]
fn an_answer_without_end_is_not_read_to_it() {
    let too_large = |error: &RequestError| matches!(error, RequestError::TooLarge { limit: 1_048_576, .. });
    let announced = Does::Floods(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec());
    let until_closed = Does::Floods(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec());
    for does in [announced, until_closed] {
        let desk = Desk::with(move |_, _| does.clone());
        let error = desk.fails(&vcek_want(MILAN));
        assert!(too_large(&error), "{error}");
    }
    let desk = Desk::with(|_, _| Does::Floods(b"HTTP/1.1 200 OK\r\nX: ".to_vec()));
    let error = desk.fails(&vcek_want(MILAN));
    assert!(
        matches!(
            error,
            RequestError::TooLarge { .. } | RequestError::Unreachable { .. }
        ),
        "{error}"
    );
}

#[test]
fn an_answer_that_is_cut_short_is_none() {
    let body = vector(MILAN);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    for length in [0, 1, body.len() - 1] {
        let bytes = [head.as_bytes(), &body[..length]].concat();
        let desk = Desk::with(move |_, _| Does::Sends(bytes.clone()));
        let error = desk.fails(&vcek_want(MILAN));
        assert!(
            matches!(error, RequestError::Unreachable { .. }),
            "{length}: {error}"
        );
    }
    // The header says less than there is: what is read is no certificate.
    for length in [0, 1, body.len() - 1] {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let bytes = [head.as_bytes(), &body].concat();
        let desk = Desk::with(move |_, _| Does::Sends(bytes.clone()));
        let error = desk.fails(&vcek_want(MILAN));
        assert!(
            matches!(error, RequestError::NotUnderstood { .. }),
            "{length}: {error}"
        );
    }
}

#[test]
fn what_is_no_http_is_unreachable() {
    for bytes in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"",
        b"HTTP/1.1 abc\r\n\r\n",
        &[0; 100],
    ] {
        let desk = Desk::with(move |_, _| Does::Sends(bytes.to_vec()));
        let error = desk.fails(&vcek_want(MILAN));
        assert!(
            matches!(error, RequestError::Unreachable { .. }),
            "{bytes:?}: {error}"
        );
    }
    let desk = Desk::with(|_, _| Does::Hangs);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = FetchConfig {
        kds: Some(format!("http://{closed}").parse().unwrap()),
        ..FetchConfig::default()
    };
    let fetcher = Fetcher::new(config, Arc::new(FakeTimer::default()), |_| {}).unwrap();
    let result = fetcher.fetch_one(
        &desk.store,
        &vcek_want(MILAN),
        Update::Standard,
        Ask::Missing,
        NOW,
    );
    assert!(
        matches!(result, Err(FetchError::Request(RequestError::Unreachable { .. }))),
        "{result:?}"
    );
}

#[test]
fn a_page_for_people_is_no_document() {
    let page = b"<!DOCTYPE html><html><body>Service under maintenance</body></html>";
    for want in [vcek_want(MILAN), crl_want("Milan")] {
        let desk = Desk::with(|_, _| Does::answers("200 OK", &[("Content-Type", "text/html")], page));
        let error = desk.fails(&want);
        assert!(matches!(error, RequestError::NotUnderstood { .. }), "{error}");
    }
    let chain = encoded("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let desk = Desk::with(move |_, _| Does::answers("200 OK", &[("TCB-Info-Issuer-Chain", &chain)], page));
    let error = desk.fails(&tdx_want(FMSPC));
    assert!(matches!(error, RequestError::NotUnderstood { .. }), "{error}");
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Service::start(|_, _| Does::ok(&vector(MILAN)));
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let to = format!("{}/vcek\u{1b}[2J", elsewhere.base());
        let shown_to = to.escape_default().to_string();
        let desk =
            Desk::with(move |_, _| Does::answers(status, &[("Location", &to.replace('\u{1b}', ""))], b""));
        let error = desk.fails(&vcek_want(MILAN));
        let RequestError::Redirected { to, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*to, shown_to.replace("\\u{1b}", ""));
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[test]
fn another_platforms_document_is_refused() {
    let other = Pcs::with(OTHER);
    let desk = Desk::with(move |path, _| other.answer(path));
    let error = desk.fails(&tdx_want(FMSPC));
    let RequestError::WrongDocument { asked, got, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (asked.as_str(), got.as_str()),
        ("tdx platform B0C06F000000", "tdx platform 90C06F000000")
    );

    let desk = Desk::with(|_, _| Does::ok(&vector(TURIN)));
    let error = desk.fails(&vcek_want(MILAN));
    assert!(matches!(error, RequestError::WrongDocument { .. }), "{error}");
    let desk = Desk::with(|_, _| Does::ok(&vector("snp/milan-v3-vlek-vmpl1/vek.der")));
    let error = desk.fails(&vcek_want(MILAN));
    assert!(matches!(error, RequestError::WrongDocument { .. }), "{error}");

    for issuer in ["ARK-Genoa", "Mallory", "ARK-../../etc"] {
        let list = crl(issuer);
        let desk = Desk::with(move |_, _| Does::ok(&list));
        let error = desk.fails(&crl_want("Milan"));
        assert!(matches!(error, RequestError::WrongDocument { .. }), "{error}");
    }
}

#[test]
fn one_wrong_part_of_collateral_spoils_it() {
    let original = collateral(COLLATERAL);
    assert!(original.validity().contains(NOW));
    let good = |path: &str| Pcs::with(COLLATERAL).answer(path);
    let spoiled = |part: &'static str, does: Does| {
        let desk = Desk::with(move |path, _| {
            if path.contains(part) {
                does.clone()
            } else {
                good(path)
            }
        });
        let error = desk.fails(&tdx_want(FMSPC));
        assert!(
            error.to_string().contains(part.trim_start_matches('/')),
            "{part}: {error}"
        );
        error
    };
    for part in ["/tcb?", "/qe/identity", "/pckcrl", "/rootcacrl"] {
        assert!(matches!(
            spoiled(part, Does::ok(b"")),
            RequestError::NotUnderstood { .. }
        ));
        assert!(matches!(
            spoiled(part, Does::ok(b"{}")),
            RequestError::NotUnderstood { .. }
        ));
        assert!(matches!(
            spoiled(part, Does::status("404 Not Found")),
            RequestError::NotFound { .. }
        ));
        let status = spoiled(part, Does::status("500 Internal Server Error"));
        assert!(matches!(status, RequestError::Refused { status: 500, .. }));
    }
    // Parts of the same shape in each other's place.
    let swapped = [
        ("/pckcrl", "/rootcacrl"),
        ("/rootcacrl", "/pckcrl?ca=platform"),
        ("/tcb?", "/qe/identity"),
        ("/qe/identity", "/tcb?"),
    ];
    for (part, other) in swapped {
        let error = spoiled(part, Pcs::with(COLLATERAL).answer(other));
        assert!(matches!(error, RequestError::NotUnderstood { .. }), "{error}");
    }
}

#[test]
fn headers_are_read_once_and_as_certificates_only() {
    let answer = |path: &str| Pcs::with(COLLATERAL).answer(path);
    let with_header = |change: fn(&str) -> String| {
        let desk = Desk::with(move |path, _| match answer(path) {
            Does::Sends(bytes) if path.contains("/tcb?") => {
                let text = String::from_utf8(bytes).unwrap();
                Does::Sends(change(&text).into_bytes())
            }
            does => does,
        });
        match desk.fails(&tdx_want(FMSPC)) {
            RequestError::NotUnderstood { what, .. } => what,
            other => panic!("{other}"),
        }
    };
    let told = with_header(|text| {
        let start = text.find("TCB-Info-Issuer-Chain").unwrap();
        let end = start + text[start..].find("\r\n").unwrap() + 2;
        text.replace(&text[start..end], "")
    });
    assert_eq!(
        told,
        "it has no header TCB-Info-Issuer-Chain or SGX-TCB-Info-Issuer-Chain"
    );
    let told = with_header(|text| {
        text.replace(
            "TCB-Info-Issuer-Chain",
            "TCB-Info-Issuer-Chain: x\r\nSGX-TCB-Info-Issuer-Chain",
        )
    });
    assert!(told.starts_with("it has more than one header"), "{told}");
    for (inject, expected) in [
        ("TCB-Info-Issuer-Chain: %0D%0AX-Evil:%201", "issuer chain"),
        ("TCB-Info-Issuer-Chain: %ZZ", "not percent-encoded"),
        ("TCB-Info-Issuer-Chain: %ff%fe", "not percent-encoded"),
        ("TCB-Info-Issuer-Chain: %4", "not percent-encoded"),
        (
            "TCB-Info-Issuer-Chain: -----BEGIN%20PRIVATE%20KEY-----%0AAAAA%0A-----END%20PRIVATE%20KEY-----",
            "PEM block `PRIVATE KEY`",
        ),
    ] {
        let desk = Desk::with(move |path, _| match answer(path) {
            Does::Sends(bytes) if path.contains("/tcb?") => {
                let text = String::from_utf8(bytes).unwrap();
                let start = text.find("TCB-Info-Issuer-Chain").unwrap();
                let end = start + text[start..].find("\r\n").unwrap();
                Does::Sends(text.replace(&text[start..end], inject).into_bytes())
            }
            does => does,
        });
        let error = desk.fails(&tdx_want(FMSPC));
        assert!(error.to_string().contains(expected), "{inject}: {error}");
    }
}

#[test]
fn nothing_but_a_vendors_own_address_is_asked() {
    let desk = Desk::with(|_, _| Does::ok(&vector(MILAN)));
    let good = vcek_want(MILAN).urls.remove(0);
    for url in [
        good.replace("kdsintf.amd.com", "kdsintf.amd.com.evil.example"),
        good.replace("https://", "http://"),
        good.replace("https://", "https://user@"),
        format!("{good}#x"),
        format!("{good}&x=y"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        let want = Want {
            urls: vec![url.clone()],
            ..vcek_want(MILAN)
        };
        let result = desk.fetch(&want);
        assert!(
            matches!(result, Err(FetchError::NotAVendor { .. })),
            "{url}: {result:?}"
        );
    }
    let want = Want {
        urls: Vec::new(),
        ..vcek_want(MILAN)
    };
    assert!(matches!(desk.fetch(&want), Err(FetchError::NotPublished { .. })));
    assert_eq!(desk.service.asked(), [""; 0]);
}
