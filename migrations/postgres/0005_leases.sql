-- Who may do what only one may do at a time: sweep, relay.

create table leases (
    name text primary key,
    holder uuid not null,
    expires_at timestamptz not null
);
