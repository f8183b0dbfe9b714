//! Two builds never share an id, a tag or a cache reference.

use std::collections::HashMap;

use super::faults::Faults;
use super::tree::Document;
use super::{Build, EventKey};

pub fn check(document: &Document, builds: &[Build], faults: &mut Faults) {
    let mut ids = HashMap::new();
    let mut caches = HashMap::new();
    let mut tags: HashMap<(&EventKey, &str, &str), &Build> = HashMap::new();
    for build in builds {
        let line = |key: &str| {
            document.exact_line(&["image", &build.image, key]).unwrap_or_else(|| document.line(&["image", &build.image]))
        };
        if let Some(other) = ids.insert(build.id.as_str(), build) {
            let text = format!("image.{} and image.{} both make the build {}", other.image, build.image, build.id);
            faults.once(line("variant"), &build.image, format!("{text} (name an axis more in `variant`)"));
        }
        if let Some(reference) = &build.cache_ref {
            if let Some(other) = caches.insert(reference.as_str(), build) {
                let text = format!("{} and {} both cache in {reference}", other.id, build.id);
                faults.once(
                    document.line(&["cache", "registry"]),
                    "cache",
                    format!("{text} (put {{variant}} or {{id}} into cache.registry)"),
                );
            }
        }
        for policy in &build.on {
            for tag in &policy.tags {
                let Some(other) =
                    tags.insert((&policy.event, &build.repository, tag), build).filter(|other| other.id != build.id)
                else {
                    continue;
                };
                let text = format!("{} and {} both get the tag {}:{tag}", other.id, build.id, build.repository);
                faults.once(
                    line("repository"),
                    &build.image,
                    format!("{text} (put {{variant}} or {{id}} into `repository` or the tags)"),
                );
            }
        }
        let image_tag =
            build.cache_ref.as_deref().and_then(|cache| cache.rsplit_once(':')).filter(|(name, _)| *name == build.repository);
        if let Some((_, tag)) = image_tag
            && let Some(policy) = build.on.iter().find(|policy| policy.tags.iter().any(|other| other == tag))
        {
            let text = format!("the cache of {} would overwrite its tag {tag} ({:?})", build.id, policy.event);
            faults.once(document.line(&["cache", "registry"]), "tag", format!("{text} (give cache.registry another tag)"));
        }
    }
}
