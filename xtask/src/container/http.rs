//! The smallest HTTP client that can tell whether a service answers: one GET, the status of the answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a service may go on with an answer whose status is known.
const REST: Duration = Duration::from_millis(200);

/// GETs a path of a service on this machine's loopback interface; its status code, or why there is none.
pub fn get(port: u16, path: &str) -> Result<u16, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let lines = ["User-Agent: slipway", "Accept: */*", "Connection: close", "", ""].join("\r\n");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{lines}").as_bytes())?;
        // "HTTP/1.1 200 OK" is all that is wanted …
        let head = read(&mut stream, 16, PATIENCE)?;
        // … but a service that is cut off while it answers would log an error.
        let _rest = read(&mut stream, 1 << 20, REST);
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    let head = exchange().map_err(|error| error.to_string())?;
    let status =
        head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.get(..3)?.parse().ok());
    status.ok_or_else(|| if head.is_empty() { "the connection was closed".into() } else { "the answer is not HTTP".into() })
}

/// Reads to the end, or `size` bytes.
///
/// # Errors
/// That took longer than `limit`, however much came.
fn read(stream: &mut TcpStream, size: usize, limit: Duration) -> std::io::Result<Vec<u8>> {
    let started = Instant::now();
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while all.len() < size {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(std::io::Error::new(ErrorKind::TimedOut, "it takes too long"));
        }
        stream.set_read_timeout(Some(left))?;
        let room = buffer.len().min(size - all.len());
        match stream.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(some) => all.extend_from_slice(&buffer[..some]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn served(answer: &'static str) -> Result<u16, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let size = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..size]).into_owned()
        });
        let status = get(port, "/health?x=1");
        assert!(server.join().unwrap().starts_with("GET /health?x=1 HTTP/1.1\r\nHost: localhost:"));
        status
    }

    #[test]
    fn the_status_of_an_answer() {
        assert_eq!(served("HTTP/1.1 204 No Content\r\n\r\n"), Ok(204));
        assert_eq!(served("HTTP/1.0 503 Busy\r\n\r\n"), Ok(503));
        assert_eq!(served("SSH-2.0-x\r\n"), Err("the answer is not HTTP".into()));
        assert_eq!(served(""), Err("the connection was closed".into()));
    }

    #[test]
    fn an_answer_without_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = 0;
            while lines < 6000 && stream.write_all(b"HTTP/1.1 200 OK\r\n").is_ok() {
                thread::sleep(Duration::from_millis(50));
                lines += 1;
            }
            lines
        });
        assert_eq!(get(port, "/events"), Ok(200));
        assert!(server.join().unwrap() < 6000, "it is listened to for ever");
    }

    #[test]
    fn nobody_there() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(get(port, "/").unwrap_err().contains("refused"));
    }
}
