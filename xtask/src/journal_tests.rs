//! Journals: what is read of them, and the way back.

use super::*;
use crate::registry::memory::{Memory, Op, d};

fn plan_of(entries: &[Entry]) -> Vec<Undo> {
    undo_plan(&Record { entries: entries.to_vec(), ..Record::default() })
}

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
        let done = undo(&memory.view(), &plan_of(&entries), &as_it_was).remove(0);
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
    let undone = undo(&memory.hooked(dead), &plan_of(&entries), &as_it_was);
    assert_eq!(describe(&undone[0].0, &undone[0].1), "r:8: cannot be undone: no route");
    assert!(undone[1..].iter().all(|(_, undone)| undone.is_ok()) && undone.len() == 9);
    assert_eq!((memory.get("r:0"), memory.get("r:7")), (Some(d(1)), Some(d(1))));
}

#[test]
fn the_last_written_goes_back_first() {
    let plan = plan_of(&[entry("r:a", Some(1), 2), entry("r:latest", Some(1), 2), entry("r:a", Some(3), 2)]);
    assert_eq!(plan.iter().map(|undo| undo.tag.as_str()).collect::<Vec<_>>(), ["r:latest", "r:a"]);
}

#[test]
fn a_journal_survives_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("a/journal.jsonl")).unwrap();
    let journal = Journal::new(&Runner::default(), path.clone());
    let entries = [entry("r:a", None, 1), entry("r:b", Some(1), 2)];
    entries.iter().for_each(|entry| journal.record(entry.clone()).unwrap());
    assert_eq!(read(&path).unwrap().entries, entries);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 10]).unwrap();
    assert_eq!(read(&path).unwrap().entries, entries[..1]);
    journal.record(entry("r:c", None, 3)).unwrap();
    assert_eq!(read(&path).unwrap().entries, [entries[0].clone(), entry("r:c", None, 3)]);
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("j")).unwrap();
    let line = serde_json::to_string(&entry("r:a", None, 1)).unwrap();
    for text in [
        "[]}",
        "{\"tag\": \"r:a\u{1b}[2J\", \"new\": \"\u{1b}\"}",
        "{\"\u{1b}]0;x\": 1}",
        "{\"tag\": \"r:a\", \"old\": null, \"new\": \"sha256:0\"}",
        &format!("{line}\n{{\"tag\": 7}}"),
        &line.replace('}', ", \"more\": 1}"),
        &format!("{}1{}", "{\"a\":".repeat(9_999), "}".repeat(9_999)),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("not a line of a journal") && !error.contains('\u{1b}'), "{error}");
        assert_eq!(crate::error::exit_code(&read(&path).unwrap_err()), crate::error::Code::Usage);
    }
    std::fs::write(&path, [0xff, b'}']).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("it is no text"));
    std::fs::File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("at most 16 MiB"));
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    assert!(read(folder).unwrap_err().to_string().contains("a file of at most"));
    assert!(read(Utf8Path::new("/dev/zero")).unwrap_err().to_string().contains("a file of at most"));
    // Cut off anywhere, what is before the cut counts.
    for cut in 0..line.len() {
        std::fs::write(&path, format!("{line}\n{}", &line[..cut])).unwrap();
        assert_eq!(read(&path).unwrap().entries.len(), 1, "{cut}");
    }
}

#[test]
fn nothing_is_on_record_that_is_not_on_the_disk() {
    let journal = Journal::new(&Runner::default(), "/proc/no/journal".into());
    assert!(journal.record(entry("r:a", None, 1)).is_err());
    assert_eq!(journal.so_far().entries, []);
}
