//! What stays and what goes, on a registry in memory.

mod property;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::apply::{Applied, apply};
use super::kind::Kinds;
use super::stock::{Seconds, Stock, read, seconds};
use super::{Rules, Verdict, decide};
use crate::plan::labels;
use crate::plan::testing::config;
use crate::registry::memory::{Memory, Op, d};
use crate::registry::{Digest, Image, Registry};
use property::{is_whole, lost};

const REPOSITORY: &str = "ghcr.io/acme/i";
const NOW: &str = "2026-11-21T00:00:00Z";
const OLD: &str = "2026-01-01T00:00:00Z";
const KEY: &str = "0123456789ab";

/// An image of ours, built at a time.
fn image(created: &str, source: &str) -> Image {
    let labels = [(labels::KEY, "0"), (labels::SOURCE, source)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Image { labels, created: created.into(), ..Image::default() }
}

fn add(memory: &Memory, n: u32, created: &str, tags: &[&str]) {
    memory.images.lock().unwrap().insert(d(n), vec![image(created, "")]);
    tags.iter().for_each(|tag| memory.set(&format!("{REPOSITORY}:{tag}"), &d(n)));
}

/// An index of these images, which are there too.
fn index(memory: &Memory, n: u32, children: &[u32], tags: &[&str]) {
    add(memory, n, OLD, tags);
    for child in children {
        memory.images.lock().unwrap().insert(d(*child), vec![image(OLD, "")]);
    }
    memory.links.lock().unwrap().insert(d(n), (children.iter().map(|child| d(*child)).collect(), None));
}

fn kinds() -> Kinds {
    Kinds::of(&config(
        "[image.i]\non.tag.tags = ['{version}', '{major}.{minor}', 'latest']\non.branch.main.tags = ['main-{sha7}', 'main']\n",
    ))
}

struct World {
    memory: Memory,
    own: BTreeSet<String>,
    keep: Option<usize>,
    commits: BTreeMap<String, Seconds>,
}

impl World {
    fn of(memory: Memory) -> World {
        World { memory, own: BTreeSet::new(), keep: Some(2), commits: BTreeMap::new() }
    }

    fn decide(&self) -> (Vec<Stock>, Vec<Verdict>, Vec<super::Removal>) {
        let kinds = kinds();
        let rules = Rules {
            kinds: &kinds,
            keep: self.keep,
            grace: Duration::from_secs(24 * 60 * 60),
            now: seconds(NOW).unwrap(),
            source: "https://github.com/acme/i",
            own: &self.own,
            commits: &|commit| self.commits.get(commit).copied(),
        };
        let stocks = read(&self.memory.view(), &kinds, self.keep).unwrap();
        let (verdicts, removals) = decide(&stocks, &rules);
        (stocks, verdicts, removals)
    }

    /// Tags that go in their order, and the numbers of the manifests that are deleted, as they are.
    fn goes(&self) -> (Vec<String>, Vec<u32>) {
        let (_, verdicts, removals) = self.decide();
        let goes = verdicts.iter().filter(|verdict| !verdict.stays);
        let tags: BTreeSet<String> = goes.map(|verdict| verdict.reference.replace(REPOSITORY, "")).collect();
        let number = |digest: &Digest| u32::from_str_radix(&digest.to_string()[63..], 16).unwrap();
        let doomed = removals.iter().flat_map(|removal| &removal.delete);
        (
            tags.into_iter().collect(),
            doomed.flat_map(|doomed| [&doomed.digest].into_iter().chain(&doomed.images)).map(number).collect(),
        )
    }

    fn because(&self, tag: &str) -> String {
        let verdicts = self.decide().1;
        let found = verdicts.iter().find(|verdict| verdict.reference == format!("{REPOSITORY}:{tag}")).unwrap();
        format!("{}{}", if found.stays { "" } else { "goes: " }, found.because)
    }

    /// Applied until it dies before one more write; whether it did.
    fn killed(&self, writes: usize) -> bool {
        let seen = AtomicUsize::new(0);
        let dies = self.memory.hooked(move |op| {
            anyhow::ensure!(!op.changes() || seen.fetch_add(1, Ordering::SeqCst) < writes, "killed");
            Ok(())
        });
        self.apply(&dies).is_err()
    }

    fn apply(&self, registry: &dyn Registry) -> Result<Vec<Applied>> {
        let (stocks, _, removals) = self.decide();
        stocks.iter().zip(&removals).map(|(stock, removal)| apply(registry, stock, removal)).collect()
    }
}

fn versions() -> Memory {
    let memory = Memory::default();
    for (n, tag) in [(1, "v1.0.0"), (2, "v1.2.0"), (3, "v1.10.0"), (4, "v1.9.0"), (5, "v2.0.0")] {
        add(&memory, n, OLD, &[tag]);
    }
    memory
}

#[test]
fn versions_by_their_order_and_nothing_that_a_moving_tag_has() {
    let world = World::of(versions());
    assert_eq!(world.goes().0, [":v1.0.0", ":v1.2.0", ":v1.9.0"]);
    assert_eq!(world.because("v1.10.0"), "one of the 2 newest {version}");
    assert_eq!(world.because("v1.9.0"), "goes: older than the 2 newest {version}");
    // A deliberate step back, a minor version that is still followed, tags of no template.
    world.memory.set(&format!("{REPOSITORY}:latest"), &d(1));
    world.memory.set(&format!("{REPOSITORY}:1.9"), &d(4));
    add(&world.memory, 9, OLD, &["by-hand", "cache"]);
    assert_eq!(world.goes(), (vec![":v1.2.0".into()], vec![2]));
    assert_eq!(world.because("v1.0.0"), "a moving tag has the same image");
    assert_eq!(world.because("by-hand"), "no template of a written-once tag");
}

#[test]
fn pre_releases_take_no_place_of_a_final_release() {
    let memory = Memory::default();
    let tags = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0-rc1", "v1.3.0-rc2", "v1.3.0b1", "v1.3.0.dev4", "v1.2.0.post1"];
    (1..).zip(tags).for_each(|(n, tag)| add(&memory, n, OLD, &[tag]));
    let world = World::of(memory);
    // A post-release is a final one.
    assert_eq!(world.goes().0, [":v1.0.0", ":v1.1.0", ":v1.3.0.dev4", ":v1.3.0b1"]);
    assert_eq!(world.because("v1.2.0"), "one of the 2 newest {version}");
    assert_eq!(world.because("v1.3.0-rc1"), "one of the 2 newest pre-releases of {version}");
    assert_eq!(world.because("v1.3.0b1"), "goes: older than the 2 newest pre-releases of {version}");
}

#[test]
fn all_is_the_default_and_takes_what_nobody_published() {
    let default = crate::config::Retention::default();
    assert_eq!((default.keep.newest(), default.grace.as_str()), (None, "24h"));
    let mut world = World::of(versions());
    world.keep = default.keep.newest();
    add(&world.memory, 6, OLD, &["main-000000a", "main-000000b"]);
    add(&world.memory, 7, OLD, &["released-0123456789ab-v0.9.0"]);
    assert_eq!(world.goes(), (Vec::new(), Vec::new()));
    assert_eq!(world.because("v1.0.0"), "written once, and `keep` is \"all\"");
    // Candidates of six runs: the first was never published, the second is v1.0.0.
    for (n, run) in [(11, 1), (1, 2), (13, 3), (14, 4), (15, 5), (16, 6), (17, 7)] {
        add(&world.memory, n, OLD, &[&format!("candidate-{KEY}-{run}")]);
    }
    add(&world.memory, 11, OLD, &[&format!("tested-{KEY}-{KEY}")]);
    let tags = [format!(":candidate-{KEY}-1"), format!(":candidate-{KEY}-2"), format!(":tested-{KEY}-{KEY}")];
    assert_eq!(world.goes(), (tags.to_vec(), vec![11]));
}

#[test]
fn what_is_young_foreign_or_of_this_run_stays() {
    let mut world = World::of(versions());
    add(&world.memory, 1, "2026-11-20T12:00:00.5Z", &[]);
    add(&world.memory, 2, "0001-01-01T00:00:00Z", &[]);
    world.own.insert(format!("{REPOSITORY}:v1.9.0"));
    add(&world.memory, 8, OLD, &["v0.1.0"]);
    world.memory.images.lock().unwrap().insert(d(8), vec![image(OLD, "https://github.com/acme/other")]);
    add(&world.memory, 9, OLD, &["v0.2.0"]);
    world.memory.images.lock().unwrap().insert(d(9), vec![Image { created: OLD.into(), ..Image::default() }]);
    assert_eq!(world.goes(), (Vec::new(), Vec::new()));
    for (tag, because) in [
        ("v1.0.0", "younger than 1day"),
        ("v1.2.0", "its age is not known"),
        ("v1.9.0", "of this run"),
        ("v0.1.0", "not built by these pipelines"),
        ("v0.2.0", "not built by these pipelines"),
    ] {
        assert_eq!(world.because(tag), because, "{tag}");
    }
}

#[test]
fn tags_of_commits_by_the_age_of_the_commit() {
    let mut world = World::of(Memory::default());
    // One image for all: it is used again and again.
    add(&world.memory, 1, OLD, &["main-000000a", "main-000000b", "main-000000c", "main-000000d"]);
    for (sha, at) in
        [("000000a", "2026-11-20T23:00:00Z"), ("000000b", "2026-10-01T00:00:00Z"), ("000000c", "2026-09-01T00:00:00Z")]
    {
        world.commits.insert(sha.into(), seconds(at).unwrap());
    }
    let (tags, deleted) = world.goes();
    assert_eq!((tags, deleted.len()), (vec![":main-000000c".into(), ":main-000000d".into()], 0));
    // The image stays, so that the tags alone are taken away.
    world.apply(&world.memory.view()).unwrap();
    assert_eq!(world.memory.tags.lock().unwrap().len(), 2);
    assert!(world.goes().0.is_empty());
}

#[test]
fn images_of_platforms_go_with_their_last_index() {
    let world = World::of(Memory::default());
    index(&world.memory, 10, &[11, 12], &["v1.0.0"]);
    index(&world.memory, 20, &[11, 22], &["v1.1.0", "1.1", "latest"]);
    index(&world.memory, 30, &[31, 32], &["v0.9.0"]);
    index(&world.memory, 40, &[41, 12], &["v0.8.0"]);
    // 12 is named by an index that goes and by one that stays; 11 by two that stay.
    assert_eq!(world.goes(), (vec![":v0.8.0".into(), ":v0.9.0".into()], vec![30, 31, 32, 40, 41]));
}

#[test]
fn what_runs_leave_goes_when_they_are_over() {
    let world = World::of(Memory::default());
    add(&world.memory, 1, OLD, &["v1.0.0", &format!("tested-{KEY}-{KEY}"), "released-0123456789ab-v1.0.0"]);
    // Runs of GitHub and of people; the numbers say which one is newer, whatever the images say.
    for (n, run) in [(1, "9"), (2, "10"), (3, "11"), (4, "20260101000000"), (5, "20260201000000"), (6, "0123456789ab_0a1b2c")] {
        add(&world.memory, n, &format!("2026-{:02}-01T00:00:00Z", 8 - n), &[&format!("candidate-{KEY}-{run}")]);
    }
    add(&world.memory, 5, "2026-05-01T00:00:00Z", &[]);
    assert_eq!(world.goes().0, [format!(":candidate-{KEY}-0123456789ab_0a1b2c"), format!(":candidate-{KEY}-9")]);
    assert_eq!(world.because(&format!("candidate-{KEY}-10")), "one of the 2 newest runs");
    assert_eq!(world.because(&format!("tested-{KEY}-{KEY}")), "its image stays");
    // What nothing publishes any more.
    add(&world.memory, 21, OLD, &[&format!("tested-aaaaaaaaaaaa-{KEY}-linux-arm64")]);
    add(&world.memory, 22, "2026-11-20T20:00:00Z", &[&format!("tested-bbbbbbbbbbbb-{KEY}")]);
    add(&world.memory, 24, OLD, &["released-0123456789ab-v0.1.0"]);
    let (tags, deleted) = world.goes();
    assert_eq!(
        tags[2..],
        [":released-0123456789ab-v0.1.0".into(), format!(":tested-aaaaaaaaaaaa-{KEY}-linux-arm64")],
        "{tags:?}"
    );
    assert!(deleted.contains(&21) && !deleted.contains(&1), "{deleted:?}");
}

#[test]
fn what_has_no_tag_goes_where_it_is_listed_and_nothing_needs_it() {
    let memory = Memory { lists_all: true, ..Memory::default() };
    index(&memory, 10, &[11, 12], &["v1.0.0"]);
    index(&memory, 20, &[21, 12], &["v1.1.0"]);
    index(&memory, 30, &[31, 12], &["v0.1.0"]);
    // A young one, an old one, a signature of what stays and one of what goes.
    add(&memory, 41, "2026-11-20T20:00:00Z", &[]);
    add(&memory, 42, OLD, &[]);
    for (n, of) in [(51, 11), (52, 31)] {
        add(&memory, n, OLD, &[]);
        memory.links.lock().unwrap().insert(d(n), (Vec::new(), Some(d(of))));
    }
    let world = World::of(memory);
    assert_eq!(world.goes().1, [30, 31, 42, 52]);
    world.apply(&world.memory.view()).unwrap();
    assert_eq!(world.goes(), (Vec::new(), Vec::new()));
    assert_eq!(world.memory.images.lock().unwrap().len(), 7);
}

#[test]
fn each_tag_is_read_once_and_an_image_only_where_its_labels_decide() {
    let asked = |memory: &Memory, keep: Option<usize>| {
        let (reads, images) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&reads), Arc::clone(&images));
        let view = memory.hooked(move |op| {
            counts.0.fetch_add(usize::from(matches!(op, Op::Read(_) | Op::List(_))), Ordering::SeqCst);
            counts.1.fetch_add(usize::from(matches!(op, Op::Image(_))), Ordering::SeqCst);
            Ok(())
        });
        read(&view, &kinds(), keep).unwrap();
        (reads.load(Ordering::SeqCst), images.load(Ordering::SeqCst))
    };
    let memory = Memory::default();
    for n in 1..=60 {
        let marks = [format!("tested-{n:012}-{KEY}"), format!("released-{KEY}-v1.{n}.0"), format!("1.{n}")];
        add(&memory, n, OLD, &[&format!("v1.{n}.0"), &marks[0], &marks[1], &marks[2]]);
    }
    add(&memory, 60, OLD, &["latest"]);
    // Everything stays by its name, or with what has such a name.
    assert_eq!(asked(&memory, None), (1 + 4 * 60 + 1, 0));
    assert_eq!(asked(&memory, Some(60)), (1 + 4 * 60 + 1, 0));
    // Any of the versions may have to go.
    assert_eq!(asked(&memory, Some(59)), (1 + 4 * 60 + 1, 60));
    // Of seven runs the last five stay; two images are asked for, one of which is published.
    for (n, run) in [(1, 1), (72, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)] {
        add(&memory, n, OLD, &[&format!("candidate-{KEY}-{run}")]);
    }
    assert_eq!(asked(&memory, None), (1 + 4 * 60 + 1 + 7, 2));
    // A mark without a version.
    add(&memory, 80, OLD, &[&format!("tested-{KEY}-{KEY}")]);
    assert_eq!(asked(&memory, None), (1 + 4 * 60 + 1 + 8, 3));
}

