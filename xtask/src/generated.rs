//! Generated files: written into place, compared with what is there, or only announced.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use similar::TextDiff;

use crate::error::Fault;
use crate::exec::Runner;
use crate::{files, report};

/// What to do with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    /// Change nothing; a difference is an error.
    Check,
    /// Change nothing; say what would be written.
    DryRun,
}

impl Mode {
    /// `--check` wins over `--dry-run`: it changes nothing either.
    pub fn of(check: bool, runner: &Runner) -> Mode {
        match (check, runner.is_dry_run()) {
            (true, _) => Mode::Check,
            (false, true) => Mode::DryRun,
            (false, false) => Mode::Write,
        }
    }
}

/// Files as they should be, beside files that should not be there.
pub struct Generated {
    /// Relative to the repository.
    pub files: BTreeMap<Utf8PathBuf, String>,
    /// Generated once, wanted no more.
    pub orphans: Vec<Utf8PathBuf>,
    /// The command that writes them.
    pub command: &'static str,
}

impl Generated {
    /// Brings the files to their text, or compares. Returns how many differ (or differed).
    ///
    /// # Errors
    /// In `Check`, a failure with the diffs on stderr; a file that cannot be read or written.
    pub fn apply(&self, repo: &Utf8Path, mode: Mode) -> Result<usize> {
        let mut changed = 0;
        for (path, text) in &self.files {
            let old = read(&repo.join(path))?;
            if old.as_deref() == Some(text) {
                continue;
            }
            changed += 1;
            match mode {
                Mode::Write => files::write_in(repo, &repo.join(path), text)?,
                Mode::DryRun => report::note(&format!("would write {path}")),
                Mode::Check => report::lines(&diff(path, old.as_deref().unwrap_or_default(), text)),
            }
        }
        for path in &self.orphans {
            changed += 1;
            match mode {
                Mode::Write => std::fs::remove_file(repo.join(path)).with_context(|| format!("cannot remove {path}"))?,
                Mode::DryRun => report::note(&format!("would remove {path}")),
                Mode::Check => report::note(&format!("{path}: nothing generates it any more")),
            }
        }
        if mode == Mode::Check && changed > 0 {
            let message = format!("{changed} generated {} out of date", if changed == 1 { "file is" } else { "files are" });
            return Err(Fault::failed(message).hint(format!("run `{}` and commit the result", self.command)).into());
        }
        Ok(changed)
    }
}

/// The text of a file, `None` if there is none; what is not UTF-8 differs from any text.
fn read(path: &Utf8Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

fn diff(path: &Utf8Path, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let text = diff.unified_diff().context_radius(2).header(&format!("a/{path}"), &format!("b/{path}")).to_string();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Generated {
        Generated { files: BTreeMap::from([("a/b".into(), text.to_owned())]), orphans: Vec::new(), command: "cargo xtask plan" }
    }

    #[test]
    fn writing_twice_changes_nothing_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        assert_eq!(one("x\n").apply(repo, Mode::Write).unwrap(), 1);
        assert_eq!(one("x\n").apply(repo, Mode::Write).unwrap(), 0);
        assert_eq!(one("x\n").apply(repo, Mode::Check).unwrap(), 0);
        let error = one("y\n").apply(repo, Mode::Check).unwrap_err();
        assert_eq!(
            crate::error::render(&error),
            "error: 1 generated file is out of date\nhint: run `cargo xtask plan` and commit the result"
        );
        assert_eq!(std::fs::read_to_string(repo.join("a/b")).unwrap(), "x\n", "check writes nothing");
    }

    #[test]
    fn dry_run_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        assert_eq!(one("x\n").apply(repo, Mode::DryRun).unwrap(), 1);
        assert!(!repo.join("a").exists());
    }

    #[test]
    fn a_diff_is_unified() {
        assert_eq!(diff(Utf8Path::new("f"), "a\nb\n", "a\nc\n"), "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c");
    }
}
