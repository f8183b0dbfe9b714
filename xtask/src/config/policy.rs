//! What each event does for an image: its own keys laid over `[on]`, defaults filled in, the rest checked.

use serde::Deserialize as _;
use serde_json::Value;

use super::condition::Condition;
use super::faults::{Faults, suggest};
use super::placeholder;
use super::tree::Document;
use super::types::{self, Events, Fresh, FreshIf, OneOrMany, Switch};
use super::{CacheMode, EventKey, FreshWhen, Policy};

/// What a policy is made with: where its keys are written, and what its placeholders may be.
pub struct Site<'a> {
    pub axes: &'a std::collections::BTreeMap<String, Vec<String>>,
    /// Whether `{version}` is known in every event.
    pub version_file: bool,
    /// The line of a key of an event: of the image's where it is there, else of the common table's.
    pub line: &'a dyn Fn(&[&str]) -> usize,
}

/// The keys that an event takes beside `tags`, `only`, `platforms`, `fresh`, `cache`.
fn takes(event: &EventKey) -> &'static [&'static str] {
    match event {
        EventKey::PullRequest => &["branches", "paths", "paths-ignore"],
        EventKey::Branch(_) => &["match", "paths", "paths-ignore", "cache-from-tags", "replace"],
        EventKey::Tag => &["match", "cache-from-tags"],
        EventKey::Schedule => &["cron", "cache-from-tags", "replace"],
        EventKey::Manual => &["rebuild-input", "cache-from-tags", "replace"],
        EventKey::Local => &["cache-from-tags"],
    }
}

const ALWAYS: [&str; 5] = ["tags", "only", "platforms", "fresh", "cache"];

/// `on.branch.main` as steps of a path.
pub fn steps(event: &EventKey) -> Vec<&str> {
    match event {
        EventKey::PullRequest => vec!["on", "pull-request"],
        EventKey::Branch(name) => vec!["on", "branch", name],
        EventKey::Tag => vec!["on", "tag"],
        EventKey::Schedule => vec!["on", "schedule"],
        EventKey::Manual => vec!["on", "manual"],
        EventKey::Local => vec!["on", "local"],
    }
}

/// Reports keys that an event does not take, in every `on` table of the file.
pub fn check_keys(document: &Document, faults: &mut Faults) {
    let images = document.get(&["image"]).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| vec!["image", name]);
    for above in images.chain([vec![], vec!["defaults"]]) {
        let Some(on) = document.get(&[above.as_slice(), &["on"]].concat()).and_then(|on| Events::deserialize(on).ok()) else {
            continue;
        };
        for (event, _) in events(&on, false) {
            let path = [above.clone(), steps(&event)].concat();
            for key in document.get(&path).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
                let known = || ALWAYS.iter().chain(takes(&event)).copied();
                if !known().any(|known| known == key) {
                    let line = document.line(&[path.as_slice(), &[key]].concat());
                    faults.at(line, format!("{} takes no `{key}` ({})", steps(&event).join("."), suggest(key, known())));
                }
            }
        }
    }
}

/// Every event that a laid `on` table has, those that always exist included.
pub fn events(on: &Events, nothing_written: bool) -> Vec<(EventKey, types::Policy)> {
    let mut events = Vec::new();
    let mut add = |key: EventKey, switch: Option<&Switch>, exists: bool| match switch {
        Some(Switch::On(policy)) => events.push((key, (**policy).clone())),
        Some(Switch::Off(true)) => events.push((key, types::Policy::default())),
        Some(Switch::Off(false)) => {}
        None if exists => events.push((key, types::Policy::default())),
        None => {}
    };
    add(EventKey::PullRequest, on.pull_request.as_ref(), true);
    for (name, switch) in &on.branch {
        add(EventKey::Branch(name.clone()), Some(switch), false);
    }
    add(EventKey::Tag, on.tag.as_ref(), nothing_written);
    add(EventKey::Schedule, on.schedule.as_ref(), false);
    add(EventKey::Manual, on.manual.as_ref(), false);
    add(EventKey::Local, on.local.as_ref(), true);
    events
}

