use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationName, Event, Money, NewAuthorization, NewOrder,
    NewRefund, Notification, Order, OrderId, OrderState, PaymentKey, Provider, RefundId, Sealed, SealedPlace,
};
use uuid::Uuid;

mod audit;
mod dead_letters;
mod error;
mod filters;
mod history;
mod replays;
mod settlements;
mod timeline;

pub use audit::{AuditEntry, KeyUse, Release};
pub use dead_letters::{Act, DeadLetter, DeadLetterGroup};
pub use error::StoreError;
pub use filters::{Archived, DeadLetterFilter, NotificationFilter};
pub use history::{Deleted, History, Place, Sent, SentBefore};
pub use replays::{NewReplay, Replay, ReplayItem, ReplayResult, Selection, Steer};
pub use settlements::{Asked, Change, PaymentCheck, Settled, Settlement};
pub(crate) use timeline::PlaceOf;
pub use timeline::{TIMELINE_PAGE, TimelineEntry, TimelinePage, TimelinePlace};

/// The data that payhook stores. Each method is one whole unit of work: all of it happens or none.
///
/// Every backend keeps these promises; each is the name of a test in `conformance`:
///
/// - `registering_the_same_order_twice_changes_nothing`
/// - `registering_another_amount_is_a_conflict_and_changes_nothing`
/// - `attempts_can_be_added_to_a_registered_order`
/// - `a_payment_belongs_to_one_order`
/// - `an_order_has_a_hundred_payments_at_most`
/// - `registrations_of_one_order_at_once_all_succeed`
/// - `a_payment_is_found_by_its_key_and_under_another_account`
/// - `a_settlement_is_written_whole_or_not_at_all`
/// - `a_settlement_decided_on_an_older_revision_is_a_conflict`
/// - `two_settlements_of_one_order_at_once_write_one`
/// - `many_writers_of_one_order_write_each_revision_once`
/// - `a_batch_is_as_if_each_were_settled_alone_and_in_order`
/// - `a_settlement_that_cannot_be_kept_is_refused_alone`
/// - `a_notification_is_archived_once_with_its_exact_bytes`
/// - `a_notification_before_its_order_is_linked_when_the_order_is_registered`
/// - `money_and_times_are_exact`
/// - `a_schedule_moves_without_a_conflict`
/// - `an_answer_that_changes_nothing_moves_no_revision`
/// - `due_payments_are_handed_to_one_sweeper_at_a_time`
/// - `late_checks_are_due_apart_from_live_ones`
/// - `an_account_with_many_due_payments_leaves_room_for_the_others`
/// - `a_refresh_makes_every_payment_due`
/// - `events_are_sequenced_in_version_order_per_order`
/// - `a_reader_of_a_restored_feed_misses_nothing`
/// - `a_reader_of_the_feed_misses_nothing`
/// - `an_event_is_published_until_it_is_marked`
/// - `an_orders_events_are_read_in_version_order`
/// - `orders_are_listed_newest_first_in_pages_that_do_not_overlap`
/// - `the_timeline_tells_everything_oldest_first`
/// - `a_dead_letter_is_kept_once_and_found_by_every_filter`
/// - `a_dead_letter_is_kept_whatever_is_in_it`
/// - `the_backlog_counts_what_is_left`
/// - `a_lease_has_one_holder_until_it_expires`
/// - `several_leases_are_taken_at_once_each_by_itself`
/// - `refunds_and_disputes_are_kept_with_their_payment`
/// - `an_announced_refund_makes_its_payment_due_at_once`
/// - `a_refund_belongs_to_one_payment`
/// - `an_announced_refund_moves_to_the_payment_its_provider_names`
/// - `a_refund_that_is_settled_or_moved_is_decided_on_once`
/// - `a_notification_found_to_be_about_a_payment_is_in_its_timeline`
/// - `a_payment_is_found_by_its_refund_and_by_its_providers_name_for_it`
/// - `payments_a_refund_may_be_of_are_found_newest_first`
/// - `an_authorization_is_registered_once_and_found_by_state_and_token`
/// - `an_authorization_moves_from_the_revision_it_was_decided_on`
/// - `a_former_token_still_names_its_authorization`
/// - `a_token_names_each_authorization_that_was_issued_it`
/// - `an_authorization_is_claimed_by_one_at_a_time`
/// - `due_authorizations_are_handed_to_one_sweeper_at_a_time`
/// - `notifications_before_their_authorization_are_found_when_it_is_registered`
/// - `events_of_authorizations_are_in_the_feed_with_those_of_orders`
/// - `what_is_sealed_under_an_old_key_is_found_and_replaced_once`
/// - `the_keys_that_verified_last_are_told`
/// - `an_audit_entry_is_kept_and_listed_newest_first`
/// - `a_release_is_written_with_its_audit_entry`
/// - `an_orders_objections_are_read_back`
/// - `leases_are_counted_by_their_name`
/// - `a_lease_of_a_clock_that_was_ahead_ends_within_its_length`
/// - `a_claim_of_a_clock_that_was_ahead_ends_within_its_length`
/// - `a_sweeper_whose_clock_is_ahead_hides_no_payment`
/// - `a_schedule_that_no_right_clock_wrote_is_due`
/// - `a_clock_that_went_back_brings_checks_forward`
/// - `a_watermark_never_goes_back`
/// - `dead_letters_are_grouped_with_the_money_at_stake`
/// - `a_discarded_dead_letter_stays_and_is_told_apart`
/// - `a_note_stays_with_its_dead_letter`
/// - `a_repeat_is_counted_and_not_stored`
/// - `the_dead_letter_of_a_repeat_names_what_is_archived`
/// - `a_timeline_is_read_in_pages`
/// - `archived_notifications_are_listed_newest_first_by_every_filter`
/// - `a_replay_takes_what_its_filter_says_and_nothing_another_one_has`
/// - `an_item_of_a_replay_is_handed_out_once_until_its_claim_runs_out`
/// - `a_canary_goes_first_and_alone`
/// - `a_replay_stops_by_itself_when_too_many_fail`
/// - `a_paused_replay_hands_out_nothing_and_a_cancelled_one_never_again`
/// - `a_result_counts_once_and_closes_its_dead_letter`
/// - `what_a_replay_did_is_in_the_timeline`
/// - `archived_notifications_end_unless_something_needs_them`
/// - `a_timeline_ends_with_its_releases_once_its_order_is_at_rest`
/// - `the_history_of_an_authorization_ends_once_it_is_cancelled`
/// - `published_events_end_and_what_fulfilment_saw_is_remembered`
/// - `closed_dead_letters_end_and_open_ones_stay`
/// - `audit_entries_end`
/// - `finished_replays_end_with_their_items`
/// - `what_stays_holds_up_nothing_behind_it`
/// - `migrating_twice_does_no_harm`
/// - `any_operations_do_what_a_plain_model_does`
///
/// If workers share a server, its clock says what is due and how long leases and claims last, not the caller's `now`. A
/// deadline later than its length allows was written by a clock that was ahead, and holds nobody up.
///
/// Times have microsecond precision; what is finer is cut off. All reads are of the primary: what was written is read.
/// Every call returns within a bounded time, whatever the database does.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Brings the store to this version; twice does no harm, two at once wait for each other.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// [`StoreError::Outdated`] unless the store is at this program's version.
    async fn check(&self) -> Result<(), StoreError>;

    /// Returns the store's address, without credentials.
    fn address(&self) -> String;

    /// Registers an order, or adds payments to it, with a `registered` entry in its timeline. Repeating is fine and
    /// changes nothing.
    ///
    /// A new payment's first check is due a minute later; at once where a notification about it came before. A payment with
    /// a newly announced refund is due at once, whatever its state, and archived notifications that name the refund are the
    /// payment's from then on.
    async fn order_register(&self, order: &NewOrder, now: Timestamp) -> Result<Registered, StoreError>;

    async fn order_get(&self, id: &OrderId) -> Result<Option<Order>, StoreError>;

    /// Newest first. A page after an order that does not exist is empty.
    async fn order_list(&self, filter: &OrderFilter) -> Result<Vec<Order>, StoreError>;

    /// Returns the history of an order, oldest first: the written entries, the archived notifications of its payments
    /// (`notification`), and its published events (`publish`). Up to `limit` entries after a place; what is written
    /// later with an earlier time is in its place.
    async fn order_timeline_page(
        &self,
        id: &OrderId,
        after: Option<TimelinePlace>,
        limit: u32,
    ) -> Result<TimelinePage, StoreError>;

    /// The whole of it, page by page.
    async fn order_timeline(&self, id: &OrderId) -> Result<Vec<TimelineEntry>, StoreError> {
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = self.order_timeline_page(id, after, TIMELINE_PAGE).await?;
            entries.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return Ok(entries);
            }
        }
    }

    /// For each key, in the same order, the order it belongs to.
    async fn payments_find(&self, keys: &[PaymentKey]) -> Result<Vec<Found>, StoreError>;

    /// The payment a notification names without its id; none where we do not know of it. If several payments have one
    /// reference, none is returned: a name that is not unique names no payment. Only payments of a provider whose
    /// notifications name them so are found by it (`Profile::names_payments_by_reference`).
    async fn payment_named(&self, name: &PaymentName) -> Result<Option<PaymentKey>, StoreError>;

    /// The provider's payments under `account` that a refund of `amount` may be of, the last registered first: those that took money
    /// in its currency, have at least so much left that was not refunded, and are of orders not older than `since`.
    async fn payments_refundable(
        &self,
        provider: Provider,
        account: &AccountName,
        amount: Money,
        since: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError>;

    /// Has a refund be of the payment that its provider names: one that is pending under another payment moves there as it is, and an
    /// unknown one is announced there. Both orders get a new `revision` and an entry in their timelines, and the payment is due at once.
    /// Registering it again where it was announced changes nothing. Returns false, and changes nothing, where the refund is settled under another payment or `refund.payment` is not registered.
    async fn refund_assign(&self, refund: &NewRefund, now: Timestamp) -> Result<bool, StoreError>;

    /// Writes settlements, each whole or not at all, as if one after the other; answers in the same order. Those that
    /// touch different orders and payments share one transaction, so a batch costs little more than one alone.
    ///
    /// A settlement that cannot be kept is [`Settled::Refused`] and leaves its neighbours alone. An error is never
    /// about one settlement: it is about the store, some may have been written, and asking again for all is safe: a
    /// change that was written is then a [`Settled::Conflict`]. A settlement without a change leaves, at worst, a
    /// timeline entry twice.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError>;

    /// Takes up to `limit` unfinished payments whose `next_check_at` has come, each account's oldest first, and moves
    /// their `next_check_at` to `now + hold_for`, so that no other sweeper takes them meanwhile. Accounts share the
    /// limit evenly: one with many due payments leaves room for the others. Of an account in `at_most`, no more than so
    /// many are taken; of the others, as many as fit. Due are also payments that were asked about at a time yet to
    /// come, or that would wait for more than 25 hours: a wrong clock wrote that. If `now` is earlier than at an
    /// earlier call, all checks within a day come as much sooner, those of authorizations too.
    async fn payments_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
        at_most: &[AccountLimit],
    ) -> Result<Vec<PaymentKey>, StoreError>;

    /// The same, oldest first whatever their account, for payments that were finished when they were last written ([`payhook_schema::Payment::is_unfinished`]): their late checks can wait, and
    /// however many of them are due, [`Store::payments_due`] reads none of them.
    async fn payments_due_late(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError>;

    /// Has an order's payments checked at `at`, the final ones too; false if there is no such order.
    async fn order_refresh(&self, id: &OrderId, at: Timestamp) -> Result<bool, StoreError>;

    /// Writes a release and its audit entry, both or neither. A release with a known id changes nothing.
    async fn release_write(&self, release: &Release, audit: &AuditEntry) -> Result<(), StoreError>;

    async fn release_get(&self, id: Uuid) -> Result<Option<Release>, StoreError>;

    /// Returns what fulfilment was sent about an order so far, whether published yet or not.
    async fn events_of(&self, order: &OrderId) -> Result<Sent, StoreError>;

    /// Gives up to `limit` new events their place in the feed, in version order per order; returns how many.
    ///
    /// Each place is above the last one and above `now` in microseconds since 1970, so places have gaps. A store that was restored from a
    /// backup, or lost its newest events in a failover, therefore goes on above every place it ever gave, and a reader misses nothing.
    async fn events_sequence(&self, limit: u32, now: Timestamp) -> Result<usize, StoreError>;

    /// Sequenced events after `after`, in feed order.
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError>;

    /// The highest place of an event that was deleted; 0 for none. A reader that stands below it may have missed some.
    async fn events_deleted_to(&self) -> Result<i64, StoreError>;

    /// Sequenced events after `after` that are not yet marked as published, in feed order.
    async fn events_unpublished(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError>;

    /// The first time counts; events without a place in the feed are not marked.
    async fn events_mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), StoreError>;

    /// Registers an authorization, with a `registered` entry in its history. Repeating is fine and changes nothing.
    ///
    /// If a notification about it came before, it is due at once: the caller may be gone before it says so.
    async fn authorization_register(
        &self,
        new: &NewAuthorization,
        now: Timestamp,
    ) -> Result<AuthorizationRegistered, StoreError>;

    async fn authorization_get(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError>;

    /// The authorizations a notification names under `account`, by id. A state names one at most; a token each that was ever issued
    /// it, for ever, also after a newer one was issued.
    async fn authorization_find(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Authorization>, StoreError>;

    /// Everything that happened to an authorization, oldest first: the written entries, the archived notifications about it
    /// (`notification`), and its published events (`publish`).
    async fn authorization_timeline(&self, id: &AuthorizationId) -> Result<Vec<TimelineEntry>, StoreError>;

    /// Archived notifications that name an authorization by `name`, oldest first, at most a hundred: what came before it was
    /// registered.
    async fn authorization_notifications(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Notification>, StoreError>;

    /// Writes what was learned about an authorization, whole or not at all, like [`Store::settle`] does for orders. A change
    /// ends any claim. An entry of its history names no payment.
    async fn authorization_settle(&self, settlement: &AuthorizationSettlement) -> Result<Settled, StoreError>;

    /// Claims what is to be done next for an authorization (a code to exchange, a token to refresh) for `holder` until
    /// `now + hold_for`: the authorization as it then is, or none while another's claim stands or where its `next_check_at`
    /// is absent, whether that time has come or not. Its holder renews it. A claim is no part of the `revision`.
    async fn authorization_claim(
        &self,
        id: &AuthorizationId,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Option<Authorization>, StoreError>;

    /// Takes up to `limit` authorizations whose `next_check_at` has come, oldest first, and moves their `next_check_at` to
    /// `now + hold_for`, which is no part of the `revision`.
    async fn authorizations_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<AuthorizationId>, StoreError>;

    /// Up to `limit` things that are sealed under another key than `newest`, in no particular order.
    async fn sealed_list(&self, newest: u32, limit: u32) -> Result<Vec<SealedThing>, StoreError>;

    /// Replaces sealed things with what is sealed anew, each only if it is still sealed as `was`; returns how many were.
    /// To an authorization it is a write like any other: whoever read it before would bring the old secret back.
    async fn sealed_replace(&self, replacements: &[Resealed]) -> Result<usize, StoreError>;

    /// Counts the things sealed under each key, by key.
    async fn sealed_count(&self) -> Result<Vec<(u32, u64)>, StoreError>;

    /// Returns which of our keys verified notifications last, and when: of the newest ten thousand in the archive, one
    /// entry for each account and key, by provider, account and key.
    async fn keys_used(&self) -> Result<Vec<KeyUse>, StoreError>;

    /// Writes down who did what. A caller that does something that must be audited writes first and does it then. An
    /// entry with a known id changes nothing, and a NUL character in it becomes U+FFFD.
    async fn audit_write(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Newest first; only entries older than `before`, if given.
    async fn audit_list(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;

    /// The names of the leases that begin with `prefix` and are held now, sorted.
    async fn leases_held(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError>;

    /// Returns how far something was followed.
    async fn watermark_get(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Moves a watermark forward; one that would go back stays. A watermark that lies after `now` was set by a clock
    /// that was wrong, and gives way.
    async fn watermark_set(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError>;

    /// Archived notifications without their bodies, newest first.
    async fn notification_list(&self, filter: &NotificationFilter) -> Result<Vec<Archived>, StoreError>;

    /// Returns an archived notification, with its exact bytes (sealed, where it is).
    async fn notification_get(&self, id: Uuid) -> Result<Option<Archived>, StoreError>;

    /// For each id of what was signed, in the same order, the id of the notification it is archived under.
    async fn notifications_known(&self, signed: &[Uuid]) -> Result<Vec<Option<Uuid>>, StoreError>;

    /// Keeps dead letters; one with a known id that did not fail later than the one kept changes nothing. A letter that
    /// did fail later died again: it is open, with its new failure and the attempts of both. Their notifications, if
    /// any, are archived with them.
    ///
    /// A letter can always be kept: a NUL character in its detail becomes U+FFFD, and a notification that cannot be
    /// archived is in the letter's bytes all the same.
    async fn dead_letter_keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError>;

    /// Latest failure first; without their bytes.
    async fn dead_letter_list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns a dead letter with its exact bytes.
    async fn dead_letter_get(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError>;

    /// The open ones of `filter`, one entry for each cause, provider and account, the largest group first.
    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Marks the open ones of `filter` as discarded, but for those in a replay still going on; they are kept. Returns how many. An
    /// operator's entry is written to the timelines of their orders.
    async fn dead_letter_discard(&self, filter: &DeadLetterFilter, act: &Act) -> Result<u64, StoreError>;

    /// Puts a note on the letters of `filter`, in the place of an older one; an empty one takes it away. Returns how many.
    async fn dead_letter_note(&self, filter: &DeadLetterFilter, note: &str) -> Result<u64, StoreError>;

    /// Begins a replay: everything of its selection that is not in another replay still going on, oldest first, at most
    /// `limit`. A plan takes what others have, too, and keeps nothing from them. Of nothing, it is done at once. A
    /// replay with a known id changes nothing. Also says whether the limit left something out that it would have taken.
    async fn replay_create(&self, new: &NewReplay) -> Result<(Replay, bool), StoreError>;

    async fn replay_get(&self, id: Uuid) -> Result<Option<Replay>, StoreError>;

    /// Newest first.
    async fn replay_list(&self, limit: u32) -> Result<Vec<Replay>, StoreError>;

    /// Those that run, oldest first.
    async fn replay_running(&self) -> Result<Vec<Replay>, StoreError>;

    /// The items of a replay, in the order they are taken, after `after` (0 for the first).
    async fn replay_items(&self, id: Uuid, after: i64, limit: u32) -> Result<Vec<ReplayItem>, StoreError>;

    /// Pauses, resumes or cancels; the replay as it is then, none if there is no such. A request that does not fit its
    /// state changes nothing. A stopped replay can be resumed: its failures so far are forgiven.
    async fn replay_steer(&self, id: Uuid, steer: Steer, now: Timestamp) -> Result<Option<Replay>, StoreError>;

    /// Hands out up to `limit` items of one replay, if it runs, and claims them until `now + hold_for`. An item whose claim ran out
    /// without a result is handed out again. While a canary is out, nothing else of its replay is. An operator's entry is written to
    /// the order's timeline the first time, unless it is a plan.
    async fn replay_claim(
        &self,
        replay: Uuid,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<ReplayItem>, StoreError>;

    /// Notes what became of items that are out; of others nothing is noted. An item that could not be tried is waiting again, and left alone for two seconds. A dead
    /// letter whose item changed something, or found nothing to change, is replayed, unless it was a plan or the letter died again
    /// since the replay began. A replay with nothing left is done; one whose canary failed, or of whose items more than a fifth (of
    /// ten or more) failed, is stopped.
    async fn replay_note(&self, results: &[ReplayResult], now: Timestamp) -> Result<(), StoreError>;

    /// Deletes history of one kind that is older than `age` and that nothing needs: reads up to `limit` rows by an index, oldest first and
    /// behind `from`, and deletes those that may go. A pass begins at [`Place::START`] and ends where there is no next place.
    ///
    /// - Of an order, timeline, releases, events and notifications stay while it is held or something is expected of its payments, and until
    ///   it has not changed for `age`. Of an authorization, the timeline stays while it is not cancelled.
    /// - An event that is not published keeps all of its order. The order keeps a note of what fulfilment has seen:
    ///   [`Store::events_of`].
    /// - A dead letter counts from when it was closed. A letter in a replay stays as long as the replay.
    /// - A notification stays as long as a dead letter or a replay names it. A notification that names a payment,
    ///   refund or authorization that is not registered stays for 30 days at least.
    /// - A replay goes with its items, done or cancelled.
    async fn history_delete(
        &self,
        history: History,
        age: Duration,
        now: Timestamp,
        from: Place,
        limit: u32,
    ) -> Result<Deleted, StoreError>;

    /// Counts what is left to do; for metrics.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Takes or renews the lease `name` for `holder` until `now + hold_for`; false while another holds it.
    async fn lease_take(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<bool, StoreError>;

    /// The same for several leases at once: the names of those that are `holder`'s now. Each is taken or not by itself.
    async fn leases_take(
        &self,
        names: &[String],
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Vec<String>, StoreError>;

    /// Gives the lease up, if `holder` has it.
    async fn lease_release(&self, name: &str, holder: Uuid) -> Result<(), StoreError>;

    /// Finishes what is in flight and lets go of connections.
    async fn close(&self);
}

/// No more than so many payments of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLimit {
    pub provider: Provider,
    pub account: AccountName,
    pub limit: u32,
}

/// The result of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The order as it now is. `parked`: those of its newly linked payments whose notifications came earlier; their next
    /// check is due at once.
    Order { order: Order, created: bool, parked: Vec<PaymentKey> },
    /// No change: the order is registered with another amount or currency.
    AmountDiffers { registered: payhook_schema::Money },
    /// No change: the order has `registered` payments, and with the `added` ones more than
    /// [`payhook_schema::PAYMENTS_MAX`].
    TooManyPayments { registered: usize, added: usize },
    /// No change: a payment belongs to another order.
    PaymentTaken { payment: PaymentKey, order: OrderId },
    /// No change: a refund is known to be of another payment.
    RefundTaken { refund: RefundId, payment: PaymentKey },
    /// No change: a refund names a payment the order does not have.
    RefundOfNoPayment { refund: RefundId, payment: PaymentKey },
}

/// The name of a payment in a notification that leaves its id out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentName {
    Refund {
        provider: Provider,
        account: AccountName,
        id: RefundId,
    },
    /// The provider's own second name for it, see [`payhook_schema::Payment::provider_reference`].
    Reference {
        provider: Provider,
        account: AccountName,
        reference: String,
    },
}

/// The result of registering an authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for a registration, and taken apart at once")]
pub enum AuthorizationRegistered {
    /// `parked`: notifications about it came earlier.
    Authorization { authorization: Authorization, created: bool, parked: bool },
    /// No change: it is registered with another account, auth state or wallet.
    Differs,
    /// No change: the account's `auth_state` is another authorization's.
    AuthStateTaken { by: AuthorizationId },
}

/// A unit of work about an authorization.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuthorizationSettlement {
    /// Archived, each once by its id.
    pub notifications: Vec<Notification>,
    pub change: Option<AuthorizationChange>,
    /// Written to the history of `change`'s authorization, or to this one's where there is no change.
    pub timeline: Option<(AuthorizationId, Vec<TimelineEntry>)>,
}

/// The new values of an authorization, decided on `authorization.revision`; the store writes `revision + 1`. Its token, if it is a
/// new one, names the authorization from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationChange {
    pub authorization: Authorization,
    /// In version order and without a gap; the last one's version is `authorization.version`.
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedThing {
    pub place: SealedPlace,
    pub sealed: Sealed,
}

/// A thing sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    pub place: SealedPlace,
    pub was: Sealed,
    pub now: Sealed,
}

/// The result of looking for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Order(Box<Order>),
    /// The same provider and payment id, registered under another of our accounts.
    OtherAccount(Box<Order>),
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    pub state: Option<OrderState>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    /// Only orders listed after this one.
    pub before: Option<OrderId>,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    pub seq: i64,
    pub event: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub payments_unfinished: u64,
    /// Of the unfinished payment nobody told us about for the longest: when its provider last answered, or it was registered.
    pub silent_since: Option<Timestamp>,
    pub events_unpublished: u64,
    /// The open ones.
    pub dead_letters: u64,
}
