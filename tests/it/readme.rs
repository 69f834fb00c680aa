//! README's way from the demo to a first paid order, refund, and authorization: each command as it stands there, in one
//! shell.

use std::process::{Command, Stdio};

use crate::harness::{free_port, is_installed};

const README: &str = include_str!("../../README.md");
/// The commands from this heading to the other one are run.
const FROM: &str = "## On one machine";
const TO: &str = "### Rotate a provider's key";
/// A command in the background is ready when this is.
const READY: [(&str, &str); 2] =
    [("payhook simulate", "[ -s payhook.toml ]"), ("payhook serve", "payhook healthcheck --ready")];

/// Runs a command until it prints a line, and prints what it printed then.
const SHELL: &str = r#"set -eu
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
shows() {
    for _ in $(seq 150); do
        printed=$(eval "$2")
        if printf '%s\n' "$printed" | sed -E 's/[0-9-]{10}T[0-9:.]+Z/TIME/g; s/^ +//; s/ +$//' | tr -s ' ' | grep -qxF -- "$1"; then break; fi
        sleep 0.2
    done
    printf '%s\n' "$printed"
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_readme_work_word_for_word() {
    if !is_installed("bash", "bash") || !is_installed("curl", "curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [simulator, ingress, console] = [free_port(), free_port(), free_port()];
    let steps = steps();
    assert!(steps.len() > 10, "the README's commands were not found");
    let mut script = SHELL.to_owned();
    for (number, step) in steps.iter().enumerate() {
        // Its own ports: the defaults may be taken on this machine.
        let command = step
            .command
            .replace("payhook simulate", &format!("payhook simulate --listen 127.0.0.1:{simulator}"))
            .replace("127.0.0.1:8090", &format!("127.0.0.1:{simulator}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{ingress}"))
            .replace("127.0.0.1:8081", &format!("127.0.0.1:{console}"));
        script += &format!("echo 'step {number}'\n");
        // A person takes longer to type than payhook to settle.
        script += &match step.prints.last() {
            Some(line) => format!("shows {} {}\n", quoted(&plain(line)), quoted(&command)),
            None => format!("{command}\n"),
        };
        for (program, ready) in READY {
            if step.command.starts_with(program) && step.command.contains('&') {
                script += &format!("for _ in $(seq 300); do ({ready}) >/dev/null 2>&1 && break; sleep 0.1; done\n");
            }
        }
    }
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_payhook")).parent().unwrap().display().to_string();
    let ran = tokio::task::spawn_blocking({
        let folder = folder.path().to_owned();
        move || {
            let mut bash = Command::new("bash");
            bash.args(["-c", &script]).current_dir(folder).stdin(Stdio::null());
            bash.env_clear().env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin")).env("NO_PROXY", "127.0.0.1");
            bash.env("PAYHOOK__INGRESS__LISTEN", format!("127.0.0.1:{ingress}"));
            bash.env("PAYHOOK__CONSOLE__LISTEN", format!("127.0.0.1:{console}")).output().unwrap()
        }
    });
    let ran = ran.await.unwrap();
    let (output, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "--- printed\n{output}\n--- errors\n{errors}");
    for (number, step) in steps.iter().enumerate() {
        let from = output.find(&format!("step {number}\n")).expect("every step was begun");
        let to = output.find(&format!("step {}\n", number + 1)).unwrap_or(output.len());
        let printed: Vec<String> = output[from..to].lines().map(plain).collect();
        for line in &step.prints {
            let line = plain(line);
            assert!(printed.contains(&line), "`{}` does not print\n{line}\nbut\n{}", step.command, &output[from..to]);
        }
    }
}

struct ReadmeStep {
    command: String,
    /// The lines that follow it in the README.
    prints: Vec<String>,
}

/// Every command of the part, but for the installation: the program is built already.
fn steps() -> Vec<ReadmeStep> {
    let from = README.find(FROM).expect("the README has the heading");
    let to = README.find(TO).expect("the README has the heading");
    let mut steps: Vec<ReadmeStep> = Vec::new();
    let blocks = README[from..to].split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(ReadmeStep { command: command.to_owned(), prints: Vec::new() }),
            (None, Some(step)) if step.command.ends_with('\\') => step.command += &format!("\n{line}"),
            (None, Some(step)) if !line.trim().is_empty() => step.prints.push(line.to_owned()),
            (None, _) => {}
        }
    }
    steps.retain(|step| !step.command.starts_with("cargo install"));
    steps
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A line without what differs from run to run: times, and the width of columns.
fn plain(line: &str) -> String {
    let is_time = |word: &&str| word.len() > 19 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    line.split_whitespace().map(|word| if is_time(&word) { "TIME" } else { word }).collect::<Vec<_>>().join(" ")
}
