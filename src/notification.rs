//! `payhook notification`: lists, shows and replays the notifications that providers sent.

use clap::{ArgGroup, Args, Subcommand};
use payhook_console::api::{
    FilterRequest, IdList, NotificationDetails, NotificationPage, NotificationQuery, TimeOrAgo,
};
use payhook_schema::{AccountName, PaymentId, Provider};
use uuid::Uuid;

use crate::api::Api;
use crate::failure::{Exit, failed_by};
use crate::output::{self, or_dash};
use crate::watch::{self, ReplayArgs, payment_text};

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationCommand {
    /// List what providers sent, newest first
    List {
        #[command(flatten)]
        filter: NotificationWords,
        /// Only those received before this one
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        /// Notifications to show, at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show everything about one notification except its content
    Show {
        /// Its id, as the list shows it
        id: Uuid,
        /// Print the exact bytes that were received, and nothing else; for admins, and recorded in the audit log
        #[arg(long, conflicts_with = "json")]
        body: bool,
    },
    /// Replay notifications at a limited rate, and watch; ctrl-C leaves the replay running
    Replay {
        #[command(flatten)]
        selection: NotificationSelection,
        #[command(flatten)]
        pace: ReplayArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NotificationWords {
    /// A notification's id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<Uuid>,
    /// The provider's word for it: PAYMENT_RESULT, charge.complete
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// antom or omise
    #[arg(long)]
    pub(crate) provider: Option<Provider>,
    /// The account's name, as configured
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// The payment it is about: a paymentRequestId, a charge id
    #[arg(long, value_name = "ID")]
    pub(crate) payment: Option<PaymentId>,
    /// Received at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 2h
    #[arg(long)]
    pub(crate) since: Option<TimeOrAgo>,
}

/// The filters of a change; at least one is required.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true)
    .args(["ids", "kind", "provider", "account", "payment", "since", "all"]))]
pub(crate) struct NotificationSelection {
    #[command(flatten)]
    pub(crate) filter: NotificationWords,
    /// All of them that match the other filters
    #[arg(long)]
    pub(crate) all: bool,
}

impl From<NotificationSelection> for FilterRequest {
    fn from(NotificationSelection { filter, all }: NotificationSelection) -> Self {
        let NotificationWords { ids, kind, provider, account, payment, since } = filter;
        Self { ids, kind, provider, account, payment_id: payment, since, all, cause: None }
    }
}

pub(crate) async fn run(api: &Api, command: NotificationCommand) -> anyhow::Result<Exit> {
    match command {
        NotificationCommand::List { filter, before, limit } => {
            let NotificationWords { ids, kind, provider, account, payment: payment_id, since } = filter;
            let (id, limit) = (IdList::of(ids), Some(limit));
            let query = NotificationQuery { id, kind, provider, account, payment_id, since, before, limit };
            let answer = api.get(&["notifications"], &query).await?;
            Ok(api.print(answer, list_text))
        }
        NotificationCommand::Show { id, body: true } => {
            let path = ["notifications", &id.to_string(), "body"];
            let Some(bytes) = api.bytes(&path).await? else { return Ok(Exit::NothingFound) };
            output::bytes(&bytes)
                .map_err(|error| failed_by(error, "cannot print the body", "write it to a file: `> FILE`"))?;
            Ok(Exit::Done)
        }
        NotificationCommand::Show { id, body: false } => {
            let answer = api.get(&["notifications", &id.to_string()], &()).await?;
            Ok(api.print(answer, |details| Some(text(details))))
        }
        NotificationCommand::Replay { selection, pace } => {
            watch::replay(api, &["notifications", "replay"], selection.into(), pace).await
        }
    }
}

pub(crate) fn list_text(page: &NotificationPage) -> Option<String> {
    let rows = page.notifications.iter().map(|it| {
        [
            it.id.to_string(),
            it.received_at.to_string(),
            or_dash(it.received),
            format!("{}/{}", it.provider, it.account),
            it.kind.clone(),
            it.about.to_string(),
            payment_text(Some(it.provider), Some(&it.account), it.payment_id.as_ref()),
            it.verified_by.clone(),
        ]
    });
    let head = ["ID", "RECEIVED", "TIMES", "ACCOUNT", "KIND", "ABOUT", "PAYMENT", "VERIFIED BY"];
    output::page(head, rows, page.next.map(|id| id.to_string()))
}

pub(crate) fn text(details: &NotificationDetails) -> String {
    let NotificationDetails { notification: it, headers, body_bytes, body_sha256 } = details;
    let headers: Vec<String> =
        headers.iter().map(|header| format!("{} ({} bytes)", header.name, header.bytes)).collect();
    output::facts([
        ("id", it.id.to_string()),
        ("account", format!("{}/{}", it.provider, it.account)),
        ("kind", it.kind.clone()),
        ("about", it.about.to_string()),
        ("payment", or_dash(it.payment_id.as_ref())),
        ("refund", or_dash(it.refund_id.as_ref())),
        ("same fact", or_dash(it.idempotency_key.as_ref())),
        ("received", it.received_at.to_string()),
        ("times received", or_dash(it.received)),
        ("last received", or_dash(it.last_received_at)),
        ("signed", or_dash(it.signed_at)),
        ("verified by", it.verified_by.clone()),
        ("signed path", it.signed_path.clone()),
        ("headers", headers.join(", ")),
        ("body bytes", or_dash(*body_bytes)),
        ("body SHA-256", or_dash(body_sha256.as_ref())),
        ("sealed under", or_dash(it.sealed_with)),
    ])
}
