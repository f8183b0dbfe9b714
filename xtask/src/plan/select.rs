//! Which builds an event takes, with the reason for each, taken or not.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8Path;

use super::planner::Input;
use super::publishers;
use crate::config::condition::{Condition, Subject, selects};
use crate::config::{Build, CacheMode, Config, EventKey, FreshWhen, Policy};
use crate::error::Fault;
use crate::event::Event;
use crate::facts::{Changed, content, dockerfile};
use crate::glob;

/// A build that is in, with what its event does for it.
pub struct Taken<'a> {
    pub build: &'a Build,
    pub policy: &'a Policy,
    /// Built for its children alone: nothing of it is published.
    pub is_lent: bool,
    pub reasons: Vec<String>,
}

/// What is done for a parent that is in an event which has nothing to say of it.
static LENT: Policy = Policy {
    event: EventKey::Local,
    matches: Vec::new(),
    branches: Vec::new(),
    paths: None,
    paths_ignore: None,
    only: Vec::new(),
    platforms: None,
    fresh: FreshWhen::Never,
    cache: CacheMode::Read,
    tags: Vec::new(),
    has_default_tags: false,
    cache_from_tags: Vec::new(),
    replace: false,
    rebuild_input: String::new(),
};

pub struct Selection<'a> {
    pub taken: Vec<Taken<'a>>,
    /// (id, reason)
    pub skipped: Vec<(String, String)>,
}

/// Why a build is skipped that the event would take.
pub const NARROWED: &str = "--only leaves it out";

/// Files whose change may change every image: the tool, its toolchain, the pipeline.
const EVERYTHING: [&str; 7] =
    ["xtask/**", "Cargo.toml", "Cargo.lock", ".cargo/**", "rust-toolchain*", ".github/workflows/**", ".github/actions/**"];

pub fn select<'a>(input: &Input<'a>, only: &[Condition]) -> Result<Selection<'a>> {
    let mut taken: BTreeMap<&str, Taken<'a>> = BTreeMap::new();
    let mut skipped: BTreeMap<&str, String> = BTreeMap::new();
    for build in &input.config.builds {
        match verdict(input, build) {
            Ok((policy, reasons)) => drop(taken.insert(&build.id, Taken { build, policy, is_lent: false, reasons })),
            Err(reason) => drop(skipped.insert(&build.id, reason)),
        }
    }
    follow_parents(input, &mut taken, &mut skipped);
    lend_parents(input, &mut taken, &mut skipped);
    if !only.is_empty() {
        narrow(input, only, &mut taken, &mut skipped)?;
    }
    // In the order of the configuration, which is that of the axes.
    let mut selection = Selection { taken: Vec::new(), skipped: Vec::new() };
    for build in &input.config.builds {
        if let Some(one) = taken.remove(build.id.as_str()) {
            selection.taken.push(one);
        } else if let Some(reason) = skipped.remove(build.id.as_str()) {
            selection.skipped.push((build.id.clone(), reason));
        }
    }
    Ok(selection)
}

fn verdict<'a>(input: &Input<'a>, build: &'a Build) -> Result<(&'a Policy, Vec<String>), String> {
    let policy = policy_of(input.event, build).map_err(|reason| nobodys(input, &reason).unwrap_or(reason))?;
    if !is_for(input.config, policy, build) {
        return Err(format!("`only` of {} leaves it out", name_of(&policy.event)));
    }
    match input.event {
        Event::PullRequest { .. } | Event::Branch { .. } => Ok((policy, vec![changed(input, build, policy)?])),
        Event::Local => Ok((policy, vec!["a local run takes everything".into()])),
        Event::Tag { .. } => Ok((policy, vec!["a tag takes everything".into()])),
        Event::Schedule { .. } => Ok((policy, vec!["a scheduled run takes everything".into()])),
        Event::Manual { .. } => Ok((policy, vec!["a manual run takes everything".into()])),
    }
}

/// Whether `only` of an event lets a build through.
pub fn is_for(config: &Config, policy: &Policy, build: &Build) -> bool {
    policy.only.is_empty() || selects(&policy.only, &subject(config, build))
}

/// An event that the file does not name at all is no fault of an image.
fn nobodys(input: &Input<'_>, reason: &str) -> Option<String> {
    let event = reason.strip_suffix(NOT_FOR_IT)?;
    let any = input.config.builds.iter().any(|build| policy_of(input.event, build).is_ok());
    (!any).then(|| format!("there is no [{event}]"))
}

pub fn subject<'a>(config: &'a Config, build: &'a Build) -> Subject<'a> {
    Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes }
}

/// `on.branch.main` as it stands in the file.
fn name_of(event: &EventKey) -> String {
    match event {
        EventKey::PullRequest => "on.pull-request".into(),
        EventKey::Branch(name) => format!("on.branch.{name}"),
        EventKey::Tag => "on.tag".into(),
        EventKey::Schedule => "on.schedule".into(),
        EventKey::Manual => "on.manual".into(),
        EventKey::Local => "on.local".into(),
    }
}

const NOT_FOR_IT: &str = " is not for this image";

