//! A TCP proxy that cuts, delays and swallows what passes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::ServerAddress;
use crate::port::free_ports;

const BUFFER_BYTES: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// [`Proxy::drop_after`] is not armed.
const UNLIMITED: i64 = i64::MAX;

/// A TCP proxy with faults to order: it takes a server away from one program and from nobody else.
///
/// The program under test is given [`Proxy::url`] in place of the server's. Dropping the proxy closes every connection.
pub struct Proxy {
    port: u16,
    shared: Arc<ProxyState>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

struct ProxyState {
    target: String,
    faults: watch::Sender<ProxyFaults>,
    /// The number of bytes that may still go to the clients before everything is cut.
    budget: AtomicI64,
    connections: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct ProxyFaults {
    frozen: bool,
    /// Counts the cuts: a connection ends when it is no longer what it was when the connection began.
    cuts: u64,
    last_cut: Cut,
}

#[derive(Clone, Copy, Default)]
enum Cut {
    /// RST: what a crash, a firewall or a broken network looks like.
    #[default]
    Reset,
    /// FIN: what an orderly restart looks like.
    Close,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to the server in `url`, whose port must be part of it.
    pub async fn start(url: &str) -> Result<Self> {
        let address = ServerAddress::parse(url, "the address behind the proxy")?;
        let target_port = address.port.context("the address behind the proxy needs a port")?;
        let [port] = free_ports()?;
        let shared = Arc::new(ProxyState {
            target: format!("{}:{target_port}", address.host),
            faults: watch::Sender::new(ProxyFaults::default()),
            budget: AtomicI64::new(UNLIMITED),
            connections: AtomicU64::new(0),
        });
        let proxy = Self { port, shared, listener: Mutex::new(None) };
        proxy.accept().await?;
        Ok(proxy)
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// `url` with this proxy in place of its host and port.
    ///
    /// # Panics
    /// When `url` does not parse.
    pub fn url(&self, url: &str) -> String {
        let address = ServerAddress::parse(url, "the address behind the proxy").expect("a URL with a host");
        ServerAddress { host: "127.0.0.1".to_owned(), port: Some(self.port), ..address }.url()
    }

    /// Returns the number of connections accepted so far: it shows that a program came back.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Resets every connection there is. New ones are served.
    pub fn cut(&self) {
        self.shared.cut(Cut::Reset);
    }

    /// Closes every connection there is in good order. New ones are served.
    pub fn close(&self) {
        self.shared.cut(Cut::Close);
    }

    /// Stops listening: new connections are refused. Those there are go on; see [`Proxy::cut`].
    pub async fn refuse(&self) {
        let listener = self.listener().take();
        if let Some(task) = listener {
            task.abort();
            let _ = task.await; // the port is closed once the task, which owns it, is gone
        }
    }

    /// Listens again on the same port after [`Proxy::refuse`].
    pub async fn accept(&self) -> Result<()> {
        if self.listener().is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address()).await.with_context(|| format!("port {}", self.port))?;
        let task = tokio::spawn(serve(listener, Arc::clone(&self.shared)));
        *self.listener() = Some(task);
        Ok(())
    }

    /// Holds every byte in both directions, old connections and new ones; nobody is told.
    pub fn freeze(&self) {
        self.shared.faults.send_modify(|faults| faults.frozen = true);
    }

    /// Lets the held bytes go.
    pub fn thaw(&self) {
        self.shared.faults.send_modify(|faults| faults.frozen = false);
    }

    /// Lets `bytes` more go to the clients, then resets every connection, once. Bytes from the clients are not counted.
    ///
    /// With 0, the server's next answer is lost: it has done its work, and the client cannot know.
    pub fn drop_after(&self, bytes: u32) {
        self.shared.budget.store(i64::from(bytes), Ordering::SeqCst);
    }

    fn listener(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = self.listener().take() {
            task.abort();
        }
        self.shared.cut(Cut::Close);
    }
}

impl ProxyState {
    fn cut(&self, how: Cut) {
        self.faults.send_modify(|faults| {
            faults.cuts += 1;
            faults.last_cut = how;
        });
    }

    /// Returns how many of `wanted` bytes may still go to a client, and true if that is the end.
    fn allowed(&self, wanted: usize) -> (usize, bool) {
        let before = self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |budget| match budget {
            UNLIMITED => None,
            budget if budget >= wanted as i64 => Some(budget - wanted as i64),
            _ => Some(UNLIMITED), // the cut disarms it
        });
        match before {
            Ok(budget) if budget < wanted as i64 => (budget as usize, true),
            Ok(_) | Err(_) => (wanted, false),
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<ProxyState>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(forward(client, shared.faults.subscribe(), Arc::clone(&shared)));
            }
            // Out of files, most likely: connections that end give some back.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Forwards a connection until both sides have ended it, one fails, or it is cut.
async fn forward(mut client: TcpStream, mut faults: watch::Receiver<ProxyFaults>, shared: Arc<ProxyState>) {
    let cuts = faults.borrow_and_update().cuts;
    let Ok(mut server) = TcpStream::connect(&shared.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let both = async {
        tokio::try_join!(
            copy(&mut from_client, &mut to_server, &shared, false),
            copy(&mut from_server, &mut to_client, &shared, true)
        )
    };
    let end = tokio::select! {
        ended = both => match ended {
            Ok(_) => Cut::Close,
            Err(_) => Cut::Reset, // one side broke the connection: the other hears of it in the same way
        },
        cut = faults.wait_for(|faults| faults.cuts != cuts) => cut.map(|faults| faults.last_cut).unwrap_or_default(),
    };
    if matches!(end, Cut::Reset) {
        // Closing with a linger time of zero sends RST.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn copy(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, shared: &ProxyState, to_client: bool) -> io::Result<()> {
    let mut faults = shared.faults.subscribe();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        // An error would mean that nobody can thaw us any more, which cannot be: `shared` holds the sender.
        let _ = faults.wait_for(|faults| !faults.frozen).await;
        if read == 0 {
            return to.shutdown().await; // the other direction may go on
        }
        let (allowed, last) = if to_client { shared.allowed(read) } else { (read, false) };
        to.write_all(&buffer[..allowed]).await?;
        if last {
            shared.cut(Cut::Reset);
        }
    }
}
