-- What fulfilment is told. `n` counts as written; `seq` is the place in the feed, given later, one writer at a time.

create table events (
    n bigint generated always as identity,
    id uuid primary key,
    order_id text collate "C" not null references orders (id),
    version bigint not null check (version >= 1),
    type text not null check (type like 'payhook.%'),
    time timestamptz not null,
    body jsonb not null,
    seq bigint check (seq >= 1),
    published_at timestamptz,
    unique (order_id, version)
);

-- An event is in the first until it has a place, then in the second for ever, and in the third until it is published.
create index events_unsequenced on events (n) where seq is null;
create unique index events_feed on events (seq) where seq is not null;
create index events_unpublished on events (seq) where published_at is null and seq is not null;
