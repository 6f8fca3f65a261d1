//! A fake AMD: a certificate authority with AMD's names that really signs, and chips that sign reports with
//! keys that it certified. Its RSA keys are files, since making one takes seconds; every other key is made as
//! needed.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a fake vendor that cannot be made must stop its test"
)]

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA384, RsaKeyPair,
};
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, UnixMillis};

/// A time at which everything here is valid unless it says otherwise.
pub const NOW: UnixMillis = UnixMillis::from_secs(1_780_272_000);
const DAY: u64 = 86_400;

const EXTENSION_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENSION_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 1.3.6.1.4.1.3704.1
const AMD: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];
/// AlgorithmIdentifier of RSASSA-PSS with SHA-384 as AMD writes it, with the trailer field.
pub const PSS: &str = "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101";
/// The same without the trailer field, as AMD writes it too.
pub const PSS_NO_TRAILER: &str = "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130";

/// One of AMD's families of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// One certificate to be made.
#[derive(Clone)]
pub struct Spec {
    /// Serial number, as the content of an INTEGER.
    pub serial: Vec<u8>,
    /// Common name of the issuer.
    pub issuer: String,
    /// Common name of the subject.
    pub subject: String,
    /// Start, in seconds since the epoch.
    pub from: u64,
    /// End, in seconds since the epoch.
    pub until: u64,
    /// Extensions in DER.
    pub extensions: Vec<Vec<u8>>,
    /// AlgorithmIdentifier of the signature in DER.
    pub algorithm: Vec<u8>,
}

/// A certificate authority.
pub struct Authority {
    /// Its key.
    pub key: RsaKeyPair,
    /// Its certificate in DER.
    pub der: Vec<u8>,
}

/// The authorities of one product.
pub struct FakeAmd {
    /// The product.
    pub product: Product,
    /// The root.
    pub ark: Authority,
    /// What certifies VCEKs.
    pub ask: Authority,
    /// What certifies VLEKs.
    pub asvk: Authority,
}

/// A machine: its keys, and the report that it signs for the guest that runs on it. Clones are the same machine.
#[derive(Clone)]
pub struct Chip {
    /// The VCEK, or the VLEK of its provider.
    pub key: Arc<EcdsaKeyPair>,
    /// What it is.
    pub product: Product,
    /// The guest's report. What it says of the guest is what the guest is.
    pub report: Vec<u8>,
    /// What keys for guests are derived from; no other chip has it.
    secret: [u8; 32],
}

/// Which secret a key is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivationRoot {
    /// The chip's.
    Vcek,
    /// The provider's, the same on all of its machines.
    Vlek,
}

impl Product {
    /// AMD's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Bytes of a chip's id that certificates have.
    pub const fn hwid_len(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FakeAmd {
    /// The authorities of `product`, with the keys that all fakes share.
    pub fn new(product: Product) -> Self {
        let ark = authority(
            "ark",
            &ca(&format!("ARK-{product}"), &format!("ARK-{product}"), 1),
            None,
        );
        let make = |name: &str, file: &str, serial: u8| {
            authority(
                file,
                &ca(&format!("ARK-{product}"), &format!("{name}-{product}"), serial),
                Some(&ark.key),
            )
        };
        let (ask, asvk) = (make("SEV", "ask", 2), make("SEV-VLEK", "asvk", 3));
        Self {
            product,
            ark,
            ask,
            asvk,
        }
    }

    /// The certificate of a chip's VCEK.
    pub fn vcek(&self, chip: &Chip) -> Vec<u8> {
        self.vek(chip, &vcek_spec(chip))
    }

    /// The certificate of a provider's VLEK.
    pub fn vlek(&self, chip: &Chip) -> Vec<u8> {
        self.sign_with(&self.asvk.key, &vlek_spec(chip), chip)
    }

    /// A certificate by the ASK, as `spec` says.
    pub fn vek(&self, chip: &Chip, spec: &Spec) -> Vec<u8> {
        self.sign_with(&self.ask.key, spec, chip)
    }

    /// A certificate by `key`, as `spec` says, of the chip's key.
    pub fn sign_with(&self, key: &RsaKeyPair, spec: &Spec, chip: &Chip) -> Vec<u8> {
        certificate(spec, &p384_spki(chip.key.public_key().as_ref()), key)
    }

    /// The root's revocation list, of these serial numbers.
    pub fn list(&self, revoked: &[&[u8]]) -> Vec<u8> {
        list(
            &self.ark.key,
            &format!("ARK-{}", self.product),
            revoked,
            NOW.as_secs() - DAY,
            NOW.as_secs() + DAY,
        )
    }
}

impl Chip {
    /// A machine like the one of a real report, with a key of its own.
    pub fn like(name: &str, product: Product) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let report = read(&format!("{name}/report.bin"));
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).unwrap();
        let mut chip = Self {
            key: key.into(),
            product,
            report,
            secret,
        };
        chip.sign();
        chip
    }

