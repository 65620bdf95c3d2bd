//! A long way: a port in front of another one, where every byte arrives later.
//!
//! Bytes are read at once and sent on when their time has come, so that the way is long and not
//! narrow.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A port that is far from the other one. Its threads end with their connections and the test.
pub struct Delay {
    port: u16,
    /// Connections of clients that are open.
    near: Arc<Mutex<BTreeMap<u64, TcpStream>>>,
    /// The next bytes of a client end its connection.
    trap: Arc<AtomicBool>,
}

impl Delay {
    /// Everything to and from `to` takes this long each way.
    pub fn start(to: u16, one_way: Duration) -> Delay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let all: Arc<Mutex<BTreeMap<u64, TcpStream>>> = Arc::default();
        let open = Arc::clone(&all);
        let trap = Arc::new(AtomicBool::new(false));
        let (set, never) = (Arc::clone(&trap), Arc::default());
        std::thread::spawn(move || {
            for (near, n) in listener.incoming().flatten().zip(0..) {
                open.lock().expect("no panic").insert(n, near.try_clone().expect("a clone"));
                let far = TcpStream::connect(("127.0.0.1", to));
                let ways = far.map(|far| {
                    [(&near, &far, &set), (&far, &near, &never)].map(|(from, to, trap)| {
                        let (from, to) = (from.try_clone(), to.try_clone());
                        let ends = (from.expect("a clone"), to.expect("a clone"));
                        carry(ends, one_way, Arc::clone(trap))
                    })
                });
                let open = Arc::clone(&open);
                std::thread::spawn(move || {
                    // A way that has panicked is over, too.
                    ways.into_iter().flatten().for_each(|way| drop(way.join()));
                    open.lock().expect("no panic").remove(&n);
                });
            }
        });
        Delay { port, near: all, trap }
    }

    /// The next bytes of a client do not arrive: they end its connection with RST.
    pub fn set_trap(&self) {
        self.trap.store(true, Ordering::Release);
    }

    /// Nothing has gone into it yet.
    pub fn trap_is_set(&self) -> bool {
        self.trap.load(Ordering::Acquire)
    }

    /// Ends every connection of clients with RST.
    pub fn reset(&self) {
        for near in std::mem::take(&mut *self.near.lock().expect("no panic")).into_values() {
            // One that has ended is nothing to end.
            let _ = rustix::net::connect_unspec(&near);
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Ends with the last byte that is delivered.
fn carry(
    (mut from, to): (TcpStream, TcpStream),
    one_way: Duration,
    trap: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (send, later) = channel();
    to.set_nodelay(true).expect("a socket");
    let delivery = std::thread::spawn(move || deliver(&later, to));
    std::thread::spawn(move || {
        let mut block = vec![0; 256 * 1024];
        while let Ok(n) = from.read(&mut block) {
            if n > 0 && trap.swap(false, Ordering::AcqRel) {
                let _ = rustix::net::connect_unspec(&from);
                return;
            }
            let bytes = block[..n].to_vec();
            if send.send((Instant::now() + one_way, bytes)).is_err() || n == 0 {
                return;
            }
        }
    });
    delivery
}

fn deliver(later: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((when, bytes)) = later.recv() {
        while let Some(left) = when.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other side may have closed it already.
    let _ = to.shutdown(Shutdown::Write);
}
