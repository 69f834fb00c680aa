//! Reads the broker's URL, which may name several nodes of a cluster.

use lapin::uri::AMQPUri;
use payhook_schema::shown_url;

use crate::QueueError;

/// Seconds between heartbeats unless the URL says otherwise: lapin gives a silent broker up after twice that.
const HEARTBEAT_S: u16 = 10;

/// The address of the broker: one or several nodes of a cluster, asked in turn.
#[derive(Clone)]
pub(super) struct BrokerAddress {
    /// At least one, equal but for host and port.
    pub(super) nodes: Vec<AMQPUri>,
    /// The URL without user, password and query: for people.
    pub(super) shown: String,
}

impl BrokerAddress {
    /// Reads `amqp://user:pass@h1:5672,h2:5672/vhost?heartbeat=10`, and `amqps` alike.
    ///
    /// No vhost is `/`, as everywhere in AMQP; a bare trailing `/` is the vhost of no name.
    pub(super) fn parse(url: &str) -> Result<Self, QueueError> {
        // What was given may hold a password: it is never repeated.
        let wrong = |what: &str| QueueError::misconfigured("amqp://…", format!("its URL {what}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        if !matches!(scheme, "amqp" | "amqps") {
            return Err(wrong("does not start with `amqp://` or `amqps://`"));
        }
        let shown = shown_url(url)
            .ok_or_else(|| wrong("cannot be read: percent-encode `/`, `?`, `#` and `@` in user and password"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let mut nodes = Vec::new();
        for host in hosts.split(',').map(str::trim) {
            if host.is_empty() || host.starts_with(':') {
                return Err(wrong("has an empty host"));
            }
            let node = format!("{scheme}://{user}{host}{path_and_query}");
            let mut node: AMQPUri = node.parse().map_err(|_| wrong("cannot be read"))?;
            if let Some((address, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                // The parser knows names and IPv4 only, and would take `localhost`.
                address.clone_into(&mut node.authority.host);
            }
            node.query.heartbeat.get_or_insert(HEARTBEAT_S);
            nodes.push(node);
        }
        Ok(Self { nodes, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_share_user_and_vhost() {
        let address = BrokerAddress::parse("amqps://u:p%40ss@h1,h2:5673,[::1]:5674/pay?heartbeat=4").unwrap();
        let nodes: Vec<_> = address.nodes.iter().map(|n| (n.authority.host.as_str(), n.authority.port)).collect();
        assert_eq!(nodes, [("h1", 5671), ("h2", 5673), ("::1", 5674)]);
        for node in &address.nodes {
            assert_eq!((node.vhost.as_str(), node.authority.userinfo.password.as_str()), ("pay", "p@ss"));
            assert_eq!(node.query.heartbeat, Some(4));
        }
        assert_eq!(address.shown, "amqps://h1,h2:5673,[::1]:5674/pay");
    }

    #[test]
    fn what_a_url_leaves_out_has_the_usual_default() {
        let address = BrokerAddress::parse("amqp://mq").unwrap();
        assert_eq!(address.nodes[0].vhost, "/");
        assert_eq!(address.nodes[0].authority.port, 5672);
        assert_eq!(address.nodes[0].query.heartbeat, Some(HEARTBEAT_S));
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_its_password() {
        for url in [
            "http://u:hush@h",
            "amqp://u:hush@",
            "amqp://u:hush@h1,,h2",
            "amqp://u:hush@h:99999",
            "u:hush@h",
            "amqp://u:1#hush@h",
            "amqp://u:1/hush@h",
            "amqp://u:1?hush@h",
            "amqp://u:hush",
        ] {
            let error = BrokerAddress::parse(url).err().unwrap();
            assert!(!error.retryable());
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }
}
