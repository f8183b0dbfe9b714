//! One image into its builds: the points of its axes, each with the keys that hold there.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::condition::{Condition, Subject};
use super::faults::Faults;
use super::fill::Names;
use super::keys::{self, Keys};
use super::layer::{self, Layered, When};
use super::paths::Root;
use super::placeholder::{Piece, pieces};
use super::places::{self, Scope};
use super::policy::{self, Written};
use super::tree::Document;
use super::types::{self, Image};
use super::{Build, EventKey, Policy, image_test, names};

/// What all images share.
pub struct Context<'a> {
    pub document: &'a Document,
    pub root: &'a Root,
    /// Also those that are wrong, empty.
    pub axes: &'a BTreeMap<String, Vec<String>>,
    /// The same with what `include` adds, for conditions.
    pub all_values: &'a BTreeMap<String, Vec<String>>,
    pub namespace: &'a str,
    pub version_file: bool,
    pub cache: Option<&'a types::Cache>,
    pub candidates: &'a str,
    /// See [`policy::has_default_tag`].
    pub default_tag: bool,
}

type Point = Vec<(String, String)>;

/// The axes in a `variant`, in their order, each once.
pub fn variant_axes(variant: &str, axes: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in pieces(variant) {
        if let Piece::Name(name) = piece
            && axes.contains_key(name)
            && !found.iter().any(|axis| axis == name)
        {
            found.push(name.to_owned());
        }
    }
    found
}

/// Every build of an image, matrix first, then `include`; none if an axis or the variant is wrong.
pub fn image(cx: &Context<'_>, name: &str, faults: &mut Faults) -> Vec<Build> {
    let base = layer::base(cx.document, name);
    let written: Image = serde_json::from_value(base.value.clone()).unwrap_or_default();
    let line = |key: &str| base.line(cx.document, &[key]);
    if !names::is_component(name) {
        let said = format!("image `{name}` can't be a repository's name (lower case letters and digits, . _ - between them)");
        faults.at(cx.document.line(&["image", name]), said);
    }
    let variant = written.variant.clone().unwrap_or_default();
    let axes = variant_axes(&variant, cx.axes);
    let events = events(cx, name, &written, faults);
    let keys: Vec<EventKey> = events.iter().map(|written| written.event.clone()).collect();
    let scope = Scope { image: name, axes: &axes, all_axes: cx.axes, events: &keys, version_file: cx.version_file };
    check_places(cx, &scope, &base, &events, faults);
    let whens = layer::whens(cx.document, name, &axes, cx.all_values, faults);
    for when in &whens {
        let value = cx.document.get(&when.path).cloned().unwrap_or_default();
        places::check_image(&scope, &Layered { value, sources: vec![when.path.clone()] }, cx.document, faults);
    }
    let variant_known = pieces(&variant).iter().all(|piece| match piece {
        Piece::Name(name) => cx.axes.get(*name).is_some_and(|values| !values.is_empty()),
        Piece::Variable(_) => false,
        _ => true,
    });
    if !variant_known || base.is_bad(cx.document, &["variant"]) {
        return Vec::new();
    }
    let apart = is_apart(written.repository.as_deref(), &axes);
    let policies = events.iter().map(|event| image_policy(cx, event, &axes, apart, faults)).collect();
    let points = points(cx, name, &axes, &written, &line, faults);
    let mut expander = Expander { cx, name, whens: &whens, base: &base, policies, apart, prepared: HashMap::new() };
    expander.check_conflicts(&points, faults);
    points.into_iter().map(|point| expander.build(&variant, point, faults)).collect()
}

/// The events of an image; a local-only one has its local event alone.
fn events(cx: &Context<'_>, name: &str, written: &Image, faults: &mut Faults) -> Vec<Written> {
    let mut events = policy::written(cx.document, Some(name), cx.default_tag);
    if written.local_only == Some(true) {
        for own in events.iter().filter(|written| written.event != EventKey::Local) {
            if let Some(line) =
                own.layers.sources.iter().filter(|source| source[0] == "image").find_map(|s| cx.document.exact_line(s))
            {
                faults.at(line, format!("{} of image `{name}` never happens: it is local-only (remove one of them)", own.event));
            }
        }
        if written.publish == Some(true) {
            let line = layer::base(cx.document, name).line(cx.document, &["local-only"]);
            faults.at(line, format!("image `{name}` is both local-only and publish = true (remove one of them)"));
        }
        events.retain(|written| written.event == EventKey::Local);
    }
    events
}

/// The policy of an image for an event, before its placeholders are filled.
fn image_policy(cx: &Context<'_>, event: &Written, axes: &[String], apart: bool, faults: &mut Faults) -> Policy {
    let mut only = policy::check(event, cx.document, cx.all_values, true, faults);
    // What an entry says of an axis that this image doesn't have is not about this image.
    only.retain(|entry| entry.keys().iter().all(|key| ["image", "id"].contains(key) || axes.iter().any(|axis| axis == key)));
    let mut policy = policy::policy(event, only);
    if !apart && event.keys.tags.is_none() && matches!(event.event, EventKey::PullRequest | EventKey::Local) {
        policy.tags.iter_mut().for_each(|tag| tag.push_str("-{variant}"));
    }
    policy
}

