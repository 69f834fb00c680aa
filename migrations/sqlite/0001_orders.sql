-- Orders and the payments that are to pay them. What is written here is decided by the worker alone, on `revision`.
-- Times are whole microseconds since 1970: text would sort `00Z` after `00.5Z`.

create table orders (
    id text primary key not null check (length(id) between 1 and 128),
    amount_minor integer not null check (amount_minor >= 0),
    currency text not null check (currency glob '[A-Z][A-Z][A-Z]'),
    state text not null
        check (state in ('pending', 'authorized', 'paid', 'partly_refunded', 'refunded', 'held')),
    captured_minor integer not null check (captured_minor >= 0),
    refunded_minor integer not null check (refunded_minor >= 0),
    version integer not null check (version >= 0),
    hold_reason text check (hold_reason in ('amount_mismatch', 'currency_mismatch', 'account_mismatch',
        'double_payment', 'impossible_transition')),
    hold_detail text,
    revision integer not null check (revision >= 1),
    created_at integer not null,
    updated_at integer not null,
    check ((hold_reason is null) = (hold_detail is null))
) strict;

-- The list, newest first, in keyset pages; the second for one state of many, such as the few that are held.
create index orders_listed on orders (created_at, id);
create index orders_listed_by_state on orders (state, created_at, id);

create table payments (
    provider text not null check (provider in ('antom', 'omise')),
    account text not null check (length(account) between 1 and 64),
    id text not null check (length(id) between 1 and 64),
    order_id text not null references orders (id),
    position integer not null check (position >= 1),
    state text not null check (state in ('awaiting', 'authorized', 'paid', 'partly_refunded', 'refunded', 'failed',
        'expired', 'cancelled')),
    captured_minor integer not null check (captured_minor >= 0),
    refunded_minor integer not null check (refunded_minor >= 0),
    currency text not null check (currency glob '[A-Z][A-Z][A-Z]'),
    provider_reference text,
    reason text,
    asked_at integer,
    next_check_at integer,
    checks integer not null check (checks >= 0),
    created_at integer not null,
    -- In this order, so that one look finds the same payment id under another of our accounts, too.
    primary key (provider, id, account),
    unique (order_id, position)
) strict, without rowid;

create index payments_due on payments (next_check_at) where next_check_at is not null;
create index payments_unfinished on payments (state) where state in ('awaiting', 'authorized');
