-- An order carries every open objection and every one a person lifted, so that none hides another and none is raised twice. Both are
-- null for nearly all orders: an array of {reason, detail, since}.
--
-- `hold_reason` and `hold_detail` stay behind, always null: SQLite drops no column that a check of the table names.

alter table orders add column holds text check (json_type(holds) = 'array');
alter table orders add column released text check (json_type(released) = 'array');

update orders
set holds = json_array(json_object('reason', hold_reason, 'detail', hold_detail, 'since',
    strftime('%Y-%m-%dT%H:%M:%SZ', updated_at / 1000000, 'unixepoch')))
where hold_reason is not null;

update orders
set released = (
    select json_group_array(json_object('reason', t.detail ->> '$.released.reason', 'detail', t.detail ->> '$.released.detail',
        'since', strftime('%Y-%m-%dT%H:%M:%SZ', t.at / 1000000, 'unixepoch')))
    from (select * from timeline where kind = 'operator' and json_type(detail, '$.released') = 'object' order by n) t
    where t.order_id = orders.id
)
where id in (select order_id from timeline where kind = 'operator' and json_type(detail, '$.released') = 'object');

update orders set hold_reason = null, hold_detail = null where hold_reason is not null;

-- What a person released, written with its audit entry. The message on the queue only points here.

create table releases (
    id text primary key not null check (length(id) = 36),
    order_id text not null references orders (id),
    body text not null
) strict;

create index releases_by_order on releases (order_id);