/// Fills in the defaults of an event and checks what its keys say.
pub fn resolve(event: EventKey, policy: &types::Policy, site: &Site<'_>, faults: &mut Faults) -> Policy {
    let path = steps(&event);
    let name = path.join(".");
    let line = |key: &str| (site.line)(&[path.as_slice(), &[key]].concat());
    let many = |value: &Option<OneOrMany<String>>| value.as_ref().map(OneOrMany::to_vec);
    let matches = many(&policy.r#match).unwrap_or_else(|| match &event {
        EventKey::Branch(name) => vec![name.clone()],
        EventKey::Tag => vec!["v*".into()],
        _ => Vec::new(),
    });
    let branches = policy.branches.clone().unwrap_or_default();
    let patterns = [(&matches, "match"), (&branches, "branches")].into_iter();
    let globs = patterns
        .chain(policy.paths.as_ref().map(|paths| (paths, "paths")))
        .chain(policy.paths_ignore.as_ref().map(|paths| (paths, "paths-ignore")));
    for (patterns, key) in globs {
        for error in patterns.iter().filter_map(|pattern| crate::glob::check(pattern).err()) {
            faults.once(line(key), key, format!("{name}.{key}: {error}"));
        }
    }
    let only = policy.only.iter().flatten().filter_map(|text| match Condition::parse(text, site.axes) {
        Ok(condition) => Some(condition),
        Err(error) => {
            faults.once(line("only"), text, format!("{name}.only: {error}"));
            None
        }
    });
    let only = only.collect();
    let tags = tags(&event, policy, site, &name, &line, faults);
    Policy {
        only,
        tags,
        matches,
        branches,
        paths: policy.paths.clone(),
        paths_ignore: policy.paths_ignore.clone(),
        platforms: policy.platforms.clone(),
        fresh: match policy.fresh {
            None | Some(Fresh::Flag(false)) => FreshWhen::Never,
            Some(Fresh::Flag(true)) => FreshWhen::Always,
            Some(Fresh::When(FreshIf::DependenciesChanged)) => FreshWhen::DependenciesChanged,
            Some(Fresh::When(FreshIf::BasesChanged)) => FreshWhen::BasesChanged,
        },
        cache: policy.cache.unwrap_or(if event == EventKey::Local { CacheMode::Read } else { CacheMode::ReadWrite }),
        cache_from_tags: policy.cache_from_tags.clone().unwrap_or_default(),
        cron: many(&policy.cron).unwrap_or_default(),
        replace: policy.replace.unwrap_or(false),
        rebuild_input: policy.rebuild_input.clone().unwrap_or_else(|| "rebuild".into()),
        event,
    }
}

/// The tags of an event, or its default ones; a written event that publishes must say which.
fn tags(
    event: &EventKey,
    policy: &types::Policy,
    site: &Site<'_>,
    name: &str,
    line: &dyn Fn(&str) -> usize,
    faults: &mut Faults,
) -> Vec<String> {
    let default: &[&str] = match event {
        EventKey::PullRequest => &["pr-{number}"],
        EventKey::Tag => &["{semver}", "{major}.{minor}", "latest"],
        EventKey::Local => &["local"],
        EventKey::Branch(_) | EventKey::Schedule | EventKey::Manual => {
            if policy.tags.is_none() {
                let text =
                    format!("{name} says no `tags` (write which tags it publishes, or `tags = []` to build and test only)");
                faults.once(line("tags"), name, text);
            }
            &[]
        }
    };
    let tags = policy.tags.clone().unwrap_or_else(|| default.iter().map(|&tag| tag.to_owned()).collect());
    for tag in &tags {
        for missing in
            placeholder::event_names(tag).into_iter().filter(|placeholder| !known(event, placeholder, site.version_file))
        {
            let fix = if is_version(missing) { "add `version-file = \"VERSION\"`" } else { "take another placeholder" };
            faults.once(line("tags"), tag, format!("{name}.tags: {{{missing}}} is not known on this event ({fix})"));
        }
    }
    tags
}

/// Whether an event has a value for one of its placeholders.
pub fn known(event: &EventKey, placeholder: &str, version_file: bool) -> bool {
    match placeholder {
        "branch" => !matches!(event, EventKey::Tag),
        "number" => matches!(event, EventKey::PullRequest),
        name if is_version(name) => version_file || matches!(event, EventKey::Tag),
        _ => true,
    }
}

fn is_version(placeholder: &str) -> bool {
    ["version", "semver", "major", "minor", "patch"].contains(&placeholder)
}
