//! From images to builds: points of the axes, keys laid over each other, placeholders filled.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::condition::{Condition, Subject, selects};
use super::faults::{Faults, suggest};
use super::tree::Document;
use super::{placeholder, types};

/// What all images share.
pub struct Common<'a> {
    pub document: &'a Document,
    pub axes: &'a BTreeMap<String, Vec<String>>,
    pub namespace: &'a str,
    /// `cache.registry` and `release.candidates` as written.
    pub cache: Option<&'a str>,
    pub candidates: &'a str,
}

/// One build, before its keys are read one by one.
pub struct Point {
    pub id: String,
    pub image: String,
    pub variant: String,
    pub axes: Vec<(String, String)>,
    pub repository: String,
    /// Placeholders filled but for those of the event, which stay.
    pub keys: types::Image,
    pub cache_ref: Option<String>,
    pub candidates: String,
}

/// Keys that are about the matrix, not about a build.
const MATRIX: [&str; 4] = ["variant", "when", "exclude", "include"];

/// All builds of one image, in the order of its axes.
pub fn expand(common: &Common<'_>, image: &str, faults: &mut Faults) -> Vec<Point> {
    let at = |key: &str| common.document.line(&["image", image, key]);
    let own = common.document.get(&["image", image]).cloned().unwrap_or_default();
    let mut laid = common.document.get(&["defaults"]).cloned().unwrap_or(Value::Object(Map::new()));
    lay(&mut laid, &own);
    let text = |key: &str| laid.get(key).and_then(Value::as_str).map(str::to_owned);
    let variant = text("variant").unwrap_or_default();
    let Some(axes) = axes_of(common, &variant, at("variant"), faults) else { return Vec::new() };
    let conditions = |key: &str, faults: &mut Faults| -> Vec<(usize, Condition)> {
        let texts = laid.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        // What is included may be a value that the axis does not have.
        let parse = if key == "include" { Condition::parse_free } else { Condition::parse };
        let mut report = |error: String| faults.at(at(key), format!("image.{image}.{key}: {error}"));
        texts
            .filter_map(|text| parse(text, common.axes).map_err(&mut report).ok())
            .map(|condition| (at(key), condition))
            .collect()
    };
    let mut points = product(common, &axes);
    for (line, condition) in conditions("exclude", faults) {
        let before = points.len();
        points.retain(|point| !selects(std::slice::from_ref(&condition), &Subject { image, id: "", point, axes: common.axes }));
        if points.len() == before {
            faults.at(line, format!("image.{image}.exclude: \"{}\" excludes nothing (take it out)", condition.text));
        }
    }
    for (line, condition) in conditions("include", faults) {
        match included(&condition, &axes) {
            Some(point) if points.contains(&point) => {
                faults.at(line, format!("image.{image}.include: \"{}\" is there already", condition.text))
            }
            Some(point) => points.push(point),
            None => faults
                .at(line, format!("image.{image}.include: \"{}\" must name every axis: {}=…", condition.text, axes.join("=…,"))),
        }
    }
    let whens = whens(common, image, &laid, faults);
    if let Value::Object(table) = &mut laid {
        MATRIX.iter().for_each(|key| drop(table.remove(*key)));
    }
    points.into_iter().filter_map(|point| build(common, image, &variant, point, &laid, &whens, faults)).collect()
}

/// The axes in the text of a variant, in their order there.
fn axes_of(common: &Common<'_>, variant: &str, line: usize, faults: &mut Faults) -> Option<Vec<String>> {
    let mut axes: Vec<String> = Vec::new();
    let known = |name: &str| common.axes.contains_key(name);
    for part in variant.split('{').skip(1) {
        let name = part.split('}').next().unwrap_or_default();
        if !known(name) {
            faults.at(
                line,
                format!("variant: there is no axis {name} ({})", suggest(name, common.axes.keys().map(String::as_str))),
            );
            return None;
        }
        if !axes.iter().any(|axis| axis == name) {
            axes.push(name.to_owned());
        }
    }
    if !variant.is_empty() && axes.is_empty() {
        faults.at(line, "variant names no axis (write it like \"{python}\", or take it out)");
        return None;
    }
    Some(axes)
}

fn product(common: &Common<'_>, axes: &[String]) -> Vec<Vec<(String, String)>> {
    let mut points = vec![Vec::new()];
    for axis in axes {
        let values = common.axes.get(axis).map(Vec::as_slice).unwrap_or_default();
        let with = |point: &Vec<(String, String)>| {
            values.iter().map(|value| [point.clone(), vec![(axis.clone(), value.clone())]].concat()).collect::<Vec<_>>()
        };
        points = points.iter().flat_map(with).collect();
    }
    points
}

fn included(condition: &Condition, axes: &[String]) -> Option<Vec<(String, String)>> {
    let pairs = condition.point()?;
    let value = |axis: &String| pairs.iter().find(|(name, _)| name == axis).map(|(_, value)| (axis.clone(), (*value).to_owned()));
    let point: Option<Vec<(String, String)>> = axes.iter().map(value).collect();
    point.filter(|point| point.len() == pairs.len())
}

/// A `when` with the line on which it stands.
struct When {
    line: usize,
    condition: Condition,
    keys: Value,
}

