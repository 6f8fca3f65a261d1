//! Intel's guest driver, `/dev/tdx_guest`: Linux, `include/uapi/linux/tdx-guest.h`.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, opcode};

use crate::ioctl::exchange;

/// Length of a guest's own data in a report: `TDX_REPORTDATA_LEN`.
pub const REPORT_DATA_LEN: usize = 64;
/// Length of a `TDREPORT`: `TDX_REPORT_LEN`.
pub const REPORT_LEN: usize = 1024;

/// `tdx_report_req`: report data, then room for the report.
const REQUEST_LEN: usize = REPORT_DATA_LEN + REPORT_LEN;
const GET_REPORT0: Opcode = opcode::read_write::<[u8; REQUEST_LEN]>(b'T', 1);

/// Asks the TDX module for a report on `report_data`: what a quoting enclave on this machine can check, and nobody
/// else.
///
/// # Errors
/// What the kernel says.
pub fn get_report0(device: impl AsFd, report_data: &[u8; REPORT_DATA_LEN]) -> io::Result<[u8; REPORT_LEN]> {
    let mut request = [0; REQUEST_LEN];
    let (data, _) = request.split_at_mut(REPORT_DATA_LEN);
    data.copy_from_slice(report_data);
    #[expect(unsafe_code, reason = "an ioctl does what its driver says")]
    // SAFETY: `TDX_CMD_GET_REPORT0` touches its `tdx_report_req` alone, which holds no pointer.
    unsafe { exchange(device, GET_REPORT0, &mut request) }?;
    let mut report = [0; REPORT_LEN];
    let (_, answer) = request.split_at(REPORT_DATA_LEN);
    report.copy_from_slice(answer);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_kernels() {
        assert_eq!(GET_REPORT0, 0xc440_5401);
    }

    #[test]
    fn what_is_no_such_device_says_so() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = get_report0(&null, &[0; 64]).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::NOTTY.raw_os_error())
        );
    }
}
