//! Verification of SNP evidence.

use std::sync::Arc;

use nautilus_core::{
    Descriptor, Endorsement, EndorsementKind, Endorsements, RawClaims, Revocation, Tcb, TeeKind, TeeVerifier,
    UnixMillis, UnsignedFact, VerifyError, Want,
};

use super::chain::{Chain, MAX_SIGNATURES, Memory, Vouched, exhausted};
use super::claims;
use super::hcl::{self, Hcl, parse_hcl};
use super::product::Product;
use super::roots::Root;
use super::vek::{Offered, Vek, root_name};
use super::wire::{REPORT_LEN, Report, SIGNED_LEN, SigningKey, parse_report, recognises};
use crate::signature::{self, Budget};

/// AMD's key distribution service.
const KDS: &str = "https://kdsintf.amd.com";
/// Half the order of P-384, rounded down (FIPS 186-4, D.1.2.4).
const HALF_ORDER: [u8; 48] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe3, 0xb1, 0xa6, 0xc0, 0xfa, 0x1b, 0x96, 0xef, 0xac, 0x0d,
    0x06, 0xd9, 0x24, 0x58, 0x53, 0xbd, 0x76, 0x76, 0x0c, 0xb5, 0x66, 0x62, 0x94, 0xb9,
];
/// Where S stands in a report.
const S_OFFSET: usize = 0x2e8;

/// Verifies SNP reports, alone or as Azure's paravisor wraps them, against pinned roots. Clones share what
/// they remember of chains that verified.
#[derive(Clone)]
pub struct Verifier {
    roots: Arc<[Root]>,
    tee: TeeKind,
    memory: Arc<Memory>,
}

impl Verifier {
    /// The verifier of genuine SNP: AMD's roots of every product.
    pub fn amd() -> Self {
        Self::with_roots(Product::ALL.map(Root::amd).to_vec(), TeeKind::Sev)
    }

    /// A verifier of the same format under other roots, the first of a product winning. It speaks for `tee`:
    /// a verifier that is not AMD's must not say that it is of SNP.
    pub fn with_roots(roots: Vec<Root>, tee: TeeKind) -> Self {
        Self {
            roots: roots.into(),
            tee,
            memory: Arc::new(Memory::new()),
        }
    }

    fn root(&self, product: Product) -> Option<&Root> {
        self.roots.iter().find(|root| root.product == product)
    }

    /// The endorsement key of a report.
    fn want_key(&self, report: &Report) -> Result<Want, VerifyError> {
        let products = candidates(report)?;
        let names = products.iter().map(ToString::to_string).collect::<Vec<_>>();
        let names = names.join(" or ");
        let amd = products
            .into_iter()
            .filter(|product| self.root(*product).is_some_and(|root| root.is_amd));
        let (subject, urls) = match report.signing_key {
            SigningKey::Vcek => {
                let chip = products_hwid(report)?;
                let short = chip.get(..8).map(hex::encode).unwrap_or_default();
                let urls = amd.flat_map(|product| vcek_urls(report, product)).collect();
                (
                    format!("AMD {names} chip {short}… (VCEK for TCB {})", report.reported_tcb),
                    urls,
                )
            }
            SigningKey::Vlek => {
                let urls = amd
                    .map(|product| format!("{KDS}/vlek/v1/{product}/cert_chain"))
                    .collect();
                let subject = format!(
                    "AMD {names} of the cloud provider (VLEK for TCB {}; the provider hands it out, in the \
                     guest's extended report)",
                    report.reported_tcb
                );
                (subject, urls)
            }
        };
        Ok(Want {
            kind: EndorsementKind::Certificate,
            subject,
            urls,
        })
    }

    /// The revocation list of a report's root.
    fn want_list(&self, report: &Report) -> Result<Want, VerifyError> {
        let products = candidates(report)?;
        let names: Vec<String> = products.iter().map(|product| root_name(*product)).collect();
        let path = match report.signing_key {
            SigningKey::Vcek => "vcek",
            SigningKey::Vlek => "vlek",
        };
        let urls = products
            .into_iter()
            .filter(|product| self.root(*product).is_some_and(|root| root.is_amd))
            .map(|product| format!("{KDS}/{path}/v1/{product}/crl"))
            .collect();
        Ok(Want {
            kind: EndorsementKind::Crl,
            subject: names.join(" or "),
            urls,
        })
    }

