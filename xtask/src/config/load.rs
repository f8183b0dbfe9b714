//! The way from text to [`Config`]: parse, check against the schema, expand, check what is left.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::Utf8Path;
use serde_json::Value;

use super::axes::{self, read};
use super::condition::Condition;
use super::expand::{self, Context};
use super::faults::Faults;
use super::matrix::MOST_BUILDS;
use super::matrix::variant_axes;
use super::paths::Root;
use super::tree::{self, Document};
use super::types::{File, Image};
use super::{Config, Env, VersionFile, check, checks, disk, graph, hosts, layer, logs, places, policy, schema, shared, unique};
use crate::error::Fault;
use crate::version::Version;

/// Loads `file` (relative to `repo`) and the files that it names.
///
/// Errors: one fault of usage that lists everything that is wrong, a line each.
pub fn load(repo: &Utf8Path, file: &Utf8Path, env: &Env) -> Result<Config> {
    load_for(repo, repo, file, env)
}

/// Loads `file` of `today` for the source in `repo`. The version is that of `today`; a file of an axis may be in either.
///
/// # Errors
/// Those of [`load`].
pub fn load_for(repo: &Utf8Path, today: &Utf8Path, file: &Utf8Path, env: &Env) -> Result<Config> {
    let bytes = std::fs::read(today.join(file)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Fault::usage(format!("cannot load {file}: it does not exist"))
            .hint("write it: `[image.web]` and a Dockerfile are enough; or name another with --config"),
        _ => Fault::usage(format!("cannot load {file}: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Fault::usage(format!("cannot load {file}: 1 fault\n{file}:{line}: not UTF-8 (save it as UTF-8)"))
    })?;
    resolve(&Root::of_source(repo, today), file, &text, env, true)
}

/// Like [`load`] with a text at hand; does not ask whether Dockerfiles, contexts and the like exist.
#[cfg(test)]
pub fn load_text(repo: &Utf8Path, file: &Utf8Path, text: &str, env: &Env) -> Result<Config> {
    resolve(&Root::new(repo), file, text, env, false)
}

fn resolve(root: &Root, file: &Utf8Path, text: &str, env: &Env, on_disk: bool) -> Result<Config> {
    let mut faults = Faults::new(file.as_str());
    let (mut document, broken) = tree::parse(text, &mut faults);
    check::check(&schema::schema(), &mut document, |line| broken.contains(&line), &mut faults);
    if !broken.is_empty() {
        // What follows a syntax error was not understood: more would be guesswork.
        return Err(faults.into_error());
    }
    let written: File = serde_json::from_value(document.value.clone())?;
    let config = config(file, &written, &document, root, env, &mut faults);
    if on_disk && faults.is_empty() {
        disk::check(&config, root, &document, &mut faults);
        logs::check(&config, root, &document, &mut faults);
    }
    if faults.is_empty() { Ok(config) } else { Err(faults.into_error()) }
}

fn config(path: &Utf8Path, file: &File, document: &Document, root: &Root, env: &Env, faults: &mut Faults) -> Config {
    let hosts = hosts::resolve(document, file, env, faults);
    let version_file = file.version_file.as_ref().and_then(|name| version(name, root, document, faults));
    let images: BTreeSet<String> = file.image.keys().cloned().collect();
    if images.is_empty() && faults.is_empty() {
        faults.at(1, "there is no image (write [image.NAME])");
    }
    let layered: BTreeMap<&String, Image> =
        images.iter().map(|name| (name, serde_json::from_value(layer::base(document, name).value).unwrap_or_default())).collect();
    let axes = axes::resolve(document, &file.axes, root, &|axis| dockerfiles(&layered, axis), faults);
    let all_values = all_values(&axes, &layered);
    let cx = Context {
        document,
        root,
        axes: &axes,
        all_values: &all_values,
        namespace: &hosts.namespace,
        version_file: file.version_file.is_some(),
        cache: file.cache.as_ref(),
        candidates: &file.release.candidates,
        default_tag: policy::has_default_tag(&document.value),
    };
    let mut builds = Vec::new();
    let mut doubtful = BTreeSet::new();
    for name in &images {
        let (mut of_image, filled) = expand::image(&cx, name, faults);
        builds.append(&mut of_image);
        if builds.len() > MOST_BUILDS {
            let said =
                format!("with image `{name}` the file has {} builds, it may have {MOST_BUILDS} (exclude some)", builds.len());
            faults.at(document.line(&["image", name]), said);
            builds.clear();
            break;
        }
        if !filled {
            doubtful.insert(name.as_str());
        }
    }
    shared::tell_apart(&mut builds, file.cache.as_ref());
    unique::check(&builds, &doubtful, document, faults);
    graph::check(&builds, &images, document, faults);
    checks::check(file, &builds, &images, root, document, faults);
    let on = policy::written(document, None, cx.default_tag);
    let on =
        on.iter().map(|written| policy::policy(written, policy::check(written, document, &all_values, false, faults))).collect();
    unfilled(&document.value, document, faults);
    Config {
        file: path.to_owned(),
        registry: hosts.registry.clone(),
        written_registry: hosts.registry,
        rehearsal: None,
        registry_unset: hosts.unset,
        namespace: hosts.namespace,
        version_file,
        login: hosts::login(&file.login),
        axis_files: axes::files(&file.axes, root),
        axes,
        builds,
        checks: file.check.clone(),
        scan: file.scan.clone(),
        cache: file.cache.clone(),
        release: file.release.clone(),
        retention: file.retention.clone(),
        builders: file.builders.clone(),
        on,
    }
}

/// The Dockerfiles of the images that use an axis, as written but for the context.
fn dockerfiles(images: &BTreeMap<&String, Image>, axis: &str) -> Vec<String> {
    let used = |image: &&Image| image.variant.as_ref().is_some_and(|variant| variant.contains(&format!("{{{axis}}}")));
    let path = |image: &Image| {
        let context = image.context.as_deref().unwrap_or(".");
        let default = if image.template.is_some() { "docker/dockerfiles/Dockerfile.{variant}" } else { "{context}/Dockerfile" };
        image.dockerfile.as_deref().unwrap_or(default).replace("{context}", context)
    };
    images.values().filter(used).map(path).collect()
}

/// What conditions may name: the axes, with the values that only an `include` names, and the images.
fn all_values(axes: &BTreeMap<String, Vec<String>>, images: &BTreeMap<&String, Image>) -> BTreeMap<String, Vec<String>> {
    let mut all = axes.clone();
    all.insert("image".into(), images.keys().map(|name| (*name).clone()).collect());
    for image in images.values() {
        let own = variant_axes(image.variant.as_deref().unwrap_or_default(), axes);
        for condition in image.include.iter().filter_map(|text| Condition::parse_free(text, axes.keys().map(String::as_str)).ok())
        {
            for axis in &own {
                let known = all.get_mut(axis).filter(|known| !known.is_empty());
                let Some(known) = known else { continue };
                let new: Vec<String> =
                    condition.named(axis).filter(|value| !known.iter().any(|old| old == value)).map(String::from).collect();
                known.extend(new);
            }
        }
    }
    all
}

/// The text of the version file. Faults: missing, empty, more than a line, not a version, not a tag.
fn version(name: &str, root: &Root, document: &Document, faults: &mut Faults) -> Option<VersionFile> {
    if let Some(today) = root.today() {
        return version(name, &Root::new(today), document, faults);
    }
    let line = document.line(&["version-file"]);
    let text = root.inside(name).and_then(|path| Ok((read(root, &path)?, path)));
    let (text, path) = text.map_err(|said| faults.at(line, format!("version-file: {said}"))).ok()?;
    let written: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    let example = "write one line such as v1.2.3";
    match written.as_slice() {
        [] => faults.elsewhere(path.as_str(), 1, format!("the version is empty ({example})")),
        [_, (second, _), ..] => {
            faults.elsewhere(path.as_str(), second + 1, format!("the version is more than a line ({example})"))
        }
        [(at, line)] => match Version::parse(line.trim()) {
            Ok(version) if !super::names::is_tag(&version.text) => {
                faults.elsewhere(
                    path.as_str(),
                    at + 1,
                    format!("version `{}` can't be a tag (letters, digits, `_`, `.` and `-`)", version.text),
                );
            }
            Ok(version) => return Some(VersionFile { path, version }),
            Err(said) => faults.elsewhere(path.as_str(), at + 1, said),
        },
    }
    None
}

/// Texts outside of images that take no placeholder at all.
fn unfilled(value: &Value, document: &Document, faults: &mut Faults) {
    let texts: [&[&str]; 3] = [&["scan", "ignore"], &["github", "runs-on"], &["retention", "grace"]];
    for path in texts {
        let text = path.iter().try_fold(value, |value, key| value.get(*key)).and_then(Value::as_str);
        if let Some(said) = text.and_then(places::none) {
            faults.at(document.line(path), said);
        }
    }
}
