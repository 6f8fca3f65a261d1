use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::backoff::seeded;

const SECOND: Duration = Duration::from_secs(1);
const JUST: Duration = Duration::from_nanos(1);

fn node(number: usize) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    NodeId(bytes)
}

fn channel(number: usize) -> MessageId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    MessageId(bytes)
}

fn open(sessions: &Sessions, number: usize, now: Duration) -> Opened {
    let ticket = sessions.admit(now).unwrap();
    sessions.open(ticket, node(number), channel(number), now).unwrap()
}

/// A table in which every session was last used at `now`.
fn full(now: Duration) -> (Sessions, Vec<SessionPlace>) {
    let sessions = Sessions::new();
    let places = (0..SESSIONS)
        .map(|number| {
            let opened = open(&sessions, number, now);
            assert_eq!(opened.evicted, None);
            opened.place
        })
        .collect();
    (sessions, places)
}

#[test]
fn handshakes_end_at_their_cap_and_a_dropped_ticket_frees_its_place() {
    let sessions = Sessions::new();
    let mut tickets: Vec<_> = (0..HANDSHAKES).map(|_| sessions.admit(SECOND).unwrap()).collect();
    // At exactly the grace nobody gives way.
    let refused = sessions.admit(SECOND + HELLO_GRACE).unwrap_err();
    assert_eq!(refused, ChannelError::HandshakesFull(32));
    assert!(tickets.iter().all(|ticket| !ticket.is_cut()));
    tickets.pop();
    assert_eq!(sessions.handshakes(), HANDSHAKES - 1);
    let _last = sessions.admit(SECOND + HELLO_GRACE).unwrap();
    assert_eq!(sessions.handshakes(), HANDSHAKES);
}

#[test]
fn the_oldest_handshake_without_a_hello_gives_way() {
    let sessions = Sessions::new();
    let tickets: Vec<_> = (0..HANDSHAKES as u32)
        .map(|number| sessions.admit(JUST * number).unwrap())
        .collect();
    tickets[0].progressed();
    tickets[2].progressed();
    let newcomer = sessions.admit(3 * SECOND).unwrap();
    let cut: Vec<_> = tickets.iter().map(HandshakeTicket::is_cut).collect();
    assert_eq!(cut.iter().position(|cut| *cut), Some(1), "{cut:?}");
    assert_eq!(cut.iter().filter(|cut| **cut).count(), 1);
    assert_eq!(sessions.handshakes(), HANDSHAKES);
    // Whoever was cut opens nothing, and takes nobody's place with it when it goes.
    let mut tickets = tickets;
    let refused = sessions
        .open(tickets.remove(1), node(1), channel(1), 3 * SECOND)
        .unwrap_err();
    assert_eq!(refused, ChannelError::HandshakesFull(32));
    assert_eq!((sessions.handshakes(), sessions.list()), (HANDSHAKES, vec![]));
    assert!(!newcomer.is_cut());
}

#[test]
fn whoever_has_shown_its_hello_is_never_cut() {
    let sessions = Sessions::new();
    let tickets: Vec<_> = (0..HANDSHAKES)
        .map(|_| sessions.admit(Duration::ZERO).unwrap())
        .collect();
    tickets.iter().for_each(HandshakeTicket::progressed);
    let refused = sessions.admit(1000 * SECOND).unwrap_err();
    assert_eq!(refused, ChannelError::HandshakesFull(32));
    assert!(tickets.iter().all(|ticket| !ticket.is_cut()));
}

