//! AMD's guest driver, `/dev/sev-guest`: Linux, `include/uapi/linux/sev-guest.h`.
//!
//! A request is a structure that points to a question and to room for the answer. What the firmware or the host say of
//! it comes back in the structure, also where the call fails.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Updater, opcode};

/// Length of a guest's own data in a report.
pub const USER_DATA_LEN: usize = 64;
/// Length of the answer to a request for a report: `snp_report_resp`.
pub const REPORT_RESPONSE_LEN: usize = 4000;
/// Length of the answer to a request for a key: `snp_derived_key_resp`.
pub const KEY_RESPONSE_LEN: usize = 64;
/// What the driver counts certificates in.
pub const PAGE_LEN: usize = 4096;

/// The version of every message that this driver carries.
const MESSAGE_VERSION: u8 = 1;
/// `SNP_GUEST_REQ_IOC_TYPE`.
const GROUP: u8 = b'S';
const GET_REPORT: Opcode = opcode::read_write::<GuestRequest>(GROUP, 0);
const GET_DERIVED_KEY: Opcode = opcode::read_write::<GuestRequest>(GROUP, 1);
const GET_EXT_REPORT: Opcode = opcode::read_write::<GuestRequest>(GROUP, 2);

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    /// What the kernel says.
    pub error: io::Error,
    /// `exitinfo2`: the host's error above the firmware's, 32 bits each. 0xff, alone, where neither was asked.
    pub exit_info: u64,
    /// The room for certificates in bytes: what they need, where there was too little; otherwise what was given.
    pub certificates: u32,
}

/// `snp_derived_key_req`: what a key is to be made of (AMD 56860, table "MSG_KEY_REQ Message Structure").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KeyRequest {
    /// `ROOT_KEY_SELECT` and `KEY_SEL`.
    pub root_key_select: u32,
    /// Zero.
    pub reserved: u32,
    /// `GUEST_FIELD_SELECT`: which of the guest's properties are mixed in.
    pub guest_field_select: u64,
    /// Privilege level that is mixed in.
    pub vmpl: u32,
    /// Guest SVN, which is mixed in where it is selected.
    pub guest_svn: u32,
    /// TCB version, which is mixed in where it is selected.
    pub tcb_version: u64,
}

/// `snp_guest_request_ioctl`.
#[repr(C)]
struct GuestRequest {
    message_version: u8,
    padding: [u8; 7],
    question: u64,
    answer: u64,
    exit_info: u64,
}

/// `snp_report_req`.
#[repr(C)]
struct ReportRequest {
    user_data: [u8; USER_DATA_LEN],
    vmpl: u32,
    reserved: [u8; 28],
}

/// `snp_ext_report_req`.
#[repr(C)]
struct ExtReportRequest {
    report: ReportRequest,
    certificates: u64,
    certificates_len: u32,
    padding: u32,
}

const _: () = assert!(size_of::<GuestRequest>() == 32);
const _: () = assert!(size_of::<ReportRequest>() == 96);
const _: () = assert!(size_of::<ExtReportRequest>() == 112);
const _: () = assert!(size_of::<KeyRequest>() == 32);

/// Asks for a report on `user_data`, made for privilege level `vmpl`.
///
/// # Errors
/// What the kernel, the host and the firmware say.
pub fn get_report(
    device: impl AsFd,
    user_data: &[u8; USER_DATA_LEN],
    vmpl: u32,
) -> Result<[u8; REPORT_RESPONSE_LEN], Failure> {
    let mut question = ReportRequest::new(user_data, vmpl);
    let mut answer = [0; REPORT_RESPONSE_LEN];
    #[expect(unsafe_code, reason = "the driver follows pointers")]
    // SAFETY: `SNP_GET_REPORT` reads a `snp_report_req`, which holds no pointer, and writes a `snp_report_resp`.
    unsafe { send::<GET_REPORT, _, _>(device, &mut question, &mut answer) }?;
    Ok(answer)
}

