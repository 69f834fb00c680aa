//! The verbs of a journey: register, notify, wait for what follows.

use std::sync::atomic::Ordering;

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus, Reply, SignedRequest};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::eventually;
use super::world::{TestPayhook, id, money, shop};

/// Larger than what any test here makes; the feed is read page by page all the same.
const PAGE: usize = 500;

/// Orders.
impl TestPayhook {
    /// Calls the merchant's API.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), String> {
        self.call_as(Some(&self.token), method, path, body).await
    }

    /// The same by whoever has this token, or none.
    pub(crate) async fn call_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), String> {
        let console = self.console_url();
        let mut request = self.http.request(method, format!("{console}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| format!("{path}: {error:?}"))?;
        let status = answer.status();
        Ok((status, answer.json().await.unwrap_or_default()))
    }

    /// The exact bytes of an answer.
    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", self.console_url())).bearer_auth(&self.token);
        let answer = request.send().await.expect("the console answers").error_for_status().expect("it has the bytes");
        answer.bytes().await.expect("it sends them").to_vec()
    }

    /// Returns the address of the API.
    pub(crate) fn console_url(&self) -> String {
        let processes = self.processes();
        let process = processes.get("console").or_else(|| processes.get("serve")).expect("somebody has the API");
        process.console.clone()
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        match self.call(Method::GET, path, None).await? {
            (StatusCode::OK, answer) => Ok(answer),
            (status, answer) => Err(format!("GET {path}: {status} {answer}")),
        }
    }

    /// Registers an order with one payment.
    pub(crate) async fn registers(&self, order: &str, amount: &str, provider: Provider, payment: &PaymentId) {
        self.registers_all(order, amount, &[(provider, payment)]).await;
    }

    /// Registers an order with all attempts to pay it; repeats until it is taken, as a merchant's program would.
    pub(crate) async fn registers_all(&self, order: &str, amount: &str, payments: &[(Provider, &PaymentId)]) {
        let amount = money(amount);
        let payments: Vec<Value> = payments
            .iter()
            .map(|(provider, payment)| json!({ "provider": provider, "account": shop(), "id": payment }))
            .collect();
        let body = json!({ "amount_minor": amount.amount_minor, "currency": amount.currency, "payments": payments });
        let path = format!("/v1/orders/{order}");
        self.until(&format!("{order} is registered"), async || {
            match self.call(Method::PUT, &path, Some(body.clone())).await? {
                (status, _) if status.is_success() => Ok(()),
                (status, answer) => Err(format!("{status} {answer}")),
            }
        })
        .await;
    }

    /// Registers an order to be paid by Antom, which knows the payment and has not decided it.
    pub(crate) async fn antom_order(&self, order: &str, amount: &str) -> PaymentId {
        let payment = id(&format!("PR-{order}"));
        self.simulator.antom().create(&payment, money(amount));
        self.registers(order, amount, Provider::Antom, &payment).await;
        payment
    }

    /// Registers an order of 500 baht, of which Omise's customer pays 50: it will be held.
    pub(crate) async fn underpaid(&self, order: &str) -> PaymentId {
        let (charge, omise) = (self.simulator.omise().new_charge_id(), self.simulator.omise());
        omise.create(&charge, money("50.00 THB"));
        self.registers(order, "500.00 THB", Provider::Omise, &charge).await;
        omise.pay(&charge).unwrap();
        self.omise_notifies(&charge, "charge.complete").await;
        charge
    }

    /// Registers an order to be paid by Omise, which knows the charge and waits for the customer.
    pub(crate) async fn omise_order(&self, order: &str, amount: &str) -> PaymentId {
        let charge = self.simulator.omise().new_charge_id();
        self.simulator.omise().create(&charge, money(amount));
        self.registers(order, amount, Provider::Omise, &charge).await;
        charge
    }

    pub(crate) fn antom_decides(&self, payment: &PaymentId, status: AntomStatus) {
        self.simulator.antom().decide(payment, status).expect("Antom knows it");
    }

    /// Asks the provider now.
    pub(crate) async fn refreshes(&self, order: &str) {
        let answer = self.call(Method::POST, &format!("/v1/orders/{order}/refresh"), None).await;
        assert_eq!(answer.map(|(status, _)| status), Ok(StatusCode::ACCEPTED));
    }

    /// Every order, newest first.
    pub(crate) async fn orders(&self) -> Result<Vec<Value>, String> {
        let mut answer = self.get("/v1/orders?limit=500").await?;
        Ok(answer["orders"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    pub(crate) async fn order(&self, order: &str) -> Result<Value, String> {
        self.get(&format!("/v1/orders/{order}")).await
    }

    /// Everything that happened to an order.
    pub(crate) async fn timeline(&self, order: &str) -> Result<Vec<Value>, String> {
        let mut answer = self.get(&format!("/v1/orders/{order}/timeline")).await?;
        Ok(answer["timeline"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// All events so far, in the order of the feed.
    pub(crate) async fn feed(&self) -> Result<Vec<Value>, String> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let mut answer = self.get(&format!("/v1/events?after={after}&limit={PAGE}")).await?;
            let page = answer["events"].as_array_mut().map(std::mem::take).unwrap_or_default();
            after = answer["next"].as_i64().ok_or("the feed names no next")?;
            let read = page.len();
            all.extend(page);
            if read < PAGE {
                return Ok(all);
            }
        }
    }

    /// The events of one order.
    pub(crate) async fn events(&self, order: &str) -> Result<Vec<Value>, String> {
        Ok(self.feed().await?.into_iter().filter(|event| event["subject"] == order).collect())
    }

    pub(crate) async fn dead_letters(&self) -> Result<Vec<Value>, String> {
        let mut answer = self.get("/v1/dead-letters?limit=500").await?;
        Ok(answer["dead_letters"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }
}

/// Notifications.
impl TestPayhook {
    /// Counts the inquiries to the providers about this payment.
    pub(crate) fn asked(&self, payment: &PaymentId) -> usize {
        self.simulator.journal().calls_for(payment).len()
    }

    /// Returns the address for the next notification: the ingresses take turns.
    pub(crate) fn ingress(&self) -> String {
        let all = self.ingresses();
        all[self.next_ingress.fetch_add(1, Ordering::Relaxed) % all.len()].clone()
    }

    pub(crate) fn ingresses(&self) -> Vec<String> {
        self.processes().values().filter_map(|process| process.ingress.clone()).collect()
    }

    /// Returns the request that Antom would send, with our marker in its body.
    pub(crate) fn antom_signed(&self, payment: &PaymentId, kind: AntomKind) -> SignedRequest {
        let signed = self.simulator.antom().signed(&self.ingress(), &shop(), payment, kind);
        self.marked(signed.expect("Antom would send it"))
    }

    /// Returns the request that Omise would send, with our marker in its body.
    pub(crate) fn omise_signed(&self, charge: &PaymentId, key: &str) -> SignedRequest {
        let signed = self.simulator.omise().signed(&self.ingress(), &shop(), charge, key);
        self.marked(signed.expect("Omise would send it"))
    }

    /// The same notification with a field more, signed anew: no log may show it.
    pub(crate) fn marked(&self, mut request: SignedRequest) -> SignedRequest {
        assert_eq!(request.body.first(), Some(&b'{'));
        request.body.splice(1..1, format!("\"extra\":\"{}\",", self.marker).into_bytes());
        self.known(request.signed_again())
    }

    /// Notes the request's signature as a secret of the logs.
    pub(crate) fn known(&self, request: SignedRequest) -> SignedRequest {
        for (_, value) in request.headers.iter().filter(|(name, _)| name.ends_with("signature")) {
            let value = value.rsplit_once("signature=").map_or(value.as_str(), |(_, signature)| signature);
            if !value.is_empty() {
                self.keep_secret("a signature", value);
            }
        }
        request
    }

    /// Antom notifies, and must be content with the answer.
    pub(crate) async fn antom_notifies(&self, payment: &PaymentId, kind: AntomKind) {
        self.delivers(&self.antom_signed(payment, kind)).await;
    }

    /// Omise notifies, and must be content with the answer.
    pub(crate) async fn omise_notifies(&self, charge: &PaymentId, key: &str) {
        self.delivers(&self.omise_signed(charge, key)).await;
    }

    /// Sends it once, and it must be acknowledged.
    pub(crate) async fn delivers(&self, request: &SignedRequest) {
        let reply = request.send().await;
        let acknowledged = reply.as_ref().is_ok_and(Reply::acknowledged);
        assert!(acknowledged, "{request:?} was answered {reply:?}\n{}", self.log_tails());
    }
}

/// Observations.
impl TestPayhook {
    /// Looks until it holds; otherwise fails with what was seen last and the end of every log.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        match eventually(look).await {
            Ok(seen) => seen,
            Err(last) => panic!("waited for: {what}\nlast seen: {last}\n{}", self.log_tails()),
        }
    }

    /// Waits until the workers have counted at least so many of these outcomes: `parked`, `unchanged`, `kept`, …
    pub(crate) async fn outcomes(&self, outcome: &str, count: u64) {
        self.until(&format!("{count} outcomes that are {outcome}"), async || match self.counted(outcome).await {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen}")),
        })
        .await;
    }

    /// Returns how many of these outcomes the workers have counted by now.
    pub(crate) async fn counted(&self, outcome: &str) -> u64 {
        let metric = format!("payhook_worker_outcomes_total{{outcome=\"{outcome}\"}} ");
        let mut seen = 0;
        for console in self.consoles() {
            let Ok(answer) = self.http.get(format!("{console}/metrics")).send().await else { continue };
            let text = answer.text().await.unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(&metric)?.parse::<u64>().ok());
            seen += value.unwrap_or(0);
        }
        seen
    }

    /// Waits until some process shows this metric, with its labels, at this value.
    pub(crate) async fn metric(&self, name: &str, expected: f64) {
        self.until(&format!("{name} at {expected}"), async || {
            let mut seen = Vec::new();
            for console in self.consoles() {
                let Ok(answer) = self.http.get(format!("{console}/metrics")).send().await else { continue };
                let text = answer.text().await.unwrap_or_default();
                let values = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
                seen.extend(values);
            }
            if seen.contains(&expected) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    /// A counter without labels, over all processes.
    pub(crate) async fn metric_sum(&self, name: &str) -> u64 {
        let mut sum = 0;
        for console in self.consoles() {
            let Ok(answer) = self.http.get(format!("{console}/metrics")).send().await else { continue };
            let text = answer.text().await.unwrap_or_default();
            sum += text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).sum::<u64>();
        }
        sum
    }

    /// Returns the addresses of each process's health and metrics.
    fn consoles(&self) -> Vec<String> {
        self.processes().values().map(|process| process.console.clone()).collect()
    }

    /// Waits until some process has logged this.
    pub(crate) async fn logged(&self, text: &str) {
        self.until(&format!("`{text}` in a log"), async || {
            let logs = self.names().iter().any(|name| self.log_of(name).contains(text));
            if logs { Ok(()) } else { Err("nobody says it".to_owned()) }
        })
        .await;
    }

    /// Waits until the order is in this state.
    pub(crate) async fn becomes(&self, order: &str, state: &str) -> Value {
        self.until(&format!("{order} is {state}"), async || {
            let seen = self.order(order).await?;
            if seen["state"] == state { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    }

    /// Waits until the timeline has at least so many entries of a kind, and returns the whole of it.
    pub(crate) async fn recorded(&self, order: &str, kind: &str, count: usize) -> Vec<Value> {
        self.until(&format!("{count} of {kind} in the timeline of {order}"), async || {
            let timeline = self.timeline(order).await?;
            // Of the same signed bytes, one entry says how often they came.
            let of_kind = timeline.iter().filter(|entry| entry["kind"] == kind);
            let found: u64 = of_kind.map(|entry| entry["detail"]["received"].as_u64().unwrap_or(1)).sum();
            if found >= count as u64 { Ok(timeline) } else { Err(format!("{timeline:#?}")) }
        })
        .await
    }

    /// Waits until the order has as many events in the feed, and fails unless they are these, with versions from 1
    /// without gaps.
    pub(crate) async fn events_are(&self, order: &str, types: &[&str]) -> Vec<Value> {
        let events = self
            .until(&format!("{types:?} in the feed for {order}"), async || {
                let events = self.events(order).await?;
                if events.len() >= types.len() { Ok(events) } else { Err(format!("{events:#?}")) }
            })
            .await;
        assert_eq!(types_of(&events), types, "{events:#?}");
        for (event, version) in events.iter().zip(1..) {
            assert_eq!(event["data"]["version"], version, "versions run from 1 without gaps: {events:#?}");
        }
        events
    }

    /// Waits for the dead letter of a payment.
    pub(crate) async fn dies(&self, payment: &PaymentId) -> Value {
        self.until(&format!("a dead letter of {payment}"), async || {
            let letters = self.dead_letters().await?;
            let ours = letters.iter().find(|letter| letter["payment_id"] == payment.as_str());
            ours.cloned().ok_or_else(|| format!("{letters:?}"))
        })
        .await
    }
}

/// `order.paid` of `payhook.order.paid.v1`.
pub(crate) fn types_of(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str().unwrap_or("?"));
    types.map(|it| it.trim_start_matches("payhook.").trim_end_matches(".v1")).collect()
}
