//! Layers: `[defaults]` under `[image.X]` under the `when` tables whose condition holds.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::condition::Condition;
use super::faults::Faults;
use super::tree::Document;

/// Keys that decide which builds there are, or are laid elsewhere: a condition about a build can't change them.
const NOT_IN_WHEN: [&str; 5] = ["variant", "exclude", "include", "on", "when"];

/// Keys of a test of which a layer replaces all: a test is of one kind.
const KINDS: [&str; 3] = ["run", "http", "healthy"];

/// Keys after laying, and where in the file they come from.
#[derive(Clone, Debug)]
pub struct Layered {
    pub value: Value,
    /// Paths of the tables that were laid, uppermost first.
    pub sources: Vec<Vec<String>>,
}

impl Layered {
    /// The line of the uppermost layer that writes `key`, or as much of it as is written; else that of the uppermost layer.
    pub fn line(&self, document: &Document, key: &[&str]) -> usize {
        let exact = |end| self.sources.iter().find_map(|source| document.exact_line(&join(source, &key[..end])));
        let header = || self.sources.first().map_or(1, |source| document.line(source));
        (1..=key.len()).rev().find_map(exact).unwrap_or_else(header)
    }

    /// Whether some layer wrote something wrong at `key`.
    pub fn is_bad(&self, document: &Document, key: &[&str]) -> bool {
        self.sources.iter().any(|source| document.is_bad(&join(source, key)))
    }

    /// Lays the table at `source` over this.
    pub fn lay(&mut self, document: &Document, source: Vec<String>) {
        if let Some(over) = document.get(&source) {
            lay(&mut self.value, over);
            self.sources.insert(0, source);
        }
    }
}

