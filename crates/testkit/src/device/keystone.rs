//! `/dev/keystone_enclave` of a machine with Keystone: its driver, its security monitor with keys that really sign, and
//! in the place of a RISC-V processor a script that does what nautilus-eapp does.
//!
//! Structures are those of `keystone_user.h`, written out here on their own.

#![expect(clippy::expect_used, reason = "a fake that cannot do its part stops the test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::ftruncate;

use crate::kernel::{Answer, Caller, Errno, FakeDevice};
use crate::vendor::keystone::{KeystoneVendor, REPORT_LEN, enclave_hash};

const CREATE: u32 = 0x8050_a400;
const DESTROY: u32 = 0x4050_a401;
const RUN: u32 = 0x8018_a404;
const RESUME: u32 = 0x8018_a405;
const FINALIZE: u32 = 0x8050_a406;
const UTM_INIT: u32 = 0x8050_a407;

const PAGE: u64 = 4096;
/// Where the driver found room for enclaves.
const PRIVATE_AT: u64 = 0x8800_0000;
const SHARED_AT: u64 = 0x9000_0000;

const ENDED: u64 = 0;
const INTERRUPTED: u64 = 100_002;
const NOT_RUNNABLE: u64 = 100_004;
const NOT_RESUMABLE: u64 = 100_010;
const EDGE_CALL: u64 = 100_011;

/// How device, security monitor or enclave misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The report is over somebody else's data.
    AnothersReportData,
    /// The report is the one before.
    Stale,
    /// The enclave hands out fewer bytes than a report has.
    ShortRead,
    /// The report says that it has more data than fits.
    DataLength(u64),
    /// The security monitor refuses to run the enclave.
    Monitor(u64),
    /// The enclave ends with this, without a report.
    Ends(u64),
    /// It says where its argument is, and that is not in the shared memory.
    Outside,
    /// It asks for something that nobody knows.
    UnknownCall,
    /// It hands out its report twice.
    TwoReports,
    /// It is interrupted again and again.
    Interrupted,
    /// It is never done.
    Never,
    /// The driver refuses to make one.
    Kernel(Errno),
    /// The driver makes one that is smaller than was asked for.
    TooSmall,
}

/// The device.
pub struct FakeKeystone {
    vendor: KeystoneVendor,
    fault: Option<Fault>,
    enclaves: BTreeMap<u64, Enclave>,
    alive: Alive,
    /// What the security monitor is asked to sign; kept for [`Fault::Stale`].
    previous: Vec<u8>,
}

/// How many enclaves there are.
#[derive(Clone, Debug, Default)]
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    /// Now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The enclave of one opened device.
#[derive(Default)]
struct Enclave {
    private_size: u64,
    shared_size: u64,
    hash: Option<[u8; 64]>,
    step: Step,
}

/// How far the enclave has come: what it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    NotStarted,
    Interrupted,
    ReportData,
    ReportTaken {
        again: bool,
    },
    Over,
}

/// `struct keystone_ioctl_create_enclave`.
struct Terms([u64; 10]);

impl Terms {
    const ENCLAVE: usize = 0;
    const MIN_PAGES: usize = 1;
    const SHARED_SIZE: usize = 2;
    const RUNTIME: usize = 3;
    const APPLICATION: usize = 4;
    const FREE: usize = 5;
    const PRIVATE_ADDRESS: usize = 7;
    const PRIVATE_SIZE: usize = 8;
    const SHARED_ADDRESS: usize = 9;

    fn read(caller: &Caller<'_>, argument: u64) -> Self {
        let bytes = caller.read(argument, 80);
        let mut terms = [0; 10];
        for (term, bytes) in terms.iter_mut().zip(bytes.chunks_exact(8)) {
            *term = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        }
        Self(terms)
    }

    fn write(&self, caller: &Caller<'_>, argument: u64) {
        caller.write(argument, self.0.map(u64::to_ne_bytes).as_flattened());
    }
}

impl FakeKeystone {
    /// A machine whose security monitor signs with these keys.
    pub fn new(vendor: KeystoneVendor) -> Self {
        Self {
            vendor,
            fault: None,
            enclaves: BTreeMap::new(),
            alive: Alive::default(),
            previous: vec![0; 64],
        }
    }

