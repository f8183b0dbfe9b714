//! A proxy in front of a real registry that counts requests and injects faults. One request a connection, plain HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Result, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as the rule sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
    /// How many manifests were put before this one.
    pub puts: usize,
    /// Bytes of its body.
    pub bytes: usize,
}

impl Request {
    /// A manifest or tag is about to be written.
    pub fn is_put(&self) -> bool {
        self.method == "PUT" && self.path.contains("/manifests/")
    }

    pub fn changes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// What becomes of a request.
pub enum Action {
    Pass,
    /// Answered here, the registry never sees it.
    Status(u16),
    /// The connection is cut.
    Reset,
    /// The registry gets it, the client never hears of it.
    PassThenReset,
    /// The client is killed (SIGKILL) before or after the registry gets it.
    KillBefore,
    KillAfter,
    /// Nobody ever answers.
    Hang,
    /// The connection is cut, and until the next rule nobody listens any more.
    Dead,
    /// The client gets a SIGINT, as from Ctrl-C: while the registry takes a second for this, or right after it.
    InterruptDuring,
    InterruptAfter,
    /// Answered here with these bytes as what was asked for, and this digest beside them.
    Instead(Vec<u8>, String),
    /// Done when the registry has answered, before the client hears of it.
    PassThen(Box<dyn FnOnce() + Send>),
}

type Rule = Box<dyn Fn(&Request) -> Action + Send + Sync>;

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<Arc<Rule>>>,
    log: Mutex<Vec<Request>>,
    client: AtomicU32,
    dead: AtomicBool,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of `upstream`, `localhost:5000`. It lives as long as the test process.
    pub fn new(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (upstream, state) = (upstream.replace("localhost", "127.0.0.1"), Arc::clone(&shared));
        thread::spawn(move || {
            let mut listener = Some(listener);
            loop {
                let listener = listener.take().unwrap_or_else(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
                for client in listener.incoming().flatten().take_while(|_| !state.dead.load(Ordering::SeqCst)) {
                    let (upstream, state) = (upstream.clone(), Arc::clone(&state));
                    // A client that goes away is part of the game.
                    thread::spawn(move || serve(client, &upstream, port, &state).unwrap_or_default());
                }
                drop(listener);
                while state.dead.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Proxy { port, shared }
    }

    pub fn registry(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// From now on; the log starts anew.
    pub fn rule(&self, rule: impl Fn(&Request) -> Action + Send + Sync + 'static) {
        self.shared.log.lock().unwrap().clear();
        *self.shared.rule.lock().unwrap() = Some(Arc::new(Box::new(rule)));
        self.shared.dead.store(false, Ordering::SeqCst);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pass(&self) {
        self.rule(|_| Action::Pass);
    }

    pub fn log(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The process that is interrupted, or killed, then with the tool that made the request.
    pub fn victim(&self, pid: u32) {
        self.shared.client.store(pid, Ordering::SeqCst);
    }
}

fn serve(client: TcpStream, upstream: &str, port: u16, state: &Shared) -> Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    if from.fill_buf()?.first() == Some(&0x16) {
        // A TLS handshake; this tells the client to try plain HTTP, as Go's server does.
        return (&client).write_all(b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n");
    }
    let mut head = Vec::new();
    let mut line = String::new();
    while from.read_line(&mut line)? > 0 && line != "\r\n" {
        head.push(std::mem::take(&mut line));
    }
    let Some(first) = head.first().cloned() else { return Ok(()) };
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |name: &str| {
        let found = head.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        found.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let body = body(&mut from, header("content-length"), header("transfer-encoding").is_some())?;
    let request = {
        let mut log = state.log.lock().unwrap();
        let puts = log.iter().filter(|request| request.is_put()).count();
        let request = Request { method, path, authorization: header("authorization"), puts, bytes: body.len() };
        log.push(request.clone());
        request
    };
    let rule = state.rule.lock().unwrap().clone();
    let action = rule.map_or(Action::Pass, |rule| rule(&request));
    match action {
        Action::Status(status) => return answer(client, status),
        Action::Reset => return client.shutdown(Shutdown::Both),
        Action::KillBefore => return kill(state, &client),
        Action::Dead => {
            state.dead.store(true, Ordering::SeqCst);
            // Whoever accepts connections has to notice.
            TcpStream::connect(("127.0.0.1", port))?;
            return client.shutdown(Shutdown::Both);
        }
        Action::Instead(body, digest) => return instead(client, request.method == "HEAD", &body, &digest),
        Action::Hang => return from.read(&mut [0]).map(drop),
        Action::InterruptDuring => {
            interrupt(state)?;
            thread::sleep(Duration::from_secs(1));
        }
        Action::Pass | Action::PassThen(_) | Action::PassThenReset | Action::KillAfter | Action::InterruptAfter => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    let skip = ["connection:", "content-length:", "transfer-encoding:", "expect:"];
    let mut text: String =
        head.iter().filter(|line| !skip.iter().any(|name| line.to_ascii_lowercase().starts_with(name))).cloned().collect();
    text.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()));
    server.write_all(text.as_bytes())?;
    server.write_all(&body)?;
    let mut response = Vec::new();
    server.read_to_end(&mut response)?;
    match action {
        Action::KillAfter => kill(state, &client),
        Action::PassThenReset => client.shutdown(Shutdown::Both),
        Action::InterruptAfter => {
            interrupt(state)?;
            (&client).write_all(&response)
        }
        Action::PassThen(then) => {
            then();
            (&client).write_all(&response)
        }
        _ => (&client).write_all(&response),
    }
}

/// The whole body, chunks put together.
fn body(from: &mut BufReader<TcpStream>, length: Option<String>, chunked: bool) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if !chunked {
        let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        from.take(length).read_to_end(&mut body)?;
        return Ok(body);
    }
    loop {
        let mut size = String::new();
        from.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim().split(';').next().unwrap_or("0"), 16).unwrap_or(0);
        let mut chunk = Vec::new();
        from.take(size + 2).read_to_end(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..chunk.len().saturating_sub(2)]);
    }
}

fn answer(mut client: TcpStream, status: u16) -> Result<()> {
    let (code, text) = match status {
        401 => ("UNAUTHORIZED", "401 Unauthorized\r\nWww-Authenticate: Basic realm=\"test\""),
        403 => ("DENIED", "403 Forbidden"),
        405 => ("UNSUPPORTED", "405 Method Not Allowed"),
        429 => ("TOOMANYREQUESTS", "429 Too Many Requests"),
        507 => ("UNKNOWN", "507 Insufficient Storage"),
        _ => ("UNKNOWN", "500 Internal Server Error"),
    };
    let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"injected\"}}]}}");
    let head = "Content-Type: application/json\r\nConnection: close\r\nDocker-Distribution-Api-Version: registry/2.0";
    write!(client, "HTTP/1.1 {text}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A manifest, or a list of tags, of our own.
fn instead(mut client: TcpStream, is_head: bool, body: &[u8], digest: &str) -> Result<()> {
    let head = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\nConnection: close";
    let length = body.len();
    write!(client, "HTTP/1.1 200 OK\r\n{head}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: {length}\r\n\r\n")?;
    if is_head { Ok(()) } else { client.write_all(body) }
}

fn kill(state: &Shared, client: &TcpStream) -> Result<()> {
    // A lost machine takes the tool along that made the request; it would try again.
    let pid = state.client.load(Ordering::SeqCst).to_string();
    let children = Command::new("pgrep").args(["-P", &pid]).output()?.stdout;
    let children = String::from_utf8_lossy(&children).into_owned();
    Command::new("kill").arg("-9").arg(&pid).args(children.split_whitespace()).status()?;
    client.shutdown(Shutdown::Both)
}

/// Ctrl-C reaches the tool alone: its children are in process groups of their own.
fn interrupt(state: &Shared) -> Result<()> {
    let pid = state.client.load(Ordering::SeqCst).to_string();
    Command::new("kill").args(["-INT", &pid]).status().map(drop)
}
