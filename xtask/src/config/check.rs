//! A document against the JSON Schema of the language: the subset that `schemars` writes, with messages for people.

use serde_json::Value;

use super::faults::{Faults, nearest, suggest};
use super::tree::Document;

/// Something that the schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Keys, and indices of lists, from the top.
    pub path: Vec<String>,
    pub text: String,
}

/// Reports what the schema does not allow and takes it out of the document, so that the rest can be looked at.
pub fn check(schema: &Value, document: &mut Document, skip: impl Fn(usize) -> bool, faults: &mut Faults) {
    let mut first = true;
    loop {
        let found = walk(schema, &document.value);
        if found.is_empty() {
            return;
        }
        let texts: Vec<String> = found.iter().map(|found| as_written(found, document)).collect();
        for (found, text) in found.into_iter().zip(texts) {
            let line = document.line(&found.path);
            // What is wrong only because something was taken out of it goes too, silently.
            if first && !skip(line) {
                faults.at(line, text);
            }
            document.take_out(&found.path);
        }
        first = false;
    }
}

/// What was found, with a number that lacks its quotes as it is written: 3.10 is another text than 3.1.
fn as_written(found: &Found, document: &Document) -> String {
    match (document.get(&found.path), document.number(&found.path)) {
        (Some(value), Some(written)) => found.text.replace(&format!("\"{value}\""), &format!("\"{written}\"")),
        _ => found.text.clone(),
    }
}

/// Everything in `value` that `schema` does not allow; empty exactly where a JSON Schema validator accepts it.
pub fn walk(schema: &Value, value: &Value) -> Vec<Found> {
    Walker { root: schema }.walk(schema, value, &At::default())
}

/// A place in the document, for machines and for people.
#[derive(Clone, Default)]
struct At {
    path: Vec<String>,
    shown: String,
}

impl At {
    fn key(&self, name: &str) -> At {
        let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let quoted = if bare { name.to_owned() } else { format!("{name:?}") };
        let dot = if self.path.is_empty() { "" } else { "." };
        self.step(name.to_owned(), format!("{}{dot}{quoted}", self.shown))
    }

    fn item(&self, index: usize) -> At {
        self.step(index.to_string(), format!("{}[{index}]", self.shown))
    }

    fn step(&self, step: String, shown: String) -> At {
        let mut path = self.path.clone();
        path.push(step);
        At { path, shown }
    }

    fn found(&self, text: String) -> Found {
        Found { path: self.path.clone(), text }
    }
}

struct Walker<'a> {
    root: &'a Value,
}

