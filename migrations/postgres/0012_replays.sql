-- Dead letters, archived notifications or payments, hinted at again by a person: what for, how fast, and what became of each.

create table replays (
    id uuid primary key,
    state text not null check (state in ('running', 'paused', 'stopped', 'done', 'cancelled')),
    plan boolean not null,
    rate_per_s bigint not null check (rate_per_s >= 0),
    canary bigint not null check (canary >= 0),
    who text not null,
    reason text not null,
    detail text,
    total bigint not null check (total >= 0),
    changed bigint not null check (changed >= 0),
    unchanged bigint not null check (unchanged >= 0),
    failed bigint not null check (failed >= 0),
    -- What had a result, what of it had failed, and how many of the canary had, when it was last resumed although too much had failed.
    forgiven_done bigint not null check (forgiven_done >= 0),
    forgiven_failed bigint not null check (forgiven_failed >= 0),
    forgiven_canary bigint not null check (forgiven_canary >= 0),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check (changed + unchanged + failed <= total)
);

create index replays_listed on replays (created_at, id);
create index replays_running on replays (created_at, id) where state = 'running';

create table replay_items (
    replay_id uuid not null references replays (id),
    n bigint not null check (n >= 1),
    -- The claim: it comes back with the result.
    id uuid not null unique,
    dead_letter_id uuid references dead_letters (id),
    -- The failure the replay was made for: one that came since stays open.
    letter_failed_at timestamptz,
    notification_id uuid references notifications (id),
    provider text collate "C" check (provider in ('antom', 'omise')),
    account text collate "C",
    payment_id text collate "C",
    state text not null check (state in ('waiting', 'out', 'changed', 'unchanged', 'failed')),
    -- Set for ever once it was handed out.
    claimed_until timestamptz,
    detail text,
    check ((dead_letter_id is null) = (letter_failed_at is null)),
    check (num_nulls(provider, account, payment_id) in (0, 3)),
    check (state = 'waiting' or claimed_until is not null),
    primary key (replay_id, n)
);

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
