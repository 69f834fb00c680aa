//! A captured request that is sent many times is counted, and neither stored, asked about, nor dead-lettered each time.

use std::time::Instant;

use futures_util::future::join_all;
use payhook_simulator::{AntomKind, AntomStatus, Reply, SignedRequest};
use serde_json::Value;

use crate::harness::{TestPayhook, journeys};

/// Ingress slows nobody down: the parts behind it must bear the load.
const UNLIMITED: &[(&str, &str)] = &[("PAYHOOK__INGRESS__REPEATS_PER_S", "1000000")];

journeys! { Plan::usual().environment(super::UNLIMITED);
    a_captured_notification_sent_two_thousand_times_is_counted_and_hardly_asked_about,
    a_captured_notification_of_an_unknown_charge_leaves_one_dead_letter,
}

mod limited {
    use super::*;

    journeys! { Plan::usual().workers(1);
        repeats_beyond_the_limit_are_answered_429_and_nothing_else_is,
    }
}

/// Sends a request so often, some at once; each must be acknowledged.
async fn floods(payhook: &TestPayhook, request: &SignedRequest, times: usize) {
    const AT_ONCE: usize = 10;
    let some = async || {
        for _ in 0..times / AT_ONCE {
            payhook.delivers(request).await;
        }
    };
    join_all((0..AT_ONCE).map(|_| some())).await;
}

async fn a_captured_notification_sent_two_thousand_times_is_counted_and_hardly_asked_about(payhook: &TestPayhook) {
    const TIMES: usize = 2000;
    let payment = payhook.antom_order("F-1", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let captured = payhook.antom_signed(&payment, AntomKind::State);
    payhook.delivers(&captured).await;
    payhook.becomes("F-1", "paid").await;
    let (before, started) = (payhook.asked(&payment), Instant::now());
    floods(payhook, &captured, TIMES).await;
    // The count is a lower bound: copies that are archived at the same moment may count as one.
    let timeline = payhook.recorded("F-1", "notification", 2).await;
    let asked = payhook.asked(&payment) - before;
    // Once in ten seconds by each of two workers, however long this takes.
    let bound = 2 * (1 + started.elapsed().as_secs() as usize / 10);
    assert!(asked <= bound, "asked {asked} times, at most {bound} are needed");
    let notified = timeline.iter().filter(|entry| entry["kind"] == "notification").count();
    assert_eq!(notified, 1, "{timeline:#?}");
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    payhook.events_are("F-1", &["order.paid"]).await;

    let shown =
        payhook.cli(&["notification", "list", "--payment", payment.as_str(), "--json"]).await.ends_with(0).json();
    let listed = shown["notifications"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{shown}");
    let received = listed[0]["received"].as_u64().unwrap();
    assert!((2..=TIMES as u64 + 1).contains(&received), "{shown}");
    let page = payhook.cli(&["order", "show", "F-1", "--limit", "1", "--json"]).await.ends_with(0).json();
    let next = page["timeline_next"].as_str().expect("there is more");
    let rest = payhook.cli(&["order", "show", "F-1", "--after", next, "--json"]).await.ends_with(0).json();
    assert_eq!(
        (page["timeline"][0]["kind"].as_str(), rest["timeline"][0] == page["timeline"][0]),
        (Some("registered"), false)
    );
}

async fn a_captured_notification_of_an_unknown_charge_leaves_one_dead_letter(payhook: &TestPayhook) {
    const TIMES: usize = 500;
    let omise = payhook.simulator.omise();
    let charge = omise.new_charge_id();
    omise.create(&charge, crate::harness::money("75.00 THB"));
    omise.pay(&charge).unwrap();
    let captured = payhook.omise_signed(&charge, "charge.complete");
    floods(payhook, &captured, TIMES).await;
    let letter = payhook.dies(&charge).await;
    assert_eq!((&letter["cause"], &letter["state"]), (&"unknown_payment".into(), &"open".into()), "{letter}");
    assert_eq!(payhook.asked(&charge), 0, "nobody is asked about what nobody registered");

    // Whatever comes now is the same fact, and raises the letter at once.
    let attempts = |letter: &Value| letter["attempts"].as_u64().unwrap();
    let before = attempts(&letter);
    floods(payhook, &captured, 50).await;
    payhook
        .until("the letter is raised", async || {
            let letters = payhook.dead_letters().await?;
            let raised = letters.len() == 1 && attempts(&letters[0]) > before;
            if raised { Ok(()) } else { Err(format!("{letters:#?}")) }
        })
        .await;
    payhook.registers("F-2", "75.00 THB", payhook_schema::Provider::Omise, &charge).await;
    payhook.becomes("F-2", "paid").await;
    payhook.events_are("F-2", &["order.paid"]).await;
    let notified = payhook.recorded("F-2", "notification", TIMES).await;
    assert_eq!(notified.iter().filter(|entry| entry["kind"] == "notification").count(), 1, "{notified:#?}");
}

async fn repeats_beyond_the_limit_are_answered_429_and_nothing_else_is(payhook: &TestPayhook) {
    let payment = payhook.antom_order("F-3", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let captured = payhook.antom_signed(&payment, AntomKind::State);
    payhook.delivers(&captured).await;
    let refused = payhook
        .until("a repeat is refused", async || {
            let replies = join_all((0..60).map(|_| captured.send())).await;
            let replies: Vec<Reply> = replies.into_iter().flatten().collect();
            assert!(replies.iter().all(|reply| [200, 429].contains(&reply.status)), "{replies:?}");
            replies.into_iter().find(|reply| reply.status == 429).ok_or_else(|| "none".to_owned())
        })
        .await;
    assert!(refused.body.contains("no need to send it again"), "{}", refused.body);
    // New notifications are served beside it.
    let new = payhook.omise_order("F-4", "10.00 THB").await;
    payhook.simulator.omise().pay(&new).unwrap();
    payhook.omise_notifies(&new, "charge.complete").await;
    payhook.becomes("F-4", "paid").await;
    payhook.becomes("F-3", "paid").await;
    payhook.logged("sent again and again").await;
}
