-- Each account's due payments, oldest first: the sweep shares its rounds between accounts.

drop index payments_due;
create index payments_due on payments (provider, account, next_check_at) where next_check_at is not null and not finished;
