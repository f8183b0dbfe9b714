//! The JSON Schema of `images.toml`, derived from the types that are loaded.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::types::File;

/// The schema (draft 2020-12) that the loader checks a file against.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value();
    without_null(&mut schema);
    schema["title"] = "docker/images.toml".into();
    schema
}

/// TOML has no null: an option is a key that may be absent, nothing else.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [Value::Object(only)] = branches.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_of_null() {
        assert!(!schema().to_string().contains("null"));
    }
}