#[test]
fn a_signature_goes_with_its_image() {
    let world = World::of(versions());
    for (n, of) in [(51, 1), (52, 3), (53, 99)] {
        let tag = format!("{}.sig", d(of).to_string().replace(':', "-"));
        add(&world.memory, n, OLD, &[&tag]);
    }
    let (tags, deleted) = world.goes();
    assert!(tags.iter().filter(|tag| tag.contains("sha256-")).count() == 1 && deleted.contains(&51), "{tags:?}");
}

#[test]
fn what_is_published_meanwhile_stays() {
    let world = World::of(versions());
    index(&world.memory, 60, &[2], &[]);
    let lists = AtomicUsize::new(0);
    // Between the decision and the removal: `latest` steps back to v1.0.0, and a new index names v1.2.0.
    let (_, _, removals) = world.decide();
    assert_eq!(removals[0].delete.len(), 3);
    let (stocks, ..) = world.decide();
    world.memory.set(&format!("{REPOSITORY}:latest"), &d(1));
    world.memory.set(&format!("{REPOSITORY}:new"), &d(60));
    let registry = world.memory.hooked(move |op| {
        lists.fetch_add(usize::from(matches!(op, Op::List(_))), Ordering::SeqCst);
        Ok(())
    });
    let applied = apply(&registry, &stocks[0], &removals[0]).unwrap();
    assert_eq!(applied.kept.len(), 2, "{applied:?}");
    assert_eq!(applied.gone, [format!("{REPOSITORY}@{}", d(4))]);
}

#[test]
fn killed_twice_anywhere_it_leaves_nothing_broken_and_nothing_behind() {
    // The twin of an index comes before it in the list, or after it.
    for (index_at, first, second) in
        (0..10).flat_map(|first| (0..10).flat_map(move |second| [(30, first, second), (31, first, second)]))
    {
        let world = World::of(versions());
        index(&world.memory, index_at, &[40, 41], &["v0.1.0"]);
        index(&world.memory, 34, &[41, 42], &["v0.2.0"]);
        for writes in [first, second] {
            let died = world.killed(writes);
            assert!(is_whole(&world) && lost(&world).is_empty(), "{index_at}, killed after {first} and {second} writes: {died}");
        }
        world.apply(&world.memory.view()).unwrap();
        assert_eq!(world.memory.images.lock().unwrap().len(), 2, "{index_at}, killed after {first} and {second} writes");
    }
}