    /// A Milan machine, whose report has version 3.
    pub fn milan() -> Self {
        Self::like("milan-v3-vcek", Product::Milan)
    }

    /// A Turin machine, whose report has version 5.
    pub fn turin() -> Self {
        Self::like("turin-v5-vcek", Product::Turin)
    }

    /// One whose chip id is masked and whose reports a VLEK signs.
    pub fn of_provider() -> Self {
        Self::like("milan-v3-vlek-vmpl1", Product::Milan)
    }

    /// The report with bytes changed, and signed anew.
    pub fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.report[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.sign();
        self
    }

    /// The report on `report_data`, asked for at `vmpl`.
    pub fn report_on(&self, report_data: &[u8; 64], vmpl: u32) -> Vec<u8> {
        let mut report = self.report.clone();
        report[0x50..0x90].copy_from_slice(report_data);
        report[0x30..0x34].copy_from_slice(&vmpl.to_le_bytes());
        self.sign_report(&mut report);
        report
    }

    /// Whether the host masks the chip key, so that guests get keys of the VLEK.
    pub fn is_masked(&self) -> bool {
        self.report[0x48] & 2 != 0
    }

    /// The key that this chip, or this chip's provider where the VLEK is meant, derives from `input`.
    pub fn derived_key(&self, root: DerivationRoot, input: &[u8]) -> [u8; 32] {
        let secret = match root {
            DerivationRoot::Vcek => self.secret,
            DerivationRoot::Vlek => [0x76; 32],
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        hmac::sign(&key, input).as_ref().try_into().unwrap()
    }

    fn sign(&mut self) {
        let mut report = std::mem::take(&mut self.report);
        self.sign_report(&mut report);
        self.report = report;
    }

    fn sign_report(&self, report: &mut [u8]) {
        let signature = self.key.sign(&SystemRandom::new(), &report[..0x2a0]).unwrap();
        let (r, s) = signature.as_ref().split_at(48);
        for (start, scalar) in [(0x2a0, r), (0x2e8, s)] {
            for (to, from) in report[start..start + 48].iter_mut().zip(scalar.iter().rev()) {
                *to = *from;
            }
        }
    }
}

/// What a VCEK's certificate says, given the report of its chip.
pub fn vcek_spec(chip: &Chip) -> Spec {
    let hwid = &chip.report[0x1a0..0x1a0 + chip.product.hwid_len()];
    let mut spec = vek_spec(chip, "SEV", "SEV-VCEK");
    spec.extensions.push(amd_extension(&[4], hwid));
    spec
}

/// What a VLEK's says.
pub fn vlek_spec(chip: &Chip) -> Spec {
    let mut spec = vek_spec(chip, "SEV-VLEK", "SEV-VLEK");
    spec.extensions
        .push(amd_extension(&[5], &tlv(0x16, b"CN=cloud.example")));
    spec
}

fn vek_spec(chip: &Chip, issuer: &str, subject: &str) -> Spec {
    let tcb = &chip.report[0x180..0x188];
    let arcs: &[(u8, usize)] = match chip.product {
        Product::Turin => &[(9, 0), (1, 1), (2, 2), (3, 3), (8, 7)],
        _ => &[(1, 0), (2, 1), (3, 6), (8, 7)],
    };
    let mut extensions = vec![
        amd_extension(&[1], &[2, 1, 0]),
        amd_extension(&[2], &tlv(0x16, chip.product.as_str().as_bytes())),
    ];
    extensions.extend(
        arcs.iter()
            .map(|(arc, byte)| amd_extension(&[3, *arc], &integer(&[tcb[*byte]]))),
    );
    Spec {
        extensions,
        issuer: format!("{issuer}-{}", chip.product),
        ..ca("", subject, 0)
    }
}

/// An authority's certificate.
pub fn ca(issuer: &str, subject: &str, serial: u8) -> Spec {
    Spec {
        serial: vec![serial],
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        from: NOW.as_secs() - 1000 * DAY,
        until: NOW.as_secs() + 1000 * DAY,
        extensions: vec![
            extension(EXTENSION_BASIC_CONSTRAINTS, true, &[0x30, 0x03, 0x01, 0x01, 0xff]),
            extension(EXTENSION_KEY_USAGE, true, &[0x03, 0x02, 0x02, 0x04]),
        ],
        algorithm: hex::decode(PSS).unwrap(),
    }
}

/// An authority that certifies nothing, by one of its two extensions.
pub fn ca_without(which: usize, issuer: &str, subject: &str, serial: u8) -> Spec {
    let mut spec = ca(issuer, subject, serial);
    spec.extensions.remove(which);
    spec
}

/// The authority whose key is in a file, certified by another or by itself.
pub fn authority(file: &str, spec: &Spec, issuer: Option<&RsaKeyPair>) -> Authority {
    let key = RsaKeyPair::from_pkcs8(&read(&format!("fake-amd/{file}.pk8"))).unwrap();
    let algorithm = tlv(
        0x30,
        &[tlv(0x06, &hex::decode("2a864886f70d010101").unwrap()), vec![5, 0]].concat(),
    );
    let spki = tlv(0x30, &[algorithm, bit_string(key.public_key().as_ref())].concat());
    let der = certificate(spec, &spki, issuer.unwrap_or(&key));
    Authority { key, der }
}

/// A certificate of the key in `spki`, signed by `issuer`.
pub fn certificate(spec: &Spec, spki: &[u8], issuer: &RsaKeyPair) -> Vec<u8> {
    let validity = [time(spec.from), time(spec.until)].concat();
    let tbs = [
        tlv(0xa0, &[2, 1, 2]),
        tlv(2, &spec.serial),
        spec.algorithm.clone(),
        name(&spec.issuer),
        tlv(0x30, &validity),
        name(&spec.subject),
        spki.to_vec(),
        tlv(0xa3, &tlv(0x30, &spec.extensions.concat())),
    ];
    signed(&tlv(0x30, &tbs.concat()), &spec.algorithm, issuer)
}

/// A revocation list of these serial numbers.
pub fn list(key: &RsaKeyPair, issuer: &str, revoked: &[&[u8]], from: u64, until: u64) -> Vec<u8> {
    list_with(key, issuer, &entries(revoked, &[]), Some(until), from, &[])
}

/// The entries of a revocation list, each with these extensions.
pub fn entries(revoked: &[&[u8]], entry_extensions: &[u8]) -> Vec<u8> {
    let entry = |serial: &&[u8]| {
        tlv(
            0x30,
            &[
                tlv(2, serial),
                time(NOW.as_secs() - 2 * DAY),
                entry_extensions.to_vec(),
            ]
            .concat(),
        )
    };
    let entries: Vec<u8> = revoked.iter().flat_map(entry).collect();
    if entries.is_empty() {
        entries
    } else {
        tlv(0x30, &entries)
    }
}

/// A revocation list with these entries and extensions.
pub fn list_with(
    key: &RsaKeyPair,
    issuer: &str,
    entries: &[u8],
    until: Option<u64>,
    from: u64,
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let algorithm = hex::decode(PSS).unwrap();
    // cRLNumber (RFC 5280, 5.2.3).
    let mut all = extension(&[0x55, 0x1d, 0x14], false, &[2, 1, 4]);
    all.extend(extensions.concat());
    let tbs = [
        vec![2, 1, 1],
        algorithm.clone(),
        name(issuer),
        time(from),
        until.map(time).unwrap_or_default(),
        entries.to_vec(),
        tlv(0xa0, &tlv(0x30, &all)),
    ];
    signed(&tlv(0x30, &tbs.concat()), &algorithm, key)
}

/// A document with its signature: RSASSA-PSS, or PKCS #1 v1.5 where the algorithm says that.
fn signed(tbs: &[u8], algorithm: &[u8], key: &RsaKeyPair) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    let pkcs1 = algorithm == pkcs1_sha384();
    let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding =
        if pkcs1 { &RSA_PKCS1_SHA384 } else { &RSA_PSS_SHA384 };
    key.sign(encoding, &SystemRandom::new(), tbs, &mut signature)
        .unwrap();
    tlv(
        0x30,
        &[tbs.to_vec(), algorithm.to_vec(), bit_string(&signature)].concat(),
    )
}

