//! Paths of the file: relative to the repository, and never out of it, links included.

use std::cell::RefCell;
use std::collections::HashMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::files;

/// The repository, with what was learned about its folders.
#[derive(Debug)]
pub struct Root {
    repo: Utf8PathBuf,
    /// Where the configuration is, if not here: the source is of a release that has none.
    today: Option<Utf8PathBuf>,
    real: Option<Utf8PathBuf>,
    folders: RefCell<HashMap<Utf8PathBuf, bool>>,
    /// Most builds of an image name the same few.
    known: RefCell<HashMap<String, Result<Utf8PathBuf, String>>>,
}

impl Root {
    pub fn new(repo: &Utf8Path) -> Root {
        Root {
            repo: repo.to_owned(),
            today: None,
            real: repo.canonicalize_utf8().ok(),
            folders: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// An older source, with the configuration of another folder.
    pub fn of_source(repo: &Utf8Path, today: &Utf8Path) -> Root {
        Root { today: (repo != today).then(|| today.to_owned()), ..Root::new(repo) }
    }

    /// Where the configuration is, if not with the source.
    pub fn today(&self) -> Option<&Utf8Path> {
        self.today.as_deref()
    }

    /// The path without `.` and `..`. Errors: it is empty, absolute or leaves the repository, also by a link.
    pub fn inside(&self, path: &str) -> Result<Utf8PathBuf, String> {
        if let Some(known) = self.known.borrow().get(path) {
            return known.clone();
        }
        let found = self.found(path);
        self.known.borrow_mut().insert(path.to_owned(), found.clone());
        found
    }

    fn found(&self, path: &str) -> Result<Utf8PathBuf, String> {
        let clean = clean(path)?;
        let parent = clean.parent().unwrap_or(Utf8Path::new(""));
        if files::is_of_git(&clean) {
            return Err(format!("`{path}` is in the folder of git (choose a place beside it)"));
        }
        if !self.folder_stays(parent) || !self.stays(&clean) {
            if self.is_in_git(&clean) {
                return Err(format!("`{path}` leads into the folder of git by a link (choose a place beside it)"));
            }
            return Err(format!("`{path}` leads out of the repository by a link (paths stay inside it)"));
        }
        Ok(clean)
    }

    /// Where a path of the repository is on this machine.
    pub fn join(&self, path: impl AsRef<Utf8Path>) -> Utf8PathBuf {
        self.repo.join(path)
    }

    /// Where the part of the way that exists leads to.
    fn is_in_git(&self, path: &Utf8Path) -> bool {
        let real = path.ancestors().find_map(|part| self.repo.join(part).canonicalize_utf8().ok());
        let inside = real.as_deref().zip(self.real.as_deref()).and_then(|(real, root)| real.strip_prefix(root).ok());
        inside.is_some_and(files::is_of_git)
    }

    fn folder_stays(&self, folder: &Utf8Path) -> bool {
        if let Some(&known) = self.folders.borrow().get(folder) {
            return known;
        }
        let parent_stays = folder.parent().is_none_or(|parent| self.folder_stays(parent));
        let stays = parent_stays && self.stays(folder);
        self.folders.borrow_mut().insert(folder.to_owned(), stays);
        stays
    }

    /// Only a link can lead out of a folder that is inside.
    fn stays(&self, path: &Utf8Path) -> bool {
        let here = self.repo.join(path);
        if !here.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) || path.as_str().is_empty() {
            return true;
        }
        match (here.canonicalize_utf8(), &self.real) {
            (Ok(target), Some(real)) => target.strip_prefix(real).is_ok_and(|inside| !files::is_of_git(inside)),
            // A link to nowhere: what it would lead to can't be known to be inside.
            _ => false,
        }
    }
}

fn clean(path: &str) -> Result<Utf8PathBuf, String> {
    let outside = || format!("`{path}` is outside the repository (write a path relative to it)");
    if path.is_empty() {
        return Err("the path is empty (`.` is the repository)".into());
    }
    if path.contains(['{', '}', '\0', '\n']) {
        return Err(format!("`{path}` has a stray brace or control character (a placeholder is {{name}})"));
    }
    if path == "~" || path.starts_with("~/") {
        return Err(outside());
    }
    normal(Utf8Path::new(path)).ok_or_else(outside)
}

/// The path without `.` and `..`; `None`: it is absolute or leaves the repository.
pub fn normal(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut clean = Utf8PathBuf::new();
    for component in path.components() {
        match component {
            Utf8Component::Normal(name) => clean.push(name),
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    Some(if clean.as_str().is_empty() { ".".into() } else { clean })
}

/// An absolute path, relative to the repository, which is one without links; `None`: it is outside.
pub fn relative(repo: &Utf8Path, path: &Utf8Path) -> Option<Utf8PathBuf> {
    let below = |path: &Utf8Path| {
        let clean = Utf8Path::new("/").join(normal(path.strip_prefix("/").ok()?)?);
        clean.strip_prefix(repo).map(|inside| if inside == "" { ".".into() } else { inside.to_owned() }).ok()
    };
    // The way to the repository may lead through links; those in it are files of their own.
    let real = || Some(path.parent()?.canonicalize_utf8().ok()?.join(path.file_name()?));
    below(path).or_else(|| below(&real()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_one_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        let repo = root.join("repo");
        std::fs::create_dir_all(repo.join("docs")).unwrap();
        std::os::unix::fs::symlink("repo", root.join("link")).unwrap();
        std::os::unix::fs::symlink("docs", repo.join("text")).unwrap();
        for (path, expected) in [
            ("repo/a", Some("a")),
            ("repo/docs/../a", Some("a")),
            ("repo", Some(".")),
            ("repo/text/a", Some("text/a")),
            ("repo/text", Some("text")),
            ("link/a", Some("a")),
            ("link/text", Some("text")),
            ("link/none/a", None),
            ("repository/a", None),
            ("repo/../a", None),
            ("../../../../../../../..", None),
        ] {
            assert_eq!(relative(&repo, &root.join(path)).as_deref(), expected.map(Utf8Path::new), "{path}");
        }
    }

    #[test]
    fn paths_are_cleaned_and_stay_inside() {
        let repo = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(repo.path()).unwrap();
        for folder in ["docker", "real"] {
            std::fs::create_dir(repo.join(folder)).unwrap();
        }
        std::fs::create_dir(repo.join(".git")).unwrap();
        std::fs::write(repo.join(".git/config"), "").unwrap();
        std::os::unix::fs::symlink(".git", repo.join("meta")).unwrap();
        std::os::unix::fs::symlink(".git/config", repo.join("settings")).unwrap();
        std::os::unix::fs::symlink("/etc", repo.join("out")).unwrap();
        std::os::unix::fs::symlink("../real", repo.join("docker/in")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", repo.join("docker/file")).unwrap();
        let root = Root::new(repo);
        for (path, expected) in [
            ("docker/Dockerfile", "docker/Dockerfile"),
            ("./Dockerfile", "Dockerfile"),
            (".", "."),
            ("docker/../x/", "x"),
            ("docker/in/x", "docker/in/x"),
        ] {
            assert_eq!(root.inside(path).unwrap(), expected);
        }
        for (path, expected) in [
            ("/etc/passwd", "`/etc/passwd` is outside the repository (write a path relative to it)"),
            ("../x", "`../x` is outside the repository (write a path relative to it)"),
            ("a/../../x", "`a/../../x` is outside the repository (write a path relative to it)"),
            ("~/x", "`~/x` is outside the repository (write a path relative to it)"),
            ("", "the path is empty (`.` is the repository)"),
            ("a/{x", "`a/{x` has a stray brace or control character (a placeholder is {name})"),
            ("out/passwd", "`out/passwd` leads out of the repository by a link (paths stay inside it)"),
            ("out", "`out` leads out of the repository by a link (paths stay inside it)"),
            ("docker/file", "`docker/file` leads out of the repository by a link (paths stay inside it)"),
            (".git/config", "`.git/config` is in the folder of git (choose a place beside it)"),
            ("docker/../.GIT/x", "`docker/../.GIT/x` is in the folder of git (choose a place beside it)"),
            ("real/.git", "`real/.git` is in the folder of git (choose a place beside it)"),
            ("meta/hooks/x", "`meta/hooks/x` leads into the folder of git by a link (choose a place beside it)"),
            ("settings", "`settings` leads into the folder of git by a link (choose a place beside it)"),
            ("out/a/b/c", "`out/a/b/c` leads out of the repository by a link (paths stay inside it)"),
        ] {
            assert_eq!(root.inside(path).unwrap_err(), expected);
        }
    }
}
