//! Nodes of `[builders]`: BuildKit daemons elsewhere, put together as one buildx builder.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Result;
use camino::Utf8PathBuf;

use super::container::short;
use super::spread::suffix;
use super::{Place, certificate, remove, write};
use crate::config::Env;
use crate::config::types;
use crate::credentials;
use crate::docker;
use crate::error::Fault;

/// How the name of the builder of daemons ends.
pub const END: &str = "-remote";
/// How long a daemon may take to accept a connection.
const DIAL: Duration = Duration::from_secs(5);

/// A daemon, and the platforms that are built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub platforms: Vec<String>,
    pub address: String,
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
}

/// The nodes that build some of `platforms`; two platforms with the same daemon are one node.
pub fn nodes(builders: &BTreeMap<String, types::Builder>, platforms: &[String]) -> Vec<Remote> {
    let mut nodes: Vec<Remote> = Vec::new();
    for (platform, builder) in builders.iter().filter(|(platform, _)| platforms.contains(platform)) {
        let types::Builder { address: Some(address), ca, cert, key, .. } = builder.clone() else { continue };
        let new = Remote { platforms: vec![platform.clone()], address, ca, cert, key };
        let same = |old: &&mut Remote| {
            Remote { platforms: Vec::new(), ..(*old).clone() } == Remote { platforms: Vec::new(), ..new.clone() }
        };
        match nodes.iter_mut().find(same) {
            Some(old) => old.platforms.push(platform.clone()),
            None => nodes.push(new),
        }
    }
    nodes
}

impl Remote {
    /// `linux/arm64 at tcp://…`
    pub fn title(&self) -> String {
        format!("{} at {}", self.platforms.join(", "), self.address)
    }

    /// Why nothing listens at its address; `None`: something does, or that can't be told from here.
    pub fn dial(&self) -> Option<String> {
        let address = self.address.strip_prefix("tcp://")?;
        let Some(found) = address.to_socket_addrs().ok().and_then(|mut found| found.next()) else {
            return Some("there is no such host".into());
        };
        let error = TcpStream::connect_timeout(&found, DIAL).err()?;
        Some(match error.kind() {
            ErrorKind::ConnectionRefused => "connection refused".into(),
            ErrorKind::TimedOut => format!("no answer within {}", humantime::format_duration(DIAL)),
            _ => error.to_string(),
        })
    }

    fn node(&self, place: &Place<'_>) -> Result<docker::Node> {
        let mut options = Vec::new();
        for (option, key, text) in [("cacert", "ca", &self.ca), ("cert", "cert", &self.cert), ("key", "key", &self.key)] {
            let Some(text) = text else { continue };
            let file = format!("{}-{key}.pem", suffix(&self.platforms));
            options.push(format!("{option}={}", self.file(place, key, text, &file)?));
        }
        let name = format!("{}-{}-{}", place.name(), suffix(&self.platforms), short(&[&self.address, &options.join("\n")]));
        Ok(docker::Node {
            name,
            platforms: self.platforms.clone(),
            options,
            endpoint: Some(self.address.clone()),
            kubeconfig: None,
        })
    }

    /// The path of a file of `[builders]`: in the repository, or what a variable says, which may be the text itself.
    fn file(&self, place: &Place<'_>, key: &str, text: &str, name: &str) -> Result<Utf8PathBuf> {
        let of = || format!("`{key}` of the builder of {}", self.platforms.join(", "));
        let value = match variable(text) {
            None => text.to_owned(),
            Some(variable) => value(place.env, variable).ok_or_else(|| {
                Fault::not_ready(format!("cannot use {}: ${{{variable}}} is not set", of()))
                    .hint(format!("export {variable}=…, the file's path or its text"))
            })?,
        };
        if value.trim_start().starts_with("-----BEGIN ") {
            let folder = credentials::secrets(place.env, place.repo)?.join("builders");
            write(place, &folder, name, &value)?;
            return good(place, folder.join(name), &of());
        }
        let path = place.repo.join(value);
        std::fs::metadata(&path).map_err(|error| Fault::not_ready(format!("cannot read {path}, {}: {error}", of())))?;
        good(place, path, &of())
    }
}

/// The path, unless it is that of a certificate that has expired.
fn good(place: &Place<'_>, path: Utf8PathBuf, what: &str) -> Result<Utf8PathBuf> {
    match certificate::expired(place.runner, &path) {
        Some(since) => Err(Fault::not_ready(format!("cannot use {path}, {what}: it has expired, on {since}")).into()),
        None => Ok(path),
    }
}

/// The name in `${NAME}`, where a text is that alone.
pub fn variable(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}')
}

fn value(env: &Env, name: &str) -> Option<String> {
    env.get(name).filter(|value| !value.is_empty()).cloned()
}

