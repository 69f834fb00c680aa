//! The migrations, embedded in the program; both folders have the same numbers and names.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The table of the applied ones. Not sqlx's default name: the embedded queue lives in the same SQLite file.
const TABLE: &str = "store_migrations";

/// A number, a name, and the SQL.
type Embedded = &'static [(i64, &'static str, &'static str)];

macro_rules! embedded {
    ($($number:literal $name:literal,)+) => {
        const POSTGRES: Embedded =
            &[$(($number, $name, include_str!(concat!("../../../migrations/postgres/", $name, ".sql"))),)+];
        const SQLITE: Embedded =
            &[$(($number, $name, include_str!(concat!("../../../migrations/sqlite/", $name, ".sql"))),)+];
    };
}

embedded! {
    1 "0001_orders",
    2 "0002_history",
    3 "0003_events",
    4 "0004_dead_letters",
    5 "0005_leases",
    6 "0006_refunds",
    7 "0007_notification_names",
    8 "0008_authorizations",
    9 "0009_audit",
    10 "0010_dead_letter_states",
    11 "0011_watermarks",
    12 "0012_replays",
    13 "0013_objections",
    14 "0014_clocks",
    15 "0015_shared_tokens",
    16 "0016_late_checks",
    17 "0017_refunds_announced_elsewhere",
    18 "0018_payments_due_by_account",
    21 "0021_repeats",
    23 "0023_retention",
    24 "0024_any_provider",
}

pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

