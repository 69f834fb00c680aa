-- What came in, byte for byte, and what was done about it.

create table notifications (
    id text primary key not null check (length(id) = 36),
    provider text not null check (provider in ('antom', 'omise')),
    account text not null check (length(account) between 1 and 64),
    kind text not null,
    -- Absent where the notification is about no payment of ours. No foreign key: it may come before its order.
    payment_id text check (length(payment_id) between 1 and 64),
    idempotency_key text not null,
    received_at integer not null,
    signed_at integer,
    verified_by text not null,
    signed_path text not null,
    headers text not null check (json_valid(headers)),
    body blob not null
) strict;

create index notifications_by_payment on notifications (provider, payment_id, account) where payment_id is not null;

create table timeline (
    n integer primary key not null,
    order_id text not null references orders (id),
    at integer not null,
    kind text not null check (kind in ('registered', 'notification', 'inquiry', 'transition', 'refusal', 'publish',
        'dead_letter', 'operator')),
    provider text check (provider in ('antom', 'omise')),
    account text,
    payment_id text,
    text text not null,
    detail text check (json_valid(detail)),
    check ((provider is null) = (account is null) and (provider is null) = (payment_id is null))
) strict;

create index timeline_by_order on timeline (order_id, n);
