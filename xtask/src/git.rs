//! Every command of git: of a repository only its objects, refs and files count; nothing that it names is executed.
//!
//! The settings of the repository (`.git/config`) and its attributes are anybody's: of a clone, of a tool that ran in
//! it. Those of the user and of the machine decide where git looks, whom it trusts and how it logs in.

use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd::{Cmd, Effect};
use crate::error::Fault;
use crate::exec::Runner;

/// A git that takes longer hangs: on a network file system, a lock.
pub const LIMIT: Duration = Duration::from_secs(60);
/// A git that moves files or history may take so long.
pub const LONG: Duration = Duration::from_secs(600);

/// Settings that execute something or look elsewhere, whose names are known.
const OFF: [&str; 8] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
    "safe.bareRepository=explicit",
    "submodule.recurse=false",
    "column.ui=never",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// Protocols that start nothing but ssh and git itself. `git` is not among them: it has a proxy command.
const PROTOCOLS: &str = "file:http:https:ssh";

/// What a git around us has set for its own work (we may be its hook), or somebody for another repository.
const FOREIGN: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_ATTR_SOURCE",
    "GIT_CONFIG",
    "GIT_EXTERNAL_DIFF",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// Where git finds a repository from a folder upwards.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The folder around `.git`.
    Checkout(Utf8PathBuf),
    /// A folder that is itself what a `.git` is, and may be a part of what was cloned.
    Bare,
    Nothing,
}

/// `git --version`
pub fn version() -> Cmd {
    Cmd::probe("git", "find git").arg("--version").timeout(LIMIT)
}

/// A question about commits, refs, names and settings. What reads or writes files of the work tree needs [`Named`], too.
pub fn ask(repo: &Utf8Path, why: impl Into<String>, args: &[&str]) -> Cmd {
    let found = find(repo);
    let mut cmd = Cmd::probe("git", why).args(["-C", repo.as_str(), "--no-pager"]).timeout(LIMIT);
    for setting in OFF {
        cmd = cmd.args(["-c", setting]);
    }
    for (name, value) in [("GIT_TERMINAL_PROMPT", "0"), ("GIT_OPTIONAL_LOCKS", "0"), ("GIT_NO_LAZY_FETCH", "1"), ("LC_ALL", "C")]
    {
        cmd = cmd.env(name, value);
    }
    cmd = match found {
        // The settings may say that the files are elsewhere.
        Found::Checkout(top) => cmd.env("GIT_WORK_TREE", top),
        // Older versions of git know nothing of `safe.bareRepository`.
        Found::Bare => cmd.env("GIT_DIR", "/dev/null"),
        Found::Nothing => cmd,
    };
    Cmd { unset: FOREIGN, ..cmd.env("GIT_ALLOW_PROTOCOL", "none") }.args(args.iter().copied())
}

/// A command that may get objects from where the clone comes from: a fetch, or a checkout in a partial clone.
pub fn reach(named: &Named, repo: &Utf8Path, why: impl Into<String>, args: &[&str]) -> Cmd {
    let mut cmd = named.off(ask(repo, why, args)).timeout(LONG);
    if named.has_server_program {
        return cmd;
    }
    for (name, value) in &mut cmd.env {
        match name.as_str() {
            "GIT_ALLOW_PROTOCOL" => *value = PROTOCOLS.into(),
            "GIT_NO_LAZY_FETCH" => *value = "0".into(),
            _ => {}
        }
    }
    cmd
}

/// The same as a command that tidies up.
pub fn tidy_up(repo: &Utf8Path, why: &str, args: &[&str]) -> Cmd {
    Cmd { effect: Effect::Cleanup, ..ask(repo, why, args) }
}

