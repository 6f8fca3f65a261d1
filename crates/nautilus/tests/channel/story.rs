//! What happens when nothing goes wrong.

use rustix::process::Signal;

use crate::program::run;
use crate::world::{World, acknowledged, text};

#[test]
fn a_node_attests_to_a_verifier_elsewhere_and_is_rewarded() {
    for address in ["tcp://127.0.0.1:0", "unix"] {
        let world = World::new();
        let socket = format!("unix://{}", text(&world.path().join("v.sock")));
        let address = if address == "unix" { &socket } else { address };
        let verifier = world.verifier(address, &[]);
        let mut node = world.node(&verifier.address, &verifier.key, &[]);
        let channel = node.next("channel");
        assert_eq!(channel["peer"], "verifier", "{channel}");
        assert_eq!(channel["peer_key"], verifier.key.as_str(), "{channel}");
        assert_eq!(channel["address"], verifier.address.as_str(), "{channel}");
        assert_eq!(channel["group"], "X25519MLKEM768", "{channel}");
        assert_eq!(node.next("boot")["verdict"], "accepted");
        node.next("settled");
        node.next("settled");
        node.interrupt();
        let ended = node.ended_alone();
        ended.is_orderly();
        verifier.process.signal(Signal::TERM);
        let served = verifier.process.ended_soon();
        served.is_orderly_verifier();
        assert_eq!(world.settled(), acknowledged(&ended.events));
        let data = text(world.path());
        let nodes = run(["verifier", "nodes", "--json", "--data-dir", &data]);
        let nodes = nodes.ends_with(0).json();
        let [one] = nodes["nodes"].as_array().unwrap().as_slice() else {
            panic!("{nodes}");
        };
        assert_eq!(one["entry"]["platform"]["tee"], "simulated", "{nodes}");
    }
}
