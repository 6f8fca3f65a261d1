//! The fake kernel, met by this process and by programs that know nothing of it.

#[cfg(test)]
#[path = "kernel/device.rs"]
mod device;
#[cfg(test)]
#[path = "kernel/devices.rs"]
mod devices;
#[cfg(test)]
#[path = "kernel/files.rs"]
mod files;
#[cfg(test)]
#[path = "kernel/machine.rs"]
mod machine;
#[cfg(test)]
#[path = "kernel/tree.rs"]
mod tree;
