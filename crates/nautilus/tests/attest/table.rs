//! Every way to evidence, with every fault: a row for each.

use crate::fake_machine::{Fault, Way};
use crate::relying_party::attest;

/// What a machine with a fault is told.
struct Row {
    fault: Fault,
    /// A part of it.
    says: &'static str,
}

const fn row(fault: Fault, says: &'static str) -> Row {
    Row { fault, says }
}

/// Accepted without a fault; refused with each of these; accepted by nobody who wants no debugger with that one, if
/// the evidence has a word for it.
#[track_caller]
fn check(way: Way, debug: Option<Fault>, rows: &[Row]) {
    let good = way.machine(None);
    let tee = good.tee;
    let good = attest(good);
    let policy = good.is_accepted(tee);
    if let Some(debug) = debug {
        attest(way.machine(Some(debug))).is_rejected_as_debug(&policy);
    }
    for row in rows {
        eprintln!("{way:?}: {:?}", row.fault);
        attest(way.machine(Some(row.fault))).is_refused(row.says);
    }
}

#[test]
fn sev_by_configfs() {
    check(
        Way::SevByConfigfs,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/sys/kernel/config/tsm/report gave evidence for report data",
            ),
            row(
                Fault::Stale,
                "/sys/kernel/config/tsm/report gave stale evidence: generation is 2 after 1 writes of ours",
            ),
            row(Fault::ShortRead, "report needs 1184 bytes, 500 are left"),
            row(Fault::Error, "EIO: the host or the firmware failed"),
        ],
    );
}

#[test]
fn sev_by_its_device() {
    check(
        Way::SevByDevice,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/dev/sev-guest gave evidence for report data",
            ),
            row(Fault::ShortRead, "/dev/sev-guest gave a malformed answer"),
            row(Fault::Error, "/dev/sev-guest"),
        ],
    );
}

#[test]
fn tdx_by_configfs() {
    check(
        Way::TdxByConfigfs,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/sys/kernel/config/tsm/report gave evidence for report data",
            ),
            row(
                Fault::Stale,
                "/sys/kernel/config/tsm/report gave stale evidence: generation is 2 after 1 writes of ours",
            ),
            row(Fault::ShortRead, "TD report needs 584 bytes"),
            row(Fault::Error, "EIO: the host or the firmware failed"),
        ],
    );
}

#[test]
fn tdx_by_a_quoting_service() {
    check(
        Way::TdxByQuotingService,
        Some(Fault::Debug),
        &[
            row(Fault::AnothersReportData, "gave evidence for report data"),
            row(Fault::ShortRead, "malformed answer"),
            row(Fault::Error, "12001"),
        ],
    );
}

#[test]
fn sgx_by_gramine() {
    check(
        Way::SgxByGramine,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/dev/attestation/quote gave evidence for report data bbbb",
            ),
            row(
                Fault::Stale,
                "/dev/attestation/quote gave evidence for report data 0000",
            ),
            row(Fault::ShortRead, "/dev/attestation/quote gave a malformed answer"),
            row(Fault::Error, "/dev/attestation/quote"),
        ],
    );
}

#[test]
fn sgx_by_aesm() {
    check(
        Way::SgxByAesm,
        Some(Fault::Debug),
        &[
            row(Fault::AnothersReportData, "/var/run/aesmd/aesm.socket"),
            row(Fault::Stale, "/var/run/aesmd/aesm.socket"),
            row(Fault::ShortRead, "/var/run/aesmd/aesm.socket"),
            row(Fault::Error, "/var/run/aesmd/aesm.socket"),
        ],
    );
}

#[test]
fn nitro() {
    check(
        Way::Nitro,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/dev/nsm gave evidence for report data bbbb",
            ),
            row(Fault::Stale, "/dev/nsm gave evidence for report data"),
            row(
                Fault::ShortRead,
                "/dev/nsm gave a malformed answer: `document` is cut short",
            ),
            row(Fault::Error, "cannot ask /dev/nsm"),
        ],
    );
}

#[test]
fn optee() {
    check(
        Way::Optee,
        None,
        &[
            row(
                Fault::AnothersReportData,
                "OP-TEE's attestation service at /dev/tee0 gave evidence for report data (unknown",
            ),
            row(
                Fault::Stale,
                "OP-TEE's attestation service at /dev/tee0 gave evidence for report data (unknown",
            ),
            row(Fault::ShortRead, "200 bytes, where it said 416 before"),
            row(Fault::Error, "secure storage is not available"),
        ],
    );
}

#[test]
fn keystone() {
    check(
        Way::Keystone,
        Some(Fault::Debug),
        &[
            row(
                Fault::AnothersReportData,
                "/dev/keystone_enclave gave evidence for report data a5a5",
            ),
            row(
                Fault::Stale,
                "/dev/keystone_enclave gave evidence for report data 0000",
            ),
            row(Fault::ShortRead, "its enclave makes call 2 with 1351 bytes"),
            row(Fault::Error, "/dev/keystone_enclave"),
        ],
    );
}