#[test]
fn ten_thousand_silent_connections_do_not_lock_a_peer_out() {
    let sessions = Sessions::new();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        match sessions.admit(Duration::ZERO) {
            Ok(ticket) => held.push(ticket),
            Err(ChannelError::HandshakesFull(32)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((held.len(), refused), (HANDSHAKES, 10_000 - HANDSHAKES));
    let opened = open(&sessions, 1, HELLO_GRACE + JUST);
    assert_eq!(opened.evicted, None);
    assert_eq!(held.iter().filter(|ticket| ticket.is_cut()).count(), 1);
}

#[test]
fn a_cut_wakes_who_waits_for_it() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Count(std::sync::atomic::AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let sessions = Sessions::new();
    let tickets: Vec<_> = (0..HANDSHAKES)
        .map(|_| sessions.admit(Duration::ZERO).unwrap())
        .collect();
    let mut cuts: Vec<_> = tickets.iter().map(|ticket| Box::pin(ticket.cut())).collect();
    for cut in &mut cuts {
        assert_eq!(cut.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(cut.as_mut().poll(&mut context), Poll::Pending);
    }
    let _newcomer = sessions.admit(2 * SECOND).unwrap();
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(cuts[0].as_mut().poll(&mut context), Poll::Ready(()));
    assert_eq!(cuts[1].as_mut().poll(&mut context), Poll::Pending);
}

#[test]
fn a_node_has_one_session_and_the_newer_replaces_the_older() {
    let sessions = Sessions::new();
    let older = open(&sessions, 1, SECOND).place;
    let ticket = sessions.admit(2 * SECOND).unwrap();
    let newer = sessions.open(ticket, node(1), channel(2), 2 * SECOND).unwrap();
    assert_eq!(newer.evicted, Some((older.session(), Reason::Replaced)));
    assert!(!older.used(3 * SECOND));
    assert!(newer.place.used(3 * SECOND));
    // The older's end does not touch the newer.
    drop(older);
    let info = SessionInfo {
        session: newer.place.session(),
        node: node(1),
        channel_id: channel(2),
        since: 2 * SECOND,
        last_used: 3 * SECOND,
    };
    assert_eq!(sessions.list(), [info]);
}

#[test]
fn a_full_table_of_sessions_in_use_admits_nobody() {
    let (sessions, places) = full(SECOND);
    let refused = sessions.admit(SECOND + IDLE).unwrap_err();
    assert_eq!(refused, ChannelError::SessionsFull(100));
    assert_eq!(sessions.handshakes(), 0);
    drop(places);
    assert_eq!(sessions.list(), []);
    assert_eq!(open(&sessions, 7, SECOND + IDLE).evicted, None);
}

#[test]
fn the_session_that_was_idle_longest_gives_way_and_only_to_one_that_has_passed() {
    let (sessions, places) = full(SECOND);
    let now = SECOND + IDLE + JUST;
    for (number, place) in places.iter().enumerate() {
        // 41 was used longest ago, then 40.
        let at = match number {
            40 => 2 * JUST,
            41 => JUST,
            _ => SECOND,
        };
        assert!(place.used(SECOND + at));
    }
    let ticket = sessions.admit(now + 2 * JUST).unwrap();
    assert_eq!(sessions.list().len(), SESSIONS, "a handshake evicts nobody");
    // Nor does one that fails.
    drop(ticket);
    assert_eq!(sessions.list().len(), SESSIONS);
    let ticket = sessions.admit(now + 2 * JUST).unwrap();
    let opened = sessions
        .open(ticket, node(500), channel(500), now + 2 * JUST)
        .unwrap();
    assert_eq!(opened.evicted, Some((places[41].session(), Reason::Evicted)));
    assert_eq!(sessions.list().len(), SESSIONS);
    assert!(!places[41].used(now));
}

#[test]
fn a_session_that_is_used_again_during_a_handshake_keeps_its_place() {
    let (sessions, places) = full(Duration::ZERO);
    let now = IDLE + JUST;
    let ticket = sessions.admit(now).unwrap();
    assert!(places.iter().all(|place| place.used(now)));
    let refused = sessions.open(ticket, node(500), channel(500), now).unwrap_err();
    assert_eq!(refused, ChannelError::SessionsFull(100));
    assert_eq!((sessions.list().len(), sessions.handshakes()), (SESSIONS, 0));
}

#[test]
fn a_node_replaces_its_own_session_in_a_full_table_and_evicts_no_other() {
    let (sessions, places) = full(Duration::ZERO);
    let now = IDLE + JUST;
    let opened = open(&sessions, 3, now);
    assert_eq!(opened.evicted, Some((places[3].session(), Reason::Replaced)));
    assert_eq!(sessions.list().len(), SESSIONS);
}

#[test]
fn time_of_use_does_not_go_back() {
    let sessions = Sessions::new();
    let place = open(&sessions, 1, 5 * SECOND).place;
    assert!(place.used(SECOND));
    assert_eq!(sessions.list()[0].last_used, 5 * SECOND);
}

#[test]
fn a_ticket_of_another_table_opens_nothing() {
    let (one, other) = (Sessions::new(), Sessions::new());
    let _own = one.admit(SECOND).unwrap();
    let foreign = other.admit(SECOND).unwrap();
    let refused = one.open(foreign, node(1), channel(1), SECOND).unwrap_err();
    assert_eq!(refused, ChannelError::HandshakesFull(32));
    assert_eq!(
        (one.handshakes(), other.handshakes(), one.list().len()),
        (1, 0, 0)
    );
}

/// A model of the table, as far as its users see it, beside the table, for 100,000 random operations.
#[test]
fn no_order_of_operations_breaks_a_cap_or_leaks_a_place() {
    for seed in 0..4 {
        random_walk(seed, 25_000);
    }
}

fn random_walk(seed: u64, operations: usize) {
    let mut random = seeded(seed);
    let mut below = move |bound: usize| (random() % bound as u64) as usize;
    let sessions = Sessions::new();
    let mut now = Duration::ZERO;
    let mut tickets: Vec<HandshakeTicket> = Vec::new();
    // What is open, by the results that were given.
    let mut open: HashMap<SessionId, (SessionPlace, NodeId, Duration)> = HashMap::new();
    // Places whose owners have not yet seen that they gave way.
    let mut orphans: Vec<SessionPlace> = Vec::new();
    let mut seen = [0_usize; 6];
    for step in 0..operations {
        // Busy and quiet times, so that the table fills up and sessions grow idle.
        now += match below(400) {
            0 => Duration::from_secs(70),
            1..40 => Duration::from_millis(300),
            _ => JUST,
        };
        match below(10) {
            0..4 => match sessions.admit(now) {
                Ok(ticket) => tickets.push(ticket),
                Err(ChannelError::HandshakesFull(HANDSHAKES)) => {
                    assert_eq!(sessions.handshakes(), HANDSHAKES);
                    seen[0] += 1;
                }
                Err(ChannelError::SessionsFull(SESSIONS)) => {
                    assert_eq!(open.len(), SESSIONS);
                    assert!(open.values().all(|(.., used)| now - *used <= IDLE));
                    seen[1] += 1;
                }
                Err(other) => panic!("{other}"),
            },
            4..7 if !tickets.is_empty() => {
                let ticket = tickets.swap_remove(below(tickets.len()));
                let was_cut = ticket.is_cut();
                let whose = node(below(150));
                match sessions.open(ticket, whose, channel(0), now) {
                    Ok(Opened { place, evicted }) => {
                        assert!(!was_cut);
                        if let Some((gone, why)) = evicted {
                            let (place, node, used) = open.remove(&gone).unwrap();
                            match why {
                                Reason::Replaced => assert_eq!(node, whose),
                                Reason::Evicted => {
                                    assert!(now - used > IDLE);
                                    assert!(open.values().all(|(.., other)| *other >= used));
                                    assert_eq!(open.len() + 1, SESSIONS);
                                }
                                other => panic!("{other:?}"),
                            }
                            seen[if why == Reason::Evicted { 2 } else { 3 }] += 1;
                            orphans.push(place);
                        }
                        open.insert(place.session(), (place, whose, now));
                    }
                    Err(ChannelError::HandshakesFull(HANDSHAKES)) => {
                        assert!(was_cut);
                        seen[4] += 1;
                    }
                    Err(ChannelError::SessionsFull(SESSIONS)) => {
                        assert!(!was_cut && open.len() == SESSIONS);
                        seen[5] += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            7 if !tickets.is_empty() => tickets[below(tickets.len())].progressed(),
            8 if !tickets.is_empty() => drop(tickets.swap_remove(below(tickets.len()))),
            _ if !open.is_empty() => {
                let any = *open.keys().nth(below(open.len())).unwrap();
                match below(12) {
                    0 => drop(open.remove(&any)),
                    1 => orphans.clear(),
                    _ => {
                        let (place, _, used) = open.get_mut(&any).unwrap();
                        assert!(place.used(now));
                        *used = now;
                    }
                }
            }
            _ => {}
        }
        if step % 8 == 0 {
            let list = sessions.list();
            assert!(list.len() <= SESSIONS);
            assert_eq!(list.len(), open.len());
            let nodes: HashSet<_> = list.iter().map(|info| info.node).collect();
            assert_eq!(nodes.len(), list.len(), "a node has two sessions");
        }
        assert!(sessions.handshakes() <= HANDSHAKES);
        let alive = tickets.iter().filter(|ticket| !ticket.is_cut()).count();
        assert_eq!(sessions.handshakes(), alive);
    }
    assert!(seen.iter().all(|count| *count > 0), "seed {seed}: {seen:?}");
    for info in sessions.list() {
        let (_, node, used) = &open[&info.session];
        assert_eq!((info.node, info.last_used), (*node, *used));
    }
    drop((tickets, open, orphans));
    assert_eq!((sessions.handshakes(), sessions.list()), (0, vec![]));
}
