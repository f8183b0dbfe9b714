//! From the keys of a build to the build: defaults, paths, durations, tests, policies.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::expand::Point;
use super::faults::{Faults, suggest};
use super::tree::Document;
use super::types::{self, OneOrMany};
use super::{Build, EventKey, Parent, Test, TestKind, paths, placeholder, policy};

/// Platforms that BuildKit builds for, <https://docs.docker.com/build/building/multi-platform/>.
const PLATFORMS: [&str; 10] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/loong64",
    "linux/amd64/v2",
];

/// Where a build is resolved.
pub struct Site<'a> {
    pub repo: &'a Utf8Path,
    pub document: &'a Document,
    pub axes: &'a BTreeMap<String, Vec<String>>,
    pub version_file: bool,
    /// No `[on]` anywhere.
    pub nothing_written: bool,
}

/// Collects the faults of one build, each once for all builds of its image.
struct Report<'a, 'f> {
    site: &'a Site<'a>,
    image: &'a str,
    faults: &'f mut Faults,
}

impl Report<'_, '_> {
    fn line(&self, path: &[&str]) -> usize {
        let own = [&["image", self.image], path].concat();
        let defaults = [&["defaults"], path].concat();
        let exact = |path: &[&str]| self.site.document.exact_line(path);
        exact(&own).or_else(|| exact(&defaults)).unwrap_or_else(|| self.site.document.line(&own))
    }

    fn fault(&mut self, key: &str, text: String) {
        self.faults.once(self.line(&[key]), &text, format!("image.{}.{key}: {text}", self.image));
    }

    fn path(&mut self, key: &str, path: &str) -> Utf8PathBuf {
        paths::inside(self.site.repo, path).unwrap_or_else(|error| {
            self.fault(key, error);
            path.into()
        })
    }

    fn duration(&mut self, key: &str, text: Option<&str>, default: u64) -> Duration {
        let Some(text) = text else { return Duration::from_secs(default) };
        humantime::parse_duration(text).unwrap_or_else(|_| {
            self.fault(key, format!("\"{text}\" is no span of time (write it like 90s, 10m or 1h 30m)"));
            Duration::from_secs(default)
        })
    }
}

pub fn resolve(site: &Site<'_>, point: Point, images: &[String], faults: &mut Faults) -> Build {
    let Point { id, image, variant, axes, repository, keys, cache_ref, candidates } = point;
    let report = &mut Report { site, image: &image, faults };
    let context = report.path("context", keys.context.as_deref().unwrap_or("."));
    let template = keys.template.as_deref().map(|path| report.path("template", path));
    if let Some(template) = template.as_ref().filter(|template| !site.repo.join(template).is_file()) {
        report.fault("template", format!("there is no file {template}"));
    }
    let dockerfile = match (&keys.dockerfile, &template) {
        (Some(path), _) => report.path("dockerfile", path),
        (None, Some(_)) if variant.is_empty() => format!("docker/dockerfiles/Dockerfile.{image}").into(),
        (None, Some(_)) => format!("docker/dockerfiles/Dockerfile.{variant}").into(),
        (None, None) => {
            if context == "." {
                "Dockerfile".into()
            } else {
                context.join("Dockerfile")
            }
        }
    };
    if !site.repo.join(&context).is_dir() {
        report.fault("context", format!("there is no folder {context}"));
    } else if template.is_none() && !site.repo.join(&dockerfile).is_file() {
        report.fault("dockerfile", format!("there is no file {dockerfile} (write it, or say which with `dockerfile`)"));
    }
    for (key, name) in [("repository", &repository), ("repository", &candidates)] {
        if !is_repository(name) {
            report.fault(key, format!("\"{name}\" is no repository (lower case: a-z, 0-9, between them . _ - and /)"));
        }
    }
    let platforms = keys.platforms.unwrap_or_else(|| vec!["linux/amd64".into()]);
    check_platforms(report, "platforms", &platforms);
    let parents = parents(report, keys.parent, images);
    for (key, values) in [("args", &keys.args), ("labels", &keys.labels)] {
        for value in values.values() {
            unknown_in_some_event(report, key, value);
        }
    }
    let local_only = keys.local_only.unwrap_or(false);
    let on = policies(report, &keys.on, local_only);
    Build {
        tests: keys.test.to_vec().into_iter().enumerate().map(|(at, written)| test(report, &id, at, written)).collect(),
        timeout: report.duration("timeout", keys.timeout.as_deref(), 60 * 60),
        publish: keys.publish.unwrap_or(true) && !local_only,
        target: keys.target,
        args: keys.args,
        vars: keys.vars,
        labels: keys.labels,
        secrets: keys.secrets,
        dependencies: keys.dependencies,
        id,
        variant,
        axes,
        repository,
        context,
        dockerfile,
        template,
        parents,
        platforms,
        local_only,
        cache_ref,
        candidates,
        on,
        image: image.clone(),
    }
}

fn check_platforms(report: &mut Report<'_, '_>, key: &str, platforms: &[String]) {
    for platform in platforms.iter().filter(|platform| !PLATFORMS.contains(&platform.as_str())) {
        report.fault(key, format!("there is no platform {platform} ({})", suggest(platform, PLATFORMS)));
    }
    if platforms.is_empty() {
        report.fault(key, "is empty (take it out for linux/amd64)".into());
    }
}

