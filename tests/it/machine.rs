//! Faults of the machine: a disk that is full or whose sync fails, and a log that nobody can write. Work goes on by
//! itself afterwards, nothing acknowledged is lost, and `/readyz` tells meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use payhook_schema::PaymentId;
use payhook_simulator::{AntomKind, AntomStatus, Reply};
use payhook_test_servers::not_run;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{LogTo, Plan, TestPayhook};

/// As a provider resends, only sooner.
const RESENDS: [Duration; 160] = [Duration::from_millis(250); 160];

/// The file size at which every write to the file's log of changes fails: behind its first page.
pub(crate) const FULL_AT_BYTES: u64 = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_full_disk_everything_goes_on_by_itself() {
    let payhook = Plan::usual().survives_file_limit().one_file().await;
    let before = paid_payment(&payhook, "F-1").await;
    let during = paid_payment(&payhook, "F-2").await;
    payhook.antom_notifies(&before, AntomKind::State).await;
    payhook.becomes("F-1", "paid").await;

    file_limit(&payhook, Some(FULL_AT_BYTES));
    faulty(&payhook, &during).await;
    file_limit(&payhook, None);
    mended(&payhook, &during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_everything_goes_on_by_itself() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return not_run("it needs strace, to have a sync fail");
    }
    let payhook = TestPayhook::one_file().await;
    let before = paid_payment(&payhook, "F-1").await;
    let during = paid_payment(&payhook, "F-2").await;
    payhook.antom_notifies(&before, AntomKind::State).await;
    payhook.becomes("F-1", "paid").await;

    let strace = failing_syncs(&payhook);
    faulty(&payhook, &during).await;
    let_go(strace);
    mended(&payhook, &during).await;
}

/// Has every sync of `serve` fail until [`let_go`].
pub(crate) fn failing_syncs(payhook: &TestPayhook) -> Child {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
        .args(["-e", "inject=fsync,fdatasync:error=EIO", "-p", &payhook.pid_of("serve").to_string()])
        .spawn()
        .unwrap()
}

pub(crate) fn let_go(mut strace: Child) {
    // SIGTERM lets go of what it traces.
    Command::new("kill").arg(strace.id().to_string()).status().unwrap();
    strace.wait().unwrap();
}

/// Checks that `/readyz` is 503 and that nothing is acknowledged, because nothing can be made durable.
async fn faulty(payhook: &TestPayhook, payment: &PaymentId) {
    payhook
        .until("it is not ready", async || match payhook.readiness().await? {
            (StatusCode::SERVICE_UNAVAILABLE, _) => Ok(()),
            ready => Err(format!("{ready:?}")),
        })
        .await;
    for _ in 0..5 {
        let reply = payhook.antom_signed(payment, AntomKind::State).send().await.unwrap();
        assert_eq!(reply.status, 503, "{}\n{}", reply.body, payhook.log_tails());
        let body = json!({ "amount_minor": 3_000, "currency": "THB" });
        let (status, answer) = payhook.call(Method::PUT, "/v1/orders/F-3", Some(body)).await.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}\n{}", payhook.log_tails());
    }
}

/// Checks the recovery without a restart: what is sent again is acknowledged and applied, and what was before is still
/// there.
async fn mended(payhook: &TestPayhook, payment: &PaymentId) {
    let replies = payhook.antom_signed(payment, AntomKind::State).send_until_acknowledged(&RESENDS).await;
    let last = replies.last().unwrap();
    assert!(last.as_ref().is_ok_and(Reply::acknowledged), "{last:?}\n{}", payhook.log_tails());
    for order in ["F-1", "F-2"] {
        payhook.becomes(order, "paid").await;
        payhook.events_are(order, &["order.paid"]).await;
    }
    payhook.ready("serve").await;
    let new = paid_payment(payhook, "F-3").await;
    payhook.antom_notifies(&new, AntomKind::State).await;
    payhook.becomes("F-3", "paid").await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_nobody_reads_stops_no_work_in_one_process() {
    works_without_a_log(&Plan::usual().log(LogTo::ClosedPipe).one_file().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_stops_no_work_in_one_process() {
    works_without_a_log(&Plan::usual().log(LogTo::FullDevice).one_file().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_hangs_stops_no_work_in_one_process() {
    works_without_a_log(&Plan::usual().log(LogTo::HangingPipe).one_file().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_nobody_reads_stops_no_work_in_a_cluster() {
    let Some(payhook) = Plan::usual().log(LogTo::ClosedPipe).cluster().await else { return };
    works_without_a_log(&payhook).await;
}

/// A dead log: payments move, metrics count what was lost, and every process ends when asked.
async fn works_without_a_log(payhook: &TestPayhook) {
    for number in 0..5 {
        let order = format!("L-{number}");
        let payment = paid_payment(payhook, &order).await;
        payhook.antom_notifies(&payment, AntomKind::State).await;
        // Refusals are logged, too.
        let forged = payhook.antom_signed(&payment, AntomKind::State).flipped(40).send().await.unwrap();
        assert!(!forged.acknowledged(), "{}", forged.body);
        payhook.becomes(&order, "paid").await;
    }
    payhook
        .until("lost lines are counted", async || match payhook.metric_sum("payhook_log_write_failures_total").await {
            0 if payhook.plan.log == LogTo::HangingPipe => Ok(()), // its lines still wait
            0 => Err("none".to_owned()),
            _ => Ok(()),
        })
        .await;
    payhook.ends_well().await;
}

/// As on a disk without room: no file of the process grows beyond this, until it may again.
pub(crate) fn file_limit(payhook: &TestPayhook, bytes: Option<u64>) {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let pid = payhook.pid_of("serve").to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:")]).status().unwrap();
    assert!(set.success());
}

async fn paid_payment(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payment
}
