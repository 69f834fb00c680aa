//! The program without what it needs. Its work is tested with payhook itself, beside the other consumers.

use std::process::Command;

#[test]
fn a_variable_that_is_missing_is_named() {
    let ended = Command::new(env!("CARGO_BIN_EXE_payhook-example-consumer")).env_clear().output().expect("it starts");
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && text.contains("set AMQP_URL"), "{text}");
}
