//! JSON Web Keys (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Object;
use super::{EcCurve, EcPoint, PRIVATE, RsaNumbers};

/// A JSON Web Key by its type. Its members are decoded for who wants a key of that type.
pub(crate) enum Jwk {
    Ec(EcJwk),
    Rsa(RsaJwk),
    Okp(OkpJwk),
    Oct(OctJwk),
}

/// A key of type `EC`.
pub(crate) struct EcJwk {
    curve: Option<String>,
    x: Member,
    y: Member,
}

/// A key of type `RSA`.
pub(crate) struct RsaJwk {
    n: Member,
    e: Member,
}

/// A key of type `OKP`.
pub(crate) struct OkpJwk {
    curve: Option<String>,
    x: Member,
}

/// A key of type `oct`, a secret that both sides know.
pub(crate) struct OctJwk {
    k: Member,
}

/// A member, in base64url if it is there.
struct Member {
    name: &'static str,
    text: Option<String>,
}

/// Members that only a private key of type `RSA` has, beside `d`.
const RSA_PRIVATE: [&str; 6] = ["p", "q", "dp", "dq", "qi", "oth"];

impl Jwk {
    /// The key that an object with `kty` is. Members of no concern are passed over (RFC 7517, section 4).
    pub(super) fn of(mut object: Object) -> Result<Self, String> {
        let Some(kty) = object.text("kty")? else {
            return Err("the JWK has no `kty`".to_owned());
        };
        let private = kty == "RSA" && RSA_PRIVATE.into_iter().any(|name| object.has(name));
        if private || object.has("d") {
            return Err(PRIVATE.to_owned());
        }
        let mut member = |name| object.text(name).map(|text| Member { name, text });
        match kty.as_str() {
            "EC" => Ok(Self::Ec(EcJwk {
                x: member("x")?,
                y: member("y")?,
                curve: object.text("crv")?,
            })),
            "RSA" => Ok(Self::Rsa(RsaJwk {
                n: member("n")?,
                e: member("e")?,
            })),
            "OKP" => Ok(Self::Okp(OkpJwk {
                x: member("x")?,
                curve: object.text("crv")?,
            })),
            "oct" => Ok(Self::Oct(OctJwk { k: member("k")? })),
            other => {
                let other = other.escape_default();
                Err(format!(
                    "the JWK is of another type than EC, RSA, OKP or oct: `{other}`"
                ))
            }
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Ec(_) => "JWK of type EC",
            Self::Rsa(_) => "JWK of type RSA",
            Self::Okp(_) => "JWK of type OKP",
            Self::Oct(_) => "JWK of type oct",
        }
    }
}

/// A secret is not shown, and neither is what might be one.
impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl EcJwk {
    /// The point, uncompressed. Whether it lies on the curve is not looked at.
    pub(crate) fn point(&self) -> Result<EcPoint, String> {
        let curve = match curve_name(self.curve.as_deref())? {
            "P-256" => EcCurve::P256,
            "P-384" => EcCurve::P384,
            "P-521" => EcCurve::P521,
            other => {
                let other = other.escape_default();
                return Err(format!("the JWK's curve is not P-256, P-384 or P-521: `{other}`"));
            }
        };
        let (x, y, length) = (self.x.bytes()?, self.y.bytes()?, curve.coordinate_len());
        if x.len() != length || y.len() != length {
            return Err(format!("the JWK's coordinates are not of {length} bytes"));
        }
        let bytes = [&[4], x.as_slice(), &y].concat();
        Ok(EcPoint { curve, bytes })
    }
}

impl RsaJwk {
    /// Modulus and exponent.
    pub(crate) fn numbers(&self) -> Result<RsaNumbers, String> {
        Ok(RsaNumbers::of(&self.n.bytes()?, &self.e.bytes()?))
    }
}

impl OkpJwk {
    /// The public key, if it is of Ed25519.
    pub(crate) fn ed25519(&self) -> Result<[u8; 32], String> {
        match curve_name(self.curve.as_deref())? {
            "Ed25519" => {}
            other => {
                let other = other.escape_default();
                return Err(format!("the JWK's curve is not Ed25519: `{other}`"));
            }
        }
        let x = self.x.bytes()?;
        let length = x.len();
        x.try_into()
            .map_err(|_| format!("`x` of the JWK has {length} bytes, not 32"))
    }
}

impl OctJwk {
    /// The secret.
    pub(crate) fn secret(&self) -> Result<Vec<u8>, String> {
        self.k.bytes()
    }
}

fn curve_name(curve: Option<&str>) -> Result<&str, String> {
    curve.ok_or_else(|| "the JWK has no `crv`".to_owned())
}

impl Member {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let name = self.name;
        let text = self
            .text
            .as_ref()
            .ok_or_else(|| format!("the JWK has no `{name}`"))?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| format!("`{name}` of the JWK is not base64url: {error}"))
    }
}
