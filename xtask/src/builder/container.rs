//! A builder in a container of our own, for engines without the containerd image store, or because it was asked for.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::{Place, buildkitd, remove, write};
use crate::cmd::Effect;
use crate::docker::{self, BUILDKIT, Node};
use crate::error::Fault;
use crate::facts::digest;
use crate::{build, report, sandbox};

const DRIVER: &str = "docker-container";
/// Where the engine looks for the certificates of registries, as BuildKit is told them.
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// Its one node, which runs when this returns.
///
/// # Errors
/// Not ready: its image can't be had, or it does not start.
pub fn ensure(place: &Place<'_>, info: &Value) -> Result<String> {
    let builder = place.name();
    let definition = Definition::of(place, info);
    let mut node = definition.node(place, definition.needs_host);
    let found = place.found(&builder)?;
    let is = |name: &str| found.iter().flat_map(|found| &found.nodes).any(|old| old.name == name);
    // One that sees more than it must is good: a run against a registry on loopback costs no cache.
    let wider = definition.node(place, true);
    if is(&wider.name) {
        node = wider;
    }
    let same = is(&node.name);
    if same && found.iter().flat_map(|found| &found.nodes).all(|old| old.status == "running") {
        return Ok(node.name);
    }
    if !same {
        remove(place, &builder, found.is_some())?;
        node.options.insert(0, format!("image={}", image(place, BUILDKIT.1)?));
        let config = place.repo.join(build::FOLDER).join("buildkitd.toml");
        write(place, &place.repo.join(build::FOLDER), "buildkitd.toml", &definition.text)?;
        report::note(&format!("making the builder {builder} ({DRIVER}, BuildKit {})", BUILDKIT.1));
        place.runner.read(&docker::create_builder(&builder, DRIVER, &node, Some(&config), false))?;
    }
    let boot = docker::boot_builder(Effect::Change, &builder);
    let exit = place.runner.output(&boot)?;
    if exit.ok() {
        return Ok(node.name);
    }
    let mut said = exit.stderr.lines().rev().filter_map(|line| Some(line.split_once("ERROR: ")?.1));
    let said = said.next().map_or_else(|| exit.reason(&boot), str::to_owned);
    if !same {
        // The next run begins anew.
        remove(place, &builder, true)?;
    }
    let fault = Fault::not_ready(format!("cannot start the builder {builder}: {said}"));
    Err(fault.hint("`--builder default` builds with the engine's own").into())
}

/// The image of the builder, by the digest that its tag has now. The engine fetches it: it knows mirrors and proxies.
pub fn image(place: &Place<'_>, version: &str) -> Result<String> {
    let name = BUILDKIT.0;
    let reference = format!("docker.io/{name}:{version}");
    if place.private {
        sandbox::buildkit(place.runner)?;
    }
    let pull = docker::pull(&reference, None);
    let pulled = place.runner.output(&pull)?;
    if pulled.skipped {
        return Ok(reference);
    }
    // One that was loaded by hand will do where there is no network.
    let here = docker::images(&place.runner.output(&docker::inspect_images(&[format!("{name}:{version}")]))?.stdout);
    let digest = |image: &docker::Image| {
        let digests = image.facts["RepoDigests"].as_array()?;
        digests.iter().find_map(|pinned| Some(pinned.as_str()?.split_once("@")?.1.to_owned()))
    };
    if let Some(digest) = here.first().and_then(digest) {
        return Ok(format!("docker.io/{name}@{digest}"));
    }
    let said = pulled.stderr.trim().lines().last().map_or_else(|| pulled.reason(&pull), str::to_owned);
    let fault = Fault::not_ready(format!("cannot make a builder: cannot fetch {reference}: {said}"));
    Err(fault.hint("`--builder default` builds with the engine's own, `--builder NAME` with one of buildx's").into())
}

/// What the builder is made of.
struct Definition {
    /// `buildkitd.toml`
    text: String,
    options: Vec<String>,
    needs_host: bool,
    /// What it depends on beside these.
    more: Vec<String>,
}

