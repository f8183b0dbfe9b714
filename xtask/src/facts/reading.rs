//! The Dockerfile of every build as an event builds it: with its platforms, and arguments that it fills in.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::Dockerfile;
use super::dockerfile::{self, Args};
use crate::config::{Build, Config, placeholder};
use crate::error::Fault;
use crate::event::Event;
use crate::plan::{policy_of, told, version};
use crate::version::Version;

/// By path and, where a build differs from the others of its Dockerfile, by its id.
type Read = (BTreeMap<Utf8PathBuf, Dockerfile>, BTreeMap<String, Dockerfile>);

/// Reads the Dockerfile of every build; builds that share one keep a reading of their own only where it differs.
///
/// # Errors
/// Usage faults: a Dockerfile that is not there, or is none.
pub fn read_all(repo: &Utf8Path, config: &Config, event: &Event, rendered: &BTreeMap<Utf8PathBuf, String>) -> Result<Read> {
    let (mut texts, mut by_build) = (BTreeMap::new(), BTreeMap::new());
    let mut by_path: BTreeMap<&Utf8PathBuf, (&Build, Dockerfile)> = BTreeMap::new();
    // What is wrong with it is said by the planner.
    let version = version(config, event).ok().flatten();
    let same = |a: &Build, b: &Build| (&a.args, &a.target) == (&b.args, &b.target) && platforms(event, a) == platforms(event, b);
    for build in &config.builds {
        let path = &build.dockerfile;
        if by_path.get(path).is_some_and(|(first, _)| same(first, build)) {
            continue;
        }
        let text = match (rendered.get(path), texts.get(path)) {
            (Some(text), _) | (None, Some(text)) => text,
            (None, None) => texts.entry(path.clone()).or_insert(text_of(repo, build)?),
        };
        let args = args(build, event, version.as_ref());
        let read = dockerfile::read(text, &args, build.target.as_deref(), platforms(event, build));
        let read = read.map_err(|error| Fault::usage(format!("{path} of {}: {error}", build.id)))?;
        match by_path.get(path) {
            None => drop(by_path.insert(path, (build, read))),
            Some((_, first)) if *first == read => {}
            Some(_) => drop(by_build.insert(build.id.clone(), read)),
        }
    }
    Ok((by_path.into_iter().map(|(path, (_, read))| (path.clone(), read)).collect(), by_build))
}

/// All that the event may build it for; one that is not for it is read as it stands.
fn platforms<'a>(event: &Event, build: &'a Build) -> &'a [String] {
    policy_of(event, build).map_or(&build.platforms, |policy| policy.platforms(build))
}

/// The arguments of a build, as far as they are known before git and the clock are asked.
pub fn args(build: &Build, event: &Event, version: Option<&Version>) -> Args {
    let fill = |text: &String| placeholder::fill(text, |name| told(event, version, name)).ok();
    build.args.iter().map(|(name, text)| (name.clone(), fill(text))).collect()
}

fn text_of(repo: &Utf8Path, build: &Build) -> Result<String> {
    let path = &build.dockerfile;
    std::fs::read_to_string(repo.join(path)).map_err(|error| {
        let fault = Fault::usage(format!("cannot read {path} of {}: {error}", build.id));
        fault.hint(format!("write it, or name another under [image.{}] dockerfile", build.image)).into()
    })
}
