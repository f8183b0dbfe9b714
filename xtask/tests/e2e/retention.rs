//! The clean-up on a real registry: images for several platforms, kills, a registry that keeps everything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clone::Ran;
use crate::examples::{ci, commit};
use crate::proxy::Action;
use crate::tiny::Tiny;

const PLATFORMS: &str = "[image.tap]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
const RETENTION: &str = "[retention]\nkeep = 2\ngrace = \"0s\"\n";

/// An image for two platforms that needs no base, with these versions released under these tags.
fn released(versions: &[&str], tags: &[&str]) -> Tiny {
    let tiny = Tiny::new();
    let head = format!("schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"{}\"\nversion-file = \"VERSION\"\n", tiny.namespace);
    tiny.write("docker/images.toml", &format!("{head}{PLATFORMS}[on.tag]\ntags = {tags:?}\n{RETENTION}"));
    tiny.write("Dockerfile", "FROM scratch\nCOPY VERSION /VERSION\n");
    versions.iter().for_each(|version| drop(release(&tiny, version)));
    tiny
}

fn release(tiny: &Tiny, version: &str) -> Ran {
    tiny.write("VERSION", version);
    commit(tiny, version);
    ci(tiny, &format!("tag:{version}")).expect(0)
}

/// By the last version, which is what is checked out.
fn retention(tiny: &Tiny, args: &[&str]) -> Ran {
    tiny.command(&[&["retention", "--event", &event(tiny)], args].concat()).output().unwrap().into()
}

fn event(tiny: &Tiny) -> String {
    format!("tag:{}", std::fs::read_to_string(tiny.path().join("VERSION")).unwrap().trim())
}

fn tags(tiny: &Tiny) -> BTreeSet<String> {
    let all = tiny.crane(&["ls", &format!("{}/{}/tap", tiny.upstream, tiny.namespace)]).unwrap();
    all.lines().map(str::to_owned).collect()
}

/// Versions and moving tags.
fn published(tiny: &Tiny) -> Vec<String> {
    tags(tiny)
        .into_iter()
        .filter(|tag| !["candidate-", "tested-", "released-"].iter().any(|part| tag.starts_with(part)))
        .collect()
}

/// What a tag points at, and the images of its platforms.
fn manifests(tiny: &Tiny, tag: &str) -> Vec<String> {
    let index: serde_json::Value = serde_json::from_str(&tiny.crane(&["manifest", &tiny.name("tap", tag)]).unwrap()).unwrap();
    let images = index["manifests"].as_array().unwrap().iter().map(|image| image["digest"].as_str().unwrap().to_owned());
    images.chain([tiny.digest("tap", tag).unwrap()]).collect()
}

/// Every tag can be pulled, for each of its platforms, but for an index that is being removed.
fn is_whole(tiny: &Tiny) {
    for tag in tags(tiny).iter().filter(|tag| !tag.starts_with("slipway-removed-")) {
        tiny.crane(&["validate", "--remote", &tiny.name("tap", tag)]).unwrap_or_else(|| panic!("{tag} is broken"));
    }
}

fn is_there(tiny: &Tiny, digest: &str) -> bool {
    tiny.crane(&["manifest", &format!("{}@{digest}", tiny.name("tap", "x").trim_end_matches(":x"))]).is_some()
}

#[test]
fn a_release_keeps_the_newest_versions_and_all_that_they_need() {
    let tiny = released(&["v0.1.0", "v0.1.1"], &["{version}", "{major}.{minor}", "latest"]);
    let (old, kept) = (manifests(&tiny, "v0.1.0"), manifests(&tiny, "v0.1.1"));
    assert_eq!(old.len(), 3, "two platforms and their index");
    let said = release(&tiny, "v0.2.0");
    release(&tiny, "v0.2.1");
    // v0.1.1 is what 0.1 points at.
    assert_eq!(published(&tiny), ["0.1", "0.2", "latest", "v0.1.1", "v0.2.0", "v0.2.1"], "{}", said.stdout);
    assert!(said.stdout.contains("tap:v0.1.0") && said.stdout.contains("older than the 2 newest {version}"), "{}", said.stdout);
    let left: Vec<&String> = old.iter().filter(|digest| is_there(&tiny, digest)).collect();
    assert!(left.is_empty(), "{left:?} of {old:?}\n{}", retention(&tiny, &["--json"]).stdout);
    assert!(kept.iter().all(|digest| is_there(&tiny, digest)), "gone: {kept:?}");
    is_whole(&tiny);
    let again = retention(&tiny, &["--apply"]).expect(0);
    assert!(again.stderr.contains("nothing to do: "), "{}", again.stderr);
    // What was released before can be gone back to.
    Ran::from(tiny.command(&["release", "--to", "v0.2.0"]).output().unwrap()).expect(0);
    assert_eq!(tiny.digest("tap", "latest"), tiny.digest("tap", "v0.2.0"));
}

#[test]
fn a_clean_up_that_is_killed_or_refused_is_finished_by_the_next() {
    let tiny = released(&["v0.1.0", "v0.2.0", "v0.3.0"], &["{version}", "latest"]);
    tiny.edit("docker/images.toml", "keep = 2", "keep = 1");
    let (before, old) = (tags(&tiny), manifests(&tiny, "v0.2.0"));
    commit(&tiny, "keep less");
    let only_said = retention(&tiny, &[]).expect(0);
    assert!(only_said.stderr.contains("`cargo xtask retention --apply` removes these"), "{}", only_said.stderr);
    retention(&tiny, &["--apply", "--dry-run"]).expect(0);
    assert_eq!(tags(&tiny), before);

    for (status, code, words) in
        [(405, 1, "REGISTRY_STORAGE_DELETE_ENABLED"), (403, 3, "denied"), (500, 1, "run the same command again")]
    {
        tiny.proxy.rule(move |request| if request.method == "DELETE" { Action::Status(status) } else { Action::Pass });
        let failed = retention(&tiny, &["--apply"]).expect(code);
        assert!(failed.stderr.contains(words), "{status}: {}", failed.stderr);
        assert_eq!(tags(&tiny), before, "{status}");
    }
    // Killed before or after the first removal, the next time the second one, and so on until one is through.
    let mut kills = 0;
    loop {
        let (at, seen) = (kills / 2, AtomicUsize::new(0));
        tiny.proxy.rule(move |request| match request.method.as_str() {
            "DELETE" if seen.fetch_add(1, Ordering::SeqCst) < at => Action::Pass,
            "DELETE" if kills % 2 == 0 => Action::KillBefore,
            "DELETE" => Action::KillAfter,
            _ => Action::Pass,
        });
        let mut child = tiny.command(&["retention", "--apply", "--event", &event(&tiny)]).spawn().unwrap();
        tiny.proxy.victim(child.id());
        let ended = child.wait().unwrap();
        is_whole(&tiny);
        if ended.success() {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 4, "{kills}");
    assert_eq!(published(&tiny), ["latest", "v0.3.0"]);
    assert!(old.iter().all(|digest| !is_there(&tiny, digest)), "what had no tag is left: {old:?}");
}
