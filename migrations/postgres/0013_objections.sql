-- An order carries every open objection and every one a person lifted, so that none hides another and none is raised twice. Both are
-- null for nearly all orders: an array of {reason, detail, since}.
--
-- Programs of earlier versions fail on the missing columns and wait: they would release an order that has a second objection.

alter table orders
    add column holds jsonb check (jsonb_typeof(holds) = 'array'),
    add column released jsonb check (jsonb_typeof(released) = 'array');

update orders
set holds = jsonb_build_array(jsonb_build_object('reason', hold_reason, 'detail', hold_detail, 'since',
    to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
where hold_reason is not null;

update orders o
set released = (
    select jsonb_agg(t.detail -> 'released' || jsonb_build_object('since',
        to_char(t.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) order by t.n)
    from timeline t
    where t.order_id = o.id and t.kind = 'operator' and jsonb_typeof(t.detail -> 'released') = 'object'
)
where o.id in (select order_id from timeline where kind = 'operator' and jsonb_typeof(detail -> 'released') = 'object');

alter table orders drop column hold_reason, drop column hold_detail;

-- What a person released, written with its audit entry. The message on the queue only points here.

create table releases (
    id uuid primary key,
    order_id text collate "C" not null references orders (id),
    body jsonb not null
);

create index releases_by_order on releases (order_id);
