//! configfs-tsm, the kernel's one interface to the reports of confidential guests: Linux 6.7,
//! Documentation/ABI/testing/configfs-tsm-report.
//!
//! A report is asked for in a directory of one's own. Whoever may write there could change the question between our
//! write and our read, so the kernel counts the writes, and what it counted must be our own. Directories stay until
//! they are removed: ours is removed whatever happens, and those of processes of ours that were killed are swept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nautilus_core::{AttestError, ReportData};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::io::Errno;

/// Where reports are asked for.
const REPORTS: &str = "/sys/kernel/config/tsm/report";
/// What our directories are called: `nautilus-PID-NAMESPACE-RANDOM`, the namespace being that of the process id.
const PREFIX: &str = "nautilus-";
/// How often a question is asked anew that somebody else interfered with.
const ATTEMPTS: u32 = 3;
/// A number or a name, with its line end.
const MAX_TEXT: u64 = 64;
/// Largest report that is read. Kernels hand out quotes of up to 128 KiB.
const MAX_REPORT: u64 = 128 * 1024;
/// Largest table of certificates that is read. Kernels have 16 KiB of room for one.
const MAX_AUXILIARY: u64 = 128 * 1024;

/// The kernel's driver for one kind of guest, as configfs-tsm names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// AMD SEV-SNP.
    SevGuest,
    /// Intel TDX.
    TdxGuest,
}

impl Provider {
    const fn name(self) -> &'static str {
        match self {
            Self::SevGuest => "sev_guest",
            Self::TdxGuest => "tdx_guest",
        }
    }
}

/// configfs-tsm with a provider that is ours.
pub(crate) struct Tsm {
    provider: Provider,
}

/// What the kernel gave, in the provider's formats. Unchecked but for its size.
pub(crate) struct Answer {
    /// The report or quote.
    pub(crate) report: Vec<u8>,
    /// What comes along: SNP's table of certificates. Empty where there is none.
    pub(crate) auxiliary: Vec<u8>,
}

impl Tsm {
    /// Looks whether `provider` hands out reports here, and removes what killed processes left behind.
    ///
    /// # Errors
    /// `Missing` if there is no configfs-tsm or no provider, `Refused` if it is another one.
    pub(crate) fn open(provider: Provider) -> Result<Self, AttestError> {
        sweep();
        let tsm = Self { provider };
        tsm.check_provider(&Entry::make(provider)?)?;
        Ok(tsm)
    }

    /// What to call it in messages.
    pub(crate) const fn interface() -> &'static str {
        REPORTS
    }

    /// Has `report_data` signed.
    ///
    /// # Errors
    /// `Stale` if others wrote to our directory each time; otherwise as the kernel has it.
    pub(crate) fn report(&self, report_data: &ReportData) -> Result<Answer, AttestError> {
        let mut shown = String::new();
        for _ in 0..ATTEMPTS {
            match self.attempt(report_data)? {
                Attempt::Undisturbed(answer) => return Ok(answer),
                Attempt::Disturbed(what) => shown = what,
            }
        }
        Err(AttestError::Stale {
            interface: REPORTS.to_owned(),
            what: format!(
                "{shown}, {ATTEMPTS} times over; find the other process that writes to configfs-tsm as root"
            ),
        })
    }

    fn attempt(&self, report_data: &ReportData) -> Result<Attempt, AttestError> {
        let entry = Entry::make(self.provider)?;
        self.check_provider(&entry)?;
        let before = entry.generation()?;
        if before != 0 {
            return Ok(Attempt::Disturbed(format!(
                "a new directory was at generation {before}"
            )));
        }
        let mut writes = 0_u64;
        // A guest below the highest privilege level cannot have reports of a higher one, and the kernel's default is
        // the highest. Only SNP has levels.
        if let Some(floor) = entry.privilege_floor()?.filter(|floor| *floor > 0) {
            entry.write("privlevel", floor.to_string().as_bytes())?;
            writes = writes.saturating_add(1);
        }
        entry.write("inblob", report_data.as_bytes())?;
        writes = writes.saturating_add(1);
        let report = entry.read("outblob", MAX_REPORT)?;
        let auxiliary = match self.provider {
            Provider::SevGuest => entry.read_if_any("auxblob", MAX_AUXILIARY)?.unwrap_or_default(),
            Provider::TdxGuest => Vec::new(),
        };
        let after = entry.generation()?;
        if after != writes {
            return Ok(Attempt::Disturbed(format!(
                "generation is {after} after {writes} writes of ours"
            )));
        }
        Ok(Attempt::Undisturbed(Answer { report, auxiliary }))
    }

    fn check_provider(&self, entry: &Entry) -> Result<(), AttestError> {
        let expected = self.provider.name();
        match entry.text("provider")?.as_str() {
            found if found == expected => Ok(()),
            found => Err(AttestError::Refused {
                interface: REPORTS.to_owned(),
                what: format!("its provider is `{}`, not `{expected}`", found.escape_default()),
            }),
        }
    }
}

/// What became of asking once.
enum Attempt {
    Undisturbed(Answer),
    /// Somebody else wrote; what shows it.
    Disturbed(String),
}

/// A directory of our own, removed when dropped.
struct Entry {
    path: PathBuf,
}

