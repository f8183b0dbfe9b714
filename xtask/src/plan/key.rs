//! The key of a build: SHA-256 over its named inputs. Equal keys are equal images, whatever the commit.
//!
//! Where the files that it takes are not known, the commit and what differs from it are inputs: too careful, never stale.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Plan;
use super::parents::{self, Resolved};
use super::planner::Input;
use super::tags;
use crate::config::placeholder::fill_known;
use crate::config::{Build, Test};
use crate::marks;

pub struct Inputs<'a> {
    pub input: &'a Input<'a>,
    pub build: &'a Build,
    pub args: &'a [(String, String)],
    pub platforms: &'a [String],
    pub parents: &'a [Resolved],
    /// Id → key of the builds before this one.
    pub keys: &'a BTreeMap<String, String>,
}

impl Inputs<'_> {
    /// Everything that decides the image, in a fixed order. Of a secret only its id.
    pub fn named(&self) -> Vec<(String, String)> {
        let Inputs { input, build, .. } = self;
        let (facts, dockerfile) = (input.facts, input.facts.dockerfile(build));
        let mut named = Vec::new();
        let mut name = |kind: &str, name: &str, value: &str| {
            let name = if name.is_empty() { kind.to_owned() } else { format!("{kind}:{name}") };
            named.push((name, value.to_owned()));
        };
        dockerfile.iter().for_each(|dockerfile| name("dockerfile", "", &dockerfile.sha256));
        build.target.iter().for_each(|target| name("target", "", target));
        name("platforms", "", &self.platforms.join(" "));
        input.version.iter().for_each(|version| name("version", "", &version.text));
        self.args.iter().for_each(|(arg, value)| name("arg", arg, value));
        // The id is the title of the image; the labels that tell the commit are no reason to build again.
        name("label", "org.opencontainers.image.title", &build.id);
        build.labels.iter().for_each(|(label, value)| name("label", label, &keyed(input, value)));
        build.secrets.keys().for_each(|id| name("secret", id, ""));
        for base in dockerfile.iter().flat_map(|dockerfile| &dockerfile.images) {
            if !self.parents.iter().any(|parent| parent.name == *base) {
                name("base", base, pinned(input, base).as_deref().unwrap_or(BY_NAME));
            }
        }
        for parent in self.parents {
            let key = parent.is.strip_prefix("build:").and_then(|id| self.keys.get(id));
            name("parent", &parent.name, key.unwrap_or(&parent.is));
        }
        for (source, hash) in facts.content(build).iter().flat_map(|content| &content.sources) {
            name("copy", source, hash);
        }
        if let Some(why) = self.unknown(build) {
            name("always", "", &why);
            name("context", "", build.context.as_str());
            facts.commit.iter().for_each(|commit| name("commit", "", commit));
            facts.dirty.iter().for_each(|dirty| name("dirty", "", dirty));
        }
        named
    }

    /// Why a build may make another image of the same inputs: for a reason of its own, or that of a parent in this run.
    fn unknown(&self, build: &Build) -> Option<String> {
        let dockerfile = self.input.facts.dockerfile(build);
        let own = self.input.facts.content(build).map_or(Some("the files were not read"), |content| content.always.as_deref());
        let own = own.map(str::to_owned).or_else(|| {
            let of = |base: &str| {
                self.input.config.parents(build).any(|(parent, of)| parents::means(self.input.config, base, parent, of))
            };
            let mut bases = dockerfile?.images.iter().filter(|base| !of(base.as_str()));
            let base = bases.find(|base| pinned(self.input, base).is_none())?;
            Some(format!("the digest of {base} is not known"))
        });
        let mut parents = self.input.config.parents(build);
        own.or_else(|| {
            parents.find_map(|(parent, of)| {
                if self.keys.contains_key(&of.id) {
                    return Some(format!("{}: {}", of.id, self.unknown(of)?));
                }
                let reference = parents::reference(self.input, parent, of);
                let is_known = self.input.facts.bases.get(&reference).is_some_and(Option::is_some);
                (!is_known).then(|| format!("the digest of {reference} is not known"))
            })
        })
    }
}

/// The text of a label, filled but for what tells the commit and the time of a build, which are no reason to build again.
fn keyed(input: &Input<'_>, text: &str) -> String {
    const LEFT: [&str; 4] = ["sha", "sha7", "timestamp", "date"];
    fill_known(text, |name| if LEFT.contains(&name) { None } else { tags::value(input, name) })
}

/// The value of a base whose digest is not known.
pub const BY_NAME: &str = "by name";

/// The digest of an image that is no parent.
pub fn pinned(input: &Input<'_>, base: &str) -> Option<String> {
    let written = base.split_once('@').map(|(_, digest)| digest.to_owned());
    written.or_else(|| input.facts.bases.get(base).cloned().flatten())
}