fn whens(common: &Common<'_>, image: &str, laid: &Value, faults: &mut Faults) -> Vec<When> {
    let mut whens = Vec::new();
    for (text, keys) in laid.get("when").and_then(Value::as_object).into_iter().flatten() {
        let own = common.document.exact_line(&["image", image, "when", text]);
        let line = own.unwrap_or_else(|| common.document.line(&["defaults", "when", text]));
        for key in ["variant", "on", "when"].into_iter().filter(|key| keys.get(key).is_some()) {
            faults.once(line, key, format!("when.\"{text}\" cannot set `{key}`"));
        }
        match Condition::parse(text, common.axes) {
            Ok(condition) => whens.push(When { line, condition, keys: keys.clone() }),
            Err(error) => faults.once(line, text, format!("when.{error} (quote the condition: when.\"python<3.9\".args)")),
        }
    }
    whens
}

fn build(
    common: &Common<'_>,
    image: &str,
    variant: &str,
    axes: Vec<(String, String)>,
    laid: &Value,
    whens: &[When],
    faults: &mut Faults,
) -> Option<Point> {
    let line =
        |key: &str| common.document.exact_line(&["image", image, key]).unwrap_or_else(|| common.document.line(&["image", image]));
    let mut known: Vec<(&str, &str)> = axes.iter().map(|(axis, value)| (axis.as_str(), value.as_str())).collect();
    known.extend([("image", image), ("namespace", common.namespace)]);
    let variant =
        placeholder::fill_known(variant, &known).map_err(|error| faults.once(line("variant"), "variant", error)).ok()?;
    let id = if variant.is_empty() { image.to_owned() } else { format!("{image}-{variant}") };
    known.extend([("variant", variant.as_str()), ("id", id.as_str())]);

    let subject = Subject { image, id: &id, point: &axes, axes: common.axes };
    let holding: Vec<&When> = whens.iter().filter(|when| when.condition.holds(&subject)).collect();
    let mut keys = laid.clone();
    for (at, when) in holding.iter().enumerate() {
        for other in &holding[..at] {
            if let Some(key) = disagreement(&other.keys, &when.keys, "") {
                let text = format!(
                    "when.\"{}\" and when.\"{}\" (line {}) both set `{key}` of {id}, to different values",
                    when.condition.text, other.condition.text, other.line
                );
                faults.once(when.line, &format!("{}{key}", other.condition.text), format!("{text} (make one exclude the other)"));
            }
        }
        lay(&mut keys, &when.keys);
    }
    let default = if common.namespace.is_empty() { "{id}" } else { "{namespace}/{id}" };
    let repository = keys.get("repository").and_then(Value::as_str).unwrap_or(default);
    let repository = placeholder::fill_known(repository, &known)
        .map_err(|error| faults.once(line("repository"), "repository", format!("repository: {error}")))
        .ok()?;
    known.push(("repository", &repository));
    let mut on = common.document.get(&["on"]).cloned().unwrap_or(Value::Object(Map::new()));
    lay(&mut on, keys.get("on").unwrap_or(&Value::Object(Map::new())));
    keys["on"] = on;
    let shared = |path: [&str; 2], text: &str, faults: &mut Faults| {
        let filled = placeholder::fill_known(text, &known);
        filled.map_err(|error| faults.once(common.document.line(&path), path[1], format!("{}: {error}", path.join(".")))).ok()
    };
    let cache_ref = common.cache.and_then(|text| shared(["cache", "registry"], text, faults));
    let candidates = shared(["release", "candidates"], common.candidates, faults)?;
    let mut wrong = BTreeSet::new();
    fill(&mut keys, &known, "", &mut wrong);
    for (key, error) in wrong {
        let top = key.split('.').next().unwrap_or_default();
        faults.once(line(top), &key, format!("image.{image}.{key}: {error}"));
    }
    match types::Image::deserialize(&keys) {
        Ok(keys) => Some(Point {
            repository,
            keys,
            cache_ref,
            candidates,
            id: id.clone(),
            image: image.to_owned(),
            variant: variant.clone(),
            axes,
        }),
        Err(error) => {
            faults.once(line(""), image, format!("image.{image}: {error}"));
            None
        }
    }
}

/// Lays `over` upon `under`: tables key by key, everything else replaced.
pub fn lay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(key) {
                    Some(below) => lay(below, value),
                    None => drop(under.insert(key.clone(), value.clone())),
                }
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// The first key that two tables set to different values.
fn disagreement(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            disagreement(value, b.get(key)?, &path)
        }),
        (a, b) => (a != b).then(|| path.to_owned()),
    }
}

/// Fills placeholders in every text below, but in secrets (variables) and conditions.
fn fill(value: &mut Value, known: &[(&str, &str)], path: &str, wrong: &mut BTreeSet<(String, String)>) {
    match value {
        Value::String(text) if text.contains(['{', '}']) => match placeholder::fill_known(text, known) {
            Ok(filled) => *text = filled,
            Err(error) => drop(wrong.insert((path.to_owned(), error))),
        },
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, known, path, wrong)),
        Value::Object(table) => {
            for (key, value) in table.iter_mut().filter(|(key, _)| !["secrets", "only"].contains(&key.as_str())) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fill(value, known, &path, wrong);
            }
        }
        _ => {}
    }
}
