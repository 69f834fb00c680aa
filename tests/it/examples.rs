//! The consumers in `examples/`, each as its readers would run it: beside a real payhook and a broker that restarts.

use std::path::{Path, PathBuf};
use std::process::Command;

use payhook_schema::{PaymentId, RefundId};
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus};
use payhook_test_servers::{Database, Postgres, PrivateRabbit, Rabbit, not_run, postgres, rabbit_is_installed};
use serde_json::{Value, json};

use crate::harness::{
    Neighbour, Plan, TestPayhook, free_port, installed, is_installed, left_out, python_with, runs, shop,
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
const TABLES: &str = include_str!("../../examples/tables.sql");
const JAVA_PACKAGES: &str =
    "default-jdk-headless librabbitmq-client-java libjackson2-databind-java libpostgresql-jdbc-java";
/// Debian puts the libraries here.
const JAVA_PATH: &str = "/usr/share/java/*";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_consumer_ships_every_paid_order_once() {
    if !rabbit_is_installed() {
        return not_run("it needs RabbitMQ on this machine, to restart it");
    }
    let Some(postgres) = postgres().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut rabbit = PrivateRabbit::start(folder.path()).await.unwrap();
    let broker = Rabbit::at(&rabbit.url(), Some(&rabbit.admin_url())).unwrap();
    let payhook = Plan::usual().cluster_on(&broker, &postgres).await;
    let mut shops = Vec::new();
    for program in programs().await {
        shops.push(Shop::open(&payhook, &postgres, program).await);
    }
    for shop in &shops {
        shop.is_consuming(&payhook).await;
    }

    let first = paid(&payhook, "S-1").await;
    paid(&payhook, "S-2").await;
    for shop in &shops {
        shop.has_shipped(&payhook, &["S-1", "S-2"]).await;
    }
    // Every event again, what no consumer knows, and what is no event.
    let events = payhook.fulfilment_takes().await;
    assert_eq!(events.len(), 2, "{events:#?}");
    for event in &events {
        publish(&payhook, &event["routing_key"], event["payload"].as_str().unwrap()).await;
    }
    let unknown = json!({ "id": "unknown-1", "type": "payhook.order.unknown.v1", "subject": "S-1", "data": {} });
    publish(&payhook, &json!("order.unknown.v1"), &unknown.to_string()).await;
    publish(&payhook, &json!("order.paid.v1"), "no event").await;

    rabbit.restart().await.unwrap();
    for name in payhook.names() {
        payhook.ready(&name).await;
    }
    paid(&payhook, "S-3").await;
    let refund = RefundId::new("R-1").unwrap();
    let antom = payhook.simulator.antom();
    antom.refund(&first, &refund, 3000).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Success).unwrap();
    let notified = antom.signed_refund(&payhook.ingress(), &shop(), &refund, AntomKind::RefundState);
    payhook.delivers(&payhook.marked(notified.unwrap())).await;
    payhook.becomes("S-1", "refunded").await;
    for shop in &mut shops {
        shop.has_shipped(&payhook, &["S-1", "S-2", "S-3"]).await;
        shop.knows_as(&payhook, "S-1", "refunded").await;
        shop.has_nothing_left(&payhook).await;
        // A new process goes on where the old one was.
        shop.restart();
    }
    paid(&payhook, "S-4").await;
    for shop in &shops {
        shop.has_shipped(&payhook, &["S-1", "S-2", "S-3", "S-4"]).await;
    }
    drop(shops);
    payhook.ends_well().await;
    drop(payhook); // what is its own goes before its servers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_a_customer_returns_to_shows_what_payhook_knows() {
    if !is_installed("php", "php-cli") {
        return;
    }
    let payhook = TestPayhook::one_file().await;
    let pending = payhook.antom_order("S-1", "30.00 THB").await;
    let port = free_port();
    let mut page = Command::new("php");
    page.args(["-S", &format!("127.0.0.1:{port}"), "return.php"]).current_dir(format!("{EXAMPLES}/php"));
    page.env("PAYHOOK_URL", payhook.console_url()).env("PAYHOOK_TOKEN", payhook.token());
    let _page = Neighbour::start(&mut page, &payhook.folder().join("php.txt"));
    let shows = async |query: &str, text: &str| {
        payhook
            .until(&format!("the page shows `{text}` for {query}"), async || {
                let answer = reqwest::get(format!("http://127.0.0.1:{port}/?{query}")).await;
                let shown = answer.map_err(|error| error.to_string())?.text().await.unwrap_or_default();
                if shown.contains(text) { Ok(()) } else { Err(shown) }
            })
            .await;
    };
    shows("order=S-1&version=-1", "We are waiting for your bank").await;
    shows("order=S-none", "We do not know this order").await;
    payhook.antom_decides(&pending, AntomStatus::Success);
    payhook.antom_notifies(&pending, AntomKind::State).await;
    shows("order=S-1", "Your payment arrived").await;
    payhook.underpaid("S-2").await;
    payhook.becomes("S-2", "held").await;
    shows("order=S-2", "Please do not pay again").await;
    payhook.ends_well().await;
}

