//! `payhook dead`: lists, shows, replays, discards and annotates dead letters.

use clap::{ArgGroup, Args, Subcommand};
use payhook_console::api::{
    DeadLetterDetails, DeadLetterGroupList, DeadLetterPage, DeadLetterQuery, DeadLetterView, DiscardReport,
    DiscardRequest, FilterRequest, IdList, NoteReport, NoteRequest, TimeOrAgo,
};
use payhook_schema::{AccountName, DeadCause, DeadLetterState, Provider};
use uuid::Uuid;

use crate::api::Api;
use crate::failure::{Exit, failed};
use crate::output::{self, or_dash};
use crate::watch::{self, ReplayArgs, payment_text};

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters, the latest failure first; the open ones unless --state or --all is given
    List {
        #[command(flatten)]
        filter: DeadFilter,
        /// Only letters in this state: open, replayed or discarded
        #[arg(long, conflicts_with = "all")]
        state: Option<DeadLetterState>,
        /// Letters in every state
        #[arg(long)]
        all: bool,
        /// Only those listed after this one
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        /// Dead letters to show, at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show everything about one dead letter except what the provider sent
    Show {
        /// Its id, as the list shows it
        id: Uuid,
    },
    /// Group the open ones by cause, provider and account, with the money at stake
    Groups {
        #[command(flatten)]
        filter: DeadFilter,
    },
    /// Replay open ones at a limited rate, and watch; ctrl-C leaves the replay running
    Replay {
        #[command(flatten)]
        selection: DeadSelection,
        #[command(flatten)]
        pace: ReplayArgs,
    },
    /// Mark open ones as not needed any more; they stay in the store
    Discard {
        #[command(flatten)]
        selection: DeadSelection,
        /// The reason; stored with them and in the audit log
        #[arg(long)]
        reason: String,
    },
    /// Put a note on dead letters, for the next reader
    Note {
        #[command(flatten)]
        selection: DeadSelection,
        /// The note, on one line; an empty one removes a note
        #[arg(long)]
        note: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeadFilter {
    /// A dead letter's id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<Uuid>,
    /// unknown_payment, provider_refused, provider_unreachable, attempts_exhausted, poison or misconfigured
    #[arg(long)]
    pub(crate) cause: Option<DeadCause>,
    /// antom or omise
    #[arg(long)]
    pub(crate) provider: Option<Provider>,
    /// The account's name, as configured
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// Last failed at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 2h
    #[arg(long)]
    pub(crate) since: Option<TimeOrAgo>,
}

/// The filters of a change; at least one is required.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true)
    .args(["ids", "cause", "provider", "account", "since", "all"]))]
pub(crate) struct DeadSelection {
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// All of them that match the other filters
    #[arg(long)]
    pub(crate) all: bool,
}

impl From<DeadFilter> for DeadLetterQuery {
    fn from(DeadFilter { ids, cause, provider, account, since }: DeadFilter) -> Self {
        Self { id: IdList::of(ids), cause, provider, account, since, ..Self::default() }
    }
}

impl From<DeadSelection> for FilterRequest {
    fn from(DeadSelection { filter, all }: DeadSelection) -> Self {
        let DeadFilter { ids, cause, provider, account, since } = filter;
        Self { ids, cause, provider, account, since, all, ..Self::default() }
    }
}

