//! A RabbitMQ of one test: killed, suspended, restarted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::address::ServerAddress;
use crate::authority::Authority;
use crate::management::Management;
use crate::port::{free_ports, random};
use crate::process::{self, Guard, POLL, SERVER_PATH};

/// Debian's scripts without Debian's wrapper: `/usr/sbin/rabbitmq-server` changes to another user and to its home.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Debian keeps the scripts that change no user here.
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const EPMD: &str = "/usr/bin/epmd";
const USER: &str = "payhook-tests";

/// It took 4 to 15 s on two busy cores.
const START_TIMEOUT: Duration = Duration::from_mins(2);
const STOP_TIMEOUT: Duration = Duration::from_mins(1);
const DROP_TIMEOUT: Duration = Duration::from_secs(3);
const ONE_GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns true if this machine has what [`PrivateRabbit::start`] needs.
pub fn rabbit_is_installed() -> bool {
    Path::new(SERVER).exists() && Path::new(EPMD).exists()
}

/// A RabbitMQ node of our own, with the management API and its own epmd.
///
/// Its data, logs, settings and Erlang cookie are in the directory it was started in. It runs as whoever we are, root
/// too.
pub struct PrivateRabbit {
    dir: PathBuf,
    /// With the Erlang cookie, which all nodes of a cluster share.
    home: PathBuf,
    ports: Ports,
    password: String,
    /// The node whose cluster it joins, and whose epmd it uses.
    joins: Option<String>,
    /// For AMQP over TLS: whose its certificate is, and the port.
    encrypted: Option<(Authority, u16)>,
    epmd: Option<Child>,
    node: Option<Node>,
    guard: Guard,
}

struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
}

/// The start script stays as the parent of the Erlang machine: it reaps it, and its end tells us of the machine's.
/// (`-detached` would leave that to whatever process 1 is, which in a container often reaps nobody.)
struct Node {
    script: Child,
    /// None while it starts.
    pid: Option<u32>,
}

impl PrivateRabbit {
    /// Starts a node in `dir`, which is made if need be, and waits until it greets AMQP clients and its API answers.
    pub async fn start(dir: impl AsRef<Path>) -> Result<Self> {
        Self::start_with(dir.as_ref(), None).await
    }

    /// The same with a listener for `amqps` besides, and a certificate of `authority`.
    pub async fn start_encrypted(dir: impl AsRef<Path>, authority: &Authority) -> Result<Self> {
        let [port] = free_ports()?;
        Self::start_with(dir.as_ref(), Some((authority.clone(), port))).await
    }

    async fn start_with(dir: &Path, encrypted: Option<(Authority, u16)>) -> Result<Self> {
        ensure!(rabbit_is_installed(), "RabbitMQ is not installed ({SERVER}): apt-get install rabbitmq-server");
        let [amqp, management, distribution, epmd] = free_ports()?;
        let dir = dir.join("rabbitmq");
        let rabbit = Self {
            home: dir.join("home"),
            dir,
            ports: Ports { amqp, management, distribution, epmd },
            password: format!("{:016x}", random()),
            joins: None,
            encrypted,
            epmd: None,
            node: None,
            guard: Guard::start()?,
        };
        rabbit.begin().await
    }

    /// Starts a node in `dir` that joins the cluster of `first`, which must outlive it.
    pub(crate) async fn join(dir: &Path, first: &Self) -> Result<Self> {
        let [amqp, management, distribution] = free_ports()?;
        let rabbit = Self {
            dir: dir.join("rabbitmq"),
            home: first.home.clone(),
            ports: Ports { amqp, management, distribution, epmd: first.ports.epmd },
            password: first.password.clone(),
            joins: Some(first.name()),
            encrypted: None,
            epmd: None,
            node: None,
            guard: Guard::start()?,
        };
        rabbit.begin().await
    }

    async fn begin(mut self) -> Result<Self> {
        self.write_settings().with_context(|| format!("cannot write RabbitMQ's settings in {}", self.dir.display()))?;
        self.run().await?;
        Ok(self)
    }