impl<'a> Walker<'a> {
    fn walk(&self, schema: &'a Value, value: &Value, at: &At) -> Vec<Found> {
        let schema = self.resolve(schema);
        if let Some(Value::Array(branches)) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
            return self.any(branches, value, at);
        }
        if let Some(said) = type_fault(schema, value, at) {
            return vec![at.found(said)];
        }
        match value {
            Value::Object(table) => self.table(schema, table, at),
            Value::Array(items) => {
                let Some(each) = schema.get("items") else { return Vec::new() };
                items.iter().enumerate().flat_map(|(index, item)| self.walk(each, item, &at.item(index))).collect()
            }
            _ => scalar_fault(schema, value, at).map(|text| at.found(text)).into_iter().collect(),
        }
    }

    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            match self.root.pointer(reference.trim_start_matches('#')) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// The faults of the branch that was most likely meant; none if any branch takes the value.
    fn any(&self, branches: &'a [Value], value: &Value, at: &At) -> Vec<Found> {
        let branches: Vec<&Value> = branches.iter().map(|branch| self.resolve(branch)).collect();
        let tried: Vec<(&Value, Vec<Found>)> = branches.iter().map(|&branch| (branch, self.walk(branch, value, at))).collect();
        if tried.iter().any(|(_, found)| found.is_empty()) {
            return Vec::new();
        }
        let mut fitting = tried.into_iter().filter(|(branch, _)| takes(self, branch, value)).collect::<Vec<_>>();
        let mut complete: Vec<Vec<Found>> =
            fitting.iter().filter(|(branch, _)| has_required(branch, value)).map(|(_, found)| found.clone()).collect();
        match fitting.len() {
            0 => vec![at.found(wanted(&at.shown, &self.names(&branches), value))],
            1 => fitting.remove(0).1,
            _ if complete.len() == 1 => complete.remove(0),
            _ => vec![at.found(alternatives(&fitting.iter().map(|(branch, _)| *branch).collect::<Vec<_>>(), value, at))],
        }
    }

    /// What a branch wants, in words, each once.
    fn names(&self, branches: &[&'a Value]) -> Vec<&'a str> {
        let mut names = Vec::new();
        for branch in branches {
            let inner: Vec<&str> = match branch.get("anyOf").or_else(|| branch.get("oneOf")) {
                Some(Value::Array(inner)) => self.names(&inner.iter().map(|inner| self.resolve(inner)).collect::<Vec<_>>()),
                _ => vec![kind_of(branch)],
            };
            names.extend(inner);
        }
        let mut seen = Vec::new();
        names.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        names
    }

    /// A key that is right in another table, unless one of this table is meant.
    fn elsewhere<'k>(&self, at: &At, name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
        let holds = |(table, _): &&(&str, &str)| self.root["$defs"][*table]["properties"].get(name).is_some();
        let (_, table) = TABLES.iter().find(holds).filter(|_| nearest(name, known).is_none())?;
        Some(format!("unknown key `{}` (`{name}` is a key of {table})", at.shown))
    }

    fn table(&self, schema: &'a Value, table: &serde_json::Map<String, Value>, at: &At) -> Vec<Found> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut found = Vec::new();
        for (name, value) in table {
            let here = at.key(name);
            match (properties.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
                (Some(inner), _) => found.extend(self.walk(inner, value, &here)),
                (None, Some(Value::Bool(false))) => {
                    let known = properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
                    let said = || {
                        here.found(self.elsewhere(&here, name, known.clone()).unwrap_or_else(|| unknown_key(&here, name, known)))
                    };
                    found.push(unquoted(&here, value).unwrap_or_else(said));
                }
                (None, Some(inner)) => found.extend(self.walk(inner, value, &here)),
                (None, None) => {}
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !table.contains_key(name) {
                found.push(at.found(format!("`{}` has no `{name}` (add {name} = …)", at.shown)));
            }
        }
        found
    }
}

/// Tables by the names of their types in the schema.
const TABLES: [(&str, &str); 9] = [
    ("Image", "[image.NAME]"),
    ("Test", "[image.NAME.test]"),
    ("Policy", "[on.EVENT]"),
    ("Check", "[check.NAME]"),
    ("Scan", "[scan]"),
    ("Cache", "[cache]"),
    ("Release", "[release]"),
    ("Retention", "[retention]"),
    ("Github", "[github]"),
];

/// Whether a table has what a branch can't do without.
fn has_required(branch: &Value, value: &Value) -> bool {
    let required = branch.get("required").and_then(Value::as_array);
    required.is_some_and(|keys| keys.iter().filter_map(Value::as_str).all(|key| value.get(key).is_some()))
}

/// Whether a branch is about this type of value, whatever else it wants.
fn takes<'a>(walker: &Walker<'a>, branch: &'a Value, value: &Value) -> bool {
    match branch.get("anyOf").or_else(|| branch.get("oneOf")) {
        Some(Value::Array(inner)) => inner.iter().any(|inner| takes(walker, walker.resolve(inner), value)),
        _ => type_fault(branch, value, &At::default()).is_none(),
    }
}

fn kind_of(schema: &Value) -> &'static str {
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => "a table",
        Some("array") => "a list",
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        _ => "text",
    }
}

fn type_fault(schema: &Value, value: &Value, at: &At) -> Option<String> {
    let wants = schema.get("type").and_then(Value::as_str)?;
    let fits = match (wants, value) {
        ("object", Value::Object(_)) | ("array", Value::Array(_)) | ("string", Value::String(_)) => true,
        ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => true,
        // A whole number may be written 1.0, says JSON Schema.
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        _ => false,
    };
    (!fits).then(|| wanted(&at.shown, &[kind_of(schema)], value))
}

