//! What is about to be written, recorded before it is: the way back, for us and for `release --undo`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::exec::Runner;
use crate::parallel;
use crate::registry::{AT_ONCE, Digest, Registry, Wrote, split};
use crate::release::Mark;
use crate::report;

/// A longer file is no journal: a release of 256 images writes less than a tenth of it.
const LIMIT: u64 = 16 << 20;
/// How often a tag is put back while others are released.
const ROUNDS: usize = 5;

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Write(Entry),
    Start(Start),
    Left(Left),
}

/// A tag of the release that a newer one had. When that is undone, the tag is given to this release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    left: String,
}

/// What a release found: the way back leads to a version that was released since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The marks that the release leaves when it is through.
    pub marks: Vec<Mark>,
    /// The marks of other versions that were there.
    pub released: BTreeSet<String>,
}

/// What a run wrote, or was about to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of the first attempt.
    pub start: Start,
    pub entries: Vec<Entry>,
    /// Tags that were left to newer releases.
    pub left: BTreeSet<String>,
}

impl Record {
    /// Every tag that an undo may touch or reads, some more than once.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let marks = self.start.marks.iter().map(|mark| mark.tag.as_str());
        self.entries.iter().map(|entry| entry.tag.as_str()).chain(self.left.iter().map(String::as_str)).chain(marks)
    }
}

/// One write of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Full reference.
    pub tag: String,
    /// Null: there was no such tag.
    pub old: Option<Digest>,
    pub new: Digest,
}

/// Appended to `target/slipway/journal-{run}.jsonl`; each line is on the disk before its write is made.
pub struct Journal {
    runner: Runner,
    path: Utf8PathBuf,
    record: Mutex<Record>,
}

impl Journal {
    /// Nothing is created until the first entry.
    pub fn new(runner: &Runner, path: Utf8PathBuf) -> Journal {
        Journal { runner: runner.clone(), path, record: Mutex::default() }
    }

    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Says what a release found. It is written beside the second entry: on a full disk the way back of a tag comes first.
    pub fn begin(&self, start: Start) {
        self.lock().start = start;
    }

    /// # Errors
    /// The disk is full or the like: then the write must not be made.
    pub fn record(&self, entry: Entry) -> Result<()> {
        let mut record = self.lock();
        if record.entries.len() == 1 && record.start != Start::default() {
            self.runner.append(&self.path, &serde_json::to_string(&Line::Start(record.start.clone()))?)?;
        }
        self.runner.append(&self.path, &serde_json::to_string(&entry)?)?;
        record.entries.push(entry);
        Ok(())
    }

    /// Says that a tag was left to a newer release.
    ///
    /// # Errors
    /// Those of [`Journal::record`].
    pub fn leave(&self, tag: &str) -> Result<()> {
        self.runner.append(&self.path, &serde_json::to_string(&Line::Left(Left { left: tag.to_owned() }))?)?;
        self.lock().left.insert(tag.to_owned());
        Ok(())
    }

    /// What this process has written or was about to.
    pub fn so_far(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where the journal of a run lies.
pub fn path(repo: &Utf8Path, run: &str) -> Utf8PathBuf {
    repo.join(format!("target/slipway/journal-{run}.jsonl"))
}

/// The journals of a checkout.
pub fn all(repo: &Utf8Path) -> Vec<Utf8PathBuf> {
    let files = path(repo, "x").parent().and_then(|folder| folder.read_dir_utf8().ok()).into_iter().flatten().flatten();
    let is_journal = |name: &str| name.starts_with("journal-") && name.ends_with(".jsonl");
    let mut found: Vec<Utf8PathBuf> =
        files.filter(|file| is_journal(file.file_name())).map(|file| file.path().to_owned()).collect();
    found.sort();
    found
}

/// Undoes what this process wrote when it failed, so that no exit that runs code leaves a mixture.
///
/// # Errors
/// The error of `result`; what could not be undone is on stderr by then, with the command that does it later.
pub fn or_undo<T>(result: Result<T>, journal: &Journal, registry: &dyn Registry) -> Result<T> {
    or_go_back(result, journal, registry, &as_it_was)
}

/// The same, to an image that is not always that from before.
///
/// # Errors
/// Those of [`or_undo`].
pub fn or_go_back<T>(result: Result<T>, journal: &Journal, registry: &dyn Registry, back: WayBack<'_>) -> Result<T> {
    let record = journal.so_far();
    if result.is_ok() || record.entries.is_empty() {
        return result;
    }
    let undone = undo(registry, &undo_plan(&record), back);
    undone.iter().for_each(|(tag, undone)| report::note(&describe(tag, undone)));
    if undone.iter().any(|(_, undone)| undone.is_err()) {
        let back = format!("cargo xtask release --undo {}", journal.path());
        report::note(&format!("run the same command again to go on, or `{back}` to go back"));
    }
    result
}

/// Reads a journal. A line that was cut off by a crash is left out: its write was never made.
///
/// # Errors
/// Usage: no file, too long, or not a journal. Its text may be anybody's, and is not repeated.
pub fn read(path: &Utf8Path) -> Result<Record> {
    let refused = |why: String| Fault::usage(format!("cannot read the journal {path}: {why}"));
    let metadata = path.metadata().with_context(|| refused("it is not there".into()))?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(refused(format!("a journal is a file of at most {} MiB", LIMIT >> 20)).into());
    }
    let text = std::fs::read_to_string(path).with_context(|| refused("it is no text".into()))?;
    let mut record = Record::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| line.ends_with('}')) {
        match serde_json::from_str(line) {
            Ok(Line::Write(entry)) => record.entries.push(entry),
            // Of a second attempt: what was released before the first one counts.
            Ok(Line::Start(start)) if record.start != Start::default() => record.start.marks.extend(start.marks),
            Ok(Line::Start(start)) => record.start = start,
            Ok(Line::Left(Left { left })) => drop(record.left.insert(left)),
            Err(_) => return Err(Fault::usage(format!("{path}:{}: not a line of a journal", at + 1)).into()),
        }
    }
    Ok(record)
}

