//! RabbitMQ for the conformance suite: a virtual host, and processes behind proxies that can be cut.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{Queue, RabbitOptions, RabbitQueue};
use payhook_schema::Clock;
use payhook_test_servers::{Proxy, Vhost, rabbit};
use tokio::sync::Mutex;

const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A virtual host, and processes that reach it through proxies which can be cut.
pub(crate) struct RabbitHarness {
    pub(crate) vhost: Vhost,
    processes: Mutex<Vec<Proxy>>,
}

pub(crate) fn options() -> RabbitOptions {
    RabbitOptions::new("test", Clock::system(), &DELAYS)
}

/// A channel of the test's own, with every right and past every proxy.
pub(crate) async fn admin_channel(vhost: &Vhost) -> (Connection, Channel) {
    let connection = Connection::connect(&vhost.url, ConnectionProperties::default()).await.expect("it connects");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

impl RabbitHarness {
    pub(crate) async fn start() -> Option<Self> {
        let vhost = rabbit().await?.fresh_vhost().await;
        RabbitQueue::open(&vhost.url, options()).expect("the URL is right").migrate().await.expect("it is declared");
        Some(Self { vhost, processes: Mutex::default() })
    }
}

#[async_trait]
impl QueueHarness for RabbitHarness {
    async fn process(&self) -> Arc<dyn Queue> {
        let proxy = Proxy::start(&self.vhost.url).await.expect("a port is free");
        let queue = RabbitQueue::open(&proxy.url(&self.vhost.url), options()).expect("the URL is right");
        self.processes.lock().await.push(proxy);
        Arc::new(queue)
    }

    async fn crash(&self) {
        for proxy in self.processes.lock().await.drain(..) {
            proxy.refuse().await;
            proxy.cut();
        }
    }

    async fn put_bytes(&self, bytes: &[u8]) {
        let (_connection, channel) = admin_channel(&self.vhost).await;
        let name = "payhook.notifications".into();
        let sent =
            channel.basic_publish(name, "".into(), BasicPublishOptions::default(), bytes, BasicProperties::default());
        sent.await.expect("it is sent").await.expect("it is taken");
    }

    fn delays(&self) -> Vec<Duration> {
        DELAYS.to_vec()
    }
}
