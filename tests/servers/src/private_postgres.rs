//! A PostgreSQL of one test: killed, suspended, restarted.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::address::ServerAddress;
use crate::authority::Authority;
use crate::port::{free_ports, random};
use crate::postgres::run_sql;
use crate::process::{self, Guard, POLL, SERVER_PATH};

const INSTALLATIONS: &str = "/usr/lib/postgresql";
const OLDEST_VERSION: u32 = 15;
const USER: &str = "payhook_tests";

/// PostgreSQL refuses to run as root; this user comes with its package.
const UNPRIVILEGED: &str = "postgres";

const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const DROP_TIMEOUT: Duration = Duration::from_secs(3);

/// Returns true if this machine has what [`PrivatePostgres::start`] needs.
pub fn postgres_is_installed() -> bool {
    installation().is_ok()
}

/// The programs of the newest PostgreSQL here that is new enough.
pub(crate) fn installation() -> Result<PathBuf> {
    let versions = fs::read_dir(INSTALLATIONS).into_iter().flatten().flatten();
    versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin"))))
        .filter(|(version, bin)| {
            *version >= OLDEST_VERSION && bin.join("initdb").exists() && bin.join("postgres").exists()
        })
        .max()
        .map(|(_, bin)| bin)
        .with_context(|| {
            format!("no PostgreSQL {OLDEST_VERSION} or newer in {INSTALLATIONS}/*/bin: apt-get install postgresql")
        })
}

/// A PostgreSQL server of our own: durable (`fsync` on), on loopback only, with a password.
///
/// Its data and log are in the directory it was started in.
pub struct PrivatePostgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    password: String,
    /// Of its certificate, if it has one.
    authority: Option<Authority>,
    server: Option<Child>,
    guard: Guard,
}

impl PrivatePostgres {
    /// Starts a server in `dir`, which is made if need be, and waits until it answers a query.
    ///
    /// As root, the server runs as the user `postgres`, who is let through `dir`; the directories above must let
    /// anyone.
    pub async fn start(dir: impl AsRef<Path>) -> Result<Self> {
        Self::start_with(dir.as_ref(), None).await
    }

    /// The same with TLS, for those who want it, and a certificate of `authority`.
    pub async fn start_encrypted(dir: impl AsRef<Path>, authority: &Authority) -> Result<Self> {
        Self::start_with(dir.as_ref(), Some(authority.clone())).await
    }

    async fn start_with(dir: &Path, authority: Option<Authority>) -> Result<Self> {
        let bin = installation()?;
        let [port] = free_ports()?;
        let mut postgres = Self {
            bin,
            dir: dir.join("postgresql"),
            port,
            password: format!("{:016x}", random()),
            authority,
            server: None,
            guard: Guard::start()?,
        };
        postgres.make_cluster().with_context(|| format!("cannot set up PostgreSQL in {}", postgres.dir.display()))?;
        postgres.run().await?;
        Ok(postgres)
    }

    /// The address of the database `postgres`, as a superuser.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// The process id of the postmaster; none while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Ends the server and all its processes at once, as a crash would.
    pub async fn kill9(&mut self) -> Result<()> {
        let Some(server) = self.server.take() else { return Ok(()) };
        // Stopped first, the postmaster cannot start another process while we look for them.
        process::signal("STOP", &[server.id()]);
        let all = process::tree(server.id());
        process::signal("KILL", &all);
        self.ended(server, &all).await
    }

    /// Stops all of the server's processes where they stand: connections stay open and nothing answers.
    pub fn freeze(&self) {
        let Some(pid) = self.pid() else { return };
        process::signal("STOP", &[pid]);
        process::signal("STOP", &process::tree(pid));
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        process::signal("CONT", &self.pid().map(process::tree).unwrap_or_default());
    }

    /// Ends the server in good order, without waiting for whoever is connected. Its data stay.
    pub async fn stop(&mut self) -> Result<()> {
        self.thaw();
        let Some(server) = self.server.take() else { return Ok(()) };
        process::signal("INT", &[server.id()]);
        let pid = server.id();
        self.ended(server, &[pid]).await
    }

