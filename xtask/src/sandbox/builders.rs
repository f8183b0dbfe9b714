//! Builders that runs have made on the private engine: they end with it, their containers and caches too.

use std::time::Duration;

use anyhow::Result;

use super::paths::{Paths, remove_file};
use super::{client_env, dockerd};
use crate::docker;
use crate::exec::Runner;
use crate::report;

/// How long a cluster may take to delete what we have there.
const PODS: Duration = Duration::from_secs(20);

/// Removes our builders, those of all checkouts, and no other.
///
/// # Errors
/// A file that can't be removed. A container that can't be is told and left: the engine ends next, and does not start it.
pub fn remove(runner: &Runner, paths: &Paths) -> Result<()> {
    let mut client = runner.clone();
    for (name, value) in client_env(paths, true) {
        client.set_env(&name, &value);
    }
    if dockerd::answers(paths)
        && let Err(error) = remove_containers(&client)
    {
        report::note(&format!("warning: {error:#}"));
    }
    // What buildx knows of them: a file each.
    let instances = paths.docker_config().join("buildx/instances");
    let files = instances.read_dir_utf8().into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().starts_with(docker::PREFIX)) {
        if file.file_name().ends_with(docker::IN_CLUSTERS) {
            remove_pods(&client, file.file_name());
        }
        remove_file(file.path())?;
    }
    Ok(())
}

/// What a builder has in clusters does not end with the engine. One that is out of reach keeps it.
fn remove_pods(client: &Runner, builder: &str) {
    let said = match client.output(&docker::remove_builder(builder).timeout(PODS)) {
        Ok(exit) if exit.ok() => return,
        Ok(exit) => exit.stderr.lines().next().unwrap_or("no answer").to_owned(),
        Err(error) => format!("{error:#}"),
    };
    report::note(&format!("warning: the pods of {builder} may still be in their cluster: {said}"));
}

fn remove_containers(client: &Runner) -> Result<()> {
    let list = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let containers = list(client.read(&docker::builder_containers())?);
    if !containers.is_empty() {
        client.read(&docker::remove_containers(&containers))?;
    }
    let volumes = list(client.read(&docker::builder_volumes())?);
    if volumes.is_empty() { Ok(()) } else { client.read(&docker::remove_volumes(&volumes)).map(drop) }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    #[test]
    fn buildx_forgets_ours_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let paths = Paths { cache: folder.to_owned(), run: folder.join("run") };
        remove(&Runner::default(), &paths).unwrap();
        let instances = paths.docker_config().join("buildx/instances");
        std::fs::create_dir_all(&instances).unwrap();
        for name in ["slipway-0a1b2c3d", "slipway-0a1b2c3d-remote", "mine", "slipwayish"] {
            std::fs::write(instances.join(name), "{}").unwrap();
        }
        remove(&Runner::default(), &paths).unwrap();
        let mut left: Vec<String> = instances.read_dir_utf8().unwrap().map(|file| file.unwrap().file_name().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["mine", "slipwayish"]);
    }
}
