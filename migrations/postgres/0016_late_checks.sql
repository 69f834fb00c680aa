-- A payment that is final is asked about again, ever more rarely: a cancel or a refund in the provider's dashboard may never be notified.

alter table payments
    add column final_at timestamptz,
    -- Nothing is expected of it any more: its checks can wait.
    add column finished boolean not null default false;

-- Those finished before this have a check within a week, each at another time; those too old for one have none. For each it becomes
-- final when it was last asked about: no better time is known.
update payments
set final_at = coalesce(asked_at, created_at), finished = true, next_check_at = now() + random() * interval '7 days'
where next_check_at is null
    and (state in ('paid', 'partly_refunded', 'refunded') and coalesce(asked_at, created_at) > now() - interval '180 days'
        or state in ('failed', 'expired', 'cancelled') and coalesce(asked_at, created_at) > now() - interval '7 days');

drop index payments_due;
create index payments_due on payments (next_check_at) where next_check_at is not null and not finished;
create index payments_due_late on payments (next_check_at) where next_check_at is not null and finished;
