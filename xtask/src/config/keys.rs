//! The keys of an image after laying, checked one by one; the same for all builds for which the same conditions hold.

use std::time::Duration;

use super::faults::{Faults, nearest};
use super::layer::Layered;
use super::tree::Document;
use super::types::Image;
use super::{Parent, image_test, names};

/// Default of `timeout`.
const TIMEOUT: &str = "60m";

/// What is written for some builds, and where.
#[derive(Debug)]
pub struct Keys {
    pub written: Image,
    pub layers: Layered,
    pub timeout: Duration,
}

/// Checks the keys that need no placeholder filled.
pub fn prepare(layers: Layered, image: &str, document: &Document, faults: &mut Faults) -> Keys {
    let written: Image = serde_json::from_value(layers.value.clone()).unwrap_or_default();
    let mut fault = |key: &[&str], said: String| faults.at(layers.line(document, key), said);
    for said in platforms(written.platforms.as_deref()) {
        fault(&["platforms"], said);
    }
    for name in written.args.keys().filter(|name| !names::is_identifier(name)) {
        fault(&["args", name], format!("`{name}` can't be a build argument (letters, digits and `_`)"));
    }
    for name in written.labels.keys().filter(|name| name.is_empty() || name.contains(['=', ' ', '\n'])) {
        fault(&["labels", name], format!("`{name}` can't be a label (no spaces, no =)"));
    }
    for name in written.secrets.keys().filter(|name| name.is_empty() || name.contains([',', '=', ' '])) {
        fault(&["secrets", name], format!("`{name}` can't be the id of a secret (no spaces, no = and no ,)"));
    }
    for pattern in written.dependencies.iter().flatten().filter(|pattern| !names::is_pattern(pattern)) {
        fault(
            &["dependencies"],
            format!("`{pattern}` in dependencies never matches (patterns are relative to the repository, without ./)"),
        );
    }
    if written.target.as_deref() == Some("") {
        fault(&["target"], "target is empty (remove it for the last stage)".into());
    }
    let timeout = image_test::duration(written.timeout.as_deref().unwrap_or(TIMEOUT)).unwrap_or_else(|said| {
        fault(&["timeout"], format!("timeout of image `{image}`: {said}"));
        Duration::ZERO
    });
    Keys { written, layers, timeout }
}

/// Faults of a list of platforms.
pub fn platforms(list: Option<&[String]>) -> Vec<String> {
    let Some(list) = list else { return Vec::new() };
    let unknown = |name: &String| format!("platform `{name}` is not known ({})", platform_hint(name));
    let mut found: Vec<String> = list.iter().filter(|name| !names::PLATFORMS.contains(&name.as_str())).map(unknown).collect();
    found.extend(list.is_empty().then(|| "platforms is empty (remove it for [\"linux/amd64\"])".to_owned()));
    let twice = list.iter().enumerate().find(|(index, name)| list[..*index].contains(name));
    found.extend(twice.map(|(_, name)| format!("platform `{name}` is written twice")));
    found
}

fn platform_hint(name: &str) -> String {
    let full = format!("linux/{}", name.trim_start_matches("linux/"));
    let known = names::PLATFORMS.iter().copied();
    let meant = known.clone().find(|platform| *platform == full).or_else(|| nearest(name, known));
    meant.map_or_else(|| format!("known: {}", names::PLATFORMS.join(", ")), |meant| format!("did you mean `{meant}`?"))
}

/// `base` or `base:dev`.
pub fn parent(text: &str) -> Parent {
    let (image, tag) = text.split_once(':').map_or((text, None), |(image, tag)| (image, Some(tag)));
    Parent { image: image.into(), tag: tag.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_known_ones() {
        for (list, expected) in [
            (&["linux/amd64", "linux/arm/v7"][..], ""),
            (&["amd64"], "platform `amd64` is not known (did you mean `linux/amd64`?)"),
            (&["linux/arm46"], "platform `linux/arm46` is not known (did you mean `linux/arm64`?)"),
            (&[], "platforms is empty (remove it for [\"linux/amd64\"])"),
            (&["linux/386", "linux/386"], "platform `linux/386` is written twice"),
        ] {
            let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(platforms(Some(&list)).join("\n"), expected);
        }
    }
}
