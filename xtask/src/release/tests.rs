//! Releases against a registry in memory: forward only, undone, and two at once in every order of their operations.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::undo::Back;
use super::*;
use crate::error::{Code, exit_code};
use crate::exec::Runner;
use crate::forward::Ancestry;
use crate::journal::{Record, Undone, undo, undo_plan};
use crate::plan::labels::KEY;
use crate::registry::memory::{Memory, Op, View, d};

const TAGS: [&str; 2] = ["r/a:1", "r/a:latest"];

/// Version `v1.N.0` is the digest `d(N)`.
fn world(versions: &[u32], latest: u32) -> Memory {
    let memory = Memory::default();
    for &n in versions {
        let version = format!("v1.{n}.0");
        let labels = [(KEY, "k"), ("org.opencontainers.image.version", &version)];
        memory.add(&d(n), &labels, &[&format!("r/a:{version}")]);
    }
    if latest > 0 {
        TAGS.iter().for_each(|tag| memory.set(tag, &d(latest)));
    }
    memory
}

struct Ran {
    result: Result<Vec<Outcome>>,
    journal: Vec<Entry>,
    record: Record,
}

fn release(view: &View<'_>, n: u32, step_back: bool) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::try_from(folder.path().join("journal")).unwrap();
    let journal = Journal::new(&Runner::default(), path);
    let version = Version::parse(&format!("v1.{n}.0")).unwrap();
    let mark = Mark { tag: marks::released("r/a", "a", &version.text), repository: "r/a".into(), digest: d(n) };
    let marks = if step_back { Vec::new() } else { vec![mark] };
    let moves: Vec<Move> = TAGS.iter().map(|tag| Move { tag: (*tag).into(), digest: d(n) }).collect();
    let ours = Ours { version: Some(version), revision: Some("c".into()) };
    let history = |_: &str| Ok(Ancestry::Unknown);
    let branch = Branch { tags: Vec::new(), forced: false, has: &|_| Ok(None) };
    let release = Release { registry: view, ours, history: &history, branch, journal: &journal, step_back };
    let result = release.run(&moves, &marks, &|_, _| true);
    let record = journal.so_far();
    if result.is_err() {
        assert!(go_back(view, &record, &|_, _| true).iter().all(|(_, undone)| undone.is_ok()));
    }
    Ran { result, journal: record.entries.clone(), record }
}

/// The mark of a version of the image that is in this repository.
fn released(repository: &str, version: &str) -> String {
    marks::released(repository, repository.trim_start_matches("r/"), version)
}

fn go_back(view: &View<'_>, record: &Record, follows: Follows<'_>) -> Vec<(String, Result<Undone>)> {
    let commits = |_: &str, _: &str| bail!("interrupted");
    let back = Back { registry: view, start: &record.start, follows, commits: &commits };
    undo(view, &undo_plan(record), &|undo| back.way(undo))
}

fn ends(memory: &Memory) -> [Option<crate::registry::Digest>; 2] {
    TAGS.map(|tag| memory.get(tag))
}

#[test]
fn forward_moves_backward_is_skipped_and_a_second_run_is_empty() {
    let memory = world(&[1, 2, 3], 2);
    let ran = release(&memory.view(), 1, false);
    assert!(matches!(&ran.result.unwrap()[..], [Outcome::Skipped(why), Outcome::Skipped(_)] if why.contains("v1.2.0")));
    assert_eq!(ends(&memory), [Some(d(2)), Some(d(2))]);
    let ran = release(&memory.view(), 3, false);
    assert_eq!(ran.result.unwrap()[1], Outcome::Moved { old: Some(d(2)), warning: None });
    assert_eq!(
        ran.journal.iter().map(|entry| entry.tag.as_str()).collect::<Vec<_>>(),
        ["r/a:1", "r/a:latest", &marks::released("r/a", "a", "v1.3.0")]
    );
    let again = release(&memory.view(), 3, false);
    assert_eq!(again.result.unwrap(), [Outcome::Already, Outcome::Already]);
    assert_eq!(again.journal, []);
}

