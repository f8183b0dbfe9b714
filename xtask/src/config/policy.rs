//! What each event does: `[on.EVENT]` under the image's own `on.EVENT`, key by key, with the defaults filled in.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::condition::Condition;
use super::faults::{Faults, suggest};
use super::layer::{Layered, lay};
use super::tree::Document;
use super::types::{self, CacheMode, Fresh, FreshIf, FreshWhen};
use super::{EventKey, Policy, keys, names};
use crate::glob;

/// Which keys an event takes.
const KEYS: [(&str, &[&str]); 6] = [
    ("pull-request", &["branches", "paths", "paths-ignore", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags"]),
    ("branch", &["match", "paths", "paths-ignore", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags", "replace"]),
    ("tag", &["match", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags", "replace"]),
    ("schedule", &["cron", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags", "replace"]),
    ("manual", &["rebuild-input", "only", "platforms", "fresh", "cache", "tags", "cache-from-tags", "replace"]),
    ("local", &["only", "platforms", "fresh", "cache", "tags", "cache-from-tags"]),
];

/// As it is written in the file: `on.branch.main`.
impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventKey::Branch(name) if name.contains(['.', '/', '*']) => write!(f, "on.branch.\"{name}\""),
            EventKey::Branch(name) => write!(f, "on.branch.{name}"),
            other => write!(f, "on.{}", other.path().join(".")),
        }
    }
}

impl EventKey {
    pub(super) fn path(&self) -> Vec<&str> {
        match self {
            EventKey::PullRequest => vec!["pull-request"],
            EventKey::Branch(name) => vec!["branch", name],
            EventKey::Tag => vec!["tag"],
            EventKey::Schedule => vec!["schedule"],
            EventKey::Manual => vec!["manual"],
            EventKey::Local => vec!["local"],
        }
    }

    fn takes(&self) -> &'static [&'static str] {
        KEYS.iter().find(|(name, _)| *name == self.path()[0]).map_or(&[], |(_, keys)| keys)
    }
}

/// What an event does for an image (or, without one, for all), as written, and where that is.
#[derive(Clone, Debug)]
pub struct Written {
    pub event: EventKey,
    pub keys: types::Policy,
    pub layers: Layered,
}

/// Every event of an image, in order; `image` = `None` for what `[on]` says for all.
///
/// `tags`: whether there is `[on.tag]` though nobody wrote it, see [`has_default_tag`].
pub fn written(document: &Document, image: Option<&str>, tags: bool) -> Vec<Written> {
    let mut sources = vec![vec!["on".to_owned()], vec!["defaults".to_owned(), "on".to_owned()]];
    sources.extend(image.map(|image| vec!["image".to_owned(), image.to_owned(), "on".to_owned()]));
    let mut events: BTreeMap<EventKey, Layered> = BTreeMap::new();
    let empty = || Layered { value: Value::Object(Map::new()), sources: Vec::new() };
    for event in [EventKey::PullRequest, EventKey::Local] {
        events.insert(event, empty());
    }
    if tags {
        events.insert(EventKey::Tag, empty());
    }
    for source in &sources {
        for (event, value) in in_table(document.get(source)) {
            let layered = events.entry(event.clone()).or_insert_with(empty);
            // `true` is an event without keys of its own.
            let value = if *value == Value::Bool(true) { &Value::Object(Map::new()) } else { value };
            lay(&mut layered.value, value);
            layered.sources.insert(0, source.iter().cloned().chain(event.path().into_iter().map(String::from)).collect());
        }
    }
    let on = events.into_iter().filter(|(_, layers)| layers.value.is_object());
    on.map(|(event, layers)| {
        let keys = serde_json::from_value(layers.value.clone()).unwrap_or_default();
        Written { event, keys, layers }
    })
    .collect()
}

/// Whether no event is written anywhere in the file: then there is also `[on.tag]`. Switching one off is not writing one.
pub fn has_default_tag(file: &Value) -> bool {
    let images = file["image"].as_object().into_iter().flat_map(|images| images.values());
    let tables = images.chain([&file["defaults"]]).map(|image| image.get("on")).chain([file.get("on")]);
    tables.flat_map(in_table).all(|(_, value)| *value == Value::Bool(false))
}

fn in_table(on: Option<&Value>) -> Vec<(EventKey, &Value)> {
    let named = |name: &str| match name {
        "pull-request" => Some(EventKey::PullRequest),
        "tag" => Some(EventKey::Tag),
        "schedule" => Some(EventKey::Schedule),
        "manual" => Some(EventKey::Manual),
        "local" => Some(EventKey::Local),
        _ => None,
    };
    let entries = on.and_then(Value::as_object).into_iter().flatten();
    entries
        .flat_map(|(name, value)| match (named(name), value) {
            (Some(event), _) => vec![(event, value)],
            (None, Value::Object(branches)) => {
                branches.iter().map(|(name, value)| (EventKey::Branch(name.clone()), value)).collect()
            }
            (None, _) => Vec::new(),
        })
        .collect()
}

/// Faults of what is written: keys that the event doesn't take, no tags, no cron, conditions.
///
/// Returns the parsed `only`.
pub fn check(
    written: &Written,
    document: &Document,
    axes: &BTreeMap<String, Vec<String>>,
    for_image: bool,
    faults: &mut Faults,
) -> Vec<Condition> {
    let Written { event, keys, layers } = written;
    let takes = event.takes();
    for key in layers.value.as_object().into_iter().flat_map(|keys| keys.keys()).filter(|key| !takes.contains(&key.as_str())) {
        let hint = match KEYS
            .iter()
            .filter(|(_, keys)| keys.contains(&key.as_str()))
            .map(|(event, _)| format!("on.{event}"))
            .collect::<Vec<_>>()
        {
            events if events.len() <= 3 => format!("only {} takes it", events.join(", ")),
            _ => suggest(key, takes.iter().copied()),
        };
        faults.at(layers.line(document, &[key]), format!("{event} does not take `{key}` ({hint})"));
    }
    let line = |key: &str| layers.line(document, &[key]);
    let must_say = matches!(event, EventKey::Branch(_) | EventKey::Schedule | EventKey::Manual) && for_image;
    if must_say && keys.tags.is_none() && !layers.is_bad(document, &["tags"]) {
        faults.at(line("tags"), format!("{event} has no tags (write tags = [\"…\"]; tags = [] builds and tests only)"));
    }
    let cron = keys.cron.as_ref().map(types::OneOrMany::to_vec).unwrap_or_default();
    if *event == EventKey::Schedule && for_image && cron.is_empty() && !layers.is_bad(document, &["cron"]) {
        faults.at(line("cron"), format!("{event} has no cron (write cron = \"0 3 * * 0\")"));
    }
    for entry in cron.iter().filter(|entry| takes.contains(&"cron") && !is_cron(entry)) {
        faults.at(line("cron"), format!("`{entry}` is not a cron line (five fields: minute hour day month weekday)"));
    }
    for said in keys::platforms(written.keys.platforms.as_deref()) {
        faults.at(line("platforms"), said);
    }
    for (key, pattern) in patterns(keys) {
        if !names::is_pattern(pattern) {
            faults.at(
                line(key),
                format!("`{pattern}` in {event}.{key} never matches (patterns are relative to the repository, without ./)"),
            );
        }
    }
    let key_is_pattern = || match event {
        EventKey::Branch(name) => vec![name.clone()],
        _ => Vec::new(),
    };
    let names = keys.r#match.as_ref().map_or_else(key_is_pattern, types::OneOrMany::to_vec);
    let names = names.into_iter().map(|name| ("match", name));
    let branches = keys.branches.iter().flatten().map(|name| ("branches", name.clone()));
    let paths = patterns(keys).into_iter().filter(|(_, pattern)| !pattern.is_empty());
    for (key, pattern) in names.chain(branches).chain(paths.map(|(key, pattern)| (key, pattern.clone()))) {
        if let Err(said) = glob::check(&pattern) {
            faults.at(line(key), format!("{event}.{key}: {said}"));
        }
    }
    let only = keys.only.iter().flatten();
    let parsed = only.filter_map(|text| Condition::parse(text, axes).map_err(|said| faults.at(line("only"), said)).ok());
    parsed.collect()
}

/// Whether an event may write the registry's cache.
pub fn writes_cache(written: &Written) -> bool {
    let is_published = !matches!(written.event, EventKey::PullRequest | EventKey::Local);
    is_published && written.keys.cache.is_none_or(|mode| mode == CacheMode::ReadWrite)
}

fn patterns(keys: &types::Policy) -> Vec<(&'static str, &String)> {
    let paths = keys.paths.iter().flatten().map(|pattern| ("paths", pattern));
    let ignore = keys.paths_ignore.iter().flatten().map(|pattern| ("paths-ignore", pattern));
    paths.chain(ignore).collect()
}

fn is_cron(text: &str) -> bool {
    let field = |field: &str| field.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-".contains(c));
    let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
    fields.len() == 5 && fields.into_iter().all(field)
}

/// Branch patterns that two events of an image have: a push to such a branch could mean either.
pub fn check_overlap(policies: &[Policy], written: &[Written], document: &Document, faults: &mut Faults) {
    let mut owners: BTreeMap<&str, &EventKey> = BTreeMap::new();
    for (policy, written) in policies.iter().zip(written).filter(|(policy, _)| matches!(policy.event, EventKey::Branch(_))) {
        for pattern in &policy.matches {
            if let Some(other) = owners.insert(pattern, &policy.event).filter(|other| **other != policy.event) {
                let said = format!("{} and {other} both match branch `{pattern}` (merge them)", policy.event);
                faults.at(written.layers.line(document, &["match"]), said);
            }
        }
    }
}

/// The policy with its defaults; tags still have all their placeholders.
pub fn policy(written: &Written, only: Vec<Condition>) -> Policy {
    let Written { event, keys, .. } = written;
    let text = |text: &str| vec![text.to_owned()];
    let many = |given: &Option<types::OneOrMany<String>>| given.as_ref().map(types::OneOrMany::to_vec);
    let (matches, tags, cache) = match event {
        EventKey::PullRequest => (Vec::new(), text("pr-{number}"), CacheMode::ReadWrite),
        EventKey::Branch(name) => (text(name), Vec::new(), CacheMode::ReadWrite),
        EventKey::Tag => (text("v*"), ["{semver}", "{major}.{minor}", "latest"].map(String::from).to_vec(), CacheMode::ReadWrite),
        EventKey::Schedule | EventKey::Manual => (Vec::new(), Vec::new(), CacheMode::ReadWrite),
        EventKey::Local => (Vec::new(), text("local"), CacheMode::Read),
    };
    Policy {
        event: event.clone(),
        matches: many(&keys.r#match).unwrap_or(matches),
        branches: keys.branches.clone().unwrap_or_default(),
        paths: keys.paths.clone(),
        paths_ignore: keys.paths_ignore.clone(),
        only,
        platforms: keys.platforms.clone(),
        fresh: match keys.fresh {
            None | Some(Fresh::Flag(false)) => FreshWhen::Never,
            Some(Fresh::Flag(true)) => FreshWhen::Always,
            Some(Fresh::When(FreshIf::DependenciesChanged)) => FreshWhen::DependenciesChanged,
            Some(Fresh::When(FreshIf::BasesChanged)) => FreshWhen::BasesChanged,
        },
        cache: keys.cache.unwrap_or(cache),
        tags: keys.tags.clone().unwrap_or(tags),
        has_default_tags: keys.tags.is_none(),
        cache_from_tags: keys.cache_from_tags.clone().unwrap_or_default(),
        replace: keys.replace.unwrap_or(false),
        rebuild_input: keys.rebuild_input.clone().unwrap_or_else(|| "rebuild".into()),
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    #[test]
    fn patterns_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        let on =
            "[image.app]\n[on.tag]\nmatch = \"v[0-9\"\n[on.branch.\"+x\"]\ntags = []\n[on.pull-request]\npaths = [\"a/[^b]\"]\n";
        std::fs::write(repo.join("images.toml"), format!("schema = 1\n{on}")).unwrap();
        std::fs::write(repo.join("Dockerfile"), "FROM scratch\n").unwrap();
        let error = crate::config::load(repo, Utf8Path::new("images.toml"), &crate::config::Env::new()).unwrap_err().to_string();
        for said in [
            "on.tag.match: the pattern `v[0-9` has a `[` without its `]`",
            "match: the pattern `+x` has nothing that `+` could repeat",
            "on.pull-request.paths: the pattern `a/[^b]` has `[^b]`",
        ] {
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