fn parents(report: &mut Report<'_, '_>, written: Option<OneOrMany<String>>, images: &[String]) -> Vec<Parent> {
    let mut parents = Vec::new();
    for text in written.map(|parents| parents.to_vec()).unwrap_or_default() {
        let (image, tag) = text.split_once(':').unwrap_or((text.as_str(), "latest"));
        if image == report.image {
            report.fault("parent", "an image cannot be its own parent".into());
        } else if images.iter().any(|known| known == image) {
            parents.push(Parent { image: image.to_owned(), tag: tag.to_owned() });
        } else {
            report.fault("parent", format!("there is no image {image} ({})", suggest(image, images.iter().map(String::as_str))));
        }
    }
    parents
}

/// `args` and `labels` are for every event, so their placeholders must be known in every one.
fn unknown_in_some_event(report: &mut Report<'_, '_>, key: &str, value: &str) {
    for name in placeholder::event_names(value) {
        if ["number", "branch"].contains(&name) || !policy::known(&EventKey::Local, name, report.site.version_file) {
            report.fault(key, format!("{{{name}}} is not known in every event"));
        }
    }
}

fn policies(report: &mut Report<'_, '_>, on: &types::Events, local_only: bool) -> Vec<super::Policy> {
    let document = report.site.document;
    let image = report.image;
    let line = |path: &[&str]| {
        let own = [&["image", image], path].concat();
        let parent = &path[..path.len() - 1];
        let exact = |path: &[&str]| document.exact_line(path);
        let own_parent = || exact(&[&["image", image], parent].concat());
        exact(&own).or_else(|| exact(path)).or_else(own_parent).unwrap_or_else(|| document.line(path))
    };
    let site = policy::Site { axes: report.site.axes, version_file: report.site.version_file, line: &line };
    let events = policy::events(on, report.site.nothing_written).into_iter();
    let events = events.filter(|(event, _)| !local_only || *event == EventKey::Local);
    let policies: Vec<super::Policy> =
        events.map(|(event, written)| policy::resolve(event, &written, &site, report.faults)).collect();
    for platforms in policies.iter().filter_map(|policy| policy.platforms.as_ref()) {
        check_platforms(report, "on", platforms);
    }
    policies
}

fn test(report: &mut Report<'_, '_>, id: &str, at: usize, test: types::Test) -> Test {
    let kinds = [test.run.is_some(), test.http.is_some(), test.healthy == Some(true)].iter().filter(|&&given| given).count();
    if kinds != 1 {
        report.fault("test", "a test has one of `run`, `http` and `healthy = true`".into());
    }
    let mut argv = |text: &str| {
        let split = shell_words::split(text).ok().filter(|words| !words.is_empty());
        split.unwrap_or_else(|| {
            report.fault("test", format!("\"{text}\" cannot be split into words (close its quotes, or write a list)"));
            Vec::new()
        })
    };
    let run = test.run.as_ref().map(|run| match run {
        OneOrMany::One(text) => argv(text),
        OneOrMany::Many(words) => words.clone(),
    });
    let deps: BTreeMap<String, Vec<String>> = test.deps.iter().map(|(name, text)| (name.clone(), argv(text))).collect();
    let kind = match (run, &test.http) {
        (Some(argv), _) => TestKind::Run(argv),
        (None, Some(text)) => http(report, text),
        (None, None) => TestKind::Healthy,
    };
    let mounts = test.mounts.iter().filter_map(|text| mount(report, text)).collect();
    let number = if at == 0 { String::new() } else { format!("-{}", at + 1) };
    let log = test.log.clone().unwrap_or_else(|| format!("target/slipway/logs/test-{id}{number}.log"));
    Test {
        kind,
        mounts,
        deps,
        env: test.env,
        workdir: test.workdir,
        log: report.path("test", &log),
        timeout: report.duration("test", test.timeout.as_deref(), 10 * 60),
    }
}

/// `:8000/health`
fn http(report: &mut Report<'_, '_>, text: &str) -> TestKind {
    let parsed = text.strip_prefix(':').and_then(|rest| {
        let at = rest.find('/').unwrap_or(rest.len());
        let port: u16 = rest[..at].parse().ok().filter(|port| *port > 0)?;
        let path = if at == rest.len() { "/" } else { &rest[at..] };
        path.chars().all(|c| c.is_ascii_graphic()).then(|| (port, path.to_owned()))
    });
    let (port, path) = parsed.unwrap_or_else(|| {
        report.fault("test", format!("http is \"{text}\" (write it like \":8000/health\")"));
        (0, String::new())
    });
    TestKind::Http { port, path }
}

/// `docker/tests:/tests`
fn mount(report: &mut Report<'_, '_>, text: &str) -> Option<(Utf8PathBuf, String)> {
    let Some((here, there)) = text.split_once(':').filter(|(_, there)| there.starts_with('/') && !there.contains(':')) else {
        report.fault("test", format!("\"{text}\" is no mount (write it like \"docker/tests:/tests\"; it is always read-only)"));
        return None;
    };
    let path = report.path("test", here);
    if !report.site.repo.join(&path).exists() {
        report.fault("test", format!("there is no {path} to mount"));
    }
    Some((path, there.to_owned()))
}

/// The grammar of <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>.
pub fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(edge) && part.ends_with(edge) && part.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
    };
    name.len() <= 255 && name.split('/').all(part)
}