#[test]
fn a_step_back_is_deliberate() {
    let memory = world(&[1, 2], 2);
    let ran = release(&memory.view(), 1, true);
    assert!(matches!(&ran.result.unwrap()[0], Outcome::Moved { warning: Some(why), .. } if why.contains("a step back")));
    assert_eq!(ends(&memory), [Some(d(1)), Some(d(1))]);
    assert_eq!(memory.get(&marks::released("r/a", "a", "v1.1.0")), None);
}

#[test]
fn a_foreign_image_that_appears_stops_the_run_and_stays() {
    for at in 0..2 {
        let memory = Arc::new(world(&[1, 2], 1));
        let (other, seen) = (Arc::clone(&memory), Mutex::new(0));
        let hook = move |op: &Op| {
            if op.changes() {
                let mut seen = seen.lock().unwrap();
                if *seen == at {
                    other.set("r/a:latest", &d(99));
                }
                *seen += 1;
            }
            Ok(())
        };
        let error = release(&memory.hooked(hook), 2, false);
        // Before the first write latest is still to be read; before its own write it was just read, and is overwritten:
        // there is no compare-and-swap.
        if at == 0 {
            assert_eq!(exit_code(&error.result.unwrap_err()), Code::Refused);
            assert_eq!(ends(&memory), [Some(d(1)), Some(d(99))], "ours went back, theirs stayed");
        }
    }
}

#[test]
fn a_failure_at_any_write_leaves_everything_as_it_was() {
    for at in 0..3 {
        for old in [0, 1] {
            let memory = world(&[1, 2], old);
            let before = ends(&memory);
            let writes = Mutex::new(0);
            let hook = move |op: &Op| {
                let mut writes = writes.lock().unwrap();
                *writes += usize::from(op.changes());
                if op.changes() && *writes == at + 1 { bail!("the registry is read-only") } else { Ok(()) }
            };
            assert!(release(&memory.hooked(hook), 2, false).result.is_err());
            assert_eq!(ends(&memory), before, "write {at}");
            assert!(release(&memory.view(), 2, false).result.is_ok());
            assert_eq!(ends(&memory), [Some(d(2)), Some(d(2))], "the next run needs no journal");
        }
    }
}

/// Lets two processes take their operations in a given order; whoever is not there any more is passed over.
#[derive(Default)]
struct Turns {
    state: Mutex<(Vec<usize>, [bool; 2])>,
    changed: Condvar,
}