impl Entry {
    fn make(provider: Provider) -> Result<Self, AttestError> {
        let mut random = [0; 8];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| AttestError::Vendor {
                what: "the system gives no randomness".to_owned(),
            })?;
        let name = format!(
            "{PREFIX}{}-{}-{}",
            std::process::id(),
            process_namespace().unwrap_or_default(),
            hex::encode(random)
        );
        let path = Path::new(REPORTS).join(name);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(cannot_make(error, provider)),
        }
    }

    fn generation(&self) -> Result<u64, AttestError> {
        self.number("generation")
    }

    fn privilege_floor(&self) -> Result<Option<u64>, AttestError> {
        match self.number("privlevel_floor") {
            Err(AttestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            number => number.map(Some),
        }
    }

    fn number(&self, file: &'static str) -> Result<u64, AttestError> {
        let text = self.text(file)?;
        text.parse().map_err(|_| AttestError::Malformed {
            interface: REPORTS.to_owned(),
            what: format!("{file} is `{}`, not a number", text.escape_default()),
        })
    }

    fn text(&self, file: &'static str) -> Result<String, AttestError> {
        let bytes = self.read(file, MAX_TEXT)?;
        let text = String::from_utf8(bytes).map_err(|_| AttestError::Malformed {
            interface: REPORTS.to_owned(),
            what: format!("{file} is not text"),
        })?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    fn read_if_any(&self, file: &'static str, limit: u64) -> Result<Option<Vec<u8>>, AttestError> {
        match self.read(file, limit) {
            Err(AttestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn read(&self, file: &'static str, limit: u64) -> Result<Vec<u8>, AttestError> {
        let mut bytes = Vec::new();
        let read = File::open(self.path.join(file))
            .and_then(|open| open.take(limit.saturating_add(1)).read_to_end(&mut bytes));
        read.map_err(|error| failed("read", file, error))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(AttestError::Malformed {
                interface: REPORTS.to_owned(),
                what: format!("{file} is longer than {limit} bytes"),
            });
        }
        Ok(bytes)
    }

    /// One write, which the kernel counts as one.
    fn write(&self, file: &'static str, bytes: &[u8]) -> Result<(), AttestError> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join(file))
            .and_then(|mut open| open.write_all(bytes))
            .map_err(|error| failed("write", file, error))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // There is nobody to tell. What stays is swept when the next process starts.
        let _stays = fs::remove_dir(&self.path);
    }
}

fn cannot_make(error: io::Error, provider: Provider) -> AttestError {
    let name = provider.name();
    let missing = |hint: String| AttestError::Missing {
        interface: REPORTS.to_owned(),
        hint,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => missing(format!(
            "modprobe {name}, and mount -t configfs none /sys/kernel/config where it is not mounted; needs Linux 6.7 \
             or later with CONFIG_TSM_REPORTS"
        )),
        Some(Errno::NXIO) => missing(format!(
            "no driver hands out reports: modprobe {name}; this machine must be a guest of that kind"
        )),
        Some(Errno::ACCESS | Errno::PERM) => missing(
            "run as root: the kernel lets only root make report entries (and a container needs /sys/kernel/config \
             mounted for writing)"
                .to_owned(),
        ),
        _ => AttestError::Io {
            action: "make a directory in",
            interface: REPORTS.to_owned(),
            source: error,
        },
    }
}

/// Errors with a meaning of their own here: `drivers/virt/coco/guest/report.c`, and what its providers give.
fn failed(action: &'static str, file: &str, error: io::Error) -> AttestError {
    let interface = format!("{REPORTS} ({file})");
    let what = match Errno::from_io_error(&error) {
        Some(Errno::BUSY) => {
            "EBUSY: an earlier request is still with the host, or somebody writes without ever reading; try again \
             in a minute, and restart the guest if it stays so"
        }
        Some(Errno::AGAIN) => "EWOULDBLOCK: the question changed while it was answered; try again",
        Some(Errno::IO) => {
            "EIO: the host or the firmware failed; look for the reason in the guest's kernel log, and on a TDX host \
             whether its quoting service (QGS) runs"
        }
        Some(Errno::FBIG) => {
            "EFBIG: the report is larger than this kernel hands out; update the guest's kernel, or have the host give \
             fewer certificates"
        }
        Some(Errno::TIMEDOUT) => {
            "ETIMEDOUT: the host did not answer the kernel; look whether its quoting service runs"
        }
        Some(Errno::INVAL) => {
            "EINVAL: the driver or the firmware takes no such request; look for the reason in the guest's kernel log"
        }
        Some(Errno::NXIO) => {
            "ENXIO: the driver went away, or the firmware failed; look into the guest's kernel log"
        }
        _ => {
            return AttestError::Io {
                action,
                interface,
                source: error,
            };
        }
    };
    AttestError::Refused {
        interface,
        what: what.to_owned(),
    }
}

/// Removes directories of ours whose process is gone, as far as can be told: process ids mean something only within
/// one namespace. What cannot be removed stays, and is in nobody's way.
fn sweep() {
    let Some(namespace) = process_namespace() else {
        return;
    };
    for entry in fs::read_dir(REPORTS).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .and_then(|name| maker(name, namespace))
            .is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
        {
            let _stays = fs::remove_dir(entry.path());
        }
    }
}

/// The process that made a directory of this name, if it is one of ours and the process was in this namespace.
fn maker(name: &str, namespace: u64) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let (process, of, _random) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || of.parse() != Ok(namespace) {
        return None;
    }
    process.parse().ok()
}

/// The namespace of our process id, as its inode; none without `/proc`, in which case nobody can be told dead.
fn process_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|file| file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_of_this_namespace_have_a_maker() {
        assert_eq!(maker("nautilus-17-40-00ff", 40), Some(17));
        for other in [
            "nautilus-17-41-00ff",
            "nautilus-17-40",
            "nautilus-17-40-00ff-1",
            "nautilus-x-40-00ff",
            "other-17-40-00ff",
            "nautilus--40-00ff",
        ] {
            assert_eq!(maker(other, 40), None, "{other}");
        }
    }

    #[test]
    fn this_process_has_a_namespace() {
        assert!(process_namespace().is_some());
    }
}
