//! Attacks on the listeners, and ends in good order beside them: connections that say nothing, and connections that
//! never read.

use std::time::{Duration, Instant};

use payhook_schema::PaymentId;
use payhook_simulator::{AntomKind, AntomStatus, Reply};
use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Plan, TestPayhook};

/// Few places, so that few attackers take them all.
pub(crate) const FEW: &[(&str, &str)] =
    &[("PAYHOOK__INGRESS__CONNECTIONS_MAX", "32"), ("PAYHOOK__CONSOLE__CONNECTIONS_MAX", "32")];
/// Twice as many on each listener, each coming back at once when it is closed.
const ATTACKERS: usize = 64;
const GENUINE: usize = 40;
/// The listeners' two seconds for peers that do nothing, and a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Attack {
    Silent,
    /// Asks again and again, and reads no answer.
    Deaf,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_shut_out_no_notification() {
    genuine_traffic_is_served_beside(Attack::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_read_shut_out_no_notification() {
    genuine_traffic_is_served_beside(Attack::Deaf).await;
}

async fn genuine_traffic_is_served_beside(attack: Attack) {
    let payhook = Plan::usual().environment(FEW).one_file().await;
    let payment = paid_payment(&payhook, "C-1").await;
    let mut attackers = attackers(&payhook, attack);
    tokio::time::sleep(Duration::from_secs(2)).await;

    for number in 0..GENUINE {
        // Each over a connection of its own, each at the first try.
        let reply = payhook.antom_signed(&payment, AntomKind::State).send().await;
        assert!(reply.as_ref().is_ok_and(Reply::acknowledged), "{number}: {reply:?}\n{}", payhook.log_tails());
        let (status, checks) = payhook.readiness().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{number}: {checks}");
    }
    payhook.becomes("C-1", "paid").await;
    let asked = Instant::now();
    payhook.stop("serve");
    assert!(asked.elapsed() < ENDS_WITHIN, "stopping took {:?}", asked.elapsed());
    attackers.shutdown().await;
    payhook.restart("serve").await;
    payhook.ends_well().await;
}

/// [`ATTACKERS`] on each listener of `serve`, until they are dropped.
pub(crate) fn attackers(payhook: &TestPayhook, attack: Attack) -> JoinSet<()> {
    let mut attackers = JoinSet::new();
    for address in [payhook.ingress(), payhook.console_of("serve")] {
        let address = address.trim_start_matches("http://").to_owned();
        (0..ATTACKERS).for_each(|_| drop(attackers.spawn(attacks(address.clone(), attack))));
    }
    attackers
}

/// Runs one attacker for as long as the test lets it.
async fn attacks(address: String, attack: Attack) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            match attack {
                Attack::Silent => drop(stream.readable().await),
                Attack::Deaf => {
                    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(256);
                    while stream.write_all(&request).await.is_ok() {}
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_shows_in_readyz_first_while_everything_goes_on() {
    let payhook = Plan::usual().environment(&[("PAYHOOK__STOP__LAME_DUCK", "3s")]).one_file().await;
    let payment = paid_payment(&payhook, "C-2").await;
    payhook.asks_to_stop("serve");
    payhook
        .until("it is not ready", async || match payhook.readiness().await? {
            (StatusCode::SERVICE_UNAVAILABLE, checks) if checks.contains("stopping") => Ok(()),
            ready => Err(format!("{ready:?}")),
        })
        .await;
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("C-2", "paid").await;
    payhook.stopped("serve");
    payhook.restart("serve").await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_process_at_once() {
    let payhook = Plan::usual().environment(&[("PAYHOOK__STOP__LAME_DUCK", "10m")]).one_file().await;
    payhook.asks_to_stop("serve");
    payhook
        .until("it is not ready", async || match payhook.readiness().await? {
            (StatusCode::SERVICE_UNAVAILABLE, _) => Ok(()),
            ready => Err(format!("{ready:?}")),
        })
        .await;
    payhook.asks_to_stop("serve");
    let code = payhook.until("it has ended", async || payhook.exit_code("serve").ok_or("it runs".to_owned())).await;
    assert_eq!(code, 130);
    payhook.kill9("serve"); // it is gone: only its handle is
}

async fn paid_payment(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payment
}
