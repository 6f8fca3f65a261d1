//! Which of the two formats a scraper gets.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which has no units and no info metrics.
    PlainText,
}

impl Format {
    /// The format for a request with this `Accept` header: OpenMetrics, unless it prefers plain text. Parameters that
    /// name a version we do not write take that entry out.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or("*/*");
        let open = preference(accept, "application", "openmetrics-text", &["1.0.0", "0.0.1"]);
        let plain = preference(accept, "text", "plain", &["0.0.4"]);
        if plain > open {
            Self::PlainText
        } else {
            Self::OpenMetrics
        }
    }

    /// The `Content-Type` of the text.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::PlainText => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes what stands at the end of an exposition that was not cut off.
    pub(super) fn end(self, out: &mut String) {
        if self == Self::OpenMetrics {
            out.push_str("# EOF\n");
        }
    }
}

/// How much a media type is wanted (RFC 9110 §12.5.1), in thousandths: as its own entry says, else the entry of its
/// kind, else that of all. Of several equally exact entries, the highest.
fn preference(accept: &str, kind: &str, subtype: &str, versions: &[&str]) -> u16 {
    let mut best = (0_u8, 0_u16);
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let Some((entry_kind, entry_subtype)) = parts.next().and_then(|range| range.split_once('/')) else {
            continue;
        };
        let exactness =
            if entry_kind.eq_ignore_ascii_case(kind) && entry_subtype.eq_ignore_ascii_case(subtype) {
                3
            } else if entry_kind.eq_ignore_ascii_case(kind) && entry_subtype == "*" {
                2
            } else if entry_kind == "*" && entry_subtype == "*" {
                1
            } else {
                continue;
            };
        if let Some(weight) = weight(parts, versions) {
            best = best.max((exactness, weight));
        }
    }
    best.1
}

/// The weight among an entry's parameters, one thousand where there is none. None for a weight that is none, and for a
/// version that we do not write.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>, versions: &[&str]) -> Option<u16> {
    let mut weight = 1000;
    for (name, value) in parameters.filter_map(|parameter| parameter.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("q") {
            weight = thousandths(value)?;
        } else if name.trim().eq_ignore_ascii_case("version") && !versions.contains(&value) {
            return None;
        }
    }
    Some(weight)
}

/// `0.5` as 500: at most three decimals, at most 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus 2.42 and 3.5, VictoriaMetrics' agent, a browser and curl send.
    #[test]
    fn scrapers_get_what_they_prefer() {
        let open = [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Application/OpenMetrics-Text",
            "text/plain;version=1.0.0",
            "text/plain; q=0.5000",
            "text/plain;q=2",
            "text/plain;q=-1",
            "text/plain; q=0",
            "text",
            ",;=,/",
            "",
        ];
        for accept in open {
            assert_eq!(Format::negotiate(Some(accept)), Format::OpenMetrics, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Format::OpenMetrics);
        let plain = [
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "text/plain",
            "text/*",
            "TEXT/PLAIN; Version=\"0.0.4\"; Q=0.1",
            "application/openmetrics-text;q=0.3, text/plain;q=0.31",
            "application/openmetrics-text;version=2.0.0, text/plain",
            "*/*, application/openmetrics-text;q=0",
        ];
        for accept in plain {
            assert_eq!(Format::negotiate(Some(accept)), Format::PlainText, "{accept}");
        }
    }
}