    /// Verifies a report with one endorsement key that fits it.
    fn verify_with(
        &self,
        parsed: &Parsed<'_>,
        (endorsement, vek): (&Endorsement, Vek<'_>),
        offered: &Offered<'_>,
        endorsements: &Endorsements,
        budget: &Budget,
        now: UnixMillis,
    ) -> Result<Arc<Vouched>, VerifyError> {
        let report = parsed.report();
        check_layout(parsed, vek.product)?;
        let root = self.root(vek.product).ok_or_else(|| VerifyError::Untrusted {
            what: format!("{} has no root here", vek.describe()),
        })?;
        let chain = Chain {
            root,
            vek,
            origin: &endorsement.origin,
            offered,
            endorsements,
            budget,
        };
        let vouched = chain.verify(now, &self.memory)?;
        chain.spend()?;
        signature::by_key(&vouched.key, parsed.signed, &report.signature).map_err(|_| {
            VerifyError::SignatureInvalid {
                what: format!("report, by the {} from {}", vek.describe(), endorsement.origin),
            }
        })?;
        Ok(vouched)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("roots", &self.roots)
            .field("tee", &self.tee)
            .finish_non_exhaustive()
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: self.tee,
            format: super::FORMAT,
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        let parsed = Parsed::read(evidence)?;
        let report = parsed.report();
        check_keys(report)?;
        Ok(vec![self.want_key(report)?, self.want_list(report)?])
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let parsed = Parsed::read(evidence)?;
        let report = parsed.report();
        check_keys(report)?;
        report.product()?;
        let offered = Offered::scan(endorsements);
        let budget = Budget::of(MAX_SIGNATURES);
        let mut first = None;
        for fit in offered.fitting(report)? {
            match self.verify_with(&parsed, fit, &offered, endorsements, &budget, now) {
                Ok(vouched) => return parsed.claims(&fit.1, &vouched),
                Err(_) if budget.is_overdrawn() => return Err(exhausted()),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => Err(VerifyError::EndorsementsMissing {
                wants: vec![self.want_key(report)?],
            }),
        }
    }
}

/// Evidence in either of its two forms.
struct Parsed<'a> {
    form: Form,
    /// The bytes of the report that are signed, as received.
    signed: &'a [u8],
    /// Where the report starts.
    offset: usize,
}

enum Form {
    Report(Box<Report>),
    Hcl(Box<Hcl>),
}

impl<'a> Parsed<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let (form, offset) = if hcl::recognises(bytes) {
            let hcl = parse_hcl(bytes)?;
            let offset = hcl.report_offset;
            (Form::Hcl(Box::new(hcl)), offset)
        } else {
            (Form::Report(Box::new(parse_report(bytes)?)), 0)
        };
        let signed = bytes
            .get(offset..)
            .and_then(|report| report.get(..SIGNED_LEN))
            .ok_or_else(|| VerifyError::Malformed {
                what: format!("report needs {REPORT_LEN} bytes"),
                offset,
            })?;
        Ok(Self { form, signed, offset })
    }

    fn report(&self) -> &Report {
        match &self.form {
            Form::Report(report) => report,
            Form::Hcl(hcl) => &hcl.report,
        }
    }

    /// The claims of a report whose signature verified.
    fn claims(&self, vek: &Vek<'_>, vouched: &Vouched) -> Result<RawClaims, VerifyError> {
        let report = self.report();
        let mut attributes = claims::attributes(report, vek);
        let mut unsigned = Vec::new();
        if let Form::Hcl(hcl) = &self.form {
            hcl.check_bound()?;
            claims::describe_hcl(&mut attributes, hcl)?;
            unsigned.extend(hcl.facts());
        }
        unsigned.extend(high_s(report, self.offset));
        Ok(RawClaims {
            report_data: report.report_data.to_vec(),
            device: claims::device(report, vek),
            debug: report.policy & Report::DEBUG != 0,
            // AMD publishes no levels. What the platform has is in the attributes, for a policy's floor.
            tcb: Tcb::default(),
            measurements: claims::measurements(report),
            attributes,
            unsigned,
            revocation: self.revocation(vek, vouched),
            made_at: None,
            endorsed_until: Some(vouched.until),
        })
    }

    fn revocation(&self, vek: &Vek<'_>, vouched: &Vouched) -> Revocation {
        match &vouched.revocation {
            Revocation::Unchecked { because } => {
                let path = vek.key.as_str().to_lowercase();
                let because = format!(
                    "{because}; AMD publishes it at {KDS}/{path}/v1/{}/crl",
                    vek.product
                );
                Revocation::Unchecked { because }
            }
            other => other.clone(),
        }
    }
}

