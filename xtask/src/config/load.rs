//! `load`: from the text of `images.toml` to the configuration, with all of its faults at once.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8Path;
use serde::Deserialize as _;
use serde_json::Value;

use super::expand::{self, Common};
use super::faults::{Faults, suggest};
use super::tree::Document;
use super::types::File;
use super::{Config, Env, VersionFile, axes, check, paths, placeholder, policy, resolve, schema, tree, unique};
use crate::error::Fault;
use crate::version::Version;

/// Loads `file` (relative to `repo`) and the files it names.
///
/// # Errors
/// One usage fault that lists everything wrong, a line each: `docker/images.toml:12: what (how to fix)`.
pub fn load(repo: &Utf8Path, file: &Utf8Path, env: &Env) -> Result<Config> {
    let text = paths::read(repo, file.as_str()).map_err(|error| {
        Fault::usage(error)
            .hint(format!("write {file}, or name another with --config; `[image.NAME]` and a Dockerfile are enough"))
    })?;
    let mut faults = Faults::new(file.as_str());
    let (mut document, _) = tree::parse(&text, &mut faults);
    // What a broken line leaves behind would be reported as more faults that are none.
    if !faults.is_empty() {
        return Err(faults.into_error());
    }
    check::check(&mut document, &schema::schema(), &mut faults);
    let written = match File::deserialize(&document.value) {
        Ok(written) => written,
        Err(error) => {
            faults.at(1, error.to_string());
            return Err(faults.into_error());
        }
    };
    let config = resolve_file(repo, file, env, &document, written, &mut faults);
    if faults.is_empty() { Ok(config) } else { Err(faults.into_error()) }
}

fn resolve_file(repo: &Utf8Path, file: &Utf8Path, env: &Env, document: &Document, written: File, faults: &mut Faults) -> Config {
    let (registry, registry_unset) = match placeholder::variables(&written.registry, env) {
        Ok(registry) => (registry.trim_end_matches('/').to_owned(), None),
        Err(name) => (String::new(), Some(name)),
    };
    if registry.contains("://") || registry.contains(char::is_whitespace) {
        faults.at(document.line(&["registry"]), format!("registry is \"{registry}\" (write the host only, like \"ghcr.io\")"));
    }
    let namespace = placeholder::variables(&written.namespace, env).unwrap_or_else(|name| {
        faults.at(document.line(&["namespace"]), format!("namespace needs ${{{name}}}, which is not set (export {name}=…)"));
        String::new()
    });
    let axes = axes::load(repo, document, &written.axes, faults);
    // A matrix over wrong values would repeat their faults for every build.
    let axes_are_right = faults.is_empty();
    let version_file = written.version_file.as_ref().and_then(|path| version_file(repo, path, document, faults));
    let images: Vec<String> = written.image.keys().cloned().collect();
    if images.is_empty() {
        faults.at(1, "no [image.NAME] (one line is enough: `[image.web]` builds ./Dockerfile)");
    }
    for image in images.iter().filter(|image| !resolve::is_repository(image) || image.contains('/')) {
        faults.at(
            document.line(&["image", image]),
            format!("an image cannot be called \"{image}\" (lower case: a-z, 0-9, between them . _ -)"),
        );
    }
    let common = Common {
        document,
        axes: &axes,
        namespace: &namespace,
        cache: written.cache.as_ref().map(|cache| cache.registry.as_str()),
        candidates: &written.release.candidates,
    };
    let site = resolve::Site {
        repo,
        document,
        axes: &axes,
        version_file: written.version_file.is_some(),
        nothing_written: nothing_written(document),
    };
    policy::check_keys(document, faults);
    let mut points = Vec::new();
    if axes_are_right {
        images.iter().for_each(|image| points.extend(expand::expand(&common, image, faults)));
    }
    let mut builds: Vec<super::Build> = points
        .into_iter()
        .filter(|point| has_dockerfile(repo, &written, point))
        .map(|point| resolve::resolve(&site, point, &images, faults))
        .collect();
    builds.sort_by(|a, b| a.image.cmp(&b.image));
    unique::check(document, &builds, faults);
    cycles(document, &builds, faults);
    checks(repo, document, &written, &images, faults);
    for (key, text) in [("grace", written.retention.as_ref().map(|retention| retention.grace.as_str()))] {
        if text.is_some_and(|text| humantime::parse_duration(text).is_err()) {
            faults.at(document.line(&["retention", key]), format!("retention.{key} is no span of time (write it like 24h)"));
        }
    }
    let line = |path: &[&str]| document.line(path);
    let common_site = policy::Site { axes: &axes, version_file: written.version_file.is_some(), line: &line };
    // Without tags an event is fine here: images may bring them, and are checked one by one.
    let on = policy::events(&written.on, site.nothing_written).into_iter();
    let on = on.map(|(event, policy)| policy::resolve(event, &policy, &common_site, &mut Faults::new(""))).collect();
    let variable = |text: &str| text.trim_start_matches("${").trim_end_matches('}').to_owned();
    Config {
        file: file.to_owned(),
        registry,
        registry_unset,
        namespace,
        version_file,
        login: (variable(&written.login.username), variable(&written.login.password)),
        axes,
        builds,
        checks: written.check,
        scan: written.scan,
        cache: written.cache,
        release: written.release,
        retention: written.retention,
        builders: written.builders,
        github: written.github,
        on,
    }
}

