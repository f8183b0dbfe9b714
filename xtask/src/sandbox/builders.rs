//! Builders that runs have made on the private engine: they end with it, their containers and caches too.

use anyhow::Result;

use super::paths::{Paths, remove_file};
use super::{client_env, dockerd};
use crate::docker;
use crate::exec::Runner;
use crate::report;

/// Removes our builders, those of all checkouts, and no other.
///
/// # Errors
/// A file that can't be removed. A container that can't be is told and left: the engine ends next, and does not start it.
pub fn remove(runner: &Runner, paths: &Paths) -> Result<()> {
    if dockerd::answers(paths) {
        let mut client = runner.clone();
        for (name, value) in client_env(paths, true) {
            client.set_env(&name, &value);
        }
        if let Err(error) = remove_containers(&client) {
            report::note(&format!("warning: {error:#}"));
        }
    }
    // What buildx knows of them: a file each.
    let instances = paths.docker_config().join("buildx/instances");
    let files = instances.read_dir_utf8().into_iter().flatten().flatten();
    let ours = files.filter(|file| file.file_name().starts_with(docker::PREFIX));
    ours.map(|file| file.path().to_owned()).try_for_each(|file| remove_file(&file))
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
