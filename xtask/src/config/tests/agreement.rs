//! The walker of `check` and a real validator accept and reject the same documents.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::config::{check::walk, faults::Faults, schema::schema, tree};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config");

fn fixture(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap();
    tree::parse(&text, &mut Faults::new(name)).0.value
}

#[test]
fn fixtures_are_valid_for_both() {
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for file in std::fs::read_dir(FIXTURES).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let document = fixture(&name);
        assert!(validator.is_valid(&document), "{name}");
        assert_eq!(walk(&schema, &document), [], "{name}");
    }
}

/// Paths of all values below `value`.
fn places(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut at = |step: String, value: &Value| {
        path.push(step);
        found.push(path.clone());
        places(value, path, found);
        path.pop();
    };
    match value {
        Value::Object(table) => table.iter().for_each(|(key, value)| at(key.clone(), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| at(index.to_string(), value)),
        _ => {}
    }
}

#[derive(Clone, Debug)]
enum Change {
    Drop,
    Rename,
    Replace(Value),
    Add(Value),
}

fn change() -> impl Strategy<Value = Change> {
    let values = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2.5),
        json!(-1),
        json!(""),
        json!("read"),
        json!("always"),
        json!("bases-changed"),
        json!("critical"),
        json!("promote"),
        json!("${NAME}"),
        json!([]),
        json!(["a"]),
        json!([1]),
        json!({}),
        json!({"file": "x"}),
        json!({"dirs": "x"}),
        json!({"file": "x", "dirs": "y"}),
        json!({"tags": ["a"]}),
        json!({"run": "x", "http": 1}),
    ]);
    prop_oneof![Just(Change::Drop), Just(Change::Rename), values.clone().prop_map(Change::Replace), values.prop_map(Change::Add),]
}

fn apply(document: &mut Value, at: usize, change: Change) {
    let mut all = Vec::new();
    places(document, &mut Vec::new(), &mut all);
    let Some(path) = all.get(at % all.len().max(1)) else { return };
    let (last, parents) = path.split_last().unwrap();
    let parent = parents.iter().fold(document, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        value => &mut value[step.as_str()],
    });
    match (parent, change) {
        (Value::Object(table), Change::Drop) => _ = table.shift_remove(last),
        (Value::Object(table), Change::Rename) => {
            let value = table.shift_remove(last).unwrap();
            table.insert(format!("{last}x"), value);
        }
        (Value::Object(table), Change::Replace(value)) => _ = table.insert(last.clone(), value),
        (Value::Object(table), Change::Add(value)) => _ = table.insert("registry".into(), value),
        (Value::Array(items), Change::Drop) => _ = items.pop(),
        (Value::Array(items), Change::Replace(value)) => items[last.parse::<usize>().unwrap()] = value,
        (Value::Array(items), Change::Add(value)) => items.push(value),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_documents_are_judged_alike(changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..3)) {
        thread_local! {
            static SCHEMA: Value = schema();
            static VALIDATOR: jsonschema::Validator = jsonschema::draft202012::new(&schema()).unwrap();
            static GRAMMAR: Value = fixture("grammar.toml");
        }
        let mut document = GRAMMAR.with(Value::clone);
        for (at, change) in changes {
            apply(&mut document, at.index(10_000), change);
        }
        let found = SCHEMA.with(|schema| walk(schema, &document));
        let valid = VALIDATOR.with(|validator| validator.is_valid(&document));
        prop_assert_eq!(valid, found.is_empty(), "{:?}", found);
        // What is accepted can be read into the types; 1.0, which serde would not take, is not what the parser gives.
        if valid && !document.to_string().contains("1.0") {
            prop_assert!(serde_json::from_value::<crate::config::types::File>(document).is_ok());
        }
    }
}
