//! The collector of pods and containers, beside a real containerd: its numbers held against `ctr` and the control
//! groups' files, pods that go away while they are measured, images that are pulled, and a containerd that is restarted.
//!
//! Needs root, because it starts containers.

#[cfg(test)]
#[path = "containerd/agreement.rs"]
mod agreement;
#[cfg(test)]
#[path = "containerd/cri.rs"]
mod cri;
#[cfg(test)]
#[path = "containerd/machine.rs"]
mod machine;
#[cfg(test)]
#[path = "containerd/pulls.rs"]
mod pulls;
#[cfg(test)]
#[path = "containerd/registry.rs"]
mod registry;
#[cfg(test)]
#[path = "containerd/survival.rs"]
mod survival;
