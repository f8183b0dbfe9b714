//! The configuration of an image for one platform, and those of its fields that make two images the same.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/config.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Field → value, without what differs between two builds of the same inputs.
pub type Fields = BTreeMap<String, Value>;

/// Labels that name the commit, which is not part of what is built.
const OF_THE_COMMIT: [&str; 2] = ["org.opencontainers.image.revision", "org.opencontainers.image.created"];

/// One platform of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub platform: String,
    pub labels: BTreeMap<String, String>,
    /// When its last step ran, RFC 3339; a step from cache keeps its time. No part of what is compared.
    #[serde(default, skip_serializing)]
    pub created: String,
    /// Digests of the unpacked layers.
    pub diff_ids: Vec<String>,
    /// Everything of `config` but labels: ENV, ENTRYPOINT, USER and so on; empty ones left out.
    pub config: Fields,
}

impl Image {
    /// From a config blob, or from what `docker image inspect` prints, which spells the same fields with capitals.
    pub fn from_config(json: &Value) -> Image {
        let field = |names: [&str; 2]| names.iter().find_map(|name| json.get(name)).cloned().unwrap_or_default();
        let text = |names| field(names).as_str().unwrap_or_default().to_owned();
        let variant = text(["variant", "Variant"]);
        let variant = if variant.is_empty() { variant } else { format!("/{variant}") };
        let config = field(["config", "Config"]);
        let rootfs = field(["rootfs", "RootFS"]);
        let layers = ["diff_ids", "Layers"].iter().find_map(|name| rootfs.get(name)).cloned().unwrap_or_default();
        let labels = config.get("Labels").cloned().unwrap_or_default();
        Image {
            platform: format!("{}/{}{variant}", text(["os", "Os"]), text(["architecture", "Architecture"])),
            labels: serde_json::from_value(labels).unwrap_or_default(),
            created: text(["created", "Created"]),
            diff_ids: serde_json::from_value(layers).unwrap_or_default(),
            config: kept(&config),
        }
    }

    /// Whether it may be another build of the same inputs: the same in everything that does not hang on the contents of
    /// layers. What somebody made from an image has more layers than that, or another configuration.
    pub fn is_like(&self, other: &Image) -> bool {
        let same = normal(&self.platform) == normal(&other.platform) && self.config == other.config;
        same && self.diff_ids.len() == other.diff_ids.len()
    }

    /// What is compared between two builds of the same inputs.
    pub fn fields(&self) -> Fields {
        let mut fields = self.config.clone();
        fields.insert("platform".into(), self.platform.clone().into());
        fields.insert("layers".into(), self.diff_ids.clone().into());
        let labels = self.labels.iter().filter(|(name, _)| !OF_THE_COMMIT.contains(&name.as_str()));
        fields.extend(labels.map(|(name, value)| (format!("label {name}"), value.clone().into())));
        fields
    }
}

/// `linux/arm64/v8` is `linux/arm64`, as github.com/containerd/platforms has it.
pub fn normal(platform: &str) -> &str {
    if platform.ends_with("/arm64/v8") { platform.trim_end_matches("/v8") } else { platform }
}

/// The fields of `config` that containers see. `Hostname`, `Image` and the like are leftovers of old builders.
fn kept(config: &Value) -> Fields {
    const FIELDS: [&str; 11] = [
        "Cmd",
        "Entrypoint",
        "Env",
        "ExposedPorts",
        "Healthcheck",
        "OnBuild",
        "Shell",
        "StopSignal",
        "User",
        "Volumes",
        "WorkingDir",
    ];
    let value = |name: &&str| Some(((*name).to_owned(), config.get(*name)?.clone()));
    FIELDS.iter().filter_map(value).filter(|(_, value)| !is_empty(value)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `field: tested …, now …`, a line each; empty when the two are the same. Of lists only what differs.
pub fn difference(tested: &Fields, now: &Fields) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = tested.keys().chain(now.keys()).collect();
    let line = |name: &String| {
        let (old, new) = (tested.get(name), now.get(name));
        format!("{name}: tested {}, now {}", show(old, new), show(new, old))
    };
    names.into_iter().filter(|name| tested.get(*name) != now.get(*name)).map(line).collect()
}

fn show(value: Option<&Value>, other: Option<&Value>) -> String {
    match (value, other) {
        (Some(Value::Array(items)), Some(Value::Array(others))) => {
            let differing: Vec<&Value> = items.iter().filter(|item| !others.contains(item)).collect();
            match differing.is_empty() {
                false => differing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                true if items.len() < others.len() => "without it".into(),
                // The same in another order.
                true => serde_json::to_string(items).unwrap_or_default(),
            }
        }
        (Some(value), _) => value.to_string(),
        (None, _) => "nothing".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_config_blob_and_the_engine_describe_the_same_image() {
        let blob = json!({
            "architecture": "arm", "variant": "v7", "os": "linux", "created": "2026-01-01T00:00:00Z", "history": [{"created": "x"}],
            "moby.buildkit.cache.v0": "abc",
            "config": { "Env": ["A=1"], "User": "", "Labels": { "l": "1", "org.opencontainers.image.revision": "c1" } },
            "rootfs": { "type": "layers", "diff_ids": ["sha256:aa"] },
        });
        let engine = json!({
            "Architecture": "arm", "Variant": "v7", "Os": "linux", "Created": "2027-01-01T00:00:00Z",
            "Config": { "Hostname": "", "Env": ["A=1"], "Cmd": null, "Labels": { "l": "1", "org.opencontainers.image.revision": "c2" } },
            "RootFS": { "Type": "layers", "Layers": ["sha256:aa"] },
        });
        let (blob, engine) = (Image::from_config(&blob), Image::from_config(&engine));
        assert_eq!(blob.platform, "linux/arm/v7");
        assert_eq!(difference(&blob.fields(), &engine.fields()), Vec::<String>::new());
    }

    #[test]
    fn platforms_are_compared_as_they_are_meant() {
        assert_eq!(normal("linux/arm64/v8"), "linux/arm64");
        assert_eq!(normal("linux/arm/v7"), "linux/arm/v7");
    }

    #[test]
    fn every_difference_is_named() {
        let image = |env: &str, label: Option<&str>| {
            let labels = label.map(|label| ("l".to_owned(), label.to_owned())).into_iter().collect();
            Image { labels, config: Fields::from([("Env".into(), json!([env]))]), ..Image::default() }.fields()
        };
        let lines = difference(&image("A=1", Some("x")), &image("A=2", None));
        assert_eq!(lines, [r#"Env: tested "A=1", now "A=2""#, r#"label l: tested "x", now nothing"#]);
    }
}