    /// That misbehaves.
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// How many enclaves there are, from now on.
    pub fn alive(&self) -> Alive {
        self.alive.clone()
    }

    fn create(&mut self, caller: &Caller<'_>, terms: &mut Terms) -> Result<(), Errno> {
        if let Some(Fault::Kernel(errno)) = self.fault {
            return Err(errno);
        }
        let opening = caller.opening();
        let pages = terms.0[Terms::MIN_PAGES].next_power_of_two();
        let pages = if self.fault == Some(Fault::TooSmall) {
            pages / 4
        } else {
            pages
        };
        let size = pages * PAGE;
        ftruncate(caller.device_memory(), size).expect("memory can grow");
        terms.0[Terms::ENCLAVE] = opening;
        terms.0[Terms::PRIVATE_ADDRESS] = PRIVATE_AT;
        terms.0[Terms::PRIVATE_SIZE] = size;
        let enclave = Enclave {
            private_size: size,
            ..Enclave::default()
        };
        if self.enclaves.insert(opening, enclave).is_none() {
            self.alive.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// What the security monitor does when an enclave is created: it measures what lies between the addresses.
    fn finalize(enclave: &mut Enclave, caller: &Caller<'_>, terms: &Terms) -> Result<(), Errno> {
        let offset = |index: usize| terms.0[index].checked_sub(PRIVATE_AT).ok_or(Errno::INVAL);
        let bounds = [
            0,
            offset(Terms::RUNTIME)?,
            offset(Terms::APPLICATION)?,
            offset(Terms::FREE)?,
        ];
        let ordered = bounds.is_sorted() && bounds[3] <= enclave.private_size;
        let on_pages = bounds.iter().all(|bound| bound.is_multiple_of(PAGE));
        if !ordered || !on_pages || enclave.shared_size == 0 {
            return Err(Errno::INVAL);
        }
        let memory = memory_of(caller);
        let part = |index: usize| read(&memory, bounds[index], bounds[index + 1] - bounds[index]);
        let images = [part(0), part(1), part(2)];
        enclave.hash = Some(enclave_hash(images.each_ref().map(Vec::as_slice)));
        // From here on the device's offset 0 is the shared memory, and the host sees no page of the enclave.
        ftruncate(caller.device_memory(), 0).expect("memory can shrink");
        ftruncate(caller.device_memory(), enclave.shared_size).expect("memory can grow");
        Ok(())
    }

    /// Goes on until the enclave stops, and says why it did.
    fn go(&mut self, caller: &Caller<'_>, number: u32) -> Option<(u64, u64)> {
        let fault = self.fault;
        let Some(enclave) = self.enclaves.get_mut(&caller.opening()) else {
            return Some((100_001, 0));
        };
        let Some(hash) = enclave.hash else {
            return Some((NOT_RUNNABLE, 0));
        };
        let memory = memory_of(caller);
        let shared = enclave.shared_size;
        let starts = enclave.step == Step::NotStarted;
        if starts != (number == RUN) {
            return Some((if starts { NOT_RESUMABLE } else { NOT_RUNNABLE }, 0));
        }
        match fault {
            Some(Fault::Never) => return None,
            Some(Fault::Interrupted) => {
                enclave.step = Step::Interrupted;
                return Some((INTERRUPTED, 0));
            }
            Some(Fault::Monitor(error)) => return Some((error, 0)),
            Some(Fault::Ends(value)) => return Some((ENDED, value)),
            _ => {}
        }
        let (step, stopped) = match enclave.step {
            // A timer's tick comes before anything else.
            Step::NotStarted => (Step::Interrupted, (INTERRUPTED, 0)),
            Step::Interrupted => {
                let (id, offset, length) = match fault {
                    Some(Fault::Outside) => (1, shared, 1),
                    Some(Fault::UnknownCall) => (11, 0, 0),
                    _ => (1, 0, 0),
                };
                call(&memory, id, offset, length);
                (Step::ReportData, (EDGE_CALL, 0))
            }
            Step::ReportData => match answer(&memory, shared) {
                // Eyrie takes as many bytes as the application has room for.
                Some(at) => {
                    let data = self.data(read(&memory, at, 64));
                    let report = self.vendor.report(&hash, &data);
                    (
                        Step::ReportTaken {
                            again: fault == Some(Fault::TwoReports),
                        },
                        self.hand_out(&memory, report),
                    )
                }
                None => (Step::Over, (ENDED, 1)),
            },
            Step::ReportTaken { again } => match answer(&memory, shared) {
                Some(_) if again => {
                    let report = self.vendor.report(&hash, &[0; 64]);
                    (Step::ReportTaken { again: false }, self.hand_out(&memory, report))
                }
                Some(_) => (Step::Over, (ENDED, 0)),
                None => (Step::Over, (ENDED, 3)),
            },
            Step::Over => (Step::Over, (NOT_RESUMABLE, 0)),
        };
        if let Some(enclave) = self.enclaves.get_mut(&caller.opening()) {
            enclave.step = step;
        }
        Some(stopped)
    }

    /// What the report is made over.
    fn data(&mut self, given: Vec<u8>) -> Vec<u8> {
        match self.fault {
            Some(Fault::AnothersReportData) => vec![0xa5; 64],
            Some(Fault::Stale) => std::mem::replace(&mut self.previous, given),
            _ => given,
        }
    }

    fn hand_out(&self, memory: &File, mut report: [u8; REPORT_LEN]) -> (u64, u64) {
        let length = match self.fault {
            Some(Fault::ShortRead) => REPORT_LEN as u64 - 1,
            _ => REPORT_LEN as u64,
        };
        if let Some(Fault::DataLength(length)) = self.fault {
            report[64..72].copy_from_slice(&length.to_le_bytes());
        }
        memory.write_all_at(&report, 48).expect("memory can be written");
        call(memory, 2, 48, length);
        (EDGE_CALL, 0)
    }

    fn destroy(&mut self, caller: &Caller<'_>) -> Result<(), Errno> {
        self.enclaves.remove(&caller.opening()).ok_or(Errno::INVAL)?;
        self.alive.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

impl FakeDevice for FakeKeystone {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        if number == RUN || number == RESUME {
            return match self.go(caller, number) {
                None => Answer::Never,
                Some((error, value)) => {
                    caller.write(argument + 8, [error, value].map(u64::to_ne_bytes).as_flattened());
                    Answer::Value(0)
                }
            };
        }
        let mut terms = Terms::read(caller, argument);
        let result = match number {
            CREATE => self.create(caller, &mut terms),
            DESTROY => self.destroy(caller),
            UTM_INIT | FINALIZE => match self.enclaves.get_mut(&caller.opening()) {
                None => Err(Errno::INVAL),
                Some(enclave) if number == FINALIZE => Self::finalize(enclave, caller, &terms),
                Some(enclave) => {
                    let pages = terms.0[Terms::SHARED_SIZE] / PAGE;
                    let sound = pages >= 2 && pages.is_power_of_two();
                    enclave.shared_size = terms.0[Terms::SHARED_SIZE];
                    terms.0[Terms::SHARED_ADDRESS] = SHARED_AT;
                    if sound { Ok(()) } else { Err(Errno::INVAL) }
                }
            },
            _ => Err(Errno::NOSYS),
        };
        match result {
            Ok(()) => {
                terms.write(caller, argument);
                Answer::Value(0)
            }
            Err(errno) => Answer::Error(errno),
        }
    }
}

/// Writes the fields of an edge call (`struct edge_call`).
fn call(memory: &File, id: u64, offset: u64, length: u64) {
    let fields = [id, offset, length].map(u64::to_le_bytes);
    memory
        .write_all_at(fields.as_flattened(), 0)
        .expect("memory can be written");
}

/// Where the host's answer is, if its status is good and it is inside (`edge_call_ret_ptr`).
fn answer(memory: &File, shared: u64) -> Option<u64> {
    let fields = read(memory, 24, 24);
    let [status, offset, length] =
        [0, 8, 16].map(|at| u64::from_le_bytes(fields[at..at + 8].try_into().expect("eight bytes")));
    let inside = offset.checked_add(length).is_some_and(|end| end <= shared);
    (status == 0 && inside).then_some(offset)
}

fn memory_of(caller: &Caller<'_>) -> File {
    let memory = caller.device_memory().try_clone_to_owned();
    File::from(memory.expect("a descriptor can be copied"))
}

fn read(memory: &File, at: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("tests use little memory")];
    memory.read_exact_at(&mut bytes, at).expect("memory can be read");
    bytes
}
