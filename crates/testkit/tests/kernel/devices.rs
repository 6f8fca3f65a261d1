//! Devices, met by this process and by others.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nautilus_testkit::kernel::{Answer, Caller, Errno, FakeDevice, FakeKernel};

use crate::device::{self, Adder};

#[test]
fn a_device_answers_an_ioctl_through_pointers() {
    FakeKernel::new().device("/dev/adder", Adder::default()).run(|| {
        let file = device::open("/dev/adder");
        assert!(file.metadata().unwrap().file_type().is_char_device());
        assert!(
            Path::new("/dev/adder")
                .metadata()
                .unwrap()
                .file_type()
                .is_char_device()
        );
        assert_eq!(device::add(&file, &[1, 2, 3]), Ok(6));
        // A copy of the descriptor is the same opening of the same device.
        let copy = file.try_clone().unwrap();
        assert_eq!(device::add(&copy, &[4]), Ok(10));
        assert_eq!(device::add(&device::open("/dev/adder"), &[5]), Ok(5));
        assert_eq!(device::refused(&file), Errno::NOTTY);
        assert_eq!(device::add_at(&file, 8), Err(Errno::FAULT));
    });
}

#[test]
fn a_device_that_is_read_and_written() {
    FakeKernel::new().device("/dev/adder", Adder::default()).run(|| {
        let mut file = device::open("/dev/adder");
        assert_eq!(file.write(&[7, 8]).unwrap(), 2);
        let mut byte = [0; 8];
        assert_eq!(file.read(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], 15);
        let error = file.write(&[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
        assert_eq!(
            file.seek(SeekFrom::Start(0)).unwrap_err().kind(),
            ErrorKind::NotSeekable
        );
    });
}

#[test]
fn a_device_may_refuse_to_be_opened() {
    struct Busy;
    impl FakeDevice for Busy {
        fn open(&mut self) -> Result<(), Errno> {
            Err(Errno::BUSY)
        }
        fn ioctl(&mut self, _: &mut Caller<'_>, _: u32, _: u64) -> Answer {
            unreachable!("nobody has it open")
        }
    }
    FakeKernel::new().device("/dev/busy", Busy).run(|| {
        let error = File::open("/dev/busy").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    });
}

#[test]
fn memory_of_a_device_is_shared_both_ways() {
    FakeKernel::new().device("/dev/adder", Adder::default()).run(|| {
        let file = device::open("/dev/adder");
        device::with_shared_memory(&file, |memory| {
            memory[4096] = 5;
            assert_eq!(device::add_mapped(&file), Ok(5));
            assert_eq!(memory[4097], 6, "the device wrote into what is mapped here");
        });
    });
}

#[test]
fn a_device_gives_descriptors_of_its_own() {
    FakeKernel::new().device("/dev/adder", Adder::default()).run(|| {
        let mut given = device::given(&device::open("/dev/adder"));
        given.rewind().unwrap();
        let mut text = String::new();
        given.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the device");
    });
}

#[test]
fn an_ioctl_of_a_program_that_was_started() {
    in_a_program("devices::an_ioctl_of_a_program_that_was_started", || {
        assert_eq!(device::add(&device::open("/dev/adder"), &[20, 22]), Ok(42));
    });
}

#[test]
fn an_ioctl_of_a_program_that_nobody_may_look_into() {
    in_a_program("devices::an_ioctl_of_a_program_that_nobody_may_look_into", || {
        device::hide_this_process();
        let file = device::open("/dev/adder");
        assert_eq!(device::add(&file, &[20, 22]), Ok(42));
        assert_eq!(device::add(&file.try_clone().unwrap(), &[1]), Ok(43));
    });
}

#[test]
fn a_call_that_is_never_answered_ends_with_the_kernel() {
    let (asked, waiting) = mpsc::channel();
    let (answered, answer) = mpsc::channel();
    let device = Adder::telling(asked);
    FakeKernel::new().device("/dev/adder", device).run(move || {
        thread::spawn(move || {
            let file = device::open("/dev/adder");
            answered.send(device::stuck(&file)).unwrap();
            // What is left running keeps its kernel.
            answered.send(device::stuck(&file)).unwrap();
            assert_eq!(device::add(&device::open("/dev/adder"), &[1]), Ok(1));
            answered.send(Errno::INTR).unwrap();
        });
        waiting.recv().unwrap();
    });
    assert_eq!(answer.iter().collect::<Vec<_>>(), [Errno::INTR; 3]);
}

#[test]
fn a_fake_that_panics_fails_the_run() {
    struct Broken;
    impl FakeDevice for Broken {
        fn ioctl(&mut self, _: &mut Caller<'_>, _: u32, _: u64) -> Answer {
            panic!("this fake is broken")
        }
    }
    let run = || {
        FakeKernel::new()
            .device("/dev/broken", Broken)
            .run(|| device::add(&device::open("/dev/broken"), &[1]))
    };
    let panic = std::panic::catch_unwind(run).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"this fake is broken"));
}

#[test]
fn many_descriptors_at_once_and_other_files_beside_them() {
    in_a_program(
        "devices::many_descriptors_at_once_and_other_files_beside_them",
        || {
            let mut files = Vec::new();
            let error = loop {
                match File::options().read(true).open("/dev/adder") {
                    Ok(file) => files.push(file),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
            assert!(files.len() > 32, "{}", files.len());
            for (file, number) in files.iter().zip(1..) {
                assert_eq!(device::add(file, &[number]), Ok(u32::from(number)));
            }
            drop(files);
            // Real files with numbers that fakes have otherwise.
            let many: Vec<File> = (0..300).map(|_| File::open("/dev/zero").unwrap()).collect();
            assert!(many.iter().any(|file| file.as_fd().as_raw_fd() > 192));
            for mut file in many {
                let mut byte = [1];
                file.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [0]);
            }
        },
    );
}

/// Does the work of the named test in another process: the test's program again.
fn in_a_program(test: &str, work: impl FnOnce()) {
    if std::env::var_os("NAUTILUS_TEST_CHILD").is_some() {
        return work();
    }
    let kernel = FakeKernel::new().device("/dev/adder", Adder::default());
    let ended = kernel.run(|| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("NAUTILUS_TEST_CHILD", "1")
            .output()
            .unwrap()
    });
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
}
