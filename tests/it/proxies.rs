//! The samples in `deploy/` of proxies that take a path prefix off, run as the programs they are for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use payhook_simulator::{AntomKind, AntomStatus, SignedRequest};
use payhook_test_servers::Authority;

use crate::harness::{Neighbour, Plan, TestPayhook, free_port, is_installed, shop};

const NGINX: &str = include_str!("../../deploy/nginx.conf");
const CADDY: &str = include_str!("../../deploy/Caddyfile");

fn plan() -> Plan {
    Plan::usual().environment(&[("PAYHOOK__INGRESS__PUBLIC_BASE", "https://shop.example/pay")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_hands_on_what_antom_and_omise_signed() {
    if !is_installed("nginx", "nginx-light") {
        return;
    }
    let payhook = plan().one_file().await;
    let folder = payhook.folder().join("nginx");
    let authority = Authority::make(&folder).unwrap();
    let [key, certificate] = authority.issue(&folder).unwrap();
    let port = free_port();
    let sample = changed(
        NGINX,
        &[
            ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
            ("/etc/ssl/shop.example.key", &key.display().to_string()),
            ("/etc/ssl/shop.example.pem", &certificate.display().to_string()),
            ("http://127.0.0.1:8080/", &format!("{}/", payhook.ingress())),
        ],
    );
    let at = folder.display();
    let paths =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {at}/{name};"));
    let whole = format!(
        "daemon off; pid {at}/nginx.pid; error_log {at}/error.log; events {{}}\nhttp {{ access_log off; {} {sample} }}",
        paths.join(" ")
    );
    std::fs::write(folder.join("whole.conf"), whole).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.args(["-p", folder.to_str().unwrap(), "-e", "error.log", "-c"]).arg(folder.join("whole.conf"));
    let _nginx = Neighbour::start(&mut nginx, &folder.join("error.log"));
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(authority.certificate()).unwrap()).unwrap();
    let client = client.tls_certs_only([trusted]).build().unwrap();
    hands_on(&payhook, &client, &format!("https://localhost:{port}/pay"), &folder.join("error.log")).await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_hands_on_what_antom_and_omise_signed() {
    if !is_installed("caddy", "caddy") {
        return;
    }
    let payhook = plan().one_file().await;
    let port = free_port();
    let ingress = payhook.ingress().replace("http://", "");
    // Caddy fetches its certificate from the Internet, so this one speaks plainly.
    let sample = changed(
        CADDY,
        &[("shop.example {", &format!("http://localhost:{port} {{\n\tbind 127.0.0.1")), ("127.0.0.1:8080", &ingress)],
    );
    let (file, log) = (payhook.folder().join("Caddyfile"), payhook.folder().join("caddy.txt"));
    std::fs::write(&file, format!("{{\n\tadmin off\n}}\n{sample}")).unwrap();
    let mut caddy = Command::new("caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file).env("HOME", payhook.folder());
    let _caddy = Neighbour::start(&mut caddy, &log);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    hands_on(&payhook, &client, &format!("http://localhost:{port}/pay"), &log).await;
    payhook.ends_well().await;
}

/// Sends notifications of both providers to the public address, and one that was changed on its way.
async fn hands_on(payhook: &TestPayhook, client: &reqwest::Client, public: &str, log: &Path) {
    payhook
        .until("the proxy answers", async || {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            client.get(public).send().await.map(drop).map_err(|error| format!("{error:?}\n{log}"))
        })
        .await;
    let payment = payhook.antom_order("N-1", "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let antom = payhook.simulator.antom().signed(public, &shop(), &payment, AntomKind::State).unwrap();
    assert_eq!(status(client, &antom.clone().flipped(40)).await, 401);
    assert_eq!(status(client, &payhook.marked(antom)).await, 200);
    payhook.becomes("N-1", "paid").await;

    let charge = payhook.omise_order("N-2", "30.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let omise = payhook.simulator.omise().signed(public, &shop(), &charge, "charge.complete").unwrap();
    assert_eq!(status(client, &payhook.marked(omise)).await, 200);
    payhook.becomes("N-2", "paid").await;
    // The console is nobody's business outside.
    assert_eq!(client.get(public.replace("/pay", "/v1/orders")).send().await.unwrap().status(), 404);
}

async fn status(client: &reqwest::Client, request: &SignedRequest) -> u16 {
    let mut sent = client.post(format!("{}{}", request.origin, request.path)).body(request.body.clone());
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    sent.send().await.expect("the proxy answers").status().as_u16()
}

/// The sample with what differs between its place and this test's; each must be in it.
fn changed(sample: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(sample.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the sample has no `{from}`");
        text.replace(from, to)
    })
}
