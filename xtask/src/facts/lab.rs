//! Real git repositories for tests, in a folder that goes away; the user's git configuration plays no part.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::git::Git;
use crate::cmd::Cmd;
use crate::exec::Runner;

pub struct Lab {
    _folder: tempfile::TempDir,
    pub runner: Runner,
    pub root: Utf8PathBuf,
}

impl Lab {
    /// An empty folder, with a git that knows nobody.
    pub fn empty() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        let mut runner = Runner::default();
        for (name, value) in
            [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CEILING_DIRECTORIES", root.as_str())]
        {
            runner.set_env(name, value);
        }
        for who in ["AUTHOR", "COMMITTER"] {
            runner.set_env(&format!("GIT_{who}_NAME"), "Somebody");
            runner.set_env(&format!("GIT_{who}_EMAIL"), "somebody@example.org");
            runner.set_env(&format!("GIT_{who}_DATE"), "2026-01-02T05:04:05+02:00");
        }
        Lab { _folder: folder, runner, root }
    }

    /// `origin` with one commit on main, and its full clone `work`.
    pub fn cloned() -> Lab {
        let lab = Lab::empty();
        lab.git(".", "init --quiet --initial-branch main origin");
        lab.commit("origin", "README.md", "first");
        // A server that hands out any commit it has, as GitHub does.
        lab.git("origin", "config uploadpack.allowAnySHA1InWant true");
        lab.git("origin", "config receive.denyCurrentBranch ignore");
        lab.clone("work", "");
        lab
    }

    pub fn clone(&self, name: &str, flags: &str) {
        self.git(".", &format!("clone --quiet {flags} file://{}/origin {name}", self.root));
    }

    /// Runs git in a folder of the lab, words split at white space; returns its stdout.
    pub fn git(&self, folder: &str, args: &str) -> String {
        let cmd =
            Cmd::change("git", "prepare a test").args(["-C", self.root.join(folder).as_str()]).args(args.split_whitespace());
        self.runner.read(&cmd).unwrap_or_else(|error| panic!("{error:#}"))
    }

    pub fn write(&self, folder: &str, file: &str, text: &str) {
        let path = self.root.join(folder).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes a file and commits everything; returns the sha.
    pub fn commit(&self, folder: &str, file: &str, text: &str) -> String {
        self.write(folder, file, text);
        self.git(folder, "add --all");
        self.git(folder, "commit --quiet --message change");
        self.head(folder)
    }

    pub fn head(&self, folder: &str) -> String {
        self.git(folder, "rev-parse HEAD")
    }

    /// Asks about a folder with what the product asks with.
    pub fn ask<T>(&self, folder: &str, question: impl FnOnce(&Git<'_>) -> T) -> T {
        let folder = self.root.join(folder);
        let mut git = Git::new(&self.runner, &folder);
        git.limit = Duration::from_secs(20);
        question(&git)
    }
}
