-- Who may do what only one may do at a time: sweep, relay.

create table leases (
    name text primary key not null,
    holder text not null check (length(holder) = 36),
    expires_at integer not null
) strict;