/// The policy that an event has for a build, or why it has none.
pub fn policy_of<'a>(event: &Event, build: &'a Build) -> Result<&'a Policy, String> {
    let find = |key: EventKey| {
        let found = build.on.iter().find(|policy| policy.event == key);
        found.ok_or_else(|| name_of(&key) + NOT_FOR_IT)
    };
    match event {
        Event::Local => find(EventKey::Local),
        Event::Schedule { .. } => find(EventKey::Schedule),
        Event::Manual { .. } => find(EventKey::Manual),
        Event::PullRequest { base, .. } => {
            let policy = find(EventKey::PullRequest)?;
            match base {
                Some(base) if !policy.branches.is_empty() && !glob::matches_any(&policy.branches, base) => {
                    Err(format!("on.pull-request is for {} only, this one goes into {base}", policy.branches.join(", ")))
                }
                _ => Ok(policy),
            }
        }
        Event::Tag { name } => {
            let policy = find(EventKey::Tag)?;
            if glob::matches_any(&policy.matches, name) {
                return Ok(policy);
            }
            Err(format!("on.tag is for {} only", policy.matches.join(", ")))
        }
        Event::Branch { name, .. } => {
            let branches = || build.on.iter().filter(|policy| matches!(policy.event, EventKey::Branch(_)));
            let exact = branches().find(|policy| policy.matches.contains(name));
            let found = exact.or_else(|| branches().find(|policy| glob::matches_any(&policy.matches, name)));
            found.ok_or_else(|| format!("no on.branch is for {name}"))
        }
    }
}

/// Why the changed files take this build, or why they do not.
fn changed(input: &Input<'_>, build: &Build, policy: &Policy) -> Result<String, String> {
    let files = match &input.facts.changed {
        Changed::Unknown(why) => return Ok(format!("what changed is not known ({why}), so everything is built")),
        Changed::Files(files) => files,
    };
    if let Some(file) = files.iter().find(|file| selects_all(input.config, file)) {
        return Ok(format!("{file} changed, which selects every build"));
    }
    if let Some((file, axis)) = files.iter().find_map(|file| Some((file, axis_in(input.config, build, file)?))) {
        return Ok(format!("{file} changed, which has the values of {axis}"));
    }
    let matches: Box<dyn Fn(&Utf8Path) -> bool> = match (&policy.paths, &policy.paths_ignore) {
        (None, None) => Box::new(|file| made_of(input, build, file) || mounted(build, file)),
        (paths, ignore) => Box::new(move |file| {
            paths.as_ref().is_none_or(|paths| glob::matches_any(paths, file.as_str()))
                && !ignore.as_ref().is_some_and(|ignore| glob::matches_any(ignore, file.as_str()))
        }),
    };
    match files.iter().find(|file| matches(file)) {
        Some(file) => Ok(format!("{file} changed")),
        None if policy.paths.is_some() || policy.paths_ignore.is_some() => {
            Err(format!("no changed file is in the paths of {}", name_of(&policy.event)))
        }
        None => super::published::behind(input, build, policy).ok_or_else(|| "nothing that it is made of changed".into()),
    }
}

/// Whether a change of the file selects every build.
pub fn selects_all(config: &Config, file: &Utf8Path) -> bool {
    glob::matches_any(&EVERYTHING, file.as_str()) || file == config.file
}

/// The axis of a build whose values stand in a file: a new one makes builds that no other file tells of.
pub fn axis_in<'a>(config: &'a Config, build: &Build, file: &Utf8Path) -> Option<&'a str> {
    let of_build = |axis: &String| build.axes.iter().any(|(own, _)| own == axis);
    config.axis_files.iter().find(|(axis, path)| *path == file && of_build(axis)).map(|(axis, _)| axis.as_str())
}

/// Whether a test of the build mounts a file.
pub fn mounted(build: &Build, file: &Utf8Path) -> bool {
    build.tests.iter().flat_map(|test| &test.mounts).any(|(path, _)| path == "." || file.starts_with(path))
}

/// Whether a file goes into the image.
pub fn made_of(input: &Input<'_>, build: &Build, file: &Utf8Path) -> bool {
    if file == build.dockerfile || Some(file) == build.template.as_deref() {
        return true;
    }
    if input.config.version_file.as_ref().is_some_and(|version| version.path == file) {
        return true;
    }
    file == content::ignore_of(&build.dockerfile)
        || dockerfile::takes(&build.context, input.facts.dockerfile(build), input.facts.content(build), file)
}

/// A child is in whenever its parent is built and the event is for the child.
fn follow_parents<'a>(input: &Input<'a>, taken: &mut BTreeMap<&'a str, Taken<'a>>, skipped: &mut BTreeMap<&'a str, String>) {
    loop {
        let mut followers = Vec::new();
        for build in input.config.builds.iter().filter(|build| skipped.contains_key(build.id.as_str())) {
            let parent = input.config.parents(build).find(|(_, parent)| taken.contains_key(parent.id.as_str()));
            if let (Some((_, parent)), Ok(policy)) = (parent, policy_of(input.event, build))
                && is_for(input.config, policy, build)
            {
                let reasons = vec![format!("its parent {} is built", parent.id)];
                followers.push(Taken { build, policy, is_lent: false, reasons });
            }
        }
        if followers.is_empty() {
            return;
        }
        for follower in followers {
            skipped.remove(follower.build.id.as_str());
            taken.insert(&follower.build.id, follower);
        }
    }
}

