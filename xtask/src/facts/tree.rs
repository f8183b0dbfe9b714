//! The files of one context: walked once, only where something is taken, and hashed several at a time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::entry::{self, Digest, Entry, Kind, Same, by_part, is_in, join};
use super::ignore::Ignore;
use super::sources;
use super::volatile::Volatile;
use crate::parallel;

/// By device and inode, over all contexts of a run: each file is read once.
#[derive(Default)]
pub struct Digests(HashMap<Same, Result<Digest, String>>);

/// A context as the builds with one `.dockerignore` see it.
pub struct Tree {
    root: PathBuf,
    pub ignore: Ignore,
    volatile: Volatile,
    /// Sorted by path, part by part: a folder stands before what is in it.
    entries: Vec<Entry>,
    /// Pattern → the paths it names, or the link it goes through.
    named: BTreeMap<String, Result<Vec<String>, String>>,
    /// Folders that cannot be read, and why.
    faults: Vec<(String, String)>,
}

impl Tree {
    pub fn new(repo: &Utf8Path, context: &Utf8Path, ignore: Ignore) -> Tree {
        let root = repo.join(context);
        let volatile = Volatile::new(repo, context, &ignore);
        let (entries, named, faults) = (Vec::new(), BTreeMap::new(), Vec::new());
        Tree { root: root.into(), ignore, volatile, entries, named, faults }
    }

    /// Finds, walks and hashes what the patterns take (`.` is everything), together with what was read before.
    pub fn read(&mut self, patterns: &BTreeSet<&str>, digests: &mut Digests, stop: &(dyn Fn() -> bool + Sync)) {
        for pattern in patterns {
            let parts = if *pattern == sources::ALL { Vec::new() } else { pattern.split('/').collect() };
            let mut found = Vec::new();
            let named = self.find("", &parts, &mut found, &mut BTreeSet::new()).map(|()| found);
            self.named.insert((*pattern).to_owned(), named);
        }
        let named = self.named.values().flatten().flatten();
        let mut tops: Vec<&String> = named.collect();
        tops.sort_by(|a, b| by_part(a, b));
        // What lies in another one is walked with it.
        tops.dedup_by(|inner, outer| is_in(inner, outer));
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for top in tops {
            self.walk_top(top, &mut entries, &mut faults, stop);
        }
        hash(&self.root, &mut entries, digests, stop);
        (self.entries, self.faults) = (entries, faults);
    }

