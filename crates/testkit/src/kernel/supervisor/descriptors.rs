//! Calls on descriptors that fakes answer for.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::Answer;
use super::super::call::{Operation, StatForm};
use super::super::caller::Caller;
use super::super::filter::OURS;
use super::super::listener::Slot;
use super::super::namespace::Place;
use super::super::opened::Owner;
use super::{Answered, Reply, Supervisor};

/// More than a fake has to say at once.
const MAX_TRANSFER: u64 = 16 << 20;
/// Fake kernels in one process share its numbers: what one finds free, no other may take.
static GIVING: Mutex<()> = Mutex::new(());
/// `IOV_MAX`, <linux/uio.h>.
const MAX_BUFFERS: u64 = 1024;

impl Supervisor {
    /// Gives the caller a descriptor of a newly opened file.
    pub(super) fn give(&mut self, id: u64, process: u32, owner: Owner, flags: OFlags) -> Answered {
        let opened = self.opened.open(owner, flags)?;
        self.give_number(id, process, opened, 0, flags.contains(OFlags::CLOEXEC))
    }

    pub(super) fn operate(
        &mut self,
        id: u64,
        process: u32,
        descriptor: u32,
        operation: Operation,
    ) -> Answered {
        let Some(opened) = self.processes.opened(process, descriptor) else {
            return Ok(Reply::Pass);
        };
        match operation {
            Operation::Ioctl { number, argument } => self.ioctl(id, process, opened, number, argument),
            Operation::Read {
                buffer,
                length,
                offset,
            } => {
                let bytes = self.read_opened(opened, length, offset)?;
                self.processes.write(process, buffer, &bytes)?;
                count(bytes.len())
            }
            Operation::Write { buffer, length } => {
                let bytes = self.fetch(process, buffer, length)?;
                self.write_opened(opened, &bytes)
            }
            Operation::ReadMany { buffers, count: many } => {
                let buffers = self.buffers(process, buffers, many)?;
                let length = buffers
                    .iter()
                    .fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
                let bytes = self.read_opened(opened, length, None)?;
                let mut rest = bytes.as_slice();
                for (address, length) in buffers {
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
                    let (these, others) = rest.split_at(length);
                    self.processes.write(process, address, these)?;
                    rest = others;
                }
                count(bytes.len())
            }
            Operation::WriteMany { buffers, count: many } => {
                let mut bytes = Vec::new();
                for (address, length) in self.buffers(process, buffers, many)? {
                    bytes.extend(self.fetch(process, address, length)?);
                }
                self.write_opened(opened, &bytes)
            }
            Operation::Seek { offset, whence } => {
                let file = self.opened.find(opened).ok_or(Errno::BADF)?;
                file.seek(offset, whence).map(Reply::Value)
            }
            Operation::Stat { buffer } => self.stat_opened(process, descriptor, StatForm::Stat, buffer),
            Operation::Duplicate {
                minimum,
                close_on_exec,
            } => self.give_number(id, process, opened, minimum, close_on_exec),
            Operation::Close => {
                self.processes.close(process, descriptor);
                Ok(Reply::Pass)
            }
            Operation::Harmless => Ok(Reply::Pass),
            Operation::Unknown { number } => panic!(
                "the program made system call {number} on a fake file, which the fake kernel does not do: a fake file \
                 cannot be made a standard stream, sent, spliced or read at many offsets"
            ),
        }
    }

    /// `fstat`, in either form.
    pub(super) fn stat_opened(
        &mut self,
        process: u32,
        descriptor: u32,
        form: StatForm,
        buffer: u64,
    ) -> Answered {
        let Some(opened) = self.processes.opened(process, descriptor) else {
            return Ok(Reply::Pass);
        };
        let file = self.opened.find(opened).ok_or(Errno::BADF)?;
        let place = match file.owner.clone() {
            Owner::Device(path) => Place::Device(path),
            Owner::Tree { root, path } => Place::Tree { root, path },
        };
        let metadata = self.metadata(&place)?.ok_or(Errno::BADF)?;
        self.processes.write(process, buffer, &metadata.bytes(form))?;
        Ok(Reply::Value(0))
    }

