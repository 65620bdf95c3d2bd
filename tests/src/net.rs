//! Servers and ports for the tests of forwards.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    bssh_fixtures::free_ports(1).expect("a port")
}

/// Serves each connection on a port of its own choice with a thread; lives as long as the test.
pub fn serve(each: fn(TcpStream) -> io::Result<()>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || each(stream));
        }
    });
    port
}

/// Sends back what comes, and end of file after end of file.
pub fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Sends [`FLOOD`] bytes as fast as they are taken.
pub fn flood(mut stream: TcpStream) -> io::Result<()> {
    let block = [b'x'; 64 * 1024];
    for _ in 0..FLOOD / block.len() {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)
}

/// More than any buffer on the way holds.
pub const FLOOD: usize = 48 << 20;

/// Connects, and waits at most this long for each read.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

/// SOCKS 5 CONNECT without a login; the reply code.
pub fn socks5(stream: &mut TcpStream, port: u16) -> io::Result<u8> {
    let [high, low] = port.to_be_bytes();
    stream.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low])?;
    let mut reply = [0; 12];
    stream.read_exact(&mut reply)?;
    Ok(reply[3])
}

/// Sends bytes and gets the same back, whole, with half-close.
pub fn echoes(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let sent = bytes.to_vec();
    let sending = std::thread::spawn(move || {
        writer.write_all(&sent)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    sending.join().map_err(|_| io::Error::other("the sender panicked"))??;
    match back == bytes {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} of {} bytes", back.len(), bytes.len()))),
    }
}

/// Bytes that repeat late.
pub fn noise(n: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(n).collect()
}

/// An SSH server says its version there.
pub fn greets(address: &str) -> bool {
    use std::io::Read;
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let limit = Some(std::time::Duration::from_secs(10));
    let mut start = [0; 4];
    stream.set_read_timeout(limit).is_ok()
        && stream.read_exact(&mut start).is_ok()
        && &start == b"SSH-"
}
