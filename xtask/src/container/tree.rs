//! The working tree as a check in an image gets it: a copy, so that nothing it does reaches the tree itself.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{Error, Read, Result as Io, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};
use tempfile::NamedTempFile;

use crate::docker;
use crate::exec::Runner;
use crate::facts::working::{self, Files, Print, Prints, Thing};

/// An archive of a tree, and what each file is that git knows.
pub struct Packed {
    file: NamedTempFile,
    known: Prints,
}

impl Packed {
    /// Packs the files that git knows or would take in, below `inside`. `place`: where the archive lies meanwhile.
    ///
    /// # Errors
    /// Git cannot list them, or one cannot be read.
    pub fn new(runner: &Runner, root: &Utf8Path, inside: &str, place: &Utf8Path) -> Result<Packed> {
        let files = working::files(runner, root)?;
        let new = tempfile::Builder::new().prefix(".tree-").tempfile_in(place);
        let file = new.with_context(|| format!("cannot create a file in {place}"))?;
        let mut packer = Packer { root, inside, archive: Builder::new(file), folders: BTreeSet::new(), known: Prints::new() };
        packer.folder("").and_then(|()| packer.all(&files)).with_context(|| format!("cannot copy the files of {root}"))?;
        let known = packer.known;
        let mut file = packer.archive.into_inner().context("cannot write a copy of the working tree")?;
        file.flush().context("cannot write a copy of the working tree")?;
        Ok(Packed { file, known })
    }

    pub fn path(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(self.file.path().to_string_lossy().into_owned())
    }

    /// The files that git knows and that are something else in a container that got them; `None` under `--dry-run`.
    ///
    /// # Errors
    /// They cannot be read, or we were interrupted.
    pub fn changed(&self, runner: &Runner, container: &str, folder: &str, place: &Utf8Path) -> Result<Option<Vec<String>>> {
        let stop = docker::stop(container);
        let exit = runner.output(&stop)?;
        runner.check(&stop, &exit)?;
        let mut file = tempfile::tempfile_in(place).with_context(|| format!("cannot create a file in {place}"))?;
        let (cmd, mut written) = (docker::copy_out(container, folder), Ok(()));
        let exit = runner.bytes(&cmd, |bytes| {
            if written.is_ok() {
                written = file.write_all(bytes);
            }
        })?;
        runner.check(&cmd, &exit)?;
        written.and_then(|()| file.rewind()).with_context(|| format!("cannot write what is in {container}"))?;
        let after = prints(file, &self.known).with_context(|| format!("cannot read what is in {container}"))?;
        Ok((!exit.skipped).then(|| working::differing(&self.known, &after)))
    }
}

struct Packer<'a> {
    root: &'a Utf8Path,
    inside: &'a str,
    archive: Builder<NamedTempFile>,
    /// Those that are in it already.
    folders: BTreeSet<String>,
    known: Prints,
}

impl Packer<'_> {
    fn all(&mut self, files: &Files) -> Io<()> {
        for (names, is_known) in [(&files.known, true), (&files.new, false)] {
            for name in names {
                let print = self.add(name).map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
                if is_known {
                    self.known.insert(name.clone(), print);
                }
            }
        }
        Ok(())
    }

    /// A folder with all that lead there, owned as they are here.
    fn folder(&mut self, name: &str) -> Io<()> {
        if !self.folders.insert(name.to_owned()) {
            return Ok(());
        }
        if let Some((outer, _)) = name.rsplit_once('/') {
            self.folder(outer)?;
        }
        let mut header = header(&self.root.join(name).symlink_metadata()?, EntryType::Directory);
        self.archive.append_data(&mut header, format!("{}/{name}", self.inside), std::io::empty())
    }

    /// `None`: there is no such file.
    fn add(&mut self, name: &str) -> Io<Option<Print>> {
        let path = format!("{}/{name}", self.inside);
        let Some(thing) = working::open(self.root, name)? else { return Ok(None) };
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder)?;
        }
        let (file, metadata) = match thing {
            Thing::File(file, metadata) => (file, metadata),
            Thing::Link(to, metadata) => {
                self.archive.append_link(&mut header(&metadata, EntryType::Symlink), path, &to)?;
                return Ok(Some(Print::link(to.as_str())));
            }
        };
        let mut content = Hashing { file, hash: Sha256::new(), left: metadata.len() };
        let mut header = header(&metadata, EntryType::Regular);
        header.set_size(metadata.len());
        self.archive.append_data(&mut header, path, &mut content)?;
        Ok(Some(Print::hashed(metadata.mode(), content.hash)))
    }
}

fn header(metadata: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(metadata.mtime().try_into().unwrap_or_default());
    header.set_size(0);
    header
}

/// A file of a known size that is hashed as it is read.
struct Hashing {
    file: File,
    hash: Sha256,
    left: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> Io<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(Error::other("it became shorter while it was read"));
        }
        self.left -= read as u64;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What is in an archive, of the names that are in `known`. One that is there as a hard link to another file than those is
