//! Every flag of `docker …` is spelled here and nowhere else: pure functions from values to [`Cmd`].
//!
//! The flags are those of the Docker CLI reference, <https://docs.docker.com/reference/cli/docker/>.

mod builders;
pub mod compose;

use std::time::Duration;

use camino::Utf8Path;

pub use builders::*;

use crate::cmd::{Cmd, Effect};

/// How long the engine may take to answer a question about itself.
const ANSWER: Duration = Duration::from_secs(10);
/// What a registry may say of an image: manifests have up to 4 MiB, a table of configurations more.
const ANSWER_BYTES: usize = 32 << 20;
/// How long removing, tagging or reading one object may take; a busy engine is slow, a dead one never answers.
const CHORE: Duration = Duration::from_secs(60);
/// How long an image may take from the engine to a file.
const COPY: Duration = Duration::from_secs(10 * 60);

/// How long an image may take from its registry to the engine.
const PULL: Duration = Duration::from_secs(30 * 60);

/// Label of every container we start; its value names the checkout, so that no other's are ever touched.
pub const LABEL: &str = "dev.slipway.checkout";

/// `docker buildx bake` of a file that goes to stdin; what it tells comes as JSON lines on stderr.
///
/// `metadata` receives the digests, but only if every target succeeds.
pub fn bake(file: &str, repo: &Utf8Path, builder: Option<&str>, metadata: &Utf8Path, why: &str) -> Cmd {
    let mut cmd = Cmd::change("docker", why).args(["buildx", "bake"]);
    if let Some(builder) = builder {
        cmd = cmd.args(["--builder", builder]);
    }
    cmd = cmd.args(["--file", "-", "--progress", "rawjson", "--metadata-file", metadata.as_str()]);
    // With --metadata-file buildx would also fetch a provenance record for each target, which nobody reads.
    cmd.env("BUILDX_METADATA_PROVENANCE", "disabled").dir(repo).stdin(file)
}

/// What the engine says of itself, as JSON.
pub fn info() -> Cmd {
    Cmd::probe("docker", "ask the engine about itself").args(["info", "--format", "{{json .}}"]).timeout(ANSWER)
}

/// The version of the engine that answers.
pub fn server_version() -> Cmd {
    Cmd::probe("docker", "ask the host's Docker").args(["version", "--format", "{{.Server.Version}}"])
}

/// `docker buildx bake` of images that the sandbox serves, from a file on stdin.
pub fn bake_bases(file: &str, targets: impl Iterator<Item = String>, why: &str) -> Cmd {
    let cmd = Cmd::change("docker", why).args(["buildx", "bake", "--progress", "plain", "--file", "-"]);
    cmd.args(targets).stdin(file)
}

pub fn buildx_version() -> Cmd {
    Cmd::probe("docker", "find buildx").args(["buildx", "version"]).timeout(ANSWER)
}

/// One JSON object a line for each image that exists; exit code 1 if any is missing.
pub fn inspect_images(refs: &[String]) -> Cmd {
    Cmd::probe("docker", "look at the images").args(["image", "inspect", "--format", "{{json .}}"]).args(refs).timeout(CHORE)
}

/// The same for one platform of an image; an engine that keeps one only, or is older, fails.
pub fn inspect_platform(image: &str, platform: &str) -> Cmd {
    let cmd = Cmd::probe("docker", format!("look at {image}")).args(["image", "inspect", "--platform", platform]);
    cmd.args(["--format", "{{json .}}", image]).timeout(CHORE)
}

/// A line of [`inspect_images`].
#[derive(Clone, Debug)]
pub struct Image {
    pub facts: serde_json::Value,
}

impl Image {
    pub fn is_called(&self, name: &str) -> bool {
        let tags = self.facts["RepoTags"].as_array().into_iter().flatten();
        tags.filter_map(|tag| tag.as_str()).any(|tag| familiar(tag) == familiar(name))
    }

    pub fn size(&self) -> u64 {
        self.facts["Size"].as_u64().unwrap_or(0)
    }
}

/// What [`inspect_images`] found; images that are missing are left out.
pub fn images(stdout: &str) -> Vec<Image> {
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|facts| Image { facts }).collect()
}

/// Ids of the images of some repositories that a run of ours has built; an id a line, once for each name.
pub fn keyed_images<'a>(repositories: impl Iterator<Item = &'a String>) -> Cmd {
    let cmd = Cmd::probe("docker", "find images of earlier runs").args(["image", "ls", "--quiet", "--no-trunc", "--filter"]);
    let cmd = cmd.arg(format!("label={}", crate::plan::labels::KEY)).timeout(CHORE);
    // The engine looks at the labels of those alone that have one of these names.
    repositories.fold(cmd, |cmd, name| cmd.arg("--filter").arg(format!("reference={name}")))
}

