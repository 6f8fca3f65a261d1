//! AWS Nitro Enclaves.
