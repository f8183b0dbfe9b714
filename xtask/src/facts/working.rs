//! The files of a working tree, and what each of them is: git names them, and nobody but us reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Result as Io};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::entry::join;
use super::git::Git;
use crate::error::Fault;
use crate::exec::Runner;

/// What Slipway and cargo write, relative to the repository.
const TARGET: &str = "target";

/// Names, relative to the tree. Files that git ignores are in neither list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What git knows, submodules included, whether it is there or not. None where there is no git.
    pub known: BTreeSet<String>,
    /// What git would take in.
    pub new: BTreeSet<String>,
}

/// # Errors
/// Not ready: git cannot list them. A folder that is in no repository has new files alone.
pub fn files(runner: &Runner, root: &Utf8Path) -> Result<Files> {
    let mut files = Files::default();
    if root.ancestors().any(is_repository) {
        list(runner, root, "", true, &mut files).map_err(|said| {
            let fault = Fault::not_ready(format!("cannot list the files of {root}: {said}"));
            fault.hint("checks need a git that can read the repository; run `cargo xtask doctor`")
        })?;
    } else {
        walk(root, "", &mut |name, _| _ = files.new.insert(name.to_owned()));
    }
    let is_ours = |name: &String| name.split('/').next() == Some(TARGET) || name.split('/').any(|part| part == ".git");
    files.new.retain(|name| !is_ours(name));
    Ok(files)
}

fn is_repository(folder: &Utf8Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
}

/// Adds what is below `at`. `known`: whether the outer repository knows it.
fn list(runner: &Runner, root: &Utf8Path, at: &str, known: bool, files: &mut Files) -> Result<(), String> {
    let folder = root.join(at);
    let git = Git::new(runner, &folder);
    for (is_known, which) in [(true, &["--cached"][..]), (false, &["--others", "--exclude-standard"])] {
        let names = git.raw("list the files", &[&["ls-files", "-z"], which].concat())?;
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let path = join(at, name.trim_end_matches('/'));
            let inner = root.join(&path);
            let is_known = known && is_known;
            if !inner.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                if is_known { &mut files.known } else { &mut files.new }.insert(path);
            } else if is_repository(&inner) {
                list(runner, root, &path, is_known, files)?;
            } else {
                walk(root, &path, &mut |name, _| _ = files.new.insert(name.to_owned()));
            }
        }
    }
    Ok(())
}

/// Everything below a folder but what is in a `.git` and in the target folder. Links are not followed; what may not be
/// read, no program of ours reads either.
fn walk(root: &Utf8Path, at: &str, each: &mut dyn FnMut(&str, &Metadata)) {
    for entry in std::fs::read_dir(root.join(at)).into_iter().flatten().flatten() {
        let (Ok(own), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
        let name = join(at, &own);
        if metadata.is_dir() && own != ".git" && name != TARGET {
            walk(root, &name, each);
        } else {
            each(&name, &metadata);
        }
    }
}

/// A file or a link of a tree.
pub enum Thing {
    File(File, Metadata),
    Link(Utf8PathBuf, Metadata),
}

/// Opens what has a name in a tree; `None`: nothing is there, what leads there is a link, or it is no file.
///
/// # Errors
/// It cannot be read.
pub fn open(root: &Utf8Path, name: &str) -> Io<Option<Thing>> {
    let path = root.join(name);
    let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
    for folder in folders {
        if !root.join(folder).symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(None);
        }
    }
    let Ok(metadata) = path.symlink_metadata() else { return Ok(None) };
    if metadata.is_symlink() {
        return Ok(Some(Thing::Link(path.read_link_utf8()?, metadata)));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    // Neither through a link nor waiting for a writer, should it be another one by now.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some(Thing::File(file, metadata)))
}

/// What a file is, so that two of one print are the same to git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Print(String);

impl Print {
    /// Of a file, by what reads its content.
    ///
    /// # Errors
    /// Those of reading.
    pub fn file(mode: u32, content: &mut impl Read) -> Io<Print> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
        Ok(Print::hashed(mode, hash))
    }

    pub fn hashed(mode: u32, hash: Sha256) -> Print {
        let runs = if mode & 0o100 == 0 { "file" } else { "program" };
        Print(format!("{runs} {}", super::hex(&hash.finalize())))
    }

    pub fn link(to: &str) -> Print {
        Print(format!("link {to}"))
    }

    /// Of what has a name in a tree; `None`: neither file nor link.
    pub fn of(root: &Utf8Path, name: &str) -> Option<Print> {
        match open(root, name) {
            Ok(None) => None,
            Ok(Some(Thing::Link(to, _))) => Some(Print::link(to.as_str())),
            Ok(Some(Thing::File(mut file, metadata))) => Print::file(metadata.mode(), &mut file).ok().or(Some(unreadable())),
            Err(_) => Some(unreadable()),
        }
    }
}