/// Takes names away; an image without a name that nothing runs goes with its last one.
pub fn remove_images(names: &[String]) -> Cmd {
    Cmd::change("docker", "remove images of earlier builds").args(["image", "rm"]).args(names).timeout(CHORE)
}

pub fn tag(image: &str, name: &str) -> Cmd {
    Cmd::change("docker", format!("give {image} its name {name}")).args(["tag", image, name]).timeout(CHORE)
}

/// Fetches an image: one that a builder pushed and the engine did not keep, or one that a check runs in.
pub fn pull(reference: &str, platform: Option<&str>) -> Cmd {
    let cmd = Cmd::change("docker", format!("fetch {reference}")).args(["pull", "--quiet"]);
    let cmd = platform.map_or(cmd.clone(), |platform| cmd.args(["--platform", platform]));
    cmd.arg(reference).timeout(PULL)
}

/// Writes one platform of an image to a file.
pub fn save(image: &str, platform: &str, path: &Utf8Path) -> Cmd {
    let cmd = Cmd::change("docker", format!("take {platform} of {image} out of the engine"));
    cmd.args(["save", "--platform", platform, "--output", path.as_str(), image]).timeout(COPY)
}

/// A container that is about to run a test or a check.
#[derive(Clone, Debug, Default)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// Of several that the image has.
    pub platform: Option<String>,
    /// Value of [`LABEL`].
    pub checkout: String,
    /// (absolute path here, path inside), always read-only.
    pub mounts: Vec<(String, String)>,
    /// A folder on an empty volume that ends with the container.
    pub workspace: Option<String>,
    pub env: Vec<(String, String)>,
    pub workdir: Option<String>,
    pub gpus: bool,
    /// Replaces ENTRYPOINT and CMD; empty: the image as it is.
    pub argv: Vec<String>,
    /// Port inside that gets a free port of the loopback interface here.
    pub port: Option<u16>,
}

/// Runs a container in the foreground; its output is the test's log.
pub fn run(container: &Container, why: &str) -> Cmd {
    // Under an init, because as process 1 a program that does not care about SIGTERM would not even end by it.
    container_args(Cmd::change("docker", why).args(["run", "--init"]), container)
}

/// Starts a container in the background.
pub fn start(container: &Container, why: &str) -> Cmd {
    container_args(Cmd::change("docker", why).args(["run", "--detach"]), container).timeout(CHORE)
}

/// Makes a container that is filled, and started by [`begin`].
pub fn create(container: &Container, why: &str) -> Cmd {
    container_args(Cmd::change("docker", why).arg("create"), container).timeout(CHORE)
}

pub fn begin(container: &str, why: &str) -> Cmd {
    Cmd::change("docker", why).args(["start", container]).timeout(CHORE)
}

/// Ends what runs in a container, which stays.
pub fn stop(container: &str) -> Cmd {
    Cmd::change("docker", format!("stop {container}")).args(["stop", "-t", "0", container]).timeout(CHORE)
}

/// Unpacks an archive at the root of a container, with the owners that it names.
pub fn copy_in(container: &str, archive: &Utf8Path) -> Cmd {
    let cmd = Cmd::change("docker", format!("copy the working tree into {container}"));
    cmd.args(["cp", "-", &format!("{container}:/")]).stdin_file(archive).timeout(COPY)
}

/// Prints an archive of a folder of a container.
pub fn copy_out(container: &str, folder: &str) -> Cmd {
    let cmd = Cmd::change("docker", format!("read what is in {container}"));
    cmd.args(["cp", &format!("{container}:{folder}/."), "-"]).timeout(COPY)
}