fn check_places(cx: &Context<'_>, scope: &Scope<'_>, base: &Layered, events: &[Written], faults: &mut Faults) {
    places::check_image(scope, base, cx.document, faults);
    for written in events {
        places::check_event(scope, &written.event, &written.layers, cx.document, faults);
    }
    let shared = [
        (cx.cache.map(|cache| cache.registry.as_str()), ["cache", "registry"]),
        (Some(cx.candidates), ["release", "candidates"]),
    ];
    for (text, path) in shared {
        for said in scope.faults(text.unwrap_or_default(), &super::placeholder::STATIC, &[]) {
            faults.at(cx.document.line(&path), said);
        }
    }
}

/// Whether each build has a repository of its own; if not, default tags and cache refs carry the variant.
fn is_apart(repository: Option<&str>, axes: &[String]) -> bool {
    let found = pieces(repository.unwrap_or("{id}"));
    let has = |name: &str| found.contains(&Piece::Name(name));
    has("id") || has("variant") || axes.iter().all(|axis| has(axis))
}

/// The matrix without `exclude`, and `include`.
fn points(
    cx: &Context<'_>,
    image: &str,
    axes: &[String],
    written: &Image,
    line: &dyn Fn(&str) -> usize,
    faults: &mut Faults,
) -> Vec<Point> {
    let mut points: Vec<Point> = vec![Vec::new()];
    for axis in axes {
        let values = &cx.axes[axis];
        let with = |point: Point| values.iter().map(move |value| [&point[..], &[(axis.clone(), value.clone())]].concat());
        points = points.into_iter().flat_map(with).collect();
    }
    for text in &written.exclude {
        match Condition::parse(text, cx.all_values) {
            Err(said) => faults.at(line("exclude"), said),
            Ok(condition) => {
                let before = points.len();
                points.retain(|point| !condition.holds(&Subject { image, id: "", point, axes: cx.axes }));
                if points.len() == before {
                    faults.at(line("exclude"), format!("exclude `{text}` matches no build of image `{image}` (remove it)"));
                }
            }
        }
    }
    for text in &written.include {
        match include(cx, image, axes, text) {
            Err(said) => faults.at(line("include"), said),
            Ok(point) if points.contains(&point) => {
                faults.at(line("include"), format!("include `{text}` is in the matrix already (remove it)"))
            }
            Ok(point) => points.push(point),
        }
    }
    points
}

fn include(cx: &Context<'_>, image: &str, axes: &[String], text: &str) -> Result<Point, String> {
    let condition = Condition::parse_free(text, cx.axes.keys().map(String::as_str))?;
    let every = || match axes {
        [] => format!("image `{image}` has no axes"),
        axes => format!("write {}", axes.iter().map(|axis| format!("{axis}=…")).collect::<Vec<_>>().join(",")),
    };
    let named =
        condition.point().filter(|point| point.len() == axes.len() && axes.iter().all(|axis| point.contains_key(axis.as_str())));
    let named = named.ok_or_else(|| format!("include `{text}` does not name one value of every axis ({})", every()))?;
    if let Some(value) = named.values().find(|value| !names::is_axis_value(value)) {
        return Err(format!("include `{text}`: `{value}` can't be in a tag (letters, digits, `_`, `.` and `-`)"));
    }
    Ok(axes.iter().map(|axis| (axis.clone(), named[axis.as_str()].to_owned())).collect())
}

struct Expander<'a> {
    cx: &'a Context<'a>,
    name: &'a str,
    whens: &'a [When],
    base: &'a Layered,
    policies: Vec<Policy>,
    apart: bool,
    /// By which of `whens` hold: most builds share theirs.
    prepared: HashMap<Vec<bool>, Rc<Keys>>,
}