    fn ioctl(&mut self, id: u64, process: u32, opened: u64, number: u32, argument: u64) -> Answered {
        let file = self.opened.find(opened).ok_or(Errno::BADF)?;
        let Owner::Device(path) = &file.owner else {
            return Err(Errno::NOTTY);
        };
        let device = self.namespace.device(path).ok_or(Errno::NXIO)?;
        let mut caller = Caller {
            listener: &self.listener,
            id,
            process,
            processes: RefCell::new(&mut self.processes),
            opened,
            memory: file.memory.as_fd(),
            fault: Cell::new(None),
        };
        let answer = device.ioctl(&mut caller, number, argument);
        if let Some(fault) = caller.fault.get() {
            return Err(fault);
        }
        match answer {
            Answer::Value(value) => Ok(Reply::Value(value.into())),
            Answer::Error(error) => Err(error),
            Answer::Never => Ok(Reply::Never),
        }
    }

    fn read_opened(&mut self, opened: u64, length: u64, offset: Option<u64>) -> Result<Vec<u8>, Errno> {
        let length = usize::try_from(length.min(MAX_TRANSFER)).map_err(|_| Errno::INVAL)?;
        let file = self.opened.find(opened).ok_or(Errno::BADF)?;
        if !file.readable {
            return Err(Errno::BADF);
        }
        match &file.owner {
            Owner::Device(path) => {
                let device = self.namespace.device(path).ok_or(Errno::NXIO)?;
                let bytes = device.read(length)?;
                assert!(
                    bytes.len() <= length,
                    "a fake device gave more than it was asked for"
                );
                Ok(bytes)
            }
            Owner::Tree { root, path } => {
                let contents = match file.contents.take() {
                    Some(contents) => contents,
                    None => self.namespace.tree(root).ok_or(Errno::NXIO)?.read(path)?,
                };
                Ok(file.take(contents, length, offset))
            }
        }
    }

    fn write_opened(&mut self, opened: u64, bytes: &[u8]) -> Answered {
        let file = self.opened.find(opened).ok_or(Errno::BADF)?;
        if !file.writable {
            return Err(Errno::BADF);
        }
        match &file.owner {
            Owner::Device(path) => {
                let device = self.namespace.device(path).ok_or(Errno::NXIO)?;
                count(device.write(bytes)?)
            }
            Owner::Tree { root, path } => {
                let tree = self.namespace.tree(root).ok_or(Errno::NXIO)?;
                tree.write(path, bytes)?;
                count(bytes.len())
            }
        }
    }

    /// A further number for an opened file, for the answer.
    fn give_number(
        &mut self,
        id: u64,
        process: u32,
        opened: u64,
        minimum: u32,
        close_on_exec: bool,
    ) -> Answered {
        let _alone = GIVING.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.processes.free_number(process, minimum)?;
        let file = self.opened.find(opened).ok_or(Errno::BADF)?;
        let memory = file.memory.as_fd();
        match self
            .listener
            .answer_with_file(id, memory, Slot::Exactly(number), close_on_exec)
        {
            Ok(_) => {
                self.processes.give(process, number, opened);
                Ok(Reply::Done)
            }
            // Killed meanwhile.
            Err(_) if !self.listener.is_waiting(id) => Ok(Reply::Done),
            Err(error) => panic!(
                "cannot give process {process} descriptor {number}: {error}: fake files need the numbers {OURS:?}, \
                 so the limit on open files (RLIMIT_NOFILE) has to be above them"
            ),
        }
    }

    fn fetch(&mut self, process: u32, address: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let length = usize::try_from(length.min(MAX_TRANSFER)).map_err(|_| Errno::INVAL)?;
        let mut bytes = vec![0; length];
        self.processes.read(process, address, &mut bytes)?;
        Ok(bytes)
    }

    /// The addresses and lengths of an array of `struct iovec`.
    fn buffers(&mut self, process: u32, address: u64, count: u64) -> Result<Vec<(u64, u64)>, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::INVAL);
        }
        let bytes = self.fetch(process, address, count * 16)?;
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let (pairs, _) = words.as_chunks::<2>();
        Ok(pairs.iter().map(|&[address, length]| (address, length)).collect())
    }
}

fn count(bytes: usize) -> Answered {
    i64::try_from(bytes).map(Reply::Value).map_err(|_| Errno::INVAL)
}
