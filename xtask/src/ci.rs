//! `cargo xtask ci`: what CI checks besides tests. Every check runs, whatever the ones before it found.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::run::{cargo, program, run, run_well, target_dir};

/// Its own lock file pins everything below it.
const CARGO_DENY: &str = "0.20.2";

/// Fetching the advisories is a few seconds' work where their host can be reached at all.
const FETCH_TIMEOUT: Duration = Duration::from_mins(2);

pub(crate) async fn ci() -> Result<ExitCode> {
    let mut failed = Vec::new();
    let mut note = |name: &'static str, began: Instant, result: Result<()>| {
        let seconds = began.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("ci: {name}: good ({seconds:.1} s)"),
            Err(error) => {
                eprintln!("ci: {name}: {error:#} ({seconds:.1} s)");
                failed.push(name);
            }
        }
    };

    let began = Instant::now();
    note("format", began, run_well(&mut cargo(&["fmt", "--all", "--check"])).await);
    let began = Instant::now();
    let mut lints = run_well(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])).await;
    if lints.is_ok() {
        // `--all-targets` leaves out what `cargo test` leaves out: the journeys.
        lints = run_well(&mut cargo(&["clippy", "--workspace", "--test", "*", "--", "-D", "warnings"])).await;
    }
    note("lints", began, lints);
    let began = Instant::now();
    note("declared toolchain", began, declared_toolchain());
    let began = Instant::now();
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    note("docs", began, run_well(doc.env("RUSTDOCFLAGS", "-Dwarnings")).await);
    let began = Instant::now();
    note("one TLS provider", began, no_ring());
    let began = Instant::now();
    note("unit file", began, unit_file().await);
    let began = Instant::now();
    note("dependencies", began, dependencies().await);

    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: not good: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Cargo.toml's `rust-version` is a promise to everyone who builds payhook: it must be the version that these checks
/// ran with.
fn declared_toolchain() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = program(rustc).arg("--version").output()?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let declared = env!("CARGO_PKG_RUST_VERSION");
    ensure!(
        version.starts_with(&format!("rustc {declared}.")),
        "Cargo.toml declares rust-version {declared}, and this is {}: change it to what was tested",
        version.trim()
    );
    Ok(())
}

/// *ring* beside aws-lc-rs leaves rustls without a choice, and it panics at run time.
fn no_ring() -> Result<()> {
    let arguments = ["tree", "--workspace", "--edges", "normal,build,dev", "--target", "all", "--invert", "ring"];
    let output = cargo(&arguments).output()?;
    let (tree, message) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(tree.trim().is_empty(), "ring is in the tree:\n{tree}");
    // Cargo has two ways to say that there is none: one for a package no lock file entry has, one for an unused entry.
    let none = message.contains("did not match any packages") || message.contains("nothing to print");
    ensure!(none, "cargo tree: {}: {message}", output.status);
    Ok(())
}

/// systemd rates how much of the machine the service can reach, from 0 (nothing) to 10. The threshold is in tenths.
async fn unit_file() -> Result<()> {
    let arguments = ["security", "--no-pager", "--offline=true", "--threshold=20", "deploy/payhook.service"];
    let run = run_well(program("systemd-analyze").args(arguments).stdout(Stdio::null())).await;
    run.context("systemd-analyze (Debian's package systemd) must rate deploy/payhook.service below 2")
}

async fn dependencies() -> Result<()> {
    let deny = cargo_deny().await?;
    run_well(program(&deny).args(["check", "bans", "licenses", "sources"])).await?;
    match tokio::time::timeout(FETCH_TIMEOUT, run(program(&deny).args(["fetch", "db"]))).await {
        Ok(Ok(status)) if status.success() => run_well(program(&deny).args(["check", "advisories"])).await,
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) if has_advisories() => {
            println!("ci: advisories: their host cannot be reached, so the stored database is used, however old it is");
            run_well(program(&deny).args(["--offline", "check", "advisories"])).await
        }
        Ok(Ok(_)) | Err(_) => {
            println!("ci: advisories: NOT CHECKED: their host cannot be reached and there is no stored database");
            Ok(())
        }
    }
}

fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let databases = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    databases.is_some_and(|databases| databases.flatten().any(|database| database.path().is_dir()))
}

/// The installed program, below `target/` so that a kept target directory keeps it.
async fn cargo_deny() -> Result<PathBuf> {
    let root = target_dir()?.join("tools");
    let installed_at = root.join("bin/cargo-deny");
    let installed = program(&installed_at).arg("--version").output();
    if installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(CARGO_DENY)) {
        return Ok(installed_at);
    }
    println!("ci: installing cargo-deny {CARGO_DENY}, which takes some minutes");
    let root = root.to_str().context("the target directory's path is not UTF-8")?;
    let package = format!("cargo-deny@{CARGO_DENY}");
    run_well(&mut cargo(&["install", "--locked", "--force", "--root", root, &package])).await?;
    Ok(installed_at)
}
