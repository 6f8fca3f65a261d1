use futures_util::StreamExt;
use nautilus_core::UnixMillis;

use super::*;

fn event(what: What) -> Event {
    Event {
        at: UnixMillis(1_700_000_000_000),
        what,
    }
}

fn warning(detail: &str) -> Event {
    event(What::Warning {
        detail: detail.to_owned(),
    })
}

fn stopped() -> Event {
    event(What::Stopped {
        reason: "the test is over".to_owned(),
        settled: 0,
        reward: 0,
    })
}

fn settled(sequence: u64) -> Event {
    let proof_id = nautilus_core::Digest32([7; 32]);
    event(What::Settled {
        proof_id,
        sequence,
        height: sequence,
        entry: proof_id,
    })
}

fn detail(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(message) => {
            let value: serde_json::Value = serde_json::from_str(&message.json).unwrap();
            value["detail"]
                .as_str()
                .unwrap_or(value["kind"].as_str().unwrap())
                .to_owned()
        }
        Delivery::Live(_) => "LIVE".to_owned(),
    }
}

#[tokio::test]
async fn history_then_live_without_gap_or_overlap() {
    let hub = EventHub::new();
    hub.publish(warning("a"));
    hub.publish(warning("b"));
    let stream = hub.subscribe().unwrap();
    hub.publish(warning("c"));
    hub.publish(stopped());
    let seen: Vec<String> = stream.map(|delivery| detail(&delivery)).collect().await;
    assert_eq!(seen, ["a", "b", "LIVE", "c", "stopped"]);
}

#[tokio::test]
async fn after_the_stop_there_is_only_history() {
    let hub = EventHub::new();
    hub.publish(stopped());
    let seen: Vec<String> = hub
        .subscribe()
        .unwrap()
        .map(|delivery| detail(&delivery))
        .collect()
        .await;
    assert_eq!(seen, ["stopped", "LIVE"]);
}

#[tokio::test]
async fn what_is_printed_is_what_is_sent() {
    let hub = EventHub::new();
    let printed = hub.publish(warning("with \"quotes\"\nand lines"));
    assert!(!printed.contains('\n'));
    hub.publish(stopped());
    let first = hub.subscribe().unwrap().boxed().next().await.unwrap();
    assert_eq!(first, Delivery::Event(Message { id: 1, json: printed }));
}

#[tokio::test]
async fn one_who_falls_behind_is_let_go() {
    let hub = EventHub::new();
    let stream = hub.subscribe().unwrap();
    for _ in 0..=MAX_LAG {
        hub.publish(warning("more"));
    }
    let seen: Vec<String> = stream.map(|delivery| detail(&delivery)).collect().await;
    assert_eq!(seen, ["LIVE"], "no event is sent after a hole");
}

#[tokio::test]
async fn one_who_is_just_not_behind_gets_everything() {
    let hub = EventHub::new();
    let stream = hub.subscribe().unwrap();
    for _ in 1..MAX_LAG {
        hub.publish(warning("more"));
    }
    hub.publish(stopped());
    assert_eq!(stream.collect::<Vec<_>>().await.len(), 1 + MAX_LAG);
}

#[test]
fn seats_are_counted_and_given_back() {
    let hub = EventHub::new();
    let mut streams: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| hub.subscribe().unwrap()).collect();
    assert_eq!(hub.subscribe().err(), Some(TooManySubscribers));
    streams.pop();
    assert!(hub.subscribe().is_ok());
}

#[tokio::test]
async fn totals_count_also_what_is_forgotten() {
    let hub = EventHub::new();
    for sequence in 0..250 {
        hub.publish(settled(sequence));
    }
    let stream = hub.subscribe().unwrap();
    drop(hub);
    let seen: Vec<Delivery> = stream.collect().await;
    assert_eq!(seen.len(), 201);
    assert_eq!(
        seen.last(),
        Some(&Delivery::Live(Totals {
            settled: 250,
            ..Totals::default()
        }))
    );
    let Some(Delivery::Event(oldest)) = seen.first() else {
        panic!("the history comes first")
    };
    assert_eq!(oldest.id, 51);
}