/// "`tags` is text, not a list (write tags = ["latest"])"
fn wanted(shown: &str, kinds: &[&str], value: &Value) -> String {
    let found = match value {
        Value::Null => "a date or a number out of range",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    let last = shown.rsplit(['.', ' ']).next().unwrap_or(shown);
    let fix = match value {
        Value::String(_) if kinds == ["a list"] => format!(" (write {last} = [{value}])"),
        Value::Number(_) | Value::Bool(_) if kinds == ["text"] => format!(" (write \"{value}\")"),
        // `options = { requests.cpu = "2" }`
        Value::Object(table) if kinds == ["text"] && table.values().any(Value::is_string) => {
            let key = table.keys().next().map(String::as_str).unwrap_or_default();
            format!(" (write \"{last}.{key}\", a name with a dot is quoted)")
        }
        Value::String(text) if kinds == ["true or false"] && ["true", "false"].contains(&text.as_str()) => {
            format!(" (write {text})")
        }
        _ => String::new(),
    };
    format!("`{shown}` is {found}, not {}{fix}", kinds.join(" or "))
}

/// A table that could be one of several.
fn alternatives(branches: &[&Value], value: &Value, at: &At) -> String {
    let known: Vec<&str> = branches
        .iter()
        .filter_map(|branch| branch["properties"].as_object())
        .flat_map(|keys| keys.keys().map(String::as_str))
        .collect();
    let unknown = value.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()));
    match unknown {
        Some((name, _)) => unknown_key(&at.key(name), name, known.iter().copied()),
        None if known.is_empty() => choices(branches, value, at),
        None => format!("`{}` is a table that is neither of its forms (write one of: {})", at.shown, known.join(", ")),
    }
}

fn unknown_key<'k>(at: &At, name: &str, known: impl Iterator<Item = &'k str>) -> String {
    format!("unknown key `{}` ({})", at.shown, suggest(name, known))
}

/// `on.branch.v1.2`: no key of an event holds a table or begins with a digit, so this one is the end of a branch's name.
fn unquoted(at: &At, value: &Value) -> Option<Found> {
    let [.., table, branch, name] = at.path.as_slice() else { return None };
    let end = value.is_object() || name.starts_with(|c: char| c.is_ascii_digit());
    let said = || format!("`{branch}.{name}` is not quoted (write on.branch.\"{branch}.{name}\")");
    let whole = at.path[..at.path.len() - 1].to_vec();
    (table == "branch" && end).then(|| Found { path: whole, text: said() })
}

/// Text that is none of the values of `enum` and `const`, here and in branches that have nothing else.
fn choices(branches: &[&Value], value: &Value, at: &At) -> String {
    let Some(text) = value.as_str() else { return wanted(&at.shown, &["text"], value) };
    let known: Vec<&str> = branches.iter().flat_map(|branch| constants(branch)).filter_map(Value::as_str).collect();
    let meant = nearest(text, known.iter().copied()).map(|meant| format!("did you mean `{meant}`?; ")).unwrap_or_default();
    format!("`{}` is \"{text}\" ({meant}one of: {})", at.shown, known.join(", "))
}

fn constants(schema: &Value) -> Vec<&Value> {
    let one = schema.get("const").into_iter();
    one.chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten()).collect()
}

fn scalar_fault(schema: &Value, value: &Value, at: &At) -> Option<String> {
    let constants = constants(schema);
    if !constants.is_empty() && !constants.contains(&value) {
        return Some(choices(&[schema], value, at));
    }
    if let (Some(number), shown) = (value.as_f64(), &at.shown) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) if least == most => format!("only {least} is known"),
                (Some(least), Some(most)) => format!("from {least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, most) => format!("at most {}", most.unwrap_or_default()),
            };
            return Some(format!("`{shown}` is {value} ({range})"));
        }
    }
    // The value is not shown: it may be a secret that was written where only its name belongs.
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    let matches = regex_lite::Regex::new(pattern).is_ok_and(|regex| value.as_str().is_some_and(|text| regex.is_match(text)));
    let form = schema.get("description").and_then(Value::as_str).unwrap_or(pattern);
    (!matches).then(|| format!("`{}` has the wrong form (write {form})", at.shown))
}

#[cfg(test)]
mod tests;
