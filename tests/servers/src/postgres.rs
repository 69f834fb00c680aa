//! A PostgreSQL, and fresh databases on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::address::ServerAddress;
use crate::port::fresh_name;
use crate::private_postgres::installation;
use crate::{DATABASE_URL, address_of};

/// A database server that tests share, each in a database of its own.
pub struct Postgres {
    address: ServerAddress,
}

/// The server named by [`DATABASE_URL`]; without one, says `not run: …` and returns nothing, or fails where it is
/// required.
///
/// # Panics
/// When the address does not parse, or none is set and [`REQUIRED`](crate::REQUIRED) is `1`.
pub async fn postgres() -> Option<Postgres> {
    let url = address_of("PostgreSQL", DATABASE_URL)?;
    match Postgres::at(&url) {
        Ok(postgres) => Some(postgres),
        Err(error) => panic!("{error:#}"),
    }
}

impl Postgres {
    /// A server that is known by other means than the environment, a [`PrivatePostgres`](crate::PrivatePostgres) for
    /// example.
    pub fn at(url: &str) -> Result<Self> {
        Ok(Self { address: ServerAddress::parse(url, DATABASE_URL)? })
    }

    /// A new, empty database, gone when the answer is dropped.
    ///
    /// # Panics
    /// When the server refuses or cannot be reached: the test cannot go on.
    pub async fn fresh_database(&self) -> Database {
        let name = fresh_name("test_");
        let server = self.address.clone();
        let url = server.with_path(&name).url();
        // From template0, which nobody can be connected to: a copy of template1 fails while anyone is.
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
        let created = tokio::task::spawn_blocking({
            let server = server.clone();
            move || run_sql(&server, &sql)
        });
        match created.await.expect("psql is run without panicking") {
            Ok(()) => Database { url, name, server },
            Err(error) => panic!("cannot make a database: {error:#}"),
        }
    }
}

/// A database that one test has to itself. Dropping it disconnects whoever is connected and deletes it.
pub struct Database {
    pub url: String,
    pub name: String,
    server: ServerAddress,
}

impl Database {
    /// Runs statements in it as a superuser and returns what they printed: rows as lines, columns without padding.
    pub async fn run(&self, sql: &str) -> Result<String> {
        let (address, sql) = (self.server.with_path(&self.name), sql.to_owned());
        tokio::task::spawn_blocking(move || read_sql(&address, &sql)).await.context("psql is run without panicking")?
    }

    /// Every row of every table as text, with what is binary as far as it is readable: for whoever looks for what must
    /// not be there.
    ///
    /// # Panics
    /// When the server refuses or cannot be reached.
    pub fn everything(&self) -> String {
        let address = self.server.with_path(&self.name);
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
        let tables = read_sql(&address, tables).expect("the tables can be listed");
        let rows = tables.lines().map(|table| {
            let sql = format!("SET bytea_output = 'escape'; SELECT * FROM {table}");
            read_sql(&address, &sql).expect("a table can be read")
        });
        rows.collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = run_sql(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            eprintln!("a database of a test stays behind: {error:#}");
        }
    }
}

/// Runs one statement with `psql`, which comes with the server: a database library here would cost every test its
/// build.
pub(crate) fn run_sql(server: &ServerAddress, sql: &str) -> Result<()> {
    read_sql(server, sql).map(drop)
}

/// The same, with what it printed: rows as lines, columns without padding.
fn read_sql(server: &ServerAddress, sql: &str) -> Result<String> {
    let without_password = ServerAddress { password: String::new(), ..server.clone() };
    let mut psql = Command::new(psql());
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"]);
    psql.args(["--set=ON_ERROR_STOP=1", "--command", sql, "--dbname"]);
    psql.arg(without_password.url()).env("PGCONNECT_TIMEOUT", "10").stdin(Stdio::null());
    if !server.password.is_empty() {
        psql.env("PGPASSWORD", server.plain_password().as_ref()); // the command line is there for everyone to read
    }
    let Output { status, stdout, stderr } =
        psql.output().context("cannot run psql: apt-get install postgresql-client")?;
    ensure!(status.success(), "psql: {}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

fn psql() -> PathBuf {
    let on_path = Path::new("/usr/bin/psql");
    match installation() {
        Ok(bin) if !on_path.exists() => bin.join("psql"),
        _ => "psql".into(),
    }
}
