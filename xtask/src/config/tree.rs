//! The text of `images.toml` as a JSON value, with the line on which each key and item stands.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::faults::Faults;
use super::quoting;

/// Separates the steps of a path in the keys of `lines`; TOML text can't hold it unescaped.
const STEP: &str = "\u{1}";

/// A parsed file. A date, which no key takes, is `null`.
#[derive(Debug)]
pub struct Document {
    pub value: Value,
    lines: HashMap<String, usize>,
    /// Numbers as they are written: as a value, 3.10 is 3.1.
    numbers: HashMap<String, String>,
    /// Paths that were taken out because what stood there was wrong: reported already, so nothing else is said about them.
    bad: HashSet<String>,
}

impl Document {
    /// The line on which the value at `path` is written; where it is not, that of what is around it.
    pub fn line<S: AsRef<str>>(&self, path: &[S]) -> usize {
        (1..=path.len()).rev().find_map(|end| self.exact_line(&path[..end])).unwrap_or(1)
    }

    /// The line on which the value at `path` is written, if it is.
    pub fn exact_line<S: AsRef<str>>(&self, path: &[S]) -> Option<usize> {
        self.lines.get(&key(path)).copied()
    }

    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, step| match value {
            Value::Object(table) => table.get(step.as_ref()),
            Value::Array(items) => items.get(step.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The text of the number at `path`.
    pub fn number<S: AsRef<str>>(&self, path: &[S]) -> Option<&str> {
        self.numbers.get(&key(path)).map(String::as_str)
    }

    /// Whether something wrong stood at `path`.
    pub fn is_bad<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.bad.contains(&key(path))
    }

    /// Names below a top-level key where something wrong stood.
    pub fn bad_below<'a>(&'a self, top: &'a str) -> impl Iterator<Item = &'a str> {
        self.bad.iter().filter_map(move |key| {
            let mut steps = key.split(STEP);
            (steps.next() == Some(top)).then(|| steps.next()).flatten().filter(|_| steps.next().is_none())
        })
    }

    /// Takes out what stands at `path` (a whole list for one of its items) and remembers that it was wrong.
    pub fn take_out(&mut self, path: &[String]) {
        let in_list = (1..path.len()).find(|&end| matches!(self.get(&path[..end]), Some(Value::Array(_))));
        let path = &path[..in_list.unwrap_or(path.len())];
        self.bad.insert(key(path));
        let Some((last, parents)) = path.split_last() else { return };
        let parent = parents.iter().try_fold(&mut self.value, |value, step| value.get_mut(step.as_str()));
        if let Some(Value::Object(table)) = parent {
            table.remove(last);
        }
    }
}

fn key<S: AsRef<str>>(path: &[S]) -> String {
    path.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(STEP)
}

/// Parses `text`; faults of its syntax are reported, and what can be understood in spite of them is returned.
///
/// The second value is the set of lines that have such a fault: whatever else looks wrong there follows from it.
pub fn parse(text: &str, faults: &mut Faults) -> (Document, HashSet<usize>) {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line_at = |offset: usize| starts.partition_point(|&start| start <= offset).max(1);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken = HashSet::new();
    for error in errors {
        let line = line_at(error.span().map_or(0, |span| span.start));
        // One mistake confuses the parser more than once; its first word on a line is the useful one.
        if broken.insert(line) {
            let source = text.lines().nth(line - 1).unwrap_or_default();
            let said = quoting::explain(source).unwrap_or_else(|| format!("not TOML: {}", error.message()));
            faults.at(line, said);
        }
    }
    let mut reader = Reader { text, line_at: &line_at, lines: HashMap::new(), numbers: HashMap::new() };
    let value = reader.table(table.get_ref(), &mut Vec::new());
    (Document { value, lines: reader.lines, numbers: reader.numbers, bad: HashSet::new() }, broken)
}

struct Reader<'a> {
    text: &'a str,
    line_at: &'a dyn Fn(usize) -> usize,
    lines: HashMap<String, usize>,
    numbers: HashMap<String, String>,
}

impl Reader<'_> {
    fn note(&mut self, path: &[String], span: &Range<usize>) {
        self.lines.insert(key(path), (self.line_at)(span.start));
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) -> Value {
        let mut map = Map::new();
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            self.note(path, &name.span());
            map.insert(name.get_ref().to_string(), self.value(value, path));
            path.pop();
        }
        Value::Object(map)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &mut Vec<String>) -> Value {
        if let (DeValue::Integer(_) | DeValue::Float(_), Some(written)) = (value.get_ref(), self.text.get(value.span())) {
            self.numbers.insert(key(path), written.to_owned());
        }
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                let float = || digits.parse::<f64>().ok().and_then(Number::from_f64);
                let whole = i64::from_str_radix(&digits, number.radix()).ok().map(Number::from);
                whole.or_else(float).map_or(Value::Null, Value::Number)
            }
            DeValue::Float(number) => {
                let number = number.as_str().replace('_', "").parse::<f64>().ok().and_then(Number::from_f64);
                let whole =
                    number.as_ref().and_then(Number::as_f64).filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
                // JSON Schema takes 1.0 for a whole number, serde does not.
                whole.map(|number| Value::from(number as i64)).or(number.map(Value::Number)).unwrap_or_default()
            }
            DeValue::Datetime(_) => Value::Null,
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.note(path, &item.span());
                    list.push(self.value(item, path));
                    path.pop();
                }
                Value::Array(list)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n\n[image.app]\ntags = [\n  'x',\n  'y',\n]\n[[image.app.test]]\nrun = 'x'\n[[image.app.test]]\n";

    #[test]
    fn every_key_and_item_knows_its_line() {
        let mut faults = Faults::new("f");
        let (document, broken) = parse(TEXT, &mut faults);
        assert!(faults.is_empty() && broken.is_empty());
        for (path, line) in [
            (vec!["a"], 1),
            (vec!["image", "app"], 3),
            (vec!["image", "app", "tags", "1"], 6),
            (vec!["image", "app", "test", "1"], 10),
            (vec!["image", "app", "absent", "deep"], 3),
            (vec!["nothing"], 1),
        ] {
            assert_eq!(document.line(&path), line, "{path:?}");
        }
        assert_eq!(document.get(&["image", "app", "test", "0", "run"]), Some(&Value::from("x")));
    }

    #[test]
    fn what_is_taken_out_is_remembered() {
        let (mut document, _) = parse(TEXT, &mut Faults::new("f"));
        document.take_out(&["image", "app", "tags", "1"].map(String::from));
        assert!(document.is_bad(&["image", "app", "tags"]) && document.get(&["image", "app", "tags"]).is_none());
    }

    #[test]
    fn syntax_faults_are_all_reported() {
        let mut faults = Faults::new("f");
        let (_, broken) = parse("a = \nb = 1\nb = 2\nwhen.python<3.9.platforms = 1\n", &mut faults);
        assert_eq!(broken, HashSet::from([1, 3, 4]));
        let expected = "cannot load f: 3 faults\nf:1: not TOML: string values must be quoted, expected literal string\n\
                        f:3: not TOML: duplicate key\n\
                        f:4: `python<3.9` is not quoted (write when.\"python<3.9\".platforms)";
        assert_eq!(faults.into_error().to_string(), expected);
    }
}
