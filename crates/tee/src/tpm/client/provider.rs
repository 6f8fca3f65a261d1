//! Which TPM to use, as `quote_provider` names it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use nautilus_core::AttestError;

use super::Transport;
use super::device::Device;
use super::socket::{Address, Socket};

/// The kernel's nodes: behind its resource manager, and bare.
const MANAGED: &str = "/dev/tpmrm";
const BARE: &str = "/dev/tpm";

/// A TPM by the way that leads to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Provider {
    /// The first device that is there.
    FirstDevice,
    /// A device node, and the kernel's number of the TPM.
    Device(String, u8),
    /// A socket at which a TPM takes raw commands.
    Socket(Address),
}

impl Provider {
    pub(super) fn parse(name: Option<&str>) -> Result<Self, AttestError> {
        let Some(name) = name else {
            return Ok(Self::FirstDevice);
        };
        let refused = |why: &str| AttestError::Unsupported {
            what: format!(
                "quote_provider `{}`: {why}; for a TPM it is device:/dev/tpmrm0, unix:PATH or tcp:127.0.0.1:PORT",
                name.escape_default()
            ),
        };
        match name.split_once(':') {
            Some(("device", path)) => match number_of(path) {
                Some(number) => Ok(Self::Device(path.to_owned(), number)),
                None => Err(refused(
                    "a TPM's device is /dev/tpmrm0 or /dev/tpm0, or has another number",
                )),
            },
            Some(("unix", path)) if path.starts_with('/') => {
                Ok(Self::Socket(Address::Unix(PathBuf::from(path))))
            }
            Some(("unix", _)) => Err(refused("the socket's path must be absolute")),
            Some(("tcp", address)) => {
                let address = address_of(address).ok_or_else(|| refused("it names no address and port"))?;
                if !address.ip().is_loopback() {
                    return Err(refused(
                        "commands and answers travel in the clear and say nothing of who answers, so only a TPM at a \
                         loopback address is used",
                    ));
                }
                Ok(Self::Socket(Address::Tcp(address)))
            }
            _ => Err(refused("no TPM has such a name")),
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn Transport>, AttestError> {
        Ok(match self {
            Self::FirstDevice => match Device::open("/dev/tpmrm0") {
                Err(AttestError::Missing { .. }) => Box::new(Device::open("/dev/tpm0")?),
                opened => Box::new(opened?),
            },
            Self::Device(path, _) => Box::new(Device::open(path)?),
            Self::Socket(address) => Box::new(Socket::open(address.clone())?),
        })
    }

    pub(super) const fn device_number(&self) -> Option<u8> {
        match self {
            Self::FirstDevice => Some(0),
            Self::Device(_, number) => Some(*number),
            Self::Socket(_) => None,
        }
    }

    pub(super) const fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

/// The number of the TPM whose node is at `path`.
fn number_of(path: &str) -> Option<u8> {
    let digits = path.strip_prefix(MANAGED).or_else(|| path.strip_prefix(BARE))?;
    let number = digits.parse::<u8>().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// An address is written out, but for `localhost`: no name is looked up.
fn address_of(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    if host == "localhost" {
        return Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            port.parse().ok()?,
        ));
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tpm_has_one_of_three_kinds_of_name() {
        let parsed = |name| Provider::parse(Some(name)).unwrap();
        assert_eq!(Provider::parse(None).unwrap(), Provider::FirstDevice);
        assert_eq!(
            parsed("device:/dev/tpmrm0"),
            Provider::Device("/dev/tpmrm0".to_owned(), 0)
        );
        assert_eq!(
            parsed("device:/dev/tpm12"),
            Provider::Device("/dev/tpm12".to_owned(), 12)
        );
        assert_eq!(
            parsed("unix:/run/tpm"),
            Provider::Socket(Address::Unix("/run/tpm".into()))
        );
        for name in ["tcp:127.0.0.1:2321", "tcp:localhost:2321", "tcp:[::1]:2321"] {
            let provider = parsed(name);
            let Provider::Socket(Address::Tcp(address)) = provider else {
                panic!("{name} is {provider:?}")
            };
            assert!(address.ip().is_loopback() && address.port() == 2321, "{address}");
        }
    }

    #[test]
    fn every_other_name_is_refused_with_the_reason() {
        for (name, why) in [
            ("", "no TPM has such a name"),
            ("aesm", "no TPM has such a name"),
            ("mssim:host=localhost", "no TPM has such a name"),
            ("device:/dev/sda", "a TPM's device is"),
            ("device:/dev/tpm", "a TPM's device is"),
            ("device:/dev/tpm00", "a TPM's device is"),
            ("device:/dev/tpmrm0/../sda", "a TPM's device is"),
            ("unix:run/tpm", "must be absolute"),
            ("tcp:2321", "no address and port"),
            ("tcp:tpm.example:2321", "no address and port"),
            ("tcp:192.0.2.1:2321", "loopback"),
            ("tcp:0.0.0.0:2321", "loopback"),
            ("tcp:[2001:db8::1]:2321", "loopback"),
        ] {
            let error = Provider::parse(Some(name)).unwrap_err();
            assert!(
                matches!(&error, AttestError::Unsupported { what } if what.contains(why)),
                "{name}: {error}"
            );
        }
    }
}
