//! `docker buildx` for builders: making, asking, removing them, and joining what several built.

use std::time::Duration;

use camino::Utf8Path;

use super::{ANSWER, CHORE, csv};
use crate::cmd::{Cmd, Effect};

/// The BuildKit that our builder containers run; its digest is looked up when a builder is made, and kept in it.
pub const BUILDKIT: (&str, &str) = ("moby/buildkit", "v0.25.2");
/// What the names of our builders begin with.
pub const PREFIX: &str = "slipway-";
/// What the names of those in Kubernetes end with.
pub const IN_CLUSTERS: &str = "-kube";
/// The `docker-container` driver puts this before the name of a node.
const CONTAINER: &str = "buildx_buildkit_";

/// Pulling the image of a builder and starting it.
const BOOT: Duration = Duration::from_secs(300);

/// A node of a builder that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Empty: what the node says itself.
    pub platforms: Vec<String>,
    /// `NAME=VALUE` of `--driver-opt`.
    pub options: Vec<String>,
    /// `tcp://…`; none: the engine that the client talks to.
    pub endpoint: Option<String>,
    /// For the driver `kubernetes`, which takes no endpoint but keeps the path of the file, and uses its current context; "": what
    /// a pod has.
    pub kubeconfig: Option<String>,
}

/// Makes a builder with its first node, or appends a node to it.
pub fn create_builder(builder: &str, driver: &str, node: &Node, config: Option<&Utf8Path>, append: bool) -> Cmd {
    let mut cmd = Cmd::change("docker", format!("make the builder {builder}")).args(["buildx", "create"]);
    if let Some(file) = &node.kubeconfig {
        cmd = cmd.env("KUBECONFIG", file);
    }
    if append {
        cmd = cmd.arg("--append");
    }
    cmd = cmd.args(["--name", builder, "--node", &node.name, "--driver", driver]);
    if !node.platforms.is_empty() {
        cmd = cmd.arg("--platform").arg(node.platforms.join(","));
    }
    for option in &node.options {
        cmd = cmd.arg("--driver-opt").arg(csv(option));
    }
    if let Some(config) = config {
        cmd = cmd.args(["--buildkitd-config", config.as_str()]);
    }
    cmd.args(node.endpoint.clone()).timeout(CHORE)
}

/// What buildx knows of a builder; exit code 1 if there is none of that name. `None`: the one it takes by itself.
pub fn inspect_builder(builder: Option<&str>) -> Cmd {
    let what = builder.map_or_else(|| "the current builder".to_owned(), |name| format!("the builder {name}"));
    Cmd::probe("docker", format!("look at {what}")).args(["buildx", "inspect"]).args(builder).timeout(CHORE)
}

/// Starts a builder that does not run. buildx itself only says that it waited; gRPC says what for.
pub fn boot_builder(effect: Effect, builder: &str) -> Cmd {
    let cmd = Cmd::probe("docker", format!("start the builder {builder}")).args(["buildx", "inspect", "--bootstrap", builder]);
    Cmd { effect, ..cmd.env("GRPC_GO_LOG_SEVERITY_LEVEL", "warning").timeout(BOOT) }
}

/// Forgets a builder; a container of it goes with its cache.
pub fn remove_builder(builder: &str) -> Cmd {
    Cmd::cleanup("docker", format!("remove the builder {builder}")).args(["buildx", "rm", "--force", builder]).timeout(CHORE)
}

/// A JSON object a line for each builder that buildx knows.
pub fn builders() -> Cmd {
    Cmd::probe("docker", "list the builders").args(["buildx", "ls", "--format", "json"]).timeout(CHORE)
}

/// A JSON object a line for each record in the cache of a builder.
pub fn disk_usage(builder: &str) -> Cmd {
    let cmd = Cmd::probe("docker", format!("read the cache of the builder {builder}"));
    cmd.args(["buildx", "du", "--builder", builder, "--format", "json"]).timeout(CHORE)
}

/// Empties the cache of a builder, but for what a build is using.
pub fn prune_builder(builder: &str) -> Cmd {
    let cmd = Cmd::change("docker", format!("empty the cache of the builder {builder}"));
    cmd.args(["buildx", "prune", "--builder", builder, "--all", "--force"]).timeout(BOOT)
}

/// The container in which a node of ours runs.
pub fn builder_container(node: &str) -> String {
    format!("{CONTAINER}{node}")
}

/// Ids of the containers of our builders, of all checkouts.
pub fn builder_containers() -> Cmd {
    let filter = format!("name=^/{CONTAINER}{PREFIX}");
    Cmd::probe("docker", "find our builders").args(["ps", "--all", "--quiet", "--filter", &filter]).timeout(ANSWER)
}

/// Volumes of our builders, which hold their caches.
pub fn builder_volumes() -> Cmd {
    let filter = format!("name=^{CONTAINER}{PREFIX}");
    Cmd::probe("docker", "find the caches of our builders").args(["volume", "ls", "--quiet", "--filter", &filter]).timeout(ANSWER)
}

pub fn remove_volumes(names: &[String]) -> Cmd {
    Cmd::cleanup("docker", "remove the caches of our builders").args(["volume", "rm", "--force"]).args(names).timeout(CHORE)
}

/// One index of images that are in the registry, under a tag: with these alone, and nothing of their provenance.
pub fn imagetools_join(sources: &[String], tag: &str) -> Cmd {
    let cmd = Cmd::change("docker", format!("join {} platforms as {tag}", sources.len()));
    cmd.args(["buildx", "imagetools", "create", "--tag", tag]).args(sources).timeout(CHORE)
}

