//! What Nautilus asks of the kernel that safe Rust has no words for. The only crate that ships `unsafe`: every block
//! says why it holds, and every function outside is safe to call with any arguments.
//!
//! One module for each driver, with the kernel header that it follows. Results are what the kernel gave, bounded to
//! the buffers that were given; what they mean is for `nautilus-tee` to say.

pub mod ioctl;
pub mod keystone;
mod mapping;
pub mod memory;
pub mod nsm;
pub mod process;
pub mod sev_guest;
pub mod tdx_guest;
pub mod tee_client;
pub mod vsock;

pub use mapping::SharedMapping;
