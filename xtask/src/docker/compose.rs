//! The flags of `docker compose`, <https://docs.docker.com/reference/cli/docker/compose/>.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::{ANSWER, CHORE};
use crate::cmd::Cmd;

/// How long taking a project down may take: its containers are given [`STOP`] to end themselves.
const DOWN: Duration = Duration::from_secs(120);
/// Seconds between SIGTERM and SIGKILL.
const STOP: &str = "3";

/// A composed system: the file of the repository, laid over by one of ours, under a name of our own.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// Where the file is looked up.
    pub root: Utf8PathBuf,
    /// As in images.toml.
    pub file: String,
    /// What we lay over it.
    pub overlay: Utf8PathBuf,
}

pub fn version() -> Cmd {
    Cmd::probe("docker", "find docker compose").args(["compose", "version", "--short"]).timeout(ANSWER)
}

impl Project {
    /// The file as compose understands it, as JSON, with the services of every profile.
    pub fn config(&self) -> Cmd {
        let cmd = Cmd::probe("docker", format!("read {}", self.file)).args(["compose", "--project-name", &self.name]);
        cmd.args(["--file", &self.file, "--profile", "*", "config", "--format", "json"]).dir(&self.root).timeout(CHORE)
    }

    /// Creates and starts these services and what they depend on; none: all.
    pub fn up(&self, services: &[String]) -> Cmd {
        let cmd = Cmd::change("docker", format!("start what {} composes", self.file)).args(["compose", "--ansi", "never"]);
        let cmd = cmd.args(["--progress", "plain", "--project-name", &self.name, "--file", &self.file]);
        let cmd = cmd.args(["--file", self.overlay.as_str(), "up", "--detach", "--quiet-pull", "--remove-orphans"]);
        cmd.args(services).dir(&self.root)
    }

    /// A JSON object for each container.
    pub fn ps(&self) -> Cmd {
        self.by_name(Cmd::probe("docker", format!("look at {}", self.name)))
            .args(["ps", "--all", "--format", "json"])
            .timeout(CHORE)
    }

    /// What services have printed; none: all of them. It runs even after Ctrl-C, when the log is wanted most.
    pub fn logs(&self, tail: Option<usize>, services: &[&str]) -> Cmd {
        let cmd = self.by_name(Cmd::cleanup("docker", format!("read the logs of {}", self.name)));
        let cmd = cmd.args(["logs", "--no-color"]);
        let cmd = match tail {
            Some(lines) => cmd.args(["--no-log-prefix", "--tail", &lines.to_string()]),
            None => cmd,
        };
        cmd.args(services.iter().copied()).timeout(CHORE)
    }

    /// Removes containers, networks, volumes and, with `images`, what compose itself built for this project.
    pub fn down(&self, images: bool) -> Cmd {
        let cmd = self.by_name(Cmd::cleanup("docker", format!("take {} down", self.name)));
        let cmd = cmd.args(["down", "--volumes", "--remove-orphans", "--timeout", STOP]).timeout(DOWN);
        if images { cmd.args(["--rmi", "local"]) } else { cmd }
    }

    /// By its labels alone, so that it also works when the file is not any more what it was.
    fn by_name(&self, cmd: Cmd) -> Cmd {
        cmd.args(["compose", "--project-name", &self.name])
    }
}

/// The overlay's path for a check.
pub fn overlay(folder: &Utf8Path, check: &str) -> Utf8PathBuf {
    folder.join(format!("compose-{check}.yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_text() {
        let project =
            Project { name: "slipway-1-stack".into(), root: "/repo".into(), file: "c.yml".into(), overlay: "/t/o.yml".into() };
        let golden = [
            "cd /repo && docker compose --project-name slipway-1-stack --file c.yml --profile '*' config --format json",
            "cd /repo && docker compose --ansi never --progress plain --project-name slipway-1-stack --file c.yml --file /t/o.yml up --detach --quiet-pull --remove-orphans web",
            "docker compose --project-name slipway-1-stack ps --all --format json",
            "docker compose --project-name slipway-1-stack logs --no-color",
            "docker compose --project-name slipway-1-stack logs --no-color --no-log-prefix --tail 20 web",
            "docker compose --project-name slipway-1-stack down --volumes --remove-orphans --timeout 3",
            "docker compose --project-name slipway-1-stack down --volumes --remove-orphans --timeout 3 --rmi local",
        ];
        let lines = [
            project.config(),
            project.up(&["web".into()]),
            project.ps(),
            project.logs(None, &[]),
            project.logs(Some(20), &["web"]),
            project.down(false),
            project.down(true),
        ];
        for (line, golden) in lines.iter().zip(golden) {
            assert_eq!(line.to_string(), golden);
        }
    }
}