/// What a report says of its own key, and what cannot go together.
fn check_keys(report: &Report) -> Result<(), VerifyError> {
    let invalid = |what: &str| {
        let what = what.to_owned();
        Err(VerifyError::AttributeInvalid { what })
    };
    let masked = report.chip_id == [0; 64];
    if report.mask_chip_key && report.signing_key == SigningKey::Vcek {
        return invalid(
            "the report is said to be signed by the VCEK, whose use the host forbade (MASK_CHIP_KEY)",
        );
    }
    if report.mask_chip_key && !masked {
        return invalid("the chip's key is masked (MASK_CHIP_KEY), but its id is not");
    }
    if masked && report.signing_key == SigningKey::Vcek {
        return invalid(
            "the host masks the chip id (MASK_CHIP_ID), so that no VCEK can be held against it; have the \
             host clear the mask or install a VLEK",
        );
    }
    Ok(())
}

/// What only the product can tell: which bytes of a TCB version and of the chip id are reserved.
fn check_layout(parsed: &Parsed<'_>, product: Product) -> Result<(), VerifyError> {
    let report = parsed.report();
    let offsets = [0x38, 0x180, 0x1e0, 0x1f0];
    for ((name, tcb), offset) in claims::tcbs(report).into_iter().zip(offsets) {
        if let Some(byte) = tcb.reserved(product) {
            return Err(VerifyError::Malformed {
                what: format!("reserved byte of {name} of {product} is not zero"),
                offset: parsed.offset.saturating_add(offset).saturating_add(byte),
            });
        }
    }
    let rest = report.chip_id.get(product.hwid_len()..).unwrap_or_default();
    if let Some(byte) = rest.iter().position(|byte| *byte != 0) {
        return Err(VerifyError::Malformed {
            what: format!("chip id of {product} is longer than {} bytes", product.hwid_len()),
            offset: parsed
                .offset
                .saturating_add(0x1a0)
                .saturating_add(product.hwid_len())
                .saturating_add(byte),
        });
    }
    Ok(())
}

/// The products that a report can be of. Version 2 does not say; a chip id of eight bytes is one of Turin.
fn candidates(report: &Report) -> Result<Vec<Product>, VerifyError> {
    if let Some(product) = report.product()? {
        return Ok(vec![product]);
    }
    let [_, _, _, _, _, _, _, _, rest @ ..] = &report.chip_id;
    let short = rest.iter().all(|byte| *byte == 0);
    Ok(match report.signing_key {
        SigningKey::Vcek if short => vec![Product::Turin],
        _ => vec![Product::Milan, Product::Genoa],
    })
}

fn products_hwid(report: &Report) -> Result<Vec<u8>, VerifyError> {
    let product = candidates(report)?.first().copied().unwrap_or(Product::Milan);
    Ok(report.hwid(product).unwrap_or_default().to_vec())
}

/// AMD 57230, "Get VCEK" and "Get VCEK Certificate Chain".
fn vcek_urls(report: &Report, product: Product) -> Vec<String> {
    let hwid = report.hwid(product).map(hex::encode).unwrap_or_default();
    let mut parts: Vec<_> = product.parts().iter().collect();
    // The first four are every product's, Turin's fifth follows.
    parts.sort_by_key(|part| part.parameter == "fmcSPL");
    let versions: Vec<String> = parts
        .into_iter()
        .map(|part| format!("{}={:02}", part.parameter, report.reported_tcb.of(part)))
        .collect();
    vec![
        format!("{KDS}/vcek/v1/{product}/{hwid}?{}", versions.join("&")),
        format!("{KDS}/vcek/v1/{product}/cert_chain"),
    ]
}

/// AMD's firmware writes S as it comes; half of all genuine reports have the upper one of its two values.
fn high_s(report: &Report, report_offset: usize) -> Option<UnsignedFact> {
    let high = report
        .signature
        .last_chunk::<48>()
        .is_some_and(|s| *s > HALF_ORDER);
    high.then(|| UnsignedFact {
        what: "high-s report signature",
        detail: format!(
            "s at offset {} has a lower twin that verifies as well",
            report_offset.saturating_add(S_OFFSET)
        ),
    })
}
