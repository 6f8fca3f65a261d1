//! Images that are pulled from a registry, and others that come.

use std::thread;
use std::time::{Duration, Instant};

use nautilus_monitor::container::ContainerCollector;
use nautilus_monitor::data::ImagePullMetrics;

use crate::agreement::collector;
use crate::machine::{Machine, until};
use crate::registry::Registry;

fn pulls(collector: &mut ContainerCollector) -> ImagePullMetrics {
    collector.measure().unwrap().image_pull_metrics
}

#[test]
fn a_pull_counts_with_its_bytes_and_its_time() {
    let machine = Machine::start();
    let registry = Registry::start(layout_of_another(&machine));
    let image = registry.image();
    let mut collector = collector(&machine);
    until("events are heard", || {
        pulls(&mut collector).watching.then_some(())
    });
    assert_eq!(pulls(&mut collector).pulls, 0, "what was there before is no pull");

    let began = Instant::now();
    let (held, whole) = thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            machine.cri().pull(&image).unwrap();
            began.elapsed()
        });
        until("the pull is in progress", || {
            (pulls(&mut collector).in_progress == 1).then_some(())
        });
        // The layer is held back for a while that is longer than all else.
        let seen = Instant::now();
        until("some time went by", || {
            (seen.elapsed() > Duration::from_secs(2)).then_some(())
        });
        let held = seen.elapsed();
        registry.open();
        (held, pulling.join().unwrap())
    });
    let counted = until("the pull is counted", || {
        let counted = pulls(&mut collector);
        (counted.pulls > 0).then_some(counted)
    });
    let size = machine.cri().image_size(&image).unwrap();
    assert!(size > 500_000, "busybox is larger: {size}");
    assert_eq!(
        (counted.pulls, counted.timed_pulls, counted.in_progress),
        (1, 1, 0)
    );
    assert_eq!(counted.bytes, size);
    let took = Duration::from_nanos(counted.duration.0.try_into().unwrap());
    assert!(held <= took && took <= whole, "{held:?} <= {took:?} <= {whole:?}");

    // Again, when all of it is there: a pull that brings nothing.
    machine.cri().pull(&image).unwrap();
    let again = until("the second pull is counted", || {
        let counted = pulls(&mut collector);
        (counted.pulls > 1).then_some(counted)
    });
    let expected = ImagePullMetrics { pulls: 2, ..counted };
    assert_eq!(again, expected);

    // Removed, it has its bytes again.
    machine.cri().remove_image(&image);
    until("the image is gone", || {
        machine.cri().image_size(&image).is_none().then_some(())
    });
    machine.cri().pull(&image).unwrap();
    let anew = until("the third pull is counted", || {
        let counted = pulls(&mut collector);
        (counted.pulls > 2).then_some(counted)
    });
    assert_eq!(anew.bytes, 2 * size, "it came anew");
}

/// The image of the pods with another file in it, so that no layer is there already.
fn layout_of_another(machine: &Machine) -> std::path::PathBuf {
    let layout = machine.directory().join("other");
    let at = layout.to_str().unwrap().to_owned();
    let image = format!("{at}:test");
    for arguments in [
        &["init", "--layout", &at][..],
        &["new", "--image", &image],
        &["insert", "--image", &image, "/usr/bin/busybox", "/bin/other"],
        &["config", "--image", &image, "--config.entrypoint", "/bin/other"],
    ] {
        let status = std::process::Command::new("umoci")
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success(), "umoci {arguments:?}");
    }
    layout
}
