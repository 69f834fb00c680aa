//! The events for fulfilment: the feed and the exchange carry the same events.

use std::collections::BTreeMap;

use payhook_simulator::{AntomKind, AntomStatus};
use serde_json::Value;

use crate::harness::{TestPayhook, journeys};

journeys! { Plan::usual();
    the_feed_is_read_on_from_where_it_was_left,
}

/// Five events about three orders.
async fn five_events(payhook: &TestPayhook) {
    let payment = payhook.antom_order("F-1", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;

    let charge = payhook.omise_order("F-2", "240.00 THB").await;
    payhook.simulator.omise().authorize(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes("F-2", "authorized").await;
    payhook.simulator.omise().capture(&charge, 24_000).unwrap();
    payhook.omise_notifies(&charge, "charge.capture").await;
    payhook.becomes("F-2", "paid").await;
    payhook.simulator.omise().refund(&charge, 4000).unwrap();
    payhook.omise_notifies(&charge, "refund.create").await;

    let payment = payhook.antom_order("F-3", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Fail("RISK_REJECT".to_owned()));
    payhook.antom_notifies(&payment, AntomKind::State).await;

    payhook.events_are("F-1", &["order.paid"]).await;
    payhook.events_are("F-2", &["order.authorized", "order.paid", "order.refunded"]).await;
    payhook.events_are("F-3", &["payment.failed"]).await;
}

async fn the_feed_is_read_on_from_where_it_was_left(payhook: &TestPayhook) {
    five_events(payhook).await;
    let whole = payhook.feed().await.unwrap();
    assert_eq!(whole.len(), 5, "{whole:#?}");
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/v1/events?after={after}&limit=2");
        let (status, page) = payhook.call(reqwest::Method::GET, &path, None).await.unwrap();
        assert_eq!(status.as_u16(), 200, "{page}");
        let events = page["events"].as_array().unwrap().clone();
        let next = page["next"].as_i64().unwrap();
        assert!(events.is_empty() || next > after, "{page}");
        after = next;
        if events.is_empty() {
            break;
        }
        read.extend(events);
    }
    assert_eq!(read, whole);

    // Whoever waits hears of the next one.
    let payment = payhook.antom_order("F-4", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let path = format!("/v1/events?after={after}&wait=20s");
    let (waiting, ()) = tokio::join!(
        payhook.call(reqwest::Method::GET, &path, None),
        payhook.antom_notifies(&payment, AntomKind::State),
    );
    let (_, page) = waiting.unwrap();
    assert_eq!(page["events"][0]["subject"], "F-4", "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_carries_the_events_of_the_feed() {
    let Some(payhook) = TestPayhook::cluster().await else { return };
    five_events(&payhook).await;
    let feed = payhook.feed().await.unwrap();
    let mut messages = Vec::new();
    while messages.len() < feed.len() {
        let taken = payhook.until("messages on the exchange", async || {
            let taken = payhook.fulfilment_takes().await;
            if taken.is_empty() { Err("none".to_owned()) } else { Ok(taken) }
        });
        messages.extend(taken.await);
    }

    let mut carried = BTreeMap::new();
    for message in &messages {
        let properties = &message["properties"];
        let event: Value = serde_json::from_str(message["payload"].as_str().unwrap()).expect("an event is JSON");
        assert_eq!(message["exchange"], "payhook.events");
        let kind = event["type"].as_str().unwrap();
        assert_eq!(Some(message["routing_key"].as_str().unwrap()), kind.strip_prefix("payhook."), "{message:#}");
        assert_eq!(properties["message_id"], event["id"], "{message:#}");
        assert_eq!(properties["content_type"], "application/cloudevents+json", "{message:#}");
        assert_eq!(properties["delivery_mode"], 2, "{message:#}");
        for name in ["id", "type", "source", "subject", "time"] {
            assert_eq!(properties["headers"][format!("cloudEvents_{name}")], event[name], "{name}: {message:#}");
        }
        let scalars = properties["headers"].as_object().unwrap().values().all(|it| !it.is_array() && !it.is_object());
        assert!(scalars, "headers are flat: {message:#}");
        let seen = carried.insert(event["id"].as_str().unwrap().to_owned(), event.clone());
        assert!(seen.is_none_or(|seen| seen == event), "one id, one event: {message:#}");
    }
    let fed: BTreeMap<String, Value> =
        feed.into_iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect();
    assert_eq!(carried, fed);
    payhook.ends_well().await;
}
