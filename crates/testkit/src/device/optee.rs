//! `/dev/tee0` of a machine with OP-TEE: its `attestation` service with a key that really signs, and the trusted
//! application nautilus-state as it ships.
//!
//! Layouts are those of `include/uapi/linux/tee.h`, written out here on their own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fake that cannot do its part stops the test"
)]

mod trusted_application;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::kernel::{Answer, Caller, Errno, FakeDevice};
use crate::vendor::optee::OpteeKey;

pub use trusted_application::{Build, Storage, TrustedApplication};

const VERSION: u32 = 0x800c_a400;
const SHM_ALLOC: u32 = 0xc010_a401;
const OPEN_SESSION: u32 = 0x8010_a402;
const INVOKE: u32 = 0x8010_a403;
const CLOSE_SESSION: u32 = 0x8004_a405;

const ATTESTATION: [u8; 16] = [
    0x39, 0x80, 0x08, 0x61, 0x18, 0x2a, 0x47, 0x20, 0x9b, 0x67, 0x2b, 0xcd, 0x62, 0x2b, 0xc0, 0xb5,
];
const STATE: [u8; 16] = [
    0x26, 0x44, 0xc7, 0xb2, 0xe1, 0x7b, 0x4a, 0x36, 0x97, 0x54, 0xfc, 0x5c, 0x95, 0x02, 0xfc, 0x6a,
];

const SHORT_BUFFER: u32 = 0xffff_0010;
const BAD_PARAMETERS: u32 = 0xffff_0006;
const ACCESS_DENIED: u32 = 0xffff_0001;
const ITEM_NOT_FOUND: u32 = 0xffff_0008;
const ORIGIN_TEE: u32 = 3;
const ORIGIN_TRUSTED_APPLICATION: u32 = 4;

/// What OP-TEE's memory hashes to here.
pub const TEE_MEMORY: [u8; 32] = *b"the memory of OP-TEE, as it runs";

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It signs for somebody else's nonce.
    AnothersReportData,
    /// It gives the answer to the question before.
    Stale,
    /// It gives one key, and signs with another.
    AnotherKey,
    /// It gives fewer bytes than it said it would.
    ShortRead,
    /// It says that it gives more bytes than a signature has.
    TooLong,
    /// It says that its modulus has as many bytes.
    ModulusOf(u64),
    /// The service refuses with this.
    Error(u32),
    /// The driver refuses with this.
    Kernel(Errno),
    /// A command is never answered, as without tee-supplicant.
    Never,
    /// The service was not built in.
    NoService,
    /// The device is another TEE's.
    NotOptee,
    /// The driver is too old to take references to no memory.
    OldDriver,
}

/// OP-TEE and its driver.
pub struct FakeOptee {
    key: OpteeKey,
    fault: Option<Fault>,
    state: Option<TrustedApplication>,
    memory: BTreeMap<i32, (File, u64)>,
    sessions: BTreeMap<u32, [u8; 16]>,
    previous: Vec<u8>,
    commands: Commands,
}

/// The commands that were invoked, as `(service is nautilus-state, function)`.
#[derive(Clone, Debug, Default)]
pub struct Commands(Arc<Mutex<Vec<(bool, u32)>>>);

impl Commands {
    /// In the order in which they came.
    pub fn so_far(&self) -> Vec<(bool, u32)> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

/// A parameter of a call.
#[derive(Clone, Copy)]
struct Parameter {
    kind: u64,
    a: u64,
    b: u64,
    c: u64,
}

impl FakeOptee {
    /// A device with this key.
    pub fn new(key: OpteeKey) -> Self {
        Self {
            key,
            fault: None,
            state: None,
            memory: BTreeMap::new(),
            sessions: BTreeMap::new(),
            previous: vec![0; 64],
            commands: Commands::default(),
        }
    }

    /// That misbehaves.
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// That has nautilus-state installed.
    pub fn with_state(mut self, state: TrustedApplication) -> Self {
        self.state = Some(state);
        self
    }

    /// What is asked of it.
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    fn allocate(&mut self, caller: &Caller<'_>, argument: u64) -> Answer {
        let request = caller.read(argument, 16);
        let size = u64_at(&request, 0);
        if size == 0 || size > 1024 * 1024 {
            return Answer::Error(Errno::INVAL);
        }
        let memory = memfd_create("tee", MemfdFlags::CLOEXEC).expect("memory can be made");
        ftruncate(&memory, size.next_multiple_of(4096)).expect("memory can grow");
        let ours = memory.try_clone().expect("a descriptor can be copied");
        let id = i32::try_from(self.memory.len() + 1).expect("tests allocate little");
        self.memory.insert(id, (File::from(ours), size));
        caller.write(argument + 12, &id.to_ne_bytes());
        Answer::Value(caller.give(memory))
    }

