-- What a notification names where it is not its payment: `refund <id>`, `reference <provider's id of the payment>`,
-- `state <auth state>`, `token <digest>`. And the key its body is sealed under, where it is.

alter table notifications add column names text
    check (names glob 'refund ?*' or names glob 'reference ?*' or names glob 'state ?*' or names glob 'token ?*');
alter table notifications add column sealed_with integer check (sealed_with >= 0);

-- Ordinary notifications of payments are in neither.
create index notifications_by_name on notifications (provider, account, names) where names is not null;
create index notifications_sealed on notifications (sealed_with) where sealed_with is not null;
