//! What is about to be written, recorded before it is: the way back, for us and for `release --undo`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::exec::Runner;
use crate::parallel;
use crate::registry::{AT_ONCE, Digest, Registry, Wrote, put, split};
use crate::report;

/// One write of a tag: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    /// Nothing is created until the first entry.
    pub fn new(runner: &Runner, path: Utf8PathBuf) -> Journal {
        Journal { runner: runner.clone(), path, entries: Mutex::default() }
    }

    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// # Errors
    /// The disk is full or the like: then the write must not be made.
    pub fn record(&self, entry: Entry) -> Result<()> {
        let line = serde_json::to_string(&entry)?;
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.runner.append(&self.path, &line)?;
        entries.push(entry);
        Ok(())
    }

    /// What this process has written or was about to.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
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
    let entries = journal.entries();
    if result.is_ok() || entries.is_empty() {
        return result;
    }
    let undone = undo(registry, &undo_plan(&entries));
    undone.iter().for_each(|(tag, undone)| report::note(&describe(tag, undone)));
    if undone.iter().any(|(_, undone)| undone.is_err()) {
        let back = format!("cargo xtask release --undo {}", journal.path());
        report::note(&format!("run the same command again to go on, or `{back}` to go back"));
    }
    result
}

/// The entries of a journal. A line that was cut off by a crash is left out: its write was never made.
pub fn read(path: &Utf8Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| Fault::usage(format!("cannot read the journal {path}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| line.ends_with('}'));
    let entry = |(at, line)| {
        serde_json::from_str(line).with_context(|| Fault::usage(format!("{path}:{}: not a line of a journal", at + 1)))
    };
    lines.map(entry).collect()
}

/// The way back of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    pub tag: String,
    pub old: Option<Digest>,
    /// Everything we put there; any of it may be taken away again.
    pub ours: BTreeSet<Digest>,
}

/// From what was recorded to what to undo: each tag once, the last written first.
pub fn undo_plan(entries: &[Entry]) -> Vec<Undo> {
    let mut order: Vec<&str> = Vec::new();
    let mut undos: BTreeMap<&str, Undo> = BTreeMap::new();
    for entry in entries {
        let first = || {
            order.push(&entry.tag);
            Undo { tag: entry.tag.clone(), old: entry.old.clone(), ours: BTreeSet::new() }
        };
        undos.entry(&entry.tag).or_insert_with(first).ours.insert(entry.new.clone());
    }
    order.iter().rev().filter_map(|tag| undos.remove(tag)).collect()
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
pub fn undo(registry: &dyn Registry, undos: &[Undo]) -> Vec<(String, Result<Undone>)> {
    parallel::map(AT_ONCE, undos.iter().collect(), |undo: &Undo| (undo.tag.clone(), undo_one(registry, undo)))
}

fn undo_one(registry: &dyn Registry, undo: &Undo) -> Result<Undone> {
    let now = registry.digest(&undo.tag)?;
    if now == undo.old {
        return Ok(Undone::Untouched);
    }
    if now.as_ref().is_none_or(|now| !undo.ours.contains(now)) {
        return Ok(Undone::Foreign(now));
    }
    match &undo.old {
        Some(old) => drop(put(registry, split(&undo.tag).0, old, &undo.tag)?),
        None if registry.untag(&undo.tag)? == Wrote::Unsupported => return Ok(Undone::Stays),
        None => {}
    }
    Ok(Undone::Back(undo.old.clone()))
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
mod tests {
    use super::*;
    use crate::registry::memory::{Memory, Op, d};

    fn entry(tag: &str, old: Option<u32>, new: u32) -> Entry {
        Entry { tag: tag.into(), old: old.map(d), new: d(new) }
    }

    #[test]
    fn a_tag_goes_back_only_while_it_holds_what_we_wrote() {
        // (written, what is there now, what becomes of it)
        let table = [
            (vec![entry("r:a", Some(1), 2)], Some(2), Undone::Back(Some(d(1))), Some(1)),
            (vec![entry("r:a", Some(1), 2)], Some(1), Undone::Untouched, Some(1)),
            (vec![entry("r:a", Some(1), 2)], Some(3), Undone::Foreign(Some(d(3))), Some(3)),
            (vec![entry("r:a", None, 2)], Some(2), Undone::Back(None), None),
            (vec![entry("r:a", Some(1), 2), entry("r:a", Some(5), 2)], Some(2), Undone::Back(Some(d(1))), Some(1)),
        ];
        for (entries, now, undone, then) in table {
            let memory = Memory::default();
            now.iter().for_each(|now| memory.set("r:a", &d(*now)));
            let done = undo(&memory.view(), &undo_plan(&entries)).remove(0);
            assert_eq!((done.0.as_str(), done.1.unwrap()), ("r:a", undone), "{entries:?}");
            assert_eq!(memory.get("r:a"), then.map(d), "{entries:?}");
        }
    }

    #[test]
    fn a_tag_that_cannot_be_undone_is_named_and_the_others_are_undone() {
        let memory = Memory::default();
        let entries: Vec<Entry> = (0..9).map(|n| entry(&format!("r:{n}"), Some(1), 2)).collect();
        entries.iter().for_each(|entry| memory.set(&entry.tag, &entry.new));
        let dead = |op: &Op| if *op == Op::Read("r:8".into()) { anyhow::bail!("no route") } else { Ok(()) };
        let undone = undo(&memory.hooked(dead), &undo_plan(&entries));
        assert_eq!(describe(&undone[0].0, &undone[0].1), "r:8: cannot be undone: no route");
        assert!(undone[1..].iter().all(|(_, undone)| undone.is_ok()) && undone.len() == 9);
        assert_eq!((memory.get("r:0"), memory.get("r:7")), (Some(d(1)), Some(d(1))));
    }

    #[test]
    fn the_last_written_goes_back_first() {
        let plan = undo_plan(&[entry("r:a", Some(1), 2), entry("r:latest", Some(1), 2), entry("r:a", Some(3), 2)]);
        assert_eq!(plan.iter().map(|undo| undo.tag.as_str()).collect::<Vec<_>>(), ["r:latest", "r:a"]);
    }

    #[test]
    fn a_journal_survives_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(folder.path().join("a/journal.jsonl")).unwrap();
        let journal = Journal::new(&Runner::default(), path.clone());
        let entries = [entry("r:a", None, 1), entry("r:b", Some(1), 2)];
        entries.iter().for_each(|entry| journal.record(entry.clone()).unwrap());
        assert_eq!(read(&path).unwrap(), entries);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 10]).unwrap();
        assert_eq!(read(&path).unwrap(), entries[..1]);
        journal.record(entry("r:c", None, 3)).unwrap();
        assert_eq!(read(&path).unwrap(), [entries[0].clone(), entry("r:c", None, 3)]);
    }

    #[test]
    fn nothing_is_on_record_that_is_not_on_the_disk() {
        let journal = Journal::new(&Runner::default(), "/proc/no/journal".into());
        assert!(journal.record(entry("r:a", None, 1)).is_err());
        assert_eq!(journal.entries(), []);
    }
}
