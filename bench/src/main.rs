//! Measures payhook against the same work done without it: `cargo xtask bench`.
//!
//! A program and not a test: it prints ratios, each measured side by side in one run, round by round, and says which
//! goals were reached. BENCHMARKS.md explains each.

mod accept;
mod bench;
mod embedded;
mod figures;
mod http;
mod idle;
mod machine;
mod options;
mod orders;
mod program;
mod raw;
mod report;
mod settle;
mod stub;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::options::{BenchOptions, HELP};
use crate::report::Report;

/// No run takes longer.
const WITHIN: Duration = Duration::from_mins(6);

fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.first().is_some_and(|first| first == raw::ARGUMENT) {
        return runtime.block_on(raw::main());
    }
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        eprintln!("{HELP}");
        return Ok(());
    }
    let options = BenchOptions::read(arguments.into_iter())?;
    let run = async { tokio::time::timeout(WITHIN, run(options)).await.context("the run takes too long")? };
    runtime.block_on(run)
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
async fn run(options: BenchOptions) -> Result<()> {
    let began = Instant::now();
    let step = |what: &str| eprintln!("{:>6.1} s  {what}", began.elapsed().as_secs_f32());
    step("preparing: keys, payments, signatures");
    let bench = Bench::prepare(options).await?;
    let mut report = Report::default();
    let measured = async {
        if bench.options.wants("accept") {
            step("accepting notifications");
            accept::run(&bench, &mut report).await?;
        }
        if bench.options.wants("settle") {
            step("settling payments");
            settle::run(&bench, &mut report).await?;
        }
        if bench.options.wants("embedded") {
            step("both on one file");
            embedded::run(&bench, &mut report).await?;
        }
        if bench.options.wants("idle") {
            step("one at a time");
            idle::run(&bench, &mut report).await?;
        }
        anyhow::Ok(())
    };
    let measured = measured.await;
    let head = [
        format!(
            "payhook against what it stands on; {} rounds by turns, medians; {:.0} s",
            bench.options.size.rounds,
            began.elapsed().as_secs_f32()
        ),
        bench.pinning.in_words(),
    ];
    let json = bench.options.json;
    bench.end().await;
    match json {
        true => println!("{:#}", report.json(&head)),
        false => print!("{}", report.table(&head)),
    }
    // What was found until then is told all the same.
    measured
}
