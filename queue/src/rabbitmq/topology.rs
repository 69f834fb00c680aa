//! Every exchange, queue and binding, in one table: `migrate` declares it and `definitions` exports it.
//!
//! - Each queue is written to through the exchange of its name: one right per queue suffices.
//! - Retries wait in one queue per delay, because a queue blocks at its head. A retry that asks for less than the delay
//!   may wait behind others, and waits the whole delay at most.
//! - The work queue dead-letters to the terminal `payhook.dead` and never to a retry queue: the broker silently drops
//!   messages in a dead-letter cycle that no rejection broke.
//! - Dead lettering at least once needs `reject-publish`; without it the broker falls back to at most once.
//! - `payhook.notifications` has an alternate exchange since the first version, and it cannot be removed in place. It
//!   is bound to `payhook.returned`, so that a publish which the work queue did not take is refused, not acknowledged.

use std::collections::BTreeMap;

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use serde_json::{Value, json};

use super::rights;
use crate::delays::{Delays, delay_name};

pub(super) const NOTIFICATIONS: &str = "payhook.notifications";
pub(super) const DEAD: &str = "payhook.dead";
pub(super) const EVENTS: &str = "payhook.events";
/// Anything in it is a wiring fault.
pub(super) const UNROUTED: &str = "payhook.unrouted";
/// An exchange that no queue is bound to. An exchange bound to it has a destination, so the broker does not use its
/// alternate exchange; no queue takes the message, so the broker returns a mandatory publish to its publisher.
pub(super) const RETURNED: &str = "payhook.returned";

/// The most times the broker hands out one copy of a hint. It is the net below `suspects`, which counts over all copies
/// and gives up sooner: the broker counts a crash for everything that was held.
const WORK_DELIVERIES_MAX: i32 = 20;
/// The broker's own default would drop a dead letter; past this one it lies in `payhook.unrouted`.
const DEAD_DELIVERIES_MAX: i32 = 100;

/// Matches every key of a topic exchange; a fanout one does not look at it.
const EVERY_KEY: &str = "#";

pub(super) struct ExchangeDeclaration {
    name: String,
    kind: ExchangeKind,
    arguments: Arguments,
}

pub(super) struct QueueDeclaration {
    name: String,
    arguments: Arguments,
}

type Arguments = BTreeMap<&'static str, Argument>;

enum Argument {
    Text(String),
    Number(i32),
    /// Longer than an `i32` of milliseconds reaches.
    Long(i64),
}

/// Every queue is bound to the exchange of its own name, with an empty key.
pub(super) struct Topology {
    exchanges: Vec<ExchangeDeclaration>,
    queues: Vec<QueueDeclaration>,
    /// Exchanges that are bound to [`RETURNED`].
    returning: Vec<&'static str>,
}

pub(super) fn retry_name(delay: std::time::Duration) -> String {
    format!("payhook.retry.{}", delay_name(delay))
}

impl Topology {
    pub(super) fn new(delays: &Delays) -> Self {
        let mut exchanges = vec![
            exchange(UNROUTED, ExchangeKind::Fanout, None),
            exchange(NOTIFICATIONS, ExchangeKind::Fanout, Some(UNROUTED)),
            exchange(DEAD, ExchangeKind::Fanout, Some(UNROUTED)),
            exchange(EVENTS, ExchangeKind::Topic, None),
            exchange(RETURNED, ExchangeKind::Fanout, None),
        ];
        let mut queues = vec![
            queue(UNROUTED, []),
            queue(NOTIFICATIONS, dead_lettering(DEAD, ("x-delivery-limit", Argument::Number(WORK_DELIVERIES_MAX)))),
            queue(DEAD, dead_lettering(UNROUTED, ("x-delivery-limit", Argument::Number(DEAD_DELIVERIES_MAX)))),
        ];
        for delay in delays.iter() {
            let name = retry_name(delay);
            let ttl_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            let ttl = i32::try_from(ttl_ms).map_or(Argument::Long(ttl_ms), Argument::Number);
            exchanges.push(exchange(&name, ExchangeKind::Fanout, None));
            queues.push(queue(&name, dead_lettering(NOTIFICATIONS, ("x-message-ttl", ttl))));
        }
        // A confirmed notification is in the work queue, not in one that waits for a person.
        Self { exchanges, queues, returning: vec![NOTIFICATIONS] }
    }

