//! Scanning images for vulnerabilities: what is scanned, one trivy for each build and platform, what they found.

mod caches;
pub mod database;
pub mod report;
mod trivy;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::build::{FOLDER, images};
use crate::candidate::{self, Digests};
use crate::cmd::Cmd;
use crate::config::Env;
use crate::error::Fault;
use crate::exec::{Exit, Runner};
use crate::plan::{self, Build, Plan};
use crate::registry::Live;
use crate::{docker, files, parallel};
use caches::Caches;
use database::Ready;
use report::{Counts, Finding, Found};
use trivy::Source;

/// What every scan of a run is given.
pub struct Job<'a> {
    pub runner: &'a Runner,
    pub env: &'a Env,
    pub repo: &'a Utf8Path,
    /// Where the source of the plan is; an ignore file is part of it.
    pub root: &'a Utf8Path,
    pub ready: &'a Ready,
    pub scan: &'a plan::Scan,
    /// How many run at once.
    pub jobs: usize,
}

/// One image for one platform.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    pub build: &'a Build,
    platform: &'a str,
    source: Source,
    /// The source has other platforms too.
    has_several: bool,
}

/// What became of a scan; printed by `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub id: String,
    pub platform: String,
    pub image: String,
    /// `None`: only printed.
    pub passed: Option<bool>,
    pub counts: Counts,
    pub worst: Option<Finding>,
    /// At or above `fail-on`, worst first.
    pub failing: Vec<Finding>,
    /// Relative to the repository.
    pub report: String,
    pub seconds: f64,
}

/// The images that will be published: candidates by their digest, else those of the engine, with the platforms that it has.
///
/// # Errors
/// Not ready: an image that is not there.
pub fn targets<'a>(runner: &Runner, jobs: usize, plan: &Plan, builds: &[&'a Build]) -> Result<Vec<Target<'a>>> {
    let pushed = builds.iter().any(|build| build.pushes_candidate());
    let candidates = if pushed { candidate::candidates(plan, &Live::new(runner))? } else { Digests::new() };
    let local: Vec<String> = builds.iter().filter(|build| !build.pushes_candidate()).filter_map(|build| name(build)).collect();
    let here = if local.is_empty() { String::new() } else { runner.output(&docker::inspect_images(&local))?.stdout };
    let here = docker::images(&here);
    let loaded = images::loaded_in_part(runner, jobs, builds.iter().copied())?;
    let mut missing = Vec::new();
    let mut targets = Vec::new();
    for build in builds {
        let source = if build.pushes_candidate() {
            candidates.get(&build.id).map(|digest| Source::Registry(candidate::by_digest(build, digest)))
        } else {
            name(build).filter(|name| here.iter().any(|image| image.is_called(name))).map(Source::Engine)
        };
        match source {
            Some(source) => {
                let has = loaded.get(&build.id).unwrap_or(&build.platforms);
                let platforms = build.platforms.iter().filter(|platform| has.contains(platform));
                let has_several = has.len() > 1;
                targets.extend(platforms.map(|platform| Target { build, platform, source: source.clone(), has_several }));
            }
            None => missing.push(build.id.as_str()),
        }
    }
    if missing.is_empty() {
        images::say_what_is_not_loaded(builds, &loaded, "scanned");
        return Ok(targets);
    }
    let fault = Fault::not_ready(format!("cannot scan what is not built: {}", missing.join(", ")));
    Err(fault.hint(format!("run `cargo xtask ci-build --mode test --event {}`", plan.event.flag())).into())
}

fn name(build: &Build) -> Option<String> {
    build.names().into_iter().next()
}

/// Scans everything, a few at once; one result a target, in their order.
///
/// # Errors
/// What concerns all of them: the ignore file, the folder of the reports. That one of them fails is its own result.
pub fn run(job: &Job<'_>, targets: &[Target<'_>]) -> Result<Vec<Result<Outcome>>> {
    let folder = folder(job.repo);
    files::make_folder(job.repo, &folder)?;
    sweep(&folder);
    let ignore = ignore(job)?;
    // Nothing is copied for what is only printed.
    let wanted = if job.ready.is_printed { 1 } else { job.jobs.min(targets.len()) };
    let caches = Caches::new(job.env, &folder, wanted, job.ready.has_java)?;
    let one = |target: &Target<'_>| caches.with(|cache| scan(job, target, &folder, ignore.as_deref(), cache));
    let results = parallel::map(caches.len(), targets.iter().collect(), one);
    sweep(&folder);
    Ok(results)
}

/// Removes what runs left that were killed, or whose report was none. The lock of the checkout says that none is at work.
fn sweep(folder: &Utf8Path) {
    for entry in folder.read_dir_utf8().into_iter().flatten().flatten().filter(|entry| entry.file_name().starts_with('.')) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // What cannot be removed is in nobody's way but the disk's.
        drop(if is_folder { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) });
    }
}