/// What [`inspect_builder`] printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub driver: String,
    pub nodes: Vec<FoundNode>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNode {
    pub name: String,
    /// `running`, `inactive`, `stopped`.
    pub status: String,
    pub error: String,
}

/// A builder of ours, as [`builders`] prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    pub name: String,
    pub driver: String,
    /// (endpoint, status, image of the container)
    pub nodes: Vec<(String, String, Option<String>)>,
}

pub fn ours(stdout: &str) -> Vec<Ours> {
    let lines = stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let node = |node: &serde_json::Value| {
        (text(&node["Endpoint"]), text(&node["Status"]), node["DriverOpts"]["image"].as_str().map(str::to_owned))
    };
    let ours = |line: serde_json::Value| Ours {
        name: text(&line["Name"]),
        driver: text(&line["Driver"]),
        nodes: line["Nodes"].as_array().into_iter().flatten().map(node).collect(),
    };
    lines.map(ours).filter(|ours| ours.name.starts_with(PREFIX)).collect()
}

pub fn found(stdout: &str) -> Found {
    let mut found = Found::default();
    let mut in_nodes = false;
    for line in stdout.lines().take_while(|line| !line.starts_with("File#")) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match (key, found.nodes.last_mut()) {
            ("Nodes", _) => in_nodes = true,
            ("Name", None) if !in_nodes => found.name = value.to_owned(),
            ("Driver", None) => found.driver = value.to_owned(),
            ("Name", _) if in_nodes => found.nodes.push(FoundNode { name: value.to_owned(), ..FoundNode::default() }),
            ("Status", Some(node)) => node.status = value.to_owned(),
            ("Error", Some(node)) => node.error = value.to_owned(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_text() {
        let node = Node {
            name: "slipway-a-1".into(),
            platforms: vec!["linux/arm64".into()],
            options: vec!["cacert=/c/a,b.pem".into(), "cert=/c.pem".into()],
            endpoint: Some("tcp://arm:1".into()),
            kubeconfig: None,
        };
        let own = Node { name: "n".into(), options: vec!["network=host".into()], ..Node::default() };
        let options = vec!["nodeselector=a=b,c=d".into(), "replicas=2".into()];
        let pods = Node { name: "p".into(), options, kubeconfig: Some("/k".into()), ..Node::default() };
        let lines = [
            create_builder("b", "kubernetes", &pods, Some("/b.toml".into()), true).to_string(),
            create_builder("b", "remote", &node, None, true).to_string(),
            create_builder("b", "docker-container", &own, Some("/b.toml".into()), false).to_string(),
            inspect_builder(Some("b")).to_string(),
            boot_builder(Effect::Probe, "b").to_string(),
            remove_builder("b").to_string(),
            builder_containers().to_string(),
            imagetools_join(&["r/a@sha256:1".into(), "r/a@sha256:2".into()], "r/a:t").to_string(),
        ];
        let golden = [
            "KUBECONFIG=/k docker buildx create --append --name b --node p --driver kubernetes --driver-opt '\"nodeselector=a=b,c=d\"' --driver-opt 'replicas=2' --buildkitd-config /b.toml",
            "docker buildx create --append --name b --node slipway-a-1 --driver remote --platform linux/arm64 --driver-opt '\"cacert=/c/a,b.pem\"' --driver-opt 'cert=/c.pem' tcp://arm:1",
            "docker buildx create --name b --node n --driver docker-container --driver-opt 'network=host' --buildkitd-config /b.toml",
            "docker buildx inspect b",
            "GRPC_GO_LOG_SEVERITY_LEVEL=warning docker buildx inspect --bootstrap b",
            "docker buildx rm --force b",
            "docker ps --all --quiet --filter 'name=^/buildx_buildkit_slipway-'",
            "docker buildx imagetools create --tag r/a:t r/a@sha256:1 r/a@sha256:2",
        ];
        for (line, golden) in lines.iter().zip(golden) {
            assert_eq!(line, golden);
        }
    }

    #[test]
    fn ours_are_known_by_their_names() {
        let lines = r#"{"Name":"default","Driver":"docker","Nodes":[]}
{"Name":"slipway-a","Driver":"docker-container","Nodes":[{"Endpoint":"unix:///s","Status":"running","DriverOpts":{"image":"moby/buildkit@sha256:1"}}]}"#;
        let node = ("unix:///s".to_owned(), "running".to_owned(), Some("moby/buildkit@sha256:1".to_owned()));
        assert_eq!(ours(lines), [Ours { name: "slipway-a".into(), driver: "docker-container".into(), nodes: vec![node] }]);
    }

    #[test]
    fn what_buildx_says_of_a_builder() {
        let text = "Name:          b\nDriver:        remote\nLast Activity: 2026-01-01 00:00:00 +0000 UTC\n\nNodes:\n\
                    Name:           b-amd\nEndpoint:       tcp://127.0.0.1:1\nStatus:         running\n\n\
                    Name:           b-arm\nEndpoint:       tcp://127.0.0.1:2\nError:          no route\n\
                    File#buildkitd.toml:\n > Name: x\n";
        let node =
            |name: &str, status: &str, error: &str| FoundNode { name: name.into(), status: status.into(), error: error.into() };
        let nodes = vec![node("b-amd", "running", ""), node("b-arm", "", "no route")];
        assert_eq!(found(text), Found { name: "b".into(), driver: "remote".into(), nodes });
    }
}
