-- What is written by a clock that was ahead is found by when it says it was written, which is yet to come.

create index payments_asked on payments (asked_at) where state in ('awaiting', 'authorized');
create index payments_far on payments (next_check_at) where state in ('awaiting', 'authorized');
create index authorizations_written on authorizations (updated_at) where next_check_at is not null;
create index payments_registered on payments (created_at) where state in ('awaiting', 'authorized') and asked_at is null;
