//! One file, folder or link of a context, and its place among the others.

use std::cmp::Ordering;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use super::ignore::Ignore;

pub type Digest = [u8; 32];

/// Device, inode, size and two times: some file systems give one inode number to several files.
pub type Same = (u64, u64, u64, [(i64, i64); 2]);

pub struct Entry {
    /// From the root of the context; lossy where it is not UTF-8.
    pub path: String,
    /// The name, where `path` is lossy.
    pub raw: Option<PathBuf>,
    pub kind: Kind,
    pub mode: u32,
    pub size: u64,
    pub same: Same,
    pub digest: Result<Digest, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    File,
    Link,
    /// A pipe, a socket or a device: never opened.
    Other(char),
}

impl Kind {
    pub fn of(metadata: &Metadata) -> Kind {
        let kind = metadata.file_type();
        match () {
            () if kind.is_dir() => Kind::Folder,
            () if kind.is_file() => Kind::File,
            () if kind.is_symlink() => Kind::Link,
            () if kind.is_fifo() => Kind::Other('p'),
            () if kind.is_socket() => Kind::Other('s'),
            () => Kind::Other('d'),
        }
    }

    pub fn letter(self) -> char {
        match self {
            Kind::Folder => 'D',
            Kind::File => 'F',
            Kind::Link => 'L',
            Kind::Other(letter) => letter,
        }
    }
}

/// The entries at a path that are not excluded below it. A folder that is stays for what is left in it.
pub fn left<'a>(top: &str, entries: &'a [Entry], excludes: Option<&Ignore>) -> Vec<&'a Entry> {
    let mut left: Vec<&Entry> = Vec::new();
    for entry in entries.iter().rev() {
        let below = entry.path.strip_prefix(top).map(|below| below.trim_start_matches('/')).filter(|below| !below.is_empty());
        // A name that is not UTF-8 is matched by nobody here.
        let is_excluded = excludes.zip(below).is_some_and(|(excludes, below)| entry.raw.is_none() && excludes.ignores(below));
        let holds = || entry.kind == Kind::Folder && left.last().is_some_and(|next| is_in(&next.path, &entry.path));
        if !is_excluded || holds() {
            left.push(entry);
        }
    }
    left.reverse();
    left
}

impl Entry {
    pub fn new(path: String, raw: Option<PathBuf>, metadata: &Metadata) -> Entry {
        let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
        let same = (metadata.dev(), metadata.ino(), metadata.len(), times);
        Entry { path, raw, kind: Kind::of(metadata), mode: metadata.mode(), size: metadata.len(), same, digest: Ok([0; 32]) }
    }
}

pub fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") }
}

/// The order in which a walk meets paths.
pub fn by_part(a: &str, b: &str) -> Ordering {
    a.split('/').filter(|part| !part.is_empty()).cmp(b.split('/').filter(|part| !part.is_empty()))
}

/// Whether a path is another one, or in it; everything is in "".
pub fn is_in(path: &str, top: &str) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
