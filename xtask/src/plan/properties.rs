//! What holds for every plan of every configuration: nothing is shared that may not be, parents come first.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use proptest::prelude::*;

use super::labels::{MadeOf, UNKNOWN};
use super::{Plan, check, looks, mark_on_published, plan};
use crate::config::{Config, Env, load_text};
use crate::event::parse;
use crate::facts::content::Content;
use crate::facts::{Changed, Dockerfile, Facts, digest};

const AXES: &str = "[axes]\na = ['x', 'y']\nb = ['1', '2', '3']\n";
const EVENTS: [&str; 9] =
    ["local", "pr:12", "pr:12:fork", "merge-queue", "branch:main", "tag:v1.2.3", "schedule", "manual", "manual:rebuild"];
const VARIANTS: [&str; 4] = ["", "{a}", "{b}", "{a}-{b}"];
const TAGS: [&str; 4] = ["latest", "{sha7}", "{branch}", "{image}-{sha}"];

/// What one image is made of.
#[derive(Clone, Debug)]
struct Made {
    variant: usize,
    /// Which of the images before it is its parent.
    parent: Option<prop::sample::Index>,
    tags: BTreeSet<usize>,
    is_published: bool,
    paths: bool,
    /// Its builds share a repository.
    shares: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let tags = prop::collection::btree_set(0..TAGS.len(), 0..3);
    let parent = prop::option::of(any::<prop::sample::Index>());
    (0..VARIANTS.len(), parent, tags, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(variant, parent, tags, is_published, paths, shares)| Made { variant, parent, tags, is_published, paths, shares },
    )
}

/// The table of each image, and image → its parent.
fn tables(images: &[Made]) -> (Vec<String>, BTreeMap<String, String>) {
    let mut parents = BTreeMap::new();
    let table = |(at, made): (usize, &Made)| {
        let mut text = format!("[image.i{at}]\npublish = {}\n", made.is_published);
        if made.variant > 0 {
            text += &format!("variant = '{}'\n", VARIANTS[made.variant]);
        }
        // A parent may not have an axis that its child has not.
        let parent = made.parent.filter(|_| at > 0).map(|index| index.index(at));
        let fits = |parent: &usize| VARIANTS[made.variant].contains(VARIANTS[images[*parent].variant]);
        if let Some(parent) = parent.filter(fits) {
            text += &format!("parent = 'i{parent}'\n");
            parents.insert(format!("i{at}"), format!("i{parent}"));
        }
        let shares = made.shares && made.variant > 0;
        if shares {
            text += &format!("repository = '{{namespace}}/i{at}'\non.tag.tags = ['{{semver}}-{{variant}}']\n");
            text += "on.schedule.tags = []\non.manual.tags = []\n";
        }
        let of_its_own = if shares { "-{variant}" } else { "" };
        let tags: Vec<String> = made.tags.iter().map(|tag| format!("'{}{of_its_own}'", TAGS[*tag])).collect();
        text += &format!("on.branch.main.tags = [{}]\n", tags.join(", "));
        if made.paths {
            text += &format!("on.branch.main.paths = ['src/i{at}/**']\n");
        }
        text
    };
    let tables = images.iter().enumerate().map(table).collect();
    (tables, parents)
}

fn config(tables: &[String]) -> Result<Config, String> {
    let head = "schema = 1\nregistry = 'ghcr.io'\nnamespace = 'acme'\n";
    let events =
        "[cache]\n[on.tag]\n[on.schedule]\ncron = '0 3 * * 0'\ntags = ['nightly']\n[on.manual]\ntags = ['{branch}-{sha7}']\n";
    let text = format!("{head}{AXES}{}{events}", tables.concat());
    load_text(Utf8Path::new("/"), Utf8Path::new("f"), &text, &Env::new()).map_err(|error| error.to_string())
}

