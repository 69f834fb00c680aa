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

#[test]
fn the_rights_in_the_deployed_definitions_are_those_the_document_lists() {
    let deployed: serde_json::Value =
        serde_json::from_str(include_str!("../../../deploy/rabbitmq-definitions.json")).unwrap();
    let document = include_str!("../../../deploy/README.md");
    let permissions = deployed["permissions"].as_array().unwrap();
    assert_eq!(permissions.len(), 4);
    for permission in permissions {
        let of = |name: &str| permission[name].as_str().unwrap().replace('|', r"\|");
        let row = format!("| `{}` | `{}` | `{}` | `{}` |", of("user"), of("configure"), of("write"), of("read"));
        assert!(document.contains(&row), "deploy/README.md lacks the row\n{row}");
    }
}
