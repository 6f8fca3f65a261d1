use super::*;

const HWID: &str = "8ba826b2dd6ab65e401e0c4d4128ef4b434ed0ccb213f66c5f577b518730ef5892f78a78be259976973125a3b9b3d19f286c912cf5776fdfcee5260fa4576c4b";

fn bases(pccs: Option<&str>) -> Bases {
    Bases {
        pccs: pccs.map(|base| base.parse().unwrap()),
        kds: None,
    }
}

#[test]
fn vendors_addresses_are_understood_and_written_again() {
    let vcek = format!("{KDS}/vcek/v1/Milan/{HWID}?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115");
    let turin =
        format!("{KDS}/vcek/v1/Turin/79a1d3f70a1b2c3d?fmcSPL=01&blSPL=02&teeSPL=01&snpSPL=04&ucodeSPL=81");
    for url in [
        format!("{PCS}/tdx/certification/v4/tcb?fmspc=90C06F000000&update=standard"),
        format!("{PCS}/sgx/certification/v4/tcb?fmspc=00A067110000&update=standard"),
        format!("{PCS}/tdx/certification/v4/qe/identity?update=standard"),
        format!("{PCS}/sgx/certification/v4/pckcrl?ca=processor&encoding=der"),
        format!("{PCS}/sgx/certification/v4/pckcrl?ca=platform&encoding=der"),
        format!("{PCS_CERTIFICATES}/IntelSGXRootCA.der"),
        vcek,
        turin,
        format!("{KDS}/vcek/v1/Genoa/crl"),
        format!("{KDS}/vlek/v1/Milan/crl"),
        format!("{KDS}/vcek/v1/Milan/cert_chain"),
    ] {
        let source = Source::parse(&url).unwrap_or_else(|| panic!("{url}"));
        assert_eq!(source.url(&bases(None), Update::Standard), url);
    }
}

#[test]
fn what_verification_asks_for_needs_no_update() {
    let source = Source::parse(&format!("{PCS}/tdx/certification/v4/tcb?fmspc=90c06f000000")).unwrap();
    let url = source.url(&bases(None), Update::Early);
    assert_eq!(
        url,
        format!("{PCS}/tdx/certification/v4/tcb?fmspc=90C06F000000&update=early")
    );
}

#[test]
fn a_caching_service_is_asked_for_everything_of_intels() {
    let bases = bases(Some("https://pccs.example:8081/sgx/certification/v4/"));
    for (source, path) in [
        (Source::RootCaCrl, "/sgx/certification/v4/rootcacrl"),
        (
            Source::QeIdentity { tee: IntelTee::Sgx },
            "/sgx/certification/v4/qe/identity?update=standard",
        ),
        (
            Source::PckCrl { ca: PckCa::Platform },
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        ),
    ] {
        let url = source.url(&bases, Update::Standard);
        assert_eq!(url, format!("https://pccs.example:8081{path}"));
    }
}

#[test]
fn other_addresses_are_nobodys() {
    for url in [
        "",
        "https://api.trustedservices.intel.com",
        "https://api.trustedservices.intel.com/",
        "https://api.trustedservices.intel.com.evil.example/tdx/certification/v4/qe/identity",
        "https://api.trustedservices.intel.com@evil.example/tdx/certification/v4/qe/identity",
        "https://api.trustedservices.intel.com:8443/tdx/certification/v4/qe/identity",
        "http://api.trustedservices.intel.com/tdx/certification/v4/qe/identity",
        "https://api.trustedservices.intel.com/tdx/certification/v3/qe/identity",
        "https://api.trustedservices.intel.com/tdx/certification/v4/../v4/qe/identity",
        "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=90C06F00000",
        "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=90C06F000000&fmspc=90C06F000000",
        "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=90C06F000000&x",
        "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=90C06F%30000",
        "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=90C06F000000#x",
        "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=root",
        "https://kdsintf.amd.com/vcek/v1/Milan/../crl",
        "https://kdsintf.amd.com/vcek/v1/milan/crl",
        "https://kdsintf.amd.com/vcek/v1//crl",
        "https://kdsintf.amd.com/vcek/v2/Milan/crl",
        "https://kdsintf.amd.com/vcek/v1/Milan/crl/",
        "https://kdsintf.amd.com/vcek/v1/Milan/crl?x=y",
        "https://kdsintf.amd.com/vcek/v1/Milan/79a1d3f70a1b2c3d",
        "https://kdsintf.amd.com/vcek/v1/Milan/79a1d3f70a1b2c3d?blSPL=256&teeSPL=00&snpSPL=08&ucodeSPL=115",
        "https://kdsintf.amd.com/vcek/v1/Milan/79a1d3f70a1b2c?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
        "https://kdsintf.amd.com/vlek/v1/Milan/79a1d3f70a1b2c3d?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
    ] {
        assert_eq!(Source::parse(url), None, "{url}");
    }
    assert_eq!(
        Source::parse(&format!("{KDS}/vcek/v1/Milan/{}", "0".repeat(2000))),
        None
    );
}

#[test]
fn a_base_is_an_address_without_a_query() {
    for (text, base) in [
        ("https://pccs.example", "https://pccs.example"),
        ("https://pccs.example:8081/", "https://pccs.example:8081"),
        (
            "https://pccs.example/sgx/certification/v4",
            "https://pccs.example",
        ),
        (
            "https://pccs.example/cache/sgx/certification/v4/",
            "https://pccs.example/cache",
        ),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
    ] {
        assert_eq!(text.parse::<Base>().unwrap().to_string(), base);
    }
    for (text, why) in [
        ("", "expected https://HOST"),
        ("pccs.example", "begin it with https://"),
        ("ftp://pccs.example", "begin it with https://"),
        ("https://", "expected https://HOST"),
        ("https://me:secret@pccs.example", "leave name and password out"),
        ("https://pccs.example/?x=y", "leave out what follows"),
        ("https://pccs.example/#x", "leave out what follows"),
        ("https://pccs.example/sgx/certification/v3", "version 4"),
        ("https://pccs.example\r\nX: y", "expected https://HOST"),
    ] {
        let error = text.parse::<Base>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
