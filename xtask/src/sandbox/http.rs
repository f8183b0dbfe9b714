//! One GET, by hand: enough to ask a daemon on loopback or on a unix socket whether it is well.

use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8Path;

/// Loopback answers at once or not at all.
const LIMIT: Duration = Duration::from_secs(3);

/// The status of `GET path` on 127.0.0.1.
pub fn get_port(port: u16, path: &str) -> Result<u16> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    exchange(stream, path)
}

/// The status of `GET path` on a unix socket.
pub fn get_socket(socket: &Utf8Path, path: &str) -> Result<u16> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    exchange(stream, path)
}

fn exchange(mut stream: impl Read + Write, path: &str) -> Result<u16> {
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")?;
    // "HTTP/1.0 200" is all we want to know.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    status(&head).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}

fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_and_nothing_else() {
        for (head, want) in [("HTTP/1.0 200", Some(200)), ("HTTP/1.1 404", Some(404)), ("SSH-2.0-Open", None), ("HTTP/1.1", None)]
        {
            assert_eq!(status(head.as_bytes()), want, "{head}");
        }
    }
}
