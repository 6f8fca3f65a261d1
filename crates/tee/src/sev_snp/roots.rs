//! The certificates in which a chain must end, and those below them that are as old as they are.
//!
//! AMD publishes them at `https://kdsintf.amd.com/vcek/v1/{product}/cert_chain` (ASK and ARK) and
//! `https://kdsintf.amd.com/vlek/v1/{product}/cert_chain` (ASVK and ARK).

use sha2::{Digest as _, Sha256};

use super::product::Product;

/// One product's root, and certificate authorities below it that need not come along.
#[derive(Clone, Debug)]
pub struct Root {
    pub(super) product: Product,
    pub(super) ark: Vec<u8>,
    pub(super) authorities: Vec<Vec<u8>>,
    pub(super) is_amd: bool,
    /// Stands for all of the above where something is remembered that was derived from it.
    pub(super) id: [u8; 32],
}

impl Root {
    /// AMD's root key of `product` (ARK), with the authorities of its VCEKs (ASK) and VLEKs (ASVK).
    pub fn amd(product: Product) -> Self {
        let (ark, ask, asvk): (&[u8], &[u8], &[u8]) = match product {
            Product::Milan => (
                include_bytes!("amd/ark-milan.der"),
                include_bytes!("amd/ask-milan.der"),
                include_bytes!("amd/asvk-milan.der"),
            ),
            Product::Genoa => (
                include_bytes!("amd/ark-genoa.der"),
                include_bytes!("amd/ask-genoa.der"),
                include_bytes!("amd/asvk-genoa.der"),
            ),
            Product::Turin => (
                include_bytes!("amd/ark-turin.der"),
                include_bytes!("amd/ask-turin.der"),
                include_bytes!("amd/asvk-turin.der"),
            ),
        };
        Self {
            is_amd: true,
            ..Self::new(product, ark.to_vec(), vec![ask.to_vec(), asvk.to_vec()])
        }
    }

    /// A root in DER that names itself as AMD's does, `ARK-Milan` for one; none if it does not.
    pub fn in_place_of_amd(ark: Vec<u8>) -> Option<Self> {
        let names = |product: &Product| {
            let name = format!("ARK-{product}");
            ark.windows(name.len()).any(|window| window == name.as_bytes())
        };
        let product = Product::ALL.into_iter().find(names)?;
        Some(Self::new(product, ark, Vec::new()))
    }

    /// Another vendor's root in DER, in the place of AMD's for `product`. The names in its certificates have
    /// to be AMD's. Authorities may come along with the evidence as well.
    pub fn new(product: Product, ark: Vec<u8>, authorities: Vec<Vec<u8>>) -> Self {
        let mut digest = Sha256::new();
        digest.update(product.as_str());
        for certificate in std::iter::once(&ark).chain(&authorities) {
            digest.update(Sha256::digest(certificate));
        }
        Self {
            product,
            ark,
            authorities,
            is_amd: false,
            id: digest.finalize().into(),
        }
    }
}
