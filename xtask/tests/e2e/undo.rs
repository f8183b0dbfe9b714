//! The way back of a release on a real registry: what was released meanwhile counts, somebody else's journal does not.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clone::Ran;
use crate::proxy::Action;
use crate::tiny::Tiny;

/// v0.1.0 is released; of the two checkouts one has v0.1.5 published, the other v0.2.0.
fn two_releases() -> [Tiny; 2] {
    let old = Tiny::of(2);
    old.tested("v0.1.0");
    old.push("v0.1.0").expect(0);
    old.release("v0.1.0").expect(0);
    std::fs::remove_dir_all(old.path().join("target/slipway")).unwrap();
    let new = old.copy();
    for (tiny, version) in [(&old, "v0.1.5"), (&new, "v0.2.0")] {
        tiny.tested(version);
        tiny.push(version).expect(0);
        std::fs::remove_dir_all(tiny.path().join("target/slipway")).unwrap();
    }
    [old, new]
}

/// v0.2.0 has moved both tags and is about to leave its first mark. Now v0.1.5 is released and leaves the tags alone;
/// then v0.2.0 meets its end.
fn fails(old: &Tiny, new: &Tiny, end: fn() -> Action) -> Ran {
    let mut older = old.command(&["release", "--event", "tag:v0.1.5"]);
    older.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (older, is_done) = (std::sync::Mutex::new(older), AtomicBool::new(false));
    new.proxy.rule(move |request| {
        let is_mark = request.is_put() && request.path.contains("/manifests/released-");
        if !is_mark {
            return Action::Pass;
        }
        let mut older = older.lock().unwrap();
        if !is_done.swap(true, Ordering::SeqCst) {
            let ran = Ran::from(older.output().unwrap()).expect(0);
            assert!(ran.stdout.contains("skipped"), "{}", ran.stdout);
        }
        end()
    });
    let mut newer = new.command(&["release", "--event", "tag:v0.2.0"]);
    let child = newer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    new.proxy.victim(child.id());
    let ran = Ran::from(child.wait_with_output().unwrap());
    new.proxy.pass();
    ran
}

fn assert_latest(tiny: &Tiny, version: &str, said: &str) {
    for id in ["tiny-a", "tiny-b"] {
        assert_eq!(tiny.digest(id, "latest"), tiny.digest(id, version), "{id}: {said}");
    }
}

#[test]
fn a_newer_release_that_fails_leaves_what_was_released_meanwhile() {
    let [old, new] = two_releases();
    let ran = fails(&old, &new, || Action::Status(403)).expect(3);
    assert_latest(&old, "v0.1.5", &ran.stderr);
    let marks = old.state().into_keys().filter(|tag| tag.contains(":released-") && tag.ends_with("-v0.2.0"));
    assert_eq!(marks.count(), 0);
    // What is undone then goes back to what was before both.
    old.undo().expect(0);
    assert_latest(&old, "v0.1.0", &ran.stderr);
    old.release("v0.1.5").expect(0);
    new.release("v0.2.0").expect(0);
    assert_latest(&old, "v0.2.0", "it goes on");
}

#[test]
fn ctrl_c_and_the_undo_of_a_journal_leave_what_was_released_meanwhile() {
    let [old, new] = two_releases();
    let ran = fails(&old, &new, || Action::InterruptAfter).expect(130);
    assert_latest(&old, "v0.1.5", &ran.stderr);
    // Killed, nobody puts anything back until somebody asks for it.
    old.undo().expect(0);
    std::fs::remove_dir_all(new.path().join("target/slipway")).unwrap();
    let killed = fails(&old, &new, || Action::KillBefore);
    assert_eq!(killed.code, None);
    assert_latest(&old, "v0.2.0", &killed.stderr);
    new.undo().expect(0);
    assert_latest(&old, "v0.1.5", &killed.stderr);
}

#[test]
fn the_journal_of_somebody_else_moves_nothing() {
    let [old, _] = two_releases();
    let elsewhere = old.name("tiny-a", "latest").replace("tiny-a", "other");
    old.crane(&["copy", &old.name("tiny-a", "v0.1.0"), &elsewhere]).unwrap();
    old.crane(&["copy", &old.name("tiny-a", "v0.1.0"), &elsewhere.replace("latest", "older")]).unwrap();
    let (one, two) = (old.digest("tiny-a", "v0.1.5").unwrap(), old.digest("tiny-a", "latest").unwrap());
    let here = |name: &str| name.replace(&old.upstream, &old.proxy.registry());
    let line = |tag: &str| format!("{{\"tag\": \"{}\", \"old\": \"{one}\", \"new\": \"{two}\"}}\n", here(tag));
    let undo = |text: &str| -> Ran {
        std::fs::write(old.path().join("target/journal.jsonl"), text).unwrap();
        old.command(&["release", "--undo", "target/journal.jsonl"]).output().unwrap().into()
    };
    let before = old.state();
    let latest = old.name("tiny-a", "latest");
    let digest = one.replace(':', "-");
    for tag in [
        elsewhere.as_str(),
        &old.name("tiny-a", "v0.1.0"),
        &old.name("tiny-a", "by-hand"),
        &old.name("tiny-a", &format!("{digest}.sig")),
        &format!("{latest}@{one}"),
        &format!("{latest}\\u001b[2J"),
    ] {
        let ran = undo(&(line(tag) + &line(&latest))).expect(4);
        assert!(ran.stderr.contains("nothing is undone, the journal is not of this configuration"), "{tag}: {}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'), "{tag}");
        assert_eq!(old.state(), before, "{tag}");
    }
    // Of the right name, and not of our images.
    let base = format!("{}/library/debian:bookworm-slim", old.upstream);
    old.crane(&["copy", &base, &old.name("tiny-a", "foreign")]).unwrap();
    let foreign = old.digest("tiny-a", "foreign").unwrap();
    let ran = undo(&line(&latest).replace(&one, &foreign)).expect(4);
    assert!(ran.stdout.contains("was not built by this repository"), "{}", ran.stdout);
    assert_eq!(old.digest("tiny-a", "latest"), Some(two.clone()));
    // The same journal of ours does.
    undo(&line(&latest)).expect(0);
    assert_eq!(old.digest("tiny-a", "latest"), Some(one));
}
