//! Trees, files, directories and sockets, and what is left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nautilus_testkit::kernel::FakeKernel;

use crate::device::Adder;
use crate::tree::{Mirror, TREE, names, output};

#[test]
fn programs_that_are_started_have_the_same_kernel() {
    let kernel = FakeKernel::new()
        .device("/dev/adder", Adder::default())
        .tree(TREE, Mirror::default())
        .file("/etc/nautilus-fake", "of no machine\n");
    kernel.run(|| {
        let (done, text, _) = output("stat", &["-c", "%F", "/dev/adder", TREE, "/etc/nautilus-fake"]);
        assert!(done);
        assert_eq!(text, "character special file\ndirectory\nregular file\n");
        let script =
            format!("mkdir {TREE}/a && test -d {TREE}/a && test -c /dev/adder && cat /etc/nautilus-fake");
        assert_eq!(output("sh", &["-c", &script]).1, "of no machine\n");
        fs::write(format!("{TREE}/a/in"), "abc").unwrap();
        assert_eq!(output("cat", &[&format!("{TREE}/a/out")]).1, "cba");
        assert_eq!(output("ls", &[TREE]).1, "a\n");
        assert!(output("rmdir", &[&format!("{TREE}/a")]).0);
        assert_eq!(names(TREE), BTreeSet::new());
    });
}

#[test]
fn a_tree_is_made_written_read_and_removed() {
    FakeKernel::new().tree(TREE, Mirror::default()).run(|| {
        let directory = Path::new(TREE).join("entry");
        fs::create_dir(&directory).unwrap();
        let again = fs::create_dir(&directory).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(TREE), BTreeSet::from(["entry".to_owned()]));
        assert!(directory.is_dir() && directory.join("out").is_file());
        assert!(!directory.join("other").exists());

        let empty = fs::read(directory.join("out")).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::ResourceBusy);
        fs::write(directory.join("in"), "nautilus").unwrap();
        assert_eq!(fs::read(directory.join("out")).unwrap(), b"sulituan");
        let long = fs::write(directory.join("in"), [0; 65]).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::InvalidInput);
        let denied = fs::write(directory.join("out"), "x").unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        let missing = File::open(directory.join("other")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);

        // Contents are made once for each opening.
        let mut out = File::open(directory.join("out")).unwrap();
        let mut two = [0; 2];
        out.read_exact(&mut two).unwrap();
        fs::write(directory.join("in"), "other").unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((two, rest.as_str()), (*b"su", "lituan"));
        out.read_exact_at(&mut two, 1).unwrap();
        assert_eq!(two, *b"ul");
        assert_eq!(fs::read_to_string(directory.join("out")).unwrap(), "rehto");

        fs::remove_dir(&directory).unwrap();
        assert!(!directory.exists());
    });
}

#[test]
fn a_call_that_is_never_answered_ends_with_its_caller() {
    let (asked, waiting) = mpsc::channel();
    let tree = Mirror::telling(asked);
    FakeKernel::new().tree(TREE, tree).run(move || {
        fs::create_dir(format!("{TREE}/a")).unwrap();
        let mut child = Command::new("cat")
            .arg(format!("{TREE}/a/stuck"))
            .spawn()
            .unwrap();
        waiting.recv().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // And the kernel goes on.
        fs::remove_dir(format!("{TREE}/a")).unwrap();
    });
}

#[test]
fn directories_above_a_fake_are_there() {
    FakeKernel::new()
        .tree("/nautilus/of/no/machine", Mirror::default())
        .file("/nautilus/of/file", "x")
        .run(|| {
            assert!(Path::new("/nautilus/of").is_dir());
            let expected = BTreeSet::from(["file".to_owned(), "no".to_owned()]);
            assert_eq!(names("/nautilus/of"), expected);
            assert_eq!(fs::read("/nautilus/of/../of/./file").unwrap(), b"x");
            let below = fs::read("/nautilus/of/file/x").unwrap_err();
            assert_eq!(below.kind(), ErrorKind::NotADirectory);
        });
    assert!(!Path::new("/nautilus").exists());
}

