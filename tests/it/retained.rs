//! History ends at its age. Open items stay, and repeats change nothing.

use payhook_schema::PaymentId;
use payhook_simulator::{AntomKind, AntomStatus, SignedRequest};
use reqwest::Method;
use serde_json::Value;

use crate::harness::{TestPayhook, journeys, money};

const SHORT: &str = "[retention]\nnotifications = \"2s\"\ntimeline = \"2s\"\nevents = \"2s\"\ndead_letters = \"2s\"\naudit = \"2s\"\n\
    replays = \"2s\"\n";

journeys! { Plan::usual().tables(super::SHORT);
    closed_things_end_and_open_ones_stay,
    a_repeat_of_what_is_long_gone_asks_once_and_changes_nothing,
}

impl TestPayhook {
    async fn list(&self, path: &str, what: &str) -> Result<Vec<Value>, String> {
        let (_, page) = self.call(Method::GET, path, None).await?;
        page[what].as_array().cloned().ok_or_else(|| page.to_string())
    }

    /// Waits until nothing is left of what happened to an order, and it is still what it was.
    async fn forgets(&self, order: &str, state: &str) {
        self.until(&format!("nothing is left of {order}'s history"), async || {
            let (timeline, events) = (self.timeline(order).await?, self.events(order).await?);
            if timeline.is_empty() && events.is_empty() { Ok(()) } else { Err(format!("{timeline:#?} {events:#?}")) }
        })
        .await;
        assert_eq!(self.order(order).await.unwrap()["state"], state);
    }

    /// Counts hints that changed nothing: the provider was asked, or immediately before.
    async fn repeats(&self) -> u64 {
        self.counted("unchanged").await + self.counted("repeated").await
    }

    async fn pays(&self, order: &str) -> (PaymentId, SignedRequest) {
        let payment = self.antom_order(order, "120.00 THB").await;
        self.antom_decides(&payment, AntomStatus::Success);
        let request = self.antom_signed(&payment, AntomKind::State);
        self.delivers(&request).await;
        self.becomes(order, "paid").await;
        (payment, request)
    }
}

async fn closed_things_end_and_open_ones_stay(payhook: &TestPayhook) {
    payhook.underpaid("HELD").await;
    payhook.becomes("HELD", "held").await;
    // This one is never registered.
    let unknown = payhook.simulator.omise().new_charge_id();
    payhook.simulator.omise().create(&unknown, money("50.00 THB"));
    payhook.simulator.omise().pay(&unknown).unwrap();
    payhook.omise_notifies(&unknown, "charge.complete").await;
    let letter = payhook.dies(&unknown).await;

    // It was paid last: when its history has ended, all older history has.
    payhook.pays("PAID").await;
    payhook.forgets("PAID", "paid").await;
    payhook.logged("deleted history older than its age").await;
    let kinds: Vec<Value> = payhook.timeline("HELD").await.unwrap();
    for kind in ["registered", "notification", "inquiry", "transition"] {
        assert!(kinds.iter().any(|entry| entry["kind"] == kind), "{kind}: {kinds:#?}");
    }
    assert_eq!(payhook.events("HELD").await.unwrap().len(), 1);
    assert_eq!(payhook.dead_letters().await.unwrap(), std::slice::from_ref(&letter));
    let archived = payhook.list("/v1/notifications?limit=100", "notifications").await.unwrap();
    assert!(archived.iter().any(|it| it["id"] == letter["notification_id"]), "{archived:#?}");

    // A reader that was left behind hears of it; one that begins does not.
    let (status, problem) = payhook.call(Method::GET, "/v1/events?after=1", None).await.unwrap();
    assert_eq!(status.as_u16(), 410, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    let (_, after) = detail.rsplit_once("after=").expect("the answer says where to go on");
    let path = format!("/v1/events?after={}", after.trim_end_matches('.'));
    assert_eq!(payhook.call(Method::GET, &path, None).await.unwrap().0.as_u16(), 200);
    assert_eq!(payhook.call(Method::GET, "/v1/events", None).await.unwrap().0.as_u16(), 200);

    // Closed things end: the letter, its notification, and the audit entry of its discard.
    let id = letter["id"].as_str().unwrap();
    payhook.cli(&["dead", "discard", "--id", id, "--reason", "another shop's"]).await.ends_with(0);
    payhook
        .until("the dead letter and its audit entry end", async || {
            let (letter, _) = payhook.call(Method::GET, &format!("/v1/dead-letters/{id}"), None).await?;
            let audit = payhook.list("/v1/audit", "audit").await?;
            if letter.as_u16() == 404 && audit.is_empty() { Ok(()) } else { Err(format!("{letter} {audit:?}")) }
        })
        .await;
}

async fn a_repeat_of_what_is_long_gone_asks_once_and_changes_nothing(payhook: &TestPayhook) {
    let (payment, request) = payhook.pays("R-1").await;
    let order = payhook.order("R-1").await.unwrap();
    payhook.forgets("R-1", "paid").await;
    let (asked, before) = (payhook.asked(&payment), payhook.repeats().await);

    payhook.delivers(&request).await;
    payhook
        .until("the repeat is dealt with", async || match payhook.repeats().await {
            seen if seen > before => Ok(()),
            seen => Err(format!("{seen}")),
        })
        .await;
    assert!(payhook.asked(&payment) <= asked + 1, "one question at most");
    let again = payhook.order("R-1").await.unwrap();
    for same in ["state", "version", "captured_minor", "refunded_minor", "hold"] {
        assert_eq!(again[same], order[same], "{same}: {again}");
    }
    assert_eq!(payhook.events("R-1").await.unwrap(), [] as [Value; 0]);
    payhook.forgets("R-1", "paid").await;
    if payhook.is_cluster() {
        let paid: Vec<Value> = payhook.fulfilment_takes().await;
        assert_eq!(paid.len(), 1, "order.paid, once: {paid:#?}");
    }
}
