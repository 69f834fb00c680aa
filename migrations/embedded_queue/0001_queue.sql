-- The embedded queue: one row per envelope that is not settled. Times are microseconds since 1970, UTC.
-- Who holds a row is not stored: one process owns the file, so what a dead process held is free by itself.
create table queue_envelope (
    id              integer primary key autoincrement, -- never used twice: a consumer settles by it
    lane            text    not null check (lane in ('notifications', 'dead')),
    bytes           blob    not null,
    attempt         integer not null check (attempt >= 1),
    first_failed_at integer,
    due_at          integer not null,
    delay           text,                              -- the retry delay it waits or waited in, as in `payhook.retry.<delay>`
    death_cause     text,
    death_detail    text,
    died_at         integer,
    check ((lane = 'dead') = (died_at is not null))
) strict;

-- Takes and counts walk this alone; the bytes are only read of what is taken.
create index queue_envelope_due on queue_envelope (lane, due_at, id, delay);
