//! Attesting and sealing with OP-TEE: attester and sealer as they ship, down to their ioctls and mappings, under a
//! kernel whose device is faked. Its attestation service really signs, and its trusted application nautilus-state is the
//! one that ships, compiled for this machine.

#![cfg(all(feature = "attest", feature = "verify"))]

#[cfg(test)]
#[path = "attest_optee/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "attest_optee/sealing.rs"]
mod sealing;

#[cfg(test)]
mod setting {
    use nautilus_core::{
        AttestError, BootId, BoundUserData, Challenge, Digest32, EventLogHead, NodeId, PublicKey, Purpose,
        ReportData, TeeKind,
    };
    use nautilus_tee::{Platform, PlatformOptions};
    use nautilus_testkit::FakeKernel;
    use nautilus_testkit::device::optee::FakeOptee;

    pub const DEVICE: &str = "/dev/tee0";
    pub const SERVICE: &str = "OP-TEE's attestation service at /dev/tee0";

    pub fn report_data(number: u8) -> ReportData {
        Challenge::from_digest(Digest32([number; 32])).bind(&BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([1; 32]),
            tee: TeeKind::TrustZone,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        })
    }

    pub fn kernel(device: FakeOptee) -> FakeKernel {
        FakeKernel::new().device(DEVICE, device).absent("/dev/tee1")
    }

    pub fn open() -> Result<Platform, AttestError> {
        Platform::open(TeeKind::TrustZone, &PlatformOptions::default())
    }
}