/// A folder of an axis `dirs` without the image's Dockerfile is no build.
fn has_dockerfile(repo: &Utf8Path, written: &File, point: &expand::Point) -> bool {
    let from_folders = point.axes.iter().any(|(axis, _)| matches!(written.axes.get(axis), Some(super::types::Axis::Dirs(_))));
    if !from_folders || point.keys.template.is_some() {
        return true;
    }
    let context = point.keys.context.as_deref().unwrap_or(".");
    let dockerfile = point.keys.dockerfile.clone().unwrap_or_else(|| format!("{context}/Dockerfile"));
    repo.join(dockerfile).is_file()
}

/// Whether no event is written, neither for all images nor for one.
fn nothing_written(document: &Document) -> bool {
    let is_empty = |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(|on| on.is_empty());
    let images = document.get(&["image"]).and_then(Value::as_object);
    is_empty(document.get(&["on"]))
        && is_empty(document.get(&["defaults", "on"]))
        && images.into_iter().flatten().all(|(_, image)| is_empty(image.get("on")))
}

fn version_file(repo: &Utf8Path, path: &str, document: &Document, faults: &mut Faults) -> Option<VersionFile> {
    let line = document.line(&["version-file"]);
    let text = paths::read(repo, path).map_err(|error| faults.at(line, format!("version-file: {error}"))).ok()?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    match Version::parse(text) {
        Ok(version) => Some(VersionFile { path: paths::inside(repo, path).unwrap_or_else(|_| path.into()), version }),
        Err(error) => {
            faults.elsewhere(path, 1, error);
            None
        }
    }
}

/// Images that are each other's parents.
fn cycles(document: &Document, builds: &[super::Build], faults: &mut Faults) {
    let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for build in builds {
        parents.entry(&build.image).or_default().extend(build.parents.iter().map(|parent| parent.image.as_str()));
    }
    // Take out whatever has no parents left; what stays is in a cycle, or below one.
    loop {
        let before = parents.len();
        let alive: Vec<&str> = parents.keys().copied().collect();
        parents.retain(|_, above| above.iter().any(|name| alive.contains(name)));
        if parents.len() == before {
            break;
        }
    }
    if let Some(first) = parents.keys().next() {
        let names: Vec<&str> = parents.keys().copied().collect();
        faults.at(document.line(&["image", first, "parent"]), format!("parents form a cycle: {}", names.join(", ")));
    }
}

fn checks(repo: &Utf8Path, document: &Document, written: &File, images: &[String], faults: &mut Faults) {
    for (name, check) in &written.check {
        let line = |key: &str| document.line(&["check", name, key]);
        if let Some(image) = check.r#in.as_ref().filter(|image| !images.contains(image)) {
            let text =
                format!("check.{name}.in: there is no image {image} ({})", suggest(image, images.iter().map(String::as_str)));
            faults.at(line("in"), text);
        }
        if let Some(compose) = &check.compose {
            match paths::inside(repo, compose) {
                Ok(path) if repo.join(&path).is_file() => {}
                Ok(path) => faults.at(line("compose"), format!("check.{name}.compose: there is no file {path}")),
                Err(error) => faults.at(line("compose"), format!("check.{name}.compose: {error}")),
            }
        }
        let commands = check.run.to_vec();
        if commands.is_empty() && check.compose.is_none() {
            faults.at(line("run"), format!("check.{name} runs nothing (write `run = \"…\"`)"));
        }
        for command in commands.iter().filter(|command| shell_words::split(command).map_or(true, |words| words.is_empty())) {
            faults.at(line("run"), format!("check.{name}.run: \"{command}\" cannot be split into words (close its quotes)"));
        }
        if check.timeout.as_deref().is_some_and(|text| humantime::parse_duration(text).is_err()) {
            faults.at(line("timeout"), format!("check.{name}.timeout is no span of time (write it like 5m)"));
        }
    }
}