/// Settings that execute something under a name of their own (`filter.NAME.clean`): each is switched off by that name.
#[derive(Clone, Debug, Default)]
pub struct Named {
    settings: Vec<String>,
    /// Names of filters that change what is checked out.
    pub smudges: Vec<String>,
    /// A remote names a program of its own (`uploadpack`, `vcs`). The first of such settings counts, which no other
    /// takes back, so nothing is asked of any remote then.
    has_server_program: bool,
}

impl Named {
    /// Reads the settings of a repository; git only reads them for it.
    ///
    /// # Errors
    /// Git cannot read them, or a name cannot be switched off.
    pub fn of(runner: &Runner, repo: &Utf8Path) -> Result<Named> {
        Named::read(&runner.read(&Named::list(repo))?)
    }

    /// The command whose answer [`Named::read`] reads.
    pub fn list(repo: &Utf8Path) -> Cmd {
        ask(repo, "list the settings", &["config", "--list", "--show-scope", "--name-only", "-z"])
    }

    /// # Errors
    /// A name cannot be switched off.
    pub fn read(listed: &str) -> Result<Named> {
        let fields: Vec<&str> = listed.split('\0').collect();
        let mut named = Named::default();
        for pair in fields.chunks_exact(2) {
            let is_own = !matches!(pair[0], "local" | "worktree");
            named.add(pair[1], is_own)?;
        }
        named.settings.sort();
        named.settings.dedup();
        Ok(named)
    }

    /// `is_own`: it is of the user or of the machine.
    fn add(&mut self, key: &str, is_own: bool) -> Result<()> {
        let (section, rest) = key.split_once('.').unwrap_or((key, ""));
        let (name, variable) = rest.rsplit_once('.').unwrap_or(("", rest));
        let off = match (section, variable) {
            ("filter", "required") => "=false",
            ("filter", "smudge" | "process") => {
                self.smudges.push(name.to_owned());
                "="
            }
            ("filter", _) => "=",
            ("hook", _) if !name.is_empty() => {
                return self.off_as(&format!("hook.{name}.enabled"), "=false");
            }
            ("remote", "uploadpack" | "vcs") => {
                self.has_server_program = true;
                return Ok(());
            }
            // The user's own stay. A key of ssh for this clone alone is not used either.
            ("core", "sshcommand") if !is_own => "=ssh",
            ("core", "askpass") if !is_own => "=",
            ("core", "alternaterefscommand") if !is_own => "=true",
            // An empty one makes git forget all helpers before it.
            ("credential", "helper") if !is_own => return self.off_as("credential.helper", "="),
            _ => return Ok(()),
        };
        self.off_as(key, off)
    }

    fn off_as(&mut self, key: &str, value: &str) -> Result<()> {
        if key.contains('=') {
            let fault = Fault::refused(format!("git has the setting `{}`, which cannot be switched off", key.escape_debug()));
            return Err(fault.hint("give it a name without `=`").into());
        }
        self.settings.push(format!("{key}{value}"));
        Ok(())
    }

    /// The command with them off.
    pub fn off(&self, mut cmd: Cmd) -> Cmd {
        let at = cmd.args.iter().position(|arg| arg == "-c").unwrap_or_default();
        let words = self.settings.iter().flat_map(|setting| ["-c".to_owned(), setting.clone()]);
        cmd.args.splice(at..at, words);
        cmd
    }
}

/// As git looks for it: `.git` first, then the folder itself, then upwards.
fn find(folder: &Utf8Path) -> Found {
    let folder = folder.canonicalize_utf8().unwrap_or_else(|_| folder.to_owned());
    for folder in folder.ancestors() {
        let git = folder.join(".git");
        if git.is_file() || exists(&git.join("HEAD")) {
            return Found::Checkout(folder.to_owned());
        }
        let has_objects = exists(&folder.join("commondir")) || (exists(&folder.join("objects")) && exists(&folder.join("refs")));
        if exists(&folder.join("HEAD")) && has_objects {
            return Found::Bare;
        }
    }
    Found::Nothing
}

fn exists(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
#[path = "git_tests.rs"]
mod tests;
