//! SIGHUP: keys change while everything runs, and a mistake changes nothing.

use std::sync::LazyLock;

use payhook_simulator::{AntomKind, AntomStatus, Keys, SignedRequest};
use serde_json::Value;

use crate::harness::{KEYS, STRANGER, TestPayhook, journeys, other};

/// The keys that the providers sign with after the change.
pub(crate) static NEW: LazyLock<Keys> = LazyLock::new(Keys::generate);

journeys! { Plan::usual();
    omises_new_secret_is_taken_up_while_the_old_one_holds_until_it_is_dropped,
    antoms_new_key_is_taken_up_beside_the_old_one_until_one_is_dropped,
    a_configuration_with_mistakes_changes_nothing_and_every_mistake_is_logged,
    what_needs_a_restart_is_said_and_not_half_done,
    an_account_that_is_dropped_is_gone_until_it_is_back,
}

/// Replaces one line of the tables of the account `shop`: the first that begins so.
fn with_line(text: &str, begins: &str, line: &str) -> String {
    let from = text.find(&format!("\n{begins}")).expect("there is such a line") + 1;
    let to = from + text[from..].find('\n').expect("a line ends");
    format!("{}{line}{}", &text[..from], &text[to..])
}

async fn with_secrets(payhook: &TestPayhook, secrets: &[&str]) {
    payhook.rereads_config(|text| with_line(&text, "webhook_secrets", &format!("webhook_secrets = {secrets:?}"))).await;
}

pub(crate) async fn with_antom_keys(payhook: &TestPayhook, keys: &[(u32, &Keys)]) {
    let keys = keys.iter().map(|(version, keys)| format!("{version} = \"{}\"", keys.antom().public_key_base64()));
    let line = format!("public_keys = {{ {} }}", keys.collect::<Vec<_>>().join(", "));
    payhook.rereads_config(|text| with_line(&text, "public_keys", &line)).await;
}

/// Refused, and nobody is told why.
async fn is_refused(payhook: &TestPayhook, request: &SignedRequest) {
    let reply = payhook.known(request.clone()).send().await.unwrap();
    assert_eq!(reply.status, 401, "{}\n{}", reply.body, payhook.log_tails());
}

/// The report's line about one key: when it verified something last, and whether it still can.
fn last_use(report: &Value, account: &str, key: &str) -> (bool, bool) {
    let lines = report["keys"].as_array().expect("check tells of keys");
    let line = lines.iter().find(|line| line["account"] == account && line["key"] == key);
    let line = line.unwrap_or_else(|| panic!("{account} {key} is not in {lines:#?}"));
    (line["last_at"].is_string(), line["configured"] == true)
}

/// Returns the name of a webhook secret, as it is where its use is shown.
fn name_of(keys: &Keys) -> String {
    keys.webhook().name()
}

