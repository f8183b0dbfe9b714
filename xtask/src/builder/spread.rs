//! Builds whose platforms are not built together: a part for each node, joined again when all are done. Pure.

use std::collections::BTreeMap;

use crate::marks;
use crate::plan::{Build, Plan};

/// Build id → its platforms, those together that are built together.
type Groups<'a> = BTreeMap<&'a str, Vec<Vec<String>>>;

/// Who builds which platforms. By default one node builds all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The platforms of each node; what is on none is built on one more.
    pub nodes: Vec<Vec<String>>,
    /// Images that are not pushed can be loaded with one platform only: this one, where they have it. None: with all.
    pub loads: Option<String>,
}

/// What stands between a build's id and the platforms of a part of it; no id has it.
const PART: char = '@';

/// The plan with the parts of its builds in their place.
pub fn expand(plan: &Plan, spread: &Spread) -> Plan {
    let mut expanded = plan.clone();
    let mut known = Groups::new();
    // Parents stand before their children.
    for build in &plan.builds {
        let groups = groups(build, spread, &known);
        known.insert(&build.id, groups);
    }
    expanded.builds = plan.builds.iter().flat_map(|build| parts(build, spread, &known)).collect();
    expanded
}

/// The build that a part belongs to.
pub fn whole(id: &str) -> &str {
    id.split(PART).next().unwrap_or(id)
}

fn parts(build: &Build, spread: &Spread, known: &Groups<'_>) -> Vec<Build> {
    let groups = known.get(build.id.as_str()).map(Vec::as_slice).unwrap_or_default();
    let loaded = loaded(build, spread);
    let part = |group: &Vec<String>| {
        let mut part = build.clone();
        if groups.len() > 1 {
            let name = suffix(group);
            part.id = format!("{}{PART}{name}", build.id);
            part.platforms.clone_from(group);
            part.test.candidate = build.test.candidate.as_ref().map(|tag| marks::part(tag, &name));
            if build.pushes_candidate() || !loaded.is_some_and(|loaded| group.contains(loaded)) {
                part.test.load.clear();
            }
            part.test.cache_to = build.test.cache_to.iter().map(|entry| own_cache(entry, &name)).collect();
            // What is in the cache of all platforms together is good for each.
            let from = build.test.cache_from.iter();
            part.test.cache_from = from.flat_map(|entry| [own_cache(entry, &name), entry.clone()]).collect();
        }
        for (_, parent) in &mut part.parents {
            let Some(id) = parent.strip_prefix("build:") else { continue };
            *parent = format!("build:{}", part_for(id, group, known));
        }
        part
    };
    groups.iter().map(part).collect()
}

/// The part of a parent that has the platforms of its child.
fn part_for(parent: &str, platforms: &[String], known: &Groups<'_>) -> String {
    let groups = known.get(parent).map(Vec::as_slice).unwrap_or_default();
    let has = |group: &&Vec<String>| platforms.iter().all(|platform| group.contains(platform));
    match groups.iter().find(has) {
        Some(group) if groups.len() > 1 => format!("{parent}{PART}{}", suffix(group)),
        _ => parent.to_owned(),
    }
}

