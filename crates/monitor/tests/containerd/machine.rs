//! A containerd of the test's own: private root, state, socket, network and images. Needs root, and Debian's containerd,
//! runc, umoci, busybox-static and containernetworking-plugins.
//!
//! A process of its own cleans up when the test has ended, however it ended: it waits for the end of a pipe that the
//! test holds.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::cri::Cri;

/// Its entrypoint sleeps, so that it serves as the sandbox's image too.
pub const IMAGE: &str = "localhost/tool:test";

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// `$1` the directory, `$2` the control groups' name, `$3` the bridge. Only what bears these names is touched.
const CLEAN_UP: &str = r#"
read -r _
ours() {
  for process in /proc/[0-9]*; do
    process=${process#/proc/}
    # This shell and its children name the directory too; a container's shell does not.
    [ "$(cat "/proc/$process/comm" 2>/dev/null)" = sh ] && continue
    if grep -qsF -- "$1" "/proc/$process/cmdline"; then echo "$process"; fi
  done
}
for signal in TERM KILL; do
  for process in $(ours "$1"); do kill -$signal "$process" 2>/dev/null; done
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -n "$(ours "$1")" ] || break
    sleep 0.1
  done
done
find /sys/fs/cgroup -path "*/$2/*" -name cgroup.procs -exec cat {} + 2>/dev/null |
  while read -r process; do kill -KILL "$process" 2>/dev/null; done
awk -v at="$1/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
  while read -r mount; do umount -l "$mount"; done
for _ in 1 2 3 4 5; do
  find /sys/fs/cgroup -depth -type d \( -path "*/$2" -o -path "*/$2/*" \) -exec rmdir {} + 2>/dev/null && break
  sleep 0.1
done
ip link delete "$3" 2>/dev/null
rm -rf -- "$1"
"#;

/// A running containerd.
pub struct Machine {
    directory: PathBuf,
    name: String,
    subnet: u32,
    containerd: Child,
    cleaner: Child,
}

impl Machine {
    /// Brings it up with [`IMAGE`] imported.
    pub fn start() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this suite starts containers: run it as root"
        );
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // A bridge's name has at most 15 characters, a process identifier at most 7.
        let name = format!("naut{process}x{number}");
        let directory = tempfile::Builder::new()
            .prefix("containerd-")
            .tempdir()
            .unwrap()
            .keep();
        let cleaner = Command::new("sh")
            .args(["-c", CLEAN_UP, "sh"])
            .arg(&directory)
            .args([&name, &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A runner that ends the test's group must not end this.
            .process_group(0)
            .spawn()
            .expect("start the process that cleans up");
        fs::write(directory.join("config.toml"), config(&directory)).unwrap();
        fs::create_dir(directory.join("cni")).unwrap();
        let subnet = (process * 16 + number) % 250;
        fs::write(
            directory.join("cni/10-test.conflist"),
            network(&directory, &name, subnet),
        )
        .unwrap();
        let containerd = containerd(&directory);
        let machine = Self {
            directory,
            name,
            subnet,
            containerd,
            cleaner,
        };
        machine.answers();
        let layout = machine.image_layout();
        machine.import(&layout);
        machine
    }

    /// containerd's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    /// Where the test may put files, which go with the machine.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A client.
    pub fn cri(&self) -> Cri {
        Cri::new(self.socket())
    }

    /// A control group for what the test starts. It goes with the machine.
    pub fn group(&self, below: &str) -> String {
        format!("/{}{below}", self.name)
    }

    /// An address in the pods' network that nobody has.
    pub fn nobody(&self) -> String {
        format!("10.231.{}.254", self.subnet)
    }

    /// Ends containerd and starts it again. Containers live on.
    pub fn restart(&mut self) {
        self.stop();
        self.containerd = containerd(&self.directory);
        self.answers();
    }

    /// What `ctr` prints.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let output = Command::new("ctr")
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", "k8s.io"])
            .args(arguments)
            .output()
            .expect("run ctr");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An OCI image layout with busybox and the tag `test`.
    pub fn image_layout(&self) -> PathBuf {
        let layout = self.directory.join("tool");
        if layout.exists() {
            return layout;
        }
        let at = layout.to_str().unwrap();
        let image = format!("{at}:test");
        let run = |arguments: &[&str]| {
            let output = Command::new("umoci").args(arguments).output().expect("run umoci");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "umoci {arguments:?}: {error}");
        };
        run(&["init", "--layout", at]);
        run(&["new", "--image", &image]);
        run(&["insert", "--image", &image, "/usr/bin/busybox", "/bin/busybox"]);
        let mut entrypoint = vec!["config", "--image", &image];
        for word in ["/bin/busybox", "sleep", "1000000"] {
            entrypoint.extend(["--config.entrypoint", word]);
        }
        run(&entrypoint);
        layout
    }

    fn import(&self, layout: &Path) {
        let archive = self.directory.join("tool.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(layout)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status()
            .expect("run tar");
        assert!(packed.success(), "tar failed");
        let archive = archive.to_str().unwrap();
        self.ctr(&["images", "import", "--base-name", "localhost/tool", archive]);
        let cri = self.cri();
        until("the image is listed", || cri.image_size(IMAGE));
    }

    fn answers(&self) {
        let cri = self.cri();
        let log = self.directory.join("log");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = cri.version() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(&log).unwrap_or_default();
                panic!("containerd does not answer: {error}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.containerd);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.containerd.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // First as the runtime itself does it, so that the network's addresses are given back.
        self.cri().remove_all();
        self.stop();
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

/// Waits until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn containerd(directory: &Path) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .unwrap();
    Command::new("containerd")
        .arg("--config")
        .arg(directory.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("start containerd, of Debian's package containerd")
}

fn config(directory: &Path) -> String {
    let at = directory.display();
    // Without CAP_SYS_RESOURCE a sandbox's oom_score_adj cannot be set, and runc ends; AppArmor may be absent.
    format!(
        r#"version = 2
root = "{at}/root"
state = "{at}/state"
[grpc]
address = "{at}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{at}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_tcp_service = true
stream_server_port = "0"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{at}/cni"
"#
    )
}

/// Pods see each other over a bridge, and nothing else: no gateway, so nothing of the machine's routing is changed.
fn network(directory: &Path, bridge: &str, subnet: u32) -> String {
    format!(
        r#"{{"cniVersion":"0.4.0","name":"{bridge}","plugins":[{{"type":"bridge","bridge":"{bridge}",
"ipam":{{"type":"host-local","dataDir":"{}/addresses","ranges":[[{{"subnet":"10.231.{subnet}.0/24"}}]]}}}}]}}"#,
        directory.display()
    )
}
