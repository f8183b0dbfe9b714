//! BuildKit daemons over TCP on loopback, with certificates of an authority of their own; all of it ends with the test.

use std::net::TcpListener;
use std::process::Command;

use crate::clone::Ran;
use crate::tiny::Tiny;

/// A daemon, in a container of the test's engine.
pub struct Node {
    name: String,
    pub port: u16,
}

/// Certificates in `certs/` of a tiny repository, and the daemons that accept them.
pub struct Farm<'a> {
    tiny: &'a Tiny,
    pub nodes: Vec<Node>,
}

/// `openssl ca`, because only that can make a certificate that has expired already.
const AUTHORITY: &str = "[ca]
default_ca = d
[d]
database = index
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca-key.pem
default_md = sha256
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
";

impl<'a> Farm<'a> {
    pub fn new(tiny: &'a Tiny, nodes: usize) -> Farm<'a> {
        let up: Ran = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["sandbox", "up", "--buildkit"]).output().unwrap().into();
        up.expect(0);
        for (path, text) in [("ca.cnf", AUTHORITY), ("index", ""), ("serial", "01\n")] {
            tiny.write(&format!("certs/{path}"), text);
        }
        let mirror = tiny.upstream.replace("localhost", "127.0.0.1");
        tiny.write("certs/buildkitd.toml", &format!("[registry.\"docker.io\"]\nmirrors = [\"{mirror}\"]\n"));
        let mut farm = Farm { tiny, nodes: Vec::new() };
        farm.shell("openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=authority -keyout ca-key.pem -out ca.pem");
        farm.certificate("server", "20991231235959Z");
        farm.certificate("client", "20991231235959Z");
        let unique = tiny.namespace.replace(['/', '.'], "-");
        for at in 0..nodes {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            farm.nodes.push(Node { name: format!("slipway-{unique}-node{at}"), port });
            farm.run(at);
        }
        farm
    }

    fn shell(&self, line: &str) {
        let script = format!("cd certs && {line}");
        let ran: Ran = Command::new("sh").args(["-ec", &script]).current_dir(self.tiny.path()).output().unwrap().into();
        ran.expect(0);
    }

    /// `NAME.pem` and `NAME-key.pem`, for loopback, good until `end`.
    pub fn certificate(&self, name: &str, end: &str) {
        self.shell(&format!(
            "openssl req -newkey rsa:2048 -nodes -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 \
             -keyout {name}-key.pem -out {name}.csr && \
             openssl ca -batch -notext -config ca.cnf -in {name}.csr -out {name}.pem -startdate 200101000000Z -enddate {end}"
        ));
    }

    fn run(&self, at: usize) {
        let Node { name, port } = &self.nodes[at];
        let certs = self.tiny.path().join("certs");
        self.tiny
            .engine(&format!(
                "docker run --detach --privileged --network host --name {name} --volume /var/lib/buildkit \
                 --volume {}:/certs:ro moby/buildkit:v0.25.2 --config /certs/buildkitd.toml --addr tcp://127.0.0.1:{port} \
                 --tlscacert /certs/ca.pem --tlscert /certs/server.pem --tlskey /certs/server-key.pem",
                certs.display()
            ))
            .expect(0);
        self.wait(at);
    }

    /// Ends a daemon at once; asked to end it would first finish its builds.
    pub fn stop(&self, at: usize) {
        self.tiny.engine(&format!("docker kill {0} && docker wait {0}", self.nodes[at].name)).expect(0);
    }

    /// Starts one that was stopped.
    pub fn start(&self, at: usize) {
        self.tiny.engine(&format!("docker start {}", self.nodes[at].name)).expect(0);
        self.wait(at);
    }

    fn wait(&self, at: usize) {
        let listens = || std::net::TcpStream::connect(("127.0.0.1", self.nodes[at].port)).is_ok();
        let there = (0..100).any(|_| {
            listens() || {
                std::thread::sleep(std::time::Duration::from_millis(100));
                false
            }
        });
        assert!(there, "{}", self.tiny.engine(&format!("docker logs {} 2>&1", self.nodes[at].name)).stdout);
    }

    /// `[builders]`: (platform, number of its node), all with the certificate of `client`.
    pub fn table(&self, of: &[(&str, usize)], client: &str) -> String {
        let line = |(platform, at): &(&str, usize)| {
            let port = self.nodes[*at].port;
            let files = format!("ca = \"certs/ca.pem\", cert = \"certs/{client}.pem\", key = \"certs/{client}-key.pem\"");
            format!("\"{platform}\" = {{ address = \"tcp://127.0.0.1:{port}\", {files} }}\n")
        };
        format!("[builders]\n{}", of.iter().map(line).collect::<String>())
    }

    /// A builder of buildx's own for each node; their names.
    pub fn builders(&self) -> Vec<String> {
        let certs = self.tiny.path().join("certs");
        let keys = [("cacert", "ca"), ("cert", "client"), ("key", "client-key")];
        let options = keys.map(|(option, file)| format!("--driver-opt {option}={}/{file}.pem", certs.display())).join(" ");
        let create = |Node { name, port }: &Node| {
            let line = format!("docker buildx create --name {name} --driver remote {options} tcp://127.0.0.1:{port}");
            self.tiny.engine(&line).expect(0);
            name.clone()
        };
        self.nodes.iter().map(create).collect()
    }

    /// How the run names a node.
    pub fn title(&self, platform: &str, at: usize) -> String {
        format!("{platform} at tcp://127.0.0.1:{}", self.nodes[at].port)
    }
}

impl Drop for Farm<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            self.tiny.engine(&format!("docker buildx rm --force {}", node.name));
            self.tiny.engine(&format!("docker rm --force --volumes {}", node.name));
        }
    }
}

/// The builders that runs in a repository make; gone when dropped.
pub struct Made<'a> {
    tiny: &'a Tiny,
    pub name: String,
}

impl<'a> Made<'a> {
    pub fn by(tiny: &'a Tiny) -> Made<'a> {
        Made { tiny, name: format!("slipway-{}", tiny.short()) }
    }

    /// The next run makes it anew, with nothing in it.
    pub fn remove(&self) {
        self.tiny.engine(&format!("docker buildx rm --force {}", self.name)).expect(0);
    }

    pub fn container(&self) -> String {
        let found = self.tiny.engine(&format!("docker ps --quiet --filter name=buildx_buildkit_{}", self.name));
        found.stdout.trim().to_owned()
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for name in [format!("{}-kube", self.name), format!("{}-remote", self.name), self.name.clone()] {
            self.tiny.engine(&format!("docker buildx rm --force {name}"));
        }
        // Keys and contexts of its nodes; most tests have none.
        let _none = std::fs::remove_dir_all(self.tiny.secrets());
    }
}
