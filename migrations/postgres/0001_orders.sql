-- Orders and the payments that are to pay them. What is written here is decided by the worker alone, on `revision`.

create table orders (
    id text collate "C" primary key check (length(id) between 1 and 128),
    amount_minor bigint not null check (amount_minor >= 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    state text not null
        check (state in ('pending', 'authorized', 'paid', 'partly_refunded', 'refunded', 'held')),
    captured_minor bigint not null check (captured_minor >= 0),
    refunded_minor bigint not null check (refunded_minor >= 0),
    version bigint not null check (version >= 0),
    hold_reason text check (hold_reason in ('amount_mismatch', 'currency_mismatch', 'account_mismatch',
        'double_payment', 'impossible_transition')),
    hold_detail text,
    revision bigint not null check (revision >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((hold_reason is null) = (hold_detail is null))
);

-- The list, newest first, in keyset pages; the second for one state of many, such as the few that are held.
create index orders_listed on orders (created_at, id);
create index orders_listed_by_state on orders (state, created_at, id);

create table payments (
    provider text collate "C" not null check (provider in ('antom', 'omise')),
    account text collate "C" not null check (length(account) between 1 and 64),
    id text collate "C" not null check (length(id) between 1 and 64),
    order_id text collate "C" not null references orders (id),
    position integer not null check (position >= 1),
    state text not null check (state in ('awaiting', 'authorized', 'paid', 'partly_refunded', 'refunded', 'failed',
        'expired', 'cancelled')),
    captured_minor bigint not null check (captured_minor >= 0),
    refunded_minor bigint not null check (refunded_minor >= 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    provider_reference text,
    reason text,
    asked_at timestamptz,
    next_check_at timestamptz,
    checks integer not null check (checks >= 0),
    created_at timestamptz not null,
    -- In this order, so that one look finds the same payment id under another of our accounts, too.
    primary key (provider, id, account),
    unique (order_id, position)
);

create index payments_due on payments (next_check_at) where next_check_at is not null;
create index payments_unfinished on payments (state) where state in ('awaiting', 'authorized');
