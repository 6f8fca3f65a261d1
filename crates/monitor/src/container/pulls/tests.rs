use super::*;

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn named(name: &str) -> ImageEvent {
    ImageEvent::Named {
        name: name.to_owned(),
    }
}

fn extracting(chain: &str, parent: &str) -> ImageEvent {
    ImageEvent::Extracting {
        key: format!("extract-1-x {chain}"),
        chain: chain.to_owned(),
        parent: parent.to_owned(),
    }
}

fn facts(id: &str, size: u64, chains: &[&str]) -> ImageFacts {
    ImageFacts {
        id: id.to_owned(),
        size,
        chains: chains.iter().map(ToString::to_string).collect(),
    }
}

/// Answers every name that is due with the same image.
fn settle(pulls: &mut Pulls, now: Duration, image: &ImageFacts) -> usize {
    let mut asked = 0;
    while let Some(name) = pulls.due(now).map(str::to_owned) {
        pulls.answer(&name, Some(image.clone()), now);
        asked += 1;
    }
    asked
}

#[test]
fn a_pull_lasts_from_its_first_layer_to_its_name() {
    let mut pulls = Pulls::default();
    pulls.list([("sha256:old".to_owned(), 1)]);
    pulls.watching();
    pulls.event(extracting("sha256:a", ""), at(1_000));
    pulls.event(extracting("sha256:b", "sha256:a"), at(2_000));
    assert_eq!(pulls.totals(at(2_000)).in_progress, 1);
    pulls.event(named("reg/x:1"), at(3_500));
    pulls.event(named("sha256:img"), at(3_501));
    pulls.event(named("reg/x@sha256:m"), at(3_502));
    assert_eq!(
        pulls.due(at(4_000)),
        None,
        "asked before the runtime's list has it"
    );
    let image = facts("sha256:img", 700, &["sha256:a", "sha256:b"]);
    assert_eq!(settle(&mut pulls, at(4_600), &image), 2);
    let expected = ImagePullMetrics {
        pulls: 1,
        bytes: 700,
        duration: Decimal(2_500_000_000),
        timed_pulls: 1,
        in_progress: 0,
        watching: true,
    };
    assert_eq!(pulls.totals(at(5_000)), expected);
}

#[test]
fn two_pulls_at_a_time_are_told_apart() {
    let mut pulls = Pulls::default();
    pulls.list([]);
    pulls.event(extracting("sha256:a", ""), at(0));
    pulls.event(extracting("sha256:b", ""), at(1_000));
    assert_eq!(pulls.totals(at(1_000)).in_progress, 2);
    pulls.event(named("x:1"), at(4_000));
    assert_eq!(
        settle(&mut pulls, at(5_000), &facts("sha256:x", 10, &["sha256:b"])),
        1
    );
    assert_eq!(pulls.totals(at(5_000)).duration, Decimal(3_000_000_000));
    assert_eq!(pulls.totals(at(5_000)).in_progress, 1);
    pulls.event(named("y:1"), at(6_000));
    assert_eq!(
        settle(&mut pulls, at(7_000), &facts("sha256:y", 20, &["sha256:a"])),
        1
    );
    let totals = pulls.totals(at(7_000));
    assert_eq!((totals.pulls, totals.bytes, totals.timed_pulls), (2, 30, 2));
    assert_eq!(totals.duration, Decimal(9_000_000_000));
}

#[test]
fn an_image_that_was_there_is_a_pull_without_bytes_and_time() {
    let mut pulls = Pulls::default();
    pulls.list([("sha256:img".to_owned(), 700)]);
    pulls.event(named("x:1"), at(0));
    settle(&mut pulls, at(1_000), &facts("sha256:img", 700, &["sha256:a"]));
    let totals = pulls.totals(at(1_000));
    assert_eq!((totals.pulls, totals.bytes, totals.timed_pulls), (1, 0, 0));
    // Removed, it is new again.
    let name = "sha256:img".to_owned();
    pulls.event(ImageEvent::Removed { name }, at(10_000));
    pulls.event(named("x:1"), at(20_000));
    settle(&mut pulls, at(21_000), &facts("sha256:img", 700, &["sha256:a"]));
    let totals = pulls.totals(at(21_000));
    assert_eq!((totals.pulls, totals.bytes, totals.timed_pulls), (2, 700, 0));
}