/// Lower-case hex, 64 characters.
pub fn key(inputs: &[(String, String)]) -> String {
    // By way of a value, see `report::json`.
    crate::facts::hex(&Sha256::digest(json!(inputs).to_string()))
}

/// Everything that the tests of a build consist of. Lower-case hex, 64 characters.
pub fn test_key(input: &Input<'_>, build: &Build) -> String {
    let test = |test: &Test| {
        let mounts = test.mounts.iter().map(|(path, inside)| (inside, input.facts.mounted.get(path))).collect::<Vec<_>>();
        json!({ "kind": test.kind, "mounts": mounts, "deps": test.deps, "env": test.env, "workdir": test.workdir })
    };
    let named = json!({ "tests": build.tests.iter().map(test).collect::<Vec<_>>() });
    crate::facts::hex(&Sha256::digest(named.to_string()))
}

/// The mark that the same image has where its parents are published images and not builds of the same run: once they
/// are published, that is what the next run plans. `digest`: of a build of this run, by its id.
pub fn mark_on_published(plan: &Plan, build: &super::Build, digest: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut inputs = build.inputs.clone();
    let mut changed = false;
    // A parent may go by several names.
    for (_, value) in inputs.iter_mut().filter(|(name, _)| name.starts_with("parent:")) {
        let Some(parent) = plan.builds.iter().find(|parent| parent.key == *value) else { continue };
        *value = format!("{}@{}", parent.repository, digest(&parent.id)?);
        changed = true;
    }
    let mark = build.test.mark.as_deref().filter(|_| changed)?;
    marks::of_another_key(mark, &key(&inputs))
}

#[cfg(test)]
mod tests {
    use crate::event::{Event, parse};
    use crate::facts::Facts;
    use crate::facts::content::Content;
    use crate::plan::golden::{facts, load};
    use crate::plan::testing::config;
    use crate::plan::{Build, plan};

    fn builds(system: &str, event: &str, change: impl FnOnce(&mut Facts)) -> Vec<Build> {
        let (root, config) = load(system);
        let mut facts = facts(&root, &config, None);
        for build in &config.builds {
            let sources = vec![("src".to_owned(), format!("hash of {}", build.id))];
            facts.contents.insert(build.id.clone(), Content { sources, ..Content::default() });
        }
        change(&mut facts);
        let event: Event = parse::event(event).unwrap();
        plan(&config, &event, &facts, &[]).unwrap().builds
    }

    fn keys(builds: &[Build]) -> Vec<&str> {
        builds.iter().map(|build| build.key.as_str()).collect()
    }

    #[test]
    fn a_child_is_known_again_on_its_parent_once_that_is_published() {
        let (root, config) = load("examples/hierarchy");
        let event: Event = parse::event("branch:main").unwrap();
        let mut facts = facts(&root, &config, None);
        let first = plan(&config, &event, &facts, &[]).unwrap();
        let digest = format!("sha256:{}", "1".repeat(64));
        let marks: Vec<_> =
            first.builds.iter().map(|build| super::mark_on_published(&first, build, |_| Some(digest.clone()))).collect();
        assert_eq!(marks[0], None, "base has no parent");

        facts.changed = crate::facts::Changed::Files(vec!["README.md".into()]);
        facts.bases.insert("ghcr.io/slipway/bot-base:latest".into(), Some(digest));
        let next = plan(&config, &event, &facts, &[]).unwrap();
        assert_eq!(next.builds.iter().map(|build| build.id.as_str()).collect::<Vec<_>>(), ["prod"]);
        assert!(next.builds[0].test.mark.is_some() && next.builds[0].test.mark == marks[2]);
        assert_ne!(next.builds[0].test.mark, first.builds[2].test.mark);
    }

    #[test]
    fn a_parent_of_two_names_is_one_parent() {
        let (root, config) = load("examples/hierarchy");
        let mut plan = plan(&config, &parse::event("branch:main").unwrap(), &facts(&root, &config, None), &[]).unwrap();
        let (base, mut child) = (plan.builds[0].key.clone(), plan.builds.remove(2));
        let mark = |child: &Build| super::mark_on_published(&plan, child, |_| Some("sha256:1".into()));
        child.inputs = vec![("parent:a".into(), base.clone()), ("parent:b".into(), base)];
        let published = format!("{}@sha256:1", plan.builds[0].repository);
        let then = ["parent:a", "parent:b"].map(|name| (name.to_owned(), published.clone()));
        assert!(mark(&child).unwrap().contains(&super::key(&then)[..12]));
    }