/// Where reports lie.
pub fn folder(repo: &Utf8Path) -> Utf8PathBuf {
    repo.join(FOLDER).join("scan")
}

/// The ignore file that the plan names, else the one that trivy would take by itself.
fn ignore(job: &Job<'_>) -> Result<Option<Utf8PathBuf>> {
    let path = job.root.join(job.scan.ignore.as_deref().unwrap_or(".trivyignore"));
    match (path.exists(), &job.scan.ignore) {
        (true, _) => {
            crate::report::note(&format!("findings listed in {path} are left out"));
            Ok(Some(path))
        }
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Fault::usage(format!("cannot scan: there is no {path}, which [scan] ignore names")).into()),
    }
}

fn scan(
    job: &Job<'_>,
    target: &Target<'_>,
    folder: &Utf8Path,
    ignore: Option<&Utf8Path>,
    cache: Option<&Utf8Path>,
) -> Result<Outcome> {
    let started = Instant::now();
    let Target { build, platform, source, .. } = target;
    let file = format!("{}.{}.json", build.id, platform.replace('/', "-"));
    let (path, part) = (folder.join(&file), folder.join(format!(".part-{file}")));
    let exit = archive(job, target, folder).and_then(|archive| {
        let source = archive.as_ref().map_or_else(|| source.clone(), |(_, path)| Source::Archive(path.to_string()));
        let cmd = trivy::scan(&trivy::Scan {
            source,
            platform,
            report: &part,
            ignore,
            cache,
            skip_java: job.ready.has_java,
            limit: Duration::from_secs(build.timeout),
            dir: job.root,
            id: &build.id,
        });
        ask(job.runner, &cmd)
    });
    let is_printed = exit.as_ref().is_ok_and(|(exit, _)| exit.skipped);
    if !is_printed {
        // The report of an earlier run must never be taken for this one's.
        drop(std::fs::remove_file(&path));
    }
    let found = if is_printed { None } else { Some(found(exit?, &part, target)?) };
    if found.is_some() {
        std::fs::rename(&part, &path).with_context(|| format!("cannot write {path}"))?;
    }
    let failing = found.as_ref().map(|found| found.failing(job.scan.fail_on));
    Ok(Outcome {
        id: build.id.clone(),
        platform: (*platform).to_owned(),
        image: image(target),
        passed: failing.as_ref().map(Vec::is_empty),
        counts: found.as_ref().map(Found::counts).unwrap_or_default(),
        worst: found.and_then(|found| found.findings.into_iter().next()),
        failing: failing.unwrap_or_default(),
        report: format!("{FOLDER}/scan/{file}"),
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    })
}

/// Runs trivy, again while somebody else's has the same database: it waits for that by itself, but only five seconds.
fn ask(runner: &Runner, cmd: &Cmd) -> Result<(Exit, String)> {
    let started = Instant::now();
    loop {
        let exit = runner.output(cmd)?;
        let late = cmd.timeout.is_some_and(|limit| started.elapsed() > limit);
        if exit.ok() || late || !trivy::is_locked_out(&exit.stderr) {
            let reason = exit.reason(cmd);
            return Ok((exit, reason));
        }
    }
}

/// What a trivy that has ended wrote.
fn found((exit, reason): (Exit, String), part: &Utf8Path, target: &Target<'_>) -> Result<Found> {
    let what = format!("cannot scan {} for {}", target.build.id, target.platform);
    if !exit.ok() {
        let said = trivy::cause(&exit.stderr);
        let colon = if said.is_empty() { "" } else { ": " };
        let fault = Fault::failed(format!("{what}: trivy: {reason}{colon}{said}"));
        return Err(fault.hint(format!("see `cargo xtask scan --verbose --only id={}`", target.build.id)).into());
    }
    let file = std::fs::File::open(part).with_context(|| format!("{what}: trivy wrote no report"))?;
    report::read(std::io::BufReader::new(file), target.platform).with_context(|| format!("{what}: cannot understand the report"))
}

/// trivy takes from an engine the platform that it runs by itself: any other is handed over as a file.
fn archive(job: &Job<'_>, target: &Target<'_>, folder: &Utf8Path) -> Result<Option<(tempfile::TempDir, Utf8PathBuf)>> {
    let Source::Engine(name) = &target.source else { return Ok(None) };
    if !target.has_several {
        return Ok(None);
    }
    let place =
        tempfile::Builder::new().prefix(".image-").tempdir_in(folder).with_context(|| format!("cannot write in {folder}"))?;
    let path = Utf8Path::from_path(place.path()).unwrap_or(folder).join("image.tar");
    job.runner.read(&docker::save(name, target.platform, &path))?;
    Ok(Some((place, path)))
}

fn image(target: &Target<'_>) -> String {
    match &target.source {
        Source::Registry(name) | Source::Engine(name) | Source::Archive(name) => name.clone(),
    }
}
