-- Customers' consents to be charged by a wallet. Codes and tokens lie here sealed: bytes, and the number of the key; what
-- recognises them is their digest.

create table authorizations (
    id text collate "C" primary key check (length(id) between 1 and 128),
    account text collate "C" not null check (length(account) between 1 and 64),
    auth_state text collate "C" not null check (length(auth_state) between 1 and 256),
    wallet text collate "C" not null check (length(wallet) between 1 and 64),
    state text not null check (state in ('awaiting', 'granted', 'token_issued', 'cancelled')),
    version bigint not null check (version >= 0),
    revision bigint not null check (revision >= 1),
    code_digest text collate "C",
    code_key bigint,
    code bytea,
    token_digest text collate "C",
    access_token_key bigint,
    access_token bytea,
    refresh_token_key bigint,
    refresh_token bytea,
    expires_at timestamptz,
    refresh_expires_at timestamptz,
    issued_at timestamptz,
    reason text,
    next_check_at timestamptz,
    attempts integer not null check (attempts >= 0),
    -- Who does what is to be done next, and until when; no part of the revision.
    claimed_by uuid,
    claimed_until timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((code_key is null) = (code is null) and (code is null or code_digest is not null)),
    check ((access_token_key is null) = (access_token is null) and (access_token is null or token_digest is not null)),
    check ((refresh_token_key is null) = (refresh_token is null) and (refresh_token is null or token_digest is not null)),
    check ((token_digest is null) = (issued_at is null)),
    check ((claimed_by is null) = (claimed_until is null))
);

create unique index authorizations_by_state on authorizations (account, auth_state);
create index authorizations_due on authorizations (next_check_at) where next_check_at is not null;

-- What is sealed under which key: for rotating them.
create index authorizations_sealed_code on authorizations (code_key) where code_key is not null;
create index authorizations_sealed_access on authorizations (access_token_key) where access_token_key is not null;
create index authorizations_sealed_refresh on authorizations (refresh_token_key) where refresh_token_key is not null;

-- Every token an authorization ever had, by its digest: a notification may name a former one.
create table authorization_tokens (
    account text collate "C" not null,
    digest text collate "C" not null check (length(digest) = 64),
    authorization_id text collate "C" not null references authorizations (id),
    primary key (account, digest)
);

create index authorization_tokens_of on authorization_tokens (authorization_id);

create table authorization_timeline (
    n bigint generated always as identity,
    authorization_id text collate "C" not null references authorizations (id),
    at timestamptz not null,
    kind text not null check (kind in ('registered', 'notification', 'inquiry', 'transition', 'refusal', 'publish',
        'dead_letter', 'operator')),
    text text not null,
    detail jsonb,
    constraint authorization_timeline_by_authorization primary key (authorization_id, n)
);

-- Events are of an order or of an authorization, in one feed.
alter table events
    alter column order_id drop not null,
    add column authorization_id text collate "C" references authorizations (id),
    add check (num_nonnulls(order_id, authorization_id) = 1);

create unique index events_by_authorization on events (authorization_id, version) where authorization_id is not null;
