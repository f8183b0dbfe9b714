//! `gate = "rebuild"`: where the test stage may not write images, the push stage builds again and compares.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::build::outcome::Outcome;
use crate::candidate::Digests;
use crate::container::case;
use crate::container::check::IN_RECEIPTS;
use crate::gate::{self, published};
use crate::plan::{Action, Build, How, Plan};
use crate::receipt::Receipt;
use crate::registry::{Digest, Image, Registry, each};
use crate::{candidate, registry};

/// The plan that builds the candidates: from the caches that the push stage may read, into none.
///
/// `None`: nothing is published by rebuilding.
pub fn plan(plan: &Plan) -> Option<Plan> {
    let mut again = plan.clone();
    again.builds.retain(|build| build.push.how == How::Rebuild);
    for build in &mut again.builds {
        build.action = Action::Build;
        build.push.how = How::Promote;
        build.test.fresh = false;
        build.test.cache_from.clone_from(&build.push.cache_from);
        build.test.cache_to.clear();
    }
    (!again.builds.is_empty()).then_some(again)
}

/// Compares what was built now with the receipts of what was tested, and marks it. Returns what could not be compared.
///
/// # Errors
/// Failed when a build failed. Refused, with every field that differs, when it is another image than was tested.
pub fn compare(
    again: &Plan,
    outcomes: &[Outcome],
    receipts: &BTreeMap<String, Receipt>,
    registry: &dyn Registry,
) -> Result<Vec<String>> {
    let builds = published(again);
    let found = each(&builds, |build| {
        let outcome = outcomes.iter().find(|outcome| outcome.id == build.id);
        let Some(digest) = outcome.and_then(|outcome| outcome.digest.clone()) else { return Ok(None) };
        let digest = Digest::parse(&digest)?;
        Ok(registry.images(&candidate::by_digest(build, &digest))?.map(|images| (digest, images)))
    })?;
    let (mut faults, mut same, mut notes) = (Vec::new(), Digests::new(), Vec::new());
    for (build, found) in builds.iter().zip(found) {
        let lines = match (receipts.get(&build.id), found) {
            (_, None) => vec!["could not be built again".to_owned()],
            (None, _) => vec!["there is no receipt of its test".to_owned()],
            (Some(receipt), Some((digest, images))) => {
                let unknown = uncompared(receipt, &digest, &images);
                if !unknown.is_empty() {
                    let what = format!("{} was built again and compared with nothing", unknown.join(", "));
                    notes.push(format!("{}: {what}: the engine of the test stage did not keep it", build.id));
                }
                same.insert(build.id.clone(), digest);
                differences(build, receipt, &images)
            }
        };
        faults.extend(lines.into_iter().map(|line| format!("{}: {line}", build.id)));
    }
    gate::refuse(faults, builds.len())?;
    let on = builds.iter().filter_map(|build| Some((build.id.clone(), tested_on(build, receipts.get(&build.id)?)))).collect();
    candidate::mark(again, registry, &same, &same, &on)?;
    Ok(notes)
}

/// The platforms of which the receipt does not say what was tested, unless it is the very same image.
fn uncompared<'a>(receipt: &Receipt, digest: &Digest, images: &'a [Image]) -> Vec<&'a str> {
    let known = |image: &&Image| receipt.images.iter().any(|tested| tested.platform == image.platform);
    let same = receipt.digest.as_ref() == Some(digest);
    images.iter().filter(|image| !same && !known(image)).map(|image| image.platform.as_str()).collect()
}

/// The platforms that the names of the tests in a receipt end in.
fn tested_on(build: &Build, receipt: &Receipt) -> Vec<String> {
    let ran = |platform: &&String| receipt.tests.iter().any(|test| test.name.ends_with(&case::on(platform)));
    build.platforms.iter().filter(ran).cloned().collect()
}

