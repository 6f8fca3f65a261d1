//! What goes away while it is measured, and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nautilus_monitor::container::RuntimeError;
use nautilus_monitor::{CollectError, Collector as _};
use rustix::process::{Pid, Signal, kill_process};

use crate::agreement::{collector, idle, pod};
use crate::cri::PodPlan;
use crate::machine::{Machine, until};

const ROUNDS: usize = 8;

#[test]
fn a_pod_that_is_killed_while_it_is_measured_is_no_error() {
    let machine = Machine::start();
    let stays = idle(&machine, "stays");
    machine.cri().run(&stays);
    let mut collector = collector(&machine);
    let done = AtomicBool::new(false);
    let (mut with, mut without) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let cri = machine.cri();
            for round in 0..ROUNDS {
                let goes = cri.run(&idle(&machine, "goes"));
                if round % 2 == 0 {
                    // As the kernel's killer would: the runtime hears of it afterwards.
                    let pid = i32::try_from(cri.container_pid(&goes.container)).unwrap();
                    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
                }
                cri.remove(&goes.sandbox).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let metrics = collector.measure().unwrap();
            assert!(
                !pod(&metrics, "stays").containers.is_empty(),
                "the other pod is always there"
            );
            if metrics.pod_metrics.contains_key("default/goes") {
                with += 1;
            } else {
                without += 1;
            }
        }
    });
    assert!(
        with >= ROUNDS && without >= ROUNDS,
        "{with} times there, {without} times not"
    );
    let metrics = collector.measure().unwrap();
    assert_eq!(metrics.pod_metrics.keys().collect::<Vec<_>>(), ["default/stays"]);
}

#[test]
fn a_container_that_was_started_again_counts_on() {
    let machine = Machine::start();
    let cri = machine.cri();
    let first = idle(&machine, "again");
    let again = cri.run(&first);
    let mut collector = collector(&machine);
    assert_eq!(pod(&collector.measure().unwrap(), "again").restarts, 0);
    cri.stop_container(&again.container);
    let metrics = collector.measure().unwrap();
    assert_eq!(pod(&metrics, "again").running_containers, 0);
    assert_eq!(metrics.containers_by_state.exited, 1);
    cri.run_container(&again, &PodPlan { attempt: 1, ..first });
    let metrics = collector.measure().unwrap();
    let again = pod(&metrics, "again");
    assert_eq!((again.restarts, again.containers["main"].restarts), (1, 1));
    assert_eq!((metrics.total_containers, metrics.running_containers), (2, 1));
}

#[test]
fn a_containerd_that_was_restarted_is_found_again() {
    let mut machine = Machine::start();
    machine.cri().run(&idle(&machine, "stays"));
    let mut collector = collector(&machine);
    until("events are heard", || {
        collector
            .measure()
            .unwrap()
            .image_pull_metrics
            .watching
            .then_some(())
    });
    let before = collector.measure().unwrap();
    machine.restart();
    let after = collector.measure().unwrap();
    assert_eq!(pod(&after, "stays").running_containers, 1);
    assert!(pod(&after, "stays").cpu_usage >= pod(&before, "stays").cpu_usage);
    until("events are heard again", || {
        collector
            .measure()
            .unwrap()
            .image_pull_metrics
            .watching
            .then_some(())
    });
}

#[test]
fn without_containerd_there_is_a_gap_that_says_why() {
    let machine = Machine::start();
    let socket = machine.socket();
    let mut collector = collector(&machine);
    collector.collect().unwrap();
    drop(machine);
    match collector.collect().unwrap_err() {
        CollectError::Runtime(RuntimeError::Unreachable { socket: named, .. }) => assert_eq!(named, socket),
        other => panic!("{other:?}"),
    }
    assert!(!socket.exists(), "the machine cleans up");
}
