-- History ends at an age of its own ([retention] in the configuration). Events go with what a later release must know of them.

-- The values that fulfilment had seen when events were deleted; null for an order that lost none.
alter table orders add column sent_state text
    check (sent_state in ('pending', 'authorized', 'paid', 'partly_refunded', 'refunded'));
alter table orders add column sent_captured_minor integer check (sent_captured_minor >= 0);
alter table orders add column sent_refunded_minor integer check (sent_refunded_minor >= 0);

-- Null for those closed before this: they count from their last failure.
alter table dead_letters add column closed_at integer;

-- The oldest rows of a timeline are found by `n`, which is the table's own key here. The other kinds are read in the order of their ids
-- or of their places.
create index replays_finished on replays (updated_at, id) where state in ('done', 'cancelled');

-- Whatever names a row keeps it: without these, each row deleted reads a whole table.
create index dead_letters_by_notification on dead_letters (notification_id) where notification_id is not null;
create index replay_items_by_dead_letter on replay_items (dead_letter_id) where dead_letter_id is not null;
create index replay_items_by_notification on replay_items (notification_id) where notification_id is not null;
