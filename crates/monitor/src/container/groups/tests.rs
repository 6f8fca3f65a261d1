use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const ID: &str = "5f1e0c7ad3b24f7c9a0e6d8b1c2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b";
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
const V1: &str = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  38 31 0:35 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
                  39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
const STAT_V2: &str = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\ncore_sched.force_idle_usec 0\n\
                       nr_periods 10\nnr_throttled 2\nthrottled_usec 2500\nnr_bursts 0\nburst_usec 0\n";
const PRESSURE: &str =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";

/// A machine's files below a directory.
struct Tree(TempDir);

impl Tree {
    fn new(mounts: &str) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("proc/1/mountinfo", mounts);
        tree
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn groups(&self) -> Groups {
        Groups::new(self.0.path().to_owned()).unwrap()
    }

    fn v2() -> Self {
        let tree = Self::new(V2);
        let at = format!("sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope");
        for (name, text) in [
            ("cgroup.procs", "42\n"),
            ("cpu.stat", STAT_V2),
            ("memory.current", "1000\n"),
            (
                "memory.stat",
                "anon 600\nfile 300\ninactive_file 250\nactive_file 50\n",
            ),
            (
                "memory.events",
                "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
            ),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n",
            ),
            ("pids.current", "5\n"),
            ("cpu.pressure", PRESSURE),
            ("memory.pressure", PRESSURE),
            ("io.pressure", PRESSURE),
        ] {
            tree.write(&format!("{at}/{name}"), text);
        }
        tree
    }

    fn v1() -> Self {
        let tree = Self::new(V1);
        for (name, text) in [
            ("cpu,cpuacct/cgroup.procs", "42\n"),
            ("cpu,cpuacct/cpuacct.usage", "1500000000\n"),
            (
                "cpu,cpuacct/cpu.stat",
                "nr_periods 10\nnr_throttled 2\nthrottled_time 2500000\n",
            ),
            ("memory/memory.usage_in_bytes", "1000\n"),
            (
                "memory/memory.stat",
                "cache 300\ninactive_file 9\ntotal_inactive_file 250\n",
            ),
            (
                "memory/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            ),
            (
                "blkio/blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 10\n8:0 Write 20\nTotal 30\n",
            ),
            ("pids/pids.current", "5\n"),
        ] {
            let (controller, file) = name.split_once('/').unwrap();
            tree.write(
                &format!("sys/fs/cgroup/{controller}/kubepods/pod1/{ID}/{file}"),
                text,
            );
        }
        fs::create_dir_all(tree.0.path().join("sys/fs/cgroup/unified")).unwrap();
        tree
    }
}

fn v2_group() -> GroupPath {
    GroupPath::from_spec(&format!("kubepods-pod1.slice:cri-containerd:{ID}")).unwrap()
}

fn v1_group() -> GroupPath {
    GroupPath::from_spec(&format!("/kubepods/pod1/{ID}")).unwrap()
}

fn both() -> GroupUsage {
    GroupUsage {
        cpu_nanos: Some(1_500_000_000),
        throttled_nanos: Some(2_500_000),
        memory_bytes: Some(1000),
        working_set_bytes: Some(750),
        oom_kills: Some(1),
        block_io: Some(BlockIo {
            read_bytes: 10,
            written_bytes: 20,
        }),
        tasks: Some(5),
        waiting_nanos: None,
    }
}

#[test]
fn version_2_is_read() {
    let expected = GroupUsage {
        waiting_nanos: Some([7000; 3]),
        ..both()
    };
    assert_eq!(Tree::v2().groups().usage(&v2_group()).unwrap(), Some(expected));
}

#[test]
fn version_1_is_read() {
    assert_eq!(Tree::v1().groups().usage(&v1_group()).unwrap(), Some(both()));
}

#[test]
fn a_controller_that_is_off_leaves_its_values_out() {
    let tree = Tree::v2();
    let at = tree.0.path().join("sys/fs/cgroup").join(v2_group().as_path());
    for name in [
        "memory.current",
        "memory.stat",
        "memory.events",
        "io.stat",
        "pids.current",
        "io.pressure",
    ] {
        fs::remove_file(at.join(name)).unwrap();
    }
    let expected = GroupUsage {
        cpu_nanos: both().cpu_nanos,
        throttled_nanos: both().throttled_nanos,
        ..GroupUsage::default()
    };
    assert_eq!(tree.groups().usage(&v2_group()).unwrap(), Some(expected));
}

