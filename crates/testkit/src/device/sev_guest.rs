//! A fake `/dev/sev-guest` (Linux, `include/uapi/linux/sev-guest.h`; AMD 56860 for the messages), down to the addresses
//! in the caller.

#![expect(
    clippy::unwrap_used,
    reason = "bytes are cut out of requests whose lengths are fixed"
)]

use crate::kernel::{Answer, Caller, Errno, FakeDevice};
use crate::vendor::amd::{Chip, DerivationRoot};

/// Where it belongs.
pub const DEVICE: &str = "/dev/sev-guest";

const GET_REPORT: u32 = 0xc020_5300;
const GET_DERIVED_KEY: u32 = 0xc020_5301;
const GET_EXT_REPORT: u32 = 0xc020_5302;
const PAGE: usize = 4096;
/// The most that Linux takes: `SEV_FW_BLOB_MAX_SIZE`.
const MOST_CERTIFICATES: usize = 0x4000;
const INVALID_PARAM: u32 = 0x16;
const INVALID_KEY: u32 = 0x27;

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What is signed is on another's report data.
    OtherReportData,
    /// The answer says that the report has this length.
    ReportLength(u32),
    /// The firmware answers every request with this status.
    Status(u32),
    /// Every call fails, with this in `exitinfo2`.
    Error(Errno, u64),
    /// The host asks for room for so many bytes of certificates, however much it gets.
    Room(u32),
    /// The key is all zeros.
    NoKey,
    /// The table of certificates is cut to so many bytes, and zeros follow.
    CutTable(usize),
    /// Requests for a report never come to an end.
    Never,
}

/// The device of a guest on a chip.
pub struct FakeSevGuest {
    chip: Chip,
    table: Vec<u8>,
    fault: Option<Fault>,
    /// Firmware from before there were VLEKs, which knows no choice of key.
    old: bool,
}

impl FakeSevGuest {
    /// With this table of certificates, which the host has for the chip; empty for none.
    pub fn new(chip: Chip, table: Vec<u8>) -> Self {
        Self {
            chip,
            table,
            fault: None,
            old: false,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The same with firmware from before there were VLEKs.
    #[must_use]
    pub fn of_old_firmware(mut self) -> Self {
        self.old = true;
        self
    }

    fn report(&self, caller: &Caller<'_>, question: u64, answer: u64) {
        let question = caller.read(question, 96);
        let mut report_data: [u8; 64] = question[..64].try_into().unwrap();
        let level = u32::from_le_bytes(question[64..68].try_into().unwrap());
        if self.fault == Some(Fault::OtherReportData) {
            report_data[63] ^= 1;
        }
        let report = self.chip.report_on(&report_data, level);
        let (status, length) = match self.fault {
            Some(Fault::Status(status)) => (status, 0),
            Some(Fault::ReportLength(length)) => (0, length),
            _ => (0, u32::try_from(report.len()).unwrap()),
        };
        let mut message = vec![0; 4000];
        message[..4].copy_from_slice(&status.to_le_bytes());
        message[4..8].copy_from_slice(&length.to_le_bytes());
        if status == 0 {
            message[32..32 + report.len()].copy_from_slice(&report);
        }
        caller.write(answer, &message);
    }

    /// The certificates, and whether there was room for them.
    fn certificates(&self, caller: &Caller<'_>, question: u64) -> Result<(), Errno> {
        let fields = caller.read(question + 96, 12);
        let address = u64::from_le_bytes(fields[..8].try_into().unwrap());
        let given = u32::from_le_bytes(fields[8..].try_into().unwrap());
        let given = if address == 0 {
            0
        } else {
            usize::try_from(given).unwrap()
        };
        if given > MOST_CERTIFICATES || given % PAGE != 0 {
            return Err(Errno::INVAL);
        }
        let mut table = self.table.clone();
        let needed = u32::try_from(table.len().next_multiple_of(PAGE)).unwrap();
        let needed = match self.fault {
            Some(Fault::Room(needed)) => needed,
            Some(Fault::CutTable(length)) => {
                table[length..].fill(0);
                needed
            }
            _ => needed,
        };
        if given < usize::try_from(needed).unwrap() || matches!(self.fault, Some(Fault::Room(_))) {
            caller.write(question + 104, &needed.to_le_bytes());
            return Err(Errno::IO);
        }
        table.resize(given, 0);
        caller.write(address, &table);
        Ok(())
    }

    fn key(&self, caller: &Caller<'_>, question: u64, answer: u64) {
        let question = caller.read(question, 32);
        let word = |at: usize| u32::from_le_bytes(question[at..at + 4].try_into().unwrap());
        let fields = u64::from_le_bytes(question[8..16].try_into().unwrap());
        let (root, reserved) = (word(0), word(4));
        let report = &self.chip.report;
        let own = if self.chip.is_masked() {
            Err(INVALID_KEY)
        } else {
            Ok(DerivationRoot::Vcek)
        };
        let key = match (self.fault, root) {
            (Some(Fault::Status(status)), _) => Err(status),
            _ if reserved != 0 || fields >> 6 != 0 => Err(INVALID_PARAM),
            (_, 0) => Ok(DerivationRoot::Vcek),
            (_, 2 | 4) if self.old => Err(INVALID_PARAM),
            (_, 2) => own,
            (_, 4) if self.chip.is_masked() => Ok(DerivationRoot::Vlek),
            (_, 4) => Err(INVALID_KEY),
            _ => Err(INVALID_PARAM),
        };
        let selected = |bit: u32, bytes: &[u8]| match fields >> bit & 1 {
            0 => Vec::new(),
            _ => bytes.to_vec(),
        };
        let input = [
            fields.to_le_bytes().to_vec(),
            selected(0, &report[0x08..0x10]),
            selected(1, &report[0x20..0x30]),
            selected(2, &report[0x10..0x20]),
            selected(3, &report[0x90..0xc0]),
            selected(4, &question[20..24]),
            selected(5, &question[24..32]),
            question[16..20].to_vec(),
        ]
        .concat();
        let mut message = [0; 64];
        match key {
            Err(status) => message[..4].copy_from_slice(&status.to_le_bytes()),
            Ok(_) if self.fault == Some(Fault::NoKey) => {}
            Ok(root) => message[32..].copy_from_slice(&self.chip.derived_key(root, &input)),
        }
        caller.write(answer, &message);
    }
}

impl FakeDevice for FakeSevGuest {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        let request = caller.read(argument, 32);
        let word = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (question, answer) = (word(8), word(16));
        let exit_info = |value: u64| caller.write(argument + 24, &value.to_le_bytes());
        if request[0] == 0 || question == 0 || answer == 0 {
            exit_info(0xff);
            return Answer::Error(Errno::INVAL);
        }
        match self.fault {
            Some(Fault::Error(error, info)) => {
                exit_info(info);
                return Answer::Error(error);
            }
            Some(Fault::Never) if number != GET_DERIVED_KEY => return Answer::Never,
            _ => {}
        }
        match number {
            GET_REPORT => self.report(caller, question, answer),
            GET_DERIVED_KEY => self.key(caller, question, answer),
            GET_EXT_REPORT => match self.certificates(caller, question) {
                Ok(()) => self.report(caller, question, answer),
                Err(error) => {
                    exit_info(if error == Errno::IO { 1 << 32 } else { 0xff });
                    return Answer::Error(error);
                }
            },
            _ => return Answer::Error(Errno::NOTTY),
        }
        Answer::Value(0)
    }
}