impl Definition {
    fn of(place: &Place<'_>, info: &Value) -> Definition {
        let (registries, mut more) = registries(info);
        more.push(info["ID"].as_str().unwrap_or_default().to_owned());
        // Whoever starts it, it ends with its engine.
        let mut options = vec!["restart-policy=no".to_owned()];
        options.extend(place.private.then(|| format!("cgroup-parent={}", sandbox::CGROUP)));
        options.extend(proxies(info));
        let needs_host = buildkitd::needs_host_network(&registries, &place.registries());
        Definition { text: buildkitd::text(&registries), options, needs_host, more }
    }

    /// The node, whose name says what it is made of.
    fn node(&self, place: &Place<'_>, on_host: bool) -> Node {
        let mut options = self.options.clone();
        options.extend(on_host.then(|| "network=host".to_owned()));
        let made_of = [&self.text, &options.join("\n"), &self.more.join("\n"), BUILDKIT.0, BUILDKIT.1];
        let name = format!("{}-{}", place.name(), short(&made_of));
        Node { name, options, ..Node::default() }
    }
}

/// What the engine knows of registries, with the text of its certificates: they are copied when a builder is made.
pub fn registries(info: &Value) -> (buildkitd::Registries, Vec<String>) {
    let mut registries = buildkitd::registries(info);
    let mut texts = Vec::new();
    for (host, file) in certificates(Utf8Path::new(CERTIFICATES)) {
        let registry = registries.entry(host).or_default();
        texts.push(std::fs::read_to_string(&file).unwrap_or_default());
        match file.extension() {
            Some("cert") => registry.keypairs.push((file.with_extension("key"), file)),
            _ => registry.ca.push(file),
        }
    }
    (registries, texts)
}

/// The proxies of the engine, but for those with a password: options are no place for one.
fn proxies(info: &Value) -> impl Iterator<Item = String> {
    let names = [("HttpProxy", "HTTP_PROXY"), ("HttpsProxy", "HTTPS_PROXY"), ("NoProxy", "NO_PROXY")];
    let proxy = |(field, name): (&str, &str)| {
        let value = info[field].as_str().filter(|value| !value.is_empty() && !value.contains('@'))?;
        Some(format!("env.{name}={value}"))
    };
    names.into_iter().filter_map(proxy).collect::<Vec<_>>().into_iter()
}

/// (host, file) below the engine's folder: `HOST/*.crt` are authorities, `HOST/*.cert` the client's own.
fn certificates(folder: &Utf8Path) -> Vec<(String, Utf8PathBuf)> {
    let list = |folder: &Utf8Path| -> Vec<Utf8PathBuf> {
        folder.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.path().to_owned()).collect()
    };
    let hosts = list(folder).into_iter().filter_map(|host| Some((host.file_name()?.to_owned(), host)));
    let mut found: Vec<(String, Utf8PathBuf)> =
        hosts.flat_map(|(name, host)| list(&host).into_iter().map(move |file| (name.clone(), file))).collect();
    found.retain(|(_, file)| matches!(file.extension(), Some("crt" | "cert")));
    found.sort();
    found
}

/// Eight digits that stand for all of `parts`.
pub fn short(parts: &[&str]) -> String {
    digest(parts)[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_the_engine_by_host() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir_all(folder.join("r.example:5000")).unwrap();
        for name in ["ca.crt", "client.cert", "client.key"] {
            std::fs::write(folder.join("r.example:5000").join(name), "x").unwrap();
        }
        let found = certificates(folder);
        let names: Vec<&str> = found.iter().filter_map(|(_, file)| file.file_name()).collect();
        assert_eq!((names, found[0].0.as_str()), (vec!["ca.crt", "client.cert"], "r.example:5000"));
        assert_eq!(certificates(&folder.join("none")), Vec::new());
    }

    #[test]
    fn proxies_without_passwords() {
        let info = serde_json::json!({ "HttpProxy": "http://p:1", "HttpsProxy": "http://me:pw@p:1", "NoProxy": "a,b" });
        assert_eq!(proxies(&info).collect::<Vec<_>>(), ["env.HTTP_PROXY=http://p:1", "env.NO_PROXY=a,b"]);
    }

    #[test]
    fn another_definition_is_another_name() {
        assert_ne!(short(&["ab", "c"]), short(&["a", "bc"]));
        assert_eq!(short(&["a"]).len(), 8);
    }
}