fn container_args(mut cmd: Cmd, container: &Container) -> Cmd {
    // What is tested is what was built: an image that is not here is an error, never a download.
    cmd = cmd.args(["--pull", "never", "--name", &container.name, "--label"]).arg(format!("{LABEL}={}", container.checkout));
    if let Some(platform) = &container.platform {
        cmd = cmd.args(["--platform", platform]);
    }
    for (source, target) in &container.mounts {
        let fields = [csv("type=bind"), csv(&format!("source={source}")), csv(&format!("target={target}")), csv("readonly")];
        cmd = cmd.arg("--mount").arg(fields.join(","));
    }
    if let Some(target) = &container.workspace {
        let fields = [csv("type=volume"), csv(&format!("target={target}")), csv("volume-nocopy")];
        cmd = cmd.arg("--mount").arg(fields.join(","));
    }
    for (name, value) in &container.env {
        cmd = cmd.arg("--env").arg(format!("{name}={value}"));
    }
    if let Some(dir) = &container.workdir {
        cmd = cmd.args(["--workdir", dir]);
    }
    if container.gpus {
        cmd = cmd.args(["--gpus", "all"]);
    }
    if let Some(port) = container.port {
        cmd = cmd.arg("--publish").arg(format!("127.0.0.1::{port}"));
    }
    match container.argv.split_first() {
        Some((program, args)) => cmd.args(["--entrypoint", program, &container.image]).args(args),
        None => cmd.arg(&container.image),
    }
}

/// Runs a further program in a container that is up, in its working directory.
pub fn exec(container: &str, argv: &[String], why: &str) -> Cmd {
    Cmd::change("docker", why).args(["exec", container]).args(argv)
}

/// State, health and published ports of a container, as JSON.
pub fn inspect_container(name: &str) -> Cmd {
    let format = r#"{"state":{{json .State}},"ports":{{json .NetworkSettings.Ports}}}"#;
    Cmd::probe("docker", format!("look at {name}")).args(["container", "inspect", "--format", format, name]).timeout(CHORE)
}

/// All that a container has printed. It runs even after Ctrl-C, when the log is wanted most.
pub fn logs(name: &str) -> Cmd {
    Cmd::cleanup("docker", format!("read the log of {name}")).args(["logs", name]).timeout(CHORE)
}

/// Ends and removes containers with their anonymous volumes.
pub fn remove_containers(names: &[String]) -> Cmd {
    Cmd::cleanup("docker", "remove the test's container").args(["rm", "--force", "--volumes"]).args(names).timeout(CHORE)
}

/// Ids of the containers that runs of this checkout, or of any, have started and not removed.
pub fn containers_of(checkout: Option<&str>) -> Cmd {
    let filter = checkout.map_or_else(|| format!("label={LABEL}"), |checkout| format!("label={LABEL}={checkout}"));
    Cmd::probe("docker", "find containers of earlier runs").args(["ps", "--all", "--quiet", "--filter", &filter]).timeout(ANSWER)
}

/// The digest of a reference, as the registry has it.
pub fn imagetools_digest(effect: Effect, reference: &str) -> Cmd {
    imagetools(effect, format!("read {reference}")).args(["inspect", "--format", "{{.Manifest.Digest}}", reference])
}

/// The manifest or index of a reference, as the registry has it.
pub fn imagetools_manifest(effect: Effect, reference: &str) -> Cmd {
    imagetools(effect, format!("read {reference}")).args(["inspect", "--raw", reference])
}

/// The config of a reference as JSON, or a table of them by platform.
pub fn imagetools_image(effect: Effect, reference: &str) -> Cmd {
    imagetools(effect, format!("read {reference}")).args(["inspect", "--format", "{{json .Image}}", reference])
}

/// Points a tag at an image that is already in the registry, its digest kept; with `mark` at an index of its own.
pub fn imagetools_create(effect: Effect, source: &str, tag: &str, mark: Option<&str>) -> Cmd {
    // Without the flag a single manifest is wrapped into an index, which has another digest.
    let why = match mark {
        Some(_) => format!("prepare the removal of {source} at {tag}"),
        None => format!("publish {source} as {tag}"),
    };
    let cmd = imagetools(effect, why).args(["create", "--prefer-index=false", "--tag", tag]);
    let cmd = match mark {
        Some(mark) => cmd.arg("--annotation").arg(format!("index:dev.slipway.removed={mark}")),
        None => cmd,
    };
    cmd.arg(source)
}

fn imagetools(effect: Effect, why: String) -> Cmd {
    Cmd { effect, ..Cmd::probe("docker", why).args(["buildx", "imagetools"]).timeout(CHORE).most(ANSWER_BYTES) }
}

/// `docker login` with the password on stdin.
pub fn login(registry: &str, username: &str, password: &str) -> Cmd {
    let cmd = Cmd::change("docker", format!("log in to {registry} as {username}"));
    cmd.args(["login", "--username", username, "--password-stdin", registry]).stdin(password).timeout(CHORE)
}

