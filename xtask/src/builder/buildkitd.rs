//! `buildkitd.toml` of the builder that we make: what the engine knows of registries, told to BuildKit. Pure.
//!
//! <https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md>

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::Value;

/// What is special about a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// `HOST[:PORT]`, asked before the registry itself.
    pub mirrors: Vec<String>,
    /// Without TLS.
    pub http: bool,
    /// With a certificate that nobody has to have signed.
    pub insecure: bool,
    /// Files with certificates of authorities.
    pub ca: Vec<Utf8PathBuf>,
    /// (key, certificate) of the client.
    pub keypairs: Vec<(Utf8PathBuf, Utf8PathBuf)>,
}

/// Host → what is special about it.
pub type Registries = BTreeMap<String, Registry>;

/// From `docker info`. Those on loopback need no word: BuildKit talks to them without TLS as the engine does.
pub fn registries(info: &Value) -> Registries {
    let mut found = Registries::new();
    let config = &info["RegistryConfig"];
    for (host, index) in config["IndexConfigs"].as_object().into_iter().flatten() {
        let mirrors = index["Mirrors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for mirror in mirrors {
            let (scheme, rest) = mirror.split_once("://").unwrap_or(("https", mirror));
            let rest = rest.trim_end_matches('/');
            found.entry(host.clone()).or_default().mirrors.push(rest.to_owned());
            if scheme == "http" {
                found.entry(host_of(rest)).or_default().http = true;
            }
        }
        if index["Secure"] == false && !is_loopback(host) {
            // Both: first TLS that proves nothing, then none, which is what the engine tries.
            let registry = found.entry(host.clone()).or_default();
            (registry.insecure, registry.http) = (true, true);
        }
    }
    found
}

/// Whether one of them, or of `more`, can be reached from this machine's own network only.
pub fn needs_host_network(registries: &Registries, more: &[String]) -> bool {
    let mirrors = registries.values().flat_map(|registry| &registry.mirrors);
    registries.keys().chain(mirrors).chain(more).any(|host| is_loopback(host))
}

/// What of it is true elsewhere too: not what is on loopback of this machine.
pub fn elsewhere(mut registries: Registries) -> Registries {
    registries.retain(|host, _| !is_loopback(host));
    for registry in registries.values_mut() {
        registry.mirrors.retain(|mirror| !is_loopback(mirror));
    }
    registries.retain(|_, registry| *registry != Registry::default());
    registries
}

pub fn text(registries: &Registries) -> String {
    let mut text = "# Made by Slipway from what the engine says of its registries.\n".to_owned();
    let quoted = |value: &str| Value::from(value).to_string();
    for (host, registry) in registries {
        text.push_str(&format!("\n[registry.{}]\n", quoted(host)));
        let list = |values: Vec<String>| values.join(", ");
        if !registry.mirrors.is_empty() {
            text.push_str(&format!("mirrors = [{}]\n", list(registry.mirrors.iter().map(|mirror| quoted(mirror)).collect())));
        }
        for (key, _) in [("http", registry.http), ("insecure", registry.insecure)].iter().filter(|(_, is)| *is) {
            text.push_str(&format!("{key} = true\n"));
        }
        if !registry.ca.is_empty() {
            text.push_str(&format!("ca = [{}]\n", list(registry.ca.iter().map(|path| quoted(path.as_str())).collect())));
        }
        for (key, cert) in &registry.keypairs {
            let (key, cert) = (quoted(key.as_str()), quoted(cert.as_str()));
            text.push_str(&format!("[[registry.{}.keypair]]\nkey = {key}\ncert = {cert}\n", quoted(host)));
        }
    }
    text
}

fn host_of(address: &str) -> String {
    address.split('/').next().unwrap_or(address).to_owned()
}

/// Whether a registry can be reached from this machine's own network only.
pub fn is_loopback(host: &str) -> bool {
    let host = host.split('/').next().unwrap_or(host);
    let name = if host.starts_with('[') { host.split(']').next() } else { host.split(':').next() }.unwrap_or(host);
    name == "localhost" || name.starts_with("127.") || name == "[::1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_knows_buildkit_is_told() {
        let info = serde_json::json!({ "RegistryConfig": { "InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {
            "docker.io": { "Mirrors": ["http://127.0.0.1:5000/", "https://mirror.example/hub"], "Secure": true },
            "old.example:5000": { "Mirrors": null, "Secure": false },
        } } });
        let mut found = registries(&info);
        found.entry("r.example".into()).or_default().ca.push("/etc/docker/certs.d/r.example/ca.crt".into());
        found.entry("r.example".into()).or_default().keypairs.push(("/k".into(), "/c".into()));
        assert!(needs_host_network(&found, &[]));
        let golden = r#"# Made by Slipway from what the engine says of its registries.

[registry."127.0.0.1:5000"]
http = true

[registry."docker.io"]
mirrors = ["127.0.0.1:5000", "mirror.example/hub"]

[registry."old.example:5000"]
http = true
insecure = true

[registry."r.example"]
ca = ["/etc/docker/certs.d/r.example/ca.crt"]
[[registry."r.example".keypair]]
key = "/k"
cert = "/c"
"#;
        let there = elsewhere(found.clone());
        assert_eq!(there["docker.io"].mirrors, ["mirror.example/hub"]);
        assert_eq!(there.len(), found.len() - 1, "127.0.0.1 is another machine there");
        assert_eq!(text(&found), golden);
        toml::from_str::<toml::Table>(golden).unwrap();
    }

    #[test]
    fn an_engine_that_knows_nothing_needs_no_network_of_its_own() {
        assert!(!needs_host_network(&registries(&Value::Null), &["ghcr.io".into()]));
        assert!(needs_host_network(&registries(&Value::Null), &["localhost:5001".into()]));
        for (host, is) in [("localhost:5000", true), ("[::1]:5000", true), ("127.0.0.1", true), ("localhost.example", false)] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }
}