/// A parent that no registry can ever have is built with its children.
fn lend_parents<'a>(input: &Input<'a>, taken: &mut BTreeMap<&'a str, Taken<'a>>, skipped: &mut BTreeMap<&'a str, String>) {
    let mut children: Vec<&Build> = taken.values().map(|one| one.build).collect();
    let mut at = 0;
    while at < children.len() {
        let child = children[at];
        for (_, build) in input.config.parents(child) {
            let Some(why) = publishers::why_never(input.config, build).filter(|_| !taken.contains_key(build.id.as_str())) else {
                continue;
            };
            let policy = policy_of(input.event, build).unwrap_or(&LENT);
            let reasons = vec![format!("{} is built on it, and {why}", child.id)];
            skipped.remove(build.id.as_str());
            taken.insert(&build.id, Taken { build, policy, is_lent: true, reasons });
            children.push(build);
        }
        at += 1;
    }
}

/// `--only`: what it selects, and the parents of that which this event builds anyway.
fn narrow<'a>(
    input: &Input<'a>,
    only: &[Condition],
    taken: &mut BTreeMap<&'a str, Taken<'a>>,
    skipped: &mut BTreeMap<&'a str, String>,
) -> Result<()> {
    let wanted: Vec<&Build> = input.config.builds.iter().filter(|build| selects(only, &subject(input.config, build))).collect();
    if wanted.is_empty() {
        let ids: Vec<&str> = input.config.builds.iter().map(|build| build.id.as_str()).collect();
        return Err(Fault::usage("--only selects nothing").hint(format!("there are {}", shorten(&ids))).into());
    }
    let mut keep: Vec<&Build> = wanted;
    let mut at = 0;
    while at < keep.len() {
        let parents = input.config.parents(keep[at]).map(|(_, parent)| parent);
        keep.extend(parents.filter(|parent| taken.contains_key(parent.id.as_str())));
        at += 1;
    }
    taken.retain(|id, _| {
        let kept = keep.iter().any(|build| build.id == *id);
        if !kept {
            skipped.insert(id, NARROWED.into());
        }
        kept
    });
    Ok(())
}

/// The first 20 names and how many more there are.
pub fn shorten(names: &[&str]) -> String {
    match names.len() {
        0..=20 => names.join(", "),
        more => format!("{} and {} more", names[..20].join(", "), more - 20),
    }
}

#[cfg(test)]
mod tests {
    use crate::event::parse;
    use crate::facts::Facts;
    use crate::plan::plan;
    use crate::plan::testing::config;

    #[test]
    fn a_value_that_the_file_of_an_axis_got_selects_whoever_has_the_axis() {
        let folder = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(folder.path()).unwrap();
        std::fs::write(root.join("PYTHONS"), "3.11\n3.12\n").unwrap();
        let text = "schema = 1\nnamespace = 'acme'\n[axes]\npython = { file = './PYTHONS' }\nos = ['a']\n\
            [image.py]\nvariant = 'py{python}'\n[image.part]\nvariant = '{python}'\non.pull-request.paths = ['src/**']\n\
            [image.os]\nvariant = '{os}'\n[image.tool]\n";
        let config = crate::config::load_text(root, "f".into(), text, &crate::config::Env::new()).unwrap();
        let nothing = crate::facts::Dockerfile { sources: Some(Vec::new()), ..crate::facts::Dockerfile::default() };
        let facts = Facts {
            changed: crate::facts::Changed::Files(vec!["PYTHONS".into()]),
            dockerfiles: [("Dockerfile".into(), nothing)].into(),
            ..Facts::default()
        };
        let plan = plan(&config, &parse::event("pr:1").unwrap(), &facts, &[]).unwrap();
        let taken: Vec<&str> = plan.builds.iter().map(|build| build.id.as_str()).collect();
        assert_eq!(taken, ["part-3.11", "part-3.12", "py-py3.11", "py-py3.12"]);
        assert_eq!(plan.builds[0].reasons[0], "PYTHONS changed, which has the values of python");
    }

    #[test]
    fn only_leaves_out_children_too() {
        let config = config("[image.base]\n[image.child]\nparent = 'base'\n[on.tag]\nonly = ['image=base']\n");
        let facts = Facts { commit: Some("0123456789".into()), ..Facts::default() };
        let plan = plan(&config, &parse::event("tag:v1.0.0").unwrap(), &facts, &[]).unwrap();
        assert_eq!(plan.builds.iter().map(|build| build.id.as_str()).collect::<Vec<_>>(), ["base"]);
        assert_eq!(plan.skipped[0].reasons, ["`only` of on.tag leaves it out"]);
    }
}
