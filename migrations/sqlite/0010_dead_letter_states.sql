-- What became of a dead letter, and what people noted about it. All that were kept before are open.

alter table dead_letters add column state text not null default 'open'
    check (state in ('open', 'replayed', 'discarded'));
alter table dead_letters add column note text;

create index dead_letters_open on dead_letters (last_failed_at, id) where state = 'open';
