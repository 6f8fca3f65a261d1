//! A fake `/dev/tdx_guest` (Linux, `include/uapi/linux/tdx-guest.h`).

#![expect(
    clippy::unwrap_used,
    reason = "bytes are cut out of requests whose lengths are fixed"
)]

use crate::kernel::{Answer, Caller, Errno, FakeDevice};
use crate::vendor::intel_tdx::{FakeIntelTdx, TrustDomain};

/// Where it belongs.
pub const DEVICE: &str = "/dev/tdx_guest";

const GET_REPORT0: u32 = 0xc440_5401;

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The report is on another's report data.
    OtherReportData,
    /// The report is of this type.
    Type(u8),
    /// The call fails.
    Error(Errno),
    /// The call never comes to an end.
    Never,
}

/// The device of a trust domain on a platform.
pub struct FakeTdxGuest {
    platform: FakeIntelTdx,
    domain: TrustDomain,
    fault: Option<Fault>,
}

impl FakeTdxGuest {
    /// Of this domain.
    pub fn new(platform: FakeIntelTdx, domain: TrustDomain) -> Self {
        Self {
            platform,
            domain,
            fault: None,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

impl FakeDevice for FakeTdxGuest {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        match self.fault {
            _ if number != GET_REPORT0 => return Answer::Error(Errno::NOTTY),
            Some(Fault::Error(error)) => return Answer::Error(error),
            Some(Fault::Never) => return Answer::Never,
            _ => {}
        }
        let mut report_data: [u8; 64] = caller.read(argument, 64).try_into().unwrap();
        if self.fault == Some(Fault::OtherReportData) {
            report_data[0] ^= 1;
        }
        let mut report = self.platform.td_report(&self.domain, &report_data);
        if let Some(Fault::Type(kind)) = self.fault {
            report[0] = kind;
        }
        caller.write(argument + 64, &report);
        Answer::Value(0)
    }
}