/// An image that a tag goes back to, and the repository that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub repository: String,
    pub digest: Digest,
}

/// What a tag goes back to, by what is in the registry now; `None`: to nothing.
pub type WayBack<'a> = &'a (dyn Fn(&Undo) -> Result<Option<Source>> + Sync);

/// The way back to the image from before.
///
/// # Errors
/// None.
pub fn as_it_was(undo: &Undo) -> Result<Option<Source>> {
    let source = |digest: &Digest| Source { repository: split(&undo.tag).0.to_owned(), digest: digest.clone() };
    Ok(undo.old.as_ref().map(source))
}

/// The way back of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    pub tag: String,
    pub old: Option<Digest>,
    /// Everything we put there; any of it may be taken away again.
    pub ours: BTreeSet<Digest>,
    /// Never written, but left to a newer release; `old` says nothing then.
    pub is_left: bool,
}

/// From what was recorded to what to undo: each tag once, the last written first.
pub fn undo_plan(record: &Record) -> Vec<Undo> {
    let mut order: Vec<&str> = Vec::new();
    let mut undos: BTreeMap<&str, Undo> = BTreeMap::new();
    for entry in &record.entries {
        let first = || {
            order.push(&entry.tag);
            Undo { tag: entry.tag.clone(), old: entry.old.clone(), ours: BTreeSet::new(), is_left: false }
        };
        undos.entry(&entry.tag).or_insert_with(first).ours.insert(entry.new.clone());
    }
    let left: Vec<Undo> =
        record.left.iter().filter(|tag| !undos.contains_key(tag.as_str())).map(|tag| left(record, tag)).collect();
    order.iter().rev().filter_map(|tag| undos.remove(tag)).chain(left).collect()
}

fn left(record: &Record, tag: &str) -> Undo {
    let marks = record.start.marks.iter().filter(|mark| mark.repository == split(tag).0);
    Undo { tag: tag.to_owned(), old: None, ours: marks.map(|mark| mark.digest.clone()).collect(), is_left: true }
}

/// What became of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    Back(Option<Digest>),
    /// It holds what it held before.
    Untouched,
    /// Somebody else's by now, left alone.
    Foreign(Option<Digest>),
    /// There was no tag before, and the registry cannot remove one.
    Stays,
}

/// Puts every tag back that still holds what we wrote. Each is tried, whatever becomes of the others.
pub fn undo(registry: &dyn Registry, undos: &[Undo], back: WayBack<'_>) -> Vec<(String, Result<Undone>)> {
    parallel::map(AT_ONCE, undos.iter().collect(), |undo: &Undo| (undo.tag.clone(), undo_one(registry, undo, back)))
}

fn undo_one(registry: &dyn Registry, undo: &Undo, back: WayBack<'_>) -> Result<Undone> {
    let now = registry.digest(&undo.tag)?;
    if now == undo.old {
        return Ok(Undone::Untouched);
    }
    if now.as_ref().is_none_or(|now| !undo.ours.contains(now)) {
        return Ok(if undo.is_left { Undone::Untouched } else { Undone::Foreign(now) });
    }
    let mut source = back(undo)?;
    for _ in 0..ROUNDS {
        let wrote = match &source {
            Some(Source { repository, digest }) => registry.tag(repository, digest, &undo.tag)?,
            None => registry.untag(&undo.tag)?,
        };
        let then = source.as_ref().map(|source| source.digest.clone());
        let now = registry.digest(&undo.tag)?;
        match wrote {
            Wrote::Printed => return Ok(Undone::Back(then)),
            Wrote::Unsupported => return Ok(Undone::Stays),
            Wrote::Done if now == then => {}
            Wrote::Done if now.as_ref().is_some_and(|now| undo.ours.contains(now)) => {
                return Err(Fault::refused("the registry took the write, and still has what was to be undone").into());
            }
            Wrote::Done => return Ok(Undone::Foreign(now)),
        }
        // A release that ended meanwhile may have seen our image and left the tag alone. Its mark is there by now.
        let newer = back(undo)?;
        if newer == source {
            return Ok(Undone::Back(then));
        }
        source = newer;
    }
    Err(Fault::refused("others are released again and again meanwhile").into())
}

/// A line for people.
pub fn describe(tag: &str, undone: &Result<Undone>) -> String {
    let short = |digest: &Option<Digest>| digest.as_ref().map_or("nothing".to_owned(), |digest| digest.short().to_owned());
    let undone = match undone {
        Ok(undone) => undone,
        Err(error) => return format!("{tag}: cannot be undone: {error:#}"),
    };
    match undone {
        Undone::Back(None) => format!("{tag}: removed again"),
        Undone::Back(old) => format!("{tag}: back at {}", short(old)),
        Undone::Untouched => format!("{tag}: as it was before"),
        Undone::Foreign(now) => format!("{tag}: left alone, somebody else put {} there", short(now)),
        Undone::Stays => format!("{tag}: stays, the registry cannot remove a tag that did not exist before"),
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
