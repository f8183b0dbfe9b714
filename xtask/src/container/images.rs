//! The images that tests and checks run: candidates by the digest that will be published, others by their local name.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use crate::build::images::{Part, to_fetch};
use crate::candidate::{self, Digests};
use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::{Build, Check, Plan};
use crate::registry::Live;
use crate::{docker, parallel};

/// Build id → its image in the engine, a part for each platform where they are told apart.
pub type Parts = BTreeMap<String, Vec<Part>>;

/// The images of builds. What was built elsewhere is fetched.
///
/// # Errors
/// Not ready, with everything that is not built and the command that builds it.
pub fn find(
    runner: &Runner,
    jobs: usize,
    plan: &Plan,
    wanted: &BTreeSet<&str>,
    candidates: &Digests,
    keeps_platforms: bool,
) -> Result<Parts> {
    let (pushed, local): (Vec<&Build>, Vec<&Build>) =
        plan.builds.iter().filter(|build| wanted.contains(build.id.as_str())).partition(|build| build.pushes_candidate());
    let mut images = Vec::new();
    for build in pushed {
        let Some(digest) = candidates.get(&build.id) else {
            let candidate = build.test.candidate.as_deref().unwrap_or_default();
            let fault = Fault::not_ready(format!("cannot test what is not built: {candidate} is not in the registry"));
            return Err(fault.hint(format!("run `cargo xtask ci-build --mode test --event {}`", plan.event.flag())).into());
        };
        images.push((build, candidate::by_digest(build, digest)));
    }
    let parts = to_fetch(&Live::new(runner), &images, keeps_platforms)?;
    fetch(runner, jobs, &parts)?;
    let mut found: Parts = images.iter().map(|(build, _)| build.id.clone()).zip(parts).collect();
    let name = |build: &&Build| Some((build.id.clone(), build.test.load.first()?.clone()));
    let local: Vec<(String, String)> = local.iter().filter_map(name).collect();
    are_here(runner, &local)?;
    found.extend(local.into_iter().map(|(id, reference)| (id, vec![Part { platform: None, reference }])));
    Ok(found)
}

/// What is not here yet of `images` (by digest).
fn fetch(runner: &Runner, jobs: usize, images: &[Vec<Part>]) -> Result<()> {
    let mut all: Vec<String> = images.iter().flatten().map(|part| part.reference.clone()).collect();
    all.dedup();
    // One question for all; which ones are missing matters only when some are.
    if images.is_empty() || runner.output(&docker::inspect_images(&all))?.ok() {
        return Ok(());
    }
    let here = |part: &&Part| {
        let ask = docker::inspect_images(std::slice::from_ref(&part.reference));
        runner.output(&ask).is_ok_and(|exit| exit.ok())
    };
    let pull = |parts: &Vec<Part>| {
        // All of them are asked for first: platforms of one image have one name in some engines.
        let missing: Vec<&Part> = parts.iter().filter(|part| !here(part)).collect();
        missing.into_iter().try_for_each(|part| part.pull(runner))
    };
    parallel::map(jobs, images.iter().collect(), pull).into_iter().collect()
}

/// The published image of a check, fetched; one that goes by a tag is always asked for again.
///
/// # Errors
/// Not ready: it cannot be had.
pub fn published(runner: &Runner, check: &Check, reference: &str) -> Result<()> {
    let done = match reference.contains('@') {
        true => fetch(runner, 1, &[vec![Part { platform: None, reference: reference.to_owned() }]]),
        false => runner.read(&docker::pull(reference, None)).map(drop),
    };
    if runner.is_interrupted() {
        return done;
    }
    done.with_context(|| {
        let fault = Fault::not_ready(format!("cannot run check {}: its image {reference} cannot be fetched", check.name));
        fault.hint(
            "build it in this run with `cargo xtask ci-build --event local --mode test`, or log in with `cargo xtask login`",
        )
    })
}

/// All images that are missing, at once, with the command that builds them.
fn are_here(runner: &Runner, wanted: &[(String, String)]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    let here = docker::images(&runner.output(&docker::inspect_images(&names))?.stdout);
    let missing = |(_, name): &&(String, String)| !here.iter().any(|image| image.is_called(name));
    let missing: Vec<&(String, String)> = wanted.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = missing.iter().map(|(_, name)| name.as_str()).collect();
    // A few are named; for many the whole is as quick, because the others come from cache.
    let only = |(id, _): &&(String, String)| format!(" --only id={id}");
    let only: String = if missing.len() > 3 { String::new() } else { missing.iter().map(only).collect() };
    let fault = Fault::not_ready(format!("cannot test what is not built: no image {}", list.join(", ")));
    Err(fault.hint(format!("run `cargo xtask ci-build --mode test{only}`")).into())
}
