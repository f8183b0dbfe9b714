//! Images that the engine has already: a build whose key is that of the image under its name is not started.

use std::collections::BTreeMap;

use anyhow::Result;

use super::outcome::{Ending, Outcome, Steps};
use crate::docker::{self, Image};
use crate::exec::Runner;
use crate::parallel;
use crate::plan::{self, Action, Build, Plan};
use crate::receipt::Receipt;
use crate::registry::{AT_ONCE, Digest};

/// An outcome for each build that need not start. The engine looks at one image after the other, so it is asked by a few at once.
///
/// Builds that write somewhere else (a candidate, a cache) start always, and so do those whose key promises nothing.
///
/// # Errors
/// docker can't be started. An engine that does not answer has no images.
pub fn find(runner: &Runner, plan: &Plan, receipts: &BTreeMap<String, Receipt>) -> Result<Vec<Outcome>> {
    let may_stay = |build: &&Build| {
        let only_loads = !build.pushes_candidate() && build.test.cache_to.is_empty();
        build.action == Action::Build && only_loads && !build.test.fresh && build.is_settled_by_its_key()
    };
    let builds: Vec<&Build> = plan.builds.iter().filter(may_stay).collect();
    let names: Vec<String> = builds.iter().filter_map(|build| build.names().into_iter().next()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ask = |names: &[String]| Ok(docker::images(&runner.output(&docker::inspect_images(names))?.stdout));
    let chunks = names.chunks(names.len().div_ceil(AT_ONCE)).collect();
    let images: Vec<Image> = parallel::map(AT_ONCE, chunks, ask).into_iter().collect::<Result<Vec<_>>>()?.concat();
    let kept = |build: &&Build| {
        let name = build.names().into_iter().next()?;
        outcome(build, images.iter().find(|image| image.is_called(&name))?, receipts.get(&build.id))
    };
    Ok(builds.iter().filter_map(kept).collect())
}

fn outcome(build: &Build, image: &Image, receipt: Option<&Receipt>) -> Option<Outcome> {
    if image.facts["Config"]["Labels"][plan::labels::KEY] != build.key.as_str() {
        return None;
    }
    // A label is inherited by whatever is made from an image: the receipt knows the digest that was built.
    let digest = image.facts["Descriptor"]["digest"].as_str().map(str::to_owned);
    let recorded = receipt.and_then(|receipt| receipt.digest.as_ref()).map(Digest::to_string);
    if let (Some(now), Some(recorded)) = (&digest, &recorded)
        && now != recorded
    {
        return None;
    }
    let steps = receipt.map_or(0, |receipt| receipt.steps);
    Some(Outcome {
        id: build.id.clone(),
        key: build.key.clone(),
        result: Ending::Cached,
        steps: Steps { total: steps, cached: steps },
        size: Some(image.size()),
        digest: digest.or(recorded),
        names: build.names(),
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::d;

    #[test]
    fn only_the_very_image_stays() {
        let image = |key: &str, digest: &Digest| Image {
            facts: serde_json::json!({
                "Config": { "Labels": { (plan::labels::KEY): key } }, "Descriptor": { "digest": digest }, "Size": 5
            }),
        };
        let one = build("a");
        let receipt = Receipt { digest: Some(d(1)), steps: 3, ..Receipt::new(&plan(vec![one.clone()]), &one) };
        let (key, other) = (one.key.clone(), "1".repeat(64));
        let kept = outcome(&one, &image(&key, &d(1)), Some(&receipt)).unwrap();
        assert_eq!((kept.result, kept.steps, kept.size), (Ending::Cached, Steps { total: 3, cached: 3 }, Some(5)));
        assert!(outcome(&one, &image(&key, &d(1)), None).is_some(), "another checkout built it");
        assert!(outcome(&one, &image(&other, &d(1)), Some(&receipt)).is_none());
        assert!(outcome(&one, &image(&key, &d(2)), Some(&receipt)).is_none(), "the label is inherited");
        assert!(outcome(&one, &Image { facts: serde_json::Value::Null }, None).is_none());
    }
}
