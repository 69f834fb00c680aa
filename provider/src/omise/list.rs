//! Omise's list of events: all events, with and without a webhook.

use jiff::Timestamp;
use payhook_schema::{About, PaymentId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event;
use crate::Refusal;
use crate::client::AskError;

/// The most events on one page: Omise's own limit.
///
/// # Source
/// "Pagination and Lists", docs.opn.ooo/api-pagination, read 2026-11-21; `docs/providers/omise.md#lists`.
const LIMIT: u32 = 100;

/// A hundred events of 6 KB each, and of each the payload again for every attempt to deliver it.
pub(crate) const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A page of Omise's list of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    pub events: Vec<ListedEvent>,
    /// Entries of this page that are no event we can read. They count towards the next page's offset.
    pub unread: u32,
    /// The number of events in the whole list.
    pub total: u32,
}

/// An event of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEvent {
    /// `evnt_test_5xuy4w91xqz7d1w9u0t`: the id its webhook carries, too.
    pub id: String,
    /// Omise's key: `charge.complete`.
    pub kind: String,
    /// In whole seconds: several events may have one, so that it orders nothing.
    pub created_at: Timestamp,
    /// The charge to ask about; absent where the event is about none.
    pub charge: Option<PaymentId>,
}

impl EventsPage {
    /// The number of entries on the page, readable or not: the next page's offset is higher by this number. The last
    /// page has no entries, or reaches [`EventsPage::total`].
    pub fn entries(&self) -> u32 {
        u32::try_from(self.events.len()).unwrap_or(u32::MAX).saturating_add(self.unread)
    }
}

/// The call for one page. Times have whole seconds at Omise; so a fraction of one is cut off, and both ends are
/// included.
pub(crate) fn events_path(from: Timestamp, to: Timestamp, offset: u32) -> String {
    let second = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    let (from, to) = (second(from), second(to));
    format!("/events?from={from}&to={to}&order=chronological&limit={LIMIT}&offset={offset}")
}

/// The list's own fields. Not read strictly, as its entries are: one that no store could keep must not hide the others.
#[derive(Deserialize)]
struct List {
    object: String,
    total: u32,
    offset: Option<u32>,
    order: Option<String>,
    data: Vec<Box<RawValue>>,
}

/// Reads one page of events, each as its webhook would be read.
///
/// # Errors
/// [`AskError::Unavailable`]: no list, not the page that was asked for, or one of the other mode: test and live never
/// mix.
///
/// # Source
/// "Pagination and Lists" and "Event API", docs.omise.co, read 2026-11-21; `docs/providers/omise.md#lists`.
pub(crate) fn read_events(body: &[u8], offset: u32, livemode: bool) -> Result<EventsPage, AskError> {
    let list: List = serde_json::from_slice(body).map_err(|_| AskError::garbled("it is not a list of events"))?;
    if list.object != "list" {
        return Err(AskError::garbled("`object` is not `list`"));
    }
    if list.offset.is_some_and(|stated| stated != offset) || list.order.is_some_and(|order| order != "chronological") {
        return Err(AskError::garbled("it is another page than asked for"));
    }
    let mut page = EventsPage { events: Vec::with_capacity(list.data.len()), unread: 0, total: list.total };
    for entry in &list.data {
        match event::read(entry.get().as_bytes(), livemode) {
            Ok(event::WebhookEvent { event_id: id, kind, created_at: Some(created_at), about }) => {
                let charge = match about {
                    About::Payment(charge) => Some(charge),
                    _ => None,
                };
                page.events.push(ListedEvent { id, kind, created_at, charge });
            }
            Err(Refusal::NotGenuine(why) | Refusal::Malformed(why)) => {
                return Err(AskError::garbled(format!("it has an event {why}")));
            }
            Ok(_) | Err(Refusal::Unreadable(_)) => page.unread += 1,
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAID: &str = include_str!("../../fixtures/omise/event_charge_2019-05-29.json");
    const REFUND: &str = include_str!("../../fixtures/omise/event_refund_2015-11-17.json");
    const CUSTOMER: &str = include_str!("../../fixtures/omise/event_customer_2019-05-29.json");

    fn list(offset: u32, total: u32, entries: &[&str]) -> Vec<u8> {
        let data = entries.join(",");
        format!(r#"{{"object":"list","data":[{data}],"limit":100,"offset":{offset},"total":{total},"order":"chronological"}}"#)
            .into_bytes()
    }

    #[test]
    fn a_page_is_asked_for_in_whole_seconds_and_in_order() {
        let (from, to) = ("2026-11-21T03:00:00.9Z".parse().unwrap(), "2026-11-21T03:15:00Z".parse().unwrap());
        let wanted =
            "/events?from=2026-11-21T03:00:00Z&to=2026-11-21T03:15:00Z&order=chronological&limit=100&offset=200";
        assert_eq!(events_path(from, to, 200), wanted);
    }

    #[test]
    fn events_of_every_version_and_family_are_read_as_their_webhooks_are() {
        let page = read_events(&list(0, 3, &[PAID, REFUND, CUSTOMER]), 0, false).unwrap();
        assert_eq!((page.entries(), page.unread, page.total), (3, 0, 3));
        let charges: Vec<bool> = page.events.iter().map(|event| event.charge.is_some()).collect();
        assert_eq!(charges, [true, true, false]);
        assert_eq!(page.events[1].kind, "refund.create");
        for (event, body) in page.events.iter().zip([PAID, REFUND, CUSTOMER]) {
            let read = event::read(body.as_bytes(), false).unwrap();
            assert_eq!((&event.id, &event.kind, Some(event.created_at)), (&read.event_id, &read.kind, read.created_at));
        }
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_hides_nothing_else() {
        let twice = PAID.replacen("\"key\"", "\"data\": 1, \"key\"", 1);
        let untimed = PAID.replace("\"created_at\"", "\"created_then\"");
        let entries = ["7", "{}", &twice, PAID, &untimed, r#"{"a":"\u0000"}"#];
        let page = read_events(&list(100, 106, &entries), 100, false).unwrap();
        assert_eq!((page.events.len(), page.unread, page.entries()), (1, 5, 6));
    }

    #[test]
    fn an_event_of_the_other_mode_spoils_the_page() {
        let live = PAID.replace("_test_", "_").replace("\"livemode\": false", "\"livemode\": true");
        assert!(read_events(&list(0, 1, &[&live]), 0, true).is_ok());
        for (entries, livemode) in [([PAID, &live], false), ([PAID, &live], true)] {
            let garbled = read_events(&list(0, 2, &entries), 0, livemode).unwrap_err();
            assert!(matches!(&garbled, AskError::Unavailable { what, .. } if what.contains("mode")), "{garbled}");
        }
    }

    #[test]
    fn anything_but_the_page_that_was_asked_for_is_no_answer() {
        let back = String::from_utf8(list(0, 0, &[])).unwrap().replace("chronological", "reverse_chronological");
        for body in [&b"{}"[..], b"<html>", br#"{"object":"error","code":"x"}"#, &list(100, 300, &[]), back.as_bytes()]
        {
            assert!(matches!(read_events(body, 0, false), Err(AskError::Unavailable { .. })));
        }
    }
}
