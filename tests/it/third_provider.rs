//! A third provider, which no release knows, from the configuration to the event: nothing outside
//! `schema/src/provider.rs`, `provider/src/tamarind/` and the simulator was written for it.

use payhook_schema::Provider;

use crate::harness::{STRANGER, TestPayhook, id, journeys, money, shop};

journeys! { Plan::usual();
    an_order_is_paid_by_a_third_provider,
    forgeries_of_a_third_provider_are_refused_and_cost_nothing,
}

impl TestPayhook {
    /// Adds the account to the configuration of every process, without a restart.
    async fn takes_up_tamarind(&self) {
        let account = self.simulator.tamarind().config_toml(&shop(), &self.simulator.url());
        self.rereads_config(|text| text + &account).await;
        self.logged("tamarind.shop: a new account, taken up").await;
    }
}

async fn an_order_is_paid_by_a_third_provider(payhook: &TestPayhook) {
    payhook.takes_up_tamarind().await;
    let (payment, tamarind) = (id("TM/1"), payhook.simulator.tamarind());
    tamarind.create(&payment, money("120.00 THB"));
    payhook.registers("T-1", "120.00 THB", Provider::Tamarind, &payment).await;
    tamarind.pay(&payment).unwrap();
    let notification = tamarind.signed(&payhook.ingress(), &shop(), &payment, "paid").unwrap();
    payhook.delivers(&payhook.marked(notification)).await;

    let order = payhook.becomes("T-1", "paid").await;
    assert_eq!((&order["captured_minor"], &order["payments"][0]["provider"]), (&12_000.into(), &"tamarind".into()));
    let events = payhook.events_are("T-1", &["order.paid"]).await;
    assert_eq!(events[0]["data"]["provider"], "tamarind");
    let calls = payhook.simulator.journal().calls(Provider::Tamarind);
    assert!(calls.iter().any(|call| call.what == "GET /tamarind/payments/{id}"), "{calls:?}");
    payhook.recorded("T-1", "notification", 1).await;
}

async fn forgeries_of_a_third_provider_are_refused_and_cost_nothing(payhook: &TestPayhook) {
    payhook.takes_up_tamarind().await;
    let (payment, tamarind) = (id("TM-2"), payhook.simulator.tamarind());
    tamarind.create(&payment, money("120.00 THB"));
    tamarind.pay(&payment).unwrap();
    payhook.registers("T-2", "120.00 THB", Provider::Tamarind, &payment).await;
    let genuine = tamarind.signed(&payhook.ingress(), &shop(), &payment, "paid").unwrap();
    for forged in [
        genuine.clone().signed_by(&STRANGER),
        genuine.clone().flipped(20),
        genuine.clone().without_header("tamarind-signature"),
        genuine.with_header("tamarind-time", "1764331200"),
    ] {
        let reply = payhook.known(forged).send().await.unwrap();
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    let to = ["--account", "shop", "--payment", payment.as_str(), "--to", &payhook.ingress()];
    let sent = payhook.cli(&[&["send", "tamarind", "payment.paid", "--forge"] as &[&str], &to].concat()).await;
    assert!(sent.ends_with(0).stdout.contains("/tamarind/shop/notify  401  "));
    assert_eq!(payhook.asked(&payment), 0, "a forgery makes nobody ask");
    assert_eq!(payhook.order("T-2").await.unwrap()["state"], "pending");
    payhook.events_are("T-2", &[]).await;

    let sent = payhook.cli(&[&["send", "tamarind", "payment.paid"] as &[&str], &to].concat()).await;
    assert!(sent.ends_with(0).stdout.contains("/tamarind/shop/notify  200  "));
    payhook.becomes("T-2", "paid").await;
}
