//! The merchant's queue of events on the broker.

use serde_json::{Value, json};

use super::world::TestPayhook;

/// The queue of the merchant's program that ships what is paid.
const QUEUE: &str = "fulfilment";
const EXCHANGE: &str = "payhook.events";
/// More than any test makes.
const MESSAGES_MAX: u32 = 10_000;

impl TestPayhook {
    /// Binds a queue to the order events, as a merchant's program would.
    pub(super) async fn binds_fulfilment(&self) {
        let vhost = self.vhost();
        let queue = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
        let declared = vhost.admin("PUT", &format!("/queues/{}/{QUEUE}", vhost.name), Some(queue)).await;
        declared.expect("a queue can be declared");
        let bound = format!("/bindings/{}/e/{EXCHANGE}/q/{QUEUE}", vhost.name);
        let bound = vhost.admin("POST", &bound, Some(json!({ "routing_key": "#" }))).await;
        bound.expect("a queue can be bound");
    }

    /// Takes every event that is on the exchange's queue now, as the broker's management API shows messages.
    pub(crate) async fn fulfilment_takes(&self) -> Vec<Value> {
        let vhost = self.vhost();
        let get = json!({ "count": MESSAGES_MAX, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let taken = vhost.admin("POST", &format!("/queues/{}/{QUEUE}/get", vhost.name), Some(get)).await;
        match taken.expect("messages can be taken") {
            Value::Array(messages) => messages,
            other => panic!("not a list of messages: {other}"),
        }
    }
}