    /// The paths that a pattern names below `at`.
    ///
    /// # Errors
    /// The link that it goes through or ends in, which BuildKit follows; a name that is not UTF-8.
    fn find<'p>(
        &self,
        at: &str,
        parts: &'p [&'p str],
        found: &mut Vec<String>,
        seen: &mut BTreeSet<(String, usize)>,
    ) -> Result<(), String> {
        // Several `**` lead to one place in several ways.
        if parts.contains(&"**") && !seen.insert((at.to_owned(), parts.len())) {
            return Ok(());
        }
        let Some((first, rest)) = parts.split_first() else {
            found.push(at.to_owned());
            return Ok(());
        };
        let deep = *first == "**";
        if deep {
            self.find(at, rest, found, seen)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
        let mut names = Vec::new();
        if first.contains(['*', '?', '[', '\\']) {
            for entry in std::fs::read_dir(self.root.join(at)).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().map_err(|name| join(at, &name.to_string_lossy()))?;
                names.extend(Some(name).filter(|name| deep || name == first || sources::takes(first, None, name)));
            }
            names.sort();
        } else {
            names.push((*first).to_owned());
        }
        for name in names {
            let path = join(at, &name);
            let Ok(metadata) = self.root.join(&path).symlink_metadata() else { continue };
            if self.ignore.ignores(&path) && !(metadata.is_dir() && self.ignore.may_return(&path)) {
                continue;
            }
            match Kind::of(&metadata) {
                Kind::Folder => self.find(&path, if deep { parts } else { rest }, found, seen)?,
                _ if deep => {}
                Kind::Link => return Err(format!("the link {path}")),
                _ if rest.is_empty() => found.push(path),
                _ => {}
            }
        }
        Ok(())
    }

    fn walk_top(&self, top: &str, entries: &mut Vec<Entry>, faults: &mut Vec<(String, String)>, stop: &dyn Fn() -> bool) {
        let (mut state, mut ignored) = (Vec::new(), false);
        for end in top.match_indices('/').map(|(at, _)| at).chain([top.len()]).filter(|end| *end > 0) {
            (ignored, state) = self.ignore.step(&state, &top[..end]);
        }
        if top.is_empty() {
            return self.walk("", &self.root, &state, entries, faults, stop);
        }
        if let Ok(metadata) = self.root.join(top).symlink_metadata() {
            self.add(Entry::new(top.to_owned(), None, &metadata), (ignored, &state), entries, faults, stop);
        }
    }

    fn walk(
        &self,
        at: &str,
        folder: &Path,
        state: &[bool],
        entries: &mut Vec<Entry>,
        faults: &mut Vec<(String, String)>,
        stop: &dyn Fn() -> bool,
    ) {
        let read = std::fs::read_dir(folder).and_then(|list| {
            let named = list.map(|entry| {
                let entry = entry?;
                let name = entry.file_name();
                let path = join(at, &name.to_string_lossy());
                let raw = name.to_str().is_none() || folder.to_str().is_none();
                Ok(Entry::new(path, raw.then(|| folder.join(&name)), &entry.metadata()?))
            });
            named.collect::<io::Result<Vec<_>>>()
        });
        let mut children = match read {
            Ok(children) => children,
            Err(error) => return faults.push((at.to_owned(), format!("cannot read {}: {error}", folder.display()))),
        };
        // Their folder is the same, so the order is that of their names.
        children.sort_by(|a, b| (&a.path, &a.raw).cmp(&(&b.path, &b.raw)));
        for child in children {
            if stop() {
                return;
            }
            let (ignored, state) = self.ignore.step(state, &child.path);
            self.add(child, (ignored, &state), entries, faults, stop);
        }
    }

    /// An entry that is not left out, with what is in it.
    fn add(
        &self,
        entry: Entry,
        (ignored, state): (bool, &[bool]),
        entries: &mut Vec<Entry>,
        faults: &mut Vec<(String, String)>,
        stop: &dyn Fn() -> bool,
    ) {
        if self.volatile.has(&entry.path) {
            return;
        }
        if entry.kind != Kind::Folder {
            entries.extend(Some(entry).filter(|_| !ignored));
            return;
        }
        if ignored && !self.ignore.may_return(&entry.path) {
            return;
        }
        let (at, path) = (entries.len(), entry.path.clone());
        let folder = entry.raw.clone().unwrap_or_else(|| self.root.join(&path));
        entries.push(entry);
        self.walk(&path, &folder, state, entries, faults, stop);
        // A folder that is left out is there only because of what came back in it.
        if ignored && entries.len() == at + 1 {
            entries.pop();
        }
    }

    /// The link that a pattern goes through.
    pub fn link(&self, pattern: &str) -> Option<&str> {
        self.named.get(pattern)?.as_ref().err().map(String::as_str)
    }

    /// Whether a pattern without wildcards names nothing.
    pub fn lacks(&self, pattern: &str) -> bool {
        let wild = pattern == sources::ALL || pattern.contains(['*', '?', '[', '\\']);
        let is_empty = || self.ranges(pattern).all(|(_, entries)| entries.is_empty());
        !wild && is_empty() && !self.tops(pattern).iter().any(|top| self.volatile.has(top))
    }

    /// What a pattern takes that no two runs or clones find the same, as a sentence each.
    pub fn volatile(&self, pattern: &str, excludes: Option<&Ignore>) -> Vec<String> {
        self.volatile.taken(pattern, excludes, self.tops(pattern))
    }

    /// Why the hash of a pattern does not say what is taken.
    pub fn fault(&self, pattern: &str) -> Option<String> {
        let folder = self.faults.iter().find(|(path, _)| self.tops(pattern).iter().any(|top| is_in(path, top)));
        let file = || self.ranges(pattern).flat_map(|(_, entries)| entries).find_map(|entry| entry.digest.as_ref().err());
        folder.map(|(_, why)| why).or_else(file).cloned()
    }

    /// The paths that a pattern names; none where it goes through a link.
    fn tops(&self, pattern: &str) -> &[String] {
        self.named.get(pattern).and_then(|tops| tops.as_ref().ok()).map_or(&[], Vec::as_slice)
    }

    /// Each path that a pattern names, with the entries there.
    fn ranges(&self, pattern: &str) -> impl Iterator<Item = (&str, &[Entry])> {
        self.tops(pattern).iter().map(|top| {
            let from = self.entries.partition_point(|entry| by_part(&entry.path, top) == Ordering::Less);
            let len = self.entries[from..].partition_point(|entry| is_in(&entry.path, top));
            (top.as_str(), &self.entries[from..from + len])
        })
    }

    /// SHA-256 in hex over everything that a pattern takes, but for what is excluded below each path that it names.
    /// `parents`: and over the folders around it.
    pub fn hash(&self, pattern: &str, excludes: Option<&Ignore>, parents: bool) -> String {
        let mut hash = Sha256::new();
        if parents {
            let tops = self.tops(pattern).iter();
            let folders = tops.flat_map(|top| top.match_indices('/').map(|(at, _)| &top[..at])).collect::<BTreeSet<_>>();
            for folder in folders {
                let mode = self.root.join(folder).symlink_metadata().map(|metadata| metadata.mode()).unwrap_or_default();
                hash.update(format!("P {mode:o} {} {folder}\n", folder.len()));
            }
        }
        let mut line = Vec::new();
        for entry in self.ranges(pattern).flat_map(|(top, entries)| entry::left(top, entries, excludes)) {
            let name = entry.raw.as_ref().map_or(entry.path.as_bytes(), |raw| raw.as_os_str().as_bytes());
            // The permissions of a link mean nothing.
            let mode = if entry.kind == Kind::Link { 0 } else { entry.mode & 0o7777 };
            line.clear();
            line.extend(format!("{} {mode:o} {} ", entry.kind.letter(), name.len()).bytes());
            line.extend_from_slice(name);
            line.extend_from_slice(entry.digest.as_ref().map_or(&[], |digest| digest.as_slice()));
            hash.update(&line);
        }
        super::hex(&hash.finalize())
    }
}