fn join<'a>(source: &'a [String], key: &[&'a str]) -> Vec<&'a str> {
    source.iter().map(String::as_str).chain(key.iter().copied()).collect()
}

/// Lays one value over another: tables key by key, anything else replaces.
pub fn lay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(key) {
                    Some(below) => {
                        if key == "test" {
                            one_kind(below, value);
                        }
                        lay(below, value);
                    }
                    None => {
                        under.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (under, over) => *under = over.clone(),
    }
}

fn one_kind(below: &mut Value, over: &Value) {
    if let (Value::Object(below), Value::Object(over)) = (below, over)
        && KINDS.iter().any(|kind| over.contains_key(*kind))
    {
        below.retain(|key, _| !KINDS.contains(&key.as_str()));
    }
}

/// `[defaults]` under `[image.X]`.
pub fn base(document: &Document, image: &str) -> Layered {
    let mut layered = Layered { value: Value::Object(Map::new()), sources: Vec::new() };
    layered.lay(document, vec!["defaults".into()]);
    layered.lay(document, vec!["image".into(), image.into()]);
    layered
}

/// One `when` table of an image.
#[derive(Clone, Debug)]
pub struct When {
    pub condition: Condition,
    /// Of its table.
    pub path: Vec<String>,
}

/// The `when` tables of `[defaults]`, then those of the image.
///
/// Faults: conditions that don't parse, or are about an axis that the image doesn't have; keys that can't depend on a build.
pub fn whens(
    document: &Document,
    image: &str,
    image_axes: &[String],
    axes: &BTreeMap<String, Vec<String>>,
    faults: &mut Faults,
) -> Vec<When> {
    let mut found = Vec::new();
    for source in [vec!["defaults".to_owned()], vec!["image".into(), image.into()]] {
        let own = source.len() > 1;
        let table = [&source[..], &["when".into()]].concat();
        let Some(Value::Object(conditions)) = document.get(&table) else { continue };
        for (text, keys) in conditions {
            let path = [&table[..], std::slice::from_ref(text)].concat();
            for key in keys.as_object().into_iter().flat_map(|keys| keys.keys()).filter(|key| NOT_IN_WHEN.contains(&key.as_str()))
            {
                let line = document.line(&[&path[..], std::slice::from_ref(key)].concat());
                faults.at(line, format!("`{key}` can't depend on a condition (write it in the image itself)"));
            }
            match Condition::parse(text, axes) {
                Err(said) => faults.at(document.line(&path), said),
                Ok(condition) => {
                    let foreign =
                        condition.keys().into_iter().find(|key| axes.contains_key(*key) && !image_axes.iter().any(|a| a == key));
                    match foreign.filter(|_| own) {
                        Some(axis) => faults.at(
                            document.line(&path),
                            format!("`{text}` never holds: `{axis}` is not an axis of image `{image}` (name it in its variant)"),
                        ),
                        None => found.push(When { condition, path }),
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
    found
}

/// Pairs of `when` tables that set one key differently, with that key.
pub fn conflicts(document: &Document, whens: &[When]) -> Vec<(usize, usize, Vec<String>)> {
    let leaves: Vec<_> = whens.iter().map(|when| leaves(document.get(&when.path))).collect();
    let mut found = Vec::new();
    for (second, over) in leaves.iter().enumerate() {
        for (first, under) in leaves[..second].iter().enumerate() {
            // The same condition in [defaults] and in the image: the image wins, as everywhere.
            if whens[first].condition.text == whens[second].condition.text {
                continue;
            }
            let clash = over.iter().find(|(key, value)| {
                let clashes = |(other, below): (&Vec<String>, &&Value)| match *key == other {
                    true => **value != *below,
                    false => key.starts_with(other) || other.starts_with(key),
                };
                under.iter().any(clashes)
            });
            if let Some((key, _)) = clash {
                found.push((first, second, key.clone()));
            }
        }
    }
    found
}

/// Every value that is not a table, by its path.
fn leaves(value: Option<&Value>) -> BTreeMap<Vec<String>, &Value> {
    fn gather<'a>(value: &'a Value, path: &mut Vec<String>, into: &mut BTreeMap<Vec<String>, &'a Value>) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    path.push(key.clone());
                    gather(value, path, into);
                    path.pop();
                }
            }
            _ => {
                into.insert(path.clone(), value);
            }
        }
    }
    let mut into = BTreeMap::new();
    if let Some(value) = value {
        gather(value, &mut Vec::new(), &mut into);
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;
    use serde_json::json;

    #[test]
    fn tables_are_laid_key_by_key() {
        for (under, over, expected) in [
            (
                json!({"a": 1, "args": {"x": "1", "y": "2"}}),
                json!({"args": {"y": "3"}}),
                json!({"a": 1, "args": {"x": "1", "y": "3"}}),
            ),
            (json!({"platforms": ["a", "b"]}), json!({"platforms": ["c"]}), json!({"platforms": ["c"]})),
            (json!({"on": {"tag": {"tags": []}}}), json!({"on": {"tag": false}}), json!({"on": {"tag": false}})),
            (
                json!({"test": {"run": "x", "log": "l"}}),
                json!({"test": {"http": ":1/"}}),
                json!({"test": {"log": "l", "http": ":1/"}}),
            ),
            (json!({"test": [{"run": "x"}]}), json!({"test": {"http": ":1/"}}), json!({"test": {"http": ":1/"}})),
        ] {
            let mut value = under;
            lay(&mut value, &over);
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn lines_are_those_of_the_uppermost_layer() {
        let text = "[defaults]\nplatforms = []\ntarget = 'x'\n[image.a]\nplatforms = []\n";
        let (document, _) = tree::parse(text, &mut Faults::new("f"));
        let layered = base(&document, "a");
        let line = |key| layered.line(&document, &[key]);
        assert_eq!((line("platforms"), line("target"), line("context")), (5, 3, 4));
    }

    #[test]
    fn two_whens_clash_on_a_key_that_they_set_differently() {
        let axes = BTreeMap::from([("p".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        for (text, expected) in [
            ("when.'p=1'.target = 'x'\nwhen.'p<3'.target = 'y'", Some("target")),
            ("when.'p=1'.target = 'x'\nwhen.'p<3'.target = 'x'", None),
            ("when.'p=1'.args.A = 'x'\nwhen.'p<3'.args.B = 'y'", None),
            ("when.'p=1'.args.A = 'x'\nwhen.'p<3'.args.A = 'y'", Some("args.A")),
            ("when.'p=1'.secrets.a = '${X}'\nwhen.'p<3'.secrets.a.file = 'y'", Some("secrets.a.file")),
        ] {
            let (document, _) = tree::parse(&format!("[image.a]\n{text}"), &mut Faults::new("f"));
            let whens = whens(&document, "a", &["p".into()], &axes, &mut Faults::new("f"));
            assert_eq!(whens.len(), 2);
            let clash = conflicts(&document, &whens).first().map(|(_, _, key)| key.join("."));
            let either = clash.as_deref().map(|key| key.trim_end_matches(".file"));
            assert_eq!(either, expected.map(|key| key.trim_end_matches(".file")), "{text}");
        }
    }
}
