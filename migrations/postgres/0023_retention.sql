-- History ends at an age of its own ([retention] in the configuration). Events go with what a later release must know of them.

alter table orders
    -- The values that fulfilment had seen when events were deleted; null for an order that lost none.
    add column sent_state text
        check (sent_state in ('pending', 'authorized', 'paid', 'partly_refunded', 'refunded')),
    add column sent_captured_minor bigint check (sent_captured_minor >= 0),
    add column sent_refunded_minor bigint check (sent_refunded_minor >= 0),
    add check (num_nulls(sent_state, sent_captured_minor, sent_refunded_minor) in (0, 3));

-- Null for those closed before this: they count from their last failure.
alter table dead_letters add column closed_at timestamptz;

-- The oldest rows of all orders. The other kinds are read in the order of their ids or of their places.
create index timeline_by_n on timeline (n);
create index authorization_timeline_by_n on authorization_timeline (n);
create index replays_finished on replays (updated_at, id) where state in ('done', 'cancelled');

-- Whatever names a row keeps it: without these, each row deleted reads a whole table.
create index dead_letters_by_notification on dead_letters (notification_id) where notification_id is not null;
create index replay_items_by_dead_letter on replay_items (dead_letter_id) where dead_letter_id is not null;
create index replay_items_by_notification on replay_items (notification_id) where notification_id is not null;
