//! A device that adds, and a client of it.

#![expect(unsafe_code, reason = "ioctl and mmap, as a driver's client does them")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::ptr;
use std::slice;
use std::sync::mpsc::Sender;

use nautilus_testkit::kernel::{Answer, Caller, Errno, FakeDevice};

const ADD: u32 = 0xc018_a101;
const STUCK: u32 = 0xa102;
const GIVE: u32 = 0xa103;
const SHARE: u32 = 0xa104;
const ADD_MAPPED: u32 = 0xa105;
const SHARED: usize = 8192;

/// Adds what it is sent, for each opening of its own.
#[derive(Default)]
pub struct Adder {
    sums: BTreeMap<u64, u32>,
    last: u8,
    asked: Option<Sender<()>>,
}

/// What [`ADD`] takes: the address and number of bytes to add, and room for the sum.
#[repr(C)]
struct Request {
    bytes: u64,
    count: u64,
    sum: u32,
    rest: u32,
}

impl Adder {
    /// One that tells when it is asked for what it never answers.
    pub fn telling(asked: Sender<()>) -> Self {
        Self {
            asked: Some(asked),
            ..Self::default()
        }
    }
}

impl FakeDevice for Adder {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        match number {
            ADD => {
                let request = caller.read(argument, 16);
                let (words, _) = request.as_chunks::<8>();
                let [bytes, count] = [words[0], words[1]].map(u64::from_ne_bytes);
                let bytes = caller.read(bytes, usize::try_from(count).unwrap().min(4096));
                let sum = self.sums.entry(caller.opening()).or_default();
                *sum += bytes.into_iter().map(u32::from).sum::<u32>();
                caller.write(argument + 16, &sum.to_ne_bytes());
                Answer::Value(0)
            }
            STUCK => {
                if let Some(asked) = self.asked.take() {
                    asked.send(()).unwrap();
                }
                Answer::Never
            }
            GIVE => {
                let flags = rustix::fs::MemfdFlags::CLOEXEC;
                let mut file = File::from(rustix::fs::memfd_create("given", flags).unwrap());
                file.write_all(b"from the device").unwrap();
                Answer::Value(caller.give(OwnedFd::from(file)))
            }
            SHARE => {
                let length = SHARED.try_into().unwrap();
                rustix::fs::ftruncate(caller.device_memory(), length).unwrap();
                Answer::Value(0)
            }
            ADD_MAPPED => {
                let memory = File::from(caller.device_memory().try_clone_to_owned().unwrap());
                let mut byte = [0];
                memory.read_exact_at(&mut byte, 4096).unwrap();
                memory.write_all_at(&[byte[0] + 1], 4097).unwrap();
                Answer::Value(byte[0].into())
            }
            _ => Answer::Error(Errno::NOTTY),
        }
    }

    fn read(&mut self, _length: usize) -> Result<Vec<u8>, Errno> {
        Ok(vec![self.last])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Err(Errno::MSGSIZE);
        }
        self.last = bytes.iter().sum();
        Ok(bytes.len())
    }
}

pub fn open(path: &str) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

pub fn add(file: &File, bytes: &[u8]) -> Result<u32, Errno> {
    let mut request = Request {
        bytes: bytes.as_ptr().addr() as u64,
        count: bytes.len() as u64,
        sum: 0,
        rest: 0,
    };
    ioctl(file, ADD, (&raw mut request).addr())?;
    Ok(request.sum + request.rest)
}

pub fn add_at(file: &File, address: usize) -> Result<i32, Errno> {
    ioctl(file, ADD, address)
}

pub fn refused(file: &File) -> Errno {
    ioctl(file, 0x1234, 0).unwrap_err()
}

pub fn stuck(file: &File) -> Errno {
    ioctl(file, STUCK, 0).unwrap_err()
}

pub fn add_mapped(file: &File) -> Result<i32, Errno> {
    ioctl(file, ADD_MAPPED, 0)
}

pub fn given(file: &File) -> File {
    let number = ioctl(file, GIVE, 0).unwrap();
    // SAFETY: the device has just made this descriptor for us.
    unsafe { File::from_raw_fd(number) }
}

pub fn with_shared_memory(file: &File, work: impl FnOnce(&mut [u8])) {
    ioctl(file, SHARE, 0).unwrap();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            SHARED,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(memory, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    // SAFETY: it is mapped, this long, and the device writes only while it is asked to, through a call that the
    // compiler cannot look into.
    work(unsafe { slice::from_raw_parts_mut(memory.cast(), SHARED) });
    // SAFETY: it was mapped above, and nobody has it any more.
    assert_eq!(unsafe { libc::munmap(memory, SHARED) }, 0);
}

/// Nobody but root may look into this process from now on.
pub fn hide_this_process() {
    // SAFETY: the call takes no pointer.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }, 0);
}

fn ioctl(file: &File, number: u32, argument: usize) -> Result<i32, Errno> {
    // SAFETY: the device writes at most into what `argument` points to, as its test gave it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), number.into(), argument) };
    if result < 0 {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap())
    } else {
        Ok(result)
    }
}