/// sha384WithRSAEncryption.
pub fn pkcs1_sha384() -> Vec<u8> {
    hex::decode("300d06092a864886f70d01010c0500").unwrap()
}

/// An extension.
pub fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    tlv(0x30, &[&tlv(6, id), flag, &tlv(4, value)].concat())
}

/// An extension below AMD's arc.
pub fn amd_extension(path: &[u8], value: &[u8]) -> Vec<u8> {
    extension(&[AMD, path].concat(), false, value)
}

/// An INTEGER that is not negative.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes[0] > 0x7f { &[0] } else { &[] };
    tlv(2, &[sign, bytes].concat())
}

/// SubjectPublicKeyInfo of a point on P-384.
pub fn p384_spki(point: &[u8]) -> Vec<u8> {
    let algorithm = hex::decode("301006072a8648ce3d020106052b81040022").unwrap();
    tlv(0x30, &[algorithm, bit_string(point)].concat())
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

/// A name as AMD has them.
pub fn name(common_name: &str) -> Vec<u8> {
    let attribute = |arc: u8, tag: u8, value: &str| {
        let pair = [tlv(6, &[0x55, 4, arc]), tlv(tag, value.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &pair))
    };
    let attributes = [
        attribute(11, 0x0c, "Engineering"),
        attribute(6, 0x13, "US"),
        attribute(7, 0x0c, "Santa Clara"),
        attribute(8, 0x0c, "CA"),
        attribute(10, 0x0c, "Advanced Micro Devices"),
        attribute(3, 0x0c, common_name),
    ];
    tlv(0x30, &attributes.concat())
}

/// UTCTime, of years before 2050.
fn time(secs: u64) -> Vec<u8> {
    let text = UnixMillis::from_secs(secs).to_string();
    let digits: String = text
        .chars()
        .take(19)
        .filter(char::is_ascii_digit)
        .skip(2)
        .collect();
    tlv(0x17, format!("{digits}Z").as_bytes())
}

/// DER of a value below 64 KiB.
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match value.len() {
        short @ 0..=0x7f => der.push(short as u8),
        one @ 0x80..=0xff => der.extend([0x81, one as u8]),
        two => der.extend([0x82, (two >> 8) as u8, two as u8]),
    }
    der.extend(value);
    der
}