impl Turns {
    fn wait(&self, who: usize) {
        let mut state = self.state.lock().unwrap();
        loop {
            match state.0.last().copied() {
                Some(next) if next != who && !state.1[next] => state = self.changed.wait(state).unwrap(),
                next => {
                    if next == Some(who) {
                        state.0.pop();
                    } else if next.is_some() {
                        state.0.pop();
                        continue;
                    }
                    drop(state);
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }

    fn leave(&self, who: usize) {
        self.state.lock().unwrap().1[who] = true;
        self.changed.notify_all();
    }
}

/// Two releases, 2 and 3, whose operations take turns as the bits of `order` say; then whoever is left goes on.
fn race(order: u64, steps: u32) {
    let memory = Arc::new(world(&[1, 2, 3], 1));
    memory.set(&released("r/a", "v1.1.0"), &d(1));
    let turns = Arc::new(Turns::default());
    turns.state.lock().unwrap().0 = (0..steps).map(|step| usize::from(order >> step & 1 == 1)).collect();
    let start = |who: usize| {
        let (memory, turns) = (Arc::clone(&memory), Arc::clone(&turns));
        thread::spawn(move || {
            let at = Arc::clone(&turns);
            let wait = move |_: &Op| {
                at.wait(who);
                Ok(())
            };
            let ran = release(&memory.hooked(wait), [2, 3][who], false);
            turns.leave(who);
            (ran.result.map(|_| ()), ran.record)
        })
    };
    let ran = [0, 1].map(start).map(|thread| thread.join().unwrap());
    assert_eq!(ends(&memory), [Some(d(3)), Some(d(3))], "{order:b} {ran:?}");
    assert!(ran.iter().all(|(result, _)| result.is_ok()), "{order:b} {ran:?}");
    // Undone, first the newer one, then the older one.
    for (back, latest) in [(1, 2), (0, 1)] {
        let undone = go_back(&memory.view(), &ran[back].1, &|_, _| true);
        assert_eq!(ends(&memory), [Some(d(latest)), Some(d(latest))], "{order:b} {:?} {undone:?}", ran[back].1);
    }
}

#[test]
fn two_releases_in_every_order_end_at_the_newer() {
    // Every order of the first operations, which hold the decisions and the first writes of both …
    (0..1 << 7).for_each(|order| race(order, 7));
    // … and many orders of all of them, always the same ones (Knuth's multiplier).
    (1..200u64).for_each(|n| race(n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17), 40));
}

#[test]
fn a_late_write_yields_to_a_release_that_was_through_before_it() {
    let memory = Arc::new(world(&[1, 2, 3], 1));
    let other = Arc::clone(&memory);
    let once = Mutex::new(false);
    let hook = move |op: &Op| {
        let mut done = once.lock().unwrap();
        // Everything the newer release does happens between our last read of `latest` and our write.
        if *op == Op::Write("r/a:latest".into()) && !std::mem::replace(&mut *done, true) {
            assert!(release(&other.view(), 3, false).result.is_ok());
        }
        Ok(())
    };
    let ran = release(&memory.hooked(hook), 2, false);
    let outcomes = ran.result.unwrap();
    assert_eq!(outcomes[1], Outcome::Yielded("v1.3.0 was released while we ran".into()));
    assert_eq!(ends(&memory), [Some(d(3)), Some(d(3))]);
}

#[test]
fn a_late_write_that_fails_before_it_yields_leaves_the_newer_release() {
    let memory = Arc::new(world(&[1, 2, 3], 1));
    let other = Arc::clone(&memory);
    let seen = Mutex::new((false, false));
    let hook = move |op: &Op| {
        let mut seen = seen.lock().unwrap();
        if *op == Op::Write("r/a:latest".into()) && !std::mem::replace(&mut seen.0, true) {
            assert!(release(&other.view(), 3, false).result.is_ok());
        } else if seen.0 && *op == Op::Read("r/a:latest".into()) && !std::mem::replace(&mut seen.1, true) {
            bail!("the network is gone for a moment");
        }
        Ok(())
    };
    assert!(release(&memory.hooked(hook), 2, false).result.is_err());
    assert_eq!(ends(&memory), [Some(d(3)), Some(d(3))]);
}

/// Two releases whose operations take turns: 3 fails before its operation `at`, 2 ends well.
fn race_of_a_failure(at: usize, order: u64, steps: u32, latest: u32) {
    let memory = Arc::new(world(&[1, 2, 3], latest));
    memory.set(&released("r/a", "v1.1.0"), &d(1));
    let turns = Arc::new(Turns::default());
    turns.state.lock().unwrap().0 = (0..steps).map(|step| usize::from(order >> step & 1 == 1)).collect();
    let start = |who: usize| {
        let (memory, turns, seen) = (Arc::clone(&memory), Arc::clone(&turns), Mutex::new(0));
        thread::spawn(move || {
            let turn = Arc::clone(&turns);
            let wait = move |op: &Op| {
                turn.wait(who);
                let mut seen = seen.lock().unwrap();
                *seen += usize::from(who == 1 && op.changes());
                if *seen == at && op.changes() && who == 1 { bail!("killed") } else { Ok(()) }
            };
            let ran = release(&memory.hooked(wait), [2, 3][who], false);
            turns.leave(who);
            ran.result.map(|_| ())
        })
    };
    let ran = [0, 1].map(start).map(|thread| thread.join().unwrap());
    assert!(ran[0].is_ok() && ran[1].is_err(), "{at} {order:b} {ran:?}");
    assert_eq!(ends(&memory), [Some(d(2)), Some(d(2))], "{at} {order:b} {latest}");
    assert_eq!(memory.get(&released("r/a", "v1.3.0")), None);
}

#[test]
fn a_failed_newer_release_goes_back_to_what_was_released_meanwhile() {
    for at in 1..4 {
        for latest in [0, 1] {
            // The newer one writes, the older one runs to its end, the newer one fails; and many other orders.
            (0..1 << 5).for_each(|order| race_of_a_failure(at, order, 5, latest));
            (1..30u64).for_each(|n| race_of_a_failure(at, n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17), 40, latest));
        }
    }
}

/// Release 3 has moved everything; `meanwhile` happens, then it is undone from its journal.
fn undone(latest: u32, meanwhile: impl Fn(&Memory), follows: Follows<'_>) -> [Option<crate::registry::Digest>; 2] {
    let memory = world(&[1, 2, 3], latest);
    memory.set(&released("r/a", "v1.1.0"), &d(1));
    memory.add(&d(7), &[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::try_from(folder.path().join("journal")).unwrap();
    let journal = Journal::new(&Runner::default(), path.clone());
    let (view, version) = (memory.view(), Version::parse("v1.3.0").unwrap());
    let mark = Mark { tag: released("r/a", "v1.3.0"), repository: "r/a".into(), digest: d(3) };
    let moves: Vec<Move> = TAGS.iter().map(|tag| Move { tag: (*tag).into(), digest: d(3) }).collect();
    let ours = Ours { version: Some(version), revision: None };
    let branch = Branch { tags: Vec::new(), forced: false, has: &|_| Ok(None) };
    let history = |_: &str| Ok(Ancestry::Unknown);
    let release = Release { registry: &view, ours, history: &history, branch, journal: &journal, step_back: false };
    release.run(&moves, &[mark], &|_, _| true).unwrap();
    meanwhile(&memory);
    let record = crate::journal::read(&path).unwrap();
    assert_eq!(record, journal.so_far());
    go_back(&view, &record, follows);
    ends(&memory)
}

#[test]
fn the_way_back_leads_to_what_was_released_since_and_would_have_moved_the_tag() {
    let second = |memory: &Memory| memory.set(&released("r/a", "v1.2.0"), &d(2));
    let back = |n: u32| [Some(d(n)), Some(d(n))];
    assert_eq!(undone(1, second, &|_, _| true), back(2));
    assert_eq!(undone(0, second, &|_, _| true), back(2), "the tags are new with 3");
    assert_eq!(undone(0, |_| (), &|_, _| true), [None, None]);
    assert_eq!(undone(1, |_| (), &|_, _| true), back(1));
    // A pre-release, or a release that moves one of the tags alone.
    assert_eq!(undone(1, second, &|_, _| false), back(1));
    assert_eq!(undone(1, second, &|_, tag| tag == "r/a:1"), [Some(d(2)), Some(d(1))]);
    // Not newer than what the tags had.
    assert_eq!(undone(2, |memory| memory.set(&released("r/a", "v1.1.5"), &d(1)), &|_, _| true), back(2));
    // Of no version at all: a release moves that.
    assert_eq!(undone(7, second, &|_, _| true), back(2));
    // Somebody went back on purpose meanwhile, which is theirs.
    let by_hand = |memory: &Memory| TAGS.iter().for_each(|tag| memory.set(tag, &d(1)));
    assert_eq!(undone(2, by_hand, &|_, _| true), back(1));
    // Another repository, or another build of this one, has the mark of that version.
    let other = |memory: &Memory| memory.set(&marks::released("r/a", "other", "v1.2.0"), &d(2));
    assert_eq!(undone(1, other, &|_, _| true), back(1));
    assert_eq!(undone(1, |memory| memory.set(&released("r/b", "v1.2.0"), &d(2)), &|_, _| true), back(1));
}

#[test]
fn who_went_back_on_purpose_before_is_left_there() {
    let memory = world(&[1, 2, 3], 1);
    memory.set(&released("r/a", "v1.2.0"), &d(2));
    let fails = |op: &Op| if *op == Op::Write("r/a:latest".into()) { bail!("denied") } else { Ok(()) };
    assert!(release(&memory.hooked(fails), 3, false).result.is_err());
    assert_eq!(ends(&memory), [Some(d(1)), Some(d(1))]);
}