/// Fills in the digests: contents, texts of links, extended attributes.
fn hash(root: &Path, entries: &mut [Entry], digests: &mut Digests, stop: &(dyn Fn() -> bool + Sync)) {
    const AT_ONCE: usize = 256;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs: Vec<&mut Entry> = entries
        .iter_mut()
        .filter_map(|entry| match digests.0.get(&entry.same) {
            Some(known) => {
                entry.digest.clone_from(known);
                None
            }
            None => Some(entry),
        })
        .collect();
    let mut jobs = jobs.into_iter();
    let chunks = std::iter::from_fn(|| Some(jobs.by_ref().take(AT_ONCE).collect::<Vec<_>>()).filter(|chunk| !chunk.is_empty()));
    let done = parallel::map(processors, chunks.collect(), |chunk| {
        let mut buffer = vec![0; 64 * 1024];
        let mut fresh = Vec::with_capacity(chunk.len());
        for entry in chunk {
            if stop() {
                break;
            }
            let path = entry.raw.clone().unwrap_or_else(|| root.join(&entry.path));
            let digest = digest(&path, entry, &mut buffer);
            entry.digest = digest.map_err(|error| format!("cannot read {}: {error}", path.display()));
            fresh.push((entry.same, entry.digest.clone()));
        }
        fresh
    });
    digests.0.extend(done.into_iter().flatten());
}

fn digest(path: &Path, entry: &Entry, buffer: &mut [u8]) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    match entry.kind {
        Kind::Link => hash.update(std::fs::read_link(path)?.as_os_str().as_bytes()),
        Kind::File => {
            // Whatever has taken its place by now: no link is followed, and no pipe waited for.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            let mut left = entry.size;
            loop {
                let read = file.read(buffer)?;
                hash.update(&buffer[..read]);
                left = left.saturating_sub(read as u64);
                if read == 0 || (left == 0 && read < buffer.len()) {
                    break;
                }
            }
        }
        Kind::Folder | Kind::Other(_) => {}
    }
    let attributes = attributes(path)?;
    let digest = hash.finalize();
    Ok(if attributes.is_empty() {
        digest.into()
    } else {
        Sha256::new().chain_update(digest).chain_update(attributes).finalize().into()
    })
}

/// Extended attributes become part of an image, but for those that belong to this machine.
fn attributes(path: &Path) -> io::Result<Vec<u8>> {
    let mut names = [0_u8; 4096];
    let names = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(0) | Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(len) => &names[..len],
        Err(error) => return Err(error.into()),
    };
    let of_machine = |name: &[u8]| ["com.apple.", "security.", "system."].iter().any(|kind| name.starts_with(kind.as_bytes()));
    let counts = |name: &&[u8]| !name.is_empty() && (*name == b"security.capability" || !of_machine(name));
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(counts).collect::<BTreeSet<_>>() {
        let mut value = [0_u8; 4096];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        all.extend(format!("{} {len} ", name.len()).bytes().chain(name.iter().copied()).chain(value[..len].iter().copied()));
    }
    Ok(all)
}