/// A charge that is paid, and the event that says so, signed by either secret.
async fn paid_charge(payhook: &TestPayhook, order: &str, keys: &Keys) -> SignedRequest {
    let charge = payhook.omise_order(order, "90.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.known(payhook.omise_signed(&charge, "charge.complete").signed_by(keys))
}

async fn omises_new_secret_is_taken_up_while_the_old_one_holds_until_it_is_dropped(payhook: &TestPayhook) {
    payhook.keep_secret("a webhook secret", NEW.webhook_secret());
    let early = paid_charge(payhook, "G-1", &NEW).await;
    is_refused(payhook, &early).await;

    let before = paid_charge(payhook, "G-0", &KEYS).await;
    payhook.delivers(&before).await;
    payhook.becomes("G-0", "paid").await;

    // The new one in front, as the dashboard shows them: whose use is told moves with no place in the list.
    with_secrets(payhook, &[NEW.webhook_secret(), KEYS.webhook_secret()]).await;
    let report = payhook.checked().await;
    let (new_name, old_name) = (name_of(&NEW), name_of(&KEYS));
    assert_eq!(last_use(&report, "omise.shop", &old_name), (true, true), "{report:#}");
    assert_eq!(last_use(&report, "omise.shop", &new_name), (false, true), "{report:#}");
    payhook.delivers(&early).await;
    payhook.becomes("G-1", "paid").await;
    let old = paid_charge(payhook, "G-2", &KEYS).await;
    payhook.delivers(&old).await;
    payhook.becomes("G-2", "paid").await;
    let report = payhook.checked().await;
    assert_eq!(last_use(&report, "omise.shop", &new_name), (true, true), "{report:#}");
    assert_eq!(last_use(&report, "omise.shop", &old_name), (true, true), "{report:#}");
    assert_eq!(last_use(&report, "omise.other", &name_of(&STRANGER)), (false, true), "{report:#}");

    with_secrets(payhook, &[NEW.webhook_secret()]).await;
    let late = paid_charge(payhook, "G-3", &KEYS).await;
    for ingress in payhook.ingresses() {
        let mut late = late.clone();
        late.origin = ingress;
        is_refused(payhook, &late).await;
    }
    assert_eq!(payhook.order("G-3").await.unwrap()["state"], "pending");
    payhook.delivers(&late.signed_by(&NEW)).await;
    payhook.becomes("G-3", "paid").await;
    let report = payhook.checked().await;
    assert_eq!(last_use(&report, "omise.shop", &old_name), (true, false), "no longer configured: {report:#}");
}

/// A payment that is paid, and Antom's notification of it, signed under this version of this key.
async fn paid_payment(payhook: &TestPayhook, order: &str, version: u32, keys: &Keys) -> SignedRequest {
    let payment = payhook.antom_order(order, "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.known(payhook.antom_signed(&payment, AntomKind::State).signed_by_version(version, keys))
}

async fn antoms_new_key_is_taken_up_beside_the_old_one_until_one_is_dropped(payhook: &TestPayhook) {
    let early = paid_payment(payhook, "G-4", 2, &NEW).await;
    is_refused(payhook, &early).await;
    with_antom_keys(payhook, &[(1, &KEYS), (2, &NEW)]).await;
    payhook.delivers(&early).await;
    payhook.recorded("G-4", "notification", 1).await;
    let old = paid_payment(payhook, "G-5", 1, &KEYS).await;
    payhook.delivers(&old).await;
    payhook.recorded("G-5", "notification", 1).await;
    // Each key holds under its own version alone.
    is_refused(payhook, &paid_payment(payhook, "G-6", 1, &NEW).await).await;
    is_refused(payhook, &paid_payment(payhook, "G-7", 2, &KEYS).await).await;
    for order in ["G-4", "G-5"] {
        payhook.becomes(order, "paid").await;
    }
    let report = payhook.checked().await;
    assert_eq!(last_use(&report, "antom.shop", "keyVersion 1"), (true, true), "{report:#}");
    assert_eq!(last_use(&report, "antom.shop", "keyVersion 2"), (true, true), "{report:#}");

    // Antom signs its answers with the new one alone, and the old one is dropped.
    payhook.simulator.antom().set_key(2, &NEW);
    with_antom_keys(payhook, &[(2, &NEW)]).await;
    let late = paid_payment(payhook, "G-8", 1, &KEYS).await;
    is_refused(payhook, &late).await;
    payhook.delivers(&late.signed_again()).await;
    payhook.becomes("G-8", "paid").await;
    let report = payhook.checked().await;
    assert_eq!(last_use(&report, "antom.shop", "keyVersion 1"), (true, false), "no longer configured: {report:#}");
}

async fn a_configuration_with_mistakes_changes_nothing_and_every_mistake_is_logged(payhook: &TestPayhook) {
    let broken = |text: String| {
        let text = with_line(&text, "webhook_secrets", "webhook_secrets = [\"not base64!\"]");
        let text = with_line(&text, "apply_token", "apply_token = \"perhaps\"");
        with_line(&text, "retry_delays", "retry_delays = [\"5s\", \"1s\"]")
    };
    let good = std::fs::read_to_string(payhook.config()).unwrap();
    payhook.rereads_config(broken).await;
    for name in payhook.names() {
        let log = payhook.log_of(&name);
        for part in [
            "omise.shop.webhook_secrets[0]",
            "antom.shop.apply_token",
            "retry_delays must rise",
            "so nothing was changed",
        ] {
            assert!(log.contains(part), "{name} does not log {part}:\n{log}");
        }
        assert!(!log.contains("not base64!"), "{name} repeats a secret:\n{log}");
    }
    let event = paid_charge(payhook, "G-9", &KEYS).await;
    payhook.delivers(&event).await;
    payhook.becomes("G-9", "paid").await;

    // Mended, it counts again.
    payhook.rereads_config(|_| good).await;
    let event = paid_charge(payhook, "G-10", &KEYS).await;
    payhook.delivers(&event).await;
    payhook.becomes("G-10", "paid").await;
}

async fn what_needs_a_restart_is_said_and_not_half_done(payhook: &TestPayhook) {
    payhook.rereads_config(|text| with_line(&text, "concurrency", "concurrency = 7")).await;
    for name in payhook.names() {
        let log = payhook.log_of(&name);
        assert!(log.contains("worker.concurrency changed and needs a restart"), "{name}:\n{log}");
    }
    let event = paid_charge(payhook, "G-11", &KEYS).await;
    payhook.delivers(&event).await;
    payhook.becomes("G-11", "paid").await;
}

async fn an_account_that_is_dropped_is_gone_until_it_is_back(payhook: &TestPayhook) {
    let omise = payhook.simulator.omise();
    let event = omise.happen("transfer.create").unwrap();
    let signed =
        || payhook.known(omise.signed_event(&payhook.ingress(), &other(), &event).unwrap().signed_by(&STRANGER));
    let good = std::fs::read_to_string(payhook.config()).unwrap();
    payhook.delivers(&signed()).await;
    payhook.rereads_config(|text| text[..text.find("[omise.other]").expect("it is there")].to_owned()).await;
    for _ in payhook.ingresses() {
        assert_eq!(signed().send().await.unwrap().status, 404);
    }
    for name in payhook.names() {
        let log = payhook.log_of(&name);
        assert!(log.contains("omise.other: removed"), "{name}:\n{log}");
    }
    payhook.rereads_config(|_| good).await;
    payhook.delivers(&signed()).await;
    payhook.outcomes("kept", 2).await;
}