fn facts(config: &Config, parents: &BTreeMap<String, String>, changed: Changed) -> Facts {
    let made_from = |image: &str| Dockerfile {
        images: vec![parents.get(image).cloned().unwrap_or_else(|| "debian".into())],
        ..Dockerfile::default()
    };
    Facts {
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        branch: Some("main".into()),
        default_branch: "main".into(),
        now: "2026-01-02T03:04:05Z".into(),
        run: "42".into(),
        host_platform: "linux/amd64".into(),
        since_release: changed.clone(),
        changed,
        variants: config.builds.iter().map(|build| (build.id.clone(), made_from(&build.image))).collect(),
        ..Facts::default()
    }
}

/// A registry: reference → digest and labels.
#[derive(Default)]
struct Shelf(BTreeMap<String, (String, MadeOf)>);

impl Shelf {
    /// The plan of a push, as a run makes it: with what the registry says of what it asks.
    fn plan(&self, config: &Config, mut facts: Facts) -> Plan {
        let event = parse::event("branch:main").unwrap();
        let ask = |references: BTreeSet<String>, facts: &mut Facts| {
            for (reference, (digest, made_of)) in references.into_iter().filter_map(|name| self.0.get_key_value(&name)) {
                facts.bases.insert(reference.clone(), Some(digest.clone()));
                facts.made_of.insert(reference.clone(), made_of.clone());
            }
            plan(config, &event, facts, &[]).unwrap()
        };
        let first = ask(looks(config, &event, &facts, true), &mut facts);
        ask(first.by_name(), &mut facts)
    }

    /// Builds what has no mark, marks everything, and publishes what `arrives`.
    fn run(&mut self, plan: &Plan, run: usize, arrives: impl Fn(usize) -> bool) {
        let mut digests = BTreeMap::new();
        for (at, build) in plan.builds.iter().enumerate() {
            let label = |name: &str| build.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str());
            let built = || (format!("sha256:{}", digest(&[&build.id, &run.to_string()])), MadeOf::read(label));
            let mark = build.test.mark.clone().unwrap_or(build.id.clone());
            let image = self.0.get(&mark).filter(|_| build.is_settled_by_its_key()).cloned().unwrap_or_else(built);
            digests.insert(build.id.clone(), image.0.clone());
            let second = mark_on_published(plan, build, |id| digests.get(id).cloned());
            let tags = build.push.moving.iter().filter(|_| arrives(at)).cloned();
            self.0.extend([mark].into_iter().chain(second).chain(tags).map(|name| (name, image.clone())));
        }
    }
}

