//! A fake configfs-tsm (Linux, Documentation/ABI/testing/configfs-tsm-report): the tree below
//! `/sys/kernel/config/tsm/report`, with one provider.

#![expect(
    clippy::expect_used,
    reason = "a fake whose lock is poisoned must stop its test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::kernel::{Errno, FakeTree, NEVER};
use crate::vendor::amd::Chip;
use crate::vendor::intel_tdx::{FakeIntelTdx, TrustDomain};

/// Where it belongs.
pub const REPORTS: &str = "/sys/kernel/config/tsm/report";

/// How a tree misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What is signed is on another's report data.
    OtherReportData,
    /// Somebody else writes to the directory between the write and the read, so many times in all.
    Disturbed(u32),
    /// A new directory does not start at generation 0.
    NotNew,
    /// The write of the question is lost, as configfs loses writes that its driver refuses.
    LostWrite,
    /// Only so many bytes of the report come.
    Cut(usize),
    /// So many bytes too many come, of this value.
    Long(usize, u8),
    /// The table beside the report is cut to so many bytes.
    CutTable(usize),
    /// Reading the report fails.
    Error(Errno),
    /// Making a directory fails.
    NoDirectory(Errno),
    /// Reading the report never comes to an end.
    Never,
}

/// The tree.
pub struct FakeTsm {
    provider: &'static str,
    floor: Option<u32>,
    sign: Sign,
    fault: Option<Fault>,
    disturbances: u32,
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

type Sign = Box<dyn FnMut(&[u8; 64], u32) -> (Vec<u8>, Vec<u8>) + Send>;

#[derive(Clone, Default)]
struct Entry {
    generation: u64,
    level: u32,
    question: Option<[u8; 64]>,
    /// The report and the table, of the generation that they were made at.
    answer: Option<(u64, Vec<u8>, Vec<u8>)>,
}

/// What can be seen of a tree while and after it is used.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Watch {
    /// The directories that are there.
    pub fn directories(&self) -> Vec<String> {
        self.0.lock().expect("no fake panicked").keys().cloned().collect()
    }
}

impl FakeTsm {
    /// Of an SNP guest on `chip`, with this table of certificates.
    pub fn sev(chip: Chip, table: Vec<u8>) -> Self {
        let sign = move |report_data: &[u8; 64], level| (chip.report_on(report_data, level), table.clone());
        Self::new("sev_guest", Some(0), Box::new(sign))
    }

    /// Of the trust domain on this platform.
    pub fn tdx(platform: FakeIntelTdx, domain: TrustDomain) -> Self {
        let sign = move |report_data: &[u8; 64], _| (platform.quote(&domain, report_data), Vec::new());
        Self::new("tdx_guest", None, Box::new(sign))
    }

    fn new(provider: &'static str, floor: Option<u32>, sign: Sign) -> Self {
        Self {
            provider,
            floor,
            sign,
            fault: None,
            disturbances: 0,
            entries: Arc::default(),
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        if let Fault::Disturbed(times) = fault {
            self.disturbances = times;
        }
        self.fault = Some(fault);
        self
    }

    /// The same of a guest at this privilege level: reports of a higher one are refused.
    #[must_use]
    pub fn at_level(mut self, floor: u32) -> Self {
        self.floor = Some(floor);
        self
    }

    /// The same with a directory that is there already.
    #[must_use]
    pub fn with_directory(self, name: &str) -> Self {
        self.lock(|entries| entries.insert(name.to_owned(), Entry::default()));
        self
    }

    /// Sees the directories of this tree.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.entries))
    }

    fn lock<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> T {
        work(&mut self.entries.lock().expect("no fake panicked"))
    }

