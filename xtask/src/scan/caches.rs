//! Cache folders for several trivy at once: a copy of the database for each.
//!
//! The database lets in one process at a time, also to read.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::config::Env;
use crate::report;

/// A folder for each process that may run now.
#[derive(Debug)]
pub struct Caches {
    /// `None`: the one that trivy itself takes.
    idle: Mutex<Vec<Option<Utf8PathBuf>>>,
    /// Copies live as long as this.
    _folder: tempfile::TempDir,
}

impl Caches {
    /// For `wanted` processes at once, or fewer where the database is not where it was looked for or the disk is full.
    ///
    /// # Errors
    /// `folder` cannot be written.
    pub fn new(env: &Env, folder: &Utf8Path, wanted: usize, java: bool) -> Result<Caches> {
        let copies =
            tempfile::Builder::new().prefix(".cache-").tempdir_in(folder).with_context(|| format!("cannot write in {folder}"))?;
        let mut idle = vec![None];
        let original = own(env).filter(|own| own.join("db/trivy.db").exists());
        for n in 1..wanted {
            let Some(original) = &original else { break };
            let Some(path) = Utf8Path::from_path(copies.path()).map(|path| path.join(n.to_string())) else { break };
            match copy(original, &path, java) {
                Ok(()) => idle.push(Some(path)),
                Err(error) => {
                    report::note(&format!("warning: {} at once, not {wanted}: no copy of the database: {error}", idle.len()));
                    let _nothing_there = std::fs::remove_dir_all(&path);
                    break;
                }
            }
        }
        Ok(Caches { idle: Mutex::new(idle), _folder: copies })
    }

    /// How many processes may run at once.
    pub fn len(&self) -> usize {
        self.idle.lock().map_or(1, |idle| idle.len())
    }

    /// Lends a folder to `work`. At most [`Caches::len`] may ask at once.
    pub fn with<T>(&self, work: impl FnOnce(Option<&Utf8Path>) -> T) -> T {
        let taken = self.idle.lock().ok().and_then(|mut idle| idle.pop()).flatten();
        let result = work(taken.as_deref());
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(taken);
        }
        result
    }
}

/// Where trivy keeps its databases, unless a `trivy.yaml` says otherwise.
///
/// <https://trivy.dev/docs/latest/configuration/cache/#cache-directory>
fn own(env: &Env) -> Option<Utf8PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(Utf8PathBuf::from);
    let cache = || if cfg!(target_os = "macos") { Some(set("HOME")?.join("Library/Caches")) } else { set("XDG_CACHE_HOME") };
    set("TRIVY_CACHE_DIR").or_else(|| Some(cache().or_else(|| Some(set("HOME")?.join(".cache")))?.join("trivy")))
}

fn copy(original: &Utf8Path, path: &Utf8Path, java: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(path.join("db"))?;
    for file in ["db/metadata.json", "db/trivy.db"] {
        std::fs::copy(original.join(file), path.join(file))?;
    }
    if java {
        // Only ever read, by a database that several may open.
        std::os::unix::fs::symlink(Path::new(original.join("java-db").as_str()), path.join("java-db"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_database_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let env = Env::from([("TRIVY_CACHE_DIR".to_owned(), folder.join("own").to_string())]);
        assert_eq!(Caches::new(&env, folder, 3, false).unwrap().len(), 1, "no database is there");
        std::fs::create_dir_all(folder.join("own/db")).unwrap();
        for file in ["metadata.json", "trivy.db"] {
            std::fs::write(folder.join("own/db").join(file), file).unwrap();
        }
        let caches = Caches::new(&env, folder, 3, true).unwrap();
        let seen = caches.with(|a| caches.with(|b| caches.with(|c| [a, b, c].map(|path| path.map(Utf8Path::to_owned)))));
        assert_eq!((caches.len(), &seen[2]), (3, &None));
        let [a, b] = [0, 1].map(|n| seen[n].clone().unwrap());
        assert!(a != b && a.join("db/trivy.db").exists() && b.join("db/trivy.db").exists());
        drop(caches);
        assert!(!a.exists(), "copies are gone afterwards");
    }

    #[test]
    fn where_trivy_looks() {
        let env =
            |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Env>();
        assert_eq!(own(&env(&[("HOME", "/h"), ("TRIVY_CACHE_DIR", "/t")])), Some("/t".into()));
        assert_eq!(own(&env(&[])), None);
        if cfg!(target_os = "linux") {
            assert_eq!(own(&env(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")])), Some("/x/trivy".into()));
            assert_eq!(own(&env(&[("HOME", "/h")])), Some("/h/.cache/trivy".into()));
        }
    }
}