fn migrator(embedded: Embedded) -> Migrator {
    let migrations = embedded.iter().map(|&(number, name, sql)| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// Reads `(version, checksum, success)` of what was applied, in order.
pub(crate) const APPLIED: &str = "select version, checksum, success from store_migrations order by version";

/// A row of [`APPLIED`].
pub(crate) type Applied = (i64, Vec<u8>, bool);

/// Returns what is wrong with the migrations `applied`, if anything.
pub(crate) fn difference(migrator: &Migrator, applied: &[Applied]) -> Option<String> {
    if let Some((version, ..)) = applied.iter().find(|(version, ..)| !migrator.version_exists(*version)) {
        return Some(format!("its migration {version} is of a newer payhook"));
    }
    for migration in migrator.iter() {
        match applied.iter().find(|(version, ..)| *version == migration.version) {
            None => return Some(format!("migration {} is missing", migration.description)),
            Some((.., false)) => return Some(format!("migration {} was left half done", migration.description)),
            Some((_, checksum, true)) if *checksum != *migration.checksum => {
                return Some(format!("its migration {} is not this program's", migration.description));
            }
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations_as_their_folders() {
        let named = |embedded: Embedded| embedded.iter().map(|&(n, name, _)| (n, name)).collect::<Vec<_>>();
        assert_eq!(named(POSTGRES), named(SQLITE));
        for folder in ["postgres", "sqlite"] {
            let folder = format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
            let mut files: Vec<_> = files.collect();
            files.sort();
            let embedded: Vec<_> = POSTGRES.iter().map(|(_, name, _)| format!("{name}.sql")).collect();
            assert_eq!(files, embedded, "every file is embedded, and under its own name");
        }
    }

    /// Rows as version 5 leaves them behind. A newer version must still have what the queries below read of them.
    const BEFORE: &str = "
        insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision,
            created_at, updated_at)
        values ('A-1', 1, 'THB', 'paid', 1, 0, 2, 3, NOW, NOW);
        insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, currency,
            checks, created_at)
        values ('antom', 'shop', 'p1', 'A-1', 1, 'paid', 1, 0, 'THB', 0, NOW);
        insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, verified_by,
            signed_path, headers, body)
        values ('01939b5e-0000-7000-8000-000000000001', 'antom', 'shop', 'x', 'p1', 'k', NOW, 'keyVersion 1', '/', '[]', BYTES);
        insert into events (id, order_id, version, type, time, body, seq, published_at)
        values ('01939b5e-0000-7000-8000-000000000002', 'A-1', 1, 'payhook.x', NOW, '{}', 1, NOW),
            ('01939b5e-0000-7000-8000-000000000003', 'A-1', 2, 'payhook.x', NOW, '{}', null, null);
        insert into dead_letters (id, cause, detail, attempts, first_failed_at, last_failed_at, bytes)
        values ('01939b5e-0000-7000-8000-000000000004', 'poison', 'x', 1, NOW, NOW, BYTES);";

    const AFTER: &str = "
        select cast(e.id as text), e.order_id, e.version, e.seq, e.published_at is null as unpublished from events e order by n";

    const LETTERS: &str = "select state, note, detail from dead_letters";

    const HELD: &str = "
        update orders set state = 'held', hold_reason = 'double_payment', hold_detail = 'paid by P1 and by P2' where id = 'A-1';
        insert into timeline (order_id, at, kind, text, detail)
        values ('A-1', NOW, 'operator', 'released', '{\"released\":{\"reason\":\"amount_mismatch\",\"detail\":\"1 THB, not 2\"}}'),
            ('A-1', NOW, 'operator', 'dead letter replayed', null)";

    const HOLDS: &str = "select cast(holds as text), cast(released as text) from orders";

    #[track_caller]
    fn objections_are_there((holds, released): (String, String)) {
        let read = |json: &str| serde_json::from_str::<Vec<payhook_schema::Hold>>(json).unwrap();
        let (holds, released) = (read(&holds), read(&released));
        assert_eq!((holds.len(), released.len()), (1, 1));
        assert_eq!((holds[0].reason.as_str(), holds[0].detail.as_str()), ("double_payment", "paid by P1 and by P2"));
        assert_eq!((released[0].reason.as_str(), released[0].detail.as_str()), ("amount_mismatch", "1 THB, not 2"));
    }

    type EventLeft = (String, Option<String>, i64, Option<i64>, bool);

    type LetterLeft = (String, Option<String>, String);

    #[track_caller]
    fn everything_is_there(events: &[EventLeft], letters: &[LetterLeft]) {
        assert_eq!(letters, [("open".to_owned(), None, "x".to_owned())], "nobody has dealt with it");
        let left = |last: u8, version, seq: Option<i64>| {
            let id = format!("01939b5e-0000-7000-8000-00000000000{last}");
            (id, Some("A-1".to_owned()), version, seq, seq.is_none())
        };
        assert_eq!(events, [left(2, 1, Some(1)), left(3, 2, None)]);
    }

    /// The migrations of version 5 alone.
    fn version_5(embedded: Embedded) -> Migrator {
        migrator(&embedded[..5])
    }

    #[tokio::test]
    async fn what_was_stored_before_is_there_afterwards_in_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("payhook.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options.foreign_keys(true)).await.unwrap();
        version_5(SQLITE).run_direct(None, &mut connection, false).await.unwrap();
        let before = [BEFORE, HELD].concat().replace("NOW", "1").replace("BYTES", "x'00'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(before)).execute(&mut connection).await.unwrap();
        sqlite().run_direct(None, &mut connection, false).await.unwrap();
        let events: Vec<_> = sqlx::query_as(AFTER).fetch_all(&mut connection).await.unwrap();
        everything_is_there(&events, &sqlx::query_as(LETTERS).fetch_all(&mut connection).await.unwrap());
        objections_are_there(sqlx::query_as(HOLDS).fetch_one(&mut connection).await.unwrap());
        let broken = sqlx::query("pragma foreign_key_check").fetch_all(&mut connection).await.unwrap();
        assert!(broken.is_empty());
    }

    #[tokio::test]
    async fn what_was_stored_before_is_there_afterwards_in_postgres() {
        let Some(server) = payhook_test_servers::postgres().await else { return };
        let database = server.fresh_database().await;
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        version_5(POSTGRES).run_direct(None, &mut connection, false).await.unwrap();
        let before = [BEFORE, HELD].concat().replace("NOW", "now()").replace("BYTES", "'\\x00'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(before)).execute(&mut connection).await.unwrap();
        postgres().run_direct(None, &mut connection, false).await.unwrap();
        let events: Vec<_> = sqlx::query_as(AFTER).fetch_all(&mut connection).await.unwrap();
        everything_is_there(&events, &sqlx::query_as(LETTERS).fetch_all(&mut connection).await.unwrap());
        objections_are_there(sqlx::query_as(HOLDS).fetch_one(&mut connection).await.unwrap());
    }

    /// Payments that were final before anybody asked about such again, some of them long ago.
    const FINISHED: &str = "
        insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision,
            created_at, updated_at)
        values ('A-1', 1, 'THB', 'paid', 1, 0, 2, 3, OLD, OLD);
        insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, currency,
            checks, created_at, asked_at, next_check_at)
        values ('antom', 'shop', 'paid', 'A-1', 1, 'paid', 1, 0, 'THB', 0, OLD, NOW, null),
            ('antom', 'shop', 'failed', 'A-1', 2, 'failed', 0, 0, 'THB', 0, NOW, null, null),
            ('antom', 'shop', 'paid-long-ago', 'A-1', 3, 'refunded', 1, 1, 'THB', 0, OLD, OLD, null),
            ('antom', 'shop', 'failed-long-ago', 'A-1', 4, 'failed', 0, 0, 'THB', 0, OLD, OLD, null),
            ('antom', 'shop', 'awaiting', 'A-1', 5, 'awaiting', 0, 0, 'THB', 0, NOW, NOW, NOW);";

    /// Each with how many seconds it is until its check, and whether that is a late one.
    type CheckLeft = (String, Option<i64>, bool);

    #[track_caller]
    fn those_finished_lately_are_asked_about_within_a_week(checks: &[CheckLeft]) {
        let ids = checks.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids, ["awaiting", "failed", "failed-long-ago", "paid", "paid-long-ago"]);
        let [awaiting, failed, failed_long_ago, paid, paid_long_ago] = checks else { unreachable!() };
        assert!(!awaiting.2 && awaiting.1.is_some_and(|wait| wait <= 0));
        for (id, wait, late) in [failed, paid] {
            assert!(*late && wait.is_some_and(|wait| (-60..=7 * 86400).contains(&wait)), "{id}: {wait:?}");
        }
        assert_eq!((failed_long_ago.1, paid_long_ago.1), (None, None), "too old for a late check");
    }

    fn before(migration: i64, embedded: Embedded) -> Migrator {
        migrator(&embedded[..embedded.iter().position(|&(number, ..)| number == migration).unwrap()])
    }

    async fn sqlite_before(migration: i64) -> sqlx::SqliteConnection {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        before(migration, SQLITE).run_direct(None, &mut connection, false).await.unwrap();
        connection
    }

    async fn postgres_before(migration: i64) -> Option<(payhook_test_servers::Database, sqlx::PgConnection)> {
        let database = payhook_test_servers::postgres().await?.fresh_database().await;
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        before(migration, POSTGRES).run_direct(None, &mut connection, false).await.unwrap();
        Some((database, connection))
    }

    #[tokio::test]
    async fn payments_that_were_final_before_have_a_late_check_in_sqlite() {
        let mut connection = sqlite_before(16).await;
        let finished =
            FINISHED.replace("NOW", "unixepoch() * 1000000").replace("OLD", "(unixepoch() - 31536000) * 1000000");
        sqlx::raw_sql(sqlx::AssertSqlSafe(finished)).execute(&mut connection).await.unwrap();
        sqlite().run_direct(None, &mut connection, false).await.unwrap();
        let left = "select id, next_check_at / 1000000 - unixepoch(), finished = 1 from payments order by id";
        let left: Vec<_> = sqlx::query_as(left).fetch_all(&mut connection).await.unwrap();
        those_finished_lately_are_asked_about_within_a_week(&left);
    }

    #[tokio::test]
    async fn payments_that_were_final_before_have_a_late_check_in_postgres() {
        let Some((_database, mut connection)) = postgres_before(16).await else { return };
        let finished = FINISHED.replace("NOW", "now()").replace("OLD", "now() - interval '365 days'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(finished)).execute(&mut connection).await.unwrap();
        postgres().run_direct(None, &mut connection, false).await.unwrap();
        let left = "select id, extract(epoch from next_check_at - now())::bigint, finished from payments order by id";
        let left: Vec<_> = sqlx::query_as(left).fetch_all(&mut connection).await.unwrap();
        those_finished_lately_are_asked_about_within_a_week(&left);
    }

    /// Two authorizations with one token, which named the first alone, and a former one of the second.
    const SHARED: &str = "
        insert into authorizations (id, account, auth_state, wallet, state, version, revision, token_digest, issued_at, attempts,
            created_at, updated_at)
        values ('AU-1', 'shop', 'S-1', 'KPLUS', 'token_issued', 1, 2, 'NEW', NOW, 0, NOW, NOW),
            ('AU-2', 'shop', 'S-2', 'KPLUS', 'token_issued', 1, 3, 'NEW', NOW, 0, NOW, NOW);
        insert into authorization_tokens (account, digest, authorization_id)
        values ('shop', 'NEW', 'AU-1'), ('shop', 'FORMER', 'AU-2');";

    const NAMED: &str =
        "select digest, authorization_id from authorization_tokens order by digest desc, authorization_id";

    fn shared(now: &str) -> sqlx::AssertSqlSafe<String> {
        sqlx::AssertSqlSafe(
            SHARED.replace("NOW", now).replace("NEW", &"b".repeat(64)).replace("FORMER", &"a".repeat(64)),
        )
    }

    #[track_caller]
    fn each_is_named_by_its_token(named: &[(String, String)]) {
        let named: Vec<_> = named.iter().map(|(digest, of)| (&digest[..1], of.as_str())).collect();
        assert_eq!(named, [("b", "AU-1"), ("b", "AU-2"), ("a", "AU-2")]);
    }

    #[tokio::test]
    async fn a_shared_token_names_all_that_had_it_before_in_sqlite() {
        let mut connection = sqlite_before(15).await;
        sqlx::raw_sql(shared("1")).execute(&mut connection).await.unwrap();
        sqlite().run_direct(None, &mut connection, false).await.unwrap();
        each_is_named_by_its_token(&sqlx::query_as(NAMED).fetch_all(&mut connection).await.unwrap());
    }

    #[tokio::test]
    async fn a_shared_token_names_all_that_had_it_before_in_postgres() {
        let Some((_database, mut connection)) = postgres_before(15).await else { return };
        sqlx::raw_sql(shared("now()")).execute(&mut connection).await.unwrap();
        postgres().run_direct(None, &mut connection, false).await.unwrap();
        each_is_named_by_its_token(&sqlx::query_as(NAMED).fetch_all(&mut connection).await.unwrap());
    }

    #[test]
    fn a_difference_is_told() {
        let migrator = sqlite();
        let mut applied: Vec<Applied> =
            migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec(), true)).collect();
        assert_eq!(difference(&migrator, &applied), None);
        applied[1].1 = vec![0];
        assert_eq!(difference(&migrator, &applied).unwrap(), "its migration 0002_history is not this program's");
        applied.remove(1);
        assert_eq!(difference(&migrator, &applied).unwrap(), "migration 0002_history is missing");
        applied.push((99, Vec::new(), true));
        assert_eq!(difference(&migrator, &applied).unwrap(), "its migration 99 is of a newer payhook");
    }
}
