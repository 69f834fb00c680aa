//! Messages that no queue takes: refused where they were not acknowledged yet, shown and moved back where they were,
//! counted where nobody wants them.

use std::time::Duration;

use payhook_schema::PaymentId;
use payhook_simulator::{AntomKind, AntomStatus, Reply};
use serde_json::{Value, json};

use crate::harness::{Plan, TestPayhook};

const WORK: &str = "payhook.notifications";
/// As a provider resends, only sooner.
const RESENDS: [Duration; 120] = [Duration::from_millis(250); 120];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_work_queue_nothing_is_acknowledged_and_nothing_is_lost() {
    let Some(payhook) = Plan::usual().cluster().await else { return };
    let vhost = payhook.vhost();
    let deleted = format!("/queues/{}/{WORK}", vhost.name);
    let unbound = format!("/bindings/{}/e/{WORK}/q/{WORK}/~", vhost.name);
    for (round, cut) in [deleted, unbound].iter().enumerate() {
        let before = paid_payment(&payhook, &format!("U-{round}")).await;
        payhook.antom_notifies(&before, AntomKind::State).await;
        payhook.becomes(&format!("U-{round}"), "paid").await;
        vhost.admin("DELETE", cut, None).await.unwrap();

        let orders: Vec<String> = (0..5).map(|n| format!("U-{round}-{n}")).collect();
        let mut payments = Vec::new();
        for order in &orders {
            let payment = paid_payment(&payhook, order).await;
            let reply = payhook.antom_signed(&payment, AntomKind::State).send().await.unwrap();
            assert_eq!(reply.status, 503, "{}\n{}", reply.body, payhook.log_tails());
            payments.push(payment);
        }
        assert_eq!(ready(&payhook, "payhook.unrouted").await, 0, "what was refused is nowhere");
        // Whoever looks sees it: the balancer, the person, the alarm.
        for name in ["ingress-1", "ingress-2", "worker-1", "worker-2"] {
            payhook.not_ready(name).await;
        }
        let checked = payhook.cli(&["check", "--json"]).await.ends_with(1).json();
        assert_eq!(state_of(&checked, "queue"), Some("BAD"), "{checked:#}");
        payhook.metric("payhook_queue_routes_ok", 0.0).await;

        payhook.cli(&["migrate"]).await.ends_with(0);
        for name in payhook.names() {
            payhook.ready(&name).await;
        }
        payhook.cli(&["check"]).await.ends_with(0);
        for (order, payment) in orders.iter().zip(&payments) {
            let replies = payhook.antom_signed(payment, AntomKind::State).send_until_acknowledged(&RESENDS).await;
            assert!(replies.last().unwrap().as_ref().is_ok_and(Reply::acknowledged), "{replies:?}");
            payhook.becomes(order, "paid").await;
        }
        payhook.metric("payhook_queue_routes_ok", 1.0).await;
    }
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_unrouted_is_shown_and_moved_back_by_a_command_and_by_a_worker() {
    let Some(payhook) = Plan::usual().cluster().await else { return };
    payhook.cli(&["queue", "unrouted"]).await.ends_with(3);
    payhook.stop("worker-1");
    payhook.stop("worker-2");
    let by_hand = paid_payment(&payhook, "U-1").await;
    payhook.antom_notifies(&by_hand, AntomKind::State).await;
    goes_astray(&payhook).await;
    let listed = payhook.cli(&["queue", "unrouted", "--json"]).await.ends_with(0).json();
    assert_eq!(listed["unrouted"][0]["kind"], "hint", "{listed}");
    let key = format!("antom/shop/{by_hand}");
    assert_eq!(listed["unrouted"][0]["key"], key, "{listed}");
    let shown = payhook.cli(&["queue", "unrouted"]).await.ends_with(0);
    assert!(shown.stdout.contains(&key), "{}", shown.stdout);
    assert!(!shown.stdout.contains(payhook.marker()), "no body is shown");
    let checked = payhook.cli(&["check", "--json"]).await.json();
    assert_eq!(state_of(&checked, "queue payhook.unrouted"), Some("note"), "{checked:#}");

    let moved = payhook.cli(&["queue", "unrouted", "--republish", "--json"]).await.ends_with(0).json();
    assert_eq!((&moved["hints"], &moved["left"]), (&json!(1), &json!(0)), "{moved}");
    payhook.cli(&["queue", "unrouted", "--republish"]).await.ends_with(3);
    payhook.cli(&["queue", "unrouted", "--limit", "1", "--republish"]).await.ends_with(2);
    payhook.start("worker-1");
    payhook.becomes("U-1", "paid").await;

    // With a worker there, nobody has to.
    payhook.stop("worker-1");
    let by_itself = paid_payment(&payhook, "U-2").await;
    payhook.antom_notifies(&by_itself, AntomKind::State).await;
    goes_astray(&payhook).await;
    payhook.restart("worker-1").await;
    payhook.becomes("U-2", "paid").await;
    payhook.restart("worker-2").await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_no_queue_wants_are_counted_and_not_kept() {
    let Some(payhook) = Plan::usual().cluster().await else { return };
    unbind_fulfilment(&payhook).await;
    let payment = paid_payment(&payhook, "U-1").await;
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.events_are("U-1", &["order.paid"]).await;
    payhook.metric("payhook_events_unwanted_total{type=\"payhook.order.paid.v1\"}", 1.0).await;
    assert_eq!(ready(&payhook, "payhook.unrouted").await, 0);
    // A queue bound later gets what happens later; what happened before is in the feed.
    bind_fulfilment(&payhook).await;
    let payment = paid_payment(&payhook, "U-2").await;
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("U-2", "paid").await;
    assert_eq!(arrived(&payhook, 1).await, ["U-2"]);
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_must_reach_a_queue_wait_with_an_alarm_and_hold_up_no_other_order() {
    let plan = Plan::usual().tables("[events]\nmust_route = [\"payhook.order.paid.v1\"]\n");
    let Some(payhook) = plan.cluster().await else { return };
    unbind_fulfilment(&payhook).await;
    let payment = paid_payment(&payhook, "U-1").await;
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("U-1", "paid").await;
    payhook.metric("payhook_events_waiting_for_a_queue", 1.0).await;
    payhook.logged("no queue is bound to `payhook.events` for them").await;
    // Another order's event, of a type that need not arrive, is past.
    let failed = payhook.antom_order("U-2", "30.00 THB").await;
    payhook.antom_decides(&failed, AntomStatus::Fail("RISK_REJECT".to_owned()));
    payhook.antom_notifies(&failed, AntomKind::State).await;
    payhook.metric("payhook_events_unwanted_total{type=\"payhook.payment.failed.v1\"}", 1.0).await;
    bind_fulfilment(&payhook).await;
    assert_eq!(arrived(&payhook, 1).await, ["U-1"]);
    payhook.metric("payhook_events_waiting_for_a_queue", 0.0).await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_of_one_file_are_counted_beside_the_process_that_owns_it() {
    let payhook = TestPayhook::one_file().await;
    let stats = payhook.cli(&["queue", "stats", "--json"]).await.ends_with(0).json();
    assert_eq!(names_of(&stats)[0], WORK, "{stats}");
    let shown = payhook.cli(&["queue", "stats"]).await.ends_with(0);
    assert!(shown.stdout.contains("payhook.retry.1s"), "{}", shown.stdout);
    payhook.cli(&["queue", "unrouted"]).await.ends_with(3);
    payhook.cli(&["queue", "unrouted", "--republish"]).await.ends_with(3);
    payhook.cli(&["queue"]).await.ends_with(2);
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_of_a_broker_are_counted_with_their_consumers() {
    let Some(payhook) = Plan::usual().cluster().await else { return };
    payhook
        .until("two workers take from the work queue", async || {
            let stats = payhook.cli(&["queue", "stats", "--json"]).await.ends_with(0).json();
            let work = stats["queues"].as_array().unwrap().iter().find(|queue| queue["queue"] == WORK);
            let work = work.expect("the work queue is there");
            if work["consumers"] == 2 { Ok(()) } else { Err(stats.to_string()) }
        })
        .await;
    payhook.ends_well().await;
}

async fn paid_payment(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payment
}

/// Moves all that waits for the workers to where the broker would have put it, had the work queue been away.
async fn goes_astray(payhook: &TestPayhook) {
    let vhost = payhook.vhost();
    let get = json!({ "count": 100, "ackmode": "ack_requeue_false", "encoding": "base64" });
    let taken = vhost.admin("POST", &format!("/queues/{}/{WORK}/get", vhost.name), Some(get)).await.unwrap();
    let hints = taken.as_array().unwrap().iter().filter(|message| message["properties"]["type"] != "payhook.probe");
    let mut count = 0;
    for message in hints {
        let again = json!({
            "routing_key": message["routing_key"], "payload": message["payload"], "payload_encoding": "base64",
            "properties": message["properties"],
        });
        let exchange = format!("/exchanges/{}/payhook.unrouted/publish", vhost.name);
        let sent = vhost.admin("POST", &exchange, Some(again)).await.unwrap();
        assert_eq!(sent["routed"], true, "{sent}");
        count += 1;
    }
    assert!(count > 0, "there was something: {taken}");
}

fn binding_of_fulfilment(payhook: &TestPayhook) -> String {
    format!("/bindings/{}/e/payhook.events/q/fulfilment", payhook.vhost().name)
}

async fn unbind_fulfilment(payhook: &TestPayhook) {
    let bound = format!("{}/%23", binding_of_fulfilment(payhook));
    payhook.vhost().admin("DELETE", &bound, None).await.unwrap();
}

async fn bind_fulfilment(payhook: &TestPayhook) {
    let bind = json!({ "routing_key": "#" });
    payhook.vhost().admin("POST", &binding_of_fulfilment(payhook), Some(bind)).await.unwrap();
}

/// Waits for so many events on fulfilment's queue, and returns what they are about.
async fn arrived(payhook: &TestPayhook, count: usize) -> Vec<String> {
    let mut subjects = Vec::new();
    let end = std::time::Instant::now() + Duration::from_secs(45);
    while subjects.len() < count {
        assert!(std::time::Instant::now() < end, "{subjects:?}\n{}", payhook.log_tails());
        for message in payhook.fulfilment_takes().await {
            let event: Value = serde_json::from_str(message["payload"].as_str().unwrap()).unwrap();
            subjects.push(event["subject"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    subjects
}

async fn ready(payhook: &TestPayhook, queue: &str) -> u64 {
    let stats = payhook.cli(&["queue", "stats", "--json"]).await;
    // Where a queue is missing, the others are looked at one by one.
    if stats.code != 0 {
        let path = format!("/queues/{}/{queue}", payhook.vhost().name);
        return payhook.vhost().admin("GET", &path, None).await.unwrap()["messages"].as_u64().unwrap_or(0);
    }
    let stats = stats.json();
    let found = stats["queues"].as_array().unwrap().iter().find(|depth| depth["queue"] == queue);
    found.unwrap_or_else(|| panic!("no {queue} in {stats}"))["ready"].as_u64().unwrap()
}

fn names_of(stats: &Value) -> Vec<&str> {
    stats["queues"].as_array().unwrap().iter().map(|queue| queue["queue"].as_str().unwrap()).collect()
}

fn state_of<'a>(checked: &'a Value, what: &str) -> Option<&'a str> {
    let found = checked["findings"].as_array()?.iter().find(|finding| finding["what"] == what)?;
    found["state"].as_str()
}
