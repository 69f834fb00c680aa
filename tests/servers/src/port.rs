//! Ports that are free.

use std::net::TcpListener;

use anyhow::{Context as _, Result};

/// Below the range from which Linux serves outgoing connections, so that nobody's outgoing connection takes a server's
/// port while the server is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

const TRIES: usize = 200;

/// `N` different loopback ports that nothing listens on now.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..TRIES {
        let port = PORTS.start + (random() % u128::from(PORTS.end - PORTS.start)) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
        if held.len() == N {
            break;
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports.try_into().ok().with_context(|| format!("found no {N} free ports among {PORTS:?} on 127.0.0.1"))
}

/// 62 random bits.
pub(crate) fn random() -> u128 {
    uuid::Uuid::now_v7().as_u128() & ((1 << 62) - 1)
}

/// A name no other test has: `test-` and 32 hexadecimal digits, in the order of creation.
pub(crate) fn fresh_name(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = free_ports::<8>().expect("eight ports are free").to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }
}