async fn paid(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes(order, "paid").await;
    payment
}

/// Publishes to `payhook.events`, as somebody would who repeats an event by hand.
async fn publish(payhook: &TestPayhook, key: &Value, payload: &str) {
    let vhost = payhook.vhost();
    let message = json!({
        "properties": { "delivery_mode": 2 }, "routing_key": key, "payload": payload, "payload_encoding": "string",
    });
    let path = format!("/exchanges/{}/payhook.events/publish", vhost.name);
    let routed = vhost.admin("POST", &path, Some(message)).await.expect("the broker takes it");
    assert_eq!(routed["routed"], true);
}

/// One example: its name, how to start it, and true if it reads the queue of its name.
struct Program {
    name: &'static str,
    command: Vec<String>,
    folder: PathBuf,
    reads_queue: bool,
    wants_jdbc: bool,
}

impl Program {
    fn new(name: &'static str, folder: impl Into<PathBuf>, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { name, command, folder: folder.into(), reads_queue: true, wants_jdbc: false }
    }
}

/// The examples whose language is on this machine, with their packages installed.
async fn programs() -> Vec<Program> {
    let rust = Path::new(env!("CARGO_BIN_EXE_payhook")).with_file_name("payhook-example-consumer");
    let rust = rust.to_str().expect("a path that is text");
    assert!(Path::new(rust).exists(), "{rust} is not built: cargo build -p payhook-example-consumer");
    let mut programs = vec![Program::new("rust", EXAMPLES, &[rust])];
    if is_installed("python3", "python3-venv") {
        let python =
            tokio::task::spawn_blocking(|| python_with("examples", &format!("{EXAMPLES}/python/requirements.txt")))
                .await
                .expect("the installation ends");
        let folder = format!("{EXAMPLES}/python");
        programs.push(Program::new("python", &folder, &[&python, "consumer.py"]));
        programs.push(Program { reads_queue: false, ..Program::new("feed", &folder, &[&python, "feed.py"]) });
    }
    if is_installed("npm", "npm") {
        let folder = tokio::task::spawn_blocking(install_node).await.expect("the installation ends");
        programs.push(Program::new("node", folder, &["node", "consumer.js"]));
    }
    let has_libraries = Path::new("/usr/share/java/amqp-client.jar").exists();
    if is_installed("java", JAVA_PACKAGES) && has_libraries {
        let folder = format!("{EXAMPLES}/java");
        let java = Program::new("java", folder, &["java", "-cp", JAVA_PATH, "Consumer.java"]);
        programs.push(Program { wants_jdbc: true, ..java });
    }
    if !has_libraries {
        left_out("the Java client of RabbitMQ", JAVA_PACKAGES);
    }
    programs
}

/// Returns the folder that has the example and its packages: nothing is written beside the sources.
fn install_node() -> PathBuf {
    let folder = installed("node", &format!("{EXAMPLES}/node/package-lock.json"), |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(format!("{EXAMPLES}/node/{file}"), folder.join(file)).expect("a file can be copied");
        }
        runs(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder));
    });
    std::fs::copy(format!("{EXAMPLES}/node/consumer.js"), folder.join("consumer.js")).expect("a file can be copied");
    folder
}

