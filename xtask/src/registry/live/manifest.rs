//! What a manifest or an index names.

use serde_json::Value;

use crate::registry::split;

/// The images of an index.
pub fn children(index: &Value, reference: &str) -> Vec<String> {
    by_platform(index, reference).into_iter().map(|(_, image)| image).collect()
}

/// The same with the platform of each.
pub fn by_platform(index: &Value, reference: &str) -> Vec<(String, String)> {
    let repository = reference.split('@').next().map_or(reference, |name| split(name).0);
    // Attestations stand beside the images, with the platform unknown/unknown.
    let is_image = |child: &&Value| child["platform"]["os"] != "unknown";
    let platform = |child: &Value| {
        let parts = ["os", "architecture", "variant"].map(|part| child["platform"][part].as_str().unwrap_or_default());
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    let name = |child: &Value| Some((platform(child), format!("{repository}@{}", child["digest"].as_str()?)));
    index["manifests"].as_array().into_iter().flatten().filter(is_image).filter_map(name).collect()
}

/// What a manifest or an index lists.
pub fn parts(manifest: &Value) -> impl Iterator<Item = &Value> {
    ["layers", "manifests"].into_iter().filter_map(|list| manifest[list].as_array()).flatten()
}

pub fn size(part: &Value) -> u64 {
    part["size"].as_u64().unwrap_or(0)
}
