//! One image into its builds: the points of its axes, each with the keys that hold there.

use std::collections::{BTreeMap, HashMap};

use super::build::Builder;
use super::faults::Faults;
use super::fill::Names;
use super::layer::{self, Layered};
use super::matrix::{is_apart, points, variant_axes};
use super::paths::Root;
use super::placeholder::{Piece, pieces};
use super::places::{self, Scope};
use super::policy::{self, Written};
use super::tree::Document;
use super::types::{self, Image};
use super::{Build, EventKey, Policy, names};

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

/// Every build of an image, matrix first, then `include`; none if an axis or the variant is wrong.
///
/// The second value is false when some placeholder could not be filled.
pub fn image(cx: &Context<'_>, name: &str, faults: &mut Faults) -> (Vec<Build>, bool) {
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
    let mut filled = check_places(cx, &scope, &base, &events, faults);
    let cache = cache(cx, &scope, &written, &events, faults);
    filled &= cache.is_ok();
    let whens = layer::whens(cx.document, name, &axes, cx.all_values, faults);
    for when in &whens {
        let value = cx.document.get(&when.path).cloned().unwrap_or_default();
        filled &= places::check_image(&scope, &Layered { value, sources: vec![when.path.clone()] }, cx.document, faults);
    }
    let variant_known = pieces(&variant).iter().all(|piece| match piece {
        Piece::Name(name) => cx.axes.get(*name).is_some_and(|values| !values.is_empty()),
        Piece::Variable(_) => false,
        _ => true,
    });
    if !variant_known || base.is_bad(cx.document, &["variant"]) {
        return (Vec::new(), filled);
    }
    let apart = is_apart(written.repository.as_deref(), &axes);
    let policies: Vec<Policy> = events.iter().map(|event| image_policy(cx, event, &axes, apart, faults)).collect();
    policy::check_overlap(&policies, &events, cx.document, faults);
    let points = points(cx, name, &axes, &written, &line, faults);
    let axes: Vec<(String, String)> = axes.into_iter().map(|axis| (axis, String::new())).collect();
    let names = Names { axes: &axes, ..Names::default() };
    let differ: Vec<bool> = policies.iter().map(|policy| names.differs(policy)).collect();
    let policies = policies.into_iter().zip(differ).collect();
    let mut builder = Builder {
        cx,
        name,
        whens: &whens,
        base: &base,
        policies,
        apart,
        cache: cache.unwrap_or_default(),
        prepared: HashMap::new(),
    };
    builder.check_conflicts(&points, faults);
    (points.into_iter().map(|point| builder.build(&variant, point, faults)).collect(), filled)
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

fn check_places(cx: &Context<'_>, scope: &Scope<'_>, base: &Layered, events: &[Written], faults: &mut Faults) -> bool {
    let mut filled = places::check_image(scope, base, cx.document, faults);
    for written in events {
        filled &= places::check_event(scope, &written.event, &written.layers, cx.document, faults);
    }
    for said in scope.faults(cx.candidates, &super::placeholder::STATIC, &[]) {
        filled = false;
        faults.at(cx.document.line(&["release", "candidates"]), said);
    }
    filled
}

/// The text of the registry cache's reference; `None`: there is no such cache, or it is not for this image, which lacks an
/// axis that the reference names and never writes a cache. `Err`: it lacks one and writes.
fn cache<'a>(
    cx: &Context<'a>,
    scope: &Scope<'_>,
    written: &Image,
    events: &[Written],
    faults: &mut Faults,
) -> Result<Option<&'a str>, ()> {
    let Some(text) = cx.cache.map(|cache| cache.registry.as_str()) else { return Ok(None) };
    let found = scope.faults(text, &super::placeholder::STATIC, &[]);
    if found.is_empty() {
        return Ok(Some(text));
    }
    let is_published = written.publish != Some(false) && written.local_only != Some(true);
    if !is_published || !events.iter().any(policy::writes_cache) {
        return Ok(None);
    }
    for said in found {
        faults.at(cx.document.line(&["cache", "registry"]), said);
    }
    Err(())
}
