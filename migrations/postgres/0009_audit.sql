-- Who did what, to what, and why. Ids sort by time.

create table audit (
    id uuid primary key,
    at timestamptz not null,
    who text not null,
    role text not null,
    action text not null,
    subject text not null,
    count bigint not null check (count >= 0),
    reason text
);