    /// The report and the table, made anew if the question changed since.
    fn answer(&mut self, name: &str) -> Result<(Vec<u8>, Vec<u8>), Errno> {
        match self.fault {
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::Never) => return Err(NEVER),
            _ => {}
        }
        let entry = self
            .lock(|entries| entries.get(name).cloned())
            .ok_or(Errno::NOENT)?;
        let question = entry.question.ok_or(Errno::INVAL)?;
        if entry.level < self.floor.unwrap_or(0) {
            return Err(Errno::INVAL);
        }
        if let Some((generation, report, table)) = entry.answer
            && generation == entry.generation
        {
            return Ok((report, table));
        }
        let mut asked = question;
        if self.fault == Some(Fault::OtherReportData) {
            asked[0] ^= 1;
        }
        let (mut report, mut table) = (self.sign)(&asked, entry.level);
        match self.fault {
            Some(Fault::Cut(length)) => report.truncate(length),
            Some(Fault::Long(more, value)) => report.resize(report.len() + more, value),
            Some(Fault::CutTable(length)) => table.truncate(length),
            _ => {}
        }
        let disturbed = self.disturbances > 0;
        self.disturbances = self.disturbances.saturating_sub(1);
        self.lock(|entries| {
            if let Some(entry) = entries.get_mut(name) {
                entry.generation += u64::from(disturbed);
                entry.answer = Some((entry.generation, report.clone(), table.clone()));
            }
        });
        Ok((report, table))
    }

    fn files(&self) -> Vec<&'static str> {
        let mut files = vec!["generation", "inblob", "outblob", "provider"];
        if self.provider == "sev_guest" {
            files.extend(["auxblob", "privlevel", "privlevel_floor"]);
        }
        files
    }
}

impl FakeTree for FakeTsm {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let (name, file) = path.split_once('/').ok_or(Errno::ISDIR)?;
        let line = |text: String| Ok(format!("{text}\n").into_bytes());
        match file {
            "provider" => line(self.provider.to_owned()),
            "privlevel_floor" => line(self.floor.unwrap_or(0).to_string()),
            "generation" => {
                let entry = self
                    .lock(|entries| entries.get(name).cloned())
                    .ok_or(Errno::NOENT)?;
                line(entry.generation.to_string())
            }
            "outblob" => Ok(self.answer(name)?.0),
            "auxblob" => Ok(self.answer(name)?.1),
            _ => Err(Errno::ACCESS),
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let (name, file) = path.split_once('/').ok_or(Errno::ISDIR)?;
        let (fault, floor) = (self.fault, self.floor.unwrap_or(0));
        self.lock(|entries| {
            let entry = entries.get_mut(name).ok_or(Errno::NOENT)?;
            match file {
                "inblob" if fault == Some(Fault::LostWrite) => {
                    entry.question = Some([0; 64]);
                    return Ok(());
                }
                // The providers take a question of this length only.
                "inblob" => entry.question = Some(bytes.try_into().map_err(|_| Errno::INVAL)?),
                "privlevel" => {
                    let text = str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
                    let level = text.trim().parse().map_err(|_| Errno::INVAL)?;
                    if !(floor..=3).contains(&level) {
                        return Err(Errno::INVAL);
                    }
                    entry.level = level;
                }
                _ => return Err(Errno::ACCESS),
            }
            entry.generation += 1;
            Ok(())
        })
    }

    fn make_directory(&mut self, path: &str) -> Result<(), Errno> {
        if let Some(Fault::NoDirectory(error)) = self.fault {
            return Err(error);
        }
        if path.contains('/') {
            return Err(Errno::PERM);
        }
        let generation = u64::from(self.fault == Some(Fault::NotNew));
        let entry = Entry {
            generation,
            ..Entry::default()
        };
        self.lock(|entries| match entries.contains_key(path) {
            true => Err(Errno::EXIST),
            false => {
                entries.insert(path.to_owned(), entry);
                Ok(())
            }
        })
    }

    fn remove_directory(&mut self, path: &str) -> Result<(), Errno> {
        self.lock(|entries| entries.remove(path))
            .map(|_| ())
            .ok_or(Errno::NOENT)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        if path.is_empty() {
            return Some(self.lock(|entries| entries.keys().cloned().collect()));
        }
        let is_entry = self.lock(|entries| entries.contains_key(path));
        is_entry.then(|| self.files().into_iter().map(str::to_owned).collect())
    }
}
