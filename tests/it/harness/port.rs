//! Ports that are free.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range Linux takes outgoing connections from, so that nobody takes the port of a process while it is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

/// A loopback port that nothing listens on now, and that no other test of this run was given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 from {FIRST} on");
}
