//! Walks a file along its JSON Schema: unknown keys, wrong types and bad values, each with its line.

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::faults::{Faults, suggest};
use super::tree::Document;

/// A step of a path, or the fault found there.
struct Fault {
    path: Vec<String>,
    text: String,
}

/// Reports everything in the document that the schema does not allow, and takes it out.
pub fn check(document: &mut Document, schema: &Value, faults: &mut Faults) {
    let mut walk = Walk { root: schema, found: Vec::new() };
    walk.value(schema, &document.value, &mut Vec::new());
    for fault in walk.found {
        faults.at(document.line(&fault.path), fault.text);
        document.take_out(&fault.path);
    }
}

struct Walk<'a> {
    root: &'a Value,
    found: Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn fault(&mut self, path: &[String], text: String) {
        self.found.push(Fault { path: path.to_vec(), text });
    }

    fn value(&mut self, schema: &'a Value, value: &Value, path: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(branches) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return self.branches(branches, value, path);
        }
        if let Some(names) = schema.get("enum").and_then(Value::as_array) {
            if !names.contains(value) {
                self.fault(path, wrong_name(value, names.iter(), path));
            }
            return;
        }
        let Some(kind) = schema.get("type").and_then(Value::as_str) else { return };
        if !is(value, kind) {
            let text = format!("`{}` is {}, not {}", dotted(path), describe(value), name_of(kind));
            return self.fault(path, text);
        }
        match value {
            Value::Object(table) => self.table(schema, table, path),
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (at, item) in items.iter().enumerate() {
                    path.push(at.to_string());
                    self.value(schema, item, path);
                    path.pop();
                }
            }
            Value::String(text) => {
                let pattern = schema.get("pattern").and_then(Value::as_str);
                if pattern.is_some_and(|pattern| Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))) {
                    self.fault(
                        path,
                        format!("`{}` is \"{text}\", only the name of a variable as \"${{NAME}}\" may stand here", dotted(path)),
                    );
                }
            }
            Value::Number(number) => {
                let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
                let number = number.as_f64().unwrap_or_default();
                let (low, high) = (bound("minimum"), bound("maximum"));
                if low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high) {
                    let range = match (low, high) {
                        (Some(low), Some(high)) if low.total_cmp(&high).is_eq() => format!("only {low} is known"),
                        (Some(low), Some(high)) => format!("{low} to {high} is allowed"),
                        (Some(low), None) => format!("{low} or more is allowed"),
                        (_, high) => format!("{} or less is allowed", high.unwrap_or_default()),
                    };
                    self.fault(path, format!("`{}` is {number}, {range}", dotted(path)));
                }
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn table(&mut self, schema: &'a Value, table: &Map<String, Value>, path: &mut Vec<String>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties");
        for (name, value) in table {
            path.push(name.clone());
            match (properties.and_then(|properties| properties.get(name)), additional) {
                (Some(schema), _) => self.value(schema, value, path),
                (None, Some(Value::Bool(false))) => {
                    let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                    self.fault(path, format!("unknown key `{}` ({})", dotted(path), suggest(name, known)));
                }
                (None, Some(schema)) => self.value(schema, value, path),
                (None, None) => {}
            }
            path.pop();
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !table.contains_key(name) {
                self.fault(path, format!("`{}` needs the key `{name}`", dotted(path)));
            }
        }
    }

    /// Goes on in the branch that was probably meant: that of the value's type, and of its keys among tables.
    fn branches(&mut self, branches: &'a [Value], value: &Value, path: &mut Vec<String>) {
        let names: Vec<&Value> = branches.iter().filter_map(|branch| self.resolve(branch).get("const")).collect();
        if names.len() == branches.len() {
            if !names.contains(&value) {
                self.fault(path, wrong_name(value, names.into_iter(), path));
            }
            return;
        }
        let fits = |branch: &&Value| self.kinds(branch).iter().any(|kind| is(value, kind));
        let keys = |branch: &&Value| {
            let properties = self.resolve(branch).get("properties").and_then(Value::as_object);
            let table = value.as_object();
            properties
                .zip(table)
                .map_or(0, |(properties, table)| table.keys().filter(|key| properties.contains_key(*key)).count())
        };
        match branches.iter().filter(fits).max_by_key(keys) {
            Some(branch) => self.value(branch, value, path),
            None => {
                let mut kinds: Vec<&str> = branches.iter().flat_map(|branch| self.kinds(branch)).map(name_of).collect();
                kinds.dedup();
                let text = format!("`{}` is {}, not {}", dotted(path), describe(value), kinds.join(" or "));
                self.fault(path, text);
            }
        }
    }

    /// The JSON types that a schema takes.
    fn kinds(&self, schema: &'a Value) -> Vec<&'a str> {
        let schema = self.resolve(schema);
        if let Some(kind) = schema.get("type").and_then(Value::as_str) {
            return vec![kind];
        }
        if schema.get("enum").is_some() || schema.get("const").is_some() {
            return vec!["string"];
        }
        let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        branches.into_iter().flatten().flat_map(|branch| self.kinds(branch)).collect()
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| self.root.pointer(path.trim_start_matches('#')));
        target.map_or(schema, |target| self.resolve(target))
    }
}

fn wrong_name<'a>(value: &Value, names: impl Iterator<Item = &'a Value>, path: &[String]) -> String {
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    let found = value.as_str().unwrap_or_default();
    format!(
        "`{}` is {}, which is none of {} ({})",
        dotted(path),
        describe(value),
        names.join(", "),
        suggest(found, names.iter().copied())
    )
}

/// `image.python.test.0.run` as a person would write it: positions are left out.
pub fn dotted(path: &[String]) -> String {
    let step = |step: &String| match step.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        true => step.clone(),
        false => format!("\"{step}\""),
    };
    let steps: Vec<String> = path.iter().filter(|step| step.parse::<usize>().is_err()).map(step).collect();
    if steps.is_empty() { "the file".into() } else { steps.join(".") }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        // JSON Schema calls 1.0 an integer.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        _ => false,
    }
}

fn name_of(kind: &str) -> &str {
    match kind {
        "object" => "a table",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "a date or a number out of range".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
    }
}
