//! The page's files, which are part of the program: there is nothing to install and nothing to fetch.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// A file and where it is served.
pub struct Asset {
    /// Path in the URL.
    pub path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $content_type:expr, $file:literal) => {
        Asset {
            path: $path,
            content_type: $content_type,
            text: include_str!(concat!("../../../../web/", $file)),
        }
    };
}

/// Every file that the page consists of.
pub static ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/assets/style.css", CSS, "style.css"),
    asset!("/assets/icon.svg", SVG, "icon.svg"),
    asset!("/assets/app.js", SCRIPT, "app.js"),
    asset!("/assets/model.js", SCRIPT, "model.js"),
    asset!("/assets/connection.js", SCRIPT, "connection.js"),
    asset!("/assets/chain.js", SCRIPT, "chain.js"),
    asset!("/assets/links.js", SCRIPT, "links.js"),
    asset!("/assets/plots.js", SCRIPT, "plots.js"),
    asset!("/assets/metrics.js", SCRIPT, "metrics.js"),
    asset!("/assets/history.js", SCRIPT, "history.js"),
    asset!("/assets/history-plot.js", SCRIPT, "history-plot.js"),
    asset!("/assets/picker.js", SCRIPT, "picker.js"),
    asset!("/assets/gaps.js", SCRIPT, "gaps.js"),
    asset!("/assets/series.js", SCRIPT, "series.js"),
    asset!("/assets/curves.js", SCRIPT, "curves.js"),
    asset!("/assets/units.js", SCRIPT, "units.js"),
    asset!("/assets/proofs.js", SCRIPT, "proofs.js"),
    asset!("/assets/overview.js", SCRIPT, "overview.js"),
    asset!("/assets/format.js", SCRIPT, "format.js"),
    asset!("/assets/facts.js", SCRIPT, "facts.js"),
    asset!("/assets/dom.js", SCRIPT, "dom.js"),
];

impl Asset {
    /// The file, or 304 when the browser has it: a new version of the program must show at once, and an old
    /// one need not be sent again.
    pub fn respond(&self, request: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", hex::encode(Sha256::digest(self.text)));
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|value| lists(value, &tag));
        let cache = [(header::CACHE_CONTROL, "no-cache"), (header::ETAG, tag.as_str())];
        if known {
            return (StatusCode::NOT_MODIFIED, cache).into_response();
        }
        (cache, [(header::CONTENT_TYPE, self.content_type)], self.text).into_response()
    }
}

fn lists(value: &HeaderValue, tag: &str) -> bool {
    value.to_str().is_ok_and(|value| {
        value
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == tag)
    })
}
