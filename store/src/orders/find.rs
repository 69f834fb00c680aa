//! Finds the orders of payments, all in one query. The statements differ: each is the fastest of its database.

use payhook_schema::PaymentKey;

use super::Found;
use super::rows::{self, order_columns};
use crate::db::Conn;
use crate::db::value::json;

/// For an unknown key, looks for the same payment id under another of our accounts.
const IN_POSTGRES: &str = concat!(
    "select k.ord, f.account = k.account as exact, ",
    order_columns!(),
    " from unnest($1::text[], $2::text[], $3::text[]) with ordinality as k (provider, account, id, ord) \
      cross join lateral (select f.order_id, f.account from payments f where f.provider = k.provider and f.id = k.id \
        order by (f.account = k.account) desc, f.account limit 1) f \
      join orders o on o.id = f.order_id join payments p on p.order_id = o.id order by k.ord, p.position"
);

const IN_SQLITE: &str = concat!(
    "select k.key + 1 as ord, f.account = k.value ->> 'account' as exact, ",
    order_columns!(),
    " from json_each($1) k \
      cross join payments f on f.provider = k.value ->> 'provider' and f.id = k.value ->> 'id' \
        and f.account = coalesce( \
            (select g.account from payments g where g.provider = f.provider and g.id = f.id \
                and g.account = k.value ->> 'account'), \
            (select min(g.account) from payments g where g.provider = f.provider and g.id = f.id)) \
      cross join orders o on o.id = f.order_id cross join payments p on p.order_id = o.id order by k.key, p.position"
);

pub(super) async fn find(on: &mut Conn<'_>, keys: &[PaymentKey]) -> sqlx::Result<Vec<Found>> {
    let query = match on {
        Conn::Postgres(_) => on
            .query(IN_POSTGRES)
            .bind(keys.iter().map(|key| key.provider.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.account.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>()),
        Conn::Sqlite(_) => on.query(IN_SQLITE).bind(json(&keys)),
    };
    rows::found(&query.all().await?, keys.len())
}
