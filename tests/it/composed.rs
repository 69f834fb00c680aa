//! `deploy/compose/`: its services started one by one, with the command, the variables and the secrets that
//! `compose.yaml` gives each, on real servers. There is no container engine: the program and its configuration are
//! real, the images are not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use payhook_schema::{Clock, PaymentId};
use payhook_simulator::{AntomKind, AntomStatus, Options, Simulator};
use payhook_test_servers::{postgres, rabbit};
use serde_json::{Value, json};

use crate::harness::{KEYS, Neighbour, Ran, eventually, free_port, id, is_installed, money, python_with, runs, shop};

const COMPOSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/requirements.txt");
const TO_JSON: &str = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
const SECRETS: &str = "/run/secrets";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_of_the_compose_file_works_with_what_it_is_given() {
    if !is_installed("python3", "python3-venv") {
        return;
    }
    let (Some(rabbit), Some(postgres)) = (rabbit().await, postgres().await) else { return };
    let (vhost, database) = (rabbit.fresh_vhost().await, postgres.fresh_database().await);
    let options = Options { listen: ([127, 0, 0, 1], 0).into(), clock: Clock::system(), keys: KEYS.clone() };
    let simulator = Simulator::start(options).await.unwrap();
    let compose = tokio::task::spawn_blocking(|| {
        let python = python_with("clients", REQUIREMENTS);
        let printed = Command::new(python).args(["-c", TO_JSON, &format!("{COMPOSE}/compose.yaml")]).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        serde_json::from_slice::<Value>(&printed.stdout).unwrap()
    });
    let compose = compose.await.unwrap();

    // As its README says: secrets.sh, then the accounts.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(format!("{COMPOSE}/secrets.sh"), folder.path().join("secrets.sh")).unwrap();
    runs(Command::new("sh").arg(folder.path().join("secrets.sh")));
    let secret = |name: &str| folder.path().join("secrets").join(name);
    let token = std::fs::read_to_string(secret("console_token")).unwrap();
    std::fs::write(secret("queue_url"), &vhost.url).unwrap();
    std::fs::write(secret("store_url"), &database.url).unwrap();
    std::fs::write(secret("antom_key"), KEYS.merchant().to_base64()).unwrap();
    std::fs::write(secret("omise_key"), KEYS.secret_key()).unwrap();
    let sample = std::fs::read_to_string(format!("{COMPOSE}/payhook.toml")).unwrap();
    let (settings, _) = sample.split_once("[antom.").unwrap();
    let accounts = simulator.config_toml(&shop());
    let accounts = accounts
        .replace(
            &format!("private_key = \"{}\"", KEYS.merchant().to_base64()),
            "private_key_file = \"/run/secrets/antom_key\"",
        )
        .replace(&format!("secret_key = \"{}\"", KEYS.secret_key()), "secret_key_file = \"/run/secrets/omise_key\"");
    let settings = settings.replace("https://shop.example/pay", "");
    let deployed = Deployed { compose, folder: folder.path(), config: format!("{settings}{accounts}") };

    let (config, environment) = deployed.service("migrate", &BTreeMap::new());
    Ran::payhook_with(&config, &["migrate"], &environment).await.ends_with(0);
    let (ingress, console) = (free_port(), free_port());
    let mut running = Vec::new();
    for (role, ports) in [
        ("ingress", vec![("PAYHOOK__INGRESS__LISTEN", ingress), ("PAYHOOK__CONSOLE__LISTEN", free_port())]),
        ("worker", vec![("PAYHOOK__CONSOLE__LISTEN", free_port())]),
        ("console", vec![("PAYHOOK__CONSOLE__LISTEN", console)]),
    ] {
        let ports = ports.into_iter().map(|(variable, port)| (variable.to_owned(), format!("127.0.0.1:{port}")));
        let (config, environment) = deployed.service(role, &ports.collect());
        assert_eq!(deployed.compose["services"][role]["command"], json!([role]));
        let mut command = Command::new(env!("CARGO_BIN_EXE_payhook"));
        command.arg(role).env_clear().env("PAYHOOK_CONFIG", &config).envs(&environment);
        let log = config.with_file_name("log.txt");
        running.push(Neighbour::start(&mut command, &log));
        let check = deployed.compose["services"][role]["healthcheck"]["test"].as_array().unwrap();
        assert_eq!(check[..2], [json!("CMD"), json!("payhook")]);
        let check: Vec<&str> = check[2..].iter().filter_map(Value::as_str).collect();
        let healthy = eventually(async || match Ran::payhook_with(&config, &check, &environment).await {
            ran if ran.code == 0 => Ok(()),
            ran => Err(format!("{}\n{}", ran.stderr, std::fs::read_to_string(&log).unwrap_or_default())),
        });
        assert_eq!(healthy.await, Ok(()), "{role} becomes healthy");
    }
    pays(&simulator, ingress, console, &token).await;
}

/// Registers an order, has it paid, and waits until payhook says so.
async fn pays(simulator: &Simulator, ingress: u16, console: u16, token: &str) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let order = format!("http://127.0.0.1:{console}/v1/orders/C-1");
    let payment: PaymentId = id("PR-C-1");
    simulator.antom().create(&payment, money("30.00 THB"));
    let body = json!({
        "amount_minor": 3000, "currency": "THB", "payments": [{ "provider": "antom", "account": shop(), "id": payment }],
    });
    let registered = http.put(&order).bearer_auth(token).json(&body).send().await.unwrap();
    assert!(registered.status().is_success(), "{registered:?}");
    simulator.antom().decide(&payment, AntomStatus::Success).unwrap();
    let public = format!("http://127.0.0.1:{ingress}");
    let reply = simulator.antom().signed(&public, &shop(), &payment, AntomKind::State).unwrap().send().await.unwrap();
    assert!(reply.acknowledged(), "{reply:?}");
    let paid = eventually(async || {
        let answer = http.get(&order).bearer_auth(token).send().await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["state"] == "paid" { Ok(()) } else { Err(answer.to_string()) }
    });
    assert_eq!(paid.await, Ok(()));
}

struct Deployed<'a> {
    compose: Value,
    folder: &'a Path,
    config: String,
}

impl Deployed<'_> {
    /// Gives a service its configuration, its variables, and those secrets alone that the file lists for it.
    fn service(&self, name: &str, ports: &BTreeMap<String, String>) -> (std::path::PathBuf, BTreeMap<String, String>) {
        let service = &self.compose["services"][name];
        let here = self.folder.join(name);
        std::fs::create_dir(&here).unwrap();
        for secret in service["secrets"].as_array().unwrap().iter().filter_map(Value::as_str) {
            let file = self.compose["secrets"][secret]["file"].as_str().expect("the file defines the secret");
            std::fs::copy(self.folder.join(file), here.join(secret)).unwrap();
        }
        let at = here.display().to_string();
        let config = here.join("payhook.toml");
        std::fs::write(&config, self.config.replace(SECRETS, &at)).unwrap();
        let variables = service["environment"].as_object().unwrap();
        let mut environment: BTreeMap<String, String> = variables
            .iter()
            .map(|(variable, value)| (variable.clone(), value.as_str().unwrap().replace(SECRETS, &at)))
            .collect();
        for (variable, address) in ports {
            // A port of its own for each: here they share one host.
            environment.insert(variable.clone(), address.clone());
        }
        (config, environment)
    }
}
