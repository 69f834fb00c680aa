//! Turns the filters of requests and lists into those of the store, and into words for the audit log.

use jiff::Timestamp;
use payhook_schema::DeadLetterState;
use payhook_store::{DeadLetterFilter, NotificationFilter};
use uuid::Uuid;

use crate::api::{DeadLetterQuery, FilterRequest, IdList, NotificationQuery, TimeOrAgo};
use crate::problem::ApiProblem;
use crate::query::page_rows;

/// Ids named in one request.
const IDS_MAX: usize = 1000;
/// Long enough for a sentence and a ticket's address.
const TEXT_CHARS_MAX: usize = 500;
/// Providers' words for their notifications are shorter.
const KIND_CHARS_MAX: usize = 64;
/// Ids spelled out in the audit log; the others are counted.
const IDS_IN_WORDS: usize = 5;

/// Reads the dead letters that a request selects. The store takes only the open ones of them.
pub(crate) fn dead_letters(filter: FilterRequest, now: Timestamp) -> Result<DeadLetterFilter, ApiProblem> {
    if filter.kind.is_some() || filter.payment_id.is_some() {
        return Err(ApiProblem::unprocessable(
            "Dead letters are selected by `ids`, `cause`, `provider`, `account` and `since`; `kind` and `payment_id` \
             select notifications.",
        ));
    }
    check_selects(&filter)?;
    let FilterRequest { ids, cause, provider, account, since, .. } = filter;
    let since = since_when(since, now).map_err(|why| ApiProblem::unprocessable(format!("`filter.since`: {why}")))?;
    Ok(DeadLetterFilter { ids, cause, provider, account, since, state: None, before: None, limit: u32::MAX })
}

/// Reads the notifications that a request selects.
pub(crate) fn notifications(filter: FilterRequest, now: Timestamp) -> Result<NotificationFilter, ApiProblem> {
    if filter.cause.is_some() {
        return Err(ApiProblem::unprocessable(
            "Notifications are selected by `ids`, `kind`, `provider`, `account`, `payment_id` and `since`; `cause` \
             selects dead letters.",
        ));
    }
    check_selects(&filter)?;
    let FilterRequest { ids, kind, provider, account, payment_id: payment, since, .. } = filter;
    check_kind(kind.as_deref()).map_err(|why| ApiProblem::unprocessable(format!("`filter.kind`: {why}")))?;
    let since = since_when(since, now).map_err(|why| ApiProblem::unprocessable(format!("`filter.since`: {why}")))?;
    Ok(NotificationFilter { ids, kind, provider, account, payment, since, before: None, limit: u32::MAX })
}

fn since_when(since: Option<TimeOrAgo>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    since.map(|since| since.at(now)).transpose()
}

/// Refuses a filter that selects nothing: one that was forgotten must not mean everything.
fn check_selects(filter: &FilterRequest) -> Result<(), ApiProblem> {
    let FilterRequest { ids, cause, kind, provider, account, payment_id, since, all } = filter;
    if ids.len() > IDS_MAX {
        return Err(ApiProblem::unprocessable(format!(
            "At most {IDS_MAX} `ids` go into one request; `since` selects more."
        )));
    }
    let by_words = cause.is_some() || kind.is_some() || provider.is_some() || account.is_some() || payment_id.is_some();
    match *all || !ids.is_empty() || by_words || since.is_some() {
        true => Ok(()),
        false => Err(ApiProblem::unprocessable(
            "The filter selects nothing: add a condition, or `\"all\": true` for everything.",
        )),
    }
}

/// Checks a provider's word for a notification.
fn check_kind(kind: Option<&str>) -> Result<(), String> {
    let is_kind =
        |kind: &str| (1..=KIND_CHARS_MAX).contains(&kind.chars().count()) && !kind.chars().any(char::is_control);
    match kind.is_none_or(is_kind) {
        true => Ok(()),
        false => Err(format!("a kind has 1 to {KIND_CHARS_MAX} characters, such as PAYMENT_RESULT or charge.complete")),
    }
}

/// Reads the reason for a change, which is stored with it and in the audit log.
pub(crate) fn reason(text: &str) -> Result<String, ApiProblem> {
    match text.trim() {
        "" => Err(ApiProblem::unprocessable(
            "`reason` is missing: say why; it is stored with the change and in the audit log.",
        )),
        text => sentence("reason", text),
    }
}

/// Checks a text of a person's: one line, because it stands in lists and logs.
pub(crate) fn sentence(name: &str, text: &str) -> Result<String, ApiProblem> {
    let text = text.trim();
    match text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(disguises) {
        true => Ok(text.to_owned()),
        false => Err(ApiProblem::unprocessable(format!(
            "`{name}` must be one line of at most {TEXT_CHARS_MAX} characters, without control characters and without characters \
             that change the direction of writing."
        ))),
    }
}

/// A character that can make a terminal or a page show another text than was written: controls, line and paragraph
/// separators, and the direction marks of Unicode's bidirectional algorithm (UAX 9, section 2).
fn disguises(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads the filter of a list of dead letters: the open ones, unless a state is named.
pub(crate) fn listed_dead_letters(query: DeadLetterQuery, now: Timestamp) -> Result<DeadLetterFilter, ApiProblem> {
    let DeadLetterQuery { id, cause, provider, account, since, state, before, limit } = query;
    let state = match state.as_deref() {
        None => Some(DeadLetterState::Open),
        Some("all") => None,
        Some(word) => {
            let state = word.parse();
            Some(state.map_err(|error| ApiProblem::malformed(format!("`state`: {error}; `all` for all of them")))?)
        }
    };
    let ids = id.map(|IdList(ids)| ids).unwrap_or_default();
    let since = since_when(since, now).map_err(|why| ApiProblem::malformed(format!("`since`: {why}")))?;
    Ok(DeadLetterFilter { ids, cause, provider, account, since, state, before, limit: page_rows(limit) })
}

/// Reads the filter of groups: they are of open dead letters only, and have no pages.
pub(crate) fn grouped_dead_letters(query: DeadLetterQuery, now: Timestamp) -> Result<DeadLetterFilter, ApiProblem> {
    if query.state.is_some() || query.before.is_some() || query.limit.is_some() {
        return Err(ApiProblem::malformed(
            "Groups are of all open dead letters: `state`, `before` and `limit` are of the list.",
        ));
    }
    Ok(DeadLetterFilter { state: None, limit: u32::MAX, ..listed_dead_letters(query, now)? })
}

pub(crate) fn listed_notifications(query: NotificationQuery, now: Timestamp) -> Result<NotificationFilter, ApiProblem> {
    let NotificationQuery { id, kind, provider, account, payment_id: payment, since, before, limit } = query;
    check_kind(kind.as_deref()).map_err(|why| ApiProblem::malformed(format!("`kind`: {why}")))?;
    let ids = id.map(|IdList(ids)| ids).unwrap_or_default();
    let since = since_when(since, now).map_err(|why| ApiProblem::malformed(format!("`since`: {why}")))?;
    Ok(NotificationFilter { ids, kind, provider, account, payment, since, before, limit: page_rows(limit) })
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
