//! Which placeholders may stand where: every text of an image and its events, checked before anything is filled.

use std::collections::BTreeMap;

use serde_json::Value;

use super::EventKey;
use super::faults::{Faults, suggest};
use super::layer::Layered;
use super::placeholder::{self, EVENT, Piece, pieces};
use super::tree::Document;

/// What is known about an image before its builds are.
pub struct Scope<'a> {
    pub image: &'a str,
    /// In the order of its variant.
    pub axes: &'a [String],
    pub all_axes: &'a BTreeMap<String, Vec<String>>,
    pub events: &'a [EventKey],
    pub version_file: bool,
}

/// What a place takes beside the axes.
enum Place {
    /// Names of placeholders; `true`: those of every event of the image too.
    Takes(&'static [&'static str], bool),
    /// `${NAME}` alone.
    Variable,
    /// Looked at elsewhere.
    Elsewhere,
}

const ALL: &[&str] = &placeholder::STATIC;

/// Checks the keys of an image, without its `on` and `when`; true if all can be filled.
pub fn check_image(scope: &Scope<'_>, layers: &Layered, document: &Document, faults: &mut Faults) -> bool {
    let place = |path: &[&str]| match path {
        ["variant"] => Place::Takes(&[], false),
        ["repository"] => Place::Takes(&["image", "variant", "id", "namespace"], false),
        ["dockerfile"] => Place::Takes(&["image", "variant", "id", "namespace", "repository", "context"], false),
        ["args" | "labels", _] => Place::Takes(ALL, true),
        ["secrets", _] => Place::Variable,
        ["on" | "when" | "exclude" | "include" | "timeout", ..] => Place::Elsewhere,
        _ => Place::Takes(ALL, false),
    };
    let mut filled = true;
    scan(&layers.value, &mut Vec::new(), &mut |path, text| {
        let (takes, events) = match place(&path.iter().map(String::as_str).collect::<Vec<_>>()) {
            Place::Takes(takes, true) => (takes, scope.events),
            Place::Takes(takes, false) => (takes, &[][..]),
            Place::Variable | Place::Elsewhere => return,
        };
        for said in scope.faults(text, takes, events) {
            filled = false;
            faults.at(layers.line(document, &path.iter().map(String::as_str).collect::<Vec<_>>()), said);
        }
    });
    filled
}

/// Checks the keys of an event for an image; true if all can be filled.
pub fn check_event(scope: &Scope<'_>, event: &EventKey, layers: &Layered, document: &Document, faults: &mut Faults) -> bool {
    let mut filled = true;
    scan(&layers.value, &mut Vec::new(), &mut |path, text| {
        let events: &[EventKey] = match path[0].as_str() {
            "tags" => std::slice::from_ref(event),
            "cache-from-tags" | "paths" | "paths-ignore" => &[],
            _ => return,
        };
        for said in scope.faults(text, ALL, events) {
            filled = false;
            faults.at(layers.line(document, &path.iter().map(String::as_str).collect::<Vec<_>>()), said);
        }
    });
    filled
}

impl Scope<'_> {
    /// Faults of one text. `takes`: names beside the axes; `events`: those that must know the event placeholders, if any.
    pub fn faults(&self, text: &str, takes: &[&str], events: &[EventKey]) -> Vec<String> {
        pieces(text).into_iter().filter_map(|piece| self.fault(piece, takes, events)).collect()
    }

    fn fault(&self, piece: Piece<'_>, takes: &[&str], events: &[EventKey]) -> Option<String> {
        let name = match piece {
            Piece::Text(_) | Piece::Escaped(_) => return None,
            Piece::Variable(name) => return Some(variable(name)),
            Piece::Name(name) => name,
        };
        if takes.contains(&name) || self.axes.iter().any(|axis| axis == name) {
            return None;
        }
        if EVENT.contains(&name) {
            if events.is_empty() {
                return Some(format!("`{{{name}}}` can't be known here (tags, args and labels take it)"));
            }
            let blind = events.iter().find(|event| !placeholder::in_event(event, self.version_file).contains(&name))?;
            return Some(placeholder::why_not(name, blind));
        }
        if self.all_axes.contains_key(name) {
            return Some(format!("`{{{name}}}` is not an axis of image `{}` (name it in its variant)", self.image));
        }
        let known = takes.iter().copied().chain(self.axes.iter().map(String::as_str));
        let known = known.chain(EVENT.iter().copied().filter(|_| !events.is_empty()));
        Some(format!("unknown placeholder `{{{name}}}` ({}; {{{{{name}}}}} is the text itself)", suggest(name, known)))
    }
}

/// Faults of a text that takes no placeholder at all.
pub fn none(text: &str) -> Option<String> {
    pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Name(name) => Some(format!("`{{{name}}}` is not filled in here ({{{{{name}}}}} is the text itself)")),
        Piece::Variable(name) => Some(variable(name)),
        _ => None,
    })
}

fn variable(name: &str) -> String {
    format!(
        "`${{{name}}}`: only registry, namespace, login and secrets take environment variables (${{{{{name}}}}} is the text itself)"
    )
}

/// Every text below `value`, with its path.
fn scan(value: &Value, path: &mut Vec<String>, found: &mut impl FnMut(&[String], &str)) {
    match value {
        Value::String(text) if text.contains('{') => found(path, text),
        Value::Object(table) => {
            for (key, value) in table {
                path.push(key.clone());
                scan(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                scan(item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_says_what_it_takes() {
        let all_axes = BTreeMap::from([("python".to_owned(), vec!["3.9".to_owned()]), ("cuda".to_owned(), Vec::new())]);
        let events = [EventKey::PullRequest, EventKey::Tag];
        let scope =
            Scope { image: "app", axes: &["python".to_owned()], all_axes: &all_axes, events: &events, version_file: false };
        for (text, takes, events, expected) in [
            ("{python} {image} {{x}} {}", ALL, &[][..], ""),
            ("{pyhton}", ALL, &[], "unknown placeholder `{pyhton}` (did you mean `python`?; {{pyhton}} is the text itself)"),
            ("{zz}", &["image"], &[], "unknown placeholder `{zz}` (known: image, python; {{zz}} is the text itself)"),
            ("{cuda}", ALL, &[], "`{cuda}` is not an axis of image `app` (name it in its variant)"),
            ("{sha}", ALL, &[], "`{sha}` can't be known here (tags, args and labels take it)"),
            ("{sha}", ALL, &events, ""),
            ("{version}", ALL, &events, "`{version}` is not known in on.pull-request (set version-file)"),
            ("{version}", ALL, &events[1..], ""),
            ("{branch}", ALL, &events, "`{branch}` is not known in on.tag"),
            ("{number}", ALL, &events, "`{number}` is known in pull requests only"),
            (
                "${HOME}",
                ALL,
                &[],
                "`${HOME}`: only registry, namespace, login and secrets take environment variables (${{HOME}} is the text itself)",
            ),
        ] {
            assert_eq!(scope.faults(text, takes, events).join("\n"), expected, "{text}");
        }
    }
}
