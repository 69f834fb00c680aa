//! The promises of [`Store`], each as one function any backend is held against.
//!
//! They see the contract and a [`Harness`], nothing else. `store_promises!` makes a test of each.

use std::sync::Arc;

use crate::Store;

pub(crate) mod sample;

pub use crate::audit::promises::*;
pub use crate::authorizations::promises::*;
pub use crate::clocks::promises::*;
pub use crate::dead_letters::promises::*;
pub use crate::events::promises::*;
pub use crate::housekeeping::history_promises::*;
pub use crate::housekeeping::promises::*;
pub use crate::notifications::promises::*;
pub use crate::orders::promises::*;
pub use crate::orders::refund_promises::*;
pub use crate::orders::schedule_promises::*;
pub use crate::replays::promises::*;
pub use crate::settling::model::*;
pub use crate::settling::promises::*;

/// An empty store, not migrated yet, as two processes see it.
pub struct Harness {
    pub store: Arc<dyn Store>,
    /// The same store, used by another worker: its own connections where the backend has more than one process.
    pub other: Arc<dyn Store>,
    /// The same store as the program has it: its clock is the machine's or the server's, and no caller decides what now
    /// is.
    pub program: Arc<dyn Store>,
    /// The seed of the random operations. The code that makes the harness prints it.
    pub seed: u64,
}

/// Makes a module `$backend` with one test for each promise. `$start` is an async function that returns
/// `Option<(Harness, impl Drop)>`: nothing where the backend cannot run here, and says so itself.
#[macro_export]
macro_rules! store_promises {
    ($backend:ident, $start:path) => {
        mod $backend {
            $crate::store_promises! { @each $start:
                registering_the_same_order_twice_changes_nothing
                registering_another_amount_is_a_conflict_and_changes_nothing
                attempts_can_be_added_to_a_registered_order
                a_payment_belongs_to_one_order
                an_order_has_a_hundred_payments_at_most
                registrations_of_one_order_at_once_all_succeed
                a_payment_is_found_by_its_key_and_under_another_account
                a_notification_before_its_order_is_linked_when_the_order_is_registered
                money_and_times_are_exact
                orders_are_listed_newest_first_in_pages_that_do_not_overlap
                an_orders_objections_are_read_back
                the_timeline_has_everything_oldest_first
                a_timeline_is_read_in_pages
                refunds_and_disputes_are_stored_with_their_payment
                an_announced_refund_makes_its_payment_due_at_once
                a_refund_belongs_to_one_payment
                a_payment_is_found_by_its_refund_and_by_its_providers_name_for_it
                payments_a_refund_may_be_of_are_found_newest_first
                a_refresh_makes_every_payment_due
                due_payments_are_handed_to_one_sweeper_at_a_time
                late_checks_are_due_apart_from_live_ones
                an_account_with_many_due_payments_leaves_room_for_the_others
                a_lease_of_a_clock_that_was_ahead_ends_within_its_length
                a_claim_of_a_clock_that_was_ahead_ends_within_its_length
                a_sweeper_whose_clock_is_ahead_hides_no_payment
                a_schedule_that_no_right_clock_wrote_is_due
                a_clock_that_went_back_brings_checks_forward
                a_settlement_is_written_whole_or_not_at_all
                a_settlement_decided_on_an_older_revision_is_a_conflict
                two_settlements_of_one_order_at_once_write_one
                many_writers_of_one_order_write_each_revision_once
                a_batch_is_as_if_each_were_settled_alone_and_in_order
                a_settlement_that_cannot_be_stored_is_refused_alone
                a_schedule_moves_without_a_conflict
                an_answer_that_changes_nothing_moves_no_revision
                an_announced_refund_moves_to_the_payment_its_provider_names
                a_refund_that_is_settled_or_moved_is_decided_on_once
                any_operations_do_what_a_plain_model_does
                events_are_sequenced_in_version_order_per_order
                a_reader_of_a_restored_feed_misses_nothing
                a_reader_of_the_feed_misses_nothing
                an_event_is_published_until_it_is_marked
                an_orders_events_are_read_in_version_order
                an_authorization_is_registered_once_and_found_by_state_and_token
                an_authorization_moves_from_the_revision_it_was_decided_on
                a_former_token_still_names_its_authorization
                a_token_names_each_authorization_that_was_issued_it
                an_authorization_is_claimed_by_one_at_a_time
                due_authorizations_are_handed_to_one_sweeper_at_a_time
                notifications_before_their_authorization_are_found_when_it_is_registered
                events_of_authorizations_are_in_the_feed_with_those_of_orders
                a_dead_letter_is_stored_once_and_found_by_every_filter
                a_dead_letter_is_stored_whatever_is_in_it
                dead_letters_are_grouped_with_the_money_at_stake
                a_discarded_dead_letter_stays_and_is_marked
                a_note_stays_with_its_dead_letter
                a_replay_takes_what_its_filter_says_and_nothing_another_one_has
                an_item_of_a_replay_is_handed_out_once_until_its_claim_runs_out
                a_canary_goes_first_and_alone
                a_replay_stops_by_itself_when_too_many_fail
                a_paused_replay_hands_out_nothing_and_a_cancelled_one_never_again
                a_result_counts_once_and_closes_its_dead_letter
                what_a_replay_did_is_in_the_timeline
                a_notification_is_archived_once_with_its_exact_bytes
                a_notification_found_to_be_about_a_payment_is_in_its_timeline
                a_repeat_is_counted_and_not_stored
                the_dead_letter_of_a_repeat_names_what_is_archived
                archived_notifications_are_listed_newest_first_by_every_filter
                the_keys_that_verified_last_are_listed
                an_audit_entry_is_stored_and_listed_newest_first
                a_release_is_written_with_its_audit_entry
                migrating_twice_does_no_harm
                the_backlog_counts_what_is_left
                a_lease_has_one_holder_until_it_expires
                several_leases_are_taken_at_once_each_by_itself
                leases_are_counted_by_their_name
                a_watermark_never_goes_back
                what_is_sealed_under_an_old_key_is_found_and_replaced_once
                archived_notifications_end_unless_something_needs_them
                a_timeline_ends_with_its_releases_once_its_order_is_at_rest
                the_history_of_an_authorization_ends_once_it_is_cancelled
                published_events_end_and_what_fulfilment_saw_is_remembered
                closed_dead_letters_end_and_open_ones_stay
                audit_entries_end
                finished_replays_end_with_their_items
                what_stays_holds_up_nothing_behind_it
            }
        }
    };
    (@each $start:path: $($promise:ident)+) => {
        /// The names, for comparing them with the contract's.
        pub(super) const PROMISES: &[&str] = &[$(stringify!($promise),)+];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some((harness, _keep)) = $start(stringify!($promise)).await {
                    if stringify!($promise) != "migrating_twice_does_no_harm" {
                        harness.store.migrate().await.unwrap();
                    }
                    $crate::conformance::$promise(&harness).await;
                    harness.store.close().await;
                    harness.other.close().await;
                    harness.program.close().await;
                }
            }
        )+
    };
}
