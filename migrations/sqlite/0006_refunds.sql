-- Money on its way back, and disputes, each with the payment it is of. Rows are never deleted; `n` is the order in which
-- they became known.

create table refunds (
    n integer primary key not null,
    provider text not null check (provider in ('antom', 'omise')),
    account text not null check (length(account) between 1 and 64),
    id text not null check (length(id) between 1 and 64),
    payment_id text not null,
    provider_reference text,
    state text not null check (state in ('pending', 'succeeded', 'failed')),
    amount_minor integer check (amount_minor >= 0),
    currency text check (currency glob '[A-Z][A-Z][A-Z]'),
    voided integer not null check (voided in (0, 1)),
    reason text,
    occurred_at integer,
    check ((amount_minor is null) = (currency is null)),
    -- A refund is of one payment, whoever says otherwise.
    unique (provider, id, account),
    -- In this order, so that all of one payment are found at one place.
    unique (provider, payment_id, account, id),
    foreign key (provider, payment_id, account) references payments (provider, id, account)
) strict;

create table disputes (
    n integer primary key not null,
    provider text not null check (provider in ('antom', 'omise')),
    account text not null check (length(account) between 1 and 64),
    payment_id text not null,
    id text not null check (length(id) between 1 and 64),
    state text not null check (state in ('open', 'pending', 'won', 'lost', 'closed')),
    amount_minor integer check (amount_minor >= 0),
    currency text check (currency glob '[A-Z][A-Z][A-Z]'),
    reason text,
    answer_by integer,
    occurred_at integer,
    check ((amount_minor is null) = (currency is null)),
    unique (provider, payment_id, account, id),
    foreign key (provider, payment_id, account) references payments (provider, id, account)
) strict;

-- Most payments have neither, and nobody looks for them then.
alter table payments add column has_refunds_or_disputes integer not null default 0
    check (has_refunds_or_disputes in (0, 1));

-- A capture of Antom's names a payment by Antom's own id for it.
create index payments_by_reference on payments (account, provider_reference)
    where provider = 'antom' and provider_reference is not null;

-- A refund of Antom's may name nothing at all: these are the payments it can be of.
create index payments_refundable on payments (account, currency, created_at, id)
    where provider = 'antom' and state in ('paid', 'partly_refunded');