    fn open_session(&mut self, caller: &Caller<'_>, argument: u64) -> Answer {
        let Some((address, mut call)) = call_of(caller, argument, 56) else {
            return Answer::Error(Errno::INVAL);
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&call[..16]);
        let installed = match uuid {
            ATTESTATION => self.fault != Some(Fault::NoService),
            STATE => self.state.is_some(),
            _ => false,
        };
        if installed {
            let session = self.sessions.keys().last().map_or(1, |last| last + 1);
            self.sessions.insert(session, uuid);
            put_u32(&mut call, 40, session);
        }
        put_u32(&mut call, 44, if installed { 0 } else { ITEM_NOT_FOUND });
        put_u32(&mut call, 48, ORIGIN_TEE);
        caller.write(address, &call);
        Answer::Value(0)
    }

    fn invoke(&mut self, caller: &Caller<'_>, argument: u64) -> Answer {
        let Some((address, mut call)) = call_of(caller, argument, 24) else {
            return Answer::Error(Errno::INVAL);
        };
        let (function, session) = (u32_at(&call, 0), u32_at(&call, 4));
        let Some(uuid) = self.sessions.get(&session).copied() else {
            return Answer::Error(Errno::INVAL);
        };
        let mut parameters = [0, 1, 2, 3].map(|index| {
            let at = 24 + index * 32;
            Parameter {
                kind: u64_at(&call, at),
                a: u64_at(&call, at + 8),
                b: u64_at(&call, at + 16),
                c: u64_at(&call, at + 24),
            }
        });
        if !parameters.iter().all(|parameter| self.is_sound(parameter)) {
            return Answer::Error(Errno::INVAL);
        }
        self.commands
            .0
            .lock()
            .expect("nobody panics with it")
            .push((uuid == STATE, function));
        let code = match (uuid, self.fault) {
            (_, Some(Fault::Never)) => return Answer::Never,
            (_, Some(Fault::Kernel(errno))) => return Answer::Error(errno),
            (ATTESTATION, Some(Fault::Error(code))) => code,
            (ATTESTATION, _) => self.attestation(function, &mut parameters),
            _ => self.application(function, &mut parameters),
        };
        put_u32(&mut call, 12, code);
        put_u32(&mut call, 16, ORIGIN_TRUSTED_APPLICATION);
        for (index, parameter) in parameters.iter().enumerate() {
            let at = 24 + index * 32;
            call[at + 8..at + 16].copy_from_slice(&parameter.a.to_ne_bytes());
            call[at + 16..at + 24].copy_from_slice(&parameter.b.to_ne_bytes());
        }
        caller.write(address, &call);
        Answer::Value(0)
    }

    /// The driver's own checks (`params_from_user` of drivers/tee/tee_core.c).
    fn is_sound(&self, parameter: &Parameter) -> bool {
        match parameter.kind {
            0 | 2 => true,
            5 | 6 if parameter.c == u64::MAX => true,
            5 | 6 => i32::try_from(parameter.c)
                .ok()
                .and_then(|id| self.memory.get(&id))
                .is_some_and(|(_, size)| {
                    parameter
                        .a
                        .checked_add(parameter.b)
                        .is_some_and(|end| end <= *size)
                }),
            _ => false,
        }
    }

    /// `core/pta/attestation.c` of OP-TEE.
    fn attestation(&mut self, function: u32, parameters: &mut [Parameter; 4]) -> u32 {
        let kinds = parameters.map(|parameter| parameter.kind);
        match (function, kinds) {
            (0, [6, 6, 2, 0]) => {
                let (exponent, mut modulus) = self.key.public();
                if let Some(Fault::ModulusOf(length)) = self.fault {
                    modulus = vec![0xff; usize::try_from(length).unwrap_or(0).min(4096)];
                }
                parameters[2].a = 0x7041_4930;
                let first = self.give(&mut parameters[0], &exponent);
                let second = self.give(&mut parameters[1], &modulus);
                if let Some(Fault::ModulusOf(length)) = self.fault {
                    parameters[1].b = length;
                }
                first.max(second)
            }
            (2, _) => ACCESS_DENIED,
            (3, [5, 6, 0, 0]) => {
                let nonce = self.contents(&parameters[0]);
                if nonce.is_empty() {
                    return BAD_PARAMETERS;
                }
                let length = self.key.output_len();
                match (self.fault, parameters[1].b) {
                    (Some(Fault::TooLong), 0) => {
                        parameters[1].b = u64::MAX;
                        SHORT_BUFFER
                    }
                    // As the service: lengths first, and nothing is signed that does not fit.
                    (_, room) if room < length => {
                        parameters[1].b = length;
                        SHORT_BUFFER
                    }
                    (Some(Fault::ShortRead), _) => {
                        let output = self.sign(nonce);
                        self.give(&mut parameters[1], &output[..200])
                    }
                    _ => {
                        let output = self.sign(nonce.clone());
                        let given = self.give(&mut parameters[1], &output);
                        if given == trusted_application::SUCCESS {
                            self.previous = nonce;
                        }
                        given
                    }
                }
            }
            _ => BAD_PARAMETERS,
        }
    }