    /// The node's name in its cluster.
    pub(crate) fn name(&self) -> String {
        format!("payhook{}@localhost", self.ports.amqp)
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.ports.amqp)
    }

    /// The AMQP address of the default virtual host, as an administrator.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.ports.amqp)
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// When it was started without.
    pub fn encrypted_url(&self) -> String {
        let (_, port) = self.encrypted.as_ref().expect("it was started with TLS");
        format!("amqps://{USER}:{}@127.0.0.1:{port}/%2f", self.password)
    }

    /// The address of the management API.
    pub fn admin_url(&self) -> String {
        format!("http://{USER}:{}@127.0.0.1:{}", self.password, self.ports.management)
    }

    /// The process id of the Erlang machine; none while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().and_then(|node| node.pid)
    }

    /// Ends the node as a power cut would, as far as a process can tell.
    pub async fn kill9(&mut self) -> Result<()> {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        // The script is left to end by itself: it takes the machine's exit status.
        let all = process::tree(node.script.id());
        process::signal("KILL", &all[1..]);
        self.tell_guard("");
        ended(&mut node.script, STOP_TIMEOUT).await
    }

    /// Stops the node where it stands: connections stay open and nothing answers.
    pub fn freeze(&self) {
        process::signal("STOP", &self.pid().map(process::tree).unwrap_or_default());
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self) {
        process::signal("CONT", &self.pid().map(process::tree).unwrap_or_default());
    }

    /// Ends the node in good order. Its data stay.
    pub async fn stop(&mut self) -> Result<()> {
        self.thaw();
        let Some(mut node) = self.node.take() else { return Ok(()) };
        process::signal("TERM", &[node.script.id()]);
        let stopped = ended(&mut node.script, STOP_TIMEOUT).await;
        match &stopped {
            Ok(()) => self.tell_guard(""),
            Err(_) => self.node = Some(node),
        }
        stopped.with_context(|| format!("RabbitMQ did not stop{}", self.log_tails()))
    }

    /// Starts the node again on the same ports and data, after stopping it if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.run().await
    }

    /// Runs `rabbitmqctl` against the node.
    pub async fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = process::server(Path::new(CONTROL), &self.dir.join("control.log"))?;
        self.give_environment(&mut command);
        let mut child = command.args(arguments).spawn().with_context(|| format!("cannot start {CONTROL}"))?;
        let end = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < end, "rabbitmqctl {} does not end", arguments.join(" "));
            tokio::time::sleep(POLL).await;
        };
        let log = || process::log_tails(&[&self.dir.join("control.log")]);
        ensure!(status.success(), "rabbitmqctl {} failed{}", arguments.join(" "), log());
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let began = Instant::now();
        self.run_epmd().await?;
        let pid_file = self.dir.join("pid");
        let _ = fs::remove_file(&pid_file);
        let script = self.node_command()?.spawn().with_context(|| format!("cannot start {SERVER}"))?;
        // Kept before it is ready, so that `Drop` finds it even when nobody waits for this future to its end.
        self.node = Some(Node { script, pid: None });
        self.tell_guard(&format!("$(cat '{}')", pid_file.display()));
        self.until_ready().await.with_context(|| {
            format!("RabbitMQ did not start in {:.1} s{}", began.elapsed().as_secs_f32(), self.log_tails())
        })?;
        let pid = fs::read_to_string(&pid_file).context("RabbitMQ wrote no process id")?;
        let pid = pid.trim().parse().context("RabbitMQ wrote a strange process id")?;
        if let Some(node) = &mut self.node {
            node.pid = Some(pid);
        }
        Ok(())
    }

    /// `node` is what the shell makes the node's process id from.
    fn tell_guard(&mut self, node: &str) {
        let epmd = self.epmd.as_ref().map(|epmd| epmd.id().to_string()).unwrap_or_default();
        self.guard.on_our_end(&format!("kill -9 {node} {epmd}"));
    }

    async fn until_ready(&mut self) -> Result<()> {
        let management = Management::new(&ServerAddress::parse(&self.admin_url(), "the management API's address")?)?;
        let end = Instant::now() + START_TIMEOUT;
        loop {
            let ended = self.node.as_mut().map(|node| node.script.try_wait()).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("it ended by itself: {status}");
            }
            let not_ready = match self.greets().await {
                Ok(()) => match management.call("GET", "/health/checks/virtual-hosts", None).await {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() > end {
                return Err(not_ready.context(format!("not ready after {} s", START_TIMEOUT.as_secs())));
            }
            tokio::time::sleep(POLL * 2).await;
        }
    }

    /// The listener may be open before the broker is: only its greeting, an AMQP method frame, says that it is there.
    async fn greets(&self) -> Result<()> {
        let greeting = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.amqp)).await?;
            stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
            stream.read_u8().await
        };
        let frame = tokio::time::timeout(ONE_GREETING_TIMEOUT, greeting).await.context("no greeting")??;
        ensure!(frame == 1, "the AMQP port answered with something else");
        Ok(())
    }

    async fn run_epmd(&mut self) -> Result<()> {
        if self.joins.is_some() || self.epmd.as_mut().is_some_and(|epmd| matches!(epmd.try_wait(), Ok(None))) {
            return Ok(());
        }
        let port = self.ports.epmd.to_string();
        let mut command = process::server(Path::new(EPMD), &self.dir.join("epmd.log"))?;
        command.args(["-port", &port, "-address", "127.0.0.1"]);
        let epmd = self.epmd.insert(command.spawn().with_context(|| format!("cannot start {EPMD}"))?);
        self.guard.on_our_end(&format!("kill -9 {}", epmd.id()));
        let end = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.ports.epmd)).await.is_err() {
            if let Some(status) = epmd.try_wait()? {
                bail!("epmd ended by itself: {status}{}", process::log_tails(&[&self.dir.join("epmd.log")]));
            }
            ensure!(Instant::now() < end, "epmd does not answer on port {port}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn node_command(&self) -> Result<Command> {
        let mut command = process::server(Path::new(SERVER), &self.dir.join("output.log"))?;
        self.give_environment(&mut command);
        // Without the first, the distribution port listens on every interface. One scheduler is enough.
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1");
        Ok(command)
    }

    fn give_environment(&self, command: &mut Command) {
        let dir = |name: &str| self.dir.join(name);
        command
            // The Erlang cookie lives in the home directory: a private one, for these processes only.
            .env("HOME", &self.home)
            .env("PATH", format!("/usr/lib/rabbitmq/bin:{SERVER_PATH}"))
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", dir("data"))
            .env("RABBITMQ_LOG_BASE", dir("log"))
            .env("RABBITMQ_PID_FILE", dir("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", dir("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir("advanced.config"))
            // A file that does not exist, so that the system's own is not read.
            .env("RABBITMQ_CONF_ENV_FILE", dir("no-environment.conf"))
            .current_dir(&self.dir);
    }

    fn write_settings(&self) -> Result<()> {
        for name in ["home", "data", "log"] {
            fs::create_dir_all(self.dir.join(name))?;
        }
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        fs::write(self.dir.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        // Dead lettering that a dying leader left half done is tried again after this time. Its default of three
        // minutes is no time for a test.
        let advanced = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n";
        fs::write(self.dir.join("advanced.config"), advanced)?;
        // Memory and disk limits are absolute, so that the state of the host cannot raise an alarm.
        let settings = format!(
            "listeners.tcp.default = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             default_user = {USER}\n\
             default_pass = {password}\n\
             log.console = false\n\
             vm_memory_high_watermark.absolute = 2GB\n\
             disk_free_limit.absolute = 50MB\n\
             collect_statistics_interval = 1000\n",
            amqp = self.ports.amqp,
            management = self.ports.management,
            password = self.password,
        );
        let joins = self.joins.as_ref().map(|first| {
            format!(
                "cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_formation.classic_config.nodes.1 = {first}\n\
                 cluster_formation.classic_config.nodes.2 = {}\n",
                self.name()
            )
        });
        fs::write(self.dir.join("rabbitmq.conf"), settings + &joins.unwrap_or_default() + &self.encryption()?)?;
        Ok(())
    }

    /// The settings of TLS, with a certificate made for it.
    fn encryption(&self) -> Result<String> {
        let Some((authority, port)) = &self.encrypted else { return Ok(String::new()) };
        let [key, certificate] = authority.issue(&self.dir)?;
        Ok(format!(
            "listeners.ssl.default = 127.0.0.1:{port}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\n",
            authority.certificate().display(),
            certificate.display(),
            key.display(),
        ))
    }

    fn log_tails(&self) -> String {
        let node_log = self.dir.join(format!("log/{}.log", self.name()));
        process::log_tails(&[&self.dir.join("output.log"), &node_log])
    }
}

impl Drop for PrivateRabbit {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            // The script last: it takes the machine's exit status, and then ends by itself.
            process::signal("KILL", &process::tree(node.script.id())[1..]);
            if !process::wait_briefly(&mut node.script, DROP_TIMEOUT) {
                process::signal("KILL", &process::tree(node.script.id()));
                let _ = node.script.wait();
            }
        }
        if let Some(mut epmd) = self.epmd.take() {
            let _ = epmd.kill();
            let _ = epmd.wait();
        }
    }
}

/// Waits for a child of ours to end and takes its exit status, so that no zombie stays.
async fn ended(child: &mut Child, within: Duration) -> Result<()> {
    process::gone(&[child.id()], within).await?;
    child.wait()?;
    Ok(())
}