/// Certificates and lists as they come along with evidence.
pub fn endorsements(certificates: &[&[u8]], lists: &[&[u8]]) -> Endorsements {
    let document = |kind: EndorsementKind, origin: &'static str| {
        move |(index, bytes): (usize, &&[u8])| Endorsement {
            kind,
            bytes: bytes.to_vec(),
            origin: format!("{origin} {index}"),
        }
    };
    let certificates = certificates.iter().enumerate();
    let lists = lists.iter().enumerate();
    let certificates = certificates.map(document(EndorsementKind::Certificate, "certificate"));
    Endorsements(
        certificates
            .chain(lists.map(document(EndorsementKind::Crl, "list")))
            .collect(),
    )
}

/// GUIDs of the documents in a host's table (AMD 56421, "SNP Extended Guest Request").
pub mod guid {
    /// A VCEK.
    pub const VCEK: [u8; 16] = 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd_u128.to_be_bytes();
    /// A VLEK.
    pub const VLEK: [u8; 16] = 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1_u128.to_be_bytes();
    /// An ASK or ASVK.
    pub const ASK: [u8; 16] = 0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782_u128.to_be_bytes();
    /// An ARK.
    pub const ARK: [u8; 16] = 0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae_u128.to_be_bytes();
    /// A revocation list.
    pub const CRL: [u8; 16] = 0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea_u128.to_be_bytes();
}

/// A host's table of these documents.
pub fn certificate_table(documents: &[([u8; 16], Vec<u8>)]) -> Vec<u8> {
    let mut offset = (documents.len() + 1) * 24;
    let mut table = Vec::new();
    for (guid, document) in documents {
        table.extend(guid);
        for number in [offset, document.len()] {
            table.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        offset += document.len();
    }
    table.extend([0; 24]);
    table.extend(documents.iter().flat_map(|(_, document)| document));
    table
}

/// A file of the corpus of SNP evidence.
fn read(path: &str) -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/snp");
    fs::read(corpus.join(path)).expect("read the corpus of SNP evidence")
}
