//! `cargo xtask test`: every test there is, against real servers, and one line that sums it up; with `--fast`, those
//! that need none.

use std::process::{Command, ExitCode};

use anyhow::Result;
use payhook_test_servers::REQUIRED;

use crate::run::{LineWatcher, cargo, exit_code, run_watched};
use crate::servers::XtaskServers;

/// Random worlds of the simulation.
const WORLDS: &str = "200";

/// Runs the tests. The last line of output is always `N passed, N failed`.
pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode> {
    let ran = match arguments {
        [fast, rest @ ..] if fast == "--fast" => {
            all_well(&mut [cargo(&["test", "--no-fail-fast"]).args(rest)], false).await
        }
        _ => all_tests(arguments).await,
    };
    match ran {
        Ok((count, code)) => {
            println!("{}", count.summary());
            Ok(code)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            println!("{}", Count { failed: 1, ..Count::default() }.summary());
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn all_tests(arguments: &[String]) -> Result<(Count, ExitCode)> {
    let servers = XtaskServers::start().await?;
    let test = |what: &[&str]| {
        let mut test = cargo(&["test", "--no-fail-fast"]);
        test.args(what).args(arguments).envs(servers.environment.iter().cloned());
        // A snapshot that differs fails, and leaves no file behind.
        test.env(REQUIRED, "1").env("PAYHOOK_SIM_WORLDS", WORLDS).env("INSTA_UPDATE", "no");
        test
    };
    let is_named = arguments.iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    match is_named {
        true => all_well(&mut [&mut test(&[])], true).await,
        // One call for all but doc tests, journeys included: a call for the journeys alone would build tokio, and with
        // it most of the tree, again with other features.
        false => {
            let everything = ["--workspace", "--lib", "--bins", "--test", "*"];
            all_well(&mut [&mut test(&everything), &mut test(&["--workspace", "--doc"])], true).await
        }
    }
}

/// Runs each, also after a failure. `whole`: nothing may have been left out for lack of a server.
async fn all_well(tests: &mut [&mut Command], whole: bool) -> Result<(Count, ExitCode)> {
    let mut count = Count::default();
    let mut worst = 0;
    for test in tests {
        let (status, counted) = run_watched(test, count).await?;
        count = counted;
        let code = exit_code(status);
        if code != 0 && count.failed == 0 {
            eprintln!(
                "error: cargo test failed without counting a failure: a test did not compile, or its program crashed"
            );
            count.failed = 1;
        }
        worst = worst.max(code);
    }
    if count.not_run && whole {
        eprintln!("error: a test printed `not run:`; see above");
    }
    if count.passed == 0 {
        eprintln!("error: no test ran");
    }
    count.not_run &= whole;
    let code = match worst {
        0 if count.is_good() => ExitCode::SUCCESS,
        0 => ExitCode::FAILURE,
        code => ExitCode::from(code),
    };
    Ok((count, code))
}

/// The sum of all `test result:` lines.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
    not_run: bool,
}

impl Count {
    fn summary(&self) -> String {
        let skipped = if self.ignored > 0 { format!(", {} skipped", self.ignored) } else { String::new() };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }

    /// Green must never mean "did not run".
    fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.ignored == 0 && !self.not_run
    }
}

impl LineWatcher for Count {
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`, perhaps in
    /// colour.
    fn line(&mut self, line: &str) {
        self.not_run |= line.contains("not run:");
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str) -> Count {
        let mut count = Count::default();
        output.lines().for_each(|line| count.line(line));
        count
    }

    #[test]
    fn the_results_of_all_test_programs_are_summed() {
        let count = count(
            "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 40 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.20s",
        );
        assert_eq!(count.summary(), "42 passed, 0 failed");
        assert!(count.is_good());
    }

    #[test]
    fn a_failed_an_ignored_or_an_absent_test_is_not_good() {
        let failed =
            count("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert_eq!(failed.summary(), "2 passed, 1 failed");
        let ignored =
            count("test result: ok. 2 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert_eq!(ignored.summary(), "2 passed, 0 failed, 3 skipped");
        let not_run =
            count("not run: a needs B\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        for count in [failed, ignored, not_run, Count::default()] {
            assert!(!count.is_good(), "{}", count.summary());
        }
    }
}
