//! A RabbitMQ of our own, through every way it can end.

use std::path::Path;
use std::time::{Duration, Instant};

use payhook_test_servers::{PrivateRabbit, Rabbit, not_run, rabbit_is_installed};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn lent_by(rabbit: &PrivateRabbit) -> Rabbit {
    Rabbit::at(&rabbit.url(), Some(&rabbit.admin_url())).expect("its addresses are some")
}

/// Returns true if the broker answers a client's greeting.
async fn greets(rabbit: &PrivateRabbit) -> bool {
    let url = rabbit.url();
    let address = url.split(['@', '/']).nth(3).expect("host and port");
    let greeting = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), greeting).await, Ok(Ok(1)))
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_private_rabbit_keeps_what_it_was_given_through_every_end() {
    if !rabbit_is_installed() {
        return not_run("RabbitMQ is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut rabbit = timed("started", PrivateRabbit::start(dir.path())).await.expect("it starts");
    let pid = rabbit.pid().expect("it runs");
    let kept = lent_by(&rabbit).fresh_vhost().await;
    let queue = format!("/queues/{}/kept", kept.name);
    let arguments = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    kept.admin("PUT", &queue, Some(arguments)).await.expect("declared");

    rabbit.kill9().await.expect("it dies");
    assert!(rabbit.pid().is_none() && !is_running(pid) && !greets(&rabbit).await);
    timed("started after kill -9", rabbit.restart()).await.expect("it starts again");
    assert_eq!(kept.admin("GET", &queue, None).await.expect("still there")["type"], "quorum");

    rabbit.freeze();
    assert!(!greets(&rabbit).await);
    rabbit.thaw();
    assert!(greets(&rabbit).await);

    timed("stopped", rabbit.stop()).await.expect("it stops");
    assert!(!greets(&rabbit).await);
    timed("started after stop", rabbit.restart()).await.expect("it starts once more");
    kept.admin("GET", &queue, None).await.expect("still there");
    std::mem::forget(kept); // it goes with the broker

    let pid = rabbit.pid().expect("it runs");
    rabbit.freeze(); // even so
    drop(rabbit);
    assert!(!is_running(pid));
    assert!(processes_naming(dir.path()).is_empty(), "{:?}", processes_naming(dir.path()));
}

#[tokio::test]
async fn a_vhost_is_its_tests_own_and_gone_afterwards() {
    let Some(rabbit) = payhook_test_servers::rabbit().await else { return };
    let vhost = timed("vhost made", rabbit.fresh_vhost()).await;
    let other = rabbit.fresh_vhost().await;
    assert_ne!(vhost.name, other.name);
    assert!(vhost.url.ends_with(&format!("/{}", vhost.name)));

    let user = vhost.create_user("ingress").await.expect("made");
    vhost.set_permissions(&user.name, "^$", r"^payhook\.notifications$", "^$").await.expect("set");
    let rights = other.admin("GET", &format!("/permissions/{}/{}", vhost.name, user.name), None).await.expect("there");
    assert_eq!(rights["write"], r"^payhook\.notifications$");
    assert!(user.url.contains(&user.name));

    let path = format!("/queues/{}/a queue", vhost.name); // the space is escaped for us
    vhost.admin("PUT", &path, Some(json!({ "durable": true }))).await.expect("declared");
    assert_eq!(vhost.admin("GET", &path, None).await.expect("there")["name"], "a queue");

    let name = vhost.name.clone();
    drop(vhost);
    for gone in [format!("/vhosts/{name}"), format!("/users/{}", user.name)] {
        let error = other.admin("GET", &gone, None).await.expect_err("gone");
        assert!(format!("{error:#}").contains("404"), "{error:#}");
    }
}

async fn timed<T>(what: &str, future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = future.await;
    eprintln!("{what}: {:.2} s", began.elapsed().as_secs_f32());
    done
}

/// Processes whose environment or command line names `dir`: everything the node started has it.
fn processes_naming(dir: &Path) -> Vec<String> {
    let name = dir.to_str().expect("a plain path");
    let names = |file: &Path| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).contains(name);
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten().map(|entry| entry.path());
    processes
        .filter(|process| names(&process.join("cmdline")) || names(&process.join("environ")))
        .map(|process| process.display().to_string())
        .collect()
}