    /// The topology of a broker whose `payhook.events` was declared with an alternate exchange, as versions before this
    /// one did. The argument cannot be changed in place, and deleting the exchange would delete the bindings of the
    /// merchants' queues: so it stays, and is made to return what nobody wants.
    pub(super) fn with_alternate_of_events(mut self) -> Self {
        self.exchanges.retain(|exchange| exchange.name != EVENTS);
        self.exchanges.push(exchange(EVENTS, ExchangeKind::Topic, Some(UNROUTED)));
        self.returning.push(EVENTS);
        self
    }

    /// Declares all of it. A part that exists as declared stays untouched; a part that differs is an error.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        for ExchangeDeclaration { name, kind, arguments } in &self.exchanges {
            let name = name.as_str().into();
            channel.exchange_declare(name, kind.clone(), durable, field_table(arguments)).await?;
        }
        for QueueDeclaration { name, arguments } in &self.queues {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.as_str().into(), options, field_table(arguments)).await?;
            let (name, no_key) = (name.as_str(), "".into());
            channel
                .queue_bind(name.into(), name.into(), no_key, QueueBindOptions::default(), FieldTable::default())
                .await?;
        }
        for source in &self.returning {
            let (to, every_key) = (RETURNED.into(), EVERY_KEY.into());
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(to, (*source).into(), every_key, options, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Returns the number of questions `declare` asks the broker.
    pub(super) fn steps(&self) -> usize {
        self.exchanges.len() + 2 * self.queues.len() + self.returning.len()
    }

    /// The same as RabbitMQ's definitions file, for `rabbitmqctl import_definitions`.
    pub(super) fn definitions(&self, vhost: &str) -> Value {
        let exchange = |exchange: &ExchangeDeclaration| {
            json!({
                "vhost": vhost, "name": exchange.name, "type": kind_word(&exchange.kind), "durable": true,
                "auto_delete": false, "internal": false, "arguments": json_object(&exchange.arguments),
            })
        };
        let queue = |queue: &QueueDeclaration| {
            json!({
                "vhost": vhost, "name": queue.name, "durable": true, "auto_delete": false,
                "arguments": json_object(&queue.arguments),
            })
        };
        let binding = |queue: &QueueDeclaration| {
            json!({
                "vhost": vhost, "source": queue.name, "destination": queue.name, "destination_type": "queue",
                "routing_key": "", "arguments": {},
            })
        };
        let returning = |source: &&str| {
            json!({
                "vhost": vhost, "source": source, "destination": RETURNED, "destination_type": "exchange",
                "routing_key": EVERY_KEY, "arguments": {},
            })
        };
        json!({
            "vhosts": [{ "name": vhost }],
            "users": rights::users(),
            "permissions": rights::permissions(vhost),
            "exchanges": self.exchanges.iter().map(exchange).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(queue).collect::<Vec<_>>(),
            "bindings": self.queues.iter().map(binding).chain(self.returning.iter().map(returning)).collect::<Vec<_>>(),
        })
    }
}

fn kind_word(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(kind) => kind,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

fn exchange(name: &str, kind: ExchangeKind, alternate: Option<&str>) -> ExchangeDeclaration {
    let arguments = alternate.map(|alternate| ("alternate-exchange", Argument::Text(alternate.to_owned())));
    ExchangeDeclaration { name: name.to_owned(), kind, arguments: arguments.into_iter().collect() }
}

fn queue<const N: usize>(name: &str, arguments: [(&'static str, Argument); N]) -> QueueDeclaration {
    let mut arguments = Arguments::from(arguments);
    arguments.insert("x-queue-type", Argument::Text("quorum".to_owned()));
    QueueDeclaration { name: name.to_owned(), arguments }
}

/// A queue that loses nothing: what leaves it otherwise than by an ack goes to `target`, and stays until it is there.
fn dead_lettering(target: &str, limit: (&'static str, Argument)) -> [(&'static str, Argument); 4] {
    [
        ("x-dead-letter-exchange", Argument::Text(target.to_owned())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
        limit,
    ]
}

fn field_table(arguments: &Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in arguments {
        let value = match argument {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongInt(*number),
            Argument::Long(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert((*name).into(), value);
    }
    table
}

fn json_object(arguments: &Arguments) -> Value {
    let value = |argument: &Argument| match argument {
        Argument::Text(text) => json!(text),
        Argument::Number(number) => json!(number),
        Argument::Long(number) => json!(number),
    };
    arguments
        .iter()
        .map(|(name, argument)| ((*name).to_owned(), value(argument)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