/// Makes the builder of these nodes where it is not what they say; its name, and whether that was only printed.
///
/// `local`: (our container, what it builds).
pub fn ensure(place: &Place<'_>, remotes: &[Remote], local: Option<(&str, &[String])>) -> Result<(String, bool)> {
    let builder = format!("{}{END}", place.name());
    let mut nodes = remotes.iter().map(|remote| remote.node(place)).collect::<Result<Vec<_>>>()?;
    nodes.extend(local.map(|(container, platforms)| docker::Node {
        name: format!("{container}-local"),
        platforms: platforms.to_vec(),
        endpoint: Some(format!("docker-container://{}", docker::builder_container(container))),
        ..docker::Node::default()
    }));
    let found = place.found(&builder)?;
    let mut is_printed = false;
    let names = found.iter().flat_map(|found| &found.nodes).map(|node| &node.name);
    if !names.eq(nodes.iter().map(|node| &node.name)) {
        remove(place, &builder, found.is_some())?;
        for (at, node) in nodes.iter().enumerate() {
            let create = docker::create_builder(&builder, "remote", node, None, at > 0);
            let exit = place.runner.output(&create)?;
            place.runner.check(&create, &exit)?;
            is_printed |= exit.skipped;
        }
    }
    Ok((builder, is_printed))
}

/// (what an error of gRPC has, what that means)
const CAUSES: [(&str, &str); 8] = [
    ("expired certificate", "it refuses our certificate, which has expired"),
    ("has expired or is not yet valid", "its certificate has expired or is not valid yet"),
    ("unknown certificate authority", "it refuses our certificate, which its authority did not sign"),
    ("signed by unknown authority", "its certificate is not signed by the authority in `ca`"),
    ("bad certificate", "it refuses our certificate"),
    ("certificate required", "it wants a certificate: `cert` and `key`"),
    ("reading server preface: EOF", "it ends the connection: does it want TLS (`ca`, `cert`, `key`)?"),
    ("first record does not look like a TLS handshake", "it does not speak TLS"),
];
/// After so many attempts we don't wait for one that fails with a known error: which one it is depends on who is quicker.
const ATTEMPTS: usize = 8;

/// Why a daemon can't be used, from what gRPC said of its attempts; `None`: that can't be told yet.
pub fn cause(said: &str) -> Option<String> {
    let errors: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once("Err: ")?.1.trim())).collect();
    let known = |error: &&str| CAUSES.iter().find(|(text, _)| error.contains(text));
    if let Some((_, cause)) = errors.iter().find_map(known) {
        return Some((*cause).to_owned());
    }
    // What is wrong with our own files stays wrong.
    let last = errors.last().filter(|last| errors.len() >= ATTEMPTS || last.contains("loading tls config"))?;
    let plain = last.rsplit("desc = ").next().unwrap_or(last).trim_matches('"');
    let plain = plain.trim_start_matches("transport: ").trim_start_matches("Error while dialing: ");
    Some(plain.trim_start_matches("error loading tls config: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(address: &str) -> types::Builder {
        types::Builder { address: Some(address.into()), ..types::Builder::default() }
    }

    #[test]
    fn platforms_of_one_daemon_are_one_node() {
        let builders = BTreeMap::from([
            ("linux/amd64".to_owned(), builder("tcp://a:1")),
            ("linux/arm/v7".to_owned(), builder("tcp://b:1")),
            ("linux/arm64".to_owned(), builder("tcp://b:1")),
            ("linux/s390x".to_owned(), builder("tcp://c:1")),
        ]);
        let wanted = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386"].map(str::to_owned);
        let titles: Vec<String> = nodes(&builders, &wanted).iter().map(Remote::title).collect();
        assert_eq!(titles, ["linux/amd64 at tcp://a:1", "linux/arm/v7, linux/arm64 at tcp://b:1"]);
    }

    #[test]
    fn why_a_daemon_cannot_be_used() {
        let dialing = |text: &str| {
            format!(
                "WARNING: [core] grpc: failed to connect to {{x}}. Err: connection error: desc = \"transport: Error while dialing: {text}\"\n#1 ERROR"
            )
        };
        for (said, cause) in [
            (
                "Err: connection error: desc = \"error reading server preface: remote error: tls: expired certificate\"".into(),
                "it refuses our certificate, which has expired",
            ),
            (
                dialing("error loading tls config: could not read certificate/key: tls: private key does not match public key"),
                "could not read certificate/key: tls: private key does not match public key",
            ),
        ] {
            assert_eq!(super::cause(&said).as_deref(), Some(cause));
        }
        assert_eq!(super::cause("#1 ERROR: context deadline exceeded"), None);
        let pipe = "Err: write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe\n";
        assert_eq!(super::cause(pipe), None, "the next attempt may tell more");
        assert!(super::cause(&pipe.repeat(ATTEMPTS)).is_some());
    }

    #[test]
    fn nothing_listens_where_nobody_is() {
        let at = |address: String| Remote { platforms: Vec::new(), address, ca: None, cert: None, key: None }.dial();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        assert_eq!(at(address.clone()), None);
        drop(listener);
        assert_eq!(at(address).as_deref(), Some("connection refused"));
        assert_eq!(at("tcp://host.invalid:1".into()).as_deref(), Some("there is no such host"));
        assert_eq!(at("unix:///run/x".into()), None);
    }

    #[test]
    fn a_variable_stands_alone() {
        assert_eq!((variable("${A}"), variable("a.pem"), variable("${A}/b")), (Some("A"), None, None));
    }
}
