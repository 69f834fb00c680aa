-- Hints we gave up on, with everything needed to try them again.

create table dead_letters (
    id uuid primary key,
    cause text not null check (cause in ('unknown_payment', 'provider_refused', 'provider_unreachable',
        'attempts_exhausted', 'poison', 'misconfigured')),
    detail text not null,
    provider text collate "C" check (provider in ('antom', 'omise')),
    account text collate "C",
    payment_id text collate "C",
    attempts bigint not null check (attempts >= 0),
    first_failed_at timestamptz not null,
    last_failed_at timestamptz not null,
    bytes bytea not null,
    notification_id uuid references notifications (id),
    check (payment_id is null or (provider is not null and account is not null))
);

create index dead_letters_listed on dead_letters (last_failed_at, id);
