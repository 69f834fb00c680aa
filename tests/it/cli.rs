//! The commands as users type them: what they print, and how they end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use payhook_simulator::{AntomKind, AntomStatus};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Plan, Process, Ran, TestPayhook, eventually, free_port, id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_registered_shown_listed_and_refreshed() {
    let payhook = TestPayhook::one_file().await;
    let registered =
        payhook.cli(&["order", "register", "C-1", "--amount", "120.00 THB", "--payment", "antom/shop/PR-C-1"]);
    let registered = registered.await.ends_with(0);
    assert!(registered.stdout.starts_with("C-1  pending  120.00 THB"), "{}", registered.stdout);

    // Repeated it is fine; with another amount it is not, and the reason is shown.
    payhook.cli(&["order", "register", "C-1", "--amount", "120.00 THB"]).await.ends_with(0);
    let conflict = payhook.cli(&["order", "register", "C-1", "--amount", "121.00 THB"]).await.ends_with(1);
    assert!(conflict.stdout.is_empty() && conflict.stderr.contains("120.00 THB"), "{conflict:?}");

    let payment = id("PR-C-1");
    payhook.simulator.antom().create(&payment, "120.00 THB".parse().unwrap());
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.cli(&["order", "refresh", "C-1"]).await.ends_with(0);
    payhook.becomes("C-1", "paid").await;

    let shown = payhook.cli(&["order", "show", "C-1"]).await.ends_with(0);
    assert!(shown.stdout.contains("order pending -> paid"), "{}", shown.stdout);
    let shown = payhook.cli(&["order", "show", "C-1", "--json"]).await.ends_with(0).json();
    assert_eq!((&shown["state"], &shown["captured_minor"]), (&json!("paid"), &json!(12_000)), "{shown}");
    assert_eq!(shown["timeline"][0]["kind"], "registered", "{shown}");

    payhook.cli(&["order", "register", "C-2", "--amount", "5 JPY"]).await.ends_with(0);
    let listed = payhook.cli(&["order", "list"]).await.ends_with(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(
        lines.len() == 3 && lines[1].contains("C-2") && lines[2].contains("C-1"),
        "newest first:\n{}",
        listed.stdout
    );
    let paid = payhook.cli(&["order", "list", "--state", "paid", "--json"]).await.ends_with(0).json();
    assert_eq!((paid["orders"].as_array().map(Vec::len), &paid["orders"][0]["order_id"]), (Some(1), &json!("C-1")));
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_distinguish_failed_misused_and_not_found() {
    let payhook = TestPayhook::one_file().await;
    for nothing in [
        &["order", "show", "C-9"] as &[&str],
        &["order", "refresh", "C-9"],
        &["order", "list", "--state", "held"],
        &["dead", "list"],
    ] {
        let ran = payhook.cli(nothing).await.ends_with(3);
        assert!(ran.stdout.is_empty(), "{nothing:?} printed {}", ran.stdout);
    }
    for misused in [
        &["order", "frobnicate"] as &[&str],
        &["order", "register", "C-1"],
        &["order", "register", "C-1", "--amount", "much"],
        &["order", "register", "C-1", "--amount", "1.00 THB", "--payment", "nonsense"],
        &["order", "list", "--state", "unheard-of"],
        &["nonsense"],
        &[],
    ] {
        let ran = payhook.cli(misused).await.ends_with(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{misused:?}: {ran:?}");
    }
    // Another address, where nobody listens.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let ran = payhook.cli(&["order", "list", "--url", &nowhere]).await.ends_with(1);
    assert!(ran.stderr.contains("cannot reach the console") && ran.stderr.contains("hint:"), "{}", ran.stderr);
    let ran = payhook.cli(&["order", "list", "--token", "not-the-token-at-all"]).await.ends_with(1);
    assert!(
        ran.stderr.contains("the token is missing or unknown") && !ran.stderr.contains("not-the-token"),
        "{}",
        ran.stderr
    );
    // A server that is there and is not the console knows nothing of dead letters: ingress, or a page that answers
    // everything.
    for other in [payhook.ingresses().remove(0), payhook.simulator.url().clone()] {
        let ran = payhook.cli(&["dead", "list", "--url", &other]).await.ends_with(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("hint:"), "{other}: {}", ran.stderr);
    }
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_as_a_table_and_as_json() {
    let payhook = Plan::usual().retry_delays(&["1s"]).one_file().await;
    let payment = id("PR-C-3");
    payhook.simulator.antom().create(&payment, "120.00 THB".parse().unwrap());
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let letter = payhook.dies(&payment).await;
    let table = payhook.cli(&["dead", "list", "--since", "1h"]).await.ends_with(0);
    assert!(table.stdout.contains(letter["id"].as_str().unwrap()), "{}", table.stdout);
    let list = payhook.cli(&["dead", "list", "--provider", "antom", "--json"]).await.ends_with(0).json();
    assert_eq!(list["dead_letters"], json!([letter]));
    payhook.cli(&["dead", "list", "--cause", "poison"]).await.ends_with(3);
    payhook.cli(&["dead", "show", letter["id"].as_str().unwrap()]).await.ends_with(0);
    payhook.ends_well().await;
}

/// A folder as a user has it, with the simulated providers beside it as a process of their own.
struct Beginner {
    simulate: Process,
    config: PathBuf,
    console: u16,
    simulator: String,
    _folder: TempDir,
}

impl Beginner {
    /// Starts `payhook simulate` and makes a configuration of what it prints.
    async fn begins() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("payhook.toml");
        let (listen, ingress, console) = (format!("127.0.0.1:{}", free_port()), free_port(), free_port());
        let mut simulate = Process::command("simulate", &["simulate", "--listen", &listen], &config);
        simulate.start();
        let printed = eventually(async || {
            let (printed, log) = (simulate.printed(), simulate.log_text());
            // The log says so once it is printed whole.
            if log.contains("are simulated at") { Ok(printed) } else { Err(log) }
        });
        let accounts = printed.await.unwrap();
        let text = format!(
            "[ingress]\nlisten = \"127.0.0.1:{ingress}\"\n[console]\nlisten = \"127.0.0.1:{console}\"\n\
             [worker]\nretry_delays = [\"1s\"]\n{accounts}"
        );
        std::fs::write(&config, text).unwrap();
        Self { simulate, config, console, simulator: format!("http://{listen}"), _folder: folder }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        Ran::payhook(&self.config, arguments).await
    }

    /// Tells the simulated providers something.
    async fn provider_does(&self, verb: serde_json::Value) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.post(format!("{}/control", self.simulator)).json(&verb).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    async fn serves(&self) -> Process {
        let mut serve = Process::command("serve", &["serve"], &self.config);
        serve.start();
        let url = format!("http://127.0.0.1:{}/readyz", self.console);
        let ready = eventually(async || {
            let answer = reqwest::get(&url).await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        });
        assert_eq!(ready.await, Ok(()), "{}", serve.log_tail());
        serve
    }

    async fn is_paid(&self, order: &str) {
        let paid = eventually(async || {
            let order = self.run(&["order", "show", order, "--json"]).await.ends_with(0).json();
            if order["state"] == "paid" { Ok(()) } else { Err(order.to_string()) }
        });
        assert_eq!(paid.await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginner_simulates_serves_sends_and_sees_orders_paid() {
    let mut beginner = Beginner::begins().await;
    let checked = beginner.run(&["check"]).await.ends_with(0);
    assert!(!checked.stdout.contains("BAD"), "{}", checked.stdout);
    let mut serve = beginner.serves().await;
    let checked = beginner.run(&["check", "--json"]).await.ends_with(0).json();
    assert_eq!(checked["ok"], true, "a running serve is no mistake: {checked:#}");

    beginner
        .run(&["order", "register", "D-1", "--amount", "120.00 THB", "--payment", "antom/demo/PR-1"])
        .await
        .ends_with(0);
    let charge = "chrg_test_5xyz";
    let payment = format!("omise/demo/{charge}");
    beginner.run(&["order", "register", "D-2", "--amount", "120.00 THB", "--payment", &payment]).await.ends_with(0);
    for verb in [
        json!({ "do": "omise_creates", "id": charge, "amount_minor": 12_000, "currency": "THB" }),
        json!({ "do": "omise_decides", "id": charge, "status": "successful" }),
        json!({ "do": "antom_pays", "id": "PR-1", "amount_minor": 12_000, "currency": "THB" }),
    ] {
        beginner.provider_does(verb).await;
    }

    let key = ["--account", "demo", "--payment", "PR-1", "--key", "simulator-keys/antom_private_key"];
    let sent = beginner.run(&[&["send", "antom", "paid"] as &[&str], &key].concat()).await.ends_with(0);
    assert!(sent.stdout.contains("  200  ") && sent.stdout.contains(r#""resultStatus":"S""#), "{}", sent.stdout);
    let omise = ["send", "omise", "charge.complete", "--account", "demo", "--payment", charge];
    let sent = beginner.run(&[&omise as &[&str], &["--times", "3"]].concat()).await.ends_with(0);
    assert_eq!(sent.stdout.matches("  200  ").count(), 3, "{}", sent.stdout);
    beginner.is_paid("D-1").await;
    beginner.is_paid("D-2").await;

    for arguments in [&[&["send", "antom", "paid"] as &[&str], &key].concat(), &omise.to_vec()] {
        let forged = beginner.run(&[arguments as &[&str], &["--forge"]].concat()).await.ends_with(0);
        assert!(forged.stdout.contains("  401  "), "a forgery went as forgeries should: {}", forged.stdout);
    }
    let body = beginner.config.with_file_name("body.json");
    std::fs::write(&body, vec![b' '; payhook_schema::BODY_BYTES_MAX + 1]).unwrap();
    let refused = beginner.run(&[&omise as &[&str], &["--body", "body.json"]].concat()).await.ends_with(1);
    assert!(refused.stdout.contains("  413  ") && refused.stderr.contains("1 of 1 were refused"), "{refused:?}");
    let keyless = ["send", "antom", "paid", "--account", "demo", "--payment", "PR-1"];
    let keyless = beginner.run(&keyless).await.ends_with(1);
    assert!(keyless.stderr.contains("private key") && keyless.stderr.contains("hint:"), "{}", keyless.stderr);

    serve.ask_to_stop();
    assert_eq!(serve.wait_stopped(), Ok(()));
    beginner.simulate.ask_to_stop();
    assert_eq!(beginner.simulate.wait_stopped(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_belongs_to_one_process() {
    let payhook = TestPayhook::one_file().await;
    // On other ports: the file is what they would share.
    let elsewhere = BTreeMap::from([
        ("PAYHOOK__INGRESS__LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())),
        ("PAYHOOK__CONSOLE__LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())),
    ]);
    let second = Ran::payhook_with(&payhook.config(), &["serve"], &elsewhere).await.ends_with(1);
    assert!(second.stderr.contains("another process has it open"), "{}", second.stderr);
    let same_ports = payhook.cli(&["serve"]).await.ends_with(1);
    assert!(same_ports.stderr.contains("cannot listen on") && same_ports.stderr.contains("hint:"), "{same_ports:?}");
    for role in ["ingress", "worker", "console"] {
        let alone = Ran::payhook_with(&payhook.config(), &[role], &elsewhere).await.ends_with(1);
        assert!(alone.stderr.contains("one process owns the file"), "{}", alone.stderr);
        assert!(alone.stderr.contains("payhook serve"), "it says what to run instead: {}", alone.stderr);
    }
    let checked = payhook.cli(&["check"]).await.ends_with(0);
    assert!(checked.stdout.contains("another process has it open"), "{}", checked.stdout);
    // The one that runs is none the worse.
    payhook.cli(&["order", "register", "C-4", "--amount", "1.00 THB"]).await.ends_with(0);
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_in_a_configuration_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("payhook.toml");
    let text = "[ingress]\nlisten = \"here\"\nlistne = \"127.0.0.1:1\"\n[console]\nlisten = \"0.0.0.0:8081\"\n\
                [worker]\nretry_delays = [\"5s\", \"1s\"]\n[omise.shop]\nlivemode = true\nsecret_key = \"skey_test_1\"\n";
    std::fs::write(&config, text).unwrap();
    for command in [&["check"] as &[&str], &["serve"], &["migrate"], &["order", "list"]] {
        let ran = Ran::payhook(&config, command).await.ends_with(1);
        for mistake in [
            "ingress.listen",
            "ingress.listne",
            "console.token is missing",
            "retry_delays must rise",
            "omise.shop.webhook_secrets is missing",
            "omise.shop.api is missing",
        ] {
            assert!(ran.stderr.contains(mistake), "{command:?} does not report {mistake}:\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("skey_test_1"), "a secret is shown: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    }
    let missing = Ran::payhook(&folder.path().join("nowhere.toml"), &["check"]).await.ends_with(1);
    assert!(missing.stderr.contains("nowhere.toml"), "{}", missing.stderr);
    std::fs::write(&config, "").unwrap();
    let ran = Ran::payhook(&config, &["serve"]).await.ends_with(1);
    assert!(ran.stderr.contains("no account is configured") && ran.stderr.contains("hint:"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_shows_everything_that_would_keep_a_role_from_working() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("payhook.toml");
    let nobody = free_port();
    let text = format!(
        "[store]\nurl = \"sqlite://nowhere/payhook.db\"\n[omise.shop]\nlivemode = false\nwebhook_secrets = [\"AAEC\"]\n\
         api = \"http://127.0.0.1:{nobody}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let ran = Ran::payhook(&config, &["check"]).await.ends_with(1);
    for line in ["omise.shop.secret_key is missing", "there is no folder", "cannot be reached", "1 webhook secret(s)"] {
        assert!(ran.stdout.contains(line), "{line} is missing:\n{}", ran.stdout);
    }
    std::fs::write(&config, "[ingress]\n\nlisten = \"127.0.0.1:1\n").unwrap();
    let ran = Ran::payhook(&config, &["check"]).await.ends_with(1);
    assert!(ran.stderr.contains("line 3: not TOML"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_twice_does_no_harm() {
    let Some(payhook) = TestPayhook::cluster().await else { return };
    let payment = payhook.antom_order("C-5", "1.00 THB").await;
    for _ in 0..2 {
        let migrated = payhook.cli(&["migrate"]).await.ends_with(0);
        assert_eq!(migrated.stdout.matches("up to date").count(), 2, "{}", migrated.stdout);
    }
    let checked = payhook.cli(&["check"]).await.ends_with(0);
    assert!(!checked.stdout.contains("BAD"), "{}", checked.stdout);
    let more = BTreeMap::from([("PAYHOOK__WORKER__RETRY_DELAYS".to_owned(), "1s,2s,5s,77s".to_owned())]);
    let lacking = Ran::payhook_with(&payhook.config(), &["check"], &more).await.ends_with(1);
    assert!(lacking.stdout.contains("payhook.retry.77s"), "{}", lacking.stdout);
    assert!(lacking.stdout.contains("`payhook migrate`"), "{}", lacking.stdout);
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("C-5", "paid").await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_migrated_before_anything_serves_it() {
    let beginner = Beginner::begins().await;
    for _ in 0..2 {
        let migrated = beginner.run(&["migrate"]).await.ends_with(0);
        assert_eq!(migrated.stdout.matches("up to date").count(), 2, "{}", migrated.stdout);
    }
    let checked = beginner.run(&["check"]).await.ends_with(0);
    assert!(!checked.stdout.contains("BAD"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_demo_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Ran::payhook(&folder.path().join("payhook.toml"), &["demo", "--once"]).await.ends_with(0);
    assert!(!ran.stdout.contains("NOT "), "{}", ran.stdout);
    assert!(ran.stdout.contains("ORDER") && ran.stdout.contains("order.paid"), "{}", ran.stdout);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}