pub(crate) async fn run(api: &Api, command: DeadCommand) -> anyhow::Result<Exit> {
    match command {
        DeadCommand::List { filter, state, all, before, limit } => {
            let state = if all { Some("all".to_owned()) } else { state.map(|state| state.to_string()) };
            let query = DeadLetterQuery { state, before, limit: Some(limit), ..filter.into() };
            let answer = api.get(&["dead-letters"], &query).await?;
            Ok(api.print(answer, list_text))
        }
        DeadCommand::Show { id } => {
            let answer = api.get(&["dead-letters", &id.to_string()], &()).await?;
            Ok(api.print(answer, |letter| Some(text(letter))))
        }
        DeadCommand::Groups { filter } => {
            let answer = api.get(&["dead-letters", "groups"], &DeadLetterQuery::from(filter)).await?;
            Ok(api.print(answer, groups_text))
        }
        DeadCommand::Replay { selection, pace } => {
            watch::replay(api, &["dead-letters", "replay"], selection.into(), pace).await
        }
        DeadCommand::Discard { selection, reason } => {
            let body = DiscardRequest { filter: selection.into(), reason };
            let answer = api.post(&["dead-letters", "discard"], &body).await?;
            let mut elsewhere = 0;
            let exit = api.print(answer, |report: &DiscardReport| {
                elsewhere = report.in_other_replays;
                (report.discarded > 0).then(|| format!("discarded {}", report.discarded))
            });
            match elsewhere {
                0 => Ok(exit),
                _ => Err(failed(
                    format!("{elsewhere} are in an unfinished replay and were not discarded"),
                    "`payhook replay list` shows it; `payhook replay cancel` ends it",
                )),
            }
        }
        DeadCommand::Note { selection, note } => {
            let body = NoteRequest { filter: selection.into(), note };
            let answer = api.post(&["dead-letters", "note"], &body).await?;
            Ok(api.print(answer, |report: &NoteReport| (report.noted > 0).then(|| format!("noted {}", report.noted))))
        }
    }
}

pub(crate) fn list_text(page: &DeadLetterPage) -> Option<String> {
    let rows = page.dead_letters.iter().map(|letter| {
        [
            letter.id.to_string(),
            letter.state.to_string(),
            letter.cause.to_string(),
            letter_payment(letter),
            or_dash(letter.order_id.as_ref()),
            or_dash(letter.order_state),
            letter.attempts.to_string(),
            letter.last_failed_at.to_string(),
            or_dash(letter.note.as_ref()),
            letter.detail.clone(),
        ]
    });
    let head = ["ID", "STATE", "CAUSE", "PAYMENT", "ORDER", "ORDER IS", "ATTEMPTS", "LAST FAILED", "NOTE", "DETAIL"];
    output::page(head, rows, page.next.map(|id| id.to_string()))
}

fn letter_payment(letter: &DeadLetterView) -> String {
    payment_text(letter.provider, letter.account.as_ref(), letter.payment_id.as_ref())
}

pub(crate) fn text(details: &DeadLetterDetails) -> String {
    let DeadLetterDetails { letter, order_amount, envelope } = details;
    let facts = output::facts([
        ("id", letter.id.to_string()),
        ("state", letter.state.to_string()),
        ("cause", letter.cause.to_string()),
        ("detail", letter.detail.clone()),
        ("note", or_dash(letter.note.as_ref())),
        ("account", format!("{}/{}", or_dash(letter.provider), or_dash(letter.account.as_ref()))),
        ("payment", or_dash(letter.payment_id.as_ref())),
        ("order", or_dash(letter.order_id.as_ref())),
        ("order is", or_dash(letter.order_state)),
        ("order's amount", or_dash(*order_amount)),
        ("attempts", letter.attempts.to_string()),
        ("first failed", letter.first_failed_at.to_string()),
        ("last failed", letter.last_failed_at.to_string()),
        ("notification", or_dash(letter.notification_id)),
        (
            "envelope",
            format!("{}, {} bytes, SHA-256 {}", or_dash(envelope.hint.as_ref()), envelope.bytes, envelope.sha256),
        ),
    ]);
    let Some(notification) = &envelope.notification else { return facts };
    let notification = output::facts([
        ("kind", notification.kind.clone()),
        ("received", notification.received_at.to_string()),
        ("signed", or_dash(notification.signed_at)),
        ("verified by", notification.verified_by.clone()),
    ]);
    format!("{facts}\n\n{notification}")
}

pub(crate) fn groups_text(list: &DeadLetterGroupList) -> Option<String> {
    let rows = list.groups.iter().map(|group| {
        let at_stake: Vec<String> = group.at_stake.iter().map(ToString::to_string).collect();
        [
            group.cause.to_string(),
            or_dash(group.provider),
            or_dash(group.account.as_ref()),
            group.count.to_string(),
            group.first_failed_at.to_string(),
            group.last_failed_at.to_string(),
            or_dash((!at_stake.is_empty()).then(|| at_stake.join(", "))),
            group.paid_meanwhile.to_string(),
        ]
    });
    let head = ["CAUSE", "PROVIDER", "ACCOUNT", "COUNT", "FIRST FAILED", "LAST FAILED", "AT STAKE", "PAID MEANWHILE"];
    output::page(head, rows, None)
}