#[test]
fn relative_paths_are_found_too() {
    let kernel = FakeKernel::new().file("/etc/nautilus-fake", "text");
    kernel.run(|| {
        let read = Command::new("cat")
            .arg("nautilus-fake")
            .current_dir("/etc")
            .output();
        assert_eq!(read.unwrap().stdout, b"text");
        let etc = File::open("/etc").unwrap();
        let flags = rustix::fs::OFlags::RDONLY;
        let file = rustix::fs::openat(&etc, "nautilus-fake", flags, rustix::fs::Mode::empty()).unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    });
}

#[test]
fn every_fake_has_a_place_that_a_sandbox_can_name() {
    let kernel = FakeKernel::new()
        .device("/dev/adder", Adder::default())
        .tree(TREE, Mirror::default())
        .file("/etc/nautilus-fake", "text");
    kernel.run(|| {
        for (path, directory) in [("/dev/adder", false), (TREE, true), ("/etc/nautilus-fake", false)] {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            let place = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap());
            assert_eq!(place.metadata().unwrap().is_dir(), directory, "{path}");
            // Not in memory alone, which no rule can be about (`EBADFD` of landlock_add_rule(2)).
            let link = fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd())).unwrap();
            assert!(!link.starts_with("/memfd:"), "{path}: {}", link.display());
        }
    });
}

#[test]
fn a_file_can_be_read_and_not_written() {
    FakeKernel::new().file("/proc/cpuinfo", "no CPU\n").run(|| {
        assert_eq!(fs::read_to_string("/proc/cpuinfo").unwrap(), "no CPU\n");
        assert_eq!(fs::metadata("/proc/cpuinfo").unwrap().len(), 7);
        let error = fs::write("/proc/cpuinfo", "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
    assert_ne!(fs::read_to_string("/proc/cpuinfo").unwrap(), "no CPU\n");
}

#[test]
fn what_is_absent_is_absent_whatever_the_machine_has() {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("file");
    fs::write(&file, "real").unwrap();
    let kernel = FakeKernel::new()
        .absent(there.path().to_str().unwrap())
        .file(there.path().join("fake").to_str().unwrap(), "fake");
    kernel.run(|| {
        assert_eq!(fs::read(&file).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!output("cat", &[file.to_str().unwrap()]).0);
        assert_eq!(fs::read_to_string(there.path().join("fake")).unwrap(), "fake");
    });
    assert_eq!(fs::read_to_string(&file).unwrap(), "real");
}

#[test]
fn other_files_are_the_real_ones() {
    let directory = tempfile::tempdir().unwrap();
    FakeKernel::new().device("/dev/adder", Adder::default()).run(|| {
        let file = directory.path().join("file");
        fs::write(&file, "text").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        fs::create_dir(directory.path().join("below")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        fs::remove_file(&file).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(
            output("sh", &["-c", "echo $((1 + 1)) > /dev/null; echo done"]).1,
            "done\n"
        );
        assert_eq!(
            output("cat", &["/dev/no-such-device"]).2,
            "cat: /dev/no-such-device: No such file or directory\n"
        );
    });
}

#[test]
fn a_socket_is_redirected() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("socket");
    let server = UnixListener::bind(&host).unwrap();
    let service = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.write_all(b"hello").unwrap();
    });
    let kernel = FakeKernel::new()
        .socket("/var/run/aesmd/aesm.socket", &host)
        .absent("/run/other.socket");
    kernel.run(|| {
        let kind = fs::metadata("/var/run/aesmd/aesm.socket").unwrap().file_type();
        assert!(kind.is_socket());
        let mut stream = UnixStream::connect("/var/run/aesmd/aesm.socket").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let error = UnixStream::connect("/run/other.socket").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
    service.join().unwrap();
}

#[test]
fn one_kernel_does_not_know_another() {
    thread::scope(|scope| {
        for count in 0..4_u8 {
            scope.spawn(move || {
                let text = count.to_string();
                let read = FakeKernel::new()
                    .file("/etc/nautilus-count", text.clone())
                    .run(|| output("cat", &["/etc/nautilus-count"]).1);
                assert_eq!(read, text);
            });
        }
    });
}
