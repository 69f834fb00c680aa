use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use payhook_schema::{DeadLetterState, PaymentId};
use payhook_store::{DeadLetterFilter, NotificationFilter};
use serde::Deserialize;
use uuid::Uuid;

use crate::problem::Problem;
use crate::query::{Parameters, time_or_ago};

/// Ids named in one request.
const IDS_MAX: usize = 1000;
/// Long enough for a sentence and a ticket's address.
const TEXT_CHARS_MAX: usize = 500;
/// Providers' words for their notifications are shorter.
const KIND_CHARS_MAX: usize = 64;
/// Ids spelled out in the audit log; of more it is said how many.
const IDS_IN_WORDS: usize = 5;

/// The body of a request that changes something: the filter it selects by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Selecting {
    ids: Vec<Uuid>,
    cause: Option<String>,
    kind: Option<String>,
    provider: Option<String>,
    account: Option<String>,
    payment_id: Option<String>,
    since: Option<String>,
    all: bool,
}

impl Selecting {
    /// Dead letters, the open ones: that is for the store to see to.
    pub(crate) fn dead_letters(self, now: Timestamp) -> Result<DeadLetterFilter, Problem> {
        if self.kind.is_some() || self.payment_id.is_some() {
            return Err(Problem::unprocessable(
                "Dead letters are selected by `ids`, `cause`, `provider`, `account` and `since`; `kind` and `payment_id` \
                 select notifications.",
            ));
        }
        self.is_meant()?;
        Ok(DeadLetterFilter {
            cause: word("cause", self.cause.as_deref())?,
            provider: word("provider", self.provider.as_deref())?,
            account: word("account", self.account.as_deref())?,
            since: self.since(now)?,
            ids: self.ids,
            state: None,
            before: None,
            limit: u32::MAX,
        })
    }

    pub(crate) fn notifications(self, now: Timestamp) -> Result<NotificationFilter, Problem> {
        if self.cause.is_some() {
            return Err(Problem::unprocessable(
                "Notifications are selected by `ids`, `kind`, `provider`, `account`, `payment_id` and `since`; `cause` \
                 selects dead letters.",
            ));
        }
        self.is_meant()?;
        let payment: Option<PaymentId> = word("payment_id", self.payment_id.as_deref())?;
        let kind = self.kind.as_deref().map(kind).transpose();
        Ok(NotificationFilter {
            kind: kind.map_err(|why| Problem::unprocessable(format!("`filter.kind`: {why}")))?,
            provider: word("provider", self.provider.as_deref())?,
            account: word("account", self.account.as_deref())?,
            payment,
            since: self.since(now)?,
            ids: self.ids,
            before: None,
            limit: u32::MAX,
        })
    }

    fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let since = self.since.as_deref().map(|text| time_or_ago(text, now)).transpose();
        since.map_err(|why| Problem::unprocessable(format!("`filter.since`: {why}")))
    }

    /// Everything is only taken by whoever says so: a filter that was forgotten must not mean all.
    fn is_meant(&self) -> Result<(), Problem> {
        if self.ids.len() > IDS_MAX {
            return Err(Problem::unprocessable(format!(
                "At most {IDS_MAX} `ids` are named at a time; `since` takes more."
            )));
        }
        let words = [&self.cause, &self.kind, &self.provider, &self.account, &self.payment_id, &self.since];
        match self.all || !self.ids.is_empty() || words.iter().any(|word| word.is_some()) {
            true => Ok(()),
            false => {
                Err(Problem::unprocessable("The filter selects nothing: name something in it, or say `\"all\": true`."))
            }
        }
    }
}

fn word<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let read = text.map(str::parse).transpose();
    read.map_err(|error: T::Err| Problem::unprocessable(format!("`filter.{name}`: {error}")))
}

/// A provider's word for a notification, as it spells it.
pub(crate) fn kind(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.chars().count() <= KIND_CHARS_MAX && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("a kind has 1 to {KIND_CHARS_MAX} characters, such as PAYMENT_RESULT or charge.complete")),
    }
}

