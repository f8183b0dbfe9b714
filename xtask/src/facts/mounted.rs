//! What tests mount, as one hash a path: the tests' part of the test key.

use std::io::Result;

use camino::Utf8Path;
use sha2::{Digest as _, Sha256};

/// SHA-256 in hex over a file, or over the names and contents of everything in a folder; "" if there is no such path.
pub fn hash(path: &Utf8Path) -> String {
    let mut hash = Sha256::new();
    match add(path, "", &mut hash) {
        Ok(()) => super::hex(&hash.finalize()),
        Err(_) => String::new(),
    }
}

fn add(path: &Utf8Path, name: &str, hash: &mut Sha256) -> Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_symlink() && !name.is_empty() {
        // Inside the container it leads wherever its text says.
        entry(hash, "link", name, path.read_link_utf8()?.as_str().as_bytes());
    } else if path.is_dir() {
        entry(hash, "folder", name, b"");
        let mut names = path.read_dir_utf8()?.map(|entry| Ok(entry?.file_name().to_owned())).collect::<Result<Vec<_>>>()?;
        names.sort();
        // What Python leaves beside the sources when somebody runs the tests outside of the image.
        for child in names.iter().filter(|name| *name != "__pycache__") {
            add(&path.join(child), &format!("{name}/{child}"), hash)?;
        }
    } else {
        entry(hash, "file", name, &std::fs::read(path)?);
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
        assert_eq!(hash(&root.join("none")), "");
    }
}