    /// Starts the server again on the same port and data, after stopping it if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.run().await
    }

    /// Waits for all of `pids`: the memory they share must be free before the next start.
    async fn ended(&mut self, mut server: Child, pids: &[u32]) -> Result<()> {
        if let Err(error) = process::gone(pids, STOP_TIMEOUT).await {
            self.server = Some(server);
            return Err(error.context(format!("PostgreSQL did not stop{}", self.log_tail())));
        }
        server.wait()?;
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(self.dir.join("data")).args(["-p", &self.port.to_string()]);
        let server = command.spawn().context("cannot start PostgreSQL")?;
        // SIGQUIT rather than SIGKILL: it is as sudden, but gives shared memory back to the system.
        self.guard.on_our_end(&format!("kill -CONT {0}; kill -QUIT {0}", server.id()));
        self.server = Some(server);
        self.until_ready().await.with_context(|| {
            format!("PostgreSQL did not start in {:.1} s{}", began.elapsed().as_secs_f32(), self.log_tail())
        })
    }

    async fn until_ready(&mut self) -> Result<()> {
        let address = ServerAddress::parse(&self.url(), "PostgreSQL's address")?;
        let end = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.server.as_mut().and_then(|server| server.try_wait().transpose()).transpose()? {
                self.server = None;
                bail!("it ended by itself: {status}");
            }
            let not_ready = match tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await {
                Ok(_) => match run_sql(&address, "SELECT 1") {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error.into(),
            };
            if Instant::now() > end {
                return Err(not_ready.context(format!("not ready after {} s", START_TIMEOUT.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn make_cluster(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        let password_file = self.dir.join("password");
        fs::write(&password_file, &self.password)?;
        if process::we_are_root() {
            let (uid, gid) = (id("-u")?, id("-g")?);
            chown(&self.dir, Some(uid), Some(gid))?;
            chown(&password_file, Some(uid), Some(gid))?;
            let parent = self.dir.parent().context("a directory below another")?;
            let mode = fs::metadata(parent)?.permissions().mode();
            fs::set_permissions(parent, fs::Permissions::from_mode(mode | 0o011))?;
        }
        let data = self.dir.join("data");
        let mut initdb = self.command("initdb")?;
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password_file);
        initdb.args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let status = initdb.status().context("cannot run initdb")?;
        ensure!(status.success(), "initdb: {status}{}", self.log_tail());
        fs::remove_file(&password_file)?;
        let settings = "\n# Added for tests.\n\
                        listen_addresses = '127.0.0.1'\n\
                        unix_socket_directories = ''\n\
                        max_connections = 200\n\
                        fsync = on\n\
                        synchronous_commit = on\n\
                        logging_collector = off\n";
        let path = data.join("postgresql.conf");
        fs::write(&path, fs::read_to_string(&path)? + settings + &self.encryption()?)?;
        Ok(())
    }

    /// The settings of TLS, with a certificate made for it.
    fn encryption(&self) -> Result<String> {
        let Some(authority) = &self.authority else { return Ok(String::new()) };
        let [key, certificate] = authority.issue(&self.dir)?;
        if process::we_are_root() {
            let (uid, gid) = (id("-u")?, id("-g")?);
            chown(&key, Some(uid), Some(gid))?;
            chown(&certificate, Some(uid), Some(gid))?;
        }
        let (key, certificate) = (key.display(), certificate.display());
        Ok(format!("ssl = on\nssl_key_file = '{key}'\nssl_cert_file = '{certificate}'\n"))
    }

    /// Prepares one of PostgreSQL's programs to run as a user it agrees to run as. The process keeps its id: `setpriv`
    /// replaces itself.
    fn command(&self, program: &str) -> Result<Command> {
        let program = self.bin.join(program);
        let log = self.dir.join("output.log");
        let mut command = if process::we_are_root() {
            let mut setpriv = process::server(Path::new("setpriv"), &log)?;
            setpriv.args(["--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--clear-groups", "--"]).arg(program);
            setpriv
        } else {
            process::server(&program, &log)?
        };
        command.env("HOME", &self.dir).current_dir(&self.dir);
        Ok(command)
    }

    fn log_tail(&self) -> String {
        process::log_tails(&[&self.dir.join("output.log")])
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let all = process::tree(server.id());
        process::signal("CONT", &all);
        process::signal("QUIT", &[server.id()]);
        if !process::wait_briefly(&mut server, DROP_TIMEOUT) {
            process::signal("KILL", &all);
            let _ = server.wait();
        }
    }
}

/// A number of the user PostgreSQL runs as: `-u` or `-g`.
fn id(which: &str) -> Result<u32> {
    let output =
        Command::new("id").args([which, UNPRIVILEGED]).env("PATH", SERVER_PATH).stdin(Stdio::null()).output()?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    number.with_context(|| format!("there is no user {UNPRIVILEGED}; it comes with the package postgresql"))
}