/// The platforms that are built together, in the order of the build.
///
/// What is apart in a parent is apart in its children too: bake would link all platforms of a child to the one part that
/// it is given, and make images of one platform that start from another's.
fn groups(build: &Build, spread: &Spread, known: &Groups<'_>) -> Vec<Vec<String>> {
    let loaded = loaded(build, spread);
    let parents = build.parents.iter().filter_map(|(_, is)| known.get(is.strip_prefix("build:")?));
    let parents: Vec<&Vec<Vec<String>>> = parents.collect();
    let apart = |platform: &String| {
        let of = |groups: &&Vec<Vec<String>>| groups.iter().position(|group| group.contains(platform));
        (spread.node(platform), loaded == Some(platform), parents.iter().map(of).collect::<Vec<_>>())
    };
    let mut groups: Vec<(_, Vec<String>)> = Vec::new();
    for platform in &build.platforms {
        let of = apart(platform);
        match groups.iter_mut().find(|(other, _)| *other == of) {
            Some((_, group)) => group.push(platform.clone()),
            None => groups.push((of, vec![platform.clone()])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The platform that is loaded apart from the others.
fn loaded<'a>(build: &'a Build, spread: &Spread) -> Option<&'a String> {
    let own = spread.loads.as_ref().filter(|_| !build.pushes_candidate() && build.platforms.len() > 1)?;
    build.platforms.iter().find(|platform| *platform == own).or(build.platforms.first())
}

impl Spread {
    fn node(&self, platform: &str) -> usize {
        self.nodes.iter().position(|node| node.iter().any(|own| own == platform)).unwrap_or(self.nodes.len())
    }
}

/// `linux/arm64` as part of an id and of a tag.
pub fn suffix(platforms: &[String]) -> String {
    platforms.iter().map(|platform| platform.replace('/', "-")).collect::<Vec<_>>().join("_")
}

/// A cache of the part alone: two nodes that export into one reference keep the last of them only.
fn own_cache(entry: &str, name: &str) -> String {
    let field = |field: &str| match field.split_once('=') {
        Some((key @ ("ref" | "scope"), value)) => format!("{key}={value}-{name}"),
        _ => field.to_owned(),
    };
    entry.split(',').map(field).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;
    use crate::plan::testing::{build, plan};

    fn both(id: &str, pushes: bool) -> Build {
        let mut build = build(id);
        build.platforms = vec!["linux/amd64".into(), "linux/arm64".into()];
        if pushes {
            build.push.how = How::Promote;
            build.test.candidate = Some(format!("r/{id}:candidate-k-1"));
        }
        build
    }

    fn two_nodes() -> Spread {
        Spread { nodes: vec![vec!["linux/arm64".into()], vec!["linux/amd64".into()]], loads: Some("linux/amd64".into()) }
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.builds.iter().map(|build| build.id.as_str()).collect()
    }

    #[test]
    fn a_part_a_node_with_a_candidate_and_a_cache_of_its_own() {
        let mut build = both("a", true);
        build.test.cache_to = vec!["type=registry,ref=r/c:a,mode=max,ignore-error=true".into(), "type=inline".into()];
        build.test.cache_from = vec!["type=gha,scope=a".into()];
        let parts = expand(&plan(vec![build]), &two_nodes());
        assert_eq!(ids(&parts), ["a@linux-amd64", "a@linux-arm64"]);
        let arm = &parts.builds[1];
        assert_eq!(arm.platforms, ["linux/arm64"]);
        assert_eq!(arm.names(), ["r/a:candidate-k-1-linux-arm64"]);
        assert_eq!(arm.test.cache_to, ["type=registry,ref=r/c:a-linux-arm64,mode=max,ignore-error=true", "type=inline"]);
        assert_eq!(arm.test.cache_from, ["type=gha,scope=a-linux-arm64", "type=gha,scope=a"]);
        assert_eq!(whole(&arm.id), "a");
    }

    #[test]
    fn one_node_is_one_target() {
        let one = plan(vec![both("a", true), build("b")]);
        let all = Spread { nodes: vec![vec!["linux/amd64".into(), "linux/arm64".into()]], ..two_nodes() };
        assert_eq!(expand(&one, &all), one);
        assert_eq!(expand(&one, &Spread::default()), one);
        assert_eq!(ids(&expand(&plan(vec![build("b")]), &two_nodes())), ["b"]);
    }

    #[test]
    fn what_is_not_pushed_is_loaded_with_one_platform() {
        let parts = expand(&plan(vec![both("a", false)]), &Spread { nodes: Vec::new(), ..two_nodes() });
        let names: Vec<Vec<String>> = parts.builds.iter().map(Build::names).collect();
        assert_eq!(names, [vec!["acme/a:local".to_owned()], Vec::new()]);
    }

    #[test]
    fn children_are_linked_to_the_part_that_has_their_platform() {
        let mut child = both("app", true);
        child.platforms.remove(0);
        let mut wide = both("wide", true);
        for child in [&mut child, &mut wide] {
            child.parents = vec![("base".into(), "build:base".into()), ("debian".into(), "debian@sha256:1".into())];
        }
        let parts = expand(&plan(vec![both("base", true), child, wide]), &two_nodes());
        let parents: Vec<&str> = parts.builds[2..].iter().map(|build| build.parents[0].1.as_str()).collect();
        assert_eq!(parents, ["build:base@linux-arm64", "build:base@linux-amd64", "build:base@linux-arm64"]);
        assert_eq!(parts.builds[2].parents[1].1, "debian@sha256:1");
    }

    #[test]
    fn no_part_of_a_child_has_a_platform_that_its_parents_part_has_not() {
        // The parent is loaded, so that its platforms are apart; the child is pushed, and could be built in one go.
        let link = |mut child: Build| {
            child.parents = vec![("base".into(), "build:base".into())];
            child
        };
        let mut plan = plan(vec![both("base", false), link(both("app", true))]);
        let parts = expand(&plan, &Spread { nodes: Vec::new(), ..two_nodes() });
        let linked = |parts: &Plan| -> Vec<String> {
            parts.builds.iter().filter(|part| whole(&part.id) == "app").map(|part| part.parents[0].1.clone()).collect()
        };
        assert_eq!(linked(&parts), ["build:base@linux-amd64", "build:base@linux-arm64"]);

        for (build, platforms) in
            plan.builds.iter_mut().zip([["linux/arm64", "linux/s390x", "linux/386"], ["linux/s390x", "linux/arm64", "linux/386"]])
        {
            build.platforms = platforms.map(str::to_owned).to_vec();
            (build.push.how, build.test.candidate) = (How::None, None);
        }
        let parts = expand(&plan, &Spread { nodes: Vec::new(), ..two_nodes() });
        for part in parts.builds.iter().filter(|part| whole(&part.id) == "app") {
            let id = part.parents[0].1.trim_start_matches("build:");
            let parent = parts.builds.iter().find(|build| build.id == id).unwrap();
            assert!(part.platforms.iter().all(|platform| parent.platforms.contains(platform)), "{} from {id}", part.id);
        }
    }
}
