//! `deploy/rabbitmq-definitions.json` is what `migrate` declares, for brokers that are set up by import.

use std::time::Duration;

#[test]
fn the_deployed_definitions_are_the_codes() {
    let delays = [1, 5, 30, 120, 600, 3_600, 21_600].map(Duration::from_secs);
    let declared = payhook_queue::rabbitmq::definitions("payhook", &delays).unwrap();
    let deployed = include_str!("../../../deploy/rabbitmq-definitions.json");
    let expected = serde_json::to_string_pretty(&declared).unwrap() + "\n";
    assert_eq!(deployed, expected, "write this into deploy/rabbitmq-definitions.json:\n{expected}");
}