/// a file of its own no more: it counts as none.
fn prints(archive: impl Read, known: &Prints) -> Io<Prints> {
    let mut found = Prints::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = plain(&entry.path_bytes());
        if !known.contains_key(&name) {
            continue;
        }
        let (kind, mode) = (entry.header().entry_type(), entry.header().mode()?);
        let to = entry.link_name_bytes().map(|bytes| bytes.into_owned()).unwrap_or_default();
        let print = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Some(Print::file(mode, &mut entry)?),
            EntryType::Symlink => Some(Print::link(&String::from_utf8_lossy(&to))),
            EntryType::Link => found.get(&plain(&to)).cloned().flatten(),
            _ => None,
        };
        found.insert(name, print);
    }
    Ok(found)
}

/// `./src/a` → `src/a`
fn plain(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::lab::Lab;

    /// The tree of a lab as an archive, and the archive as text.
    fn packed(lab: &Lab) -> (Packed, Vec<String>) {
        let root = lab.root.join("work");
        let packed = Packed::new(&lab.runner, &root, "workspace", &lab.root).unwrap();
        let mut archive = Archive::new(File::open(packed.path()).unwrap());
        let lines = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let letter = char::from(entry.header().entry_type().as_byte());
            format!("{letter} {:o} {}", entry.header().mode().unwrap(), String::from_utf8_lossy(&entry.path_bytes()))
        });
        let lines = lines.collect();
        (packed, lines)
    }

    #[test]
    fn a_copy_has_what_git_knows_and_would_take_in() {
        let lab = Lab::cloned();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        for (file, text) in [("a/b", "1"), (&long, "2"), ("new", "3"), ("gone", "4"), (".gitignore", "*.tmp\n"), ("x.tmp", "5")] {
            lab.write("work", file, text);
        }
        std::os::unix::fs::symlink("/etc", lab.root.join("work/a/link")).unwrap();
        lab.git("work", "add a gone");
        lab.write("work", "target/slipway/receipt", "6");
        std::fs::remove_file(lab.root.join("work/gone")).unwrap();
        // What git knows below a folder that has become a link is not read through it.
        lab.write("work", "l/passwd", "7");
        lab.git("work", "add l");
        std::fs::remove_dir_all(lab.root.join("work/l")).unwrap();
        std::os::unix::fs::symlink("/etc", lab.root.join("work/l")).unwrap();
        let (packed, lines) = packed(&lab);
        let names: Vec<&str> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
        let long = format!("workspace/{long}");
        for name in ["workspace/", "workspace/a", "workspace/a/b", "workspace/a/link", "workspace/new", "workspace/l", &long] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        let outside = |name: &&&str| name.contains("target") || name.contains(".git/") || name.contains("passwd");
        assert_eq!(names.iter().find(outside), None);
        assert!(!names.contains(&"workspace/x.tmp") && !names.contains(&"workspace/gone"), "{names:?}");
        assert_eq!(packed.known["gone"], None);
        let link = Print::link("/etc");
        assert_eq!(packed.known["a/link"], Some(link));
    }

    /// What a tree's own copy is found to be after `edit`, which works on a folder with the copy.
    fn changed(edit: &str) -> Vec<String> {
        let lab = Lab::cloned();
        for (file, text) in [("a/b", "1"), ("a/c", "2"), ("run", "#!/bin/sh\n")] {
            lab.write("work", file, text);
        }
        lab.git("work", "add .");
        lab.git("work", "commit --quiet -m two");
        let (packed, _) = packed(&lab);
        let script = format!(
            "mkdir {0}/copy && tar -xf {1} -C {0}/copy && cd {0}/copy/workspace && {edit} && tar -cf ../../back.tar .",
            lab.root,
            packed.path()
        );
        lab.runner.read(&crate::cmd::Cmd::change("sh", "prepare a test").args(["-c", &script])).unwrap();
        let after = prints(File::open(lab.root.join("back.tar")).unwrap(), &packed.known).unwrap();
        working::differing(&packed.known, &after)
    }

    #[test]
    fn what_a_check_changed_is_seen_without_git() {
        let table: [(&str, &[&str]); 12] = [
            ("true", &[]),
            ("touch -d 2001-01-01 a/b; mkdir .cache; echo 1 > .cache/new; mkdir .git; echo > .git/config", &[]),
            ("echo 2 > a/b", &["a/b"]),
            ("printf 2 > x && touch -r a/b x && mv x a/b", &["a/b"]),
            ("chmod +x a/b", &["a/b"]),
            ("rm -r a", &["a/b", "a/c"]),
            ("mv a z && ln -s z a", &["a/b", "a/c"]),
            ("rm a/b && ln -s c a/b", &["a/b"]),
            ("rm a/b && mkfifo a/b", &["a/b"]),
            ("rm a/b && mkdir a/b", &["a/b"]),
            ("cp a/b a/x && ln -f a/c a/b", &["a/b"]),
            ("rm run && printf '#!/bin/sh\\n' > run", &[]),
        ];
        for (edit, expected) in table {
            assert_eq!(changed(edit), expected, "{edit}");
        }
    }

    #[test]
    fn an_archive_that_is_cut_off_or_none_is_no_answer() {
        let lab = Lab::cloned();
        let (packed, _) = packed(&lab);
        let text = std::fs::read(packed.path()).unwrap();
        assert!(prints(&text[..600], &packed.known).is_err());
        assert!(prints(&b"hello"[..], &packed.known).is_err());
        let nothing = prints(&b""[..], &packed.known).unwrap();
        assert_eq!(working::differing(&packed.known, &nothing), ["README.md"]);
    }
}
