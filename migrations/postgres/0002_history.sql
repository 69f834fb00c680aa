-- What came in, byte for byte, and what was done about it.

create table notifications (
    id uuid primary key,
    provider text collate "C" not null check (provider in ('antom', 'omise')),
    account text collate "C" not null check (length(account) between 1 and 64),
    kind text not null,
    -- Absent where the notification is about no payment of ours. No foreign key: it may come before its order.
    payment_id text collate "C" check (length(payment_id) between 1 and 64),
    idempotency_key text not null,
    received_at timestamptz not null,
    signed_at timestamptz,
    verified_by text not null,
    signed_path text not null,
    headers jsonb not null,
    body bytea not null
);

create index notifications_by_payment on notifications (provider, payment_id, account) where payment_id is not null;

create table timeline (
    n bigint generated always as identity,
    order_id text collate "C" not null references orders (id),
    at timestamptz not null,
    kind text not null check (kind in ('registered', 'notification', 'inquiry', 'transition', 'refusal', 'publish',
        'dead_letter', 'operator')),
    provider text collate "C" check (provider in ('antom', 'omise')),
    account text collate "C",
    payment_id text collate "C",
    text text not null,
    detail jsonb,
    check (num_nulls(provider, account, payment_id) in (0, 3)),
    constraint timeline_by_order primary key (order_id, n)
);
