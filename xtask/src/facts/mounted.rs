//! What tests mount, as one hash a path: the tests' part of the test key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use crate::config::Config;

/// Path → hash of all that tests mount.
pub fn all(repo: &Utf8Path, config: &Config) -> BTreeMap<Utf8PathBuf, String> {
    let mounts = config.builds.iter().flat_map(|build| &build.tests).flat_map(|test| &test.mounts);
    let paths: BTreeSet<&Utf8PathBuf> = mounts.map(|(path, _)| path).collect();
    paths.into_iter().map(|path| (path.clone(), hash(&repo.join(path)))).collect()
}

/// SHA-256 in hex over a file, or over the names, permissions and contents of everything in a folder; "" if there is no
/// such path.
pub fn hash(path: &Utf8Path) -> String {
    let mut hash = Sha256::new();
    match add(path.as_std_path(), "", &mut hash) {
        Ok(()) => super::hex(&hash.finalize()),
        Err(_) => String::new(),
    }
}

fn add(path: &Path, name: &str, hash: &mut Sha256) -> Result<()> {
    let link = path.symlink_metadata()?.is_symlink() && !name.is_empty();
    let about = if link { path.symlink_metadata()? } else { path.metadata()? };
    let mode = about.mode() & 0o7777;
    if link {
        // Inside the container it leads wherever its text says.
        entry(hash, "link", name, path.read_link()?.as_os_str().as_bytes());
    } else if about.is_dir() {
        entry(hash, &format!("folder {mode:o}"), name, b"");
        let mut names = path.read_dir()?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort();
        // What Python leaves beside the sources when somebody runs the tests outside of the image.
        for child in names.iter().filter(|name| *name != "__pycache__") {
            let below = format!("{name}/{}", child.to_string_lossy());
            // One that cannot be read is told apart by everything else that is known of it.
            add(&path.join(child), &below, hash)
                .unwrap_or_else(|error| entry(hash, "unread", &below, error.to_string().as_bytes()));
        }
    } else if about.is_file() {
        entry(hash, &format!("file {mode:o}"), name, &std::fs::read(path)?);
    } else {
        // A pipe, a socket, a device: never opened, it may never answer.
        entry(hash, "other", name, b"");
    }
    Ok(())
}

/// Lengths keep "ab" + "c" and "a" + "bc" apart.
fn entry(hash: &mut Sha256, kind: &str, name: &str, content: &[u8]) {
    hash.update(format!("{kind} {} {name} {} ", name.len(), content.len()));
    hash.update(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::write(root.join("a"), "1").unwrap();
        let before = hash(root);
        assert_eq!(before, hash(root));
        std::fs::write(root.join("a"), "2").unwrap();
        let changed = hash(root);
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        let renamed = hash(root);
        std::fs::create_dir(root.join("__pycache__")).unwrap();
        assert_eq!(renamed, hash(root));
        assert!(before != changed && changed != renamed);
        std::fs::set_permissions(root.join("b"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert_ne!(renamed, hash(root), "permissions count");
        let mode = root.join("b");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe").as_std_path(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_ne!(hash(root), "", "{mode}: a pipe is not opened");
        assert_eq!(hash(&root.join("none")), "");
    }
}
