-- Hints we gave up on, with everything needed to try them again.

create table dead_letters (
    id text primary key not null check (length(id) = 36),
    cause text not null check (cause in ('unknown_payment', 'provider_refused', 'provider_unreachable',
        'attempts_exhausted', 'poison', 'misconfigured')),
    detail text not null,
    provider text check (provider in ('antom', 'omise')),
    account text,
    payment_id text,
    attempts integer not null check (attempts >= 0),
    first_failed_at integer not null,
    last_failed_at integer not null,
    bytes blob not null,
    notification_id text references notifications (id),
    check (payment_id is null or (provider is not null and account is not null))
) strict;

create index dead_letters_listed on dead_letters (last_failed_at, id);
