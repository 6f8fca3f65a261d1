//! What holds for every answer of the node's server, whatever the route.

use std::net::{IpAddr, Ipv6Addr};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

/// Nothing but the page's own files, no inline script or style, no form, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Puts a router behind the rules of the node's server: only by address or as `localhost`, no data to and no
/// requests from other sites, and the security headers on every answer.
///
/// Routes that are added to the result later are not behind them.
pub fn guarded(router: Router) -> Router {
    router.fallback(not_found).layer(middleware::from_fn(guard))
}

async fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; the node's page is at /\n",
    )
        .into_response()
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refuse(&request) {
        Some((status, why)) => (status, why).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

fn refuse(request: &Request) -> Option<(StatusCode, &'static str)> {
    // RFC 9112, section 3.2.2: an authority in the request target goes before the Host header.
    let named = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => only_host(request.headers()),
    };
    if !named.is_some_and(names_no_site) {
        let why = "the Host header names another site: use this node's IP address or localhost\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, why));
    }
    let path = request.uri().path();
    let is_data = path == "/metrics" || path.starts_with("/api/") || path.starts_with("/v1/");
    if is_data && from_another_site(request.headers()) {
        return Some((
            StatusCode::FORBIDDEN,
            "another site's page may not use this node\n",
        ));
    }
    None
}

/// The Host header, if there is exactly one.
fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether a host is `localhost` or an IP address, with any port. DNS rebinding needs a name that the attacker
/// controls; who writes an address connects to that address, so that any of this machine's addresses will do.
fn names_no_site(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return address.parse::<Ipv6Addr>().is_ok(),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) if address.parse::<Ipv6Addr>().is_ok() => ("localhost", Some(port)),
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port_is_good =
        port.is_none_or(|port| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let name_is_good = name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4());
    port_is_good && name_is_good
}

/// Browsers say where a request comes from (W3C Fetch Metadata). A client that says nothing is no browser with
/// another site's script in it.
fn from_another_site(headers: &HeaderMap) -> bool {
    let site = headers
        .get("sec-fetch-site")
        .map(axum::http::HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::names_no_site;

    #[test]
    fn addresses_and_localhost_are_served() {
        for host in [
            "localhost",
            "localhost:80",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:65535",
            "192.168.1.7:9000",
            "[::1]",
            "[::1]:9000",
            "[fd00::7]:1",
        ] {
            assert!(names_no_site(host), "{host}");
        }
    }

    #[test]
    fn names_and_nonsense_are_refused() {
        for host in [
            "",
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80.evil.example",
            "127.0.0.1:",
            "127.0.0.1:+80",
            "127.0.0.1:65536",
            "127.1",
            "2130706433",
            "::1",
            "[::1",
            "[::1]evil.example",
            "[::1]:x",
            "[127.0.0.1]",
            "[evil.example]:80",
            "user@127.0.0.1",
            "localhost:80:80",
        ] {
            assert!(!names_no_site(host), "{host}");
        }
    }
}
