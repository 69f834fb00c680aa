-- Dead letters, archived notifications or payments, hinted at again by a person: what for, how fast, and what became of each.

create table replays (
    id text primary key not null check (length(id) = 36),
    state text not null check (state in ('running', 'paused', 'stopped', 'done', 'cancelled')),
    plan integer not null check (plan in (0, 1)),
    rate_per_s integer not null check (rate_per_s >= 0),
    canary integer not null check (canary >= 0),
    who text not null,
    reason text not null,
    detail text,
    total integer not null check (total >= 0),
    changed integer not null check (changed >= 0),
    unchanged integer not null check (unchanged >= 0),
    failed integer not null check (failed >= 0),
    -- What had a result, what of it had failed, and how many of the canary had, when it was last resumed although too much had failed.
    forgiven_done integer not null check (forgiven_done >= 0),
    forgiven_failed integer not null check (forgiven_failed >= 0),
    forgiven_canary integer not null check (forgiven_canary >= 0),
    created_at integer not null,
    updated_at integer not null,
    check (changed + unchanged + failed <= total)
) strict;

create index replays_listed on replays (created_at, id);
create index replays_running on replays (created_at, id) where state = 'running';

create table replay_items (
    replay_id text not null references replays (id),
    n integer not null check (n >= 1),
    -- The claim: it comes back with the result.
    id text not null unique check (length(id) = 36),
    dead_letter_id text references dead_letters (id),
    -- The failure the replay was made for: one that came since stays open.
    letter_failed_at integer,
    notification_id text references notifications (id),
    provider text check (provider in ('antom', 'omise')),
    account text,
    payment_id text,
    state text not null check (state in ('waiting', 'out', 'changed', 'unchanged', 'failed')),
    -- Set for ever once it was handed out.
    claimed_until integer,
    detail text,
    check ((dead_letter_id is null) = (letter_failed_at is null)),
    check ((provider is null) = (account is null) and (provider is null) = (payment_id is null)),
    check (state = 'waiting' or claimed_until is not null),
    primary key (replay_id, n)
) strict;

-- In the order they are handed out: what was never tried goes before what could not be.
create index replay_items_unfinished on replay_items (replay_id, (claimed_until is not null), n)
    where state in ('waiting', 'out');

-- What is in a replay still going on, nobody else takes.
create index replay_items_dead_letters on replay_items (dead_letter_id)
    where state in ('waiting', 'out') and dead_letter_id is not null;
create index replay_items_notifications on replay_items (notification_id)
    where state in ('waiting', 'out') and notification_id is not null;
create index replay_items_payments on replay_items (provider, payment_id, account)
    where state in ('waiting', 'out') and payment_id is not null;
