//! Load goes on while a fault comes and goes, again and again: for seconds here, for minutes by `cargo xtask soak`.
//!
//! Providers send all the time, send again what was not acknowledged, and repeat what was. Each soak prints its counts:
//! sent, acknowledged, applied, lost, twice.

mod load;

use std::process::{Command, Stdio};
use std::time::Duration;

use payhook_test_servers::{
    Database, Postgres, PrivatePostgres, PrivateRabbitCluster, not_run, postgres, postgres_is_installed, rabbit,
    rabbit_is_installed,
};
use tokio::time::{Instant, sleep};

use self::load::soak;
use crate::crowded::{Attack, FEW, attackers};
use crate::harness::{LogTo, Plan, TestPayhook};
use crate::machine::{FULL_AT_BYTES, failing_syncs, file_limit, let_go};

/// The duration of each fault.
const LASTS: Duration = Duration::from_secs(2);
/// The time a session of ours holds the rows it has locked: long enough for the program to wait for them.
const HOLDS_S: &str = "0.2";
/// Between two acts of sabotage.
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_full() {
    let payhook = Plan::usual().survives_file_limit().one_file().await;
    let counts = soak("disk_full", &payhook, async || {
        file_limit(&payhook, Some(FULL_AT_BYTES));
        sleep(LASTS).await;
        file_limit(&payhook, None);
    });
    counts.await.refused_some();
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return not_run("it needs strace, to have a sync fail");
    }
    let payhook = TestPayhook::one_file().await;
    let counts = soak("failed_sync", &payhook, async || {
        let strace = failing_syncs(&payhook);
        sleep(LASTS).await;
        let_go(strace);
    });
    counts.await.refused_some();
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_log() {
    let payhook = Plan::usual().log(LogTo::ClosedPipe).one_file().await;
    soak("dead_log", &payhook, async || sleep(LASTS).await).await;
    payhook
        .until("lost lines are counted", async || match payhook.metric_sum("payhook_log_write_failures_total").await {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        })
        .await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections() {
    crowded("silent_connections", Attack::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaf_connections() {
    crowded("deaf_connections", Attack::Deaf).await;
}

async fn crowded(name: &str, attack: Attack) {
    let payhook = Plan::usual().environment(FEW).one_file().await;
    soak(name, &payhook, async || {
        let mut attackers = attackers(&payhook, attack);
        sleep(LASTS).await;
        attackers.shutdown().await;
    })
    .await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed() {
    let Some(rabbit) = rabbit().await else { return };
    if !postgres_is_installed() {
        return not_run("it needs PostgreSQL on this machine, to kill it");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut private = PrivatePostgres::start(folder.path()).await.unwrap();
    let postgres = Postgres::at(&private.url()).unwrap();
    let payhook = Plan::usual().cluster_on(&rabbit, &postgres).await;
    soak("postgres_killed", &payhook, async || {
        private.kill9().await.unwrap();
        sleep(LASTS).await;
        private.restart().await.unwrap();
    })
    .await;
    payhook.ends_well().await;
    drop(payhook); // its database goes before its server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_ended() {
    let Some(payhook) = TestPayhook::cluster().await else { return };
    soak("postgres_connections_ended", &payhook, async || {
        for_a_while(async || end_connections(payhook.postgres()).await).await;
    })
    .await;
    payhook.ends_well().await;
}

/// The program locks an order, then its payment; a session of ours the other way round, and it is the more patient one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_deadlock() {
    let Some(payhook) = TestPayhook::cluster().await else { return };
    let sabotage = format!(
        "set deadlock_timeout = '30s'; do $$ declare held text[]; begin \
         held := array(select order_id from payments where not finished for update skip locked); \
         perform pg_sleep({HOLDS_S}); \
         perform 1 from orders where id = any(held) for update; \
         end $$"
    );
    sabotaged("postgres_deadlock", &payhook, &sabotage, "deadlocks").await;
}

/// Every transaction of the program is serializable, and a session of ours writes the same rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_serialization_failure() {
    let Some(payhook) = TestPayhook::cluster().await else { return };
    let name = &payhook.postgres().name;
    let serializable = format!("alter database {name} set default_transaction_isolation = 'serializable'");
    payhook.postgres().run(&serializable).await.unwrap();
    end_connections(payhook.postgres()).await;
    let sabotage = format!(
        "set transaction_isolation = 'read committed'; do $$ begin \
         update orders set updated_at = updated_at where state = 'pending'; \
         perform pg_sleep({HOLDS_S}); \
         end $$"
    );
    sabotaged("postgres_serialization_failure", &payhook, &sabotage, "xact_rollback").await;
}

/// Soaks while a session of ours runs this again and again, until PostgreSQL has counted what comes of it.
async fn sabotaged(name: &str, payhook: &TestPayhook, sabotage: &str, counter: &str) {
    soak(name, payhook, async || {
        for_a_while(async || drop(payhook.postgres().run(sabotage).await)).await;
    })
    .await;
    counted(payhook, counter).await;
    payhook.ends_well().await;
}

/// The node that leads the work queue dies, and comes back when another one leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_leader_killed() {
    let Some(postgres) = postgres().await else { return };
    if !rabbit_is_installed() {
        return not_run("it needs RabbitMQ on this machine, to run three nodes of it");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = PrivateRabbitCluster::start(folder.path()).await.unwrap();
    let rabbit = nodes.rabbit().unwrap();
    let payhook = Plan::usual().cluster_on(&rabbit, &postgres).await;
    soak("broker_leader_killed", &payhook, async || {
        let led = leader(&payhook).await;
        nodes.kill9(&led).await.unwrap();
        sleep(LASTS).await;
        nodes.restart_killed().await.unwrap();
        let leads = leader(&payhook).await;
        assert_ne!(led, leads, "nobody took over");
    })
    .await;
    payhook.ends_well().await;
    drop(payhook); // its virtual host goes before its broker
}

/// The node that leads the work queue; all three must be members, so that one can be spared.
async fn leader(payhook: &TestPayhook) -> String {
    let vhost = payhook.vhost();
    let path = format!("/queues/{}/payhook.notifications", vhost.name);
    payhook
        .until("all three nodes have the work queue", async || {
            let queue = vhost.admin("GET", &path, None).await.map_err(|error| format!("{error:#}"))?;
            match (queue["leader"].as_str(), queue["online"].as_array()) {
                (Some(leader), Some(online)) if online.len() == 3 => Ok(leader.to_owned()),
                _ => Err(queue.to_string()),
            }
        })
        .await
}

/// Sabotages again and again, for as long as a fault lasts.
async fn for_a_while(sabotage: impl AsyncFn()) {
    let end = Instant::now() + LASTS;
    while Instant::now() < end {
        sabotage().await;
        sleep(PAUSE).await;
    }
}

async fn end_connections(database: &Database) {
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and application_name = 'payhook'";
    database.run(sql).await.unwrap();
}

/// Waits until PostgreSQL has counted some of these in the test's database: the fault was there.
async fn counted(payhook: &TestPayhook, what: &str) {
    let sql = format!("select {what} from pg_stat_database where datname = current_database()");
    payhook
        .until(&format!("{what} are counted"), async || {
            let counted = payhook.postgres().run(&sql).await.map_err(|error| format!("{error:#}"))?;
            if counted.trim() == "0" { Err(counted) } else { Ok(()) }
        })
        .await;
}
