-- Who did what, to what, and why. Ids sort by time.

create table audit (
    id text primary key not null check (length(id) = 36),
    at integer not null,
    who text not null,
    role text not null,
    action text not null,
    subject text not null,
    count integer not null check (count >= 0),
    reason text
) strict;
