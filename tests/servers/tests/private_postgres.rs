//! A PostgreSQL of our own, through every way it can end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use payhook_test_servers::{Database, Postgres, PrivatePostgres, not_run, postgres_is_installed};

fn query(url: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .env("PGCONNECT_TIMEOUT", "3")
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn fresh(postgres: &PrivatePostgres) -> Database {
    Postgres::at(&postgres.url()).expect("its address is one").fresh_database().await
}

#[tokio::test]
async fn a_private_postgres_keeps_what_was_committed_through_every_end() {
    if !postgres_is_installed() {
        return not_run("PostgreSQL is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    let mut postgres = PrivatePostgres::start(dir.path()).await.expect("it starts");
    eprintln!("started in {:.1} s", began.elapsed().as_secs_f32());
    let url = postgres.url();
    assert_eq!(query(&url, "SHOW fsync"), Ok("on".to_owned()));
    assert_eq!(query(&url, "SHOW max_connections"), Ok("200".to_owned()));
    query(&url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").expect("committed");

    postgres.kill9().await.expect("it dies");
    assert_eq!(postgres.pid(), None);
    query(&url, "SELECT 1").expect_err("gone");
    let began = Instant::now();
    postgres.restart().await.expect("it starts again");
    eprintln!("after kill -9 in {:.1} s", began.elapsed().as_secs_f32());
    assert_eq!(query(&url, "SELECT n FROM kept"), Ok("1".to_owned()));

    postgres.freeze();
    query(&url, "SELECT 1").expect_err("nobody answers");
    postgres.thaw();
    assert_eq!(query(&url, "SELECT n FROM kept"), Ok("1".to_owned()));

    postgres.stop().await.expect("it stops");
    query(&url, "SELECT 1").expect_err("stopped");
    postgres.restart().await.expect("it starts once more");

    let database = fresh(&postgres).await;
    let (name, theirs) = (database.name.clone(), database.url.clone());
    assert_eq!(query(&theirs, "SELECT current_database()"), Ok(name.clone()));
    // Somebody is still connected when the test ends.
    let mut connected = Command::new("psql")
        .args(["-Xq", "-d", &theirs, "-c", "SELECT pg_sleep(60)"])
        .stderr(Stdio::null())
        .spawn()
        .expect("psql runs");
    let others = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'");
    let end = Instant::now() + Duration::from_secs(10);
    while query(&url, &others) != Ok("1".to_owned()) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(database);
    assert_eq!(query(&url, &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), Ok("0".to_owned()));
    assert!(!connected.wait().expect("psql ends").success());

    let pid = postgres.pid().expect("it runs");
    postgres.freeze(); // even so
    drop(postgres);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    if !postgres_is_installed() {
        return not_run("PostgreSQL is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("postgresql/data")).expect("made");
    std::fs::write(dir.path().join("postgresql/data/in-the-way"), "").expect("written");
    let error = PrivatePostgres::start(dir.path()).await.err().expect("a failure");
    let error = format!("{error:#}");
    assert!(error.contains("--- the end of") && error.contains("not empty"), "{error}");
}

#[tokio::test]
async fn a_database_is_its_tests_own_and_gone_afterwards() {
    let Some(postgres) = payhook_test_servers::postgres().await else { return };
    let (database, other) = (postgres.fresh_database().await, postgres.fresh_database().await);
    query(&database.url, "CREATE TABLE mine ()").expect("made");
    query(&other.url, "SELECT * FROM mine").expect_err("another database");
    let url = database.url.clone();
    drop(database);
    query(&url, "SELECT 1").expect_err("gone");
}
