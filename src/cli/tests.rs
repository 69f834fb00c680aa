//! Arguments that are accepted and refused, and the help texts as snapshots.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("payhook").chain(line.split(' '));
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.to_string())
}

const ID: &str = "01a1fcf9-4329-7dd6-8ccf-591e28112ca0";

#[test]
fn the_commands_do_not_contradict_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn a_change_requires_a_selection_and_a_reason() {
    for line in [
        "dead replay --reason x",
        "dead replay --all",
        "dead replay",
        "dead discard --reason x",
        "dead discard --all",
        "dead note --note x",
        "dead note --all",
        "notification replay --reason x",
        "notification replay --all",
        "order release O-1",
    ] {
        assert!(parse(line).is_err_and(|error| error.contains("required")), "{line}");
    }
    for line in [
        "dead replay --all --reason x",
        "dead replay --all --plan",
        "dead replay --since 2h --provider omise --account shop --cause poison --reason x",
        "dead discard --cause poison --reason x",
        "notification replay --kind charge.complete --payment chrg_1 --reason x",
        "notification replay --plan --since 2026-11-21T10:00:00Z",
        "order release O-1 --reason x",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
}

#[test]
fn ids_are_named_one_by_one() {
    let line = format!("dead replay --id {ID} --id {ID} --reason x");
    let Ok(Command::Dead(ApiCommand { command: DeadCommand::Replay { selection, .. }, .. })) = parse(&line) else {
        panic!("{line}");
    };
    assert_eq!((selection.filter.ids.len(), selection.all), (2, false));
    assert!(parse("dead show 7").is_err());
}

#[test]
fn a_rate_is_so_many_a_second() {
    let rate = |rate: &str| match parse(&format!("dead replay --all --reason x{rate}")) {
        Ok(Command::Dead(ApiCommand { command: DeadCommand::Replay { pace, .. }, .. })) => Ok(pace.rate),
        other => Err(format!("{other:?}")),
    };
    assert_eq!((rate(""), rate(" --rate 7"), rate(" --rate 7/s")), (Ok(50), Ok(7), Ok(7)));
    for wrong in [" --rate 7/m", " --rate fast", " --rate -1"] {
        assert!(rate(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn since_is_a_time_or_how_long_ago() {
    for since in ["2h", "1d", "2026-11-21T10:00:00Z", "2026-11-21T17:00:00+07:00"] {
        assert!(parse(&format!("drift --since {since}")).is_ok(), "{since}");
    }
    for since in ["1w", "yesterday", "2026-11-21"] {
        assert!(parse(&format!("drift --since {since}")).is_err_and(|error| error.contains("2h")), "{since}");
    }
    assert!(parse("drift").is_err(), "all payments there ever were are never meant");
}

#[test]
fn a_body_is_printed_alone() {
    assert!(parse(&format!("notification show {ID} --body")).is_ok());
    assert!(parse(&format!("notification show {ID} --body --json")).is_err());
}

/// The help of a command and of everything below it, 110 columns wide whatever the terminal.
fn help(command: &mut clap::Command, text: &mut String) {
    *text += &format!("{}\n\n", command.render_help());
    let below = command.get_subcommands_mut().filter(|command| command.get_name() != "help");
    below.for_each(|command| help(command, text));
}

#[test]
fn help_texts() {
    let mut command = Cli::command().term_width(110);
    command.build();
    insta::assert_snapshot!("help", command.render_help());
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let mut text = String::new();
        help(command, &mut text);
        insta::assert_snapshot!(format!("help_{name}"), text);
    }
}
