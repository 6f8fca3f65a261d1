//! What tells of containers, from anywhere: the kernel's files, tables of mounts, paths and events. Nothing panics, and
//! no path leads out of the control groups.
#![no_main]

use std::path::{Component, Path};
use std::time::Duration;

use nautilus_fuzz::fuzz_target;
use nautilus_monitor::container::{
    GroupPath, Hierarchies, ImageEvent, ImageFacts, Mount, Pulls, chains, files,
};

const ID: &str = "0123456789abcdef";
/// Most layers of an image that are followed.
const MAX_LAYERS: usize = 1000;

fuzz_target!(|bytes: &[u8]| {
    let _ = files::single(bytes);
    let _ = files::pressure(bytes);
    let _ = files::keyed(bytes, [b"usage_usec", b"throttled_usec"]);
    if let Ok(twice) = files::io_stat(&[bytes, bytes].concat()) {
        let once = files::io_stat(bytes).expect("what holds twice holds once");
        assert_eq!(once.read_bytes.checked_mul(2), Some(twice.read_bytes));
    }
    let _ = files::blkio(bytes);

    let mut paths: Vec<GroupPath> = Vec::new();
    paths.extend(GroupPath::from_proc(bytes, None, ID));
    paths.extend(GroupPath::from_proc(bytes, Some(b"cpuacct"), ID));
    let text = String::from_utf8_lossy(bytes);
    paths.extend(GroupPath::from_spec(&text));
    paths.extend(paths.first().and_then(|path| path.pod(ID)));
    let found = Hierarchies::parse(bytes);
    let mounts: [&Option<Mount>; 3] = [&found.unified, &found.memory, &found.cpuacct];
    for path in &paths {
        assert!(
            path.as_path()
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        );
        assert!(path.as_path().components().next().is_some());
        for mount in mounts.into_iter().flatten() {
            let directory = mount.directory(Path::new("/root"), path);
            assert!(directory.starts_with("/root"));
            assert!(!directory.components().any(|part| part == Component::ParentDir));
        }
    }

    assert!(chains(&text).len() <= MAX_LAYERS);
    // Events and answers, a second apart. A line feed is a tag in them, so they are parted by what no tag begins with.
    let mut pulls = Pulls::default();
    for (second, line) in bytes.split(|byte| *byte == 0xff).enumerate() {
        let now = Duration::from_secs(second as u64);
        if let Some(event) = ImageEvent::decode(line) {
            pulls.event(event, now);
        }
        if let Some(name) = pulls.due(now).map(str::to_owned) {
            let facts = line.first().map(|size| ImageFacts {
                id: name.clone(),
                size: (*size).into(),
                chains: vec!["sha256:59".to_owned()],
            });
            pulls.answer(&name, facts, now);
        }
        let totals = pulls.totals(now);
        assert!(totals.timed_pulls <= totals.pulls && totals.pulls <= second as u64 + 1);
        assert!(totals.duration.0 >= 0);
    }
});