/// Reads the reason for a change, which is stored with it and in the audit log.
pub(crate) fn reason(text: &str) -> Result<String, Problem> {
    match text.trim() {
        "" => Err(Problem::unprocessable("Say why in `reason`: it is kept with what you do, and in the audit log.")),
        text => sentence("reason", text),
    }
}

/// A text of a person's, on one line: it stands in lists and logs.
pub(crate) fn sentence(name: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    match text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(disguises) {
        true => Ok(text.to_owned()),
        false => Err(Problem::unprocessable(format!(
            "`{name}` is one line of at most {TEXT_CHARS_MAX} characters, without control characters and without those that \
             change the direction of writing."
        ))),
    }
}

/// A character that can make a terminal or a page show another text than was written: controls, line and paragraph separators, and the
/// direction marks of Unicode's bidirectional algorithm (UAX 9, section 2).
fn disguises(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads the filter of a list of dead letters: the open ones, unless a state is named.
pub(crate) fn listed_dead_letters(parameters: &mut Parameters, now: Timestamp) -> Result<DeadLetterFilter, Problem> {
    let state = parameters.take_with("state", |text| match text {
        "all" => Ok(None),
        word => word.parse().map(Some).map_err(|error| format!("{error}; `all` for all of them")),
    })?;
    Ok(DeadLetterFilter {
        state: state.unwrap_or(Some(DeadLetterState::Open)),
        limit: parameters.limit()?,
        before: parameters.take("before")?,
        ..grouped_dead_letters(parameters, now)?
    })
}

/// Reads the filter of groups: they are of open dead letters only, and have no pages.
pub(crate) fn grouped_dead_letters(parameters: &mut Parameters, now: Timestamp) -> Result<DeadLetterFilter, Problem> {
    Ok(DeadLetterFilter {
        ids: parameters.ids()?,
        cause: parameters.take("cause")?,
        provider: parameters.take("provider")?,
        account: parameters.take("account")?,
        since: parameters.since(now)?,
        state: None,
        before: None,
        limit: u32::MAX,
    })
}

pub(crate) fn listed_notifications(parameters: &mut Parameters, now: Timestamp) -> Result<NotificationFilter, Problem> {
    Ok(NotificationFilter {
        ids: parameters.ids()?,
        kind: parameters.take_with("kind", kind)?,
        provider: parameters.take("provider")?,
        account: parameters.take("account")?,
        payment: parameters.take("payment_id")?,
        since: parameters.since(now)?,
        before: parameters.take("before")?,
        limit: parameters.limit()?,
    })
}

/// `dead letters: cause provider_refused, account shop-th`, for the audit log.
pub(crate) fn dead_letters_in_words(filter: &DeadLetterFilter) -> String {
    in_words(
        "dead letters",
        &filter.ids,
        &[
            ("cause", filter.cause.map(|it| it.to_string())),
            ("provider", filter.provider.map(|it| it.to_string())),
            ("account", filter.account.as_ref().map(ToString::to_string)),
            ("since", filter.since.map(|it| it.to_string())),
        ],
    )
}

pub(crate) fn notifications_in_words(filter: &NotificationFilter) -> String {
    in_words(
        "notifications",
        &filter.ids,
        &[
            ("kind", filter.kind.clone()),
            ("provider", filter.provider.map(|it| it.to_string())),
            ("account", filter.account.as_ref().map(ToString::to_string)),
            ("payment", filter.payment.as_ref().map(ToString::to_string)),
            ("since", filter.since.map(|it| it.to_string())),
        ],
    )
}

fn in_words(what: &str, ids: &[Uuid], words: &[(&str, Option<String>)]) -> String {
    let named = ids.iter().take(IDS_IN_WORDS).map(|id| format!("id {id}"));
    let more = (ids.len() > IDS_IN_WORDS).then(|| format!("{} more ids", ids.len() - IDS_IN_WORDS));
    let words = words.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_deref()?)));
    let all: Vec<String> = named.chain(more).chain(words).collect();
    match all.is_empty() {
        true => format!("{what}: all"),
        false => format!("{what}: {}", all.join(", ")),
    }
}