    fn sign(&self, nonce: Vec<u8>) -> Vec<u8> {
        match self.fault {
            Some(Fault::AnothersReportData) => self.key.output(&[0xa5; 64], &TEE_MEMORY),
            Some(Fault::AnotherKey) => OpteeKey::device_b().output(&nonce, &TEE_MEMORY),
            Some(Fault::Stale) => self.key.output(&self.previous, &TEE_MEMORY),
            _ => self.key.output(&nonce, &TEE_MEMORY),
        }
    }

    /// Hands the command to the trusted application, and takes over what it left in the parameters.
    fn application(&mut self, function: u32, parameters: &mut [Parameter; 4]) -> u32 {
        let inputs = parameters.map(|parameter| match parameter.kind {
            5 => self.contents(&parameter),
            _ => Vec::new(),
        });
        let kinds = parameters.map(|parameter| parameter.kind);
        let room = parameters.map(|parameter| if parameter.kind == 6 { parameter.b } else { 0 });
        let Some(state) = &mut self.state else {
            return ITEM_NOT_FOUND;
        };
        let (code, outputs) = state.invoke(function, kinds, &inputs, room);
        for (parameter, output) in parameters.iter_mut().zip(outputs) {
            match parameter.kind {
                2 => (parameter.a, parameter.b) = output.value,
                6 => {
                    let taken = usize::try_from(output.size.min(parameter.b)).expect("lengths fit");
                    self.fill(parameter, &output.bytes[..taken]);
                    parameter.b = output.size;
                }
                _ => {}
            }
        }
        code
    }

    fn contents(&self, parameter: &Parameter) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(parameter.b).expect("lengths fit")];
        if let Some((memory, _)) = self.memory_of(parameter) {
            memory
                .read_exact_at(&mut bytes, parameter.a)
                .expect("memory can be read");
        }
        bytes
    }

    fn give(&self, parameter: &mut Parameter, bytes: &[u8]) -> u32 {
        let length = bytes.len() as u64;
        let fits = parameter.b >= length;
        if fits {
            self.fill(parameter, bytes);
        }
        parameter.b = length;
        if fits { 0 } else { SHORT_BUFFER }
    }

    fn fill(&self, parameter: &Parameter, bytes: &[u8]) {
        if let Some((memory, _)) = self.memory_of(parameter) {
            memory
                .write_all_at(bytes, parameter.a)
                .expect("memory can be written");
        }
    }

    fn memory_of(&self, parameter: &Parameter) -> Option<&(File, u64)> {
        self.memory.get(&i32::try_from(parameter.c).ok()?)
    }
}

impl FakeDevice for FakeOptee {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        match number {
            VERSION => {
                let implementation: u32 = if self.fault == Some(Fault::NotOptee) { 2 } else { 1 };
                let capabilities: u32 = if self.fault == Some(Fault::OldDriver) {
                    5
                } else {
                    0xd
                };
                let numbers = [implementation, 1, capabilities].map(u32::to_ne_bytes);
                caller.write(argument, numbers.as_flattened());
                Answer::Value(0)
            }
            SHM_ALLOC => self.allocate(caller, argument),
            OPEN_SESSION => self.open_session(caller, argument),
            INVOKE => self.invoke(caller, argument),
            CLOSE_SESSION => {
                let session = u32_at(&caller.read(argument, 4), 0);
                match self.sessions.remove(&session) {
                    Some(_) => Answer::Value(0),
                    None => Answer::Error(Errno::INVAL),
                }
            }
            _ => Answer::Error(Errno::INVAL),
        }
    }
}

/// The buffer of a call, if it is as long as its header and its parameters.
fn call_of(caller: &Caller<'_>, argument: u64, header: usize) -> Option<(u64, Vec<u8>)> {
    let buffer = caller.read(argument, 16);
    let (address, length) = (u64_at(&buffer, 0), usize::try_from(u64_at(&buffer, 8)).ok()?);
    if !(header..=4096).contains(&length) {
        return None;
    }
    let call = caller.read(address, length);
    let parameters = u32_at(&call, header - 4) as usize;
    // The kernel takes other numbers of parameters; the GlobalPlatform API has four.
    (parameters == 4 && length == header + 32 * parameters).then_some((address, call))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}
