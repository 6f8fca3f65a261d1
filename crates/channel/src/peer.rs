//! What is known of a peer once its channel is open. The types are sealed: each is made by one thing.

use std::io;
use std::os::fd::AsFd;

use nautilus_core::{Appraisal, PublicKey};

use crate::error::ChannelError;

/// A peer whose evidence was made for this session, verified and accepted. Made only by the handshake.
///
/// ```compile_fail,E0451
/// fn forge(appraisal: nautilus_core::Appraisal) -> nautilus_channel::Attested {
///     nautilus_channel::Attested { appraisal: Box::new(appraisal) }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Attested {
    appraisal: Box<Appraisal>,
}

impl Attested {
    pub(crate) fn seal(appraisal: Appraisal) -> Self {
        Self {
            appraisal: Box::new(appraisal),
        }
    }

    /// What its evidence says, and why that was accepted.
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }
}

/// A peer that signed this session with the long-term key that was expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Identified {
    key: PublicKey,
}

impl Identified {
    pub(crate) const fn seal(key: PublicKey) -> Self {
        Self { key }
    }

    /// The key.
    pub const fn key(&self) -> PublicKey {
        self.key
    }
}

/// A process that this one started, by the word of the kernel, whose evidence is of this session and cannot be verified
/// on this machine.
#[derive(Clone, Debug)]
pub struct Kin {
    kernel: KernelPeer,
    why: String,
}

impl Kin {
    pub(crate) const fn seal(kernel: KernelPeer, why: String) -> Self {
        Self { kernel, why }
    }

    /// The process.
    pub const fn kernel(&self) -> KernelPeer {
        self.kernel
    }

    /// Why its evidence was not verified.
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// A peer of which nothing was demanded: it holds the session's key, and that is all.
#[derive(Clone, Copy, Debug)]
pub struct Unidentified(());

impl Unidentified {
    pub(crate) const fn seal() -> Self {
        Self(())
    }
}

/// What came of a handshake.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Its evidence was accepted.
    Attested(Attested),
    /// It holds a known key.
    Identified(Identified),
    /// It is a child of this process.
    Kin(Kin),
    /// Nothing was demanded.
    Unidentified(Unidentified),
}

impl Peer {
    const fn name(&self) -> &'static str {
        match self {
            Self::Attested(_) => Attested::NAME,
            Self::Identified(_) => Identified::NAME,
            Self::Kin(_) => Kin::NAME,
            Self::Unidentified(_) => Unidentified::NAME,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Attested {}
    impl Sealed for super::Identified {}
    impl Sealed for super::Kin {}
    impl Sealed for super::Unidentified {}
    impl Sealed for super::Peer {}
}

/// What a channel's type says of its peer.
pub trait Standing: sealed::Sealed + Sized + Send + Sync + 'static {
    /// For people.
    const NAME: &'static str;

    /// The standing, if the peer has it.
    ///
    /// # Errors
    /// [`ChannelError::Standing`] if it has another.
    fn of(peer: Peer) -> Result<Self, ChannelError>;
}

macro_rules! standing {
    ($type:ident, $name:literal) => {
        impl Standing for $type {
            const NAME: &'static str = $name;

            fn of(peer: Peer) -> Result<Self, ChannelError> {
                match peer {
                    Peer::$type(standing) => Ok(standing),
                    other => Err(ChannelError::Standing {
                        found: other.name(),
                        wanted: Self::NAME,
                    }),
                }
            }
        }
    };
}

standing!(Attested, "attested");
standing!(Identified, "identified by its key");
standing!(Kin, "a child of this process");
standing!(Unidentified, "unidentified");

/// Any: for who looks at it later.
impl Standing for Peer {
    const NAME: &'static str = "any";

    fn of(peer: Peer) -> Result<Self, ChannelError> {
        Ok(peer)
    }
}

/// The process at the other end of a Unix socket, by the word of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelPeer {
    pid: i32,
    uid: u32,
}

impl KernelPeer {
    /// Who is at the other end of `socket`.
    ///
    /// # Errors
    /// If it is no connected Unix socket.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        // Elsewhere the kernel knows no peer, and says so with process 0.
        if rustix::net::sockopt::socket_domain(&socket)? != rustix::net::AddressFamily::UNIX {
            return Err(io::Error::other(
                "the kernel knows the peers of Unix sockets only",
            ));
        }
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        Ok(Self {
            pid: peer.pid.as_raw_nonzero().get(),
            uid: peer.uid.as_raw(),
        })
    }

    /// Its process id, in the namespace of who asks.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Its user.
    pub const fn uid(&self) -> u32 {
        self.uid
    }
}
