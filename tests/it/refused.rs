//! Requests that are not genuine, not readable, or not for us are refused as the interface says, at no cost to anybody.

use payhook_schema::PaymentId;
use payhook_simulator::{AntomKind, AntomStatus, SignedRequest};
use reqwest::Method;
use serde_json::Value;

use crate::harness::{KEYS, STRANGER, TestPayhook, journeys, other, shop};

/// The size of a body that is one byte too large for ingress.
const TOO_LARGE: usize = payhook_schema::BODY_BYTES_MAX + 1;

journeys! { Plan::usual();
    forgeries_of_antoms_are_refused_and_cost_nothing,
    forgeries_of_omises_are_refused_and_cost_nothing,
    genuine_notifications_that_nobody_can_read_are_kept_for_a_person,
    requests_of_the_wrong_form_are_refused,
    a_flood_of_forgeries_is_slowed_down_and_genuine_ones_pass,
}

/// Each is answered with its status, and nothing comes of it.
async fn refused(payhook: &TestPayhook, requests: &[(&str, SignedRequest, u16)]) {
    for (what, request, status) in requests {
        let reply = payhook.known(request.clone()).send().await.unwrap();
        assert_eq!(reply.status, *status, "{what}: {}", reply.body);
        assert!(!reply.body.contains(payhook.marker()), "{what}: the answer repeats the body: {}", reply.body);
        let problem: serde_json::Value = serde_json::from_str(&reply.body).expect("problem details");
        assert_eq!(problem["status"], *status, "{what}: {problem}");
        if *status == 401 {
            assert_eq!(problem.get("detail"), None, "{what}: nobody is told why: {problem}");
        }
    }
    // A request for an account is worth one line, also where it is none of ours: somebody may have mistyped it. What is
    // in a body never is.
    let for_an_account = |request: &SignedRequest| request.path.ends_with("/notifyPayment");
    let is_told = |request: &SignedRequest, status| status != 405 && (status != 404 || for_an_account(request));
    let to_us = requests.iter().filter(|(_, request, status)| is_told(request, *status)).count();
    let lines = || -> usize {
        let lines = |name: &String| payhook.log_of(name).matches("refused a request: ").count();
        payhook.names().iter().map(lines).sum()
    };
    // The log is written beside the answers.
    let written = async || if lines() < to_us { Err(lines().to_string()) } else { Ok(()) };
    payhook.until(&format!("{to_us} refusals in the logs"), written).await;
    assert_eq!(lines(), to_us, "one line each");
}

/// The same bytes, posted to another path.
fn to(request: &SignedRequest, path: &str) -> SignedRequest {
    let mut request = request.clone();
    path.clone_into(&mut request.path);
    request
}

/// After the refusals, one genuine notification: the first thing the order and the provider hear of.
async fn only_the_genuine_one_counts(payhook: &TestPayhook, order: &str, payment: &PaymentId, genuine: &SignedRequest) {
    assert_eq!(payhook.asked(payment), 0, "a refused request made us ask");
    payhook.delivers(genuine).await;
    payhook.becomes(order, "paid").await;
    payhook.events_are(order, &["order.paid"]).await;
    let timeline = payhook.timeline(order).await.unwrap();
    let notified = timeline.iter().filter(|entry| entry["kind"] == "notification").count();
    assert_eq!((notified, payhook.asked(payment)), (1, 1), "{timeline:#?}");
}