/// What may belong to one build only.
fn names(plan: &Plan) -> Vec<String> {
    let of = |build: &super::Build| {
        let names = [&build.push.tags, &build.push.moving, &build.test.load, &build.test.cache_to].into_iter().flatten();
        names.chain(&build.test.candidate).chain(&build.test.mark).cloned().collect::<BTreeSet<String>>()
    };
    // An inline cache is inside of the image.
    plan.builds.iter().flat_map(of).filter(|name| name != "type=inline").collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_builds_apart_and_parents_first(
        images in prop::collection::vec(made(), 1..6),
        event in prop::sample::select(&EVENTS[..]),
        file in prop::option::of(0..6usize),
        turn in any::<prop::sample::Index>(),
    ) {
        let (mut tables, parents) = tables(&images);
        let config = self::config(&tables);
        prop_assert!(config.is_ok(), "{}", config.unwrap_err());
        let config = config.unwrap();
        let changed = file.map_or(Changed::Unknown("-".into()), |at| Changed::Files(vec![format!("src/i{at}/x").into()]));
        let facts = facts(&config, &parents, changed);
        let event = parse::event(event).unwrap();
        let planned = plan(&config, &event, &facts, &[]).unwrap();
        prop_assert_eq!(check(&planned), Ok(()));

        let names = names(&planned);
        prop_assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "shared: {:?}", names);
        let mut seen = BTreeSet::new();
        for build in &planned.builds {
            for (_, is) in &build.parents {
                let known = is.strip_prefix("build:").is_none_or(|id| seen.contains(id));
                prop_assert!(known, "{} comes before its parent {}", build.id, is);
            }
            seen.insert(build.id.as_str());
        }
        let skipped = planned.skipped.iter().map(|skipped| skipped.id.as_str());
        let all: BTreeSet<&str> = config.builds.iter().map(|build| build.id.as_str()).collect();
        prop_assert_eq!(seen.iter().copied().chain(skipped).collect::<BTreeSet<_>>(), all, "every build is in or left out");

        // Another order of the tables is the same plan.
        let at = turn.index(tables.len());
        tables.rotate_left(at);
        tables.reverse();
        prop_assert_eq!(&plan(&self::config(&tables).unwrap(), &event, &facts, &[]).unwrap(), &planned);
        // And so is what came over a wire.
        let text = serde_json::to_string(&planned).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), planned);
    }

    #[test]
    fn whatever_a_push_left_behind_one_more_makes_up_for(
        mut images in prop::collection::vec(made(), 2..6),
        edits in prop::collection::vec((0..6usize, any::<bool>(), any::<u32>()), 1..4),
    ) {
        for made in &mut images {
            // Most of them have a `latest`, which is what their children name.
            made.is_published |= made.variant < 3;
            _ = made.tags.insert(0);
        }
        let (tables, parents) = tables(&images);
        let config = self::config(&tables).unwrap();
        let mut of: Vec<usize> = vec![0; images.len()];
        let mut base = 0;
        let facts = |of: &[usize], base: usize, changed: Changed| {
            let mut facts = facts(&config, &parents, changed);
            for build in &config.builds {
                let sources = vec![("src".into(), of[build.image[1..].parse::<usize>().unwrap()].to_string())];
                facts.contents.insert(build.id.clone(), Content { sources, ..Content::default() });
            }
            facts.bases.insert("debian".into(), Some(format!("sha256:{base}")));
            facts
        };
        let nothing = || Changed::Files(Vec::new());
        let mut shelf = Shelf::default();
        shelf.run(&shelf.plan(&config, facts(&of, base, Changed::default())), 0, |_| true);
        // Pushes of which some images do not arrive.
        for (run, (image, replaced, arrives)) in edits.into_iter().enumerate() {
            of[image % images.len()] += 1;
            base += usize::from(replaced);
            let pushed = shelf.plan(&config, facts(&of, base, Changed::default()));
            shelf.run(&pushed, run + 1, |at| arrives >> (at % 32) & 1 == 1);
        }
        let first = shelf.plan(&config, facts(&of, base, nothing()));
        shelf.run(&first, 10, |_| true);
        // Children whose parent is published under the tag that they name stand on it.
        let latest = |image: &String| shelf.0.iter().filter_map(|(name, (_, made_of))| {
            let (repository, tag) = name.rsplit_once(':')?;
            let id = repository.strip_prefix("ghcr.io/acme/").filter(|id| tag == "latest" && id.split('-').next() == Some(image))?;
            Some((id.to_owned(), made_of.clone()))
        }).collect::<BTreeMap<String, MadeOf>>();
        for (child, parent) in parents.iter().filter(|(child, _)| !images[child[1..].parse::<usize>().unwrap()].paths) {
            // One whose own parent is not published under the tag that it names does not say what it is made of.
            let says = |(id, made_of): (&String, &MadeOf)| Some(format!("{id}={}", made_of.hash()?));
            let parents: BTreeSet<String> = latest(parent).iter().filter_map(says).collect();
            for (id, made_of) in latest(child) {
                let is_unknown = parents.is_empty() || made_of.parents == UNKNOWN;
                prop_assert!(is_unknown || parents.contains(&made_of.parents), "{} is on {}", id, made_of.parents);
            }
        }
        let second = shelf.plan(&config, facts(&of, base, nothing()));
        prop_assert_eq!(second.ids(), BTreeSet::new(), "{:?}", second.builds.iter().map(|build| &build.reasons).collect::<Vec<_>>());
    }
}
