-- A request that comes again as the same signed bytes is counted where it was archived first, and not stored anew. Those archived before
-- this have no id of what was signed, and are never found again by it.

alter table notifications
    add column signed_id uuid,
    add column received bigint not null default 1 check (received >= 1),
    -- Absent where it was received once.
    add column last_received_at timestamptz;

create unique index notifications_by_signed_id on notifications (signed_id) where signed_id is not null;
