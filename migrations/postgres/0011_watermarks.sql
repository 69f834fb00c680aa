-- How far something was followed, such as a provider's own list of events.

create table watermarks (
    name text primary key,
    at timestamptz not null
);
