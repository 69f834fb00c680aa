//! A RabbitMQ cluster of one test.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{PrivateRabbit, Rabbit};

/// Three RabbitMQ nodes of our own in one cluster: a queue of three members outlives any one of them.
pub struct PrivateRabbitCluster {
    /// The first one's epmd and cookie are everybody's.
    nodes: Vec<PrivateRabbit>,
}

impl PrivateRabbitCluster {
    /// Starts three nodes in `dir`, which is made if need be, and waits until all are in one cluster.
    pub async fn start(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let first = PrivateRabbit::start(dir.join("node-1")).await?;
        // One after the other: two that join at once may miss each other.
        let second = PrivateRabbit::join(&dir.join("node-2"), &first).await?;
        let third = PrivateRabbit::join(&dir.join("node-3"), &first).await?;
        // A node takes connections before it is whole, and a virtual host made in between is never ready on it.
        for node in [&second, &third] {
            node.control(&["await_startup"]).await?;
        }
        Ok(Self { nodes: vec![first, second, third] })
    }

    /// The cluster as a broker with three hosts. Its management API is the first node's.
    pub fn rabbit(&self) -> Result<Rabbit> {
        let first = &self.nodes[0];
        let hosts: Vec<String> = self.nodes.iter().map(PrivateRabbit::host).collect();
        Ok(Rabbit::at(&first.url(), Some(&first.admin_url()))?.with_hosts(&hosts))
    }

    /// Ends the node of this name as a power cut would.
    pub async fn kill9(&mut self, name: &str) -> Result<()> {
        match self.nodes.iter_mut().find(|node| node.name() == name) {
            Some(node) => node.kill9().await,
            None => bail!("there is no node {name}"),
        }
    }

    /// Starts every node that was killed, and waits until it is back.
    pub async fn restart_killed(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.pid().is_none()) {
            node.restart().await.with_context(|| format!("{} does not come back", node.name()))?;
        }
        Ok(())
    }
}
