//! What of a context is in no hash, because no two runs or clones find the same in it.

use camino::Utf8Path;

use super::entry::is_in;
use super::ignore::Ignore;
use super::sources;

/// Paths from the root of a context, where `.dockerignore` does not leave them out.
pub struct Volatile {
    /// `target`, where this program keeps its state; whether there is one by now or not: else a first run would differ
    /// from a second.
    state: Option<String>,
    /// `.git` of the repository: each clone has its own index, logs and objects, and a `git fetch` adds to them.
    git: Option<String>,
}

impl Volatile {
    pub fn new(repo: &Utf8Path, context: &Utf8Path, ignore: &Ignore) -> Volatile {
        let root = repo.join(context);
        let inside =
            |name: &str| repo.join(name).strip_prefix(&root).ok().map(Utf8Path::to_string).filter(|path| !path.is_empty());
        let is_there = repo.join(".git").symlink_metadata().is_ok();
        Volatile {
            state: inside("target").filter(|state| !ignore.ignores(state)),
            // `.git/*` leaves it out, too; what comes back of it is known then.
            git: inside(".git").filter(|git| is_there && !ignore.ignores(&format!("{git}/index"))),
        }
    }

    /// Whether a path, with what is in it, is in no hash.
    pub fn has(&self, path: &str) -> bool {
        self.state.as_deref() == Some(path) || self.git.as_deref().is_some_and(|git| is_in(path, git))
    }

    /// What a pattern takes of it, as a sentence each. `named`: the paths that the pattern names.
    pub fn taken(&self, pattern: &str, excludes: Option<&Ignore>, named: &[String]) -> Vec<String> {
        let returns = |path: &str| excludes.is_some_and(|excludes| excludes.may_return(path));
        let takes = |path: &str| sources::takes(pattern, excludes, path);
        let state = self.state.iter().filter(|state| takes(state) || (pattern == sources::ALL && returns(state)));
        let holds = |git: &str, top: &String| is_in(git, top) && (takes(&format!("{git}/index")) || returns(git));
        let git = self.git.iter().filter(|git| named.iter().any(|top| is_in(top, git) || holds(git, top)));
        let state = state.map(|path| format!("{path} is taken, which each run changes (add it to .dockerignore)"));
        let git = git.map(|path| format!("{path} is taken, which is another one in each clone (add it to .dockerignore)"));
        state.chain(git).collect()
    }
}
