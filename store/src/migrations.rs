//! The migrations, embedded in the program; both folders have the same numbers and names.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Where the applied ones are remembered. Not sqlx's default name: the embedded queue lives in the same SQLite file.
const TABLE: &str = "store_migrations";

macro_rules! embedded {
    ($folder:literal: $($number:literal $name:literal,)+) => {
        &[$(($number, $name, include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql"))),)+]
    };
}

type Embedded = &'static [(i64, &'static str, &'static str)];

const POSTGRES: Embedded = embedded!("postgres":
    1 "0001_orders",
    2 "0002_history",
    3 "0003_events",
    4 "0004_dead_letters",
    5 "0005_leases",
);

const SQLITE: Embedded = embedded!("sqlite":
    1 "0001_orders",
    2 "0002_history",
    3 "0003_events",
    4 "0004_dead_letters",
    5 "0005_leases",
);

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

/// One row of [`APPLIED`].
pub(crate) type Applied = (i64, Vec<u8>, bool);

/// What is wrong with the migrations `applied`, if anything.
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