fn unreadable() -> Print {
    Print("unreadable".into())
}

/// Name → what is there.
pub type Prints = BTreeMap<String, Option<Print>>;

/// The names that are in one of the two alone, or are something else there.
pub fn differing(before: &Prints, after: &Prints) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let is = |prints: &Prints, name: &String| prints.get(name).cloned().flatten();
    names.into_iter().filter(|name| is(before, name) != is(after, name)).cloned().collect()
}

/// A tree before something runs that may write to it.
pub struct Seen {
    root: Utf8PathBuf,
    known: Prints,
    read: Prints,
    /// Every `.git` in it.
    pub repositories: Vec<Utf8PathBuf>,
}

/// Files that git, cargo or compose read by their names alone, and programs that they start because of them.
const READ: [&str; 7] = [".gitattributes", ".gitmodules", ".env", "build.rs", "rust-toolchain", "rust-toolchain.toml", ".cargo"];
/// The same in a `.git`.
const IN_GIT: [&str; 4] = ["config", "config.worktree", "commondir", "info/attributes"];

impl Seen {
    /// # Errors
    /// Those of [`files`].
    pub fn new(runner: &Runner, root: &Utf8Path) -> Result<Seen> {
        let known = files(runner, root)?.known.into_iter().map(|name| (name.clone(), Print::of(root, &name))).collect();
        let (read, repositories) = read(root);
        Ok(Seen { root: root.to_owned(), known, read, repositories })
    }

    /// What is not what it was, of the files that git knew then and of those that this machine's programs read. Git is not
    /// asked: it would read them.
    pub fn differing(&self) -> Vec<String> {
        let known = self.known.keys().map(|name| (name.clone(), Print::of(&self.root, name))).collect();
        let mut names: BTreeSet<String> = differing(&self.known, &known).into_iter().collect();
        names.extend(differing(&self.read, &read(&self.root).0));
        names.into_iter().collect()
    }
}

/// The files of a tree that this machine's programs read by their names, and every `.git` in it.
fn read(root: &Utf8Path) -> (Prints, Vec<Utf8PathBuf>) {
    let mut names = BTreeSet::new();
    let mut repositories = Vec::new();
    let each = &mut |name: &str, metadata: &Metadata| {
        let mut parts = name.split('/');
        if name.rsplit('/').next() == Some(".git") {
            repositories.push(root.join(name));
            names.insert(name.to_owned());
            if metadata.is_dir() {
                names.extend(IN_GIT.map(|file| join(name, file)));
                let hooks = root.join(name).join("hooks").read_dir_utf8().into_iter().flatten().flatten();
                names.extend(hooks.map(|hook| join(name, &format!("hooks/{}", hook.file_name()))));
            }
        } else if name.starts_with("xtask/") || parts.any(|part| READ.contains(&part)) {
            names.insert(name.to_owned());
        }
    };
    walk(root, "", each);
    let print = |name: String| {
        // A folder is something, too: one that is new is a repository in the repository.
        let is_folder = || root.join(&name).is_dir().then(|| Print("folder".into()));
        (name.clone(), Print::of(root, &name).or_else(is_folder))
    };
    (names.into_iter().map(print).collect(), repositories)
}

#[cfg(test)]
#[path = "working_tests.rs"]
mod tests;