async fn forgeries_of_antoms_are_refused_and_cost_nothing(payhook: &TestPayhook) {
    let payment = payhook.antom_order("R-1", "900.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let genuine = payhook.antom_signed(&payment, AntomKind::State);
    let middle = genuine.body.len() / 2;
    let elsewhere = |path: &str| to(&genuine, path);
    let twice = |name: &str, value: &str| {
        let mut request = genuine.clone();
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    };
    let header = |name: &str| genuine.header(name).unwrap().to_owned();
    let requests = [
        ("a stranger's key", genuine.clone().signed_by(&STRANGER), 401),
        ("another account's path", elsewhere(&format!("/antom/{}/notifyPayment", other())), 401),
        ("another call's path", elsewhere(&format!("/antom/{}/notifyRefund", shop())), 401),
        ("another client", genuine.clone().for_client(STRANGER.client_id()), 401),
        ("a flipped bit", genuine.clone().flipped(middle), 401),
        ("a byte less", genuine.clone().trimmed(), 401),
        ("the same JSON in other bytes", genuine.clone().reencoded(), 401),
        ("no signature", genuine.clone().without_header("signature"), 401),
        ("no request time", genuine.clone().without_header("request-time"), 401),
        ("no client id", genuine.clone().without_header("client-id"), 401),
        ("another request time", genuine.clone().with_header("request-time", "2026-01-01T00:00:00+08:00"), 401),
        ("an empty signature", genuine.clone().with_header("signature", ""), 401),
        ("a signature header in no form", genuine.clone().with_header("signature", "garbage"), 400),
        (
            "a key version nobody has",
            genuine.clone().with_header("signature", &header("signature").replace("keyVersion=1", "keyVersion=9")),
            401,
        ),
        ("a doubled signature", twice("signature", &header("signature")), 401),
        ("a doubled client id", twice("client-id", &header("client-id")), 401),
    ];
    refused(payhook, &requests).await;
    only_the_genuine_one_counts(payhook, "R-1", &payment, &genuine).await;
}

async fn forgeries_of_omises_are_refused_and_cost_nothing(payhook: &TestPayhook) {
    let charge = payhook.omise_order("R-2", "900.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let genuine = payhook.omise_signed(&charge, "charge.complete");
    let middle = genuine.body.len() / 2;
    let header = |name: &str| genuine.header(name).unwrap().to_owned();
    let twice = |name: &str, value: &str| {
        let mut request = genuine.clone();
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    };
    let to_other = to(&genuine, &format!("/omise/{}", other()));
    let requests = [
        ("a stranger's secret", genuine.clone().signed_by(&STRANGER), 401),
        ("another account's path", to_other, 401),
        ("a flipped bit", genuine.clone().flipped(middle), 401),
        ("a line feed less", genuine.clone().trimmed(), 401),
        ("the same JSON in other bytes", genuine.clone().reencoded(), 401),
        ("no signature", genuine.clone().without_header("omise-signature"), 401),
        ("no timestamp", genuine.clone().without_header("omise-signature-timestamp"), 401),
        ("another timestamp", genuine.clone().with_header("omise-signature-timestamp", "1700000000"), 401),
        ("an empty signature", genuine.clone().with_header("omise-signature", ""), 401),
        ("a signature header in no form", genuine.clone().with_header("omise-signature", "garbage"), 400),
        ("a doubled signature", twice("omise-signature", &header("omise-signature")), 401),
        ("a doubled timestamp", twice("omise-signature-timestamp", &header("omise-signature-timestamp")), 401),
    ];
    refused(payhook, &requests).await;
    only_the_genuine_one_counts(payhook, "R-2", &charge, &genuine).await;
}

/// The body changed, then signed by the provider's own key.
fn rewritten(request: &SignedRequest, from: &str, to: &str) -> SignedRequest {
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert!(body.contains(from), "{from} is not in {body}");
    with_body(request, body.replacen(from, to, 1))
}

fn with_body(request: &SignedRequest, body: impl Into<Vec<u8>>) -> SignedRequest {
    let mut request = request.clone();
    request.body = body.into();
    request.signed_again()
}

async fn genuine_notifications_that_nobody_can_read_are_kept_for_a_person(payhook: &TestPayhook) {
    let payment = payhook.antom_order("R-3", "900.00 THB").await;
    let charge = payhook.omise_order("R-4", "900.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.simulator.omise().pay(&charge).unwrap();
    let antom = payhook.antom_signed(&payment, AntomKind::State);
    let omise = payhook.omise_signed(&charge, "charge.complete");
    let half = |request: &SignedRequest| with_body(request, &request.body[..request.body.len() / 2]);
    let doubled = format!(r#""paymentRequestId":"PR-other","paymentRequestId":"{payment}""#);
    let one = format!(r#""paymentRequestId":"{payment}""#);
    let deep = format!(r#""paymentRequestId":{}{}"#, "[".repeat(500), "]".repeat(500));
    let requests = [
        ("half of Antom's JSON", half(&antom)),
        ("half of Omise's JSON", half(&omise)),
        ("nothing", with_body(&antom, "")),
        ("a list", with_body(&antom, "[]")),
        ("two documents", with_body(&antom, [antom.body.as_slice(), &antom.body].concat())),
        ("bytes that are no UTF-8", with_body(&antom, [b"{\"a\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat())),
        ("a key twice", rewritten(&antom, &one, &doubled)),
        ("lists nested too deep", rewritten(&antom, &one, &deep)),
        ("an object where a text belongs", rewritten(&antom, &one, r#""paymentRequestId":{"id":"x"}"#)),
        ("a list where a text belongs", rewritten(&antom, &one, r#""paymentRequestId":["x"]"#)),
        ("a payment without its id", rewritten(&antom, &one, r#""otherId":"x""#)),
        ("an id no id can be", rewritten(&antom, &one, r#""paymentRequestId":"a\u0000b""#)),
        ("an event that is no event", rewritten(&omise, r#""object": "event""#, r#""object": "charge""#)),
        ("a number where an event's id belongs", rewritten(&omise, r#""id": "evnt"#, r#""id": 7, "was": "evnt"#)),
        ("a refund without its charge", refund_of(&omise, "{}")),
        ("a refund that is a transfer", refund_of(&omise, r#"{"object":"transfer","id":"trsf_test_1"}"#)),
    ];
    for (what, request) in &requests {
        let reply = payhook.known(request.clone()).send().await.unwrap();
        assert!(reply.acknowledged(), "{what}: {} {}", reply.status, reply.body);
    }
    refused(payhook, &[("a body that is too large", with_body(&antom, vec![b' '; TOO_LARGE]), 413)]).await;
    let letters = payhook
        .until("all of them are dead letters", async || {
            let letters = payhook.dead_letters().await?;
            if letters.len() == requests.len() { Ok(letters) } else { Err(format!("{letters:#?}")) }
        })
        .await;
    assert!(letters.iter().all(|letter| letter["cause"] == "poison"), "{letters:#?}");
    bytes_are_exact(payhook, &letters, &requests).await;

    // A replay reads the bytes anew; this version cannot read them either, and loses nothing.
    let id = letters[0]["id"].as_str().unwrap();
    payhook.cli(&["dead", "replay", "--id", id, "--reason", "a newer version may read it"]).await.ends_with(1);
    payhook
        .until("the replayed letter is open again", async || {
            let letters = payhook.dead_letters().await?;
            let (_, replays) = payhook.call(Method::GET, "/v1/replays", None).await?;
            let over = replays["replays"][0]["state"] != "running";
            if letters.len() == requests.len() && over { Ok(()) } else { Err(format!("{replays:#} {letters:#?}")) }
        })
        .await;
    only_the_genuine_one_counts(payhook, "R-3", &payment, &antom).await;
    only_the_genuine_one_counts(payhook, "R-4", &charge, &omise).await;
}

/// The same event, of a refund whose data is `data`.
fn refund_of(event: &SignedRequest, data: &str) -> SignedRequest {
    let mut event_json: Value = serde_json::from_slice(&event.body).unwrap();
    event_json["key"] = "refund.create".into();
    event_json["data"] = serde_json::from_str(data).unwrap();
    with_body(event, event_json.to_string())
}

/// The archive has the bytes of each of Omise's. Antom's are not shown: what nobody can read may hold a token.
async fn bytes_are_exact(payhook: &TestPayhook, letters: &[Value], requests: &[(&str, SignedRequest)]) {
    let mut bodies = Vec::new();
    for letter in letters.iter().filter(|letter| letter["provider"] == "omise") {
        let path = format!("/v1/notifications/{}/body", letter["notification_id"].as_str().unwrap());
        bodies.push(payhook.bytes(&path).await);
    }
    let sent =
        requests.iter().filter(|(_, request)| request.path.starts_with("/omise")).map(|(_, request)| &request.body);
    let (mut sent, count) = (sent.cloned().collect::<Vec<_>>(), bodies.len());
    sent.sort();
    bodies.sort();
    assert_eq!(count, 5);
    assert!(bodies == sent, "the archive has other bytes than were sent");
}

async fn requests_of_the_wrong_form_are_refused(payhook: &TestPayhook) {
    let payment = payhook.antom_order("R-5", "900.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let genuine = payhook.antom_signed(&payment, AntomKind::State);
    let to = |path: &str| to(&genuine, path);
    let put = {
        let mut request = genuine.clone();
        "PUT".clone_into(&mut request.method);
        request
    };
    let typed = |value: &str| genuine.clone().with_header("content-type", value);
    let requests = [
        ("an account nobody configured", to("/antom/nobody/notifyPayment"), 404),
        ("an account with a strange name", to("/antom/..%2Fshop/notifyPayment"), 404),
        ("a call Antom does not have", to("/antom/shop/notifyEverything"), 404),
        ("another path", to("/"), 404),
        ("another method", put, 405),
        ("no content type", genuine.clone().without_header("content-type"), 415),
        ("a text", typed("text/plain"), 415),
        ("another charset", typed("application/json; charset=tis-620"), 415),
        ("a compressed body", genuine.clone().with_header("content-encoding", "gzip"), 415),
    ];
    refused(payhook, &requests).await;
    only_the_genuine_one_counts(payhook, "R-5", &payment, &genuine).await;
}

async fn a_flood_of_forgeries_is_slowed_down_and_genuine_ones_pass(payhook: &TestPayhook) {
    let payment = payhook.antom_order("R-6", "900.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let genuine = payhook.antom_signed(&payment, AntomKind::State);
    let forged = payhook.known(genuine.clone().signed_by(&STRANGER));
    // All to one ingress: each counts for itself.
    let replies = forged.send_together(300).await;
    let answered = |status| replies.iter().filter(|it| it.as_ref().is_ok_and(|it| it.status == status)).count();
    let (refused, slowed) = (answered(401), answered(429));
    assert_eq!(refused + slowed, 300, "{refused} refused, {slowed} told to slow down, of 300");
    assert!(slowed > 0, "nobody was told to slow down");
    assert_eq!(KEYS.client_id(), genuine.header("client-id").unwrap());
    only_the_genuine_one_counts(payhook, "R-6", &payment, &genuine).await;
}
