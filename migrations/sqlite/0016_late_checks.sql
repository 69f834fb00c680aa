-- A payment that is final is asked about again, ever more rarely: a cancel or a refund in the provider's dashboard may never be notified.

alter table payments add column final_at integer;

-- Nothing is expected of it any more: its checks can wait.
alter table payments add column finished integer not null default 0 check (finished in (0, 1));

-- Those finished before this have a check within a week, each at another time; those too old for one have none. For each it becomes
-- final when it was last asked about: no better time is known.
update payments
set final_at = coalesce(asked_at, created_at), finished = 1,
    next_check_at = unixepoch() * 1000000 + abs(random() % 604800000000)
where next_check_at is null
    and (state in ('paid', 'partly_refunded', 'refunded')
            and coalesce(asked_at, created_at) > (unixepoch() - 180 * 86400) * 1000000
        or state in ('failed', 'expired', 'cancelled')
            and coalesce(asked_at, created_at) > (unixepoch() - 7 * 86400) * 1000000);

drop index payments_due;
create index payments_due on payments (next_check_at) where next_check_at is not null and finished = 0;
create index payments_due_late on payments (next_check_at) where next_check_at is not null and finished = 1;
