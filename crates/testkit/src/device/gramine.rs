//! The files of `/dev/attestation`, as Gramine answers them inside an enclave (Gramine, `libos/src/fs/dev/attestation.c`).

use crate::kernel::{Errno, FakeTree, NEVER};
use crate::vendor::intel::{Enclave, Platform, TARGET_INFO_LEN};

/// Where the tree belongs.
pub const PATH: &str = "/dev/attestation";

/// How quote and report can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They are for report data that nobody asked for.
    OtherReportData,
    /// They are for the report data before.
    Stale,
    /// The enclave can be debugged.
    Debug,
    /// They end early.
    ShortRead,
    /// They cannot be read: what Gramine says to every failure of its own.
    Error,
    /// They never come.
    Never,
    /// Gramine has no seal key: the file is empty.
    NoSealKey,
}

/// The files, for one enclave on one platform.
#[derive(Clone)]
pub struct GramineFiles {
    platform: Platform,
    enclave: Enclave,
    attestation_type: String,
    fault: Option<Fault>,
    user_report_data: [u8; 64],
    /// What was written before.
    earlier: [u8; 64],
    target_info: [u8; TARGET_INFO_LEN],
}

const REPORT_DATA_OF_OTHERS: [u8; 64] = [0xbb; 64];

impl GramineFiles {
    /// Those of an enclave whose manifest asks for DCAP.
    pub fn new(platform: Platform, enclave: Enclave) -> Self {
        Self {
            platform,
            enclave,
            attestation_type: "dcap".to_owned(),
            fault: None,
            user_report_data: [0; 64],
            earlier: [0; 64],
            target_info: [0; TARGET_INFO_LEN],
        }
    }

    /// With another `sgx.remote_attestation`. There is no quote where it is `none`.
    #[must_use]
    pub fn with_type(self, attestation_type: &str) -> Self {
        Self {
            attestation_type: attestation_type.to_owned(),
            ..self
        }
    }

    /// That misbehave.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.enclave.debug |= fault == Fault::Debug;
        self.fault = Some(fault);
        self
    }

    /// What is signed for what was asked.
    fn report_data(&self) -> [u8; 64] {
        match self.fault {
            Some(Fault::OtherReportData) => REPORT_DATA_OF_OTHERS,
            Some(Fault::Stale) => self.earlier,
            _ => self.user_report_data,
        }
    }

    fn faulty(&self, whole: Vec<u8>) -> Result<Vec<u8>, Errno> {
        match self.fault {
            Some(Fault::ShortRead) => Ok(whole[..whole.len() / 2].to_vec()),
            Some(Fault::Error) => Err(Errno::ACCESS),
            Some(Fault::Never) => Err(NEVER),
            _ => Ok(whole),
        }
    }
}

impl FakeTree for GramineFiles {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        match path {
            "attestation_type" => Ok(self.attestation_type.clone().into_bytes()),
            "user_report_data" => Ok(self.user_report_data.to_vec()),
            "target_info" => Ok(self.target_info.to_vec()),
            "report" => {
                let report = self
                    .platform
                    .report(&self.enclave, &self.target_info, &self.report_data());
                self.faulty(report.to_vec())
            }
            "quote" if self.attestation_type != "none" => {
                let quote = self.platform.quote(&self.enclave, &self.report_data());
                self.faulty(quote)
            }
            "keys/_sgx_mrenclave" if self.fault == Some(Fault::NoSealKey) => Ok(Vec::new()),
            "keys/_sgx_mrenclave" => Ok(self.platform.seal_key(&self.enclave).to_vec()),
            _ => Err(Errno::NOENT),
        }
    }

    /// What is short is filled with zeros, what is long is cut.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        match path {
            "user_report_data" => {
                self.earlier = self.user_report_data;
                self.user_report_data = padded(bytes);
            }
            "target_info" => self.target_info = padded(bytes),
            _ => return Err(Errno::ACCESS),
        }
        Ok(())
    }

    fn make_directory(&mut self, _: &str) -> Result<(), Errno> {
        Err(Errno::ACCESS)
    }

    fn remove_directory(&mut self, _: &str) -> Result<(), Errno> {
        Err(Errno::ACCESS)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let names: &[&str] = match path {
            "" if self.attestation_type == "none" => &[
                "attestation_type",
                "keys",
                "report",
                "target_info",
                "user_report_data",
            ],
            "" => &[
                "attestation_type",
                "keys",
                "quote",
                "report",
                "target_info",
                "user_report_data",
            ],
            "keys" => &["_sgx_mrenclave"],
            _ => return None,
        };
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    let length = bytes.len().min(N);
    padded[..length].copy_from_slice(&bytes[..length]);
    padded
}