#[test]
fn an_import_is_extracted_after_its_name_and_has_no_time() {
    let mut pulls = Pulls::default();
    pulls.list([]);
    pulls.event(named("x:1"), at(0));
    pulls.event(extracting("sha256:a", ""), at(100));
    settle(
        &mut pulls,
        at(1_000),
        &facts("sha256:x", 10, &["sha256:a", "sha256:b"]),
    );
    // A further layer of it, when it was counted already.
    pulls.event(extracting("sha256:b", "sha256:a"), at(1_100));
    let totals = pulls.totals(at(1_100));
    assert_eq!((totals.pulls, totals.bytes, totals.timed_pulls), (1, 10, 0));
    assert_eq!(totals.in_progress, 0);
}

#[test]
fn a_name_that_the_runtime_does_not_know_is_asked_about_five_times() {
    let mut pulls = Pulls::default();
    pulls.event(named("x:1"), at(0));
    let mut asked = 0;
    for second in 1..20 {
        if let Some(name) = pulls.due(at(second * 1_000)).map(str::to_owned) {
            asked += 1;
            pulls.answer(&name, None, at(second * 1_000));
        }
    }
    assert_eq!((asked, pulls.is_pending()), (5, false));
    let totals = pulls.totals(at(20_000));
    assert_eq!((totals.pulls, totals.bytes), (1, 0));
}

#[test]
fn a_pull_that_is_given_up_is_not_in_progress() {
    let mut pulls = Pulls::default();
    pulls.event(extracting("sha256:a", "sha256:base"), at(0));
    pulls.event(extracting("sha256:b", "sha256:a"), at(1));
    pulls.event(extracting("sha256:other", ""), at(2));
    assert_eq!(pulls.totals(at(3)).in_progress, 2);
    let key = "extract-1-x sha256:b".to_owned();
    pulls.event(ImageEvent::Abandoned { key }, at(4));
    assert_eq!(pulls.totals(at(5)).in_progress, 1);
    assert_eq!(
        pulls.totals(at(4_000_000)).in_progress,
        0,
        "forgotten after an hour"
    );
}

#[test]
fn what_came_while_nobody_listened_is_counted_by_the_list() {
    let mut pulls = Pulls::default();
    pulls.list([("sha256:a".to_owned(), 10)]);
    pulls.watching();
    pulls.event(extracting("sha256:l", ""), at(0));
    pulls.event(named("b:1"), at(1));
    assert!(pulls.interrupted());
    assert!(!pulls.interrupted(), "nothing was heard since");
    assert!(!pulls.totals(at(2)).watching);
    pulls.list([("sha256:a".to_owned(), 10), ("sha256:b".to_owned(), 20)]);
    pulls.watching();
    let expected = ImagePullMetrics {
        pulls: 1,
        bytes: 20,
        watching: true,
        ..ImagePullMetrics::default()
    };
    assert_eq!(pulls.totals(at(3)), expected);
    assert_eq!(pulls.due(at(100_000)), None);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut pulls = Pulls::default();
    for number in 0..5_000 {
        pulls.event(extracting(&format!("sha256:{number}"), ""), at(0));
        pulls.event(named(&format!("x:{number}")), at(0));
    }
    assert_eq!(pulls.extractions.len(), MAX_EXTRACTIONS);
    assert_eq!(pulls.pending.len(), MAX_PENDING);
    for number in 0..MAX_PENDING {
        let chain = format!("sha256:{number}");
        settle(
            &mut pulls,
            at(1_000),
            &facts(&format!("sha256:i{number}"), 1, &[&chain]),
        );
    }
    assert!(pulls.recent.len() <= MAX_RECENT && pulls.known.len() <= MAX_KNOWN);
    pulls.list((0..20_000).map(|number| (format!("sha256:{number}"), 1)));
    assert_eq!(pulls.known.len(), MAX_KNOWN);
}

#[test]
fn chain_identifiers_are_those_of_the_image_specification() {
    let layer = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let info = |layers: &str| {
        format!(
            r#"{{"chainID":"x","imageSpec":{{"os":"linux","rootfs":{{"type":"layers","diff_ids":[{layers}]}}}}}}"#
        )
    };
    let found = chains(&info(&format!(r#""{}","{}""#, layer("1"), layer("2"))));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], layer("1"));
    // printf 'sha256:11…1 sha256:22…2' | sha256sum
    assert_eq!(
        found[1],
        "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5"
    );
    assert_eq!(chains(&info("")), Vec::<String>::new());
    for hostile in ["", "{}", "[]", r#"{"imageSpec":{"rootfs":{"diff_ids":7}}}"#] {
        assert_eq!(chains(hostile), Vec::<String>::new(), "{hostile:?}");
    }
    let many = vec!["\"sha256:1\""; MAX_LAYERS + 1].join(",");
    assert_eq!(chains(&info(&many)), Vec::<String>::new());
}