    #[test]
    fn the_commit_is_no_input_where_the_files_are_known() {
        let of = |change: fn(&mut Facts)| builds("examples/hierarchy", "branch:main", change);
        let before = of(|_| {});
        assert_eq!(keys(&before), keys(&of(|facts| facts.commit = Some("f".repeat(40)))));
        assert_eq!(keys(&before), keys(&of(|facts| facts.dirty = Some("d".into()))));
        let names: Vec<&str> = before[1].inputs.iter().map(|(name, _)| name.as_str()).collect();
        let title = "label:org.opencontainers.image.title";
        assert_eq!(names[..3], ["dockerfile", "platforms", title], "{names:?}");
        assert!(names.contains(&"copy:src") && names.iter().any(|name| name.starts_with("parent:")), "{names:?}");
        assert!(!names.contains(&"commit") && !names.contains(&"always"), "{names:?}");

        let base = of(|facts| _ = facts.contents.get_mut("base").unwrap().sources.pop());
        assert!(keys(&before).iter().zip(keys(&base)).all(|(a, b)| *a != b), "children follow their base");
        let leaf = &before.last().unwrap().id;
        let other = builds("examples/hierarchy", "branch:main", |facts| _ = facts.contents.get_mut(leaf).unwrap().sources.pop());
        assert_eq!(keys(&before).iter().zip(keys(&other)).filter(|(a, b)| **a != *b).count(), 1, "nobody else does");
    }

    #[test]
    fn labels_count_as_they_are_filled_but_for_the_commit() {
        let inputs = |text: &str, event: &str| {
            let events = "[on.branch.main]\ntags = ['latest']\n[on.branch.dev]\ntags = ['dev']\n";
            let config = config(&format!("[image.web.labels]\nenv = '{text}'\n{events}"));
            let facts = Facts { commit: Some(event.into()), now: event.into(), ..Facts::default() };
            plan(&config, &parse::event(event).unwrap(), &facts, &[]).unwrap().builds.remove(0).inputs
        };
        let of = |text: &str, event: &str| inputs(text, event).into_iter().find(|(name, _)| name == "label:env").unwrap().1;
        assert_eq!(of("{branch}-{{x}}", "branch:main"), "main-{{x}}");
        assert_eq!(of("{branch} {sha7}", "branch:dev"), "dev {sha7}");
        for text in ["{sha}", "{sha7} {timestamp}", "{date}", "plain"] {
            assert_eq!((of(text, "branch:main").as_str(), of(text, "branch:dev").as_str()), (text, text));
        }
    }

    #[test]
    fn what_is_never_the_same_keeps_the_commit_and_hands_it_on() {
        let of = |commit: &str| {
            builds("examples/hierarchy", "branch:main", |facts| {
                facts.contents.get_mut("base").unwrap().always = Some("ADD x has no checksum".into());
                facts.commit = Some(commit.into());
            })
        };
        let (one, two) = (of("1"), of("2"));
        assert!(keys(&one).iter().zip(keys(&two)).all(|(a, b)| *a != b));
        let why = |build: &Build| build.inputs.iter().find(|(name, _)| name == "always").map(|(_, why)| why.clone());
        assert_eq!(why(&one[0]).as_deref(), Some("ADD x has no checksum"));
        assert!(why(&one[1]).unwrap().ends_with("base: ADD x has no checksum"));
    }

    #[test]
    fn on_a_published_parent_whose_digest_is_not_known_a_key_promises_nothing() {
        let of = |digest: Option<String>| {
            let builds = builds("examples/hierarchy", "branch:main", |facts| {
                facts.changed = crate::facts::Changed::Files(vec!["README.md".into()]);
                facts.bases.extend(digest.map(|digest| ("ghcr.io/slipway/bot-base:latest".into(), Some(digest))));
            });
            assert_eq!(builds[0].id, "prod");
            builds[0].inputs.iter().find(|(name, _)| name == "always").map(|(_, why)| why.clone())
        };
        assert_eq!(of(None).as_deref(), Some("the digest of ghcr.io/slipway/bot-base:latest is not known"));
        assert_eq!(of(Some(format!("sha256:{}", "1".repeat(64)))), None);
    }

    #[test]
    fn a_source_that_is_missing_is_said() {
        let (root, config) = load("examples/release");
        let mut facts = facts(&root, &config, None);
        let id = config.builds[0].id.clone();
        facts.contents.insert(id, Content { missing: vec!["dist".into()], ..Content::default() });
        let plan = plan(&config, &Event::Local, &facts, &[]).unwrap();
        assert!(
            plan.warnings.iter().any(|warning| warning.contains("takes dist, which is not in the context")),
            "{:?}",
            plan.warnings
        );
    }
}
