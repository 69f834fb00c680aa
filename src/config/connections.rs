//! Reads the limits on a listener's connections.

use std::net::IpAddr;
use std::str::FromStr;

use super::reader::Reader;

/// The limits on a listener's connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionsConfig {
    /// At once.
    pub(crate) max: usize,
    /// Of one address, unless it is a proxy's.
    pub(crate) per_peer: usize,
    proxies: Vec<Network>,
}

impl ConnectionsConfig {
    /// Returns true if the peer is a proxy for others, and so has no share of its own.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.has(peer))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(max: usize, per_peer: usize) -> Self {
        Self { max, per_peer, proxies: Vec::new() }
    }

    pub(super) fn take(reader: &mut Reader, section: &str) -> Self {
        let mut count = |key: &str| {
            let count: usize = reader.parsed(section, key).unwrap_or(1);
            if count == 0 {
                reader.mistake(format!("{section}.{key} must be 1 or more"));
            }
            count
        };
        let (max, per_peer) = (count("connections_max"), count("connections_per_peer"));
        let mut proxies = Vec::new();
        for text in reader.texts(section, "proxies").iter().filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(network) => proxies.push(network),
                Err(why) => reader.mistake(format!("{section}.proxies: {why}")),
            }
        }
        Self { max, per_peer, proxies }
    }
}

/// An address, or all that begin like it: `10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    fn has(&self, peer: IpAddr) -> bool {
        let begins =
            |ours: u128, its: u128, bits: u32| (ours ^ its).checked_shr(bits - self.prefix_bits).unwrap_or(0) == 0;
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(its)) => begins(ours.to_bits().into(), its.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(its)) => begins(ours.to_bits(), its.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither an address nor a network such as 10.0.0.0/8");
        let (address, prefix_bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix_bits.map_or(Ok(all), str::parse).map_err(|_| wrong())?;
        if prefix_bits > all {
            return Err(wrong());
        }
        Ok(Self { address, prefix_bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, has, has_not) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.3.4", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::1"),
            ("fd00::/16", "fd00:1::1", "fd01::1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.has(has.parse().unwrap()), "{network} has {has}");
            assert!(!parsed.has(has_not.parse().unwrap()), "{network} has not {has_not}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().has("192.0.2.1".parse().unwrap()));
        for wrong in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/-1"] {
            wrong.parse::<Network>().unwrap_err();
        }
    }
}