#[test]
fn a_group_that_is_gone_is_none() {
    let tree = Tree::v2();
    let mut groups = tree.groups();
    let other = GroupPath::from_spec("/kubepods/pod2/other").unwrap();
    assert_eq!(groups.usage(&other).unwrap(), None);
    // As the kernel shows a directory whose group was removed while it was open: there, and empty.
    let at = tree.0.path().join("sys/fs/cgroup").join(v2_group().as_path());
    fs::remove_dir_all(&at).unwrap();
    fs::create_dir(&at).unwrap();
    assert_eq!(groups.usage(&v2_group()).unwrap(), None);
    let tree = Tree::v1();
    fs::remove_dir_all(tree.0.path().join("sys/fs/cgroup/cpu,cpuacct/kubepods")).unwrap();
    assert_eq!(tree.groups().usage(&v1_group()).unwrap(), None);
}

#[test]
fn hostile_files_are_refused_by_name() {
    let tree = Tree::v2();
    let at = format!("sys/fs/cgroup/{}", v2_group().as_path().display());
    tree.write(&format!("{at}/memory.current"), "max\n");
    match tree.groups().usage(&v2_group()).unwrap_err() {
        CollectError::Malformed { path, what } => {
            assert!(path.ends_with("memory.current"), "{}", path.display());
            assert_eq!(what, "not one number");
        }
        other => panic!("{other:?}"),
    }
    tree.write(&format!("{at}/cpu.stat"), vec![b'a'; MAX_GROUP_FILE + 1]);
    match tree.groups().usage(&v2_group()).unwrap_err() {
        CollectError::TooLarge { path } => assert!(path.ends_with("cpu.stat"), "{}", path.display()),
        other => panic!("{other:?}"),
    }
    // A link where a file of the kernel's should be, and one in the place of the group.
    let path = tree.0.path().join(&at).join("cpu.stat");
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    match tree.groups().usage(&v2_group()).unwrap_err() {
        CollectError::Io { path, .. } => assert!(path.ends_with("cpu.stat"), "{}", path.display()),
        other => panic!("{other:?}"),
    }
    let group = tree.0.path().join(&at);
    fs::remove_dir_all(&group).unwrap();
    symlink("/", &group).unwrap();
    match tree.groups().usage(&v2_group()).unwrap_err() {
        CollectError::Io { path, .. } => assert_eq!(path, group),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_inactive_pages_than_memory_is_no_working_set() {
    let tree = Tree::v2();
    let at = format!("sys/fs/cgroup/{}", v2_group().as_path().display());
    tree.write(&format!("{at}/memory.stat"), "inactive_file 1001\n");
    let usage = tree.groups().usage(&v2_group()).unwrap().unwrap();
    assert_eq!(usage.working_set_bytes, Some(0));
}

#[test]
fn a_pods_traffic_is_that_of_its_own_process() {
    let heading = "Inter-|   Receive                                                |  Transmit\n face |bytes    \
                   packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls \
                   carrier compressed\n";
    let dev = format!(
        "{heading}    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 70 1 0 0 0 0 0 0 80 1 0 0 0 0 0 0\n"
    );
    let tree = Tree::v2();
    tree.write("proc/42/net/dev", dev);
    tree.write(
        "proc/42/cgroup",
        format!("0::/{}\n", v2_group().as_path().display()),
    );
    let mut groups = tree.groups();
    let traffic = groups.traffic(42, ID).unwrap().unwrap();
    assert_eq!((traffic.received.bytes, traffic.sent.bytes), (70, 80));
    assert_eq!(groups.of_process(42, ID).unwrap(), Some(v2_group()));
    // The identifier of a process is used again.
    let other = ID.replace('5', "6");
    assert_eq!(groups.traffic(42, &other).unwrap(), None);
    assert_eq!(groups.of_process(42, &other).unwrap(), None);
    assert_eq!(groups.traffic(43, ID).unwrap(), None);
}

#[test]
fn a_machine_without_control_groups_is_named() {
    let tree = Tree::new("24 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    match Groups::new(tree.0.path().to_owned()).unwrap_err() {
        CollectError::Malformed { path, what } => {
            assert!(path.ends_with("proc/1/mountinfo"), "{}", path.display());
            assert_eq!(what, "no control groups are mounted");
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(tree.0.path().join("proc/1/mountinfo")).unwrap();
    assert!(matches!(
        Groups::new(tree.0.path().to_owned()).unwrap_err(),
        CollectError::Missing { path } if path.ends_with("proc/1/mountinfo")
    ));
}
