-- Customers' consents to be charged by a wallet. Codes and tokens lie here sealed: bytes, and the number of the key; what
-- recognises them is their digest.

create table authorizations (
    id text primary key not null check (length(id) between 1 and 128),
    account text not null check (length(account) between 1 and 64),
    auth_state text not null check (length(auth_state) between 1 and 256),
    wallet text not null check (length(wallet) between 1 and 64),
    state text not null check (state in ('awaiting', 'granted', 'token_issued', 'cancelled')),
    version integer not null check (version >= 0),
    revision integer not null check (revision >= 1),
    code_digest text,
    code_key integer,
    code blob,
    token_digest text,
    access_token_key integer,
    access_token blob,
    refresh_token_key integer,
    refresh_token blob,
    expires_at integer,
    refresh_expires_at integer,
    issued_at integer,
    reason text,
    next_check_at integer,
    attempts integer not null check (attempts >= 0),
    -- Who does what is to be done next, and until when; no part of the revision.
    claimed_by text check (length(claimed_by) = 36),
    claimed_until integer,
    created_at integer not null,
    updated_at integer not null,
    check ((code_key is null) = (code is null) and (code is null or code_digest is not null)),
    check ((access_token_key is null) = (access_token is null) and (access_token is null or token_digest is not null)),
    check ((refresh_token_key is null) = (refresh_token is null) and (refresh_token is null or token_digest is not null)),
    check ((token_digest is null) = (issued_at is null)),
    check ((claimed_by is null) = (claimed_until is null))
) strict;

create unique index authorizations_by_state on authorizations (account, auth_state);
create index authorizations_due on authorizations (next_check_at) where next_check_at is not null;

-- What is sealed under which key: for rotating them.
create index authorizations_sealed_code on authorizations (code_key) where code_key is not null;
create index authorizations_sealed_access on authorizations (access_token_key) where access_token_key is not null;
create index authorizations_sealed_refresh on authorizations (refresh_token_key) where refresh_token_key is not null;

-- Every token an authorization ever had, by its digest: a notification may name a former one.
create table authorization_tokens (
    account text not null,
    digest text not null check (length(digest) = 64),
    authorization_id text not null references authorizations (id),
    primary key (account, digest)
) strict, without rowid;

create index authorization_tokens_of on authorization_tokens (authorization_id);

create table authorization_timeline (
    n integer primary key not null,
    authorization_id text not null references authorizations (id),
    at integer not null,
    kind text not null check (kind in ('registered', 'notification', 'inquiry', 'transition', 'refusal', 'publish',
        'dead_letter', 'operator')),
    text text not null,
    detail text check (json_valid(detail))
) strict;

create index authorization_timeline_by_authorization on authorization_timeline (authorization_id, n);

-- Events are of an order or of an authorization, in one feed. A column that may be null from now on is a new table here.
create table events_of_both (
    n integer primary key not null,
    id text not null unique check (length(id) = 36),
    order_id text references orders (id),
    authorization_id text references authorizations (id),
    version integer not null check (version >= 1),
    type text not null check (type like 'payhook.%'),
    time integer not null,
    body text not null check (json_valid(body)),
    seq integer check (seq >= 1),
    published_at integer,
    unique (order_id, version),
    check ((order_id is null) <> (authorization_id is null))
) strict;

insert into events_of_both (n, id, order_id, version, type, time, body, seq, published_at)
select n, id, order_id, version, type, time, body, seq, published_at from events;

drop table events;
alter table events_of_both rename to events;

create index events_unsequenced on events (n) where seq is null;
create unique index events_feed on events (seq) where seq is not null;
create index events_unpublished on events (seq) where published_at is null and seq is not null;
create unique index events_by_authorization on events (authorization_id, version) where authorization_id is not null;
