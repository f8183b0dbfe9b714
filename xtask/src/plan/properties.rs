//! What holds for every plan of every configuration: nothing is shared that may not be, parents come first.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use proptest::prelude::*;

use super::{Plan, check, plan};
use crate::config::{Config, Env, load_text};
use crate::event::parse;
use crate::facts::{Changed, Dockerfile, Facts};

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
}
