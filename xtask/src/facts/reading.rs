//! The Dockerfile of every build as an event builds it: with its platforms, and arguments that it fills in.

use std::collections::BTreeMap;
use std::io::Read as _;

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
    let (mut files, mut by_build) = (BTreeMap::new(), BTreeMap::new());
    let mut by_path: BTreeMap<&Utf8PathBuf, (&Build, Dockerfile)> = BTreeMap::new();
    // What is wrong with it is said by the planner.
    let version = version(config, event).ok().flatten();
    let same = |a: &Build, b: &Build| (&a.args, &a.target) == (&b.args, &b.target) && platforms(event, a) == platforms(event, b);
    for build in &config.builds {
        let path = &build.dockerfile;
        if by_path.get(path).is_some_and(|(first, _)| same(first, build)) {
            continue;
        }
        let bytes = match (rendered.get(path), files.get(path)) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => Vec::as_slice(bytes),
            (None, None) => files.entry(path.clone()).or_insert(bytes_of(repo, build)?),
        };
        let args = args(build, event, version.as_ref());
        let read = dockerfile::read(bytes, &args, build.target.as_deref(), platforms(event, build));
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

/// Bytes of a Dockerfile: BuildKit sends it in a message, and refuses one that is longer.
const LONGEST: u64 = 16 << 20;

fn bytes_of(repo: &Utf8Path, build: &Build) -> Result<Vec<u8>> {
    let path = &build.dockerfile;
    let bytes = read_at_most(&repo.join(path), LONGEST).map_err(|error| {
        let fault = Fault::usage(format!("cannot read {path} of {}: {error}", build.id));
        fault.hint(format!("write it, or name another under [image.{}] dockerfile", build.image))
    })?;
    bytes.ok_or_else(|| {
        let fault = Fault::usage(format!("{path} of {} has more than {} MiB", build.id, LONGEST >> 20));
        fault.hint("BuildKit takes no longer Dockerfile; COPY what it has to hold from a file").into()
    })
}

/// The bytes of a file, of which no more is read than it may have; `None`: it has more.
pub fn read_at_most(path: &Utf8Path, longest: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= longest))
}