impl Expander<'_> {
    /// Two `when` that set one key differently are a fault if some point meets both.
    fn check_conflicts(&self, points: &[Point], faults: &mut Faults) {
        for (first, second, key) in layer::conflicts(self.cx.document, self.whens) {
            let both = |point: &Point| {
                let subject = Subject { image: self.name, id: "", point, axes: self.cx.axes };
                self.whens[first].condition.holds(&subject) && self.whens[second].condition.holds(&subject)
            };
            if points.iter().any(both) {
                let line = |when: &When| self.cx.document.line(&[&when.path[..], &key[..]].concat());
                let (a, b) = (&self.whens[first], &self.whens[second]);
                let mut both = [(line(a), a), (line(b), b)];
                both.sort_by_key(|(line, when)| (*line, when.condition.text.clone()));
                let [(one, under), (two, over)] = both;
                faults.at(
                    two,
                    format!(
                        "`{}` is set by when.\"{}\" and differently by when.\"{}\" on line {one}, and both hold for some builds (make them exclude each other)",
                        key.join("."),
                        over.condition.text,
                        under.condition.text
                    ),
                );
            }
        }
    }

    fn build(&mut self, variant: &str, point: Point, faults: &mut Faults) -> Build {
        let cx = self.cx;
        let mut names = Names { axes: &point, image: self.name, namespace: cx.namespace, ..Names::default() };
        let variant = names.fill(variant);
        let id = if variant.is_empty() { self.name.to_owned() } else { format!("{}-{variant}", self.name) };
        (names.variant, names.id) = (&variant, &id);
        let subject = Subject { image: self.name, id: &id, point: &point, axes: cx.axes };
        let active: Vec<bool> = self.whens.iter().map(|when| when.condition.holds(&subject)).collect();
        let keys = Rc::clone(self.prepared.entry(active).or_insert_with_key(|active| {
            let mut layers = self.base.clone();
            for (when, _) in self.whens.iter().zip(active).filter(|(_, active)| **active) {
                layers.lay(cx.document, when.path.clone());
            }
            Rc::new(keys::prepare(layers, self.name, cx.document, faults))
        }));
        let written = &keys.written;
        let line = |key: &[&str]| keys.layers.line(cx.document, key);
        let repository = names.fill_repository(written.repository.as_deref().unwrap_or("{namespace}/{id}"));
        names.repository = &repository;
        let mut path = |key: &str, text: &str| {
            cx.root.inside(text).unwrap_or_else(|said| {
                faults.once(line(&[key]), key, format!("{key} of `{id}`: {said}"));
                text.into()
            })
        };
        let context = path("context", &names.fill(written.context.as_deref().unwrap_or(".")));
        names.context = context.as_str();
        let default = match (&written.template, variant.as_str()) {
            (None, _) => "{context}/Dockerfile",
            (Some(_), "") => "docker/dockerfiles/Dockerfile.{image}",
            (Some(_), _) => "docker/dockerfiles/Dockerfile.{variant}",
        };
        let dockerfile = path("dockerfile", &names.fill(written.dockerfile.as_deref().unwrap_or(default)));
        let template = written.template.as_ref().map(|text| path("template", &names.fill(text)));
        let secrets = written
            .secrets
            .iter()
            .map(|(name, secret)| {
                (
                    name.clone(),
                    match secret {
                        types::Secret::Env(text) => types::Secret::Env(text.clone()),
                        types::Secret::File(source) => types::Secret::File(types::AxisFile {
                            file: path("secrets", &names.fill(&source.file)).into_string(),
                        }),
                    },
                )
            })
            .collect();
        let mut tests = Vec::new();
        for (index, test) in written.test.to_vec().iter().enumerate() {
            match image_test::resolve(test, &id, cx.root, &|text| names.fill(text)) {
                Ok(test) => tests.push(test),
                Err(found) => {
                    for (key, said) in found {
                        let (table, item) = (line(&["test", key]), line(&["test", &index.to_string(), key]));
                        let line = if matches!(written.test, types::OneOrMany::One(_)) { table } else { item };
                        faults.once(line, key, format!("test of `{id}`: {said}"));
                    }
                }
            }
        }
        let parents =
            written.parent.iter().flat_map(types::OneOrMany::to_vec).map(|text| keys::parent(&names.fill(&text))).collect();
        let known =
            |texts: &BTreeMap<String, String>| texts.iter().map(|(name, text)| (name.clone(), names.fill_known(text))).collect();
        let cache = cx.cache.map(|cache| match cache.registry == types::Cache::default().registry && !self.apart {
            true => "{repository}:buildcache-{variant}",
            false => cache.registry.as_str(),
        });
        Build {
            image: self.name.to_owned(),
            target: written.target.as_ref().map(|text| names.fill(text)),
            parents,
            platforms: written.platforms.clone().unwrap_or_else(|| vec!["linux/amd64".into()]),
            args: known(&written.args),
            vars: written.vars.iter().map(|(name, text)| (name.clone(), names.fill(text))).collect(),
            labels: known(&written.labels),
            secrets,
            dependencies: written.dependencies.as_ref().map(|list| list.iter().map(|text| names.fill(text)).collect()),
            publish: written.publish.unwrap_or(true) && written.local_only != Some(true),
            local_only: written.local_only.unwrap_or(false),
            timeout: keys.timeout,
            tests,
            cache_ref: cache.map(|text| names.fill_repository(text)),
            candidates: names.fill_repository(cx.candidates),
            on: self.policies.iter().map(|policy| names.policy(policy)).collect(),
            context,
            dockerfile,
            template,
            repository: repository.clone(),
            id: id.clone(),
            variant: variant.clone(),
            axes: point.clone(),
        }
    }
}
