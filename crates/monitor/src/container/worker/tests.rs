use super::*;

fn sandbox(id: &str, name: &str, created_at: i64) -> cri::PodSandbox {
    cri::PodSandbox {
        id: id.to_owned(),
        metadata: Some(cri::PodSandboxMetadata {
            name: name.to_owned(),
            uid: "uid".to_owned(),
            namespace: "default".to_owned(),
        }),
        state: cri::SANDBOX_READY,
        created_at,
    }
}

fn container(sandbox: &str, name: &str, attempt: u32, state: i32) -> cri::Container {
    cri::Container {
        id: format!("{sandbox}-{name}-{attempt}"),
        pod_sandbox_id: sandbox.to_owned(),
        metadata: Some(cri::ContainerMetadata {
            name: name.to_owned(),
            attempt,
        }),
        state,
        created_at: attempt.into(),
    }
}

#[test]
fn restarts_go_on_over_sandboxes_and_are_added_over_names() {
    let sandboxes = [
        sandbox("s1", "web", 1),
        sandbox("s2", "web", 2),
        sandbox("s3", "db", 1),
    ];
    let containers = [
        container("s1", "app", 1, cri::CONTAINER_EXITED),
        container("s1", "app", 2, cri::CONTAINER_EXITED),
        container("s2", "app", 3, cri::CONTAINER_RUNNING),
        container("s2", "side", 4, cri::CONTAINER_RUNNING),
        container("s3", "app", 0, cri::CONTAINER_RUNNING),
        container("none", "app", 9, cri::CONTAINER_RUNNING),
    ];
    let restarts = restarts(&containers, &pods_by_sandbox(sandboxes.iter()));
    let of = |name: &str| restarts[&("default".to_owned(), name.to_owned())];
    assert_eq!((of("web"), of("db"), restarts.len()), (7, 0, 2));
}

#[test]
fn of_a_pod_the_newest_sandbox_counts_and_of_a_name_the_newest_container() {
    let newest = newest_ready(vec![
        sandbox("old", "web", 1),
        sandbox("other", "db", 1),
        sandbox("new", "web", 2),
    ]);
    let ids: Vec<_> = newest.iter().map(|sandbox| sandbox.id.as_str()).collect();
    assert_eq!(ids, ["other", "new"]);
    let running = newest_running(vec![
        container("s", "app", 2, cri::CONTAINER_RUNNING),
        container("s", "app", 1, cri::CONTAINER_RUNNING),
        container("s", "app", 3, cri::CONTAINER_EXITED),
    ]);
    assert_eq!(running["s"]["app"].id, "s-app-2");
}

#[test]
fn containers_are_counted_by_state() {
    let all = [0, 1, 1, 2, 2, 2, 3, 77].map(|state| container("s", "app", 0, state));
    let expected = ContainerStates {
        created: 1,
        running: 2,
        exited: 3,
        unknown: 2,
    };
    assert_eq!(states(&all), expected);
}

#[test]
fn a_place_is_what_a_verbose_status_says() {
    let of =
        |info: &str| place(info).map(|(pid, group)| (pid, group.map(|group| group.as_path().to_owned())));
    assert_eq!(
        of(
            r#"{"sandboxID":"s","pid":42,"runtimeSpec":{"process":{},"linux":{"cgroupsPath":"/k8s.io/abc"}}}"#
        ),
        Some((42, Some(PathBuf::from("k8s.io/abc"))))
    );
    assert_eq!(of(r#"{"pid":42,"runtimeSpec":null}"#), Some((42, None)));
    assert_eq!(
        of(r#"{"pid":42,"runtimeSpec":{"linux":{"cgroupsPath":"/../../etc"}}}"#),
        Some((42, None))
    );
    for hostile in ["", "[]", r#"{"pid":-1}"#, r#"{"pid":"x"}"#, &"[".repeat(10_000)] {
        assert_eq!(of(hostile), None, "{hostile:.20}");
    }
}

#[test]
fn names_are_bounded_and_printable() {
    let hostile = sandbox("s", &format!("a\x1b[31m\n{}", "b".repeat(1000)), 1);
    let (_, name) = pod_name(&hostile);
    assert!(name.starts_with("a[31mb") && name.len() <= MAX_LABEL, "{name}");
}

#[test]
fn a_runtime_that_is_not_there_is_an_error_and_the_thread_ends() {
    let directory = tempfile::tempdir().unwrap();
    let worker = Worker::start(directory.path().join("none.sock")).unwrap();
    for _ in 0..2 {
        let error = worker.inventory().unwrap_err();
        assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error:?}");
    }
}