/// A shop that runs one example on a database of its own.
struct Shop {
    program: Program,
    database: Database,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    process: Neighbour,
}

impl Shop {
    async fn open(payhook: &TestPayhook, postgres: &Postgres, program: Program) -> Self {
        let database = postgres.fresh_database().await;
        database.run(TABLES).await.expect("the example's tables can be made");
        let url = if program.wants_jdbc { jdbc(&database.url) } else { database.url.clone() };
        let environment = vec![
            ("AMQP_URL", payhook.vhost().url.clone()),
            ("QUEUE", format!("shop.{}", program.name)),
            ("DATABASE_URL", url),
            ("PAYHOOK_URL", payhook.console_url()),
            ("PAYHOOK_TOKEN", payhook.token().to_owned()),
        ];
        let log = payhook.folder().join(format!("shop-{}.txt", program.name));
        let process = start(&program, &environment, &log);
        Self { program, database, environment, log, process }
    }

    fn restart(&mut self) {
        self.process = start(&self.program, &self.environment, &self.log);
    }

    async fn queue(&self, payhook: &TestPayhook) -> Result<Value, String> {
        let vhost = payhook.vhost();
        let path = format!("/queues/{}/shop.{}", vhost.name, self.program.name);
        vhost.admin("GET", &path, None).await.map_err(|error| format!("{error:#}\n{}", self.says()))
    }

    fn says(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn is_consuming(&self, payhook: &TestPayhook) {
        if !self.program.reads_queue {
            return;
        }
        let what = format!("{} consumes its queue", self.program.name);
        let look = async || match self.queue(payhook).await? {
            queue if queue["consumers"] == 1 => Ok(()),
            queue => Err(format!("{queue}\n{}", self.says())),
        };
        payhook.until(&what, look).await;
    }

    /// Waits until these orders were shipped; each of them once, and no other.
    async fn has_shipped(&self, payhook: &TestPayhook, orders: &[&str]) {
        let what = format!("{} has shipped {orders:?}", self.program.name);
        let shipped = "select order_id || ' ' || amount_minor || ' ' || currency from shipments order by order_id";
        let expected: Vec<String> = orders.iter().map(|order| format!("{order} 3000 THB")).collect();
        self.shows(payhook, &what, shipped, &expected).await;
    }

    async fn knows_as(&self, payhook: &TestPayhook, order: &str, state: &str) {
        let what = format!("{} knows {order} as {state}", self.program.name);
        self.shows(payhook, &what, &format!("select state from shop_orders where id = '{order}'"), &[state.to_owned()])
            .await;
    }

    async fn shows(&self, payhook: &TestPayhook, what: &str, sql: &str, expected: &[String]) {
        let look = async || {
            let seen = self.database.run(sql).await.map_err(|error| format!("{error:#}"))?;
            let seen: Vec<&str> = seen.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}\n{}", self.says())) }
        };
        payhook.until(what, look).await;
    }

    /// Waits until its queue is empty: what is no event was rejected for good, and all else is acked.
    async fn has_nothing_left(&self, payhook: &TestPayhook) {
        if !self.program.reads_queue {
            return;
        }
        let what = format!("the queue of {} is empty", self.program.name);
        let look = async || match self.queue(payhook).await? {
            queue if queue["messages"] == 0 => Ok(()),
            queue => Err(format!("{queue}\n{}", self.says())),
        };
        payhook.until(&what, look).await;
        let says = self.says();
        assert!(says.contains("it is no event"), "{says}");
        assert!(says.contains("seen before: payhook.order.paid.v1"), "{says}");
    }
}

fn start(program: &Program, environment: &[(&'static str, String)], log: &Path) -> Neighbour {
    let mut command = Command::new(&program.command[0]);
    command.args(&program.command[1..]).current_dir(&program.folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Neighbour::start(&mut command, log)
}

/// Returns the address in the form that Java's driver takes.
fn jdbc(url: &str) -> String {
    let (credentials, place) =
        url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).expect("an address with a user");
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    format!("jdbc:postgresql://{place}?user={user}&password={password}")
}
