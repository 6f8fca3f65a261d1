//! RISC-V Keystone.