/// Asks for a report as [`get_report`] does, and for the certificates that the host has for it. `certificates` takes
/// them; its length must be a multiple of [`PAGE_LEN`], and may be zero to ask how much room they need.
///
/// # Errors
/// What the kernel, the host and the firmware say. Where there is too little room, [`Failure::certificates`] says how
/// much they need.
pub fn get_ext_report(
    device: impl AsFd,
    user_data: &[u8; USER_DATA_LEN],
    vmpl: u32,
    certificates: &mut [u8],
) -> Result<[u8; REPORT_RESPONSE_LEN], Failure> {
    let certificates_len = u32::try_from(certificates.len()).map_err(|_| Failure {
        error: rustix::io::Errno::INVAL.into(),
        exit_info: 0xff,
        certificates: 0,
    })?;
    let address = match certificates_len {
        0 => 0,
        _ => certificates.as_mut_ptr().expose_provenance() as u64,
    };
    let mut question = ExtReportRequest {
        report: ReportRequest::new(user_data, vmpl),
        certificates: address,
        certificates_len,
        padding: 0,
    };
    let mut answer = [0; REPORT_RESPONSE_LEN];
    #[expect(unsafe_code, reason = "the driver follows pointers")]
    // SAFETY: `SNP_GET_EXT_REPORT` reads and writes a `snp_ext_report_req`, writes a `snp_report_resp`, and writes to
    // `certificates`, a buffer borrowed for the whole call, as many bytes as `certificates_len` said when it started.
    let sent = unsafe { send::<GET_EXT_REPORT, _, _>(device, &mut question, &mut answer) };
    match sent {
        Ok(()) => Ok(answer),
        Err(failure) => Err(Failure {
            certificates: question.certificates_len,
            ..failure
        }),
    }
}

/// Asks for a key that the firmware derives. `answer` then holds a secret: it is for the caller to wipe.
///
/// # Errors
/// What the kernel, the host and the firmware say.
pub fn get_derived_key(
    device: impl AsFd,
    request: &KeyRequest,
    answer: &mut [u8; KEY_RESPONSE_LEN],
) -> Result<(), Failure> {
    let mut question = *request;
    #[expect(unsafe_code, reason = "the driver follows pointers")]
    // SAFETY: `SNP_GET_DERIVED_KEY` reads a `snp_derived_key_req`, which holds no pointer, and writes a
    // `snp_derived_key_resp`.
    unsafe {
        send::<GET_DERIVED_KEY, _, _>(device, &mut question, answer)
    }
}

impl ReportRequest {
    const fn new(user_data: &[u8; USER_DATA_LEN], vmpl: u32) -> Self {
        Self {
            user_data: *user_data,
            vmpl,
            reserved: [0; 28],
        }
    }
}

/// # Safety
/// `NUMBER` must name a call of this driver whose question is a `Q`, and whose answer has `N` bytes. Whatever address
/// `question` holds must be that of a buffer that outlives the call, of the length stated beside it.
#[expect(unsafe_code, reason = "the driver follows pointers")]
unsafe fn send<const NUMBER: Opcode, Q, const N: usize>(
    device: impl AsFd,
    question: &mut Q,
    answer: &mut [u8; N],
) -> Result<(), Failure> {
    let mut request = GuestRequest {
        message_version: MESSAGE_VERSION,
        padding: [0; 7],
        question: std::ptr::from_mut(question).expose_provenance() as u64,
        answer: answer.as_mut_ptr().expose_provenance() as u64,
        exit_info: 0,
    };
    // SAFETY: every number of this driver takes a `snp_guest_request_ioctl`, which `GuestRequest` is.
    let call = unsafe { Updater::<NUMBER, GuestRequest>::new(&mut request) };
    // SAFETY: both addresses are of buffers borrowed for the whole call; the caller vouches for their layout.
    let sent = unsafe { rustix::ioctl::ioctl(device, call) };
    sent.map_err(|error| Failure {
        error: error.into(),
        exit_info: request.exit_info,
        certificates: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(
            [GET_REPORT, GET_DERIVED_KEY, GET_EXT_REPORT],
            [0xc020_5300, 0xc020_5301, 0xc020_5302]
        );
    }

    #[test]
    fn what_is_no_such_device_says_so() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = get_report(&null, &[0; 64], 0).unwrap_err().error;
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::NOTTY.raw_os_error())
        );
        let error = get_ext_report(&null, &[0; 64], 0, &mut [0; PAGE_LEN])
            .unwrap_err()
            .error;
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::NOTTY.raw_os_error())
        );
        let error = get_derived_key(&null, &KeyRequest::default(), &mut [0; KEY_RESPONSE_LEN])
            .unwrap_err()
            .error;
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::NOTTY.raw_os_error())
        );
    }
}
