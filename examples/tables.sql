-- The tables of a shop that reads payhook's events.

-- Every event that was acted on. The primary key makes a repeat harmless.
create table if not exists payhook_events (
    id text primary key,
    seen_at timestamptz not null default now()
);

-- The newest known state of each order.
create table if not exists shop_orders (
    id text primary key,
    version bigint not null,
    state text not null,
    refunded_minor bigint not null
);

-- Parcels to pack. No column is unique, on purpose: shipping once is the consumer's work, not the table's.
create table if not exists shipments (
    number bigint generated always as identity primary key,
    order_id text not null,
    amount_minor bigint not null,
    currency text not null
);

-- The place of the reader of the HTTP feed.
create table if not exists payhook_feed (
    only_row boolean primary key default true check (only_row),
    after bigint not null
);
