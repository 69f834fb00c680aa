//! A RabbitMQ, and fresh virtual hosts on it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::address::ServerAddress;
use crate::management::Management;
use crate::port::{fresh_name, random};
use crate::{AMQP_ADMIN_URL, AMQP_URL, address_of};

/// A broker that tests share, each in a virtual host of its own.
pub struct Rabbit {
    amqp: ServerAddress,
    management: Management,
    /// Of a cluster; otherwise the one host of `amqp`.
    hosts: Option<String>,
}

/// The broker named by [`AMQP_URL`]; without one, says `not run: …` and returns nothing, or fails where it is required.
///
/// # Panics
/// When an address does not parse, or none is set and [`REQUIRED`](crate::REQUIRED) is `1`.
pub async fn rabbit() -> Option<Rabbit> {
    let url = address_of("RabbitMQ", AMQP_URL)?;
    let admin_url = std::env::var(AMQP_ADMIN_URL).ok().filter(|url| !url.is_empty());
    match Rabbit::at(&url, admin_url.as_deref()) {
        Ok(rabbit) => Some(rabbit),
        Err(error) => panic!("{error:#}"),
    }
}

impl Rabbit {
    /// A broker that is known by other means than the environment, a [`PrivateRabbit`](crate::PrivateRabbit) for
    /// example.
    pub fn at(url: &str, admin_url: Option<&str>) -> Result<Self> {
        let amqp = ServerAddress::parse(url, AMQP_URL)?;
        let admin = match admin_url {
            Some(url) => ServerAddress::parse(url, AMQP_ADMIN_URL)?,
            None => ServerAddress { scheme: "http".to_owned(), port: Some(15672), ..amqp.clone() },
        };
        Ok(Self { amqp, management: Management::new(&admin)?, hosts: None })
    }

    /// The same broker, all hosts of which (`127.0.0.1:5672`) are in the URLs of its virtual hosts.
    #[must_use]
    pub(crate) fn with_hosts(self, hosts: &[String]) -> Self {
        Self { hosts: Some(hosts.join(",")), ..self }
    }

    /// A new, empty virtual host, gone when the answer is dropped.
    ///
    /// # Panics
    /// When the broker refuses or cannot be reached: the test cannot go on.
    pub async fn fresh_vhost(&self) -> Vhost {
        match self.try_fresh_vhost().await {
            Ok(vhost) => vhost,
            Err(error) => panic!("cannot make a virtual host: {error:#}"),
        }
    }

    async fn try_fresh_vhost(&self) -> Result<Vhost> {
        let name = fresh_name("test-");
        self.management.call("PUT", &format!("/vhosts/{name}"), None).await?;
        let address = self.amqp.with_path(&name);
        let one = format!("@{}:{}/", address.host, address.port.unwrap_or(5672));
        let url = match &self.hosts {
            Some(hosts) => address.url().replace(&one, &format!("@{hosts}/")),
            None => address.url(),
        };
        let vhost = Vhost { url, name, address, management: self.management.clone() };
        vhost.set_permissions(&vhost.address.plain_user(), ".*", ".*", ".*").await?;
        Ok(vhost)
    }
}

/// A virtual host that one test has to itself. Dropping it closes what is connected and deletes it and its users.
pub struct Vhost {
    /// The AMQP address of this virtual host, as an administrator with every right.
    pub url: String,
    /// Its name, which needs no escaping in a path or a URL.
    pub name: String,
    address: ServerAddress,
    management: Management,
}

/// A user without any right until [`Vhost::set_permissions`] gives some.
pub struct VhostUser {
    pub name: String,
    /// The AMQP address of the virtual host as this user.
    pub url: String,
}

impl Vhost {
    /// Calls the management API. `path` is relative to `/api`, `/queues/{name}` for example; an empty answer is `null`.
    ///
    /// The API's counts of messages are about a second old.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        self.management.call(method, path, body.as_ref()).await
    }

    /// A new user named after this virtual host and `role`, with no rights and no tags.
    pub async fn create_user(&self, role: &str) -> Result<VhostUser> {
        let name = format!("{}-{role}", self.name);
        let password = format!("{:016x}", random());
        self.admin("PUT", &format!("/users/{name}"), Some(json!({ "password": password, "tags": "" }))).await?;
        let address = ServerAddress { user: name.clone(), password, ..self.address.clone() };
        Ok(VhostUser { name, url: address.url() })
    }

    /// Sets what `user` may configure, write and read here, each a regular expression over names.
    pub async fn set_permissions(&self, user: &str, configure: &str, write: &str, read: &str) -> Result<()> {
        let rights = json!({ "configure": configure, "write": write, "read": read });
        self.admin("PUT", &format!("/permissions/{}/{user}", self.name), Some(rights)).await.map(drop)
    }

    async fn delete(name: &str, management: &Management) -> Result<()> {
        let users = management.call("GET", &format!("/vhosts/{name}/permissions"), None).await?;
        management.call("DELETE", &format!("/vhosts/{name}"), None).await?;
        let users = users.as_array().into_iter().flatten().filter_map(|right| right["user"].as_str());
        for user in users.filter(|user| user.starts_with(name)) {
            management.call("DELETE", &format!("/users/{user}"), None).await?;
        }
        Ok(())
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (name, management) = (std::mem::take(&mut self.name), self.management.clone());
        // We may be inside a runtime, which must not be blocked on itself; a thread with its own is safe anywhere.
        let deleted = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Self::delete(&name, &management))
        });
        match deleted.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("a virtual host of a test stays behind: {error:#}"),
            Err(_) => eprintln!("a virtual host of a test stays behind: its deletion panicked"),
        }
    }
}