fn differences(build: &Build, receipt: &Receipt, images: &[Image]) -> Vec<String> {
    let mut lines: Vec<String> = receipt
        .tests
        .iter()
        .filter(|test| !test.passed)
        .map(|test| format!("in the receipt the test failed: {}", test.name))
        .collect();
    let tests = receipt.tests.iter().filter(|test| !test.name.starts_with(IN_RECEIPTS)).count();
    if tests < build.tests.len() {
        lines.push(format!("in the receipt {tests} of {} tests passed", build.tests.len()));
    }
    for tested in &receipt.images {
        match images.iter().find(|image| image.platform == tested.platform) {
            None => lines.push(format!("platform {} is missing", tested.platform)),
            Some(image) => {
                let of = if images.len() > 1 { format!("{}: ", image.platform) } else { String::new() };
                let differences = registry::difference(&tested.fields(), &image.fields());
                lines.extend(differences.into_iter().map(|line| format!("{of}{line}")));
            }
        }
    }
    if receipt.images.is_empty() {
        lines.push("the receipt does not say what was tested".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan as plan_of};
    use crate::receipt::Tested;
    use crate::registry::memory::{Memory, d};

    #[test]
    fn another_environment_is_named_and_the_same_image_is_marked() {
        let mut one = build("a");
        one.push.how = How::Rebuild;
        one.push.cache_from = vec!["type=registry,ref=r/c".into()];
        one.test.cache_to = vec!["type=registry,ref=r/c,mode=max".into()];
        one.test.candidate = Some("r/a:candidate-k-1".into());
        one.test.mark = Some("r/a:tested-k-t".into());
        let tested = plan_of(vec![one.clone(), build("local")]);
        let again = plan(&tested).unwrap();
        assert_eq!(again.builds.len(), 1);
        assert_eq!((&again.builds[0].test.cache_from, again.builds[0].test.cache_to.len()), (&one.push.cache_from, 0));

        let image = |env: &str| {
            let config = [("Env".to_owned(), serde_json::json!([env]))].into();
            Image { platform: "linux/amd64".into(), config, ..Image::default() }
        };
        let passed = Tested { name: "pytest".into(), passed: true, seconds: 1.0 };
        let receipt = Receipt { images: vec![image("A=1")], tests: vec![passed], ..Receipt::new(&tested, &one) };
        let receipts = BTreeMap::from([("a".to_owned(), receipt)]);
        let outcomes = [Outcome { id: "a".into(), digest: Some(d(1).to_string()), ..Outcome::default() }];
        let memory = Memory::default();
        memory.set("r/a:candidate-k-1", &d(1));
        let now = |images: Vec<Image>| drop(memory.images.lock().unwrap().insert(d(1), images));
        now(vec![image("A=2")]);
        let error = compare(&again, &outcomes, &receipts, &memory.view()).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
        assert!(error.to_string().contains(r#"a: Env: tested "A=1", now "A=2""#), "{error}");
        assert_eq!(memory.get("r/a:tested-k-t"), None);
        now(vec![image("A=1")]);
        assert_eq!(compare(&again, &outcomes, &receipts, &memory.view()).unwrap(), [""; 0]);
        assert_eq!(memory.get("r/a:tested-k-t"), Some(d(1)));
        assert!(compare(&again, &outcomes, &BTreeMap::new(), &memory.view()).is_err(), "no receipt, no publishing");
    }

    #[test]
    fn every_platform_is_compared_and_what_cannot_be_is_said() {
        let mut one = build("a");
        one.push.how = How::Rebuild;
        one.platforms = ["linux/amd64", "linux/arm64"].map(str::to_owned).to_vec();
        one.test.candidate = Some("r/a:candidate-k-1".into());
        one.test.mark = Some("r/a:tested-k-t".into());
        let tested = plan_of(vec![one.clone()]);
        let image =
            |platform: &str, layer: &str| Image { platform: platform.into(), diff_ids: vec![layer.into()], ..Image::default() };
        let (amd, arm) = (image("linux/amd64", "1"), image("linux/arm64", "2"));
        let memory = Memory::default();
        memory.set("r/a:candidate-k-1", &d(1));
        memory.images.lock().unwrap().insert(d(1), vec![amd.clone(), arm.clone()]);
        let outcomes = [Outcome { id: "a".into(), digest: Some(d(1).to_string()), ..Outcome::default() }];
        let passed = Tested { name: "pytest (linux/amd64)".into(), passed: true, seconds: 1.0 };
        let compare = |digest: u32, images: &[&Image]| {
            let images = images.iter().map(|image| (*image).clone()).collect();
            let (digest, tests) = (Some(d(digest)), vec![passed.clone()]);
            let receipt = Receipt { digest, images, tests, ..Receipt::new(&tested, &one) };
            compare(&plan(&tested).unwrap(), &outcomes, &[("a".into(), receipt)].into(), &memory.view())
        };
        let error = compare(9, &[&amd, &image("linux/arm64", "3")]).unwrap_err().to_string();
        assert!(error.contains("a: linux/arm64: layers: tested"), "{error}");
        assert_eq!(compare(9, &[&amd, &arm]).unwrap(), [""; 0]);
        let said = compare(9, &[&amd]).unwrap();
        assert!(said.len() == 1 && said[0].starts_with("a: linux/arm64 was built again and compared with nothing"), "{said:?}");
        assert_eq!(compare(1, &[&amd]).unwrap(), [""; 0], "the same index is the same in all platforms");
        let on = |platform: &str| crate::marks::on_platform("r/a:tested-k-t", &d(1), platform);
        assert_eq!(memory.get(&on("linux/amd64")), Some(d(1)));
        assert_eq!(memory.get(&on("linux/arm64")), None);
    }
}