/// A field of docker's comma-separated values, quoted where it must be (Go's encoding/csv).
pub fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// The name the engine stores: `docker.io/library/python` is `python`, as
/// `reference.FamiliarString` of github.com/distribution/reference has it.
pub fn familiar(name: &str) -> &str {
    let short = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| name.strip_prefix(hub));
    let Some(short) = short.or_else(|| name.starts_with("library/").then_some(name)) else { return name };
    match short.strip_prefix("library/") {
        Some(rest) if !rest.contains('/') => rest,
        _ => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        Container {
            name: "slipway-test-a-1".into(),
            image: "acme/a:local".into(),
            checkout: "/repo".into(),
            ..Container::default()
        }
    }

    #[test]
    fn commands_as_text() {
        let tested = Container {
            mounts: vec![("/repo/docker/tests".into(), "/tests".into()), ("/repo/a,b".into(), "/c".into())],
            env: vec![("A".into(), "x y".into())],
            workdir: Some("/tests".into()),
            gpus: true,
            argv: vec!["pytest".into(), "-q".into()],
            ..container()
        };
        let served = Container { port: Some(8000), ..container() };
        let checked = Container {
            workspace: Some("/workspace".into()),
            workdir: Some("/workspace".into()),
            argv: vec!["sleep".into(), "300".into()],
            ..container()
        };
        let lines = [
            bake("{}", "/repo".into(), None, "/tmp/m.json".into(), "build a").to_string(),
            bake("{}", "/repo".into(), Some("farm"), "/tmp/m.json".into(), "build a").to_string(),
            inspect_images(&["acme/a:local".into()]).to_string(),
            inspect_platform("acme/a:local", "linux/arm64").to_string(),
            tag("acme/a:local", "acme/a:pr-1").to_string(),
            save("acme/a:local", "linux/arm64", "/tmp/a.tar".into()).to_string(),
            run(&tested, "test a").to_string(),
            start(&served, "test a").to_string(),
            create(&checked, "check a").to_string(),
            copy_in("slipway-test-a-1", "/tmp/a.tar".into()).to_string(),
            copy_out("slipway-test-a-1", "/workspace").to_string(),
            exec("slipway-test-a-1", &["pytest".into(), "-q".into()], "check a").to_string(),
            remove_containers(&["slipway-test-a-1".into()]).to_string(),
            containers_of(Some("/repo")).to_string(),
        ];
        let golden = [
            "cd /repo && BUILDX_METADATA_PROVENANCE=disabled docker buildx bake --file - --progress rawjson --metadata-file /tmp/m.json",
            "cd /repo && BUILDX_METADATA_PROVENANCE=disabled docker buildx bake --builder farm --file - --progress rawjson --metadata-file /tmp/m.json",
            "docker image inspect --format '{{json .}}' acme/a:local",
            "docker image inspect --platform linux/arm64 --format '{{json .}}' acme/a:local",
            "docker tag acme/a:local acme/a:pr-1",
            "docker save --platform linux/arm64 --output /tmp/a.tar acme/a:local",
            r#"docker run --init --pull never --name slipway-test-a-1 --label 'dev.slipway.checkout=/repo' --mount 'type=bind,source=/repo/docker/tests,target=/tests,readonly' --mount 'type=bind,"source=/repo/a,b",target=/c,readonly' --env 'A=x y' --workdir /tests --gpus all --entrypoint pytest acme/a:local -q"#,
            "docker run --detach --pull never --name slipway-test-a-1 --label 'dev.slipway.checkout=/repo' --publish 127.0.0.1::8000 acme/a:local",
            "docker create --pull never --name slipway-test-a-1 --label 'dev.slipway.checkout=/repo' --mount 'type=volume,target=/workspace,volume-nocopy' --workdir /workspace --entrypoint sleep acme/a:local 300",
            "docker cp - slipway-test-a-1:/ < /tmp/a.tar",
            "docker cp slipway-test-a-1:/workspace/. -",
            "docker exec slipway-test-a-1 pytest -q",
            "docker rm --force --volumes slipway-test-a-1",
            "docker ps --all --quiet --filter 'label=dev.slipway.checkout=/repo'",
        ];
        for (line, golden) in lines.iter().zip(golden) {
            assert_eq!(line, golden);
        }
    }

    #[test]
    fn names_as_the_engine_stores_them() {
        for (name, short) in [
            ("docker.io/library/python:3.11", "python:3.11"),
            ("index.docker.io/acme/a", "acme/a"),
            ("library/python", "python"),
            ("acme/a:local", "acme/a:local"),
            ("ghcr.io/library/a", "ghcr.io/library/a"),
        ] {
            assert_eq!(familiar(name), short);
        }
    }
}
